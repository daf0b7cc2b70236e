//! Bringing the schema up to date. The migrations are files in `migrations/`, built into the binary; what was applied
//! is written down with a checksum, so that an edited file or a database of a newer version is noticed, not guessed.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its place in the order.
    pub version: i32,
    /// What it is about, from the file's name.
    pub name: &'static str,
    /// The statements; they run in one transaction.
    pub sql: &'static str,
    /// The statements that take it back, with the data it holds; they run in one transaction too.
    pub down: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/00", $version, "_", $name, ".sql")),
            down: include_str!(concat!("../migrations/00", $version, "_", $name, ".down.sql")),
        }
    };
}

/// Every migration of this build, in order. A released one never changes: corrections are new ones.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "menu"),
    migration!(2, "people"),
    migration!(3, "events"),
    migration!(4, "tables_and_orders"),
    migration!(5, "chat"),
    migration!(6, "knowledge"),
];

/// The lock that lets one process at a time change the schema; the number spells `menu_ops`.
const LOCK: i64 = 0x6d65_6e75_5f6f_7073;

/// Why the schema cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer build was here.
    #[error(
        "the database has migration {version} `{name}`, which this build does not know (its newest is {newest}); \
         run a newer build, or start with an empty database"
    )]
    Newer {
        /// The migration found.
        version: i32,
        /// Its name.
        name: String,
        /// The newest one of this build.
        newest: i32,
    },
    /// A migration was edited after it was applied.
    #[error(
        "migration {version} `{name}` was applied with other content (checksum {applied}, now {ours}); restore the \
         file and put the change into a new migration"
    )]
    Changed {
        /// The migration.
        version: i32,
        /// Its name.
        name: &'static str,
        /// The checksum in the database.
        applied: String,
        /// The checksum in this build.
        ours: String,
    },
    /// A migration was added below one that is applied already.
    #[error(
        "migration {version} `{name}` is missing in the database though {applied} is applied; give it a higher number"
    )]
    OutOfOrder {
        /// The migration that would come too late.
        version: i32,
        /// Its name.
        name: &'static str,
        /// The newest one applied.
        applied: i32,
    },
    /// The server runs without pgvector.
    #[error(
        "the database server has no pgvector extension; use the image `pgvector/pgvector:pg16` or install pgvector"
    )]
    NoVector(#[source] tokio_postgres::Error),
    /// The statements of a migration failed; nothing of it was kept.
    #[error("migration {version} `{name}` failed")]
    Failed {
        /// The migration.
        version: i32,
        /// Its name.
        name: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The bookkeeping failed.
    #[error("cannot read or write the list of applied migrations")]
    Bookkeeping(#[from] tokio_postgres::Error),
}

/// Waits until no other process changes the schema. The lock ends with the connection at the latest.
pub async fn lock(client: &Client) -> Result<(), tokio_postgres::Error> {
    let free: bool = client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await?.get(0);
    if !free {
        tracing::info!("another process is preparing the database, waiting for it");
        client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    }
    Ok(())
}

/// Lets the next process in.
pub async fn unlock(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(())
}

/// Applies what is missing, under the lock that the caller holds, and returns how many that were.
pub async fn run(client: &mut Client, migrations: &'static [Migration]) -> Result<usize, MigrateError> {
    if client.query_one("SELECT to_regclass('schema_migrations') IS NULL", &[]).await?.get(0) {
        let table = "CREATE TABLE schema_migrations (version int PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, \
                     applied_at timestamptz NOT NULL DEFAULT now())";
        client.batch_execute(table).await?;
    }
    let missing = missing(migrations, applied(client).await?)?;
    for migration in missing {
        apply(client, migration).await?;
        tracing::info!(version = migration.version, name = migration.name, "migrated");
    }
    Ok(missing.len())
}

/// Takes the newest `steps` applied migrations back, the newest first, under the lock that the caller holds. A history that
/// this build does not know is left alone: its statements would take something else back.
pub async fn roll_back(
    client: &mut Client,
    migrations: &'static [Migration],
    steps: usize,
) -> Result<usize, MigrateError> {
    let count = migrations.len() - pending(client, migrations).await?.len();
    let back = &migrations[count.saturating_sub(steps)..count];
    for migration in back.iter().rev() {
        let Migration { version, name, down, .. } = *migration;
        let failed = |source| MigrateError::Failed { version, name, source };
        let transaction = client.transaction().await?;
        transaction.batch_execute(down).await.map_err(failed)?;
        transaction.execute("DELETE FROM schema_migrations WHERE version = $1", &[&version]).await?;
        transaction.commit().await?;
        tracing::info!(version, name, "rolled back");
    }
    Ok(back.len())
}

/// What this build has and the database does not; an error when the database has something else.
pub async fn pending(client: &Client, migrations: &'static [Migration]) -> Result<&'static [Migration], MigrateError> {
    if client.query_one("SELECT to_regclass('schema_migrations') IS NULL", &[]).await?.get(0) {
        return Ok(migrations);
    }
    missing(migrations, applied(client).await?)
}

async fn applied(client: &Client) -> Result<Vec<(i32, String, String)>, tokio_postgres::Error> {
    let rows = client.query("SELECT version, name, sha256 FROM schema_migrations ORDER BY version", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Compares what is applied with what this build has.
fn missing(
    migrations: &'static [Migration],
    applied: Vec<(i32, String, String)>,
) -> Result<&'static [Migration], MigrateError> {
    let newest = migrations.last().map_or(0, |migration| migration.version);
    let count = applied.len();
    for (index, (version, name, checksum)) in applied.into_iter().enumerate() {
        let Some(known) = migrations.iter().find(|migration| migration.version == version) else {
            return Err(MigrateError::Newer { version, name, newest });
        };
        let expected = &migrations[index];
        if expected.version != version {
            return Err(MigrateError::OutOfOrder { version: expected.version, name: expected.name, applied: version });
        }
        let ours = known.checksum();
        if ours != checksum {
            return Err(MigrateError::Changed { version, name: known.name, applied: checksum, ours });
        }
    }
    Ok(&migrations[count..])
}

async fn apply(client: &mut Client, migration: &Migration) -> Result<(), MigrateError> {
    let Migration { version, name, sql, .. } = *migration;
    let failed = |source: tokio_postgres::Error| {
        // Without its files the extension is "not available" (0A000), on older servers a missing file (58P01).
        let missing = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::UNDEFINED_FILE];
        let about_vector = source.as_db_error().is_some_and(|error| error.message().contains("\"vector\""));
        if about_vector && source.code().is_some_and(|code| missing.contains(code)) {
            MigrateError::NoVector(source)
        } else {
            MigrateError::Failed { version, name, source }
        }
    };
    let transaction = client.transaction().await?;
    transaction.batch_execute(sql).await.map_err(failed)?;
    let insert = "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)";
    transaction.execute(insert, &[&version, &name, &migration.checksum()]).await?;
    transaction.commit().await?;
    Ok(())
}

impl Migration {
    /// The SHA-256 of the statements, in hex. Line ends do not count: a checkout on Windows may change them.
    pub fn checksum(&self) -> String {
        Sha256::digest(self.sql.replace("\r\n", "\n")).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &[Migration] = &[
        Migration { version: 1, name: "one", sql: "SELECT 1;\n", down: "" },
        Migration { version: 2, name: "two", sql: "SELECT 2", down: "" },
        Migration { version: 4, name: "four", sql: "SELECT 4", down: "" },
    ];

    fn applied(versions: &[i32]) -> Vec<(i32, String, String)> {
        let row = |version: &i32| {
            let known = THREE.iter().find(|migration| migration.version == *version);
            (*version, "x".to_owned(), known.map_or_else(String::new, Migration::checksum))
        };
        versions.iter().map(row).collect()
    }

    #[test]
    fn what_is_missing() {
        for (have, want) in [(vec![], vec![1, 2, 4]), (vec![1], vec![2, 4]), (vec![1, 2, 4], vec![])] {
            let missing: Vec<_> = missing(THREE, applied(&have)).unwrap().iter().map(|m| m.version).collect();
            assert_eq!(missing, want);
        }
    }

    #[test]
    fn foreign_histories_are_refused() {
        assert!(matches!(
            missing(THREE, applied(&[1, 2, 4, 5])),
            Err(MigrateError::Newer { version: 5, newest: 4, .. })
        ));
        assert!(matches!(
            missing(THREE, applied(&[1, 4])),
            Err(MigrateError::OutOfOrder { version: 2, applied: 4, .. })
        ));
        let mut edited = applied(&[1, 2]);
        edited[1].2 = "00".to_owned();
        assert!(matches!(missing(THREE, edited), Err(MigrateError::Changed { version: 2, .. })));
    }

    #[test]
    fn line_ends_do_not_count() {
        let windows = Migration { version: 1, name: "one", sql: "SELECT 1;\r\n", down: "" };
        assert_eq!(windows.checksum(), THREE[0].checksum());
    }

    #[test]
    fn versions_rise() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].version < pair[1].version));
    }
}
