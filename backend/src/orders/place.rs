//! Placing an order: priced by the menu, counted once, told to the kitchen and to the table.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use svc_common::problem::{FieldError, Problem};
use utoipa::ToSchema;
use uuid::Uuid;

use super::idempotency::Key;
use super::{KITCHEN, Order, read_in};
use crate::app::App;
use crate::auth::role::Caller;
use crate::database::ApiError;
use crate::http::body::{Body, Check, Flaws};
use crate::tables;

const MOST_LINES: usize = 50;

/// What somebody wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Who it is for. Guests leave it out, or name their own.
    table_session_id: Option<Uuid>,
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<Line>,
    #[serde(default)]
    #[schema(max_length = 500)]
    note: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    product_id: Uuid,
    #[schema(minimum = 1, maximum = 99)]
    qty: i32,
    #[serde(default)]
    #[schema(max_length = 200)]
    note: String,
}

impl Check for Wish {
    fn check(&self, flaws: &mut Flaws) {
        if self.items.is_empty() || self.items.len() > MOST_LINES {
            flaws.add("/items", "length", format!("has to have 1 to {MOST_LINES} lines"));
        }
        for (index, line) in self.items.iter().enumerate().take(MOST_LINES) {
            flaws.range(&format!("/items/{index}/qty"), &line.qty, 1..=99);
            flaws.text(&format!("/items/{index}/note"), &line.note, 0..=200);
        }
        flaws.text("/note", &self.note, 0..=500);
    }
}

/// Order something.
///
/// Sent again with the same `Idempotency-Key`, it is the same order: the answer is repeated.
#[utoipa::path(post, path = "/api/orders", tag = "orders", request_body = Wish,
    params(("Idempotency-Key" = String, Header, description = "Made up by the client, the same for each attempt")),
    responses((status = 201, body = Order)))]
pub(super) async fn place(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body<Wish>,
) -> Result<Response, ApiError> {
    let key = Key::read(&headers, format!("orders/{}", caller.subject()), &body.raw)?;
    let wish = body.value;
    let session = session_of(&caller, wish.table_session_id)?;
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    if let Some(answer) = key.earlier(&transaction).await? {
        let replayed = [("idempotency-replayed", "true")];
        return Ok((StatusCode::CREATED, replayed, Json(answer)).into_response());
    }

    // Shared with other orders, and against the one who closes the table.
    let open = "SELECT closed_at IS NULL FROM table_sessions WHERE id = $1 FOR SHARE";
    let open = transaction.prepare_cached(open).await?;
    let unknown = |code, message: &str| Problem::validation(vec![FieldError::body("/table_session_id", code, message)]);
    match transaction.query_opt(&open, &[&session]).await?.map(|row| row.get::<_, bool>(0)) {
        Some(true) => {}
        Some(false) => return Err(Problem::conflict("table_closed", "these guests have gone").into()),
        None => return Err(unknown("unknown", "there is no such table session").into()),
    }

    let ids: Vec<Uuid> = wish.items.iter().map(|line| line.product_id).collect();
    let prices = "SELECT id, price_cents, available FROM products WHERE id = ANY($1)";
    let rows = transaction.query(&transaction.prepare_cached(prices).await?, &[&ids]).await?;
    let known: HashMap<Uuid, (i32, bool)> = rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let (mut flaws, mut total) = (Flaws::default(), 0_i64);
    for (index, line) in wish.items.iter().enumerate() {
        let pointer = format!("/items/{index}/product_id");
        match known.get(&line.product_id) {
            Some((price, true)) => total += i64::from(*price) * i64::from(line.qty),
            Some((_, false)) => flaws.add(&pointer, "unavailable", "there is none of this today"),
            None => flaws.add(&pointer, "unknown", "there is no such product"),
        }
    }
    flaws.finish()?;
    let total = i32::try_from(total)
        .map_err(|_| Problem::validation(vec![FieldError::body("/items", "too_much", "the sum is too large")]))?;

    let id = Uuid::now_v7();
    let insert = "INSERT INTO orders (id, table_session_id, placed_by, total_cents, note) VALUES ($1, $2, $3, $4, $5)";
    let insert = transaction.prepare_cached(insert).await?;
    transaction.execute(&insert, &[&id, &session, &caller.person(), &total, &wish.note]).await?;
    let insert = transaction
        .prepare_cached(
            "INSERT INTO order_items (order_id, line, product_id, qty, unit_price_cents, note) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .await?;
    for (number, line) in (1_i32..).zip(&wish.items) {
        let (price, _) = known[&line.product_id];
        transaction.execute(&insert, &[&id, &number, &line.product_id, &line.qty, &price, &line.note]).await?;
    }
    let order = read_in(&*transaction, id).await?;
    let answer = serde_json::to_value(&order).expect("an order is plain data");
    key.keep(&transaction, 201, &answer).await?;
    let actor = caller.person();
    let events = vec![
        app.events.append(&transaction, KITCHEN, "order.created", &answer, actor).await?,
        app.events.append(&transaction, &tables::channel(session), "order.created", &answer, actor).await?,
    ];
    transaction.commit().await?;
    app.events.publish(events);
    let location = [(header::LOCATION, format!("/api/orders/{id}"))];
    Ok((StatusCode::CREATED, location, Json(answer)).into_response())
}

/// Whom an order is for: guests order for themselves.
fn session_of(caller: &Caller, given: Option<Uuid>) -> Result<Uuid, Problem> {
    match (caller, given) {
        (Caller::Table { session, .. }, None) => Ok(*session),
        (Caller::Table { session, .. }, Some(given)) if *session == given => Ok(given),
        (Caller::Table { .. }, Some(_)) => Err(Problem::forbidden("guests order for their own table")),
        (Caller::Person { .. }, Some(given)) => Ok(given),
        (Caller::Person { .. }, None) => {
            let flaw = FieldError::body("/table_session_id", "required", "say which guests this is for");
            Err(Problem::validation(vec![flaw]))
        }
    }
}
