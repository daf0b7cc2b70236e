//! Lists of orders, the newest first, and single ones.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use svc_common::params::Params;
use svc_common::problem::Problem;
use uuid::Uuid;

use super::{Order, Status, read};
use crate::app::App;
use crate::auth::role::Caller;
use crate::cursor::{self, After};
use crate::database::ApiError;
use crate::http::etag;
use crate::http::page::{self, DEFAULT_LIMIT, Page, parse_limit};
use crate::http::path::Id;

/// Orders, the newest first.
///
/// Guests see those of their own table.
#[utoipa::path(get, path = "/api/orders", tag = "orders",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query),
        ("status" = Option<Status>, Query), ("table_session" = Option<Uuid>, Query),
    ),
    responses((status = 200, body = Page<Order>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let mut params = Params::new(given, &["limit", "cursor", "status", "table_session"]);
    let limit = params.read("limit", parse_limit).unwrap_or(DEFAULT_LIMIT);
    let status = params.read("status", |value| Status::parse(value).ok_or_else(|| "is not a status".to_owned()));
    let session =
        params.read("table_session", |value| Uuid::try_parse(value).map_err(|_| "has to be a UUID".to_owned()));
    let status = status.map(Status::name);
    let text = session.map(|session| session.to_string());
    let name = [Some("orders"), status, text.as_deref()];
    let after = params.read("cursor", |cursor| cursor::decode(&name, cursor).map_err(str::to_owned));
    params.finish()?;
    let session = match caller {
        Caller::Person { .. } => session,
        Caller::Table { session: own, .. } if session.is_none_or(|given| given == own) => Some(own),
        Caller::Table { .. } => return Err(Problem::forbidden("guests see the orders of their own table").into()),
    };
    let (at, id) = match after {
        Some(After::Time(at, id)) => (Some(at), Some(id)),
        Some(After::Name(..) | After::Distance(..)) | None => (None, None),
    };
    let client = app.database.client().await?;
    let query = "WHERE ($1::text IS NULL OR o.status = $1) AND ($2::uuid IS NULL OR o.table_session_id = $2) \
                 AND ($3::bigint IS NULL OR (o.created_at, o.id) < (timestamptz 'epoch' + $3 * interval '1 us', $4::uuid)) \
                 ORDER BY o.created_at DESC, o.id DESC LIMIT $5";
    let orders = read(&client, query, &[&status, &session, &at, &id, &(i64::from(limit) + 1)]).await?;
    let page = page::cut(orders, limit, |order| {
        cursor::encode(&name, After::Time(order.created_at.as_microsecond(), order.id))
    });
    let given =
        [("limit", Some(limit.to_string())), ("status", status.map(str::to_owned)), ("table_session", text.clone())];
    Ok(page.answer("/api/orders", &given))
}

/// An order.
#[utoipa::path(get, path = "/api/orders/{id}", tag = "orders", params(("id" = Uuid, Path)),
    responses((status = 200, body = Order, headers(("ETag" = String))), (status = 304)))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Id(id): Id,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let client = app.database.client().await?;
    let order = read(&client, "WHERE o.id = $1", &[&id]).await?.pop();
    // Somebody else's order is not there, rather than forbidden: its id is nobody's business.
    let order = order.filter(|order| order.is_visible_to(&caller));
    let order = order.ok_or_else(|| Problem::not_found(format!("there is no order `{id}`")))?;
    Ok(etag::answer(&headers, &etag::of_version(order.version), Json(order)))
}
