//! A stack in the background and what other terminals do with it: the real binary on both ends, real services, real
//! signals.

#![cfg(unix)]

mod support;

#[path = "detached/applied.rs"]
mod applied;
#[path = "detached/background.rs"]
mod background;
#[path = "detached/followers.rs"]
mod followers;
#[path = "detached/scaled.rs"]
mod scaled;
#[path = "failures/stub.rs"]
mod stub;
#[path = "detached/watched.rs"]
mod watched;

use serde_json::Value;
use support::{Events, Project, get, until};

/// A project whose services are made of the stub: `STUB` is its path.
fn project(manifest: &str) -> Project {
    let project = Project::empty();
    write(&project, manifest);
    project
}

fn write(project: &Project, manifest: &str) {
    project.write("devctl.toml", &manifest.replace("STUB", &stub::path().display().to_string()));
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

#[track_caller]
fn say(project: &Project, args: &[&str]) -> Said {
    said(project.command(args))
}

#[track_caller]
fn said(mut command: std::process::Command) -> Said {
    let output = command.stdin(std::process::Stdio::null()).output().expect("cargo built the binary");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("devctl prints text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// Fails unless it ended with this exit code.
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// Brings the stack up in the background, and listens to it from its first event on.
#[track_caller]
fn up(project: &Project) -> Events {
    say(project, &["up", "-d"]).expect(0);
    let mut events = Events::of(project);
    project.remember(run_id(&mut events));
    events.next("stack_ready");
    events
}

#[track_caller]
fn run_id(events: &mut Events) -> String {
    events.next("run_started")["run"].as_str().expect("a run has an id").to_owned()
}

/// Takes the stack down; nothing of it is left.
#[track_caller]
fn down(project: &Project, mut events: Events) {
    say(project, &["down"]).expect(0);
    events.next("finished");
    assert_gone(project);
}

/// Nothing runs, and devctl with its guardian is gone too.
#[track_caller]
fn assert_gone(project: &Project) {
    until("everything is gone", || {
        let left = project.left_of("none");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert!(!project.root().join(".devctl/control.sock").exists(), "the socket is left");
}

/// All services as `ps` shows them.
#[track_caller]
fn rows(project: &Project) -> Vec<Value> {
    let text = project.printed(&["ps", "--format", "json"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A service as `ps` shows it.
#[track_caller]
fn row(project: &Project, service: &str) -> Value {
    let rows = rows(project);
    rows.iter().find(|row| row["service"] == service).unwrap_or_else(|| panic!("no {service}: {rows:?}")).clone()
}

/// The process of a service that is ready.
#[track_caller]
fn pid(project: &Project, service: &str) -> u64 {
    let row = row(project, service);
    assert_eq!(row["state"], "ready", "{row}");
    row["pid"].as_u64().unwrap_or_else(|| panic!("no process: {row}"))
}

/// What the service on a port answers.
#[track_caller]
fn answer(port: u16) -> String {
    let (status, body) = get(&format!("http://127.0.0.1:{port}/")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(status, 200, "{body}");
    body
}
