//! What happens around every request: an id, a span that puts it into each log line, one line per answer, and a net
//! that turns panics and bare error responses (no such route, wrong method) into problem documents.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::Problem;

/// The header that carries a request's id in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps a request; for `axum::middleware::from_fn`.
pub async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id = %id, %method, path);
    let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let _entered = span.enter();

    let mut response = outcome.unwrap_or_else(|_| Problem::internal().render(None, None));
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => Some(problem),
        None if is_bare(&response) => Some(bare(status, method.as_str(), &path)),
        None => None,
    };
    if let Some(problem) = problem {
        let mut rendered = problem.render(Some(&path), Some(&id));
        for (name, value) in response.headers() {
            if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
                rendered.headers_mut().insert(name, value.clone());
            }
        }
        response = rendered;
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    let status = response.status().as_u16();
    let elapsed_ms = crate::millis(started.elapsed());
    // Probes ask many times a second while a stack starts: they would drown everything else.
    if path.contains("/health") {
        tracing::debug!(status, elapsed_ms, "answered");
    } else {
        tracing::info!(status, elapsed_ms, "answered");
    }
    response
}

/// Takes over the caller's id if it is harmless in a log line and a header, or else makes one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Whether this is an error of the framework's, which says nothing or plain text. Health reports are errors too while
/// something is down, but have a body of their own.
fn is_bare(response: &Response) -> bool {
    let error = response.status().is_client_error() || response.status().is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    error && kind.is_none_or(|kind| kind.starts_with(b"text/plain"))
}

/// Words for an error that no handler of ours made.
fn bare(status: StatusCode, method: &str, path: &str) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found(format!("there is nothing at `{path}`")),
        // The router adds `Allow` outside of this layer.
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = format!("`{path}` does not take {method}; the header `Allow` names what it takes");
            Problem::new(status, "method_not_allowed", detail)
        }
        status if status.is_server_error() => Problem { status, ..Problem::internal() },
        status => Problem::new(status, "bad_request", status.canonical_reason().unwrap_or("the request is not valid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        for (given, kept) in [
            ("0192-abc_DEF.1:2", true),
            ("a", true),
            ("", false),
            ("has space", false),
            ("quote\"d", false),
            ("é", false),
            (&"x".repeat(65), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            let id = request_id(&headers);
            assert_eq!(id == given, kept, "{given:?} became {id:?}");
            assert!(kept || Uuid::parse_str(&id).is_ok());
        }
    }
}
