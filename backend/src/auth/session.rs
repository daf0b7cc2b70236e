//! Whether a token that is signed well is still good: its user may have been disabled, its sign-in ended, its table closed.
//! The database knows; what it said is remembered for a second, and forgotten at once where something ends here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use svc_common::problem::Problem;
use uuid::Uuid;

use super::role::{Caller, Role};
use super::token::{self, Claims, GuestClaims, PersonClaims, TokenError};
use crate::app::App;
use crate::database::ApiError;

/// How long an answer of the database is believed. The longest that another replica lets a signed-out token in.
const BELIEVED: Duration = Duration::from_secs(1);
/// How many answers are remembered.
const REMEMBERED: usize = 10_000;

/// The answers of the last second.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    people: Mutex<HashMap<(Uuid, Uuid), Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    at: Instant,
    role: Role,
    version: i32,
}

impl Sessions {
    /// Says who a token stands for.
    pub(crate) async fn caller(&self, app: &App, token: &str) -> Result<Caller, ApiError> {
        let now = Timestamp::now();
        if token::audience(token).as_deref() == Some(GuestClaims::AUDIENCE) {
            let claims: GuestClaims = app.keys.tables.verify(token, now).map_err(refusal)?;
            return self.guest(app, &claims).await;
        }
        let claims: PersonClaims = app.keys.people.verify(token, now).map_err(refusal)?;
        self.person(app, &claims).await
    }

    /// Forgets what is known of a user.
    pub(crate) fn forget(&self, user: Uuid) {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _), _| *id != user);
    }

    async fn person(&self, app: &App, claims: &PersonClaims) -> Result<Caller, ApiError> {
        let key = (claims.sub, claims.fam);
        let known = self.people.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        let known = if let Some(known) = known.filter(|known| known.at.elapsed() < BELIEVED) {
            known
        } else {
            let asked = Instant::now();
            let client = app.database.client().await?;
            let statement = client
                .prepare_cached(
                    "SELECT role, token_version FROM users WHERE id = $1 AND disabled_at IS NULL AND EXISTS \
                     (SELECT 1 FROM refresh_tokens WHERE family = $2 AND user_id = $1 AND revoked_at IS NULL)",
                )
                .await?;
            let row = client.query_opt(&statement, &[&claims.sub, &claims.fam]).await?;
            let Some(row) = row else { return Err(ended()) };
            let role = Role::parse(row.get(0)).ok_or_else(Problem::internal)?;
            let known = Known { at: asked, role, version: row.get(1) };
            let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
            if people.len() >= REMEMBERED {
                people.retain(|_, known| known.at.elapsed() < BELIEVED);
            }
            if people.len() < REMEMBERED {
                people.insert(key, known);
            }
            known
        };
        if known.version != claims.ver {
            return Err(ended());
        }
        // The role of now, not of when the token was made.
        Ok(Caller::Person { id: claims.sub, role: known.role, family: claims.fam })
    }

    async fn guest(&self, app: &App, claims: &GuestClaims) -> Result<Caller, ApiError> {
        let client = app.database.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT 1 FROM table_sessions s JOIN dining_tables t ON t.id = s.table_id \
                 WHERE s.id = $1 AND t.id = $2 AND t.token_version = $3 AND s.closed_at IS NULL",
            )
            .await?;
        match client.query_opt(&statement, &[&claims.session, &claims.table, &claims.tv]).await? {
            Some(_) => Ok(Caller::Table { table: claims.table, session: claims.session }),
            None => Err(ended()),
        }
    }
}

fn refusal(error: TokenError) -> Problem {
    match error {
        TokenError::Invalid => Problem::unauthorized("invalid_token", error.to_string()),
        TokenError::Expired => Problem::unauthorized("token_expired", "the token has expired; get a new one"),
    }
}

fn ended() -> ApiError {
    Problem::unauthorized("session_ended", "this session has ended; sign in again").into()
}
