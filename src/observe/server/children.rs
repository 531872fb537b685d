//! What is done to a place of the tree, and what that would bring about.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Payload, Query};
use byron_supervisors::{
    Action, Consequence, Node, Operator, Path, Pattern, Refusal, consequence, find, operate,
    snapshot,
};
use serde::Deserialize;

use super::super::model::VERSION;
use super::super::protocol::{Deed, Outlook, Prospect};
use super::answer::{Answer, Refused, body, ok};
use super::peer::Peer;
use crate::endpoint::nearest;

/// How many places one question may be about.
const PLACES_MAX: usize = 1000;

/// Whoever is at the other end of the connection.
pub(super) fn operator(request: &HttpRequest) -> Operator {
    let peer = request.conn_data::<Peer>();
    Operator {
        uid: peer.map(|peer| peer.uid),
        pid: peer.and_then(|peer| peer.pid),
        via: "socket".to_owned(),
    }
}

/// What is asked of which places.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    action: String,
    path: String,
}

/// What a deed would bring about.
pub(super) async fn outlook(query: Result<Query<Question>, actix_web::Error>) -> Answer {
    let Query(Question { action, path }) = query.map_err(|_| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "query",
            "say what and where: ?action=kill&path=PATTERN",
        )
    })?;
    let action = parse_action(&action, StatusCode::BAD_REQUEST)?;
    let places = places(&path)?;
    let trees = snapshot();
    let prospect = |path: &Path| match consequence(action, path, &trees) {
        Ok(consequence) => prospect(&consequence, supervises(&trees, path)),
        Err(refusal) => Prospect {
            path: path.to_string(),
            text: format!("cannot {action} {path}: {refusal}"),
            is_refused: true,
            ..Prospect::default()
        },
    };
    Ok(ok(&Outlook {
        v: VERSION,
        action: action.to_string(),
        places: places.iter().map(prospect).collect(),
    }))
}

/// Whether it has others below it, or could have.
fn supervises(trees: &[Node], path: &Path) -> bool {
    trees.iter().any(|node| match node.path == *path {
        true => node.supervisor.is_some(),
        false => supervises(&node.children, path),
    })
}

fn prospect(consequence: &Consequence, is_supervisor: bool) -> Prospect {
    let texts = |paths: &[Path]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
    let drops: usize = consequence.drops.iter().map(|drops| drops.count).sum();
    let affects_others = is_supervisor
        || consequence.ends.len() > 1
        || consequence.starts.len() > 1
        || drops > 0
        || !consequence.gives_up.is_empty()
        || consequence.ends_tree;
    Prospect {
        path: consequence.path.to_string(),
        text: consequence.to_string(),
        is_refused: false,
        affects_others,
        ends: texts(&consequence.ends),
        starts: texts(&consequence.starts),
        stops: texts(&consequence.stops),
        drops: drops as u64,
        gives_up: texts(&consequence.gives_up),
        ends_tree: consequence.ends_tree,
        is_uncertain: !consequence.is_certain,
    }
}

/// Does it, to one place.
pub(super) async fn act(
    request: HttpRequest,
    target: web::Path<(String, String)>,
    payload: Payload,
) -> Answer {
    #[derive(Default, Deserialize)]
    struct Nothing {}
    let (path, action) = target.into_inner();
    let action = parse_action(&action, StatusCode::NOT_FOUND)?;
    let Nothing {} = body(&request, payload).await?;
    let places = places(&path)?;
    let [path] = places.as_slice() else {
        return Err(Refused::new(
            StatusCode::CONFLICT,
            "several",
            format!(
                "{path} stands for {} places; name one after the other",
                places.len()
            ),
        ));
    };
    let operator = operator(&request);
    match operate(action, path, &operator).await {
        Ok(done) => {
            tracing::info!(event = done.event, %operator, %path, "{action} by an operator");
            Ok(ok(&Deed {
                v: VERSION,
                done: format!("{} {path}", past(action)),
                event: done.event,
            }))
        }
        Err(error) => {
            tracing::warn!(event = error.event, %operator, %path, "{error}");
            Err(refused(&error.refusal, error.to_string()))
        }
    }
}

fn past(action: Action) -> &'static str {
    match action {
        Action::Restart => "restarted",
        Action::Stop => "stopped",
        Action::Start => "started",
        Action::Kill => "killed",
    }
}

fn refused(refusal: &Refusal, message: String) -> Refused {
    let (status, kind) = match refusal {
        Refusal::NoSuchPlace => (StatusCode::NOT_FOUND, "place"),
        Refusal::NotRunning => (StatusCode::CONFLICT, "not_running"),
        Refusal::AlreadyRunning => (StatusCode::CONFLICT, "running"),
        Refusal::Withdrawn | Refusal::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        _ => (StatusCode::CONFLICT, "refused"),
    };
    Refused::new(status, kind, message)
}

fn parse_action(action: &str, status: StatusCode) -> Result<Action, Refused> {
    action
        .parse()
        .map_err(|error: byron_supervisors::ParseActionError| {
            Refused::new(status, "action", error.to_string())
        })
}

/// The places that a pattern stands for, at least one.
fn places(pattern: &str) -> Result<Vec<Path>, Refused> {
    let parsed: Pattern =
        pattern
            .parse()
            .map_err(|error: byron_supervisors::ParsePatternError| {
                Refused::new(StatusCode::BAD_REQUEST, "path", error.to_string())
            })?;
    let found = find(&parsed);
    if found.len() > PLACES_MAX {
        return Err(Refused::new(
            StatusCode::CONFLICT,
            "too_many",
            format!(
                "{pattern} stands for {} places; be more particular",
                found.len()
            ),
        ));
    }
    if found.is_empty() {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "place",
            format!("there is no {pattern} in the tree{}", meant(pattern)),
        ));
    }
    Ok(found)
}

/// The place that was probably meant: one with such a name, wherever it is.
fn meant(pattern: &str) -> String {
    let everything: Result<Pattern, _> = "**".parse();
    let paths: Vec<String> = everything
        .map(|everything| find(&everything).iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    let id = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let ids: Vec<String> = paths.iter().map(|path| id(path)).collect();
    let known: Vec<&str> = ids.iter().map(String::as_str).collect();
    let meant = nearest(&id(pattern), &known);
    match meant.and_then(|meant| ids.iter().position(|id| id == meant)) {
        Some(at) => format!("; did you mean {}", paths[at]),
        None => String::new(),
    }
}
