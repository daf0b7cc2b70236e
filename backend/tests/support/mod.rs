//! The servers that the tests of the REST API need, and a database of its own for each test.

#![expect(clippy::print_stderr, reason = "a database that stays behind is worth a word")]

mod service;

pub(crate) use service::{Service, eventually};

/// The real servers that a test needs.
pub(crate) struct Servers {
    pub(crate) database: String,
    pub(crate) redis: String,
}

impl Servers {
    /// Finds the servers, or says loudly that the test does not run.
    pub(crate) fn find() -> Option<Self> {
        let (database, redis) = (service::server_url("DEVCTL_TEST_DATABASE_URL"), service::redis_url());
        Some(Self { database: database?, redis: redis? })
    }
}

/// A database that lives as long as its test.
pub(crate) struct TestDatabase {
    admin: String,
    name: String,
    pub(crate) url: String,
}

impl TestDatabase {
    pub(crate) async fn create(servers: &Servers) -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let (base, options) = servers.database.split_once('?').unwrap_or((&servers.database, ""));
        let (server, _) = base.rsplit_once('/').expect("the URL names a database");
        let url = if options.is_empty() { format!("{server}/{name}") } else { format!("{server}/{name}?{options}") };
        let admin = servers.database.clone();
        client(&admin)
            .await
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database can be created");
        Self { admin, name, url }
    }

    /// A connection to it.
    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        client(&self.url).await
    }

    /// Cuts everyone off and lets nobody in, or lets them in again.
    pub(crate) async fn allow(&self, allowed: bool) {
        let name = &self.name;
        let admin = client(&self.admin).await;
        admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")).await.unwrap();
        if !allowed {
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            admin.query(cut, &[name]).await.unwrap();
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (admin, statement) = (self.admin.clone(), format!("DROP DATABASE {} WITH (FORCE)", self.name));
        // The test's own runtime cannot be waited on from here.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { client(&admin).await.batch_execute(&statement).await })
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("left behind: database {}", self.name);
        }
    }
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client
}
