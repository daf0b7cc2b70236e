//! Requests that count once however often they are sent (draft-ietf-httpapi-idempotency-key-header). The answer is written by
//! the transaction of the request, so that there is never one without the other.

use axum::http::HeaderMap;
use deadpool_postgres::Transaction;
use serde_json::Value;
use sha2::{Digest, Sha256};
use svc_common::problem::{FieldError, Problem};

use crate::database::ApiError;

/// A request's key, for one caller and one route.
#[derive(Debug)]
pub(super) struct Key {
    scope: String,
    name: String,
    digest: Vec<u8>,
}

impl Key {
    /// Reads the header, which has to be there.
    pub(super) fn read(headers: &HeaderMap, scope: String, body: &[u8]) -> Result<Self, Problem> {
        let flaw = |code, message| Problem::validation(vec![FieldError::header("Idempotency-Key", code, message)]);
        let Some(value) = headers.get("idempotency-key") else {
            let message = "`Idempotency-Key` is missing: make up a value, and send the same one with each attempt";
            return Err(flaw("required", message));
        };
        let key = value.to_str().unwrap_or_default().trim().trim_matches('"');
        if !(1..=255).contains(&key.len()) {
            return Err(flaw("invalid", "`Idempotency-Key` has to have 1 to 255 ASCII characters"));
        }
        Ok(Self { scope, name: key.to_owned(), digest: Sha256::digest(body).to_vec() })
    }

    /// Looks for an earlier attempt's answer. While another attempt is under way, there is none yet, and nobody may act.
    pub(super) async fn earlier(&self, transaction: &Transaction<'_>) -> Result<Option<Value>, ApiError> {
        let lock = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";
        let lock = transaction.prepare_cached(lock).await?;
        let name = format!("{}\n{}", self.scope, self.name);
        if !transaction.query_one(&lock, &[&name]).await?.get::<_, bool>(0) {
            let detail = "the first attempt with this `Idempotency-Key` is still under way";
            let problem = Problem { retry_after: Some(1), ..Problem::conflict("in_progress", detail) };
            return Err(problem.into());
        }
        let find = "SELECT request_sha256, response FROM idempotency_keys WHERE scope = $1 AND key = $2";
        let find = transaction.prepare_cached(find).await?;
        let Some(row) = transaction.query_opt(&find, &[&self.scope, &self.name]).await? else { return Ok(None) };
        if row.get::<_, Vec<u8>>(0) != self.digest {
            let message = "this `Idempotency-Key` was used for another request";
            let flaw = FieldError::header("Idempotency-Key", "reused", message);
            return Err(Problem::validation(vec![flaw]).into());
        }
        Ok(Some(row.get(1)))
    }

    /// Writes the answer down.
    pub(super) async fn keep(
        &self,
        transaction: &Transaction<'_>,
        status: i32,
        answer: &Value,
    ) -> Result<(), ApiError> {
        let insert = transaction
            .prepare_cached(
                "INSERT INTO idempotency_keys (scope, key, request_sha256, status, response) VALUES ($1, $2, $3, $4, $5)",
            )
            .await?;
        transaction.execute(&insert, &[&self.scope, &self.name, &self.digest, &status, answer]).await?;
        Ok(())
    }
}
