//! The menu over HTTP: lists by name with keyset pages, single products, the whole menu at once, search and recommendations.

/// The whole menu in one answer.
pub(crate) mod cached;
/// Changing products.
mod edit;
/// What goes with what.
mod recommend;
/// Search by words and by likeness.
mod search;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use pgvector::Vector;
use serde::Serialize;
use svc_common::params::Params;
use svc_common::problem::{FieldError, Problem};
use tokio_postgres::Row;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::cursor::{self, After};
use crate::database::ApiError;
use crate::embed;
use crate::http::etag;
use crate::http::page::{self, DEFAULT_LIMIT, Page, parse_limit};
use crate::http::path::Id;

const MAX_QUERY_CHARS: usize = 200;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(cached::menu))
        .routes(routes!(categories))
        .routes(routes!(products, edit::create))
        .routes(routes!(product, edit::replace, edit::change, edit::delete))
        .routes(routes!(search::similar))
        .routes(routes!(search::search))
        .routes(routes!(recommend::recommend))
}

/// A part of the menu.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Category {
    id: Uuid,
    slug: String,
    name: String,
    position: i32,
    products: i64,
}

/// Something on the menu.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Product {
    id: Uuid,
    category: CategoryName,
    name: String,
    description: String,
    price_cents: i32,
    currency: String,
    allergens: Vec<String>,
    tags: Vec<String>,
    available: bool,
    version: i32,
    /// How alike the product and the query are, from -1 to 1; only in search results.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// The part of the menu that a product is in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryName {
    slug: String,
    name: String,
}

const COLUMNS: &str = "p.id, c.slug, c.name, p.name, p.description, p.price_cents, p.currency, p.allergens, p.tags, \
                       p.available, p.version";

impl Product {
    fn from_row(row: &Row) -> Self {
        Self {
            id: row.get(0),
            category: CategoryName { slug: row.get(1), name: row.get(2) },
            name: row.get(3),
            description: row.get(4),
            price_cents: row.get(5),
            currency: row.get(6),
            allergens: row.get(7),
            tags: row.get(8),
            available: row.get(9),
            version: row.get(10),
            score: None,
        }
    }
}

/// The parts of the menu.
#[utoipa::path(get, path = "/api/categories", tag = "menu", responses((status = 200, body = Page<Category>)))]
async fn categories(
    State(app): State<Arc<App>>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Json<Page<Category>>, ApiError> {
    Params::new(given, &[]).finish()?;
    let client = app.database.client().await?;
    let statement = client
        .prepare_cached(
            "SELECT c.id, c.slug, c.name, c.position, count(p.id) FROM categories c \
             LEFT JOIN products p ON p.category_id = c.id GROUP BY c.id ORDER BY c.position, c.slug",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
    let items = rows
        .iter()
        .map(|row| Category {
            id: row.get(0),
            slug: row.get(1),
            name: row.get(2),
            position: row.get(3),
            products: row.get(4),
        })
        .collect();
    Ok(Json(Page { items, next_cursor: None }))
}

/// A product.
#[utoipa::path(get, path = "/api/products/{id}", tag = "menu", params(("id" = Uuid, Path)),
    responses((status = 200, body = Product, headers(("ETag" = String))), (status = 304)))]
async fn product(State(app): State<Arc<App>>, Id(id): Id, headers: HeaderMap) -> Result<Response, ApiError> {
    let client = app.database.client().await?;
    let statement = client
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM products p JOIN categories c ON c.id = p.category_id WHERE p.id = $1"
        ))
        .await?;
    match client.query_opt(&statement, &[&id]).await? {
        Some(row) => {
            let product = Product::from_row(&row);
            Ok(etag::answer(&headers, &etag::of_version(product.version), Json(product)))
        }
        None => Err(Problem::not_found(format!("there is no product `{id}`")).into()),
    }
}

/// What `GET /api/products` was asked for.
struct Wish {
    category: Option<String>,
    query: Option<(String, Vector)>,
    after: Option<After>,
    limit: u8,
}

impl Wish {
    fn read(given: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut params = Params::new(given, &["limit", "cursor", "category", "q"]);
        let limit = params.read("limit", parse_limit);
        let category = params.read("category", parse_slug);
        let query = params.read("q", parse_query);
        let list = [category.as_deref(), query.as_ref().map(|(text, _)| text.as_str())];
        let after = params.read("cursor", |cursor| cursor::decode(&list, cursor).map_err(str::to_owned));
        params.finish()?;
        Ok(Self { category, query, after, limit: limit.unwrap_or(DEFAULT_LIMIT) })
    }

    fn list(&self) -> [Option<&str>; 2] {
        [self.category.as_deref(), self.query.as_ref().map(|(text, _)| text.as_str())]
    }
}

fn parse_slug(value: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(value.to_owned()) } else { Err("has to be a category's slug, such as `desserts`".to_owned()) }
}

fn parse_query(value: &str) -> Result<(String, Vector), String> {
    if value.chars().count() > MAX_QUERY_CHARS {
        return Err(format!("is longer than {MAX_QUERY_CHARS} characters"));
    }
    match embed::embed(value) {
        Some(vector) => Ok((value.to_owned(), Vector::from(vector))),
        None => Err("has no word to search for".to_owned()),
    }
}

/// Products by name, or by likeness to some words.
#[utoipa::path(get, path = "/api/products", tag = "menu",
    params(
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100), ("cursor" = Option<String>, Query),
        ("category" = Option<String>, Query, description = "A category's slug"),
        ("q" = Option<String>, Query, max_length = 200),
    ),
    responses((status = 200, body = Page<Product>)))]
async fn products(
    State(app): State<Arc<App>>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let wish = Wish::read(given)?;
    let client = app.database.client().await?;
    if let Some(slug) = &wish.category {
        let statement = client.prepare_cached("SELECT 1 FROM categories WHERE slug = $1").await?;
        if client.query_opt(&statement, &[slug]).await?.is_none() {
            let error = FieldError::query("category", "unknown", format!("there is no category `{slug}`"));
            return Err(Problem::validation(vec![error]).into());
        }
    }
    // One row more than the page shows whether there is another page.
    let rows_wanted = i64::from(wish.limit) + 1;
    let items: Vec<(Product, After)> = match &wish.query {
        None => {
            let (name, id) = match &wish.after {
                Some(After::Name(name, id)) => (Some(name), Some(id)),
                Some(After::Distance(..) | After::Time(..)) | None => (None, None),
            };
            let statement = client
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM products p JOIN categories c ON c.id = p.category_id \
                     WHERE ($1::text IS NULL OR c.slug = $1) \
                     AND ($2::text IS NULL OR (p.name, p.id) > ($2, $3::uuid)) ORDER BY p.name, p.id LIMIT $4"
                ))
                .await?;
            let rows = client.query(&statement, &[&wish.category, &name, &id, &rows_wanted]).await?;
            let item = |row: &Row| {
                let product = Product::from_row(row);
                let after = After::Name(product.name.clone(), product.id);
                (product, after)
            };
            rows.iter().map(item).collect()
        }
        Some((_, vector)) => {
            let (distance, id) = match &wish.after {
                Some(After::Distance(bits, id)) => (Some(f64::from_bits(*bits)), Some(id)),
                Some(After::Name(..) | After::Time(..)) | None => (None, None),
            };
            let statement = client
                .prepare_cached(&format!(
                    "SELECT {COLUMNS}, p.embedding <=> $1 FROM products p JOIN categories c ON c.id = p.category_id \
                     WHERE p.embedding_model = $2 AND ($3::text IS NULL OR c.slug = $3) \
                     AND ($4::float8 IS NULL OR (p.embedding <=> $1, p.id) > ($4, $5::uuid)) \
                     ORDER BY p.embedding <=> $1, p.id LIMIT $6"
                ))
                .await?;
            let rows = client
                .query(&statement, &[vector, &embed::MODEL, &wish.category, &distance, &id, &rows_wanted])
                .await?;
            let item = |row: &Row| {
                let distance: f64 = row.get(11);
                let product = Product { score: Some(1.0 - distance), ..Product::from_row(row) };
                let after = After::Distance(distance.to_bits(), product.id);
                (product, after)
            };
            rows.iter().map(item).collect()
        }
    };
    let page = page::cut(items, wish.limit, |(_, after)| cursor::encode(&wish.list(), after.clone()));
    let page =
        Page { items: page.items.into_iter().map(|(product, _)| product).collect(), next_cursor: page.next_cursor };
    let given =
        [("limit", Some(wish.limit.to_string())), ("category", wish.category), ("q", wish.query.map(|(q, _)| q))];
    Ok(page.answer("/api/products", &given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(pairs: &[(&str, &str)]) -> Vec<(String, &'static str)> {
        let given = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match Wish::read(given) {
            Ok(_) => Vec::new(),
            Err(problem) => problem.errors.into_iter().map(|error| (error.pointer, error.code)).collect(),
        }
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        assert_eq!(problem(&[]), []);
        assert_eq!(problem(&[("limit", "100"), ("category", "pizza"), ("q", "é")]), []);
        for limit in ["0", "101", "-1", "ten", "", "1e1"] {
            assert_eq!(problem(&[("limit", limit)]), [("/query/limit".to_owned(), "invalid")], "{limit}");
        }
        assert_eq!(
            problem(&[("limit", "0"), ("a/b~", "1"), ("q", "!"), ("category", "P"), ("cursor", "x"), ("q", "y")]),
            [
                ("/query/a~1b~0".to_owned(), "unknown"),
                ("/query/q".to_owned(), "repeated"),
                ("/query/limit".to_owned(), "invalid"),
                ("/query/category".to_owned(), "invalid"),
                ("/query/q".to_owned(), "invalid"),
                ("/query/cursor".to_owned(), "invalid"),
            ]
        );
        assert_eq!(problem(&[("q", &"x".repeat(201))]).len(), 1);
    }
}
