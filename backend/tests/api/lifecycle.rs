//! Start, stop, and servers that go away.

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use crate::support::{BACKEND, Servers, Service, TestDatabase, eventually, problem, start};

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
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
    let database = TestDatabase::filled(&servers).await;
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
    let database = TestDatabase::filled(&servers).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = Servers { redis: format!("redis://{closed}"), ..servers };
    let (service, api) = start(&servers, &database);
    assert_eq!(api.json("/api/health/ready").await["status"], "ok");
    let detailed = api.json("/api/health/detailed").await;
    assert_eq!((&detailed["status"], &detailed["checks"]["redis"]["status"]), (&"degraded".into(), &"down".into()));
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
