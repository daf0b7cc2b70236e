//! Lists in pages. A page ends with an opaque mark; the next one begins behind it.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

const MAX_LIMIT: u8 = 100;
/// How many rows a page has when nobody says.
pub(crate) const DEFAULT_LIMIT: u8 = 20;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The rows of this page.
    pub(crate) items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub(crate) next_cursor: Option<String>,
}

/// Reads `limit`.
pub(crate) fn parse_limit(value: &str) -> Result<u8, String> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("has to be a number from 1 to {MAX_LIMIT}"))
}

/// Cuts rows to a page: one row more than wanted was asked for and shows whether there is another page.
pub(crate) fn cut<T>(mut rows: Vec<T>, limit: u8, mark: impl FnOnce(&T) -> String) -> Page<T> {
    let limit = usize::from(limit);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = if more { rows.last().map(mark) } else { None };
    Page { items: rows, next_cursor }
}

impl<T: Serialize> Page<T> {
    /// Answers with the page, and a `Link` header for clients that follow those. `given` are the parameters of this page.
    pub(crate) fn answer(self, path: &str, given: &[(&str, Option<String>)]) -> Response {
        let link = self.next_cursor.as_deref().and_then(|cursor| {
            let mut url = format!("<{path}?cursor={cursor}");
            for (name, value) in given {
                if let Some(value) = value {
                    url.push('&');
                    url.push_str(name);
                    url.push('=');
                    percent_encode(value, &mut url);
                }
            }
            url.push_str(">; rel=\"next\"");
            HeaderValue::from_str(&url).ok()
        });
        let mut response = Json(self).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

fn percent_encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_encoded() {
        let page = Page::<u8> { items: Vec::new(), next_cursor: Some("abc".to_owned()) };
        let response =
            page.answer("/api/x", &[("limit", Some("20".to_owned())), ("q", Some("jamón & \"co\"".to_owned()))]);
        let link = response.headers()[header::LINK].to_str().unwrap();
        assert_eq!(link, "</api/x?cursor=abc&limit=20&q=jam%C3%B3n%20%26%20%22co%22>; rel=\"next\"");
    }

    #[test]
    fn a_full_page_has_a_next_one_only_if_there_is_more() {
        assert_eq!(cut(vec![1, 2, 3], 2, ToString::to_string).next_cursor.as_deref(), Some("2"));
        assert_eq!(cut(vec![1, 2], 2, ToString::to_string).next_cursor, None);
    }
}
