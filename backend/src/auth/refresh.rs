//! Refresh tokens: random, kept as a hash, good for one use. Whoever uses one gets the next one of its family; one that is used
//! twice is in two hands, and then the whole family is revoked, because nobody can tell which hand is the right one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deadpool_postgres::Transaction;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::database::DatabaseError;

/// How long a token may lie around unused, in days.
const DAYS: i32 = 30;

/// What became of a token that was handed in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was good: whose it is, its family and the next token.
    Next { user: Uuid, family: Uuid, token: String },
    /// It was used before; its family is revoked now.
    Reused { user: Uuid },
    /// It is not one of ours, expired or revoked.
    Refused,
}

/// Makes a token of a family.
pub(crate) async fn issue(transaction: &Transaction<'_>, user: Uuid, family: Uuid) -> Result<String, DatabaseError> {
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let insert = transaction
        .prepare_cached(
            "INSERT INTO refresh_tokens (id, user_id, family, token_sha256, expires_at) \
             VALUES ($1, $2, $3, $4, now() + make_interval(days => $5))",
        )
        .await?;
    transaction.execute(&insert, &[&Uuid::now_v7(), &user, &family, &hash(&token), &DAYS]).await?;
    Ok(token)
}

/// Takes a token in. The caller commits whatever the outcome: a revocation has to last.
pub(crate) async fn rotate(transaction: &Transaction<'_>, token: &str) -> Result<Outcome, DatabaseError> {
    // The row is locked: of two who hand the same token in at once, the second sees what the first did.
    let find = transaction
        .prepare_cached(
            "SELECT r.id, r.user_id, r.family, r.used_at IS NOT NULL, \
             r.revoked_at IS NOT NULL OR r.expires_at <= now() OR u.disabled_at IS NOT NULL \
             FROM refresh_tokens r JOIN users u ON u.id = r.user_id WHERE r.token_sha256 = $1 FOR UPDATE OF r",
        )
        .await?;
    let Some(row) = transaction.query_opt(&find, &[&hash(token)]).await? else { return Ok(Outcome::Refused) };
    let (id, user, family): (Uuid, Uuid, Uuid) = (row.get(0), row.get(1), row.get(2));
    let (used, void): (bool, bool) = (row.get(3), row.get(4));
    if used {
        revoke_family(transaction, family).await?;
        return Ok(Outcome::Reused { user });
    }
    if void {
        return Ok(Outcome::Refused);
    }
    let mark = transaction.prepare_cached("UPDATE refresh_tokens SET used_at = now() WHERE id = $1").await?;
    transaction.execute(&mark, &[&id]).await?;
    let token = issue(transaction, user, family).await?;
    Ok(Outcome::Next { user, family, token })
}

/// Revokes all tokens of a family.
pub(crate) async fn revoke_family(transaction: &Transaction<'_>, family: Uuid) -> Result<(), DatabaseError> {
    let revoke = "UPDATE refresh_tokens SET revoked_at = now() WHERE family = $1 AND revoked_at IS NULL";
    let revoke = transaction.prepare_cached(revoke).await?;
    transaction.execute(&revoke, &[&family]).await?;
    Ok(())
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
