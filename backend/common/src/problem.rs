//! Errors as RFC 9457 problem documents. A handler says what went wrong; [`crate::request`] adds the path and the
//! request id, so that a reader of the answer finds the log lines.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error as the client sees it. Details of other systems (SQL, addresses) stay in the log.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs, such as `validation_failed`.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
    /// The parts of the request that are wrong.
    pub errors: Vec<FieldError>,
    /// When it is worth trying again, in seconds.
    pub retry_after: Option<u32>,
}

/// One part of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// A JSON pointer into the request as `{"path": …, "query": …, "header": …, "body": …}`.
    pub pointer: String,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl FieldError {
    /// Blames a query parameter. The name may come from the client, hence the escapes of RFC 6901.
    pub fn query(name: &str, code: &'static str, message: impl Into<String>) -> Self {
        let name = name.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("/query/{name}"), code, message: message.into() }
    }

    /// Blames a part of the body, by its JSON pointer there; the empty one is the body itself.
    pub fn body(pointer: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: format!("/body{pointer}"), code, message: message.into() }
    }

    /// Blames a header.
    pub fn header(name: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: format!("/header/{name}"), code, message: message.into() }
    }

    /// Blames a part of the path.
    pub fn path(name: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: format!("/path/{name}"), code, message: message.into() }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// Makes a problem without details about parts of the request.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// The request is understood but wrong.
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.message.clone(),
            many => format!("{} parts of the request are not valid", many.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail) }
    }

    /// There is nothing of that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Nobody is signed in, or not validly.
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// Whoever is signed in may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// The request does not fit the present state of things.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// The service cannot answer now but will again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// A fault of ours; the log has the cause.
    pub fn internal() -> Self {
        let detail = "something went wrong on our side; the log has the cause under this request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Renders the document; `instance` and `request_id` are known to the middleware alone.
    pub(crate) fn render(&self, instance: Option<&str>, request_id: Option<&str>) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            instance,
            request_id,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&document).expect("strings and numbers always serialise");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(None, None);
        response.extensions_mut().insert(self);
        response
    }
}
