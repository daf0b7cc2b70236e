//! What surrounds every request: problems, request ids, origins.

use reqwest::header::{ALLOW, ORIGIN};
use reqwest::{Method, StatusCode};

use crate::support::{Servers, TestDatabase, problem, start};

#[tokio::test]
async fn errors_are_problem_documents() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);

    let missing = problem(api.get("/api/nothing").await, StatusCode::NOT_FOUND).await;
    assert_eq!(missing["instance"], "/api/nothing");
    let unknown = api.get("/api/products/00000000-0000-0000-0000-000000000000").await;
    problem(unknown, StatusCode::NOT_FOUND).await;
    let malformed = problem(api.get("/api/products/42").await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(malformed["errors"][0]["pointer"], "/path/id");
    problem(api.get("/api/products/%ff").await, StatusCode::BAD_REQUEST).await;

    let response = api.http.request(Method::DELETE, api.url("/api/categories")).send().await.unwrap();
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
    let database = TestDatabase::filled(&servers).await;
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
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    for (origin, allowed) in [("http://localhost:3000", true), ("http://localhost:30001", false), ("null", false)] {
        let response = api.http.get(api.url("/api/categories")).header(ORIGIN, origin).send().await.unwrap();
        let header = response.headers().get("access-control-allow-origin");
        assert_eq!(header.is_some_and(|value| value == origin), allowed, "{origin}: {header:?}");
    }
    service.stop();
}
