//! [`TransformHttp`]: transforms over HTTP/1.1, for curl and whatever else speaks it.
//!
//! ```text
//! GET  /transforms           200, one transform a line: its name, a tab, what it does
//! POST /transform/NAME       200, the other poem; the body is the poem, byte for byte
//! ```
//!
//! | status | when |
//! | --- | --- |
//! | 404, 405 | there is no such transform or page; a page does not know the method |
//! | 408 | the body did not come within [`Courtesy::request_timeout`]; headers that do not come in time are closed on |
//! | 413, 431 | the body, or the headers, are longer than allowed |
//! | 415 | the body is said to be something that is no poem: JSON, an image, several parts, or compressed |
//! | 422 | the poem is gibberish |
//! | 429 | too many poems are waiting; `Retry-After` says when to come again |
//! | 500 | the transform crashed |
//! | 503 | nobody is there to transform it in time |
//!
//! curl says of every `--data-binary` that it is an HTML form, so a form is taken for the poem that it is. A connection is
//! kept for further requests, and closed when it is idle for as long as a request may take, or when the service closes.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use byron_supervisors::StartDynamicChild;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::address::Address;
use crate::conversation::{Conversation, ConversationError, Courtesy};
use crate::gate::{Fate, Permit};
use crate::patience::Patient;
use crate::protocol::Protocol;
use crate::stream::Accepted;
use crate::tally::Tally;
use crate::transform::TransformError;
use crate::transform_netstring::log_refusal;
use crate::transformer::{CallTransformError, Transformers};

/// How long the headers of a request may be.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How many headers a request may have.
pub const HEADERS_MAX: usize = 64;

/// When to come again after a 429, in seconds.
const RETRY_AFTER_S: &str = "1";

const HELP: &str = "\
POST /transform/NAME    the poem as the body: curl --data-binary @poem.txt URL/transform/cummingsify
GET  /transforms        the names
";

/// Transforms for whoever speaks HTTP.
#[derive(Debug)]
pub struct TransformHttp {
    /// Who does the work.
    pub transformers: Transformers,
    /// The limits.
    pub courtesy: Courtesy,
}

impl Protocol for TransformHttp {
    fn name(&self) -> &'static str {
        "http"
    }

    fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild {
        Conversation::start(permit, |mut permit| async move {
            let outcome = self.talk(accepted, &mut permit).await;
            (permit, outcome)
        })
    }
}

type Answer = Response<Full<Bytes>>;

/// How the requests of one connection were answered.
#[derive(Debug, Default)]
struct Answered {
    all: AtomicU64,
    poems: AtomicU64,
    complaints: AtomicU64,
    /// Of their bodies.
    bytes: AtomicU64,
}

impl TransformHttp {
    async fn talk(
        self: Arc<Self>,
        accepted: Accepted,
        permit: &mut Permit,
    ) -> Result<(), ConversationError> {
        let stream = accepted.open().await?;
        let peer_addr = stream.peer_addr().clone();
        let answered = Arc::new(Answered::default());
        let courtesy = self.courtesy;
        let (http, counts) = (self, Arc::clone(&answered));
        let answer = service_fn(move |request| {
            let (http, counts) = (Arc::clone(&http), Arc::clone(&counts));
            let peer_addr = peer_addr.clone();
            Box::pin(async move {
                let answer = http.answer(request, &peer_addr, &counts).await;
                counts.all.fetch_add(1, Ordering::Relaxed);
                if !answer.status().is_success() {
                    counts.complaints.fetch_add(1, Ordering::Relaxed);
                }
                let bytes = answer.body().size_hint().lower();
                counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            })
        });
        let patient = Patient::new(stream, courtesy.write_timeout);
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // A peer that has shut down its side still hears the answer.
            .half_close(true)
            .header_read_timeout(courtesy.request_timeout)
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(patient), answer);
        let mut closing = std::pin::pin!(permit.closing());
        let mut is_closing = false;
        let outcome = poll_fn(|task| {
            if !is_closing && closing.as_mut().poll(task).is_ready() {
                is_closing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            connection.poll_without_shutdown(task)
        })
        .await;
        Tally::add(
            &permit.tally().bytes,
            answered.bytes.load(Ordering::Relaxed),
        );
        let was_answered = answered.all.load(Ordering::Relaxed) > 0;
        let outcome = match outcome {
            Ok(()) => Ok(()),
            // Between two requests that is no mistake.
            Err(error) if error.is_timeout() && was_answered => Ok(()),
            Err(error) => Err(explain(error, courtesy)),
        };
        permit.settle(if answered.poems.load(Ordering::Relaxed) > 0 {
            Fate::Served
        } else if answered.complaints.load(Ordering::Relaxed) > 0 {
            Fate::Refused
        } else {
            Fate::ClientGone
        });
        // What was said last has to arrive, a complaint about the request too.
        let stream = connection.into_parts().io.into_inner().into_inner();
        let finished = stream.finish(courtesy.linger_timeout).await;
        outcome?;
        Ok(finished?)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer_addr: &Address,
        counts: &Answered,
    ) -> Answer {
        let name = match route(request.method(), request.uri().path()) {
            Route::Help => return text(StatusCode::OK, HELP),
            Route::List => return text(StatusCode::OK, self.list()),
            Route::Transform(name) => Bytes::copy_from_slice(name.as_bytes()),
            Route::NotAllowed(allowed) => {
                let mut answer = text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("only {allowed} here\n"),
                );
                answer
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static(allowed));
                return answer;
            }
            Route::NotFound => {
                return text(StatusCode::NOT_FOUND, format!("not here; try\n{HELP}"));
            }
        };
        if let Some(problem) = problem_of_type(request.headers()) {
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{problem}\n"));
        }
        let poem = match self.read(request).await {
            Ok(poem) => poem,
            Err(complaint) => return complaint,
        };
        match self.transformers.transform(&name, poem).await {
            Ok(answer) => {
                counts.poems.fetch_add(1, Ordering::Relaxed);
                let mime = match str::from_utf8(&answer) {
                    Ok(_) => "text/plain; charset=utf-8",
                    Err(_) => "application/octet-stream",
                };
                let mut response = Response::new(Full::new(answer));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(mime));
                response
            }
            Err(error) => {
                log_refusal(peer_addr, &name, &error);
                complaint(&error)
            }
        }
    }

    fn list(&self) -> String {
        let line =
            |transform: &crate::Transform| format!("{}\t{}\n", transform.name, transform.about);
        self.transformers.transforms().iter().map(line).collect()
    }

    /// The poem, or what to answer instead.
    async fn read(&self, request: Request<Incoming>) -> Result<Bytes, Answer> {
        let bytes_max = self.courtesy.request_bytes_max;
        let too_long = || {
            let say = format!("a poem has at most {bytes_max} bytes here\n");
            last(text(StatusCode::PAYLOAD_TOO_LARGE, say))
        };
        let body = request.into_body();
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_long());
        }
        let limit = self.courtesy.request_timeout;
        match timeout(limit, Limited::new(body, bytes_max).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(_)) => Err(last(text(StatusCode::BAD_REQUEST, "the body is cut off\n"))),
            Err(_) => {
                let say = format!("the poem did not come within {limit:?}\n");
                Err(last(text(StatusCode::REQUEST_TIMEOUT, say)))
            }
        }
    }
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Help,
    List,
    Transform(&'a str),
    /// Of these methods.
    NotAllowed(&'static str),
    NotFound,
}

fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match path {
        "/" if reads => Route::Help,
        "/transforms" if reads => Route::List,
        "/" | "/transforms" => Route::NotAllowed("GET, HEAD"),
        _ => match path.strip_prefix("/transform/") {
            Some("") | None => Route::NotFound,
            Some(name) if method == Method::POST => Route::Transform(name),
            Some(_) => Route::NotAllowed("POST"),
        },
    }
}

/// What is wrong with a body that is said to be no poem.
fn problem_of_type(headers: &HeaderMap) -> Option<String> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Some("a poem comes as it is, without Content-Encoding".to_owned());
    }
    let said = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("").to_owned();
    let mime = said.split(';').next().unwrap_or_default().trim();
    let mime = mime.to_ascii_lowercase();
    let is_poem = mime.starts_with("text/")
        || mime == "application/octet-stream"
        || mime == "application/x-www-form-urlencoded";
    (!is_poem).then(|| "a poem is text/plain or application/octet-stream".to_owned())
}

/// The answer when there is none.
fn complaint(error: &CallTransformError) -> Answer {
    let status = match error {
        CallTransformError::Unknown(_) => StatusCode::NOT_FOUND,
        CallTransformError::Transform(
            TransformError::Gibberish(_) | TransformError::TooLong { .. },
        ) => StatusCode::UNPROCESSABLE_ENTITY,
        CallTransformError::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        CallTransformError::Crashed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        CallTransformError::Overdue(_) | CallTransformError::Nobody => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let say = match error {
        CallTransformError::Unknown(_) => format!("{error}; GET /transforms lists them\n"),
        // What a panic says is for whoever runs the server.
        CallTransformError::Crashed(_) => "the transform crashed\n".to_owned(),
        _ => format!("{error}\n"),
    };
    let mut answer = text(status, say);
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    }
    answer
}

fn text(status: StatusCode, say: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(say.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

/// An answer after which the connection is closed.
fn last(mut answer: Answer) -> Answer {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn explain(error: hyper::Error, courtesy: Courtesy) -> ConversationError {
    if error.is_timeout() {
        return ConversationError::TooSlow(courtesy.request_timeout);
    }
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => ConversationError::WriteTimeout(courtesy.write_timeout),
        Some(kind) => ConversationError::Io(kind.into()),
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            ConversationError::Io(io::ErrorKind::ConnectionReset.into())
        }
        None => ConversationError::Http(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_method_and_path() {
        for (method, path, wanted) in [
            (Method::GET, "/", Route::Help),
            (Method::HEAD, "/transforms", Route::List),
            (Method::POST, "/transforms", Route::NotAllowed("GET, HEAD")),
            (Method::POST, "/transform/shout", Route::Transform("shout")),
            (Method::POST, "/transform/a/b", Route::Transform("a/b")),
            (Method::PUT, "/transform/shout", Route::NotAllowed("POST")),
            (Method::POST, "/transform/", Route::NotFound),
            (Method::GET, "/favicon.ico", Route::NotFound),
        ] {
            assert_eq!(route(&method, path), wanted, "{method} {path}");
        }
    }

    #[test]
    fn what_is_said_to_be_no_poem_is_none() {
        let problem = |name, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            problem_of_type(&headers).is_some()
        };
        for mime in [
            "text/plain",
            "Text/Plain; charset=iso-8859-1",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!problem(CONTENT_TYPE, mime), "{mime}");
        }
        for mime in [
            "application/json",
            "image/png",
            "multipart/form-data; boundary=x",
            "",
        ] {
            assert!(problem(CONTENT_TYPE, mime), "{mime}");
        }
        assert!(problem(CONTENT_ENCODING, "gzip"));
        assert!(!problem(CONTENT_ENCODING, "identity"));
        assert_eq!(problem_of_type(&HeaderMap::new()), None);
    }

    #[test]
    fn each_failure_has_its_status() {
        let gibberish = TransformError::gibberish("less than 3 words");
        for (error, status, say) in [
            (
                CallTransformError::Unknown("x\n".into()),
                404,
                "no transform is called \"x\\n\"; GET /transforms lists them\n",
            ),
            (gibberish.into(), 422, "gibberish: less than 3 words\n"),
            (
                CallTransformError::Overloaded,
                429,
                "too many poems are waiting to be transformed\n",
            ),
            (
                CallTransformError::Crashed(byron_supervisors::ExitReason::Killed),
                500,
                "the transform crashed\n",
            ),
            (
                CallTransformError::Nobody,
                503,
                "nobody is there to transform poems\n",
            ),
        ] {
            let answer = complaint(&error);
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(
                answer.headers().contains_key(RETRY_AFTER),
                status == 429 || status == 503
            );
            let body = futures_util::FutureExt::now_or_never(answer.into_body().collect());
            assert_eq!(body.unwrap().unwrap().to_bytes(), say);
        }
    }
}
