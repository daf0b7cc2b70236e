//! Versions of things in headers: `ETag`, `If-None-Match` for readers, `If-Match` for writers.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use svc_common::problem::Problem;

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

/// Lets a writer pass that has seen the present version: one that has not would undo what somebody else did.
pub(crate) fn expect(headers: &HeaderMap, version: i32) -> Result<(), Problem> {
    require(headers)?;
    let tag = of_version(version);
    if list(headers, header::IF_MATCH).any(|given| given == "*" || given == tag) {
        return Ok(());
    }
    let detail = format!("it has been changed in the meantime and is {tag} now; read it again");
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version_changed", detail))
}

/// Refuses a writer that does not say which version it has seen.
pub(crate) fn require(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let detail = "say with the header `If-Match` which version you have seen: the `ETag` that came with it";
    Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if_match_required", detail))
}

fn list(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_name_the_version_they_have_seen() {
        let with = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            }
            expect(&headers, 3).err().map(|problem| problem.status.as_u16())
        };
        for (given, answer) in [
            (Some("\"v3\""), None),
            (Some("\"v1\", \"v3\""), None),
            (Some("*"), None),
            (Some("\"v2\""), Some(412)),
            // A weak tag never matches a writer's.
            (Some("W/\"v3\""), Some(412)),
            (Some("v3"), Some(412)),
            (None, Some(428)),
        ] {
            assert_eq!(with(given), answer, "{given:?}");
        }
    }
}
