//! How the gateway and what it needs are doing. `/ws/health` says that the process lives and asks nobody;
//! `/ws/health/ready` says whether messages flow; `/ws/health/detailed` says why not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use svc_common::health::{Check, Status};

use crate::server::Gateway;

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
    connections: usize,
    rooms: usize,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    redis: Check,
    subscription: Subscription,
}

#[derive(Serialize)]
struct Subscription {
    status: Status,
}

fn live_as(status: Status) -> Json<Live> {
    Json(Live { status, service: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

fn code(status: Status) -> StatusCode {
    match status {
        Status::Ok | Status::Degraded => StatusCode::OK,
        Status::Down => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// `GET /ws/health`
pub(crate) async fn live() -> Json<Live> {
    live_as(Status::Ok)
}

/// `GET /ws/health/ready`
pub(crate) async fn ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Live>) {
    let flows = gateway.bus.is_live() && !gateway.shutdown.is_requested();
    let status = if flows { Status::Ok } else { Status::Down };
    (code(status), live_as(status))
}

/// `GET /ws/health/detailed`
pub(crate) async fn detailed(State(gateway): State<Gateway>) -> (StatusCode, Json<Detailed>) {
    let look = async { gateway.bus.ping().await.map_err(|error| error.to_string()) };
    let (redis, _) = Check::run(look).await;
    let subscription = Subscription { status: if gateway.bus.is_live() { Status::Ok } else { Status::Down } };
    let flows = redis.is_ok() && subscription.status == Status::Ok;
    let status = if flows { Status::Ok } else { Status::Down };
    let census = gateway.hub.census();
    let body = Detailed {
        status,
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: gateway.started.elapsed().as_secs(),
        connections: census.connections,
        rooms: census.rooms,
        checks: Checks { redis, subscription },
    };
    (code(status), Json(body))
}
