//! One dependency's health: whether it answers, and how fast.

use std::time::{Duration, Instant};

use serde::Serialize;

/// How long a dependency may take to answer before it counts as down.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Whether something works.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Ok,
    /// It works in part.
    Degraded,
    /// It does not work.
    Down,
}

/// What one look at a dependency showed.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Whether it answered.
    pub status: Status,
    /// How long the answer, or the failure, took.
    pub latency_ms: f64,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Check {
    /// Whether the dependency answered.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Runs a look at a dependency, within [`PATIENCE`].
    pub async fn run<T>(look: impl Future<Output = Result<T, String>>) -> (Self, Option<T>) {
        let started = Instant::now();
        let result = match tokio::time::timeout(PATIENCE, look).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} ms", PATIENCE.as_millis())),
        };
        let latency_ms = crate::millis(started.elapsed());
        match result {
            Ok(value) => (Self { status: Status::Ok, latency_ms, error: None }, Some(value)),
            Err(error) => (Self { status: Status::Down, latency_ms, error: Some(error) }, None),
        }
    }
}
