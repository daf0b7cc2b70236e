//! Who may do what: accounts, sessions, tokens, the table of rules, and limits on how often.

/// Rate limits.
pub(crate) mod limiter;
/// Hashes of passwords.
pub(crate) mod password;
/// The table of rules.
pub(crate) mod policy;
/// Refresh tokens.
mod refresh;
/// Roles and callers.
pub(crate) mod role;
/// Signing in and out over HTTP.
pub(crate) mod routes;
/// Whether a token is still good.
pub(crate) mod session;
/// Signed tokens.
pub(crate) mod token;
