//! The servers that the tests of the REST API need, and a database of its own for each test.

#![expect(clippy::print_stderr, reason = "a database that stays behind is worth a word")]

#[path = "../support/service.rs"]
mod service;

use std::net::SocketAddr;

use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) use service::{Service, eventually};

pub(crate) const BACKEND: &str = env!("CARGO_BIN_EXE_backend");

/// Starts the service on a database.
pub(crate) fn start(servers: &Servers, database: &TestDatabase) -> (Service, Api) {
    start_with(servers, database, &[])
}

/// Starts the service on a database, with more variables.
pub(crate) fn start_with(servers: &Servers, database: &TestDatabase, more: &[(&str, &str)]) -> (Service, Api) {
    let mut variables = vec![("DATABASE_URL", database.url.as_str()), ("REDIS_URL", servers.redis.as_str())];
    variables.extend(more);
    let (service, address) = Service::start(BACKEND, &variables);
    (service, Api { address, http: reqwest::Client::new() })
}

/// A client of the service.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
}

impl Api {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).header(ACCEPT, "application/json").send().await.unwrap()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }
}

/// What a sign-in gave.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl SignedIn {
    pub(crate) fn read(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {value}")).to_owned();
        Self { access: text(&value["access_token"]), refresh: text(&value["refresh_token"]) }
    }
}

/// The password of the people in the demo data.
pub(crate) const PASSWORD: &str = backend::seed::DEMO_PASSWORD;

impl Api {
    /// Signs one of the demo people in, by the name before the `@`.
    pub(crate) async fn sign_in(&self, name: &str) -> SignedIn {
        let credentials = json!({"email": format!("{name}@menu.test"), "password": PASSWORD});
        let response = self.post("/api/auth/login", None, &credentials).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        SignedIn::read(&response.json().await.unwrap())
    }

    /// Sends a request with a body.
    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Response {
        self.send(Method::POST, path, token, Some(body), &[]).await
    }

    /// Reads as somebody.
    pub(crate) async fn get_as(&self, path: &str, token: &str) -> Response {
        self.send(Method::GET, path, Some(token), None, &[]).await
    }

    /// Sends any request.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
        headers: &[(&'static str, &str)],
    ) -> Response {
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

/// Guests at a table.
pub(crate) struct Guests {
    pub(crate) session: String,
    pub(crate) token: String,
    pub(crate) code: String,
}

impl Api {
    /// Seats guests at a table, and signs them in by its code.
    pub(crate) async fn seat(&self, number: usize) -> Guests {
        let manager = self.sign_in("manager").await.access;
        let tables = ok(self.get_as("/api/tables", &manager).await, StatusCode::OK).await;
        let table = tables["items"][number - 1]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/tables/{table}/sessions");
        let session = ok(self.post(&path, Some(&manager), &json!({"guests": 2})).await, StatusCode::CREATED).await;
        let path = format!("/api/tables/{table}/qr");
        let code = ok(self.post(&path, Some(&manager), &json!({})).await, StatusCode::OK).await;
        let signed_in = self.post("/api/auth/table", None, &json!({"code": code["code"]})).await;
        let signed_in = ok(signed_in, StatusCode::OK).await;
        assert_eq!(signed_in["table_session_id"], session["id"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Guests { session: text(&session["id"]), token: text(&signed_in["access_token"]), code: text(&code["code"]) }
    }

    /// Places an order under a key.
    pub(crate) async fn order(&self, token: &str, key: &str, body: &Value) -> Response {
        self.send(Method::POST, "/api/orders", Some(token), Some(body), &[("idempotency-key", key)]).await
    }
}

/// The id of a product of the demo data.
pub(crate) fn product(slug: &str) -> String {
    backend::seed::id_of("product", slug).to_string()
}

/// Listens to channels of one database on Redis.
pub(crate) struct Listener {
    pubsub: redis::aio::PubSub,
    epoch: String,
}

impl Listener {
    pub(crate) async fn to(servers: &Servers, database: &TestDatabase, channels: &[&str]) -> Self {
        let epoch = "SELECT value FROM app_meta WHERE key = 'epoch'";
        let epoch = database.client().await.query_one(epoch, &[]).await.unwrap().get(0);
        let mut pubsub = redis::Client::open(servers.redis.as_str()).unwrap().get_async_pubsub().await.unwrap();
        for channel in channels {
            pubsub.subscribe(format!("menu:ev:{channel}")).await.unwrap();
        }
        Self { pubsub, epoch }
    }

    /// The next event; other tests use the same channels in databases of their own.
    pub(crate) async fn next(&mut self) -> Value {
        let mut stream = self.pubsub.on_message();
        loop {
            let message =
                tokio::time::timeout(service::PATIENCE, stream.next()).await.expect("an event comes").unwrap();
            let event: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
            if event["epoch"] == self.epoch.as_str() {
                return event;
            }
        }
    }
}

/// Expects an answer of this kind and reads it.
pub(crate) async fn ok(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}

/// Expects a problem document.
pub(crate) async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["request_id"], id.as_str());
    problem
}

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
    /// Makes an empty one.
    pub(crate) async fn empty(servers: &Servers) -> Self {
        Self::create(servers, "template1").await
    }

    /// Makes one with the schema and the demo data, as a copy of one that was filled before.
    pub(crate) async fn filled(servers: &Servers) -> Self {
        let database = Self::create(servers, &template(servers).await).await;
        // Another life: the tests share a Redis, where the epoch keeps their keys apart.
        let renew = "UPDATE app_meta SET value = replace(gen_random_uuid()::text, '-', '') WHERE key = 'epoch'";
        database.client().await.batch_execute(renew).await.unwrap();
        database
    }

    async fn create(servers: &Servers, template: &str) -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let url = sibling(&servers.database, &name);
        let admin = servers.database.clone();
        client(&admin)
            .await
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
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

/// The URL of another database of the same server.
fn sibling(url: &str, name: &str) -> String {
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = base.rsplit_once('/').expect("the URL names a database");
    if options.is_empty() { format!("{server}/{name}") } else { format!("{server}/{name}?{options}") }
}

/// The database that others are copies of. It is named after what it is made of, so that a server that outlives a test run
/// never gives a stale one.
async fn template(servers: &Servers) -> String {
    let mut digest = Sha256::new();
    for folder in ["migrations", "seed", "src/seed"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            digest.update(std::fs::read(file).unwrap());
        }
    }
    let hash = digest.finalize();
    let name = format!("template_{:016x}", u64::from_be_bytes(hash[..8].try_into().unwrap()));
    let admin = client(&servers.database).await;
    // One process makes it, the others wait; the lock goes with the connection.
    admin.execute("SELECT pg_advisory_lock(hashtext($1))", &[&name]).await.unwrap();
    let ready = "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate";
    if admin.query_opt(ready, &[&name]).await.unwrap().is_none() {
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (status, lines, stderr) = command(&sibling(&servers.database, &name), &["seed"]);
        assert!(status.success(), "{lines:#?}\n{stderr}");
        admin.batch_execute(&format!("ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false")).await.unwrap();
    }
    name
}

/// Runs a subcommand on a database: exit status, log lines, standard error.
pub(crate) fn command(database: &str, arguments: &[&str]) -> (std::process::ExitStatus, Vec<Value>, String) {
    Service::spawn_with(BACKEND, arguments, &[("DATABASE_URL", database)]).wait()
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client
}
