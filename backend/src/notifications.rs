//! Notifications: what concerns one person, kept until it is read, and told on the person's own channel.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use svc_common::params::Params;
use tokio_postgres::Row;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::auth::role::Person;
use crate::cursor::{self, After};
use crate::database::{ApiError, DatabaseError};
use crate::events::Written;
use crate::http::body::{Body, Check, Flaws};
use crate::http::page::{self, DEFAULT_LIMIT, Page, parse_limit};

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

/// Something that concerns somebody.
#[derive(Debug, Serialize, ToSchema)]
struct Notification {
    id: Uuid,
    /// What it is about, such as `order.ready`.
    kind: String,
    #[schema(value_type = Object)]
    payload: Value,
    #[schema(value_type = Option<String>, format = DateTime)]
    read_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// Notifies somebody, in the transaction of what there is to tell.
pub(crate) async fn notify(
    app: &App,
    transaction: &Transaction<'_>,
    user: Uuid,
    kind: &str,
    payload: &Value,
) -> Result<Written, DatabaseError> {
    let id = Uuid::now_v7();
    let insert = "INSERT INTO notifications (id, user_id, kind, payload) VALUES ($1, $2, $3, $4)";
    transaction.execute(&transaction.prepare_cached(insert).await?, &[&id, &user, &kind, payload]).await?;
    let data = json!({"id": id, "kind": kind, "payload": payload});
    app.events.append(transaction, &format!("user:{user}"), "notification.created", &data, None).await
}

/// What concerns you, the newest first.
#[utoipa::path(get, path = "/api/notifications", tag = "notifications",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query),
        ("unread" = Option<bool>, Query),
    ),
    responses((status = 200, body = Page<Notification>)))]
async fn list(
    State(app): State<Arc<App>>,
    person: Person,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let mut params = Params::new(given, &["limit", "cursor", "unread"]);
    let limit = params.read("limit", parse_limit).unwrap_or(DEFAULT_LIMIT);
    let unread = params.read("unread", |value| value.parse().map_err(|_| "has to be `true` or `false`".to_owned()));
    let text = unread.map(|unread: bool| unread.to_string());
    let name = [Some("notifications"), text.as_deref()];
    let after = params.read("cursor", |cursor| cursor::decode(&name, cursor).map_err(str::to_owned));
    params.finish()?;
    let (at, id) = match after {
        Some(After::Time(at, id)) => (Some(at), Some(id)),
        Some(After::Name(..) | After::Distance(..)) | None => (None, None),
    };
    let client = app.database.client().await?;
    let statement = client
        .prepare_cached(
            "SELECT id, kind, payload, read_at, created_at FROM notifications WHERE user_id = $1 \
             AND ($2::bool IS NULL OR (read_at IS NULL) = $2) \
             AND ($3::bigint IS NULL OR (created_at, id) < (timestamptz 'epoch' + $3 * interval '1 us', $4::uuid)) \
             ORDER BY created_at DESC, id DESC LIMIT $5",
        )
        .await?;
    let rows = client.query(&statement, &[&person.id, &unread, &at, &id, &(i64::from(limit) + 1)]).await?;
    let notification = |row: &Row| Notification {
        id: row.get(0),
        kind: row.get(1),
        payload: row.get(2),
        read_at: row.get(3),
        created_at: row.get(4),
    };
    let page = page::cut(rows.iter().map(notification).collect(), limit, |last: &Notification| {
        cursor::encode(&name, After::Time(last.created_at.as_microsecond(), last.id))
    });
    let given = [("limit", Some(limit.to_string())), ("unread", text.clone())];
    Ok(page.answer("/api/notifications", &given))
}

/// Which notifications were read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// These; all of them when left out.
    #[schema(max_items = 100)]
    ids: Option<Vec<Uuid>>,
}

impl Check for Reading {
    fn check(&self, flaws: &mut Flaws) {
        if self.ids.as_ref().is_some_and(|ids| ids.len() > 100) {
            flaws.add("/ids", "length", "has to have 100 entries at most");
        }
    }
}

/// How many notifications became read.
#[derive(Debug, Serialize, ToSchema)]
struct Read {
    count: u64,
}

/// Mark notifications as read.
#[utoipa::path(post, path = "/api/notifications/read", tag = "notifications", request_body = Reading,
    responses((status = 200, body = Read)))]
async fn read(State(app): State<Arc<App>>, person: Person, body: Body<Reading>) -> Result<Json<Read>, ApiError> {
    let client = app.database.client().await?;
    let update = "UPDATE notifications SET read_at = now() WHERE user_id = $1 AND read_at IS NULL \
                  AND ($2::uuid[] IS NULL OR id = ANY($2))";
    let count = client.execute(&client.prepare_cached(update).await?, &[&person.id, &body.value.ids]).await?;
    Ok(Json(Read { count }))
}
