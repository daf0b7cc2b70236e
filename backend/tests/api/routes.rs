//! Who may use which route: written down a second time, so that a slip in the table of rules shows.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Servers, TestDatabase, problem, start_with};

/// Letters: admin, manager, waiter, kitchen, member, guest; `*` is everybody, signed in or not.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/api/health", "*"),
    ("GET", "/api/health/ready", "*"),
    ("GET", "/api/health/detailed", "*"),
    ("GET", "/metrics", "*"),
    ("GET", "/api/openapi.json", "*"),
    ("GET", "/api/docs", "*"),
    ("POST", "/api/auth/register", "*"),
    ("POST", "/api/auth/login", "*"),
    ("POST", "/api/auth/refresh", "*"),
    ("POST", "/api/auth/table", "*"),
    ("GET", "/api/auth/me", "amwkbg"),
    ("GET", "/api/categories", "*"),
    ("GET", "/api/products", "*"),
    ("GET", "/api/products/{id}", "*"),
    ("POST", "/api/products", "am"),
    ("PUT", "/api/products/{id}", "am"),
    ("PATCH", "/api/products/{id}", "am"),
    ("DELETE", "/api/products/{id}", "am"),
    ("GET", "/api/menu", "*"),
    ("GET", "/api/products/{id}/similar", "*"),
    ("GET", "/api/search", "*"),
    ("POST", "/api/recommendations", "amwkbg"),
    ("GET", "/api/tables", "amwk"),
    ("POST", "/api/tables/{id}/sessions", "amw"),
    ("POST", "/api/table-sessions/{id}/close", "amw"),
    ("POST", "/api/tables/{id}/qr", "am"),
    ("GET", "/api/orders", "amwkg"),
    ("POST", "/api/orders", "amwg"),
    ("GET", "/api/orders/{id}", "amwkg"),
    ("POST", "/api/orders/{id}/status", "amwk"),
    ("GET", "/api/notifications", "amwkb"),
    ("POST", "/api/notifications/read", "amwkb"),
    // Last, because whoever uses them is signed out.
    ("POST", "/api/auth/logout", "amwkb"),
    ("POST", "/api/auth/logout-all", "amwkb"),
];

const ROLES: [(char, &str); 5] = [('a', "admin"), ('m', "manager"), ('w', "waiter"), ('k', "kitchen"), ('b', "member")];

#[tokio::test]
async fn each_role_reaches_its_routes_and_no_others() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start_with(&servers, &database, &[("RATE_LIMITS", "off")]);
    let mut callers = vec![(None, None)];
    for (letter, name) in ROLES {
        callers.push((Some(letter), Some(api.sign_in(name).await.access)));
    }
    callers.push((Some('g'), Some(api.seat(1).await.token)));
    for (method, path, allowed) in ROUTES {
        let real = path.replace("{id}", "00000000-0000-4000-8000-000000000000");
        for (letter, token) in &callers {
            // Before `logout-all`, everybody needs to be signed in again.
            let token = match letter {
                Some(letter @ ('a' | 'm' | 'w' | 'k' | 'b')) if *path == "/api/auth/logout-all" => {
                    let (_, name) = ROLES.iter().find(|(role, _)| role == letter).unwrap();
                    Some(api.sign_in(name).await.access)
                }
                _ => token.clone(),
            };
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            // No body and no headers: what may pass fails later, in its own way.
            let status = api.send(method.clone(), &real, token.as_deref(), None, &[]).await.status().as_u16();
            let expected = match letter {
                _ if *allowed == "*" => None,
                None => Some(401),
                Some(letter) if allowed.contains(*letter) => None,
                Some(_) => Some(403),
            };
            match expected {
                Some(expected) => assert_eq!(status, expected, "{letter:?} {method} {path}"),
                None => assert!(![401, 403, 405, 500].contains(&status), "{letter:?} {method} {path}: {status}"),
            }
        }
    }
    service.stop();
}

#[tokio::test]
async fn the_document_describes_exactly_what_is_there() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start_with(&servers, &database, &[("RATE_LIMITS", "off")]);
    let document = api.json("/api/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.push((method.to_uppercase(), path.clone()));
            assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object());
        }
        let real = path.replace("{id}", "00000000-0000-4000-8000-000000000000");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let is_described = item[method.to_lowercase()].is_object();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let response = api.send(method.clone(), &real, None, None, &[]).await;
            assert_eq!(response.status() != StatusCode::METHOD_NOT_ALLOWED, is_described, "{method} {path}");
            if !is_described {
                problem(response, StatusCode::METHOD_NOT_ALLOWED).await;
            }
        }
    }
    let mut written: Vec<_> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    written.sort();
    described.sort();
    assert_eq!(described, written);
    references_resolve(&document, &document);

    let page = api.get("/api/docs").await;
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(!page.contains("http://") && !page.contains("https://"), "the page needs something from elsewhere");
    service.stop();
}

fn references_resolve(part: &Value, document: &Value) {
    match part {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            map.values().for_each(|value| references_resolve(value, document));
        }
        Value::Array(list) => list.iter().for_each(|value| references_resolve(value, document)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn figures_count_by_route() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start_with(&servers, &database, &[]);
    let product = api.json("/api/products?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        api.get(&format!("/api/products/{product}")).await;
    }
    let figures = api.get("/metrics").await.text().await.unwrap();
    let line = r#"http_requests_total{route="/api/products/{id}",method="GET",status="200"} 3"#;
    assert!(figures.contains(line) && !figures.contains(&product), "{figures}");
    assert!(figures.contains("pg_pool_size ") && figures.ends_with("# EOF\n"), "{figures}");
    service.stop();
}
