//! How the service and what it needs are doing. `/api/health` says that the process lives and asks nobody;
//! `/api/health/ready` says whether requests can be answered; `/api/health/detailed` says why not.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::Serialize;
use svc_common::chain;
use svc_common::health::{Check, PATIENCE, Status};

use crate::database::{Database, DatabaseError};

/// What the health routes look at.
#[derive(Clone)]
pub(crate) struct Vitals {
    database: Database,
    redis: ConnectionManager,
    started: Instant,
}

#[derive(Serialize)]
pub(crate) struct Live {
    status: Status,
    service: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Detailed {
    status: Status,
    service: &'static str,
    version: &'static str,
    uptime_s: u64,
    /// The newest migration that is applied.
    migration: Option<i32>,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    database: Check,
    redis: Check,
}

impl Vitals {
    /// Prepares the looks; Redis is not connected to before the first one.
    pub(crate) fn new(database: Database, redis: &redis::ConnectionInfo) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(redis.clone())?;
        // One attempt per look: a Redis that is away shows in this answer, not in a later one.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let redis = ConnectionManager::new_lazy_with_config(client, config)?;
        Ok(Self { database, redis, started: Instant::now() })
    }

    async fn look_at_database(&self) -> Result<i32, String> {
        let look = async {
            let client = self.database.client().await?;
            let statement = client.prepare_cached("SELECT max(version) FROM schema_migrations").await?;
            Ok::<_, DatabaseError>(client.query_one(&statement, &[]).await?.get::<_, Option<i32>>(0).unwrap_or(0))
        };
        look.await.map_err(|error| chain(&error))
    }

    async fn look_at_redis(&self) -> Result<(), String> {
        let mut redis = self.redis.clone();
        redis::cmd("PING").query_async::<String>(&mut redis).await.map(drop).map_err(|error| chain(&error))
    }
}

/// `GET /api/health`
pub(crate) async fn live() -> Json<Live> {
    Json(Live { status: Status::Ok, service: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

/// `GET /api/health/ready`
pub(crate) async fn ready(State(vitals): State<Vitals>) -> (StatusCode, Json<Live>) {
    let (check, _) = Check::run(vitals.look_at_database()).await;
    let code = if check.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let service = env!("CARGO_PKG_NAME");
    (code, Json(Live { status: check.status, service, version: env!("CARGO_PKG_VERSION") }))
}

/// `GET /api/health/detailed`
pub(crate) async fn detailed(State(vitals): State<Vitals>) -> (StatusCode, Json<Detailed>) {
    let ((database, migration), (redis, _)) =
        tokio::join!(Check::run(vitals.look_at_database()), Check::run(vitals.look_at_redis()));
    let (code, status) = match (database.is_ok(), redis.is_ok()) {
        (true, true) => (StatusCode::OK, Status::Ok),
        (true, false) => (StatusCode::OK, Status::Degraded),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, Status::Down),
    };
    let body = Detailed {
        status,
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: vitals.started.elapsed().as_secs(),
        migration,
        checks: Checks { database, redis },
    };
    (code, Json(body))
}
