//! Changing products. Each change counts the product's version, makes its vector anew if its text changed, and is told on the
//! channel `menu`, whose offset is also the version of the cached menu.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use deadpool_postgres::Transaction;
use pgvector::Vector;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use svc_common::problem::{FieldError, Problem};
use tokio_postgres::error::SqlState;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{COLUMNS, Product};
use crate::app::App;
use crate::auth::role::Person;
use crate::database::{ApiError, DatabaseError};
use crate::embed;
use crate::http::body::{Body, Check, Flaws};
use crate::http::etag;
use crate::http::path::Id;
use crate::seed::menu::embedded_text;

/// Where changes of the menu are told.
pub(super) const CHANNEL: &str = "menu";
/// A hundred thousand in hundredths.
const HIGHEST_PRICE: i32 = 10_000_000;

/// A product as it shall be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductWish)]
pub(super) struct Wish {
    /// The slug of its category.
    #[schema(example = "desserts")]
    category: String,
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: String,
    #[schema(minimum = 0, maximum = 10_000_000)]
    price_cents: i32,
    #[serde(default)]
    #[schema(max_items = 30)]
    allergens: Vec<String>,
    #[serde(default)]
    #[schema(max_items = 30)]
    tags: Vec<String>,
    #[serde(default = "yes")]
    available: bool,
}

fn yes() -> bool {
    true
}

impl Check for Wish {
    fn check(&self, flaws: &mut Flaws) {
        flaws.text("/category", &self.category, 1..=64);
        flaws.text("/name", &self.name, 1..=120);
        flaws.text("/description", &self.description, 0..=2000);
        flaws.range("/price_cents", &self.price_cents, 0..=HIGHEST_PRICE);
        flaws.words("/allergens", &self.allergens, 30);
        flaws.words("/tags", &self.tags, 30);
    }
}

/// What of a product shall change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductChange)]
pub(super) struct Change {
    category: Option<String>,
    #[schema(min_length = 1, max_length = 120)]
    name: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    #[schema(minimum = 0, maximum = 10_000_000)]
    price_cents: Option<i32>,
    #[schema(max_items = 30)]
    allergens: Option<Vec<String>>,
    #[schema(max_items = 30)]
    tags: Option<Vec<String>>,
    available: Option<bool>,
}

impl Check for Change {
    // What it makes of the product is checked as a whole.
    fn check(&self, _: &mut Flaws) {}
}

impl Change {
    fn apply(self, to: Wish) -> Wish {
        Wish {
            category: self.category.unwrap_or(to.category),
            name: self.name.unwrap_or(to.name),
            description: self.description.unwrap_or(to.description),
            price_cents: self.price_cents.unwrap_or(to.price_cents),
            allergens: self.allergens.unwrap_or(to.allergens),
            tags: self.tags.unwrap_or(to.tags),
            available: self.available.unwrap_or(to.available),
        }
    }
}

/// Put a product onto the menu.
#[utoipa::path(post, path = "/api/products", tag = "menu", request_body = Wish,
    responses((status = 201, body = Product, headers(("ETag" = String)))))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    person: Person,
    body: Body<Wish>,
) -> Result<Response, ApiError> {
    let id = Uuid::now_v7();
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    write(&transaction, id, &body.value, Over::Nothing).await?;
    let product = finish(&app, transaction, id, "created", person).await?;
    let mut response = tagged(StatusCode::CREATED, product);
    if let Ok(location) = format!("/api/products/{id}").parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Replace a product.
#[utoipa::path(put, path = "/api/products/{id}", tag = "menu", request_body = Wish,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The `ETag` of the product as you saw it")),
    responses((status = 200, body = Product, headers(("ETag" = String)))))]
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    Id(id): Id,
    person: Person,
    headers: HeaderMap,
    body: Body<Wish>,
) -> Result<Response, ApiError> {
    etag::require(&headers)?;
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let (_, digest) = lock(&transaction, id, &headers).await?;
    write(&transaction, id, &body.value, Over::Product { digest }).await?;
    Ok(tagged(StatusCode::OK, finish(&app, transaction, id, "changed", person).await?))
}

/// Change parts of a product.
#[utoipa::path(patch, path = "/api/products/{id}", tag = "menu", request_body = Change,
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The `ETag` of the product as you saw it")),
    responses((status = 200, body = Product, headers(("ETag" = String)))))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Id(id): Id,
    person: Person,
    headers: HeaderMap,
    body: Body<Change>,
) -> Result<Response, ApiError> {
    etag::require(&headers)?;
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let (product, digest) = lock(&transaction, id, &headers).await?;
    let wish = body.value.apply(product);
    let mut flaws = Flaws::default();
    wish.check(&mut flaws);
    flaws.finish()?;
    write(&transaction, id, &wish, Over::Product { digest }).await?;
    Ok(tagged(StatusCode::OK, finish(&app, transaction, id, "changed", person).await?))
}

/// Take a product off the menu for good.
///
/// One that was ordered stays, for the sake of the orders: make it unavailable instead.
#[utoipa::path(delete, path = "/api/products/{id}", tag = "menu",
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The `ETag` of the product as you saw it")),
    responses((status = 204)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Id(id): Id,
    person: Person,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    etag::require(&headers)?;
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    lock(&transaction, id, &headers).await?;
    let delete = transaction.prepare_cached("DELETE FROM products WHERE id = $1").await?;
    if let Err(error) = transaction.execute(&delete, &[&id]).await {
        if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) {
            let detail = "this was ordered before; set `available` to false instead";
            return Err(Problem::conflict("was_ordered", detail).into());
        }
        return Err(error.into());
    }
    tell(&app, transaction, id, "deleted", person).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Locks a product that a writer has seen; answers with what it is and what its vector was made of.
async fn lock(
    transaction: &Transaction<'_>,
    id: Uuid,
    headers: &HeaderMap,
) -> Result<(Wish, Option<Vec<u8>>), ApiError> {
    let find = transaction
        .prepare_cached(
            "SELECT c.slug, p.name, p.description, p.price_cents, p.allergens, p.tags, p.available, p.version, \
             CASE WHEN p.embedding_model = $2 THEN p.embedding_src_sha256 END \
             FROM products p JOIN categories c ON c.id = p.category_id WHERE p.id = $1 FOR UPDATE OF p",
        )
        .await?;
    let row = transaction.query_opt(&find, &[&id, &embed::MODEL]).await?;
    let row = row.ok_or_else(|| Problem::not_found(format!("there is no product `{id}`")))?;
    etag::expect(headers, row.get(7))?;
    let product = Wish {
        category: row.get(0),
        name: row.get(1),
        description: row.get(2),
        price_cents: row.get(3),
        allergens: row.get(4),
        tags: row.get(5),
        available: row.get(6),
    };
    Ok((product, row.get(8)))
}

/// What a product is written over.
enum Over {
    /// It is new.
    Nothing,
    /// An older version of it, whose vector was made of a text with this digest.
    Product { digest: Option<Vec<u8>> },
}

impl Over {
    fn has_vector_of(&self, text: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Product { digest } => digest.as_deref() == Some(text),
        }
    }
}

/// Writes a product: a new one, or over an older version.
async fn write(transaction: &Transaction<'_>, id: Uuid, wish: &Wish, over: Over) -> Result<(), ApiError> {
    let find = transaction.prepare_cached("SELECT id, name FROM categories WHERE slug = $1").await?;
    let category = transaction.query_opt(&find, &[&wish.category]).await?.ok_or_else(|| {
        let message = format!("there is no category `{}`", wish.category);
        Problem::validation(vec![FieldError::body("/category", "unknown", message)])
    })?;
    let (category_id, category): (Uuid, String) = (category.get(0), category.get(1));
    let Wish { name, description, price_cents, allergens, tags, available, .. } = wish;
    let text = embedded_text(name, description, &category, tags);
    let digest = Sha256::digest(&text).to_vec();
    let statement = if matches!(over, Over::Nothing) {
        "INSERT INTO products (id, category_id, name, description, price_cents, allergens, tags, available) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    } else {
        "UPDATE products SET category_id = $2, name = $3, description = $4, price_cents = $5, allergens = $6, tags = $7, \
         available = $8, version = version + 1, updated_at = now() WHERE id = $1"
    };
    let statement = transaction.prepare_cached(statement).await?;
    transaction
        .execute(&statement, &[&id, &category_id, name, description, price_cents, allergens, tags, available])
        .await?;
    if !over.has_vector_of(&digest) {
        let vector = embed::embed(&text).map(Vector::from);
        let model = vector.as_ref().map(|_| embed::MODEL);
        let update =
            "UPDATE products SET embedding = $2, embedding_model = $3, embedding_src_sha256 = $4 WHERE id = $1";
        transaction.execute(&transaction.prepare_cached(update).await?, &[&id, &vector, &model, &digest]).await?;
    }
    Ok(())
}

/// Reads the product as it is now, tells of it and commits.
async fn finish(
    app: &App,
    transaction: Transaction<'_>,
    id: Uuid,
    what: &str,
    person: Person,
) -> Result<Product, ApiError> {
    let find = format!("SELECT {COLUMNS} FROM products p JOIN categories c ON c.id = p.category_id WHERE p.id = $1");
    let product = Product::from_row(&transaction.query_one(&transaction.prepare_cached(&find).await?, &[&id]).await?);
    tell(app, transaction, id, what, person).await?;
    Ok(product)
}

async fn tell(
    app: &App,
    transaction: Transaction<'_>,
    id: Uuid,
    what: &str,
    person: Person,
) -> Result<(), DatabaseError> {
    let data = json!({"product_id": id, "what": what});
    let event = app.events.append(&transaction, CHANNEL, "menu.updated", &data, Some(person.id)).await?;
    transaction.commit().await?;
    app.menu.doubt();
    app.events.publish(vec![event]);
    Ok(())
}

fn tagged(status: StatusCode, product: Product) -> Response {
    let tag = etag::of_version(product.version);
    (status, [(header::ETAG, tag)], Json(product)).into_response()
}
