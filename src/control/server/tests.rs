//! The server on a real socket, with a supervisor of the tests' own behind it: what it answers to its client and to
//! whoever means it ill.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::*;
use crate::advice::Advice as _;
use crate::control::client::{Client, ClientError};
use crate::control::socket::clear;
use crate::control::wire::{
    Apply, Change, Circumstances, Command, Down, EventLine, LogEntry, Mode, Numbered, Phase, Refusal, Reply, Status,
    What,
};
use crate::control::{EventLog, Socket};
use crate::event::{Event, EventKind};
use crate::logs::{Hub, Stream};
use crate::name::ServiceName;
use crate::state::StateDir;
use crate::state::lock::{Attempt, Holder, Lock};
use crate::state::record::{Record, ServiceRecord};

const RUN: &str = "00000000000a";

struct Stub {
    root: PathBuf,
    events: EventLog,
    logs: Hub,
    commands: Mutex<Vec<Command>>,
    /// Where there is one, commands wait for it.
    gate: Option<Arc<Notify>>,
}

impl Supervisor for Stub {
    fn status(&self) -> Status {
        let next_event = self.events.next_seq();
        let services = ["db", "api"].map(|name| {
            let phase = "ready".to_owned();
            (name.to_owned(), ServiceRecord { phase, pid: Some(42), ..ServiceRecord::default() })
        });
        let record = Record { run: RUN.to_owned(), pid: 7, services: services.into(), ..Record::default() };
        let (root, logs) = (self.root.clone(), self.root.join("logs"));
        Status::of_record(
            &record,
            Circumstances { root, logs, mode: Mode::Detached, phase: Phase::Up, ready_ms: None, next_event },
        )
    }

    fn events(&self) -> EventLog {
        self.events.clone()
    }

    fn logs(&self) -> Hub {
        self.logs.clone()
    }

    fn command(&self, command: Command) -> BoxFuture<'static, Result<Reply, Refusal>> {
        self.commands.lock().unwrap().push(command.clone());
        let (gate, seq, events) = (self.gate.clone(), self.events.next_seq(), self.events.clone());
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.notified().await;
                events.push(&note("carried out"));
            }
            match command {
                Command::Reload => Err(Refusal::Invalid {
                    message: "devctl.toml:3: unknown key".to_owned(),
                    hints: vec!["mend it".to_owned()],
                }),
                Command::Start { services } if services.iter().any(|name| name.as_str() == "panic") => {
                    panic!("on purpose")
                }
                _ => {
                    let change = Change { service: name("api"), what: What::Restart, why: None };
                    Ok(Reply { seq, changes: vec![change], notes: Vec::new() })
                }
            }
        })
    }
}

struct Stage {
    folder: tempfile::TempDir,
    stub: Arc<Stub>,
    server: Server,
    lock: Lock,
}

impl Stage {
    fn new() -> Self {
        Self::with(Limits::default(), None)
    }

    fn with(limits: Limits, gate: Option<Arc<Notify>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock(folder.path());
        let socket = Socket::bind(folder.path(), &BTreeMap::new(), &lock).unwrap();
        let stub = Arc::new(Stub {
            root: folder.path().to_owned(),
            events: EventLog::new(),
            logs: Hub::new(None),
            commands: Mutex::default(),
            gate,
        });
        let server = Server::with_limits(socket, Arc::clone(&stub) as Arc<dyn Supervisor>, limits);
        Self { folder, stub, server, lock }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    async fn client(&self) -> Client {
        Client::connect(self.root()).await.unwrap().0
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.server.path()).await.unwrap()
    }

    /// Sends a request as it is and reads the whole answer.
    async fn say(&self, request: &str) -> String {
        let mut stream = self.raw().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// Sends a request and reads the problem that it must be answered with.
    async fn problem(&self, request: &str) -> Value {
        let answer = self.say(request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        assert!(head.contains("application/problem+json") && head.contains("devctl-api: 1"), "{answer}");
        let problem: Value = serde_json::from_str(body).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {}", problem["status"])), "{answer}");
        problem
    }

    fn commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.stub.commands.lock().unwrap())
    }
}

async fn read_to_end(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    // Whoever is sent away in the middle of a sentence may see the connection break.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn lock(root: &Path) -> Lock {
    match Lock::take(&StateDir::of(root), &Holder::default()).unwrap() {
        Attempt::Held(lock) => lock,
        Attempt::Taken(who) => panic!("{who:?}"),
    }
}

fn name(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn note(message: &str) -> Event {
    Event { at_ms: 1, kind: EventKind::Note { message: message.to_owned() } }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

fn message(line: Option<EventLine>) -> (u64, String) {
    match line {
        Some(EventLine::Event(Numbered { seq, event: Event { kind: EventKind::Note { message }, .. } })) => {
            (seq, message)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_asks_and_commands() {
    let stage = Stage::new();
    let (client, status) = Client::connect(stage.root()).await.unwrap();
    assert_eq!(status, stage.stub.status());
    let reply = client.restart(&[name("api"), name("db")], true).await.unwrap();
    assert_eq!((reply.seq, reply.changes[0].what), (1, What::Restart));
    client.start(&[]).await.unwrap();
    client.stop(&[name("db")]).await.unwrap();
    client.kill(&[name("db")], "usr1".parse().unwrap()).await.unwrap();
    client.scale(&name("api"), 3).await.unwrap();
    let apply = Apply { env: [("A".to_owned(), "ä".to_owned())].into(), build: true, ..Apply::default() };
    client.apply(&apply).await.unwrap();
    client.down(&Down { kill: true, keep: false }).await.unwrap();
    let services = |names: &[&str]| names.iter().map(|n| name(n)).collect::<Vec<_>>();
    assert_eq!(
        stage.commands(),
        [
            Command::Restart { services: services(&["api", "db"]), build: true },
            Command::Start { services: Vec::new() },
            Command::Stop { services: services(&["db"]) },
            Command::Kill { services: services(&["db"]), signal: "SIGUSR1".parse().unwrap() },
            Command::Scale { service: name("api"), replicas: 3 },
            Command::Apply(apply),
            Command::Down(Down { kill: true, keep: false }),
        ]
    );
    let error = client.reload().await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.hints()), ("devctl.toml:3: unknown key", vec!["mend it".to_owned()]));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_with_what_is_close() {
    let stage = Stage::new();
    let client = stage.client().await;
    for (answer, hint) in [
        (client.stop(&[name("db"), name("apo")]).await, "did you mean `api`?"),
        (client.restart(&[name("frontend")], false).await, "there are `db`, `api`"),
        (client.scale(&name("apii"), 1).await, "did you mean `api`?"),
    ] {
        let error = answer.unwrap_err();
        assert!(error.is_no_service(), "{error:?}");
        assert_eq!(error.hints(), [hint]);
    }
    assert!(stage.commands().is_empty());
}

#[tokio::test]
async fn events_are_told_from_any_number_on_to_the_last() {
    let stage = Stage::new();
    stage.stub.events.push(&note("one"));
    stage.stub.events.push(&note("two"));
    let client = stage.client().await;
    let (mut all, mut some) = (client.events(RUN, 1), client.events(RUN, 2));
    assert_eq!(message(all.next().await.unwrap()), (1, "one".to_owned()));
    assert_eq!(message(some.next().await.unwrap()), (2, "two".to_owned()));
    stage.stub.events.push(&note("three"));
    assert_eq!(message(some.next().await.unwrap()), (3, "three".to_owned()));
    stage.stub.events.push(&note("last words"));
    let path = stage.server.path().to_owned();
    stage.server.close().await;
    assert_eq!(message(some.next().await.unwrap()).1, "last words");
    assert!(some.next().await.unwrap().is_none());
    assert!(!path.exists());
    // Another run has numbers of its own.
    let again = Socket::bind(stage.folder.path(), &BTreeMap::new(), &stage.lock).unwrap();
    let _server = Server::start(again, Arc::clone(&stage.stub) as Arc<dyn Supervisor>);
    assert!(client.events("00000000000b", 1).next().await.unwrap().is_none());
}

#[tokio::test]
async fn logs_are_told_once_from_the_tail_on() {
    let stage = Stage::new();
    let sink = stage.stub.logs.sink(&name("api"));
    for n in 0..100 {
        sink.write(Stream::Stdout, format!("{n}\n").as_bytes()).await;
    }
    let client = stage.client().await;
    let mut logs = client.logs(RUN, &[name("api")], 3);
    let mut next = async || match logs.next().await.unwrap() {
        Some(LogEntry::Line { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(next().await, "97");
    // While it is read, somebody prints.
    let printing = tokio::spawn(async move {
        for n in 100..2_000 {
            sink.write(Stream::Stderr, format!("{n}\n").as_bytes()).await;
            tokio::task::yield_now().await;
        }
    });
    stage.stub.logs.sink(&name("db")).write(Stream::Stdout, b"not asked for\n").await;
    let mut last = 97;
    while last < 1_999 {
        let line: u32 = next().await.parse().unwrap();
        assert_eq!(line, last + 1);
        last = line;
        if last % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    printing.await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_told_as_a_problem() {
    let stage = Stage::new();
    for (request, kind, detail) in [
        (request("GET", "/v2/status", "", ""), "no-such-route", "there is no `/v2/status`"),
        (
            request("POST", "/v1/services/api/explode", "", ""),
            "no-such-route",
            "there is no `/v1/services/api/explode`",
        ),
        (request("DELETE", "/v1/status", "", ""), "wrong-method", "`/v1/status` does not know DELETE"),
        (request("GET", "/v1/status", "devctl-api: 9\r\n", ""), "other-api", "was asked in version `9`"),
        (request("POST", "/v1/services/api/kill", "", "{\"signal\":\"SIGFOO\"}"), "bad-request", "no signal `SIGFOO`"),
        (request("POST", "/v1/services/api/restart", "", "{not json"), "bad-request", "the body is wrong"),
        (request("POST", "/v1/services/api/stop", "", "{\"services\":1}"), "bad-request", "unknown field `services`"),
        (request("POST", "/v1/services/*/kill", "", ""), "bad-request", "name the services"),
        (request("POST", "/v1/services/..%2Fetc/stop", "", ""), "bad-request", "must begin with"),
        (request("POST", "/v1/services/%ff/stop", "", ""), "bad-request", "UTF-8"),
        (request("POST", "/v1/services/api/scale", "", "{\"replicas\":1000000}"), "bad-request", "are too many"),
        (request("POST", "/v1/services/api/scale", "", ""), "bad-request", "{\"replicas\":3}"),
        (request("POST", "/v1/services/panic/start", "", ""), "bug", "not carried out"),
        (request("GET", "/v1/events?from=-1", "", ""), "bad-request", "from"),
        (request("GET", "/v1/logs?service=web", "", ""), "no-such-service", "there is no service `web`"),
        (request("GET", "/v1/logs?tial=3", "", ""), "bad-request", "tial"),
        (request("POST", "/v1/reload", "", ""), "invalid", "unknown key"),
    ] {
        let problem = stage.problem(&request).await;
        assert_eq!(problem["type"], format!("urn:devctl:{kind}"), "{request}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{request}: {problem}");
    }
    let problem = stage.problem(&request("POST", "/v1/nonsense", "", "")).await;
    assert!(problem["hints"].to_string().contains("there is `POST /v1/reload`"), "{problem}");
    stage.client().await.status().await.unwrap();
}

#[tokio::test]
async fn who_speaks_no_http_or_sends_too_much_is_sent_away() {
    let stage = Stage::new();
    for garbage in ["\0\0\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "hello\n\n", "GET / HTTP/9.9\r\n\r\n"] {
        assert!(stage.say(garbage).await.starts_with("HTTP/1.1 400"), "{garbage:?}");
    }
    assert!(stage.say(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000))).await.starts_with("HTTP/1.1 414"));
    let headers = "x: y\r\n".repeat(1_000);
    assert!(stage.say(&format!("GET / HTTP/1.1\r\n{headers}\r\n")).await.starts_with("HTTP/1.1 431"));
    // As long as it says it is, and without a word of how long.
    let length = "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n";
    let mut stream = stage.raw().await;
    stream.write_all(length.as_bytes()).await.unwrap();
    let blanks = vec![b' '; 65_536];
    // It goes on until nobody takes it any more.
    while stream.write_all(&blanks).await.is_ok() {}
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 413"));
    let chunked = "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = stage.raw().await;
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
    while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 413"));
    assert!(stage.commands().is_empty());
    stage.client().await.status().await.unwrap();
}

#[tokio::test]
async fn who_takes_too_long_is_sent_away() {
    let short = Duration::from_millis(50);
    let stage = Stage::with(Limits { idle: short, stall: short, body: short, ..Limits::default() }, None);
    // Says nothing, or half a sentence, or half a body.
    assert_eq!(stage.say("").await, "");
    assert_eq!(stage.say("GET /v1/status HT").await, "");
    let problem = stage.problem("POST /v1/apply HTTP/1.1\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{").await;
    assert_eq!(problem["type"], "urn:devctl:too-slow");
    // Asks for everything and reads none of it.
    let mut deaf = stage.raw().await;
    deaf.write_all(request("GET", "/v1/events?follow=true", "", "").as_bytes()).await.unwrap();
    let mut head = [0; 15];
    deaf.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let long = "x".repeat(10_000);
    for _ in 0..200 {
        stage.stub.events.push(&note(&long));
    }
    // It is given up although it is still there.
    while stage.stub.events.readers() > 0 {
        tokio::task::yield_now().await;
    }
    let read = read_to_end(&mut deaf).await;
    assert!(!read.is_empty() && read.len() < 1_000_000, "{}", read.len());
    stage.client().await.status().await.unwrap();
}

#[tokio::test]
async fn a_reader_that_never_reads_costs_nothing_and_learns_of_the_gap() {
    let stage = Stage::new();
    let client = stage.client().await;
    let mut deaf = client.events(RUN, 1);
    stage.stub.events.push(&note("first"));
    assert_eq!(message(deaf.next().await.unwrap()).1, "first");
    // Neither the writer nor another reader waits for it.
    let mut other = client.events(RUN, 1);
    let long = "x".repeat(1_000);
    for _ in 0..20_000 {
        stage.stub.events.push(&note(&long));
    }
    stage.stub.events.push(&note("last"));
    for reader in [&mut other, &mut deaf] {
        let mut gaps = 0;
        loop {
            match reader.next().await.unwrap().unwrap() {
                EventLine::Gap { gap, status } => {
                    gaps += 1;
                    assert!(gap.from < gap.to && status.services.len() == 2);
                }
                EventLine::Event(Numbered { seq: 20_002, .. }) => break,
                EventLine::Event(_) => {}
            }
        }
        assert!(gaps >= 1);
    }
}

#[tokio::test]
async fn a_crowd_of_idlers_keeps_nobody_out() {
    let stage = Stage::new();
    let mut idlers = Vec::new();
    for _ in 0..200 {
        idlers.push(stage.raw().await);
    }
    stage.client().await.status().await.unwrap();
    // Those who came first had to go.
    assert_eq!(read_to_end(&mut idlers[0]).await, "");
    drop(idlers);
    // Who is being answered stays, and who comes is told so.
    let client = stage.client().await;
    stage.stub.events.push(&note("one"));
    let mut followers = Vec::new();
    for _ in 0..door::MAX_GUESTS {
        let mut stream = stage.raw().await;
        stream.write_all(request("GET", "/v1/events?follow=true", "", "").as_bytes()).await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        followers.push(stream);
    }
    let problem = stage.problem(&request("GET", "/v1/status", "", "")).await;
    assert_eq!(problem["type"], "urn:devctl:too-many-clients");
    drop(followers);
    loop {
        match client.status().await {
            Ok(_) => break,
            // The server has not seen yet that they went.
            Err(ClientError::Refused(_) | ClientError::NoAnswer { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_command_is_carried_out_though_its_client_went_away() {
    let gate = Arc::new(Notify::new());
    let stage = Stage::with(Limits::default(), Some(Arc::clone(&gate)));
    let mut events = stage.client().await.events(RUN, 1);
    let mut stream = stage.raw().await;
    stream.write_all(request("POST", "/v1/down", "", "").as_bytes()).await.unwrap();
    while stage.stub.commands.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(stream);
    stage.client().await.status().await.unwrap();
    gate.notify_one();
    assert_eq!(message(events.next().await.unwrap()).1, "carried out");
}

#[tokio::test]
async fn a_long_path_has_its_socket_elsewhere_and_a_dead_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let env = BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), runtime.path().display().to_string())]);
    let root = folder.path().join("long/".repeat(40));
    std::fs::create_dir_all(&root).unwrap();
    let held = lock(&root);
    assert!(matches!(Client::connect(&root).await, Err(ClientError::NoSupervisor { .. })));
    let socket = Socket::bind(&root, &env, &held).unwrap();
    let path = socket.path().to_owned();
    assert!(path.starts_with(runtime.path()));
    // Killed: nobody removes anything, and nobody listens any more.
    let copy = runtime.path().join("copy");
    std::fs::hard_link(&path, &copy).unwrap();
    drop(socket);
    std::fs::rename(&copy, &path).unwrap();
    crate::os::socket::link(&path, &root.join(".devctl/control.sock")).unwrap();
    assert!(matches!(Client::connect(&root).await, Err(ClientError::NoSupervisor { .. })));
    let socket = Socket::bind(&root, &env, &held).unwrap();
    assert_eq!(socket.path(), path);
    // A second one is not taken for dead.
    assert!(Socket::bind(&root, &env, &held).is_err());
    drop(socket);
    assert_eq!(std::fs::read_dir(runtime.path().join("devctl")).unwrap().count(), 0);
    assert!(root.join(".devctl/control.sock").symlink_metadata().is_err());
}

#[tokio::test]
async fn what_a_killed_supervisor_left_is_cleared_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let held = lock(folder.path());
    let at_home = folder.path().join(".devctl/control.sock");
    let dead = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let there = |path: &Path| path.symlink_metadata().is_ok();

    clear(folder.path(), &held);
    dead(&at_home);
    clear(folder.path(), &held);
    assert!(!there(&at_home));

    let elsewhere = folder.path().join("elsewhere.sock");
    dead(&elsewhere);
    crate::os::socket::link(&elsewhere, &at_home).unwrap();
    clear(folder.path(), &held);
    assert!(!there(&at_home) && !there(&elsewhere));

    // The link of a project that somebody else wrote may lead anywhere.
    std::fs::write(&elsewhere, "precious").unwrap();
    crate::os::socket::link(&elsewhere, &at_home).unwrap();
    clear(folder.path(), &held);
    assert!(there(&elsewhere));
    std::fs::remove_file(&at_home).unwrap();

    let socket = Socket::bind(folder.path(), &BTreeMap::new(), &held).unwrap();
    clear(folder.path(), &held);
    assert!(there(socket.path()), "it is alive");
}

#[tokio::test]
async fn every_route_of_the_description_is_there() {
    let stage = Stage::new();
    for (method, path) in ROUTES {
        let path = path.replace("{names}", "api").replace("{name}", "api");
        let answer = stage.say(&request(&method.to_uppercase(), &path, "", "")).await;
        assert!(!answer.contains("no-such-route") && !answer.contains("wrong-method"), "{method} {path}: {answer}");
    }
    let description = stage.say(&request("GET", "/v1/openapi.json", "", "")).await;
    assert!(description.contains("\"openapi\": \"3.1.0\""));
}
