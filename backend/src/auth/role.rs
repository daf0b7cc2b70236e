//! The roles, and who a request comes from.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use svc_common::problem::Problem;
use utoipa::ToSchema;
use uuid::Uuid;

/// What somebody is in the restaurant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Runs the system.
    Admin,
    /// Runs the restaurant.
    Manager,
    /// Serves tables.
    Waiter,
    /// Cooks.
    Kitchen,
    /// Has an account and nothing to do with the work.
    Member,
    /// Sits at a table and has its code.
    Guest,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Admin, Self::Manager, Self::Waiter, Self::Kitchen, Self::Member, Self::Guest];

    /// The word in the database and in tokens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Waiter => "waiter",
            Self::Kitchen => "kitchen",
            Self::Member => "member",
            Self::Guest => "guest",
        }
    }

    /// Reads the word.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Who a request comes from. The middleware that lets it pass puts this into the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody with an account.
    Person { id: Uuid, role: Role, family: Uuid },
    /// A table with guests.
    Table { table: Uuid, session: Uuid },
}

impl Caller {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Person { role, .. } => *role,
            Self::Table { .. } => Role::Guest,
        }
    }

    /// A name for limits and keys: who it is that asks.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Person { id, .. } => format!("user:{id}"),
            Self::Table { session, .. } => format!("table:{session}"),
        }
    }

    /// The id of the person, if it is one.
    pub(crate) fn person(&self) -> Option<Uuid> {
        match self {
            Self::Person { id, .. } => Some(*id),
            Self::Table { .. } => None,
        }
    }

    /// Whether this is somebody who works with tables and orders.
    pub(crate) fn is_staff(&self) -> bool {
        match self.role() {
            Role::Admin | Role::Manager | Role::Waiter | Role::Kitchen => true,
            Role::Member | Role::Guest => false,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| {
            // An open route that asks who calls: the table of rules and the route do not fit.
            tracing::error!(path = parts.uri.path(), "nobody signed in on a route that asks for the caller");
            Problem::internal()
        })
    }
}

/// Somebody with an account. The table of rules lets nobody else reach a route that takes this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) role: Role,
    pub(crate) family: Uuid,
}

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Caller::from_request_parts(parts, state).await? {
            Caller::Person { id, role, family } => Ok(Self { id, role, family }),
            Caller::Table { .. } => Err(Problem::forbidden("this takes an account")),
        }
    }
}
