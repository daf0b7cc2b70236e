//! Hashes of passwords: argon2id with OWASP's minimum (19 MiB, two passes, one lane).

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;

/// Makes a hash on this thread.
pub(crate) fn hash_blocking(password: &str) -> String {
    let hash: Result<argon2::password_hash::phc::PasswordHash, _> =
        Argon2::default().hash_password(password.as_bytes());
    hash.expect("the parameters are valid and the system has random numbers").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_salted_and_name_their_cost() {
        let hash = hash_blocking("correct horse");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash_blocking("correct horse"), hash);
    }
}
