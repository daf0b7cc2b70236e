//! Search: by words (full text), by likeness (vectors), or both, whose ranks are then fused (reciprocal rank fusion): what both
//! find comes first, and a misspelling that no word matches is still found by likeness.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use pgvector::Vector;
use serde::{Deserialize, Serialize};
use svc_common::params::Params;
use svc_common::problem::Problem;
use tokio_postgres::Row;
use utoipa::ToSchema;

use super::{COLUMNS, Product, parse_query, parse_slug};
use crate::app::App;
use crate::database::ApiError;
use crate::embed;
use crate::http::page::{DEFAULT_LIMIT, Page, parse_limit};
use crate::http::path::Id;

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SearchMode)]
pub(super) enum Mode {
    /// By words and by likeness.
    Hybrid,
    /// By words.
    Text,
    /// By likeness.
    Vector,
}

impl Mode {
    fn parse(value: &str) -> Result<Self, String> {
        match value {
            "hybrid" => Ok(Self::Hybrid),
            "text" => Ok(Self::Text),
            "vector" => Ok(Self::Vector),
            _ => Err("has to be `hybrid`, `text` or `vector`".to_owned()),
        }
    }
}

/// The two rankings; each gives its first fifty. `$1` vector, `$2` model, `$3` words, `$4` category, `$5` limit.
const LIKE: &str = "SELECT p.id, row_number() OVER (ORDER BY p.embedding <=> $1, p.id) AS r FROM products p \
                    JOIN categories c ON c.id = p.category_id WHERE p.available AND p.embedding_model = $2 \
                    AND ($4::text IS NULL OR c.slug = $4) ORDER BY p.embedding <=> $1, p.id LIMIT 50";
const WORDS: &str = "SELECT p.id, row_number() OVER (ORDER BY ts_rank_cd(p.search, q) DESC, p.id) AS r \
                     FROM products p JOIN categories c ON c.id = p.category_id, websearch_to_tsquery('english', $3) q \
                     WHERE p.available AND p.search @@ q AND ($4::text IS NULL OR c.slug = $4) \
                     ORDER BY ts_rank_cd(p.search, q) DESC, p.id LIMIT 50";

/// Find products by what they are about.
#[utoipa::path(get, path = "/api/search", tag = "menu",
    params(
        ("q" = String, Query, max_length = 200), ("mode" = inline(Option<Mode>), Query),
        ("category" = Option<String>, Query), ("limit" = Option<u8>, Query, minimum = 1, maximum = 100),
    ),
    responses((status = 200, body = Page<Product>)))]
pub(super) async fn search(
    State(app): State<Arc<App>>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Json<Page<Product>>, ApiError> {
    let missing = !given.iter().any(|(name, _)| name == "q");
    let mut params = Params::new(given, &["q", "mode", "category", "limit"]);
    let query = params.read("q", parse_query);
    let mode = params.read("mode", Mode::parse).unwrap_or(Mode::Hybrid);
    let category = params.read("category", parse_slug);
    let limit = params.read("limit", parse_limit).unwrap_or(DEFAULT_LIMIT);
    if missing {
        params.blame("q", "required", "`q` is missing: what shall be found?");
    }
    params.finish()?;
    let Some((words, vector)) = query else { return Err(Problem::internal().into()) };
    // The parameters have types of their own in each ranking; where one is not used, a comparison names its type.
    let ranks = match mode {
        Mode::Hybrid => format!("({LIKE}) UNION ALL ({WORDS})"),
        Mode::Text => format!("SELECT * FROM ({WORDS}) w WHERE $1::vector IS NOT NULL AND $2::text IS NOT NULL"),
        Mode::Vector => format!("SELECT * FROM ({LIKE}) l WHERE $3::text IS NOT NULL"),
    };
    let client = app.database.client().await?;
    let statement = client
        .prepare_cached(&format!(
            "WITH found AS (SELECT id, sum(1.0 / (60 + r))::float8 AS score FROM ({ranks}) ranks GROUP BY id) \
             SELECT {COLUMNS}, f.score FROM found f JOIN products p ON p.id = f.id \
             JOIN categories c ON c.id = p.category_id ORDER BY f.score DESC, p.id LIMIT $5"
        ))
        .await?;
    let rows = client.query(&statement, &[&vector, &embed::MODEL, &words, &category, &i64::from(limit)]).await?;
    Ok(Json(Page { items: rows.iter().map(scored).collect(), next_cursor: None }))
}

/// Products that are like another one.
#[utoipa::path(get, path = "/api/products/{id}/similar", tag = "menu",
    params(("id" = Uuid, Path), ("limit" = Option<u8>, Query, minimum = 1, maximum = 100)),
    responses((status = 200, body = Page<Product>)))]
pub(super) async fn similar(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Json<Page<Product>>, ApiError> {
    let mut params = Params::new(given, &["limit"]);
    let limit = params.read("limit", parse_limit).unwrap_or(5);
    params.finish()?;
    let client = app.database.client().await?;
    let find = client.prepare_cached("SELECT embedding, embedding_model FROM products WHERE id = $1").await?;
    let row = client.query_opt(&find, &[&id]).await?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no product `{id}`")))?;
    let (Some(vector), Some(model)): (Option<Vector>, Option<String>) = (row.get(0), row.get(1)) else {
        return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
    };
    let statement = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, 1 - (p.embedding <=> $1) FROM products p JOIN categories c ON c.id = p.category_id \
             WHERE p.available AND p.embedding_model = $2 AND p.id <> $3 ORDER BY p.embedding <=> $1, p.id LIMIT $4"
        ))
        .await?;
    let rows = client.query(&statement, &[&vector, &model, &id, &i64::from(limit)]).await?;
    Ok(Json(Page { items: rows.iter().map(scored).collect(), next_cursor: None }))
}

/// Reads a product that is followed by its score.
pub(super) fn scored(row: &Row) -> Product {
    Product { score: Some(row.get(11)), ..Product::from_row(row) }
}
