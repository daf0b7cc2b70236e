//! Ids in paths. What is not an id is blamed by its pointer, like every other part of a request.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use svc_common::problem::{FieldError, Problem};
use uuid::Uuid;

/// The `{id}` of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let not_text = |_| Problem::new(StatusCode::BAD_REQUEST, "bad_path", "the path is not UTF-8");
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(not_text)?;
        let given = params.iter().find(|(name, _)| *name == "id").map_or("", |(_, value)| value);
        Uuid::try_parse(given).map(Self).map_err(|_| {
            let message = format!("`{given}` is not an id, which is a UUID");
            Problem::validation(vec![FieldError::path("id", "invalid", message)])
        })
    }
}
