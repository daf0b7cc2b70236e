//! Changing the menu, the whole menu at once, search and recommendations.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Api, Servers, TestDatabase, eventually, ok, problem, product, start};

async fn change(api: &Api, token: &str, id: &str, tag: &str, body: &Value) -> Response {
    api.send(Method::PATCH, &format!("/api/products/{id}"), Some(token), Some(body), &[("if-match", tag)]).await
}

#[tokio::test]
async fn nobody_undoes_what_they_have_not_seen() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let manager = api.sign_in("manager").await.access;
    let wish = json!({"category": "desserts", "name": "Apple pie", "price_cents": 550, "tags": ["cake"]});
    let response = api.post("/api/products", Some(&manager), &wish).await;
    assert_eq!(response.headers()["etag"], "\"v1\"");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let created = ok(response, StatusCode::CREATED).await;
    let id = created["id"].as_str().unwrap();
    assert_eq!(location, format!("/api/products/{id}"));

    let known = [("if-none-match", "\"v1\"")];
    let response = api.send(Method::GET, &location, None, None, &known).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert!(response.bytes().await.unwrap().is_empty());
    let without = api.send(Method::PATCH, &location, Some(&manager), Some(&json!({"price_cents": 1})), &[]).await;
    problem(without, StatusCode::PRECONDITION_REQUIRED).await;

    // Two have seen the same version: one wins, the other has to read again.
    let (one, two) = (json!({"price_cents": 600}), json!({"price_cents": 700}));
    let (one, two) =
        tokio::join!(change(&api, &manager, id, "\"v1\"", &one), change(&api, &manager, id, "\"v1\"", &two));
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    // The control: without a version to hold on to, the last one wins.
    ok(change(&api, &manager, id, "*", &json!({"price_cents": 1})).await, StatusCode::OK).await;
    ok(change(&api, &manager, id, "*", &json!({"price_cents": 2})).await, StatusCode::OK).await;

    let wrong = change(&api, &manager, id, "*", &json!({"price_cents": -1, "tags": [""], "category": "x"})).await;
    let wrong = problem(wrong, StatusCode::UNPROCESSABLE_ENTITY).await;
    let pointers: Vec<_> = wrong["errors"].as_array().unwrap().iter().map(|flaw| &flaw["pointer"]).collect();
    assert_eq!(pointers, ["/body/price_cents", "/body/tags/0"]);

    let headers = [("if-match", "*")];
    let replaced = api.send(Method::PUT, &location, Some(&manager), Some(&wish), &headers).await;
    assert_eq!(ok(replaced, StatusCode::OK).await["price_cents"], 550);
    let response = api.send(Method::DELETE, &location, Some(&manager), None, &headers).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    problem(api.get(&location).await, StatusCode::NOT_FOUND).await;
    let ordered = format!("/api/products/{}", product("ribeye"));
    let response = api.send(Method::DELETE, &ordered, Some(&manager), None, &headers).await;
    assert_eq!(problem(response, StatusCode::CONFLICT).await["code"], "was_ordered");
    service.stop();
}

#[tokio::test]
async fn a_vector_is_made_anew_only_for_a_new_text() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let manager = api.sign_in("manager").await.access;
    let id = product("tiramisu");
    let client = database.client().await;
    // A mark that no text makes.
    let mark = "UPDATE products SET embedding = array_fill(1, ARRAY[384])::vector WHERE name = 'Tiramisu'";
    client.batch_execute(mark).await.unwrap();
    let is_marked = async || -> bool {
        let sql = "SELECT embedding = array_fill(1, ARRAY[384])::vector FROM products WHERE id::text = $1";
        client.query_one(sql, &[&id]).await.unwrap().get(0)
    };
    ok(change(&api, &manager, &id, "*", &json!({"price_cents": 1, "available": false})).await, StatusCode::OK).await;
    assert!(is_marked().await);
    ok(change(&api, &manager, &id, "*", &json!({"description": "With rum."})).await, StatusCode::OK).await;
    assert!(!is_marked().await);
    service.stop();
}

#[tokio::test]
async fn the_menu_is_made_once_and_never_old() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (first, here) = start(&servers, &database);
    let (second, there) = start(&servers, &database);
    let manager = here.sign_in("manager").await.access;
    let source = async |api: &Api, source: &str| {
        let figures = api.get("/metrics").await.text().await.unwrap();
        let line = format!("menu_cache_total{{source=\"{source}\"}} ");
        figures.lines().find_map(|figure| figure.strip_prefix(&line).map(str::to_owned))
    };

    let response = here.get("/api/menu").await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let menu = ok(response, StatusCode::OK).await;
    let count = |menu: &Value| -> usize {
        let sections = menu["categories"].as_array().unwrap();
        sections.iter().map(|section| section["products"].as_array().unwrap().len()).sum()
    };
    assert_eq!((count(&menu), menu["categories"].as_array().unwrap().len()), (60, 8));
    let response = here.send(Method::GET, "/api/menu", None, None, &[("if-none-match", &tag)]).await;
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    // The other replica gets the same from Redis, without making it.
    assert_eq!(there.get("/api/menu").await.headers()["etag"], tag.as_str());
    assert_eq!((source(&there, "redis").await, source(&there, "database").await), (Some("1".to_owned()), None));

    let gone = json!({"available": false});
    ok(change(&here, &manager, &product("tiramisu"), "*", &gone).await, StatusCode::OK).await;
    let response = here.send(Method::GET, "/api/menu", None, None, &[("if-none-match", &tag)]).await;
    assert_eq!(count(&ok(response, StatusCode::OK).await), 59, "the change shows at once where it was made");
    eventually("it shows on the other replica", async || (count(&there.json("/api/menu").await) == 59).then_some(()))
        .await;

    // Without the database there is the menu of before.
    database.allow(false).await;
    eventually("the database is away", async || {
        (here.get("/api/products").await.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!(count(&here.json("/api/menu").await), 59);
    database.allow(true).await;
    first.stop();
    second.stop();
}

#[tokio::test]
async fn search_fuses_words_and_likeness() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let names = async |path: &str| -> Vec<String> {
        let found = api.json(path).await;
        found["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/api/search?q=grilled+salmon&limit=3").await[0], "Grilled salmon");
    // No word of it is spelled right: only likeness finds it.
    assert_eq!(names("/api/search?q=choclate+vulcanoo&limit=1").await, ["Chocolate volcano"]);
    assert_eq!(names("/api/search?q=choclate+vulcanoo&mode=text").await, Vec::<String>::new());
    assert_eq!(names("/api/search?q=choclate+vulcanoo&mode=vector&limit=1").await, ["Chocolate volcano"]);
    // Words find the stem, in the description too.
    assert!(names("/api/search?q=mussel&mode=text").await.contains(&"Seafood paella".to_owned()));
    let desserts = api.json("/api/search?q=lemon&category=desserts").await;
    let mut items = desserts["items"].as_array().unwrap().iter();
    assert!(items.all(|item| item["category"]["slug"] == "desserts"));
    for path in ["/api/search", "/api/search?q=!!", "/api/search?q=x&mode=magic", "/api/search?q=x&limit=101"] {
        problem(api.get(path).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    assert_eq!(api.get("/api/search?q=%22unclosed+%26+|+!").await.status(), StatusCode::OK);

    let similar = names(&format!("/api/products/{}/similar?limit=3", product("malbec"))).await;
    assert!(similar.contains(&"Torrontés, glass".to_owned()) && !similar.contains(&"Malbec, glass".to_owned()));
    service.stop();
}

#[tokio::test]
async fn recommendations_never_have_what_must_be_avoided() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let member = api.sign_in("member").await.access;
    let recommend = async |body: Value| {
        let response = api.post("/api/recommendations", Some(&member), &body).await;
        ok(response, StatusCode::OK).await["items"].as_array().unwrap().clone()
    };
    let with = |item: &Value, allergen: &str| item["allergens"].as_array().unwrap().iter().any(|a| a == allergen);

    let wanted = json!([product("ribeye")]);
    let found = recommend(json!({"product_ids": wanted, "limit": 10})).await;
    let names: Vec<_> = found.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"Malbec, glass") && names.contains(&"Hand-cut fries"),
        "ordered together before: {names:?}"
    );
    assert!(!names.contains(&"Ribeye steak"));
    // The control has what the others must not have.
    let all = recommend(json!({"product_ids": wanted, "limit": 50})).await;
    assert!(all.iter().any(|item| with(item, "milk")) && all.iter().any(|item| with(item, "sulphites")));
    let without = json!({"product_ids": wanted, "limit": 50, "avoid_allergens": ["Milk", "sulphites"]});
    let found = recommend(without).await;
    assert!(found.len() > 10 && !found.iter().any(|item| with(item, "milk") || with(item, "sulphites")));
    assert_eq!(recommend(json!({"limit": 3})).await.len(), 3, "without anything to go by, what is ordered most");

    let guests = api.seat(6).await;
    let theirs = json!({"table_session_id": guests.session});
    problem(api.post("/api/recommendations", Some(&member), &theirs).await, StatusCode::FORBIDDEN).await;
    ok(api.post("/api/recommendations", Some(&guests.token), &theirs).await, StatusCode::OK).await;
    service.stop();
}
