//! Migrations and demo data.

use serde_json::Value;

use crate::support::{BACKEND, Servers, Service, TestDatabase, command, start, start_with};

#[tokio::test]
async fn an_empty_database_becomes_a_menu() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::empty(&servers).await;
    let (service, api) = start(&servers, &database);

    assert_eq!(api.json("/api/health").await["status"], "ok");
    assert_eq!(api.json("/api/health/ready").await["status"], "ok");
    let detailed = api.json("/api/health/detailed").await;
    assert_eq!((&detailed["status"], &detailed["migration"]), (&Value::from("ok"), &Value::from(6)));
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
async fn many_starts_at_once_fill_the_database_once() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::empty(&servers).await;
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
    client.batch_execute("TRUNCATE products, categories CASCADE").await.unwrap();
    let (service, api) = start(&servers, &database);
    assert_eq!(api.json("/api/products").await["items"], Value::Array(Vec::new()));
    service.stop();
}

#[tokio::test]
async fn foreign_schemas_are_refused() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::empty(&servers).await;
    start(&servers, &database).0.stop();
    let client = database.client().await;
    for (change, message) in [
        ("INSERT INTO schema_migrations VALUES (999, 'future', '00')", "999 `future`, which this build does not know"),
        (
            "DELETE FROM schema_migrations WHERE version = 999; UPDATE schema_migrations SET sha256 = '00' WHERE version = 1",
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
async fn the_schema_goes_back_and_comes_again() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::empty(&servers).await;
    let run = |arguments: &[&str]| command(&database.url, arguments);
    let client = database.client().await;
    let tables = async || -> i64 {
        let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'";
        client.query_one(sql, &[]).await.unwrap().get(0)
    };

    let (status, lines, _) = run(&["status"]);
    assert_eq!(status.code(), Some(1));
    assert!(lines.iter().any(|line| line == "  1  missing  menu"), "{lines:#?}");
    assert!(run(&["migrate"]).0.success());
    let all = tables().await;
    assert!(all > 15, "{all} tables");
    assert!(run(&["migrate"]).0.success(), "a second time changes nothing");
    let (status, lines, _) = run(&["status"]);
    let rows: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
    assert!(status.success() && rows.len() == 6 && rows.iter().all(|row| row.contains("applied")), "{lines:#?}");

    assert!(run(&["rollback"]).0.success());
    assert_eq!(tables().await, all - 3, "the newest migration's tables are gone");
    assert!(run(&["seed"]).0.success(), "a seed needs the newest schema and makes it");
    let counts = "SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM dining_tables), \
                  (SELECT count(DISTINCT role) FROM users), (SELECT count(*) FROM orders WHERE total_cents > 0), \
                  (SELECT count(*) FROM kb_chunks WHERE embedding IS NOT NULL)";
    let row = client.query_one(counts, &[]).await.unwrap();
    let counts: Vec<i64> = (0..5).map(|index| row.get(index)).collect();
    assert_eq!(counts, [60, 12, 5, 40, 10]);
    let (status, lines, _) = run(&["seed"]);
    assert!(status.success() && lines.iter().any(|line| line["message"].as_str().unwrap().contains("left the data")));

    assert!(run(&["rollback", "--steps", "99"]).0.success());
    assert_eq!(tables().await, 0);
    assert!(run(&["migrate"]).0.success());
    assert_eq!(tables().await, all);
}

#[tokio::test]
async fn a_rollback_leaves_a_newer_schema_alone() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let client = database.client().await;
    client.batch_execute("INSERT INTO schema_migrations VALUES (999, 'future', '00')").await.unwrap();
    for arguments in [&["rollback"][..], &["migrate"], &["seed"], &["status"]] {
        let (status, lines, _) = command(&database.url, arguments);
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        assert!(lines.last().unwrap()["message"].as_str().unwrap().contains("999 `future`"), "{lines:#?}");
    }
    let left: i64 = client.query_one("SELECT count(*) FROM products", &[]).await.unwrap().get(0);
    assert_eq!(left, 60);
}

#[tokio::test]
async fn production_gets_no_demo_people() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::empty(&servers).await;
    start_with(&servers, &database, &[("ENVIRONMENT", "production")]).0.stop();
    let client = database.client().await;
    assert_eq!(client.query_one("SELECT count(*) FROM users", &[]).await.unwrap().get::<_, i64>(0), 0);
    start(&servers, &database).0.stop();
    assert_eq!(client.query_one("SELECT count(*) FROM users", &[]).await.unwrap().get::<_, i64>(0), 6);
}

#[tokio::test]
async fn a_database_of_the_first_version_gets_the_rest() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let client = database.client().await;
    client
        .batch_execute(
            "TRUNCATE users, dining_tables, rooms, kb_chunks, channels, stream_events, outbox CASCADE; \
             DELETE FROM products WHERE price_cents < 500; UPDATE app_meta SET value = '1' WHERE key = 'seed_version'",
        )
        .await
        .unwrap();
    let products = async || -> i64 { client.query_one("SELECT count(*) FROM products", &[]).await.unwrap().get(0) };
    let before = products().await;
    assert!(command(&database.url, &["seed"]).0.success());
    let row =
        client.query_one("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM orders)", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), products().await), (6, 40, before));
}
