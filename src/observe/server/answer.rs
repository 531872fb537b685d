//! Answers: JSON, also when something is refused.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::super::model::VERSION;
use super::super::protocol::{Refusal, RefusalReason};

/// How many bytes the body of a request may have.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a body may be on its way.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";

/// A request that is refused, and why.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refused {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        message: impl Into<String>,
    ) -> Refused {
        Refused {
            status,
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let refusal = Refusal {
            v: VERSION,
            error: RefusalReason {
                kind: self.kind.to_owned(),
                message: self.message.clone(),
            },
        };
        json(self.status, &refusal)
    }
}

/// What every handler answers.
pub(super) type Answer = Result<HttpResponse, Refused>;

/// An answer that is data.
pub(super) fn ok(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, body)
}

/// An answer as one line, so that a terminal's prompt does not stand behind it.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut text = serde_json::to_string(body).unwrap_or_else(|error| {
        // A map with keys that are no texts would be the only reason, and the model has none.
        format!(
            r#"{{"v":{VERSION},"error":{{"kind":"bug","message":{:?}}}}}"#,
            error.to_string()
        )
    });
    text.push('\n');
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, JSON))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(text)
}

/// The body of a request that changes something. Without one, its defaults.
pub(super) async fn body<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, Refused> {
    let bytes = json_bytes(request, payload).await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "body",
            format!("the body is not what is expected: {error}"),
        )
    })
}

async fn json_bytes(request: &HttpRequest, payload: Payload) -> Result<Bytes, Refused> {
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !is_json(content_type) {
        return Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            "what changes something must say that it means to: -H 'Content-Type: application/json'",
        ));
    }
    let too_large = || {
        Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {BODY_BYTES_MAX} bytes"),
        )
    };
    let unreadable = |error: &dyn fmt::Display| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "body",
            format!("the body cannot be read: {error}"),
        )
    };
    match timeout(BODY_TIMEOUT, payload.to_bytes_limited(BODY_BYTES_MAX)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(error))) => Err(unreadable(&error)),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("the body did not arrive within {}s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

/// Whatever follows the type itself (a charset) changes nothing.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_may_say_its_charset_and_a_form_is_no_json() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/x-www-form-urlencoded", false),
            ("text/plain; application/json", false),
            ("", false),
        ] {
            assert_eq!(is_json(content_type), expected, "{content_type}");
        }
    }
}
