//! What a user of the stack would do: ask over HTTP, query the database, talk over a WebSocket.

use std::future::Future;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::DEADLINE;

/// Runs a future to its end, within the deadline.
#[track_caller]
fn block_on<T>(what: &str, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let limited = tokio::time::timeout(DEADLINE, future).await;
        limited.unwrap_or_else(|_| Err(format!("{what}: no answer within {DEADLINE:?}")))
    })
}

/// Asks for a URL and gives the status and the body.
pub(crate) fn get(url: &str) -> Result<(u16, String), String> {
    block_on(url, async {
        let answer = reqwest::get(url).await.map_err(|error| format!("{url}: {error:?}"))?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| format!("{url}: {error:?}"))?))
    })
}

/// Asks for a URL that must answer with 200 and JSON.
#[track_caller]
pub(crate) fn get_json(url: &str) -> Value {
    let (status, body) = get(url).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(status, 200, "{url}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{url}: {error}: {body}"))
}

/// Runs a query and gives the first column of its first row as text; an error says what the server said.
pub(crate) fn sql(url: &str, query: &str) -> Result<Option<String>, String> {
    block_on(query, async {
        let said = |error: tokio_postgres::Error| match error.as_db_error() {
            Some(db) => format!("{} ({})", db.message(), db.code().code()),
            None => format!("{error:?}"),
        };
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(said)?;
        let connection = tokio::spawn(connection);
        let answer = client.simple_query(query).await.map_err(said)?;
        drop(client);
        drop(connection.await);
        Ok(answer.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    })
}

/// Whether Redis on that port of this machine answers `PING`.
pub(crate) fn redis_ping(port: u16) -> Result<(), String> {
    block_on("PING", async {
        let failed = |error: redis::RedisError| error.to_string();
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).map_err(failed)?;
        let mut connection = client.get_multiplexed_async_connection().await.map_err(failed)?;
        let answer: String = redis::cmd("PING").query_async(&mut connection).await.map_err(failed)?;
        if answer == "PONG" { Ok(()) } else { Err(format!("PING was answered with {answer}")) }
    })
}

/// One client of a WebSocket.
pub(crate) struct WebSocket(tungstenite::WebSocket<MaybeTlsStream<TcpStream>>);

impl WebSocket {
    /// Connects to `ws://…` and waits for the gateway's own word that this client is in its room: the answer to the
    /// handshake alone does not say so, and what others send before it goes to others.
    #[track_caller]
    pub(crate) fn connect(url: &str) -> Self {
        let (socket, _) = tungstenite::connect(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(DEADLINE)).expect("the limit is not zero");
        }
        let mut client = Self(socket);
        client.wait_for("word of the gateway", |text| text.contains(r#""t":"connected""#));
        client
    }

    /// Sends a text.
    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap_or_else(|error| panic!("cannot send `{text}`: {error}"));
    }

    /// Waits for a text that `wanted` accepts; others are left out.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut others = Vec::new();
        let until = Instant::now() + DEADLINE;
        // The socket's own limit begins anew with each ping of the gateway.
        while Instant::now() < until {
            match self.0.read() {
                Ok(Message::Text(text)) if wanted(text.as_str()) => return text.as_str().to_owned(),
                Ok(Message::Text(text)) => others.push(text.as_str().to_owned()),
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(frame)) => panic!("closed before {what}: {frame:?}; before that: {others:?}"),
                Err(error) => panic!("no {what}: {error}; before that: {others:?}"),
            }
        }
        panic!("no {what}; before that: {others:?}")
    }
}

/// Two clients: what one sends must reach the other.
#[track_caller]
pub(crate) fn websocket_round_trip(url: &str, message: &str) {
    let (mut one, mut other) = (WebSocket::connect(url), WebSocket::connect(url));
    one.send(message);
    other.wait_for("message of the other client", |text| text.contains(message));
    other.send(&format!("{message} too"));
    one.wait_for("answer of the other client", |text| text.contains(&format!("{message} too")));
}
