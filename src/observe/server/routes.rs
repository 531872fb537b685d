//! What can be asked, and what is answered.

use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};
use byron_supervisors::events_since;
use serde::{Deserialize, Serialize};

use super::super::history::known_events;
use super::super::model::{Node, State, Tree, VERSION};
use super::super::protocol::{Deed, Health, NotReady, Recent, Status};
use super::super::recorder::RecordedCounts;
use super::super::why::{Id, WhyError, why as tell_why};
use super::answer::{Answer, Refused, body, json, ok};
use super::children::{self, operator};
use super::follow::Follower;
use super::{Order, Shared, caches, logs};

/// What there is, for whoever asks for something else.
const PATHS: &[&str] = &[
    "GET /v1/status",
    "GET /v1/tree",
    "GET /v1/events?since=SEQ",
    "GET /v1/recent?count=N",
    "GET /v1/why/ID",
    "GET /v1/consequence?action=kill&path=PATTERN",
    "POST /v1/children/PATH/restart|stop|start|kill",
    "GET /v1/logs?since=N",
    "GET /v1/log-level",
    "POST /v1/log-level",
    "GET /v1/cache",
    "POST /v1/cache/purge",
    "POST /v1/drain",
    "POST /v1/stop",
    "GET /healthz",
    "GET /readyz",
];

/// Everything that is answered.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(get("/", web::get().to(index)))
        .service(get("/v1/status", web::get().to(status)))
        .service(get("/v1/tree", web::get().to(tree)))
        .service(get("/v1/events", web::get().to(events)))
        .service(get("/v1/recent", web::get().to(recent)))
        .service(get("/v1/why/{id:.*}", web::get().to(why)))
        .service(get("/v1/consequence", web::get().to(children::outlook)))
        .service(post(
            "/v1/children/{path:.*}/{action}",
            web::post().to(children::act),
        ))
        .service(get("/v1/logs", web::get().to(logs::tail)))
        .service(
            web::resource("/v1/log-level")
                .route(web::get().to(logs::show))
                .route(web::post().to(logs::change))
                .default_service(web::to(|| wrong_method("GET, POST"))),
        )
        .service(get("/v1/cache", web::get().to(caches::list)))
        .service(post("/v1/cache/purge", web::post().to(caches::purge)))
        .service(get("/healthz", web::get().to(healthz)))
        .service(get("/readyz", web::get().to(readyz)))
        .service(post("/v1/drain", web::post().to(drain)))
        .service(post("/v1/stop", web::post().to(stop)))
        .default_service(web::to(nothing_there));
}

fn get(path: &str, route: Route) -> Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(|| wrong_method("GET")))
}

fn post(path: &str, route: Route) -> Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(|| wrong_method("POST")))
}

async fn wrong_method(right: &'static str) -> HttpResponse {
    use actix_web::ResponseError;

    let refused = Refused::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        format!("this is answered to {right} only"),
    );
    let mut response = refused.error_response();
    response.headers_mut().insert(
        ALLOW,
        actix_web::http::header::HeaderValue::from_static(right),
    );
    response
}

async fn nothing_there(request: HttpRequest) -> Answer {
    let path = request.path();
    let version = path
        .strip_prefix("/v")
        .and_then(|rest| rest.split('/').next())
        .and_then(|version| version.parse::<u32>().ok())
        .filter(|version| *version != VERSION);
    Err(match version {
        Some(version) => Refused::new(
            StatusCode::NOT_FOUND,
            "version",
            format!(
                "this is byron {}, which speaks version {VERSION} of the protocol, not {version}",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        None => Refused::new(
            StatusCode::NOT_FOUND,
            "path",
            format!("nothing is at this path; there is {}", PATHS.join(", ")),
        ),
    })
}

async fn index(shared: Data<Shared>) -> HttpResponse {
    #[derive(Serialize)]
    struct Index<'a> {
        v: u32,
        name: &'a str,
        version: &'a str,
        paths: &'a [&'a str],
    }
    ok(&Index {
        v: VERSION,
        name: &shared.instance.name,
        version: &shared.instance.version,
        paths: PATHS,
    })
}

async fn status(shared: Data<Shared>) -> HttpResponse {
    let tree = Tree::now();
    let not_ready = not_ready(&tree);
    ok(&Status {
        v: VERSION,
        instance: shared.instance.clone(),
        ready: shared.is_ready.load(Ordering::Relaxed) && not_ready.is_empty(),
        not_ready,
        running: tree.nodes().map(running).sum(),
        restarts: tree.nodes().map(|node| u64::from(node.restarts)).sum(),
        seq: tree.seq,
        dropped: tree.dropped,
        followers: shared.followers.load(Ordering::Relaxed),
        followers_missed: shared.missed.load(Ordering::Relaxed),
        recorded: shared.recorded.as_ref().map(RecordedCounts::now),
        strangers: shared.admission.strangers(),
    })
}

async fn tree() -> HttpResponse {
    ok(&Tree::now())
}

async fn healthz() -> HttpResponse {
    health(StatusCode::OK, Vec::new())
}

async fn readyz(shared: Data<Shared>) -> HttpResponse {
    let not_ready = not_ready(&Tree::now());
    if shared.is_ready.load(Ordering::Relaxed) && not_ready.is_empty() {
        health(StatusCode::OK, not_ready)
    } else {
        health(StatusCode::SERVICE_UNAVAILABLE, not_ready)
    }
}

fn health(status: StatusCode, not_ready: Vec<NotReady>) -> HttpResponse {
    json(
        status,
        &Health {
            v: VERSION,
            ok: status.is_success(),
            not_ready,
        },
    )
}

/// The static places that do not run though they should; a dynamic child comes and goes.
fn not_ready(tree: &Tree) -> Vec<NotReady> {
    let is_well =
        |node: &Node| matches!(node.state, State::Running | State::Exited | State::Other(_));
    tree.nodes()
        .filter(|node| !is_well(node))
        .map(|node| NotReady {
            path: node.path.clone(),
            state: node.state.to_string(),
        })
        .collect()
}

fn running(node: &Node) -> u64 {
    u64::from(node.state == State::Running)
}

/// Where a follower begins. A client that was cut off says what it heard last in a header.
#[derive(Debug, Deserialize)]
struct Since {
    since: Option<u64>,
}

async fn events(
    request: HttpRequest,
    query: Result<Query<Since>, actix_web::Error>,
    shared: Data<Shared>,
) -> Answer {
    let no_number = |what: &str| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "since",
            format!("{what} is the number of an event, or 0 for all there are"),
        )
    };
    let Query(Since { since }) = query.map_err(|_| no_number("since"))?;
    let heard = match request.headers().get("Last-Event-ID") {
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse().ok());
            Some(id.ok_or_else(|| no_number("Last-Event-ID"))?)
        }
        None => None,
    };
    let seq = heard
        .or(since)
        .unwrap_or_else(|| events_since(u64::MAX).last);
    let follower = Follower::new(shared.into_inner(), seq)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(follower.stream()))
}

/// How many events are wanted.
#[derive(Debug, Deserialize)]
struct Count {
    count: Option<usize>,
}

async fn recent(query: Result<Query<Count>, actix_web::Error>) -> Answer {
    let Query(Count { count }) = query.map_err(|_| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "count",
            "count is a number of events",
        )
    })?;
    let mut events = known_events();
    let skipped = events.len().saturating_sub(count.unwrap_or(usize::MAX));
    events.drain(..skipped);
    Ok(ok(&Recent { v: VERSION, events }))
}

async fn why(id: web::Path<String>) -> Answer {
    let not_found =
        |error: WhyError| Refused::new(StatusCode::NOT_FOUND, "event", error.to_string());
    let id = Id::parse(&id).map_err(not_found)?;
    let chain = tell_why(&known_events(), Some(&Tree::now()), &id).map_err(not_found)?;
    Ok(ok(&chain))
}

/// A drain may have a limit of its own.
#[derive(Debug, Default, Deserialize)]
struct DrainBody {
    #[serde(default)]
    limit_s: Option<f64>,
}

async fn drain(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Answer {
    let DrainBody { limit_s } = body(&request, payload).await?;
    let limit = match limit_s.map(std::time::Duration::try_from_secs_f64) {
        None => None,
        Some(Ok(limit)) => Some(limit),
        Some(Err(error)) => {
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "body",
                format!("limit_s: {error}"),
            ));
        }
    };
    give(&request, &shared, Order::Drain(limit), "drains")
}

async fn stop(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Answer {
    #[derive(Default, Deserialize)]
    struct Nothing {}
    let Nothing {} = body(&request, payload).await?;
    give(&request, &shared, Order::Stop, "stops")
}

/// Gives the command its order, with the operator's event before it.
fn give(request: &HttpRequest, shared: &Shared, order: Order, what: &str) -> Answer {
    let name = &shared.instance.name;
    let operator = operator(request);
    let event = operator.record(&format!("{what} {name}"), None);
    tracing::info!(event, %operator, "{what} {name}");
    match shared.orders.try_send(order) {
        Ok(()) => Ok(json(
            StatusCode::ACCEPTED,
            &Deed {
                v: VERSION,
                done: format!("{what} {name}"),
                event,
            },
        )),
        Err(_) => Err(Refused::new(
            StatusCode::CONFLICT,
            "ending",
            "it ends already",
        )),
    }
}
