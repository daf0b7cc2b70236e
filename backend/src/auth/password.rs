//! Passwords: argon2id with OWASP's minimum (19 MiB, two passes, one lane). A hash takes a core for tens of milliseconds, so
//! hashing runs off the runtime's threads, and only a few at a time: a flood of sign-ins must not starve everyone else of
//! processors and memory.

use std::sync::{Arc, LazyLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use svc_common::problem::Problem;
use tokio::sync::Semaphore;

/// How many hashes are made at once.
const AT_ONCE: usize = 2;

/// A hash that no password has made, so that a sign-in of nobody takes as long as one with a wrong password.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash_blocking(&uuid::Uuid::new_v4().to_string()));

/// Makes and checks hashes, a few at a time.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    slots: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Makes a hash with a salt of its own.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash_blocking(&password)).await
    }

    /// Whether the password made the hash. Without a hash the answer is no, and takes as long.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Problem> {
        self.run(move || {
            // Checked in either case: an answer that comes sooner would tell which accounts there are.
            let matches = verify_blocking(&password, hash.as_deref().unwrap_or(&NOBODY));
            matches && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes the semaphore");
        // The slot goes with the work: a client that hangs up cannot be stopped halfway, and still takes its core.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "hashing a password failed");
            Problem::internal()
        })
    }
}

/// Makes a hash on this thread.
pub(crate) fn hash_blocking(password: &str) -> String {
    let hash: Result<argon2::password_hash::phc::PasswordHash, _> =
        Argon2::default().hash_password(password.as_bytes());
    hash.expect("the parameters are valid and the system has random numbers").to_string()
}

fn verify_blocking(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_opens() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horsf".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), Some("not a hash".to_owned())).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
        assert_ne!(passwords.hash("correct horse".to_owned()).await.unwrap(), hash, "the salt is new each time");
    }
}
