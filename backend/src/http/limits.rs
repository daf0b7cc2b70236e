//! Limits that hold for every request: how long an answer may take, and how many requests may be under way at once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use svc_common::problem::Problem;
use tokio::sync::Semaphore;

/// How long a request may take in all. The server's own time limits come first; this one is for a database that hangs
/// and cannot keep them. Shorter than the drain, so that no request is cut off by it.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);

/// How many requests may be under way. What comes on top would only wait for one of sixteen connections.
const AT_ONCE: usize = 1024;

/// The largest body of most routes; files have their own limit.
pub(crate) const BODY_BYTES: usize = 256 * 1024;

/// The places of the requests under way.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Turns a request away at once when too many are under way.
pub(crate) async fn with_place(State(places): State<Places>, request: Request, next: Next) -> Response {
    match places.0.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Problem::unavailable("too many requests are under way").into_response(),
    }
}

/// Answers in time, with a problem if need be.
pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    // A file may take as long as its bytes keep coming; its own route sees to that.
    if request.uri().path() == "/api/files" {
        return next.run(request).await;
    }
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the answer took too long").into_response(),
    }
}
