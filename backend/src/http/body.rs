//! JSON bodies: read within limits, parsed strictly, then checked as a whole, so that one answer names every part that is
//! wrong by its JSON pointer.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use svc_common::problem::{FieldError, Problem};

/// How long a client may take to send a body.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// A body that can be checked beyond its types.
pub(crate) trait Check {
    /// Notes what is wrong.
    fn check(&self, flaws: &mut Flaws);
}

/// What is wrong with a body, found so far.
#[derive(Debug, Default)]
pub(crate) struct Flaws(Vec<FieldError>);

impl Flaws {
    /// Notes one flaw at a JSON pointer.
    pub(crate) fn add(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        self.0.push(FieldError::body(pointer, code, message));
    }

    /// Checks a text: its length in characters, and that it has no control characters but line ends and tabs.
    pub(crate) fn text(&mut self, pointer: &str, text: &str, chars: RangeInclusive<usize>) {
        let count = text.trim().chars().count().min(text.chars().count());
        if !chars.contains(&count) || text.chars().count() > *chars.end() {
            let (from, to) = (chars.start(), chars.end());
            self.add(pointer, "length", format!("has to have {from} to {to} characters"));
        } else if text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) {
            self.add(pointer, "control_character", "must not have control characters");
        }
    }

    /// Checks a number.
    pub(crate) fn range<T: PartialOrd + std::fmt::Display>(
        &mut self,
        pointer: &str,
        value: &T,
        range: RangeInclusive<T>,
    ) {
        if !range.contains(value) {
            self.add(pointer, "range", format!("has to be from {} to {}", range.start(), range.end()));
        }
    }

    /// Checks a list of words such as tags: how many, and each one.
    pub(crate) fn words(&mut self, pointer: &str, words: &[String], most: usize) {
        if words.len() > most {
            self.add(pointer, "length", format!("has to have {most} entries at most"));
        }
        for (index, word) in words.iter().enumerate().take(most) {
            self.text(&format!("{pointer}/{index}"), word, 1..=40);
        }
    }

    /// Ends the check.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::validation(self.0)) }
    }
}

/// A body that is JSON of this type and passed its checks.
#[derive(Debug)]
pub(crate) struct Body<T> {
    /// What it says.
    pub(crate) value: T,
    /// As it was sent.
    pub(crate) raw: Bytes,
}

impl<T: DeserializeOwned + Check, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body has to be JSON, and the header `Content-Type` has to say so: `application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let raw = receive(request, state).await?;
        let value: T = parse(&raw)?;
        let mut flaws = Flaws::default();
        value.check(&mut flaws);
        flaws.finish()?;
        Ok(Self { value, raw })
    }
}

async fn receive<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    match tokio::time::timeout(SEND_WITHIN, Bytes::from_request(request, state)).await {
        Ok(Ok(raw)) => Ok(raw),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too large"))
        }
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "cut_off", "the body ended before its end")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", SEND_WITHIN.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", detail))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(raw);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            // serde_json ends its words with the place in the text, which the pointer says better.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            Problem::validation(vec![FieldError::body(&pointer, "type", message)])
        } else {
            malformed(&error)
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
}

fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |mut pointer, segment| {
        let _ = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } => write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => write!(pointer, "/{variant}"),
            Segment::Unknown => Ok(()),
        };
        pointer
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it parses counts")]
    struct Order {
        items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it parses counts")]
    struct Item {
        qty: u8,
    }

    #[test]
    fn types_are_blamed_by_pointer() {
        for (text, pointer) in [
            (r#"{"items":[{"qty":1},{"qty":"2"}]}"#, "/body/items/1/qty"),
            (r#"{"items":[{"qty":256}]}"#, "/body/items/0/qty"),
            (r#"{"items":[{"qty":1,"price":0}]}"#, "/body/items/0/price"),
            (r#"{"items":[{}]}"#, "/body/items/0"),
            ("[]", "/body"),
        ] {
            let problem = parse::<Order>(text.as_bytes()).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.errors[0].pointer.as_str()), (422, pointer), "{text}");
        }
        for text in [&b"{"[..], b"", b"{} x", b"{\"items\":[]}]", b"\xff", b"{\"a\":\"\xff\"}"] {
            let problem = parse::<Order>(text).unwrap_err();
            assert!(problem.status.as_u16() == 400 || problem.errors[0].code == "type", "{problem:?}");
        }
    }

    #[test]
    fn texts() {
        let flaws = |text: &str| {
            let mut flaws = Flaws::default();
            flaws.text("/name", text, 1..=5);
            flaws.0.first().map(|flaw| flaw.code)
        };
        assert_eq!(flaws("é\nb"), None);
        for (bad, code) in [("", "length"), ("   ", "length"), ("123456", "length"), ("a\0", "control_character")] {
            assert_eq!(flaws(bad), Some(code), "{bad:?}");
        }
    }
}
