//! What is answered when something is wrong: RFC 9457, with hints.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::control::wire::{API, Problem, Refusal};
use crate::manifest::suggest;

impl Problem {
    fn new(kind: &str, title: &str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:devctl:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            hints: Vec::new(),
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(super) fn no_route(path: &str, routes: impl Iterator<Item = String>) -> Self {
        let problem = Self::new(
            "no-such-route",
            "There is no such route",
            StatusCode::NOT_FOUND,
            format!("there is no `{path}`"),
        );
        routes.fold(problem, Self::hint)
    }

    pub(super) fn wrong_method(method: &str, path: &str) -> Self {
        let detail = format!("`{path}` does not know {method}");
        let title = "The route does not know this method";
        Self::new("wrong-method", title, StatusCode::METHOD_NOT_ALLOWED, detail)
            .hint("what changes something is POST, everything else is GET")
    }

    pub(super) fn other_api(theirs: &str) -> Self {
        let detail = format!("this devctl speaks version {API} of the API, and was asked in version `{theirs}`");
        Self::new("other-api", "Another version of the API", StatusCode::BAD_REQUEST, detail)
            .hint("use the same devctl that runs the stack, or run the stack anew with `devctl down` and `devctl up`")
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new("bad-request", "The request cannot be read", StatusCode::BAD_REQUEST, detail)
            .hint("docs/control-api.md and `GET /v1/openapi.json` tell what can be sent")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("a body may have {limit} bytes");
        Self::new("too-large", "The request is too large", StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    pub(super) fn too_slow() -> Self {
        let detail = "the body did not come in time";
        Self::new("too-slow", "The request came too slowly", StatusCode::REQUEST_TIMEOUT, detail)
    }

    pub(super) fn too_many_clients(limit: usize) -> Self {
        let detail = format!("{limit} clients are being answered, and there is no room for more");
        Self::new("too-many-clients", "Too many clients", StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn bug(detail: impl Into<String>) -> Self {
        Self::new("bug", "devctl failed", StatusCode::INTERNAL_SERVER_ERROR, detail)
            .hint("this is a bug in devctl, please report it with `.devctl/supervisor.log`")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let (problem, hints) = match refusal {
            Refusal::NoService { name, known } => {
                let names = || known.iter().map(String::as_str);
                let hint = match suggest::closest(&name, names()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None if known.is_empty() => "the run has no service".to_owned(),
                    None => suggest::choices(names()),
                };
                (Self::new("no-such-service", "There is no such service", StatusCode::NOT_FOUND, detail), vec![hint])
            }
            Refusal::Conflict { hints, .. } => {
                (Self::new("conflict", "It cannot be done now", StatusCode::CONFLICT, detail), hints)
            }
            Refusal::Invalid { hints, .. } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                (Self::new("invalid", "It cannot be done as asked", status, detail), hints)
            }
            Refusal::Failed { hints, .. } => {
                (Self::new("failed", "It was tried and failed", StatusCode::INTERNAL_SERVER_ERROR, detail), hints)
            }
        };
        Self { hints, ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem is plain data");
        let kind = HeaderValue::from_static("application/problem+json");
        (status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}
