//! The steps of an order: which follows which, and who may take them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use svc_common::problem::Problem;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{KITCHEN, Order, read_in};
use crate::app::App;
use crate::auth::role::{Person, Role};
use crate::database::ApiError;
use crate::http::body::{Body, Check, Flaws};
use crate::http::etag;
use crate::http::path::Id;
use crate::{notifications, tables};

/// Where an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OrderStatus)]
pub(crate) enum Status {
    /// It is placed.
    Received,
    /// The kitchen is at it.
    Preparing,
    /// It waits to be served.
    Ready,
    /// It is on the table.
    Served,
    /// It is paid.
    Paid,
    /// It will not be.
    Cancelled,
}

impl Status {
    const ALL: [Self; 6] = [Self::Received, Self::Preparing, Self::Ready, Self::Served, Self::Paid, Self::Cancelled];

    /// The word in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Served => "served",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the word.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// What may come after it.
    fn next(self) -> &'static [Self] {
        match self {
            Self::Received => &[Self::Preparing, Self::Cancelled],
            Self::Preparing => &[Self::Ready, Self::Cancelled],
            Self::Ready => &[Self::Served],
            Self::Served => &[Self::Paid],
            Self::Paid | Self::Cancelled => &[],
        }
    }

    /// Whether somebody may bring an order here.
    fn is_set_by(self, role: Role) -> bool {
        match role {
            Role::Admin | Role::Manager => true,
            Role::Kitchen => matches!(self, Self::Preparing | Self::Ready),
            Role::Waiter => matches!(self, Self::Served | Self::Paid | Self::Cancelled),
            Role::Member | Role::Guest => false,
        }
    }
}

/// The next step of an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    status: Status,
}

impl Check for Step {
    fn check(&self, _: &mut Flaws) {}
}

/// Take an order a step further.
///
/// received → preparing → ready → served → paid; the first two can be cancelled. The kitchen prepares, waiters serve, take
/// payment and cancel, managers may do all.
#[utoipa::path(post, path = "/api/orders/{id}/status", tag = "orders", request_body = Step,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The `ETag` of the order as you saw it")),
    responses((status = 200, body = Order, headers(("ETag" = String)))))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Id(id): Id,
    person: Person,
    headers: HeaderMap,
    body: Body<Step>,
) -> Result<Response, ApiError> {
    let to = body.value.status;
    etag::require(&headers)?;
    if !to.is_set_by(person.role) {
        let detail = format!("the role `{}` may not make an order `{}`", person.role.name(), to.name());
        return Err(Problem::forbidden(detail).into());
    }
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let find = "SELECT o.status, o.version, s.waiter_id FROM orders o JOIN table_sessions s ON s.id = o.table_session_id \
                WHERE o.id = $1 FOR UPDATE OF o";
    let row = transaction.query_opt(&transaction.prepare_cached(find).await?, &[&id]).await?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no order `{id}`")))?;
    let from = Status::parse(row.get(0)).ok_or_else(Problem::internal)?;
    let waiter: Option<Uuid> = row.get(2);
    etag::expect(&headers, row.get(1))?;
    if !from.next().contains(&to) {
        let next: Vec<_> = from.next().iter().map(|status| status.name()).collect();
        let next = if next.is_empty() { "nothing".to_owned() } else { next.join(" or ") };
        let detail = format!("an order that is `{}` cannot become `{}`; {next} comes next", from.name(), to.name());
        return Err(Problem::conflict("illegal_step", detail).into());
    }
    let update = "UPDATE orders SET status = $2, version = version + 1, updated_at = now() WHERE id = $1";
    transaction.execute(&transaction.prepare_cached(update).await?, &[&id, &to.name()]).await?;
    let order = read_in(&*transaction, id).await?;
    let mut events = Vec::new();
    let data = json!({"id": id, "from": from.name(), "status": to.name(), "version": order.version});
    events.push(app.events.append(&transaction, KITCHEN, "order.status", &data, Some(person.id)).await?);
    let channel = tables::channel(order.table_session_id);
    events.push(app.events.append(&transaction, &channel, "order.status", &data, Some(person.id)).await?);
    if to == Status::Ready
        && let Some(waiter) = waiter
    {
        let payload = json!({"order_id": id, "table_number": order.table_number});
        events.push(notifications::notify(&app, &transaction, waiter, "order.ready", &payload).await?);
    }
    transaction.commit().await?;
    app.events.publish(events);
    let tag = etag::of_version(order.version);
    Ok(etag::answer(&HeaderMap::new(), &tag, Json(order)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_can_end_and_no_end_is_left() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.name()), Some(status));
            let ends = matches!(status, Status::Paid | Status::Cancelled);
            assert_eq!(status.next().is_empty(), ends, "{status:?}");
            assert!(!status.next().contains(&status));
        }
    }

    #[test]
    fn guests_and_members_take_no_step() {
        for status in Status::ALL {
            assert!(!status.is_set_by(Role::Guest) && !status.is_set_by(Role::Member));
            assert!(status.is_set_by(Role::Manager));
        }
        assert!(!Status::Paid.is_set_by(Role::Kitchen) && !Status::Ready.is_set_by(Role::Waiter));
    }
}
