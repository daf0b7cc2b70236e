//! How the service and what it needs are doing. `/api/health` says that the process lives and asks nobody;
//! `/api/health/ready` says whether requests can be answered; `/api/health/detailed` says why not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use svc_common::chain;
use svc_common::health::{Check, Status};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::database::DatabaseError;

/// How old the oldest unpublished event may be, in seconds, before something is wrong with publishing.
const LAG_S: f64 = 10.0;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(detailed))
}

/// Whether the process lives.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    status: Status,
    service: &'static str,
    version: &'static str,
}

/// How everything is doing.
#[derive(Debug, Serialize, ToSchema)]
struct Detailed {
    status: Status,
    service: &'static str,
    version: &'static str,
    uptime_s: u64,
    /// The newest migration that is applied.
    migration: Option<i32>,
    /// Events that are still to be published, and the age of the oldest one.
    outbox: Option<Lag>,
    checks: Checks,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct Lag {
    pending: i64,
    oldest_s: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    database: Check,
    redis: Check,
    outbox: Check,
}

async fn look_at_database(app: &App) -> Result<i32, String> {
    let look = async {
        let client = app.database.client().await?;
        let statement = client.prepare_cached("SELECT max(version) FROM schema_migrations").await?;
        Ok::<_, DatabaseError>(client.query_one(&statement, &[]).await?.get::<_, Option<i32>>(0).unwrap_or(0))
    };
    let result = look.await.map_err(|error| chain(&error));
    app.metrics.pg_up.set(i64::from(result.is_ok()));
    result
}

async fn look_at_outbox(app: &App) -> Result<Lag, String> {
    let look = async {
        let client = app.database.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox",
            )
            .await?;
        let row = client.query_one(&statement, &[]).await?;
        Ok::<_, DatabaseError>(Lag { pending: row.get(0), oldest_s: row.get::<_, f64>(1).max(0.0) })
    };
    let lag = look.await.map_err(|error| chain(&error))?;
    app.metrics.outbox_pending.set(lag.pending);
    app.metrics.outbox_oldest.set(lag.oldest_s);
    Ok(lag)
}

/// Whether the process lives.
#[utoipa::path(get, path = "/api/health", tag = "health", responses((status = 200, body = Live)))]
async fn live() -> Json<Live> {
    live_as(Status::Ok)
}

/// Whether requests can be answered.
#[utoipa::path(get, path = "/api/health/ready", tag = "health",
    responses((status = 200, body = Live), (status = 503, body = Live)))]
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Live>) {
    let (check, _) = Check::run(look_at_database(&app)).await;
    let code = if check.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, live_as(check.status))
}

fn live_as(status: Status) -> Json<Live> {
    Json(Live { status, service: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

/// How everything is doing.
#[utoipa::path(get, path = "/api/health/detailed", tag = "health",
    responses((status = 200, body = Detailed), (status = 503, body = Detailed)))]
async fn detailed(State(app): State<Arc<App>>) -> (StatusCode, Json<Detailed>) {
    let ((database, migration), (redis, _), (mut outbox, lag)) = tokio::join!(
        Check::run(look_at_database(&app)),
        Check::run(app.redis.look()),
        Check::run(look_at_outbox(&app)),
    );
    if let Some(lag) = lag.filter(|lag| lag.oldest_s > LAG_S) {
        outbox.status = Status::Degraded;
        outbox.error = Some(format!("the oldest event has waited for {:.0} s to be published", lag.oldest_s));
    }
    let (code, status) = if !database.is_ok() {
        (StatusCode::SERVICE_UNAVAILABLE, Status::Down)
    } else if redis.is_ok() && outbox.is_ok() {
        (StatusCode::OK, Status::Ok)
    } else {
        (StatusCode::OK, Status::Degraded)
    };
    let body = Detailed {
        status,
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: app.started.elapsed().as_secs(),
        migration,
        outbox: lag,
        checks: Checks { database, redis, outbox },
    };
    (code, Json(body))
}
