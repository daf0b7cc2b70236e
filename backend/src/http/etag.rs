//! Versions of things in headers: `ETag`, and `If-None-Match` for readers that have one.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// The tag of a thing that counts its versions.
pub(crate) fn of_version(version: i32) -> String {
    format!("\"v{version}\"")
}

/// Whether a reader has this version already.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    list(headers, header::IF_NONE_MATCH).any(|given| given == "*" || given.trim_start_matches("W/") == tag)
}

/// Answers a reader: the thing with its tag, or `304` if it has that.
pub(crate) fn answer(headers: &HeaderMap, tag: &str, body: impl IntoResponse) -> Response {
    let mut response =
        if is_known(headers, tag) { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}
