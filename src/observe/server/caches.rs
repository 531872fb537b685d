//! The caches of a proxy: what they keep, and to purge them.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use byron_actors::tree::UpstreamHandle;
use serde::Deserialize;

use super::super::caches::{Caches, Purged};
use super::super::model::VERSION;
use super::Shared;
use super::answer::{Answer, Refused, body, ok};
use super::children::operator;
use crate::endpoint::parse_connect;

/// How the caches are; an instance without any answers an empty list.
pub(super) async fn list(shared: Data<Shared>) -> Answer {
    let reports = shared.caches().iter().map(UpstreamHandle::report);
    Ok(ok(&Caches::new(reports)))
}

/// What is to be purged: everything, or what one upstream's poem is.
#[derive(Debug, Default, Deserialize)]
struct PurgeBody {
    #[serde(default)]
    upstream: Option<String>,
    #[serde(default)]
    softly: bool,
}

pub(super) async fn purge(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Answer {
    let PurgeBody { upstream, softly } = body(&request, payload).await?;
    let caches = shared.caches();
    if caches.is_empty() {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "cache",
            format!("{} is no proxy, and keeps nothing", shared.instance.name),
        ));
    }
    let chosen: Vec<_> = match &upstream {
        None => caches.iter().collect(),
        Some(named) => caches
            .iter()
            .filter(|cache| is_named(cache, named))
            .collect(),
    };
    if chosen.is_empty() {
        let labels: Vec<_> = caches
            .iter()
            .map(|cache| cache.label().to_string())
            .collect();
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "upstream",
            format!("no such upstream; there is {}", labels.join(" and ")),
        ));
    }
    let how = if softly { "purges softly" } else { "purges" };
    let what = upstream.as_deref().unwrap_or("every cache");
    let operator = operator(&request);
    let event = operator.record(&format!("{how} {what}"), None);
    tracing::info!(event, %operator, "{how} {what}");
    let (purged, empty): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|cache| cache.purge(softly));
    let labels = |caches: Vec<&UpstreamHandle>| {
        let labels = caches.into_iter().map(|cache| cache.label().to_string());
        labels.collect()
    };
    Ok(ok(&Purged {
        v: VERSION,
        purged: labels(purged),
        empty: labels(empty),
        event,
    }))
}

/// By its whole label, or by its endpoint as it was typed: `10000`.
fn is_named(cache: &UpstreamHandle, named: &str) -> bool {
    let label = cache.label();
    // What follows says what becomes of its poem: `through cummingsify`, `in netstrings`.
    let server = label.split_once(' ').map_or(&**label, |(server, _)| server);
    let typed = parse_connect(named).map(|endpoint| endpoint.label());
    **label == *named || server == named || typed.is_ok_and(|typed| server == typed)
}
