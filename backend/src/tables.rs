//! The tables, who sits at them, and the codes that let guests order.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use svc_common::problem::Problem;
use tokio_postgres::Row;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::auth::role::Person;
use crate::auth::token::CodeClaims;
use crate::database::{ApiError, DatabaseError};
use crate::http::body::{Body, Check, Flaws};
use crate::http::page::Page;
use crate::http::path::Id;

/// How long a printed code is good, in seconds: a year. Counting the table's version up ends it before.
const CODE_S: i64 = 365 * 24 * 60 * 60;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(open)).routes(routes!(close)).routes(routes!(code))
}

/// The channel of a table session.
pub(crate) fn channel(session: Uuid) -> String {
    format!("table:{session}")
}

/// A table of the restaurant.
#[derive(Debug, Serialize, ToSchema)]
struct Table {
    id: Uuid,
    number: i32,
    seats: i32,
    /// Who sits there now.
    session: Option<Session>,
}

/// Guests at a table, from when they sit down until they leave.
#[derive(Debug, Serialize, ToSchema)]
struct Session {
    id: Uuid,
    table_id: Uuid,
    waiter_id: Option<Uuid>,
    guests: i32,
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Opening {
    /// How many sit down.
    #[schema(minimum = 1, maximum = 100)]
    guests: i32,
}

impl Check for Opening {
    fn check(&self, flaws: &mut Flaws) {
        flaws.range("/guests", &self.guests, 1..=100);
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CodeWish {
    /// Whether the codes printed so far shall be void.
    #[serde(default)]
    renew: bool,
}

impl Check for CodeWish {
    fn check(&self, _: &mut Flaws) {}
}

/// The code for a table.
#[derive(Debug, Serialize, ToSchema)]
struct PrintedCode {
    table_id: Uuid,
    number: i32,
    /// To be printed, as a QR code, and handed in at `/api/auth/table`.
    code: String,
}

fn session(row: &Row, first: usize) -> Session {
    Session {
        id: row.get(first),
        table_id: row.get(first + 1),
        waiter_id: row.get(first + 2),
        guests: row.get(first + 3),
        opened_at: row.get(first + 4),
        closed_at: row.get(first + 5),
    }
}

/// All tables, and who sits at them.
#[utoipa::path(get, path = "/api/tables", tag = "tables", responses((status = 200, body = Page<Table>)))]
async fn list(State(app): State<Arc<App>>) -> Result<Json<Page<Table>>, ApiError> {
    let client = app.database.client().await?;
    let statement = client
        .prepare_cached(
            "SELECT t.id, t.number, t.seats, s.id, s.table_id, s.waiter_id, s.guests, s.opened_at, s.closed_at \
             FROM dining_tables t LEFT JOIN table_sessions s ON s.table_id = t.id AND s.closed_at IS NULL ORDER BY t.number",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
    let table = |row: &Row| {
        let taken = row.get::<_, Option<Uuid>>(3).is_some();
        let session = taken.then(|| session(row, 3));
        Table { id: row.get(0), number: row.get(1), seats: row.get(2), session }
    };
    Ok(Json(Page { items: rows.iter().map(table).collect(), next_cursor: None }))
}

/// Seat guests at a table.
#[utoipa::path(post, path = "/api/tables/{id}/sessions", tag = "tables", params(("id" = Uuid, Path)),
    request_body = Opening, responses((status = 201, body = Session)))]
async fn open(
    State(app): State<Arc<App>>,
    Id(table): Id,
    person: Person,
    body: Body<Opening>,
) -> Result<Response, ApiError> {
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO table_sessions (id, table_id, waiter_id, guests) VALUES ($1, $2, $3, $4) \
             RETURNING id, table_id, waiter_id, guests, opened_at, closed_at",
        )
        .await?;
    let row = transaction.query_one(&insert, &[&Uuid::now_v7(), &table, &person.id, &body.value.guests]).await;
    let row = row.map_err(DatabaseError::from).map_err(|error| match error.constraint() {
        Some("table_sessions_open") => Problem::conflict("table_taken", "somebody sits at this table already").into(),
        Some("table_sessions_table_id_fkey") => Problem::not_found(format!("there is no table `{table}`")).into(),
        _ => ApiError::from(error),
    })?;
    let session = session(&row, 0);
    let data = json!({"session_id": session.id, "table_id": table, "guests": session.guests});
    let event = app.events.append(&transaction, &channel(session.id), "table.opened", &data, Some(person.id)).await?;
    transaction.commit().await?;
    app.events.publish(vec![event]);
    Ok((StatusCode::CREATED, Json(session)).into_response())
}

/// Let the guests of a table go.
///
/// Not while something they ordered is neither paid nor cancelled.
#[utoipa::path(post, path = "/api/table-sessions/{id}/close", tag = "tables", params(("id" = Uuid, Path)),
    responses((status = 200, body = Session)))]
async fn close(State(app): State<Arc<App>>, Id(id): Id, person: Person) -> Result<Json<Session>, ApiError> {
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    // Locked, so that no order comes in between.
    let find =
        transaction.prepare_cached("SELECT closed_at IS NOT NULL FROM table_sessions WHERE id = $1 FOR UPDATE").await?;
    let row = transaction.query_opt(&find, &[&id]).await?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no table session `{id}`")))?;
    if row.get(0) {
        return Err(Problem::conflict("already_closed", "this table session is closed").into());
    }
    let count = "SELECT count(*) FROM orders WHERE table_session_id = $1 AND status NOT IN ('paid', 'cancelled')";
    let count: i64 = transaction.query_one(&transaction.prepare_cached(count).await?, &[&id]).await?.get(0);
    if count > 0 {
        let detail = format!("{count} orders of this table are neither paid nor cancelled");
        return Err(Problem::conflict("open_orders", detail).into());
    }
    let update = transaction
        .prepare_cached(
            "UPDATE table_sessions SET closed_at = now() WHERE id = $1 \
             RETURNING id, table_id, waiter_id, guests, opened_at, closed_at",
        )
        .await?;
    let session = session(&transaction.query_one(&update, &[&id]).await?, 0);
    let data = json!({"session_id": id, "table_id": session.table_id});
    let event = app.events.append(&transaction, &channel(id), "table.closed", &data, Some(person.id)).await?;
    transaction.commit().await?;
    app.events.publish(vec![event]);
    Ok(Json(session))
}

/// Get the code for a table, to be printed.
#[utoipa::path(post, path = "/api/tables/{id}/qr", tag = "tables", params(("id" = Uuid, Path)),
    request_body = CodeWish, responses((status = 200, body = PrintedCode)))]
async fn code(State(app): State<Arc<App>>, Id(id): Id, body: Body<CodeWish>) -> Result<Json<PrintedCode>, ApiError> {
    let client = app.database.client().await?;
    let step = i32::from(body.value.renew);
    let update =
        "UPDATE dining_tables SET token_version = token_version + $2 WHERE id = $1 RETURNING number, token_version";
    let update = client.prepare_cached(update).await?;
    let row = client.query_opt(&update, &[&id, &step]).await?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no table `{id}`")))?;
    let claims = CodeClaims { table: id, tv: row.get(1) };
    let code = app.keys.tables.sign(claims, Timestamp::now(), CODE_S);
    Ok(Json(PrintedCode { table_id: id, number: row.get(0), code }))
}
