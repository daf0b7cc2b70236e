//! Orders: placing them once, following them through the kitchen, listing them.

/// Requests that count once however often they are sent.
mod idempotency;
/// Lists of orders, and single ones.
mod list;
/// Placing an order.
mod place;
/// The steps of an order.
mod status;

use std::sync::Arc;

use deadpool_postgres::Object;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{GenericClient, Row};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(crate) use status::Status;

use crate::app::App;
use crate::auth::role::Caller;
use crate::database::DatabaseError;

/// Where the kitchen listens.
const KITCHEN: &str = "kitchen";

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list::list, place::place))
        .routes(routes!(list::one))
        .routes(routes!(status::change))
}

/// Something a table ordered at one time.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Order {
    id: Uuid,
    table_id: Uuid,
    table_number: i32,
    table_session_id: Uuid,
    status: Status,
    /// Who placed it, unless it was the guests themselves.
    placed_by: Option<Uuid>,
    items: Vec<Item>,
    total_cents: i32,
    note: String,
    version: i32,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A line of an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Item {
    line: i32,
    product_id: Uuid,
    name: String,
    qty: i32,
    /// The price when it was ordered.
    unit_price_cents: i32,
    note: String,
}

const COLUMNS: &str = "o.id, t.id, t.number, o.table_session_id, o.status, o.placed_by, o.total_cents, o.note, o.version, \
                       o.created_at, o.updated_at";
const FROM: &str =
    "orders o JOIN table_sessions s ON s.id = o.table_session_id JOIN dining_tables t ON t.id = s.table_id";

impl Order {
    fn from_row(row: &Row, items: Vec<Item>) -> Self {
        Self {
            id: row.get(0),
            table_id: row.get(1),
            table_number: row.get(2),
            table_session_id: row.get(3),
            status: Status::parse(row.get(4)).expect("the column has a check"),
            placed_by: row.get(5),
            items,
            total_cents: row.get(6),
            note: row.get(7),
            version: row.get(8),
            created_at: row.get(9),
            updated_at: row.get(10),
        }
    }

    /// Whether somebody may see it: whoever works, and the guests of its table.
    fn is_visible_to(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Person { .. } => caller.is_staff(),
            Caller::Table { session, .. } => *session == self.table_session_id,
        }
    }
}

/// Reads orders with their items, in the order the query gives them.
async fn read(client: &Object, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Order>, DatabaseError> {
    let statement = client.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} {query}")).await?;
    let rows = client.query(&statement, values).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let statement = client.prepare_cached(ITEMS).await?;
    let mut items = items(&client.query(&statement, &[&ids]).await?);
    Ok(rows.iter().map(|row| Order::from_row(row, take(&mut items, row.get(0)))).collect())
}

/// Reads one order inside a transaction.
async fn read_in(client: &impl GenericClient, id: Uuid) -> Result<Order, DatabaseError> {
    let row = client.query_one(&format!("SELECT {COLUMNS} FROM {FROM} WHERE o.id = $1"), &[&id]).await?;
    let mut items = items(&client.query(ITEMS, &[&vec![id]]).await?);
    Ok(Order::from_row(&row, take(&mut items, id)))
}

const ITEMS: &str = "SELECT i.order_id, i.line, i.product_id, p.name, i.qty, i.unit_price_cents, i.note FROM order_items i \
                     JOIN products p ON p.id = i.product_id WHERE i.order_id = ANY($1) ORDER BY i.order_id, i.line";

fn items(rows: &[Row]) -> Vec<(Uuid, Item)> {
    let item = |row: &Row| {
        let item = Item {
            line: row.get(1),
            product_id: row.get(2),
            name: row.get(3),
            qty: row.get(4),
            unit_price_cents: row.get(5),
            note: row.get(6),
        };
        (row.get(0), item)
    };
    rows.iter().map(item).collect()
}

fn take(items: &mut Vec<(Uuid, Item)>, order: Uuid) -> Vec<Item> {
    items.extract_if(.., |(id, _)| *id == order).map(|(_, item)| item).collect()
}
