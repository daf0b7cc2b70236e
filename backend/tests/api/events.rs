//! Events: no gaps, no losses.

use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Listener, Servers, Service, TestDatabase, eventually, ok, product, start};

const WRITERS: usize = 16;
const EACH: usize = 30;

/// Many write at once, and about every seventh transaction is rolled back. Answers with how many were committed.
async fn write(database: &TestDatabase, statement: &'static str) -> i64 {
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let mut client = database.client().await;
        tasks.push(tokio::spawn(async move {
            let mut committed = 0;
            for number in 0..EACH {
                let transaction = client.transaction().await.unwrap();
                transaction.batch_execute(statement).await.unwrap();
                if (writer + number) % 7 == 3 {
                    transaction.rollback().await.unwrap();
                } else {
                    transaction.commit().await.unwrap();
                    committed += 1;
                }
            }
            committed
        }));
    }
    let mut committed = 0;
    for task in tasks {
        committed += task.await.unwrap();
    }
    committed
}

#[tokio::test]
async fn offsets_have_no_gap_whatever_is_rolled_back() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let client = database.client().await;
    let shape = async |channel: &str| -> (i64, i64, i64) {
        let sql = "SELECT count(*), count(DISTINCT off), coalesce(max(off), 0) FROM stream_events WHERE channel = $1";
        let row = client.query_one(sql, &[&channel]).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    };
    let committed = write(&database, "SELECT append_event('one', 'x', '{}', NULL)").await;
    assert_eq!(shape("one").await, (committed, committed, committed));
    let pointers = "SELECT count(*) FROM outbox WHERE channel = 'one'";
    assert_eq!(client.query_one(pointers, &[]).await.unwrap().get::<_, i64>(0), committed);

    // The control: a sequence gives numbers that a rollback does not take back.
    client.batch_execute("CREATE SEQUENCE offsets").await.unwrap();
    let by_sequence = "INSERT INTO stream_events VALUES ('two', nextval('offsets'), 'x', '{}')";
    let committed = write(&database, by_sequence).await;
    let (count, distinct, max) = shape("two").await;
    assert_eq!((count, distinct), (committed, committed));
    assert!(max > committed, "a sequence without gaps?");
}

async fn outbox_empties(database: &TestDatabase) {
    let client = database.client().await;
    eventually("the outbox is empty", async || {
        let left: i64 = client.query_one("SELECT count(*) FROM outbox", &[]).await.unwrap().get(0);
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_committed_is_heard_of() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let mut listener = Listener::to(&servers, &database, &["kitchen"]).await;
    let guests = api.seat(1).await;
    let wish = json!({"items": [{"product_id": product("espresso"), "qty": 1}]});
    for off in 1..=3 {
        let order = ok(api.order(&guests.token, &off.to_string(), &wish).await, StatusCode::CREATED).await;
        let event = listener.next().await;
        assert_eq!((&event["off"], &event["type"], &event["data"]), (&json!(off), &json!("order.created"), &order));
    }
    outbox_empties(&database).await;
    service.stop();
}

#[tokio::test]
async fn a_death_between_commit_and_publishing_loses_nothing() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    // Takes connections and never answers: whatever is committed stays unpublished.
    let hole = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = Servers { database: servers.database.clone(), redis: format!("redis://{}", hole.local_addr().unwrap()) };
    let client = database.client().await;
    let mut session = String::new();
    for (table, lost) in [(1, false), (2, true)] {
        let (service, api) = start(&mute, &database);
        let guests = api.seat(table).await;
        session.clone_from(&guests.session);
        let wish = json!({"items": [{"product_id": product("malbec"), "qty": 1}]});
        ok(api.order(&guests.token, "k", &wish).await, StatusCode::CREATED).await;
        service.signal(Signal::SIGKILL);
        service.wait();
        let pending = "SELECT count(*) FROM outbox WHERE channel = 'kitchen'";
        assert_eq!(client.query_one(pending, &[]).await.unwrap().get::<_, i64>(0), 1);
        if lost {
            // The control: without the pointer, nobody knows that there is something to publish.
            client.batch_execute("DELETE FROM outbox").await.unwrap();
        }
        let mut listener = Listener::to(&servers, &database, &["kitchen"]).await;
        let (service, api) = start(&servers, &database);
        if lost {
            let waiter = api.sign_in("waiter").await.access;
            let wish = json!({"table_session_id": session, "items": wish["items"]});
            ok(api.order(&waiter, "k", &wish).await, StatusCode::CREATED).await;
        }
        let event = listener.next().await;
        assert_eq!(event["off"], if lost { 3 } else { 1 }, "{event}");
        outbox_empties(&database).await;
        service.stop();
    }
}

#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let hole = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = Servers { database: servers.database.clone(), redis: format!("redis://{}", hole.local_addr().unwrap()) };
    let (service, api): (Service, _) = start(&mute, &database);
    let work = async {
        let guests = api.seat(1).await;
        let wish = json!({"items": [{"product_id": product("malbec"), "qty": 1}]});
        ok(api.order(&guests.token, "k", &wish).await, StatusCode::CREATED).await;
        for _ in 0..20 {
            api.json("/api/menu").await;
            api.json("/api/search?q=beef").await;
        }
        api.json("/api/health/detailed").await
    };
    let detailed = tokio::time::timeout(Duration::from_mins(1), work).await.expect("nothing waits for Redis");
    assert_eq!((&detailed["status"], &detailed["checks"]["redis"]["status"]), (&json!("degraded"), &json!("down")));
    assert_eq!(api.json("/api/health/ready").await["status"], "ok");
    service.stop();
}
