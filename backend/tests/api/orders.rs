//! Tables and orders, from the guests' seats to the bill.

use std::collections::HashSet;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Api, Servers, TestDatabase, ok, problem, product, start, start_with};

async fn step(api: &Api, token: &str, order: &str, status: &str, tag: Option<&str>) -> Response {
    let headers: Vec<_> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
    let path = format!("/api/orders/{order}/status");
    api.send(Method::POST, &path, Some(token), Some(&json!({"status": status})), &headers).await
}

#[tokio::test]
async fn an_order_goes_from_the_table_to_the_bill() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let guests = api.seat(3).await;
    let (waiter, kitchen) = (api.sign_in("waiter").await.access, api.sign_in("kitchen").await.access);

    let wish = json!({"items": [{"product_id": product("ribeye"), "qty": 2}, {"product_id": product("malbec"), "qty": 1, "note": "cold"}]});
    let order = ok(api.order(&guests.token, "a", &wish).await, StatusCode::CREATED).await;
    assert_eq!((&order["total_cents"], &order["table_number"]), (&json!(2 * 2890 + 650), &json!(3)));
    let id = order["id"].as_str().unwrap();
    let seen = ok(api.get_as(&format!("/api/orders/{id}"), &guests.token).await, StatusCode::OK).await;
    assert_eq!(seen, order);

    // Each refusal in its own way, and none of them changes anything.
    problem(step(&api, &kitchen, id, "preparing", None).await, StatusCode::PRECONDITION_REQUIRED).await;
    problem(step(&api, &kitchen, id, "preparing", Some("\"v7\"")).await, StatusCode::PRECONDITION_FAILED).await;
    let illegal = problem(step(&api, &kitchen, id, "ready", Some("\"v1\"")).await, StatusCode::CONFLICT).await;
    assert_eq!(illegal["code"], "illegal_step");
    problem(step(&api, &waiter, id, "preparing", Some("\"v1\"")).await, StatusCode::FORBIDDEN).await;
    problem(step(&api, &guests.token, id, "cancelled", Some("\"v1\"")).await, StatusCode::FORBIDDEN).await;
    let close = format!("/api/table-sessions/{}/close", guests.session);
    let open = problem(api.post(&close, Some(&waiter), &json!({})).await, StatusCode::CONFLICT).await;
    assert_eq!(open["code"], "open_orders");

    let way = [(&kitchen, "preparing"), (&kitchen, "ready"), (&waiter, "served"), (&waiter, "paid")];
    for (version, (who, status)) in (1..).zip(way) {
        let response = step(&api, who, id, status, Some(&format!("\"v{version}\""))).await;
        assert_eq!(response.headers()["etag"], format!("\"v{}\"", version + 1));
        assert_eq!(ok(response, StatusCode::OK).await["status"], status);
    }
    problem(step(&api, &waiter, id, "cancelled", Some("*")).await, StatusCode::CONFLICT).await;

    // The one who seated the guests hears that the kitchen is done.
    let manager = api.sign_in("manager").await.access;
    let list = ok(api.get_as("/api/notifications?unread=true", &manager).await, StatusCode::OK).await;
    assert_eq!(
        (&list["items"][0]["kind"], &list["items"][0]["payload"]["order_id"]),
        (&json!("order.ready"), &json!(id))
    );
    let read = ok(api.post("/api/notifications/read", Some(&manager), &json!({})).await, StatusCode::OK).await;
    assert_eq!(read["count"], 1);
    let list = ok(api.get_as("/api/notifications?unread=true", &manager).await, StatusCode::OK).await;
    assert_eq!(list["items"], json!([]));

    // What was told, without a gap, on both channels.
    let events = "SELECT type, off FROM stream_events WHERE channel = $1 ORDER BY off";
    let rows = database.client().await.query(events, &[&format!("table:{}", guests.session)]).await.unwrap();
    let told: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = ["table.opened", "order.created", "order.status", "order.status", "order.status", "order.status"];
    let expected: Vec<(String, i64)> = expected.into_iter().map(str::to_owned).zip(1..).collect();
    assert_eq!(told, expected);

    ok(api.post(&close, Some(&waiter), &json!({})).await, StatusCode::OK).await;
    problem(api.get_as("/api/auth/me", &guests.token).await, StatusCode::UNAUTHORIZED).await;
    let code = api.post("/api/auth/table", None, &json!({"code": guests.code})).await;
    assert_eq!(problem(code, StatusCode::CONFLICT).await["code"], "table_closed");
    service.stop();
}

#[tokio::test]
async fn an_order_sent_many_times_at_once_is_one_order() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let guests = api.seat(1).await;
    let wish = json!({"items": [{"product_id": product("espresso"), "qty": 1}]});
    let count = async || -> i64 {
        let sql = "SELECT count(*) FROM orders WHERE table_session_id::text = $1";
        database.client().await.query_one(sql, &[&guests.session]).await.unwrap().get(0)
    };
    let many = async |key: &dyn Fn(usize) -> String| {
        let keys: Vec<_> = (0..6).map(key).collect();
        let attempts = keys.iter().map(|key| api.order(&guests.token, key, &wish));
        futures_util::future::join_all(attempts).await
    };

    let mut ids = HashSet::new();
    for response in many(&|_| "the same".to_owned()).await {
        match response.status() {
            StatusCode::CREATED => {
                ids.insert(ok(response, StatusCode::CREATED).await["id"].as_str().unwrap().to_owned());
            }
            // The first one was still under way.
            _ => assert_eq!(problem(response, StatusCode::CONFLICT).await["code"], "in_progress"),
        }
    }
    assert_eq!((ids.len(), count().await), (1, 1));
    let again = api.order(&guests.token, "the same", &wish).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert!(ids.contains(ok(again, StatusCode::CREATED).await["id"].as_str().unwrap()));
    let other = json!({"items": [{"product_id": product("espresso"), "qty": 2}]});
    let reused = problem(api.order(&guests.token, "the same", &other).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(reused["errors"][0]["pointer"], "/header/Idempotency-Key");
    let without = api.post("/api/orders", Some(&guests.token), &wish).await;
    problem(without, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(count().await, 1);

    // The control: with a key each, each is an order.
    for response in many(&|index| format!("key {index}")).await {
        ok(response, StatusCode::CREATED).await;
    }
    assert_eq!(count().await, 7);
    service.stop();
}

#[tokio::test]
async fn wrong_orders_are_named_line_by_line() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let guests = api.seat(2).await;
    let client = database.client().await;
    client.batch_execute("UPDATE products SET available = false WHERE name = 'Espresso'").await.unwrap();
    let nothing = "00000000-0000-4000-8000-000000000000";
    for (wish, pointers) in [
        (json!({"items": []}), vec!["/body/items"]),
        (
            json!({"items": [{"product_id": nothing, "qty": 1}, {"product_id": product("espresso"), "qty": 1}]}),
            vec!["/body/items/0/product_id", "/body/items/1/product_id"],
        ),
        (
            json!({"items": [{"product_id": nothing, "qty": 0}, {"product_id": nothing, "qty": 100, "note": "x".repeat(201)}]}),
            vec!["/body/items/0/qty", "/body/items/1/qty", "/body/items/1/note"],
        ),
        (json!({"items": [{"product_id": "x", "qty": 1}]}), vec!["/body/items/0/product_id"]),
    ] {
        let problem = problem(api.order(&guests.token, "k", &wish).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        let found: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|flaw| &flaw["pointer"]).collect();
        assert_eq!(found, pointers);
    }
    // Guests order for themselves; a waiter says for whom.
    let other = api.seat(4).await;
    let wish = json!({"table_session_id": other.session, "items": [{"product_id": product("malbec"), "qty": 1}]});
    problem(api.order(&guests.token, "k", &wish).await, StatusCode::FORBIDDEN).await;
    let waiter = api.sign_in("waiter").await.access;
    let order = ok(api.order(&waiter, "k", &wish).await, StatusCode::CREATED).await;
    let path = format!("/api/orders/{}", order["id"].as_str().unwrap());
    ok(api.get_as(&path, &other.token).await, StatusCode::OK).await;
    problem(api.get_as(&path, &guests.token).await, StatusCode::NOT_FOUND).await;
    service.stop();
}

#[tokio::test]
async fn a_renewed_code_makes_the_old_ones_void() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let guests = api.seat(5).await;
    let manager = api.sign_in("manager").await.access;
    let table = ok(api.get_as("/api/auth/me", &guests.token).await, StatusCode::OK).await["table_id"].clone();
    let path = format!("/api/tables/{}/qr", table.as_str().unwrap());
    ok(api.post(&path, Some(&manager), &json!({"renew": true})).await, StatusCode::OK).await;
    let old = api.post("/api/auth/table", None, &json!({"code": guests.code})).await;
    problem(old, StatusCode::UNAUTHORIZED).await;
    problem(api.get_as("/api/auth/me", &guests.token).await, StatusCode::UNAUTHORIZED).await;
    // A person's token is no code, and a code no token.
    problem(api.post("/api/auth/table", None, &json!({"code": manager})).await, StatusCode::UNAUTHORIZED).await;
    problem(api.get_as("/api/auth/me", &guests.code).await, StatusCode::UNAUTHORIZED).await;
    let taken = api.post(&path.replace("/qr", "/sessions"), Some(&manager), &json!({"guests": 1})).await;
    assert_eq!(problem(taken, StatusCode::CONFLICT).await["code"], "table_taken");
    service.stop();
}

#[tokio::test]
async fn pages_of_orders_show_each_once() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start_with(&servers, &database, &[]);
    // The same moment, so that the order needs more than the time.
    let client = database.client().await;
    client.batch_execute("UPDATE orders SET created_at = '2026-01-01' WHERE total_cents > 4000").await.unwrap();
    let waiter = api.sign_in("waiter").await.access;
    let (mut ids, mut path) = (Vec::new(), "/api/orders?limit=7&status=paid".to_owned());
    loop {
        let response = api.get_as(&path, &waiter).await;
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = ok(response, StatusCode::OK).await;
        ids.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match link {
            Some(link) => link.split(['<', '>']).nth(1).unwrap().clone_into(&mut path),
            None => break,
        }
    }
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (40, 40));
    service.stop();
}
