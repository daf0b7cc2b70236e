//! The gateway as real processes, against a real Redis.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../backend/tests/support/service.rs"]
mod service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};
use service::{PATIENCE, Service, eventually, redis_url};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use uuid::Uuid;
use ws_gateway::{Config, Server};

const GATEWAY: &str = env!("CARGO_BIN_EXE_ws-gateway");

/// A gateway that has its subscription.
async fn start(redis: &str) -> (Service, SocketAddr) {
    let (service, address) = Service::start(GATEWAY, &[("REDIS_URL", redis), ("RUST_LOG", "debug")]);
    ready(address).await;
    (service, address)
}

async fn ready(address: SocketAddr) {
    eventually("the gateway is ready", async || {
        (get(address, "/ws/health/ready").await.0 == StatusCode::OK).then_some(())
    })
    .await;
}

async fn get(address: SocketAddr, path: &str) -> (StatusCode, Value) {
    let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// A room that no other test is in.
fn own_room() -> String {
    format!("test-{}", Uuid::now_v7())
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    id: String,
}

impl Client {
    async fn join(address: SocketAddr, room: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws?room={room}")).await.unwrap();
        let mut client = Self { socket, id: String::new() };
        let hello = client.next().await;
        assert_eq!(hello["t"], "connected", "{hello}");
        hello["conn"].as_str().unwrap().clone_into(&mut client.id);
        client
    }

    async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next text frame.
    async fn next(&mut self) -> Value {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame comes") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("no text frame but {other:?}"),
            }
        }
    }

    /// The close code; frames before it are skipped.
    async fn close_code(&mut self) -> u16 {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("the close comes") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_message_reaches_every_other_client_of_every_replica() {
    let Some(redis) = redis_url() else { return };
    let ((one, first), (two, second)) = tokio::join!(start(&redis), start(&redis));
    let room = own_room();
    let mut sender = Client::join(first, &room).await;
    let mut neighbour = Client::join(first, &room).await;
    let mut distant = Client::join(second, &room).await;
    let mut stranger = Client::join(second, &own_room()).await;

    for (sent, data) in [
        (r#"{"body":"hi","n":1.10}"#, json!({"body": "hi", "n": 1.10})),
        ("plain text", json!("plain text")),
        ("42", json!(42)),
        ("", json!("")),
    ] {
        sender.say(sent).await;
        for client in [&mut neighbour, &mut distant] {
            let event = client.next().await;
            assert_eq!(event["t"], "ev");
            assert_eq!((&event["ch"], &event["from"]), (&json!(room), &json!(sender.id)));
            assert_eq!(event["data"], data);
            event["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        }
    }
    // The next thing the sender and the stranger hear is this, so they heard nothing of the above.
    distant.say("back").await;
    assert_eq!(sender.next().await["data"], "back");
    let mut visitor = Client::join(first, "lobby").await;
    visitor.say("anyone?").await;
    stranger.socket.close(None).await.unwrap();
    while let Some(Ok(frame)) = stranger.socket.next().await {
        assert!(!frame.is_text(), "the stranger heard {frame:?}");
    }
    one.stop();
    two.stop();
}

#[tokio::test]
async fn every_subscriber_hears_messages_in_order() {
    let Some(redis) = redis_url() else { return };
    let (service, address) = start(&redis).await;
    let room = own_room();
    let mut sender = Client::join(address, &room).await;
    let mut listeners = Vec::new();
    for _ in 0..20 {
        listeners.push(Client::join(address, &room).await);
    }
    for n in 0..200 {
        sender.say(&n.to_string()).await;
    }
    for listener in &mut listeners {
        for n in 0..200 {
            assert_eq!(listener.next().await["data"], n);
        }
    }
    service.stop();
}

async fn refused(address: SocketAddr, query: &str, origin: Option<&str>) -> (StatusCode, Value) {
    let mut request = format!("ws://{address}/ws{query}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status(), serde_json::from_slice(&body).unwrap())
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_handshake_is_strict() {
    let Some(redis) = redis_url() else { return };
    let (service, address) = start(&redis).await;
    for origin in ["http://evil.example", "http://localhost:30001", "http://localhost:3000/", "null"] {
        let (status, problem) = refused(address, "", Some(origin)).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("origin_refused")), "{origin}");
    }
    for query in ["?room=", "?room=Lobby", "?room=a%2Fb", "?token=secret", "?room=a&room=b"] {
        let (status, problem) = refused(address, query, None).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {problem}");
    }
    let (status, problem) = get(address, "/ws").await;
    assert_eq!((status, &problem["code"]), (StatusCode::UPGRADE_REQUIRED, &json!("upgrade_required")));
    assert_eq!(get(address, "/nothing").await.0, StatusCode::NOT_FOUND);

    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    request.headers_mut().insert("origin", "http://localhost:3000".parse().unwrap());
    tokio_tungstenite::connect_async(request).await.expect("a listed origin may connect");
    service.stop();
}

#[tokio::test]
async fn breaches_have_close_codes() {
    let Some(redis) = redis_url() else { return };
    let (service, address) = start(&redis).await;
    let room = own_room();
    for (frame, code) in [
        (Message::binary(vec![1, 2, 3]), 1003),
        (Message::text("x".repeat(64 * 1024 + 1)), 1009),
        (Message::text("x".repeat(300 * 1024)), 1009),
    ] {
        let mut client = Client::join(address, &room).await;
        let length = frame.len();
        client.socket.send(frame).await.unwrap();
        assert_eq!(client.close_code().await, code, "{length} bytes");
    }
    let mut sender = Client::join(address, &room).await;
    let mut listener = Client::join(address, &room).await;
    sender.say(&"\u{1}".repeat(64 * 1024)).await;
    assert_eq!(listener.next().await["data"].as_str().unwrap().len(), 64 * 1024);
    service.stop();
}

#[tokio::test]
async fn a_slow_client_is_let_go_and_costs_the_others_nothing() {
    let Some(redis) = redis_url() else { return };
    let (service, address) = start(&redis).await;
    let room = own_room();
    let mut slow = Client::join(address, &room).await;
    let mut healthy = Client::join(address, &room).await;
    let mut sender = Client::join(address, &room).await;
    let filler = "x".repeat(60_000);
    // The system's own buffers take some megabytes before the queue fills.
    let mut count = 0;
    while get(address, "/ws/health/detailed").await.1["connections"] == 3 {
        for _ in 0..8 {
            sender.say(&format!(r#"{{"n":{count},"filler":"{filler}"}}"#)).await;
            assert_eq!(healthy.next().await["data"]["n"], count);
            count += 1;
        }
        assert!(count < 4000, "nobody was let go");
    }
    service.wait_for("the slow client goes", |line| line["end"] == "Slow");
    assert_eq!(slow.close_code().await, 4102);
    sender.say("after").await;
    assert_eq!(healthy.next().await["data"], "after");
    service.stop();
}

#[tokio::test]
async fn a_stop_sends_clients_away() {
    let Some(redis) = redis_url() else { return };
    let (service, address) = start(&redis).await;
    let room = own_room();
    let mut clients = [Client::join(address, &room).await, Client::join(address, &room).await];
    service.signal(Signal::SIGTERM);
    for client in &mut clients {
        assert_eq!(client.close_code().await, 4200);
        assert!(client.socket.next().await.is_none_or(|frame| frame.is_err()), "the connection ends");
    }
    let (status, lines, _) = service.wait();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(lines.iter().any(|line| line["message"] == "sent all clients away" && line["count"] == 2), "{lines:#?}");
}

#[tokio::test]
async fn clients_that_never_answer_do_not_hold_up_a_stop() {
    let Some(redis) = redis_url() else { return };
    let (service, address) = start(&redis).await;
    let _silent = Client::join(address, &own_room()).await;
    service.stop();
}

#[tokio::test]
async fn redis_goes_and_comes_back() {
    let Some(redis) = redis_url() else { return };
    let proxy = Proxy::before(&redis).await;
    let (service, address) = start(&proxy.url).await;
    let room = own_room();
    let mut sender = Client::join(address, &room).await;
    let mut listener = Client::join(address, &room).await;

    proxy.open.send_replace(false);
    eventually("the loss is noticed", async || {
        (get(address, "/ws/health/ready").await.0 == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!(get(address, "/ws/health").await.0, StatusCode::OK);
    let (status, detailed) = get(address, "/ws/health/detailed").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(detailed["checks"]["redis"]["status"], "down", "{detailed}");
    assert_eq!(detailed["connections"], 2, "clients stay: {detailed}");
    sender.say("lost").await;
    let error = sender.next().await;
    assert_eq!(
        (&error["t"], &error["code"], &error["temporary"]),
        (&json!("error"), &json!("unavailable"), &json!(true))
    );

    proxy.open.send_replace(true);
    ready(address).await;
    sender.say("found").await;
    assert_eq!(listener.next().await["data"], "found");
    let (status, detailed) = get(address, "/ws/health/detailed").await;
    assert_eq!((status, &detailed["checks"]["subscription"]["status"]), (StatusCode::OK, &json!("ok")));
    assert!(detailed["checks"]["redis"]["latency_ms"].as_f64().unwrap() > 0.0);
    service.stop();
}

#[tokio::test]
async fn a_silent_client_is_let_go_and_a_living_one_is_not() {
    let Some(redis) = redis_url() else { return };
    let secret = "a-secret-for-tests-of-32-characters";
    let variables =
        [("PORT", "0"), ("REDIS_URL", redis.as_str()), ("JWT_SECRET", secret), ("TABLE_TOKEN_SECRET", secret)];
    let mut config = Config::read(svc_common::config::Vars::from_pairs(variables)).unwrap();
    config.limits.ping_every = Duration::from_millis(50);
    config.limits.pong_within = Duration::from_secs(2);
    let shutdown = svc_common::shutdown::Shutdown::new();
    let server = Server::start(&config, &shutdown).await.unwrap();
    let address = server.address();
    let running = tokio::spawn(server.run());
    ready(address).await;

    let mut living = Client::join(address, &own_room()).await;
    for _ in 0..5 {
        let frame = timeout(PATIENCE, living.socket.next()).await.expect("a ping comes").unwrap().unwrap();
        assert!(frame.is_ping(), "{frame:?}");
    }
    // Not reading means not answering: the client library answers pings while it reads.
    let mut silent = Client::join(address, &own_room()).await;
    let mut living = tokio::spawn(async move {
        while living.socket.next().await.is_some_and(|frame| frame.is_ok_and(|frame| frame.is_ping())) {}
    });
    eventually("the silent one is let go", async || {
        (get(address, "/ws/health/detailed").await.1["connections"] == 1).then_some(())
    })
    .await;
    assert_eq!(silent.close_code().await, 4103);
    assert!(timeout(Duration::ZERO, &mut living).await.is_err(), "the living one was let go");
    shutdown.request();
    running.await.unwrap();
}

#[test]
fn a_taken_port_and_wrong_variables_are_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, lines, _) = Service::spawn(GATEWAY, &[("PORT", &port)]).wait();
    assert_eq!(status.code(), Some(3));
    assert!(lines.last().unwrap()["message"].as_str().unwrap().contains("already in use"), "{lines:#?}");
    let (status, _, stderr) = Service::spawn(GATEWAY, &[("REDIS_URL", "hunter2"), ("TABLE_TOKEN_SECRET", "")]).wait();
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("REDIS_URL: ") && stderr.contains("TABLE_TOKEN_SECRET: is not set"), "{stderr}");
    assert!(!stderr.contains("hunter2"), "a secret leaked: {stderr}");
}

/// A way to Redis that can be cut.
struct Proxy {
    url: String,
    open: Arc<watch::Sender<bool>>,
}

impl Proxy {
    async fn before(redis: &str) -> Self {
        let info = redis::IntoConnectionInfo::into_connection_info(redis).unwrap();
        let target = info.addr().to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(watch::channel(true).0);
        let gate = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut gate = gate.subscribe();
                if !*gate.borrow_and_update() {
                    continue;
                }
                let target = target.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = gate.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        // Everything else of the URL (password, database) stays.
        let url = redis.replacen(&info.addr().to_string(), &address.to_string(), 1);
        assert_ne!(url, redis, "the URL has the address as host:port");
        Self { url, open }
    }
}
