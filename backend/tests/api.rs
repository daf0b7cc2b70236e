//! The REST API as a process, against a real database and a real Redis.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use reqwest::header::{ACCEPT, ALLOW, CONTENT_TYPE, LINK, ORIGIN, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use support::{Servers, Service, TestDatabase, eventually};

const BACKEND: &str = env!("CARGO_BIN_EXE_backend");

fn start(servers: &Servers, database: &TestDatabase) -> (Service, Api) {
    let variables = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", servers.redis.as_str())];
    let (service, address) = Service::start(BACKEND, &variables);
    (service, Api { address, http: reqwest::Client::new() })
}

#[derive(Clone)]
struct Api {
    address: SocketAddr,
    http: reqwest::Client,
}

impl Api {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Response {
        self.http.get(self.url(path)).header(ACCEPT, "application/json").send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }
}

async fn problem(response: Response, status: StatusCode) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["request_id"], id.as_str());
    problem
}

#[tokio::test]
async fn an_empty_database_becomes_a_menu() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);

    assert_eq!(api.json("/api/health").await["status"], "ok");
    assert_eq!(api.json("/api/health/ready").await["status"], "ok");
    let detailed = api.json("/api/health/detailed").await;
    assert_eq!((&detailed["status"], &detailed["migration"]), (&Value::from("ok"), &Value::from(1)));
    for check in ["database", "redis"] {
        assert_eq!(detailed["checks"][check]["status"], "ok", "{detailed}");
        assert!(detailed["checks"][check]["latency_ms"].as_f64().unwrap() > 0.0, "{detailed}");
    }

    let categories = api.json("/api/categories").await;
    let counted: i64 =
        categories["items"].as_array().unwrap().iter().map(|item| item["products"].as_i64().unwrap()).sum();
    let client = database.client().await;
    let row = client
        .query_one("SELECT count(*), count(embedding), min(vector_dims(embedding)) FROM products", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i32>(2)), (counted, counted, 384));

    let first = &api.json("/api/products?limit=1").await["items"][0];
    let id = first["id"].as_str().unwrap();
    assert_eq!(&api.json(&format!("/api/products/{id}")).await, first);
    service.stop();
}

#[tokio::test]
async fn pages_show_every_product_once() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);
    let client = database.client().await;
    let count: i64 = client.query_one("SELECT count(*) FROM products", &[]).await.unwrap().get(0);
    // Equal names, so that the order needs more than the name.
    client.batch_execute("UPDATE products SET name = 'Same' WHERE price_cents > 1200").await.unwrap();

    for filter in ["", "&q=grilled+beef"] {
        let mut path = format!("/api/products?limit=7{filter}");
        let mut ids = Vec::new();
        loop {
            let response = api.get(&path).await;
            let link = response.headers().get(LINK).map(|link| link.to_str().unwrap().to_owned());
            let page: Value = response.json().await.unwrap();
            let items = page["items"].as_array().unwrap();
            ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(link) = link else {
                assert_eq!(page["next_cursor"], Value::Null);
                break;
            };
            assert_eq!(items.len(), 7);
            assert!(link.contains(page["next_cursor"].as_str().unwrap()), "{link}");
            link.split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
        }
        assert_eq!(ids.len(), usize::try_from(count).unwrap(), "`{filter}`");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), usize::try_from(count).unwrap(), "`{filter}` repeats products");
    }

    let desserts = api.json("/api/products?category=desserts&limit=100").await;
    let desserts = desserts["items"].as_array().unwrap();
    assert!(!desserts.is_empty() && desserts.iter().all(|item| item["category"]["slug"] == "desserts"));
    service.stop();
}

#[tokio::test]
async fn search_forgives_misspellings() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);
    for (query, name) in [("choclate+vulcano", "Chocolate volcano"), ("torrontes", "Torrontés, glass")] {
        let found = api.json(&format!("/api/products?q={query}&limit=3")).await;
        assert_eq!(found["items"][0]["name"], name, "{found}");
        assert!(found["items"][0]["score"].as_f64() > found["items"][1]["score"].as_f64(), "{found}");
    }
    service.stop();
}

#[tokio::test]
async fn errors_are_problem_documents() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);

    let missing = problem(api.get("/api/nothing").await, StatusCode::NOT_FOUND).await;
    assert_eq!(missing["instance"], "/api/nothing");
    let unknown = api.get("/api/products/00000000-0000-0000-0000-000000000000").await;
    problem(unknown, StatusCode::NOT_FOUND).await;
    let malformed = problem(api.get("/api/products/42").await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(malformed["errors"][0]["pointer"], "/path/id");
    problem(api.get("/api/products/%ff").await, StatusCode::BAD_REQUEST).await;

    let response = api.http.request(Method::DELETE, api.url("/api/products")).send().await.unwrap();
    assert_eq!(response.headers()[ALLOW], "GET,HEAD");
    problem(response, StatusCode::METHOD_NOT_ALLOWED).await;

    let wrong = api.get("/api/products?limit=0&cursor=x&sort=price").await;
    let wrong = problem(wrong, StatusCode::UNPROCESSABLE_ENTITY).await;
    let pointers: Vec<_> = wrong["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/query/sort", "/query/limit", "/query/cursor"]);
    let category = problem(api.get("/api/products?category=nope").await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(category["errors"][0]["pointer"], "/query/category");
    let page = api.json("/api/products?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let foreign = api.get(&format!("/api/products?limit=1&q=beef&cursor={cursor}")).await;
    problem(foreign, StatusCode::UNPROCESSABLE_ENTITY).await;
    service.stop();
}

#[tokio::test]
async fn request_ids_reach_answer_and_log() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);
    let response = api.http.get(api.url("/api/nope")).header("x-request-id", "from-a-client").send().await.unwrap();
    assert_eq!(problem(response, StatusCode::NOT_FOUND).await["request_id"], "from-a-client");
    service
        .wait_for("the request", |line| line["message"] == "answered" && line["span"]["request_id"] == "from-a-client");
    let response = api.http.get(api.url("/api/health")).header("x-request-id", "not an id").send().await.unwrap();
    let made = response.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(made).unwrap().get_version_num(), 7);
    service.stop();
}

#[tokio::test]
async fn only_listed_pages_may_read() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);
    for (origin, allowed) in [("http://localhost:3000", true), ("http://localhost:30001", false), ("null", false)] {
        let response = api.http.get(api.url("/api/categories")).header(ORIGIN, origin).send().await.unwrap();
        let header = response.headers().get("access-control-allow-origin");
        assert_eq!(header.is_some_and(|value| value == origin), allowed, "{origin}: {header:?}");
    }
    service.stop();
}

#[tokio::test]
async fn many_starts_at_once_fill_the_database_once() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let variables = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", servers.redis.as_str())];
    let services: Vec<_> = (0..4).map(|_| Service::spawn(BACKEND, &variables)).collect();
    for service in &services {
        service.wait_for_line("listening");
    }
    let client = database.client().await;
    let row = client.query_one("SELECT count(*), count(DISTINCT name) FROM products", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
    services.into_iter().for_each(Service::stop);

    // A menu that was emptied on purpose stays empty.
    client.batch_execute("TRUNCATE products, categories").await.unwrap();
    let (service, api) = start(&servers, &database);
    assert_eq!(api.json("/api/products").await["items"], Value::Array(Vec::new()));
    service.stop();
}

#[tokio::test]
async fn foreign_schemas_are_refused() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    start(&servers, &database).0.stop();
    let client = database.client().await;
    for (change, message) in [
        ("INSERT INTO schema_migrations VALUES (999, 'future', '00')", "999 `future`, which this build does not know"),
        (
            "DELETE FROM schema_migrations WHERE version = 999; UPDATE schema_migrations SET sha256 = '00'",
            "`menu` was applied with other content",
        ),
    ] {
        client.batch_execute(change).await.unwrap();
        let variables = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", servers.redis.as_str())];
        let (status, lines, _) = Service::spawn(BACKEND, &variables).wait();
        assert_eq!(status.code(), Some(1));
        let last = lines.last().unwrap();
        assert!(last["level"] == "ERROR" && last["message"].as_str().unwrap().contains(message), "{lines:#?}");
    }
}

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);
    let mut client = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let request = tokio::spawn({
        let api = api.clone();
        async move { api.get("/api/products").await }
    });
    let watcher = database.client().await;
    eventually("the request waits for the lock", async || {
        let waiting: i64 =
            watcher.query_one("SELECT count(*) FROM pg_locks WHERE NOT granted", &[]).await.unwrap().get(0);
        (waiting > 0).then_some(())
    })
    .await;
    service.signal(Signal::SIGTERM);
    service.wait_for_line("stopping");
    eventually("new connections are refused", async || {
        tokio::net::TcpStream::connect(api.address).await.is_err().then_some(())
    })
    .await;
    lock.rollback().await.unwrap();
    assert_eq!(request.await.unwrap().status(), StatusCode::OK);
    let (status, lines, _) = service.wait();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
}

#[tokio::test]
async fn a_database_that_goes_away_is_reported_and_found_again() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let (service, api) = start(&servers, &database);
    assert!(!api.json("/api/products").await["items"].as_array().unwrap().is_empty());
    database.allow(false).await;
    let response = eventually("the loss is noticed", async || {
        let response = api.get("/api/products").await;
        (response.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(response)
    })
    .await;
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    let unavailable = problem(response, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(!unavailable.to_string().contains("connections"), "the server's words leaked: {unavailable}");
    let detailed = api.get("/api/health/detailed").await;
    assert_eq!(detailed.status(), StatusCode::SERVICE_UNAVAILABLE);
    let detailed: Value = detailed.json().await.unwrap();
    assert_eq!((&detailed["status"], &detailed["checks"]["redis"]["status"]), (&"down".into(), &"ok".into()));
    assert_eq!(api.get("/api/health/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(api.get("/api/health").await.status(), StatusCode::OK);
    database.allow(true).await;
    eventually("the database is found again", async || {
        (api.get("/api/products").await.status() == StatusCode::OK).then_some(())
    })
    .await;
    service.stop();
}

#[tokio::test]
async fn without_redis_the_service_is_degraded() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::create(&servers).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = Servers { redis: format!("redis://{closed}"), ..servers };
    let (service, api) = start(&servers, &database);
    let detailed = api.json("/api/health/detailed").await;
    assert_eq!((&detailed["status"], &detailed["checks"]["redis"]["status"]), (&"degraded".into(), &"down".into()));
    assert_eq!(api.json("/api/health/ready").await["status"], "ok");
    service.stop();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let Some(servers) = Servers::find() else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let variables = [("DATABASE_URL", servers.database.as_str()), ("PORT", &port)];
    let (status, lines, _) = Service::spawn(BACKEND, &variables).wait();
    assert_eq!(status.code(), Some(3));
    let message = lines.last().unwrap()["message"].as_str().unwrap();
    assert!(message.contains(&format!("127.0.0.1:{port} is already in use")), "{message}");
}

#[test]
fn every_wrong_variable_is_named() {
    let variables = [("DATABASE_URL", "mysql://u:hunter2@h/db"), ("PORT", "http"), ("JWT_SECRET", "hunter2")];
    let (status, lines, stderr) = Service::spawn(BACKEND, &variables).wait();
    assert_eq!((status.code(), lines.len()), (Some(2), 0));
    for name in ["DATABASE_URL: ", "PORT: `http`", "JWT_SECRET: is too short"] {
        assert!(stderr.contains(name), "{stderr}");
    }
    assert!(!stderr.contains("hunter2"), "a secret leaked: {stderr}");
}

#[test]
fn a_stop_ends_the_wait_for_the_database() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgresql://postgres@{closed}/menu_ops");
    let service = Service::spawn(BACKEND, &[("DATABASE_URL", &url)]);
    service.wait_for_line("waiting for the database");
    service.stop();
}

#[tokio::test]
async fn a_wrong_database_is_not_waited_for() {
    let Some(servers) = Servers::find() else { return };
    let (server, _) = servers.database.rsplit_once('/').unwrap();
    let url = format!("{server}/no_such_database");
    let (status, lines, _) = Service::spawn(BACKEND, &[("DATABASE_URL", &url)]).wait();
    assert_eq!(status.code(), Some(1));
    let message = lines.last().unwrap()["message"].as_str().unwrap();
    assert!(message.contains("no_such_database") && message.contains("DATABASE_URL"), "{message}");
    assert!(!lines.iter().any(|line| line["message"] == "waiting for the database"), "{lines:#?}");
}
