//! Fills an empty database with demo data, once and in one transaction: a menu, people of every role, tables, rooms, past
//! orders and what the chatbot knows. It is in `seed/`, built into the binary.

/// The demo menu.
pub mod menu;
mod past;
mod people;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use uuid::Uuid;

/// The version of the demo data, kept in `app_meta` so that what was emptied on purpose stays empty.
const SEED_VERSION: &str = "2";

/// The password of every person in the demo data.
pub const DEMO_PASSWORD: &str = "let-me-in-please";

/// Makes the same id on every machine, so that links to seeded rows work everywhere.
pub fn id_of(kind: &str, slug: &str) -> Uuid {
    let digest = Sha256::digest(format!("{kind}/{slug}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Fills the database in one transaction, if it was never filled and is empty. Says whether it did. The caller holds
/// the migration lock. A database that has the menu of the first version gets the rest.
pub async fn run(client: &mut Client) -> Result<bool, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let question = "SELECT (SELECT value FROM app_meta WHERE key = 'seed_version'), \
                    EXISTS (SELECT 1 FROM products) OR EXISTS (SELECT 1 FROM categories), \
                    EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM dining_tables)";
    let row = transaction.query_one(question, &[]).await?;
    let (version, menu, people): (Option<String>, bool, bool) = (row.get(0), row.get(1), row.get(2));
    let fresh = version.is_none() && !menu && !people;
    let older = version.as_deref() == Some("1") && !people;
    if !fresh && !older {
        return Ok(false);
    }
    if fresh {
        menu::fill(&transaction).await?;
    }
    people::fill(&transaction).await?;
    past::fill(&transaction).await?;
    let mark = "INSERT INTO app_meta VALUES ('seed_version', $1) ON CONFLICT (key) DO UPDATE SET value = $1";
    transaction.execute(mark, &[&SEED_VERSION]).await?;
    transaction.commit().await?;
    tracing::info!("filled the empty database with demo data");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_everywhere() {
        assert_eq!(id_of("product", "ribeye"), id_of("product", "ribeye"));
        assert_ne!(id_of("product", "pizza"), id_of("category", "pizza"));
        assert_eq!(id_of("product", "ribeye").get_version_num(), 8);
    }
}
