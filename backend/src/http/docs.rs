//! The document that describes the routes (`/api/openapi.json`), and a page that shows it without a byte from elsewhere
//! (`/api/docs`). The document is made of the routes themselves; what holds for all of them is added here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::app::App;
use crate::auth::policy::{self, Access};

/// An error, as RFC 9457 describes it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `about:blank`: the status says all.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// A stable word for programs.
    code: String,
    /// A sentence for people.
    detail: String,
    /// The path of the request.
    instance: Option<String>,
    /// The id under which the log tells of this request.
    request_id: Option<String>,
    /// The parts of the request that are wrong.
    #[schema(required = false)]
    errors: Vec<Flaw>,
}

/// A part of a request that is wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct Flaw {
    /// A JSON pointer into the request as `{"path": …, "query": …, "header": …, "body": …}`.
    pointer: String,
    /// A stable word for programs.
    code: String,
    /// A sentence for people.
    message: String,
}

/// Adds to the document what no route says itself: how to sign in, where that is needed, and what an error looks like.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("menu_ops")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The operations of a restaurant: menu, search, orders, tables and chat."))
        .build();
    let components = document.components.get_or_insert_default();
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    components.schemas.insert("Flaw".to_owned(), Flaw::schema());
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let error = ResponseBuilder::new()
        .description("What went wrong")
        .content("application/problem+json", Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem")))))
        .build();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(error.clone()));
            if matches!(policy::find(method, path).map(|rule| rule.access), Some(Access::Roles(_))) {
                operation.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
            }
        }
    }
    document
}

/// The operations of a path with their methods.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_mut().map(|operation| (method, operation)))
}

/// The document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "docs", responses((status = 200, body = Object)))]
pub(crate) async fn document(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document.get().cloned().unwrap_or_default()).into_response()
}

/// The page.
#[utoipa::path(get, path = "/api/docs", tag = "docs", responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn page() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (headers, include_str!("docs.html")).into_response()
}
