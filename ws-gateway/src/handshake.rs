//! The upgrade of a request to a WebSocket: who may, into which room, with which buffers.

use std::sync::atomic::Ordering;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use svc_common::config::Origins;
use svc_common::params::Params;
use svc_common::problem::Problem;
use uuid::Uuid;

use crate::connection;
use crate::message::MAX_MESSAGE;
use crate::room::RoomName;
use crate::server::Gateway;

/// The library's defaults are 128 KiB, allocated at once: 1.3 GB for ten thousand clients that say nothing.
const BUFFER: usize = 4096;
/// What the library may read of one message, and hold of what it could not write.
const READ_MOST: usize = 4 * MAX_MESSAGE;
const WRITE_MOST: usize = 1024 * 1024;

/// `GET /ws?room=NAME`
pub(crate) async fn upgrade(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Query(given): Query<Vec<(String, String)>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Response> {
    check_origin(&headers, &gateway.origins).map_err(Problem::into_response)?;
    let room = room(given).map_err(Problem::into_response)?;
    let upgrade = upgrade.map_err(|rejection| not_a_websocket(&rejection))?;
    if gateway.shutdown.is_requested() {
        return Err(Problem::unavailable("the gateway stops").into_response());
    }
    let token = gateway.tracker.token();
    let upgrade = upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(WRITE_MOST)
        .max_message_size(READ_MOST)
        .max_frame_size(READ_MOST)
        .on_failed_upgrade(|error| tracing::debug!(%error, "the upgrade failed"));
    Ok(upgrade.on_upgrade(async move |socket| {
        let seat = gateway.hub.join(room, Uuid::now_v7());
        if connection::run(socket, seat, gateway.bus, gateway.shutdown, gateway.limits).await {
            gateway.sent_away.fetch_add(1, Ordering::Relaxed);
        }
        // Last, as whoever waits for all tokens reads the count.
        drop(token);
    }))
}

/// Browsers name the page that opens a socket and nobody else can forge that, so an unlisted page is refused. Programs
/// send no origin and carry no cookies that a foreign page could ride on.
fn check_origin(headers: &HeaderMap, origins: &Origins) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if origin.to_str().is_ok_and(|origin| origins.allow(origin)) {
        return Ok(());
    }
    let detail = "pages of this origin may not connect; ALLOWED_ORIGINS lists those that may";
    Err(Problem::new(StatusCode::FORBIDDEN, "origin_refused", detail))
}

fn room(given: Vec<(String, String)>) -> Result<RoomName, Problem> {
    let mut params = Params::new(given, &["room"]);
    let room = params.read("room", RoomName::parse);
    params.finish()?;
    Ok(room.unwrap_or_else(RoomName::lobby))
}

fn not_a_websocket(rejection: &WebSocketUpgradeRejection) -> Response {
    let detail = format!("this address speaks WebSocket: {}", rejection.body_text());
    let mut response = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail).into_response();
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}
