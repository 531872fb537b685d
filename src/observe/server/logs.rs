//! The log: how much of it is written, and what was written last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use tokio::time::sleep;

use super::super::model::VERSION;
use super::super::protocol::{LogFilter, LogTail};
use super::Shared;
use super::answer::{Answer, Refused, body, ok};
use super::children::operator;
use crate::host::logs::{SetFilterError, filter, restore_filter, set_filter, tail_since};

/// What is to be written.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    /// As in `BYRON_LOG`; as at the beginning when absent.
    filter: Option<String>,
    /// For so long; until something else is wanted when absent.
    for_s: Option<f64>,
}

/// How much is written.
pub(super) async fn show() -> HttpResponse {
    ok(&LogFilter {
        v: VERSION,
        filter: filter().unwrap_or_else(|| "off".to_owned()),
        for_s: None,
    })
}

/// Has more or less written.
pub(super) async fn change(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Answer {
    let Wanted { filter, for_s } = body(&request, payload).await?;
    let refused =
        |error: SetFilterError| Refused::new(StatusCode::BAD_REQUEST, "filter", error.to_string());
    let limit = for_s
        .map(Duration::try_from_secs_f64)
        .transpose()
        .map_err(|error| {
            Refused::new(StatusCode::BAD_REQUEST, "body", format!("for_s: {error}"))
        })?;
    let filter = match filter {
        Some(filter) => set_filter(&filter).map(|_| filter),
        None => restore_filter(),
    }
    .map_err(refused)?;
    // Whoever wants something else meanwhile is not overruled when the time is over.
    let change = shared.log_changes.fetch_add(1, Ordering::Relaxed) + 1;
    operator(&request).record(&format!("logs {filter}"), None);
    if let Some(limit) = limit {
        let shared: Arc<Shared> = shared.into_inner();
        actix_rt::spawn(async move {
            sleep(limit).await;
            if shared.log_changes.load(Ordering::Relaxed) == change {
                // It worked a moment ago.
                let _ = restore_filter();
            }
        });
    }
    Ok(ok(&LogFilter {
        v: VERSION,
        filter,
        for_s,
    }))
}

/// Which lines of the log are wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Since {
    since: Option<u64>,
}

/// What was written last.
pub(super) async fn tail(query: Result<Query<Since>, actix_web::Error>) -> Answer {
    let Query(Since { since }) = query.map_err(|_| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "since",
            "since is the number of a line",
        )
    })?;
    let tail = tail_since(since.unwrap_or(0));
    Ok(ok(&LogTail {
        v: VERSION,
        last: tail.last,
        missed: tail.missed,
        lines: tail.records,
    }))
}
