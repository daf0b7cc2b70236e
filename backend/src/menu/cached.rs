//! The whole menu in one answer: what every guest's phone asks for. It is made once for each version of the menu, kept in Redis
//! for the other replicas, and in memory. The version is the offset of the channel `menu`, read from the database at most twice
//! a second: no replica shows an older menu for longer than that, and the one that changed it shows the new one at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_postgres::IsolationLevel;
use utoipa::ToSchema;

use super::edit::CHANNEL;
use super::{COLUMNS, Product};
use crate::app::App;
use crate::database::ApiError;
use crate::http::etag;
use crate::http::metrics::Source;

/// How long a menu is given out without a look at its version.
const BELIEVED: Duration = Duration::from_millis(500);
/// How long a menu is given out while the database is away.
const STALE: Duration = Duration::from_mins(10);
/// How long Redis keeps one, in seconds.
const KEPT_S: u64 = 60;

/// The menu.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Menu {
    categories: Vec<Section>,
}

/// A part of the menu with what is available of it.
#[derive(Debug, Serialize, ToSchema)]
struct Section {
    slug: String,
    name: String,
    products: Vec<Product>,
}

/// The menu in memory.
#[derive(Debug, Default)]
pub(crate) struct MenuCache {
    copy: Mutex<Option<Copy>>,
    /// One look at the version at a time; the others wait for what it finds.
    look: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Copy {
    version: i64,
    body: Bytes,
    tag: Arc<str>,
    /// When it was known to be the newest; none after a change here.
    sure_at: Option<Instant>,
    made_at: Instant,
}

impl MenuCache {
    /// Has the next reader look at the version: the menu was changed here.
    pub(crate) fn doubt(&self) {
        if let Some(copy) = &mut *self.copy.lock().unwrap_or_else(PoisonError::into_inner) {
            copy.sure_at = None;
        }
    }

    fn get(&self) -> Option<Copy> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, copy: Copy) {
        *self.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }

    fn sure(&self) -> Option<Copy> {
        self.get().filter(|copy| copy.sure_at.is_some_and(|at| at.elapsed() < BELIEVED))
    }
}

/// The menu: everything that is available.
#[utoipa::path(get, path = "/api/menu", tag = "menu",
    responses((status = 200, body = Menu, headers(("ETag" = String))), (status = 304)))]
pub(super) async fn menu(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let copy = match app.menu.sure() {
        Some(copy) => {
            count(&app, "memory");
            copy
        }
        None => newest(&app).await?,
    };
    Ok(answer(&headers, &copy))
}

fn answer(headers: &HeaderMap, copy: &Copy) -> Response {
    let mut response = if etag::is_known(headers, &copy.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], copy.body.clone()).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&copy.tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn count(app: &App, source: &'static str) {
    app.metrics.menu_cache.get_or_create(&Source { source }).inc();
}

async fn newest(app: &App) -> Result<Copy, ApiError> {
    let _look = app.menu.look.lock().await;
    if let Some(copy) = app.menu.sure() {
        count(app, "memory");
        return Ok(copy);
    }
    match look(app).await {
        Ok(copy) => {
            app.menu.put(copy.clone());
            Ok(copy)
        }
        // An old menu is better than none.
        Err(error) => match app.menu.get().filter(|copy| copy.made_at.elapsed() < STALE) {
            Some(copy) => {
                tracing::warn!(error = svc_common::chain(&error), "giving out the menu of before");
                count(app, "stale");
                Ok(copy)
            }
            None => Err(error),
        },
    }
}

async fn look(app: &App) -> Result<Copy, ApiError> {
    let asked = Instant::now();
    let mut client = app.database.client().await?;
    let top = "SELECT coalesce((SELECT top FROM channels WHERE name = $1), 0)";
    let version: i64 = client.query_one(&client.prepare_cached(top).await?, &[&CHANNEL]).await?.get(0);
    if let Some(copy) = app.menu.get().filter(|copy| copy.version == version) {
        count(app, "memory");
        return Ok(Copy { sure_at: Some(asked), made_at: asked, ..copy });
    }
    let key = |version: i64| app.redis.key("cache", &format!("menu:v{version}"));
    if let Some(body) = app.redis.ask::<Option<Vec<u8>>>(redis::cmd("GET").arg(key(version))).await.flatten() {
        count(app, "redis");
        return Ok(copy(version, body, asked));
    }
    // The version is read anew in the snapshot the menu is read in: a change in between would be kept under a wrong one.
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let version: i64 = transaction.query_one(&transaction.prepare_cached(top).await?, &[&CHANNEL]).await?.get(0);
    let products = format!(
        "SELECT {COLUMNS} FROM products p JOIN categories c ON c.id = p.category_id WHERE p.available \
         ORDER BY c.position, c.slug, p.name, p.id"
    );
    let rows = transaction.query(&transaction.prepare_cached(&products).await?, &[]).await?;
    transaction.commit().await?;
    let mut categories: Vec<Section> = Vec::new();
    for row in &rows {
        let product = Product::from_row(row);
        match categories.last_mut() {
            Some(section) if section.slug == product.category.slug => section.products.push(product),
            _ => categories.push(Section {
                slug: product.category.slug.clone(),
                name: product.category.name.clone(),
                products: vec![product],
            }),
        }
    }
    let body = serde_json::to_vec(&Menu { categories }).expect("a menu is plain data");
    let mut set = redis::cmd("SET");
    set.arg(key(version)).arg(&body).arg("EX").arg(KEPT_S);
    // Whether Redis keeps it is not important.
    let _: Option<redis::Value> = app.redis.ask(&set).await;
    count(app, "database");
    Ok(copy(version, body, asked))
}

fn copy(version: i64, body: Vec<u8>, asked: Instant) -> Copy {
    let digest = Sha256::digest(&body);
    let tag = format!("\"m{:016x}\"", u64::from_be_bytes(digest[..8].try_into().expect("eight bytes")));
    Copy { version, body: body.into(), tag: tag.into(), sure_at: Some(asked), made_at: asked }
}
