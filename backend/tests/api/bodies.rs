//! Bodies that are not what they should be.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Servers, TestDatabase, problem, start};

#[tokio::test]
async fn each_kind_of_wrong_body_has_its_answer() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let long = format!(r#"{{"email":"a@b.c","password":"{}"}}"#, "x".repeat(300 * 1024));
    for (kind, body, status, code, pointer) in [
        ("application/json", &b"{"[..], 400, "malformed_json", None),
        ("application/json", b"{\"email\":\"\xff\",\"password\":\"\"}", 400, "malformed_json", None),
        ("application/json", br#"{"email":"a@b.c"}"#, 422, "validation_failed", Some("/body")),
        ("application/json", br#"{"email":1,"password":"x"}"#, 422, "validation_failed", Some("/body/email")),
        ("application/json", br#"{"email":"a","password":"x","x":1}"#, 422, "validation_failed", Some("/body/x")),
        ("application/json", b"{\"email\":\"a\\u0000\",\"password\":\"x\"}", 422, "unfit_text", None),
        ("application/json", long.as_bytes(), 413, "too_large", None),
        ("text/plain", br#"{"email":"a@b.c","password":"x"}"#, 415, "unsupported_media_type", None),
    ] {
        let request = api.http.post(api.url("/api/auth/login")).header("content-type", kind).body(body.to_vec());
        let problem = problem(request.send().await.unwrap(), StatusCode::from_u16(status).unwrap()).await;
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer.map_or(Value::Null, Value::from), "{problem}");
    }
    let body = r#"{"email":"nobody","password":"short","display_name":""}"#;
    let request = api.http.post(api.url("/api/auth/register")).header("content-type", "application/json").body(body);
    let problem = problem(request.send().await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY).await;
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|flaw| &flaw["pointer"]).collect();
    assert_eq!(pointers, ["/body/email", "/body/password", "/body/display_name"]);
    service.stop();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let mut socket = tokio::net::TcpStream::connect(api.address).await.unwrap();
    let head =
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_mins(1), socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    service.stop();
}

#[tokio::test]
async fn injections_stay_text() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    for attack in ["'%20OR%201=1--", "%27;DROP%20TABLE%20products;--", "%00", "%0d%0aset-cookie:x=1", "$1", "%25"] {
        for path in [
            format!("/api/products?q={attack}"),
            format!("/api/products?category={attack}"),
            format!("/api/products?cursor={attack}"),
            format!("/api/products/{attack}"),
        ] {
            let response = api.get(&path).await;
            assert!(response.headers().get("set-cookie").is_none(), "{path}");
            assert!([200, 404, 422].contains(&response.status().as_u16()), "{path}: {}", response.status());
        }
    }
    assert_eq!(api.json("/api/products?limit=100").await["items"].as_array().unwrap().len(), 60);
    service.stop();
}
