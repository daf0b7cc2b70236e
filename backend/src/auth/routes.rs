//! Signing up, in and out over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use svc_common::problem::{FieldError, Problem};
use tokio_postgres::Row;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::limiter::Rate;
use super::refresh::{self, Outcome};
use super::role::{Caller, Person, Role};
use super::token::{CodeClaims, GuestClaims, PersonClaims};
use crate::app::App;
use crate::database::{ApiError, DatabaseError};
use crate::http::body::{Body, Check, Flaws};

/// How long an access token is good, in seconds.
const ACCESS_S: i64 = 15 * 60;
/// How long the guests at a table are signed in, in seconds; the end of their session ends it before.
const GUEST_S: i64 = 4 * 60 * 60;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(renew))
        .routes(routes!(table))
        .routes(routes!(logout))
        .routes(routes!(logout_all))
        .routes(routes!(me))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// The address to sign in with.
    #[schema(example = "somebody@example.org", max_length = 254)]
    email: String,
    /// At least ten characters.
    #[schema(min_length = 10, max_length = 128)]
    password: String,
    /// What others see.
    #[schema(min_length = 1, max_length = 80)]
    display_name: String,
}

impl Check for Registration {
    fn check(&self, flaws: &mut Flaws) {
        if !is_email(&self.email) {
            flaws.add("/email", "invalid", "has to be an e-mail address");
        }
        flaws.text("/password", &self.password, 10..=128);
        flaws.text("/display_name", &self.display_name, 1..=80);
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[schema(example = "waiter@menu.test")]
    email: String,
    password: String,
}

impl Check for Credentials {
    fn check(&self, flaws: &mut Flaws) {
        // Hashing takes longer for a longer password.
        if self.password.len() > 1024 {
            flaws.add("/password", "length", "is too long");
        }
        if self.email.len() > 254 {
            flaws.add("/email", "length", "is too long");
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Renewal {
    refresh_token: String,
}

impl Check for Renewal {
    fn check(&self, _: &mut Flaws) {}
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TableCode {
    /// The code that stands on the table.
    code: String,
}

impl Check for TableCode {
    fn check(&self, _: &mut Flaws) {}
}

/// Somebody with an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    id: Uuid,
    email: String,
    display_name: String,
    role: Role,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// What a sign-in gives.
#[derive(Debug, Serialize, ToSchema)]
struct SignedIn {
    /// For `Authorization: Bearer …`.
    access_token: String,
    /// Gets the next access token, once.
    refresh_token: String,
    /// `Bearer`
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: i64,
    user: User,
}

/// What a table's code gives.
#[derive(Debug, Serialize, ToSchema)]
struct SignedInTable {
    /// For `Authorization: Bearer …`.
    access_token: String,
    /// `Bearer`
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: i64,
    table_id: Uuid,
    table_session_id: Uuid,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    role: Role,
    /// Unless it is a table.
    user: Option<User>,
    /// If it is a table.
    table_id: Option<Uuid>,
    /// If it is a table.
    table_session_id: Option<Uuid>,
}

const COLUMNS: &str = "id, email, display_name, role, created_at, token_version";

fn user(row: &Row) -> Result<User, Problem> {
    let role = Role::parse(row.get(3)).ok_or_else(Problem::internal)?;
    Ok(User { id: row.get(0), email: row.get(1), display_name: row.get(2), role, created_at: row.get(4) })
}

/// Begins or continues a session: a refresh token of the family, and an access token.
async fn sign_in(
    app: &App,
    transaction: &Transaction<'_>,
    row: &Row,
    family: Uuid,
    refresh_token: Option<String>,
) -> Result<SignedIn, ApiError> {
    let user = user(row)?;
    let refresh_token = match refresh_token {
        Some(token) => token,
        None => refresh::issue(transaction, user.id, family).await?,
    };
    let claims = PersonClaims { sub: user.id, role: user.role, ver: row.get(5), fam: family, jti: Uuid::now_v7() };
    let access_token = app.keys.people.sign(claims, Timestamp::now(), ACCESS_S);
    Ok(SignedIn { access_token, refresh_token, token_type: "Bearer", expires_in: ACCESS_S, user })
}

/// Sign up.
///
/// Everybody begins as a member.
#[utoipa::path(post, path = "/api/auth/register", tag = "auth", request_body = Registration,
    responses((status = 201, body = SignedIn)))]
async fn register(State(app): State<Arc<App>>, body: Body<Registration>) -> Result<Response, ApiError> {
    let Registration { email, password, display_name } = body.value;
    let hash = app.passwords.hash(password).await?;
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let insert = transaction
        .prepare_cached(&format!(
            "INSERT INTO users (id, email, display_name, password_hash, role) VALUES ($1, $2, $3, $4, 'member') \
             RETURNING {COLUMNS}"
        ))
        .await?;
    let row = transaction.query_one(&insert, &[&Uuid::now_v7(), &email.trim(), &display_name.trim(), &hash]).await;
    let row = row.map_err(DatabaseError::from).map_err(|error| match error.constraint() {
        Some("users_email_key") => {
            let flaw = FieldError::body("/email", "taken", "there is an account with this address");
            Problem { errors: vec![flaw], ..Problem::conflict("email_taken", "there is an account with this address") }
                .into()
        }
        _ => ApiError::from(error),
    })?;
    let signed_in = sign_in(&app, &transaction, &row, Uuid::now_v7(), None).await?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(signed_in)).into_response())
}

/// Sign in.
#[utoipa::path(post, path = "/api/auth/login", tag = "auth", request_body = Credentials,
    responses((status = 200, body = SignedIn)))]
async fn login(State(app): State<Arc<App>>, body: Body<Credentials>) -> Result<Response, ApiError> {
    let Credentials { email, password } = body.value;
    let account = email.trim().to_lowercase();
    if let Some(verdict) = app.limiter.ask(Rate::Account, &account).await
        && !verdict.allowed
    {
        app.metrics.rate_limited.inc();
        return Ok(verdict.refuse());
    }
    let mut client = app.database.client().await?;
    let find = format!("SELECT {COLUMNS}, password_hash, disabled_at IS NOT NULL FROM users WHERE lower(email) = $1");
    let find = client.prepare_cached(&find).await?;
    let row = client.query_opt(&find, &[&account]).await?;
    // No connection is held while a hash is made, or sign-ins would use up the pool.
    drop(client);
    let hash = row.as_ref().map(|row| row.get(6));
    let matches = app.passwords.verify(password, hash).await?;
    // The same answer, after the same time, whether there is such an account or not.
    let row = row.filter(|row| matches && !row.get::<_, bool>(7)).ok_or_else(|| {
        Problem::unauthorized("wrong_credentials", "there is no such account, or the password is another one")
    })?;
    client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let signed_in = sign_in(&app, &transaction, &row, Uuid::now_v7(), None).await?;
    transaction.commit().await?;
    Ok(Json(signed_in).into_response())
}

/// Get the next pair of tokens.
///
/// A refresh token is good once. One that is used a second time ends the session it belongs to.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "auth", request_body = Renewal,
    responses((status = 200, body = SignedIn)))]
async fn renew(State(app): State<Arc<App>>, body: Body<Renewal>) -> Result<Json<SignedIn>, ApiError> {
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    match refresh::rotate(&transaction, &body.value.refresh_token).await? {
        Outcome::Next { user, family, token } => {
            let find = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = $1")).await?;
            let row = transaction.query_one(&find, &[&user]).await?;
            let signed_in = sign_in(&app, &transaction, &row, family, Some(token)).await?;
            transaction.commit().await?;
            Ok(Json(signed_in))
        }
        Outcome::Reused { user } => {
            transaction.commit().await?;
            app.sessions.forget(user);
            tracing::warn!(%user, "a refresh token was used twice, its session is ended");
            let detail = "this refresh token was used before; the session is ended, sign in again";
            Err(Problem::unauthorized("refresh_token_reused", detail).into())
        }
        Outcome::Refused => {
            Err(Problem::unauthorized("invalid_refresh_token", "this refresh token is not valid; sign in again").into())
        }
    }
}

/// Sign a table in by its code.
#[utoipa::path(post, path = "/api/auth/table", tag = "auth", request_body = TableCode,
    responses((status = 200, body = SignedInTable)))]
async fn table(State(app): State<Arc<App>>, body: Body<TableCode>) -> Result<Json<SignedInTable>, ApiError> {
    let now = Timestamp::now();
    let void = || Problem::unauthorized("invalid_code", "this code is not valid; ask for a new one");
    let CodeClaims { table, tv } = app.keys.tables.verify(&body.value.code, now).map_err(|_| void())?;
    let client = app.database.client().await?;
    let find = "SELECT s.id FROM dining_tables t LEFT JOIN table_sessions s ON s.table_id = t.id AND s.closed_at IS NULL \
                WHERE t.id = $1 AND t.token_version = $2";
    let find = client.prepare_cached(find).await?;
    let row = client.query_opt(&find, &[&table, &tv]).await?.ok_or_else(void)?;
    let Some(session) = row.get::<_, Option<Uuid>>(0) else {
        return Err(Problem::conflict("table_closed", "nobody has opened this table yet; ask the waiter").into());
    };
    let access_token = app.keys.tables.sign(GuestClaims { table, session, tv }, now, GUEST_S);
    let (token_type, expires_in) = ("Bearer", GUEST_S);
    Ok(Json(SignedInTable { access_token, token_type, expires_in, table_id: table, table_session_id: session }))
}

/// Sign out of this session.
#[utoipa::path(post, path = "/api/auth/logout", tag = "auth", responses((status = 204)))]
async fn logout(State(app): State<Arc<App>>, person: Person) -> Result<StatusCode, ApiError> {
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    refresh::revoke_family(&transaction, person.family).await?;
    transaction.commit().await?;
    app.sessions.forget(person.id);
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out everywhere.
#[utoipa::path(post, path = "/api/auth/logout-all", tag = "auth", responses((status = 204)))]
async fn logout_all(State(app): State<Arc<App>>, person: Person) -> Result<StatusCode, ApiError> {
    let mut client = app.database.client().await?;
    let transaction = client.transaction().await?;
    let count = "UPDATE users SET token_version = token_version + 1 WHERE id = $1";
    transaction.execute(&transaction.prepare_cached(count).await?, &[&person.id]).await?;
    let revoke = "UPDATE refresh_tokens SET revoked_at = now() WHERE user_id = $1 AND revoked_at IS NULL";
    transaction.execute(&transaction.prepare_cached(revoke).await?, &[&person.id]).await?;
    transaction.commit().await?;
    app.sessions.forget(person.id);
    Ok(StatusCode::NO_CONTENT)
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/auth/me", tag = "auth", responses((status = 200, body = Me)))]
async fn me(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Me>, ApiError> {
    let role = caller.role();
    match caller {
        Caller::Person { id, .. } => {
            let client = app.database.client().await?;
            let find = client.prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = $1")).await?;
            let row = client.query_one(&find, &[&id]).await?;
            Ok(Json(Me { role, user: Some(user(&row)?), table_id: None, table_session_id: None }))
        }
        Caller::Table { table, session } => {
            Ok(Json(Me { role, user: None, table_id: Some(table), table_session_id: Some(session) }))
        }
    }
}

/// Whether a text may be an e-mail address. Only a message to it can tell more.
fn is_email(text: &str) -> bool {
    let text = text.trim();
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    text.len() <= 254 && plain(name) && plain(host) && name.len() <= 64 && host.contains('.') && !host.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["a@b.c", " mia@menu.test ", "o'brien+x@sub.example.org", "ñ@ejemplo.es"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.c", "a@", "a@b", "a b@c.d", "a@b@c.d", "a@b..c", "a\0@b.c"] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }
}
