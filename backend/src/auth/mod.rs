//! Who may do what.

/// Hashes of passwords.
pub(crate) mod password;
