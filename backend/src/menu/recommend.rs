//! What goes with what is on the table: products near the middle of it (vectors), and products that were ordered together with
//! it before, the two rankings fused. What somebody must avoid is left out in the query itself, whatever the rankings say.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use svc_common::problem::Problem;
use utoipa::ToSchema;
use uuid::Uuid;

use super::search::scored;
use super::{COLUMNS, Product};
use crate::app::App;
use crate::auth::role::Caller;
use crate::database::ApiError;
use crate::embed;
use crate::http::body::{Body, Check, Flaws};
use crate::http::page::Page;

/// What to go by.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RecommendationWish)]
pub(super) struct Wish {
    /// What is wanted already.
    #[serde(default)]
    #[schema(max_items = 50)]
    product_ids: Vec<Uuid>,
    /// Whose orders count as wanted. Guests leave it out, or name their own.
    table_session_id: Option<Uuid>,
    /// What somebody must not eat: nothing that has it is recommended.
    #[serde(default)]
    #[schema(max_items = 30)]
    avoid_allergens: Vec<String>,
    #[serde(default = "five")]
    #[schema(minimum = 1, maximum = 50)]
    limit: u8,
}

fn five() -> u8 {
    5
}

impl Check for Wish {
    fn check(&self, flaws: &mut Flaws) {
        if self.product_ids.len() > 50 {
            flaws.add("/product_ids", "length", "has to have 50 entries at most");
        }
        flaws.words("/avoid_allergens", &self.avoid_allergens, 30);
        flaws.range("/limit", &self.limit, 1..=50);
    }
}

/// Recommend what goes with something.
#[utoipa::path(post, path = "/api/recommendations", tag = "menu", request_body = Wish,
    responses((status = 200, body = Page<Product>)))]
pub(super) async fn recommend(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Body<Wish>,
) -> Result<Json<Page<Product>>, ApiError> {
    let wish = body.value;
    let session = match (caller, wish.table_session_id) {
        (Caller::Table { session, .. }, None) => Some(session),
        (Caller::Table { session, .. }, Some(given)) if given == session => Some(session),
        (Caller::Person { .. }, given) if given.is_none() || caller.is_staff() => given,
        _ => return Err(Problem::forbidden("these guests are none of yours").into()),
    };
    let avoid: Vec<String> = wish.avoid_allergens.iter().map(|word| word.trim().to_lowercase()).collect();
    let client = app.database.client().await?;
    let statement = client
        .prepare_cached(&format!(
            "WITH wanted AS (SELECT unnest($1::uuid[]) AS id UNION SELECT i.product_id FROM order_items i \
                 JOIN orders o ON o.id = i.order_id WHERE o.table_session_id = $2 AND o.status <> 'cancelled'), \
             fit AS (SELECT p.* FROM products p WHERE p.available AND NOT EXISTS (SELECT 1 FROM unnest(p.allergens) a \
                 WHERE lower(a) = ANY($3)) AND p.id NOT IN (SELECT id FROM wanted)), \
             middle AS (SELECT avg(embedding) AS v FROM products WHERE id IN (SELECT id FROM wanted) \
                 AND embedding_model = $4), \
             near AS (SELECT f.id, row_number() OVER (ORDER BY f.embedding <=> m.v, f.id) AS r FROM fit f, middle m \
                 WHERE m.v IS NOT NULL AND f.embedding_model = $4 ORDER BY f.embedding <=> m.v, f.id LIMIT 50), \
             together AS (SELECT f.id, count(*) AS n FROM order_items i JOIN order_items w ON w.order_id = i.order_id \
                 AND w.product_id IN (SELECT id FROM wanted) JOIN fit f ON f.id = i.product_id GROUP BY f.id), \
             often AS (SELECT f.id, count(i.product_id) AS n FROM fit f LEFT JOIN order_items i ON i.product_id = f.id \
                 GROUP BY f.id), \
             ranks AS (SELECT id, r FROM near \
                 UNION ALL (SELECT id, row_number() OVER (ORDER BY n DESC, id) FROM together ORDER BY n DESC, id LIMIT 50) \
                 UNION ALL (SELECT id, 1000 + row_number() OVER (ORDER BY n DESC, id) FROM often)), \
             found AS (SELECT id, sum(1.0 / (60 + r))::float8 AS score FROM ranks GROUP BY id) \
             SELECT {COLUMNS}, f.score FROM found f JOIN products p ON p.id = f.id \
             JOIN categories c ON c.id = p.category_id ORDER BY f.score DESC, p.id LIMIT $5"
        ))
        .await?;
    let rows =
        client.query(&statement, &[&wish.product_ids, &session, &avoid, &embed::MODEL, &i64::from(wish.limit)]).await?;
    Ok(Json(Page { items: rows.iter().map(scored).collect(), next_cursor: None }))
}
