//! Sources that change while the stack is up: a real program that cargo builds, and one that is only started again.

use crate::{Project, answer, down, pid, project, row, say, up};

/// Answers one word to whoever connects, until it is told to end.
const MAIN: &str = r#"
use std::io::{Read, Write};

fn main() {
    let port = std::env::var("PORT").expect("devctl tells the port");
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nWORD");
    }
}
"#;

const MANIFEST: &str = r#"
[project]
name = "@name@"

[services.api]
runtime = "rust"
dir     = "api"
port    = @port:api@
ready   = { http = "/" }
watch   = ["src"]

[services.gateway]
command    = ["STUB", "lines", "up"]
depends_on = { api = { until = "ready", restart = true } }
"#;

const WORKER: &str = r#"
[services.worker]
command = ["STUB", "shell", "cat settings/*; exec STUB lines up"]
watch   = { paths = ["settings"], ignore = ["*.tmp"], debounce = "50ms" }
"#;

fn source(project: &Project, word: &str) {
    project.write("api/src/main.rs", &MAIN.replace("WORD", word));
}

#[test]
fn a_build_that_fails_leaves_what_runs_and_one_that_succeeds_replaces_it() {
    let project = project(&format!("{MANIFEST}{WORKER}"));
    project
        .write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
    project.write("settings/one", "1");
    source(&project, "one");
    let mut events = up(&project);
    let (first, gateway, worker) = (pid(&project, "api"), pid(&project, "gateway"), pid(&project, "worker"));
    assert_eq!(answer(project.port("api")), "one");

    source(&project, "two\"; this does not compile \"");
    let failed = events.skip_past("a build that failed", |event| event["event"] == "build_failed");
    assert!(failed.to_string().contains("error"), "in the compiler's words: {failed}");
    assert_eq!(answer(project.port("api")), "one");
    assert_eq!([pid(&project, "api"), pid(&project, "gateway")], [first, gateway]);

    source(&project, "two");
    assert_eq!(events.next_node("renewing", "api")["cause"], "it was built anew");
    events.next_node("ready", "api");
    assert_eq!(answer(project.port("api")), "two");
    // Whoever follows it does so now.
    events.next_node("ready", "gateway");
    assert_ne!(pid(&project, "api"), first);
    assert_ne!(pid(&project, "gateway"), gateway);
    assert_eq!(pid(&project, "worker"), worker);
    down(&project, events);
}

#[test]
fn a_command_is_started_again_when_what_it_reads_changed() {
    let project = project(&format!("[project]\nname = \"@name@\"\n{WORKER}"));
    project.write("settings/one", "1");
    let mut events = up(&project);
    let first = pid(&project, "worker");
    // Neither counts: one is ignored, the other is as it was.
    project.write("settings/one.tmp", "2");
    project.write("settings/one", "1");
    project.write("settings/two", "2");
    assert_eq!(events.next_node("renewing", "worker")["cause"], "settings/two changed");
    events.next_node("ready", "worker");
    assert_ne!(pid(&project, "worker"), first);

    // Whoever stopped it wants it stopped.
    say(&project, &["stop", "worker"]).expect(0);
    project.write("settings/two", "3");
    let manifest = std::fs::read_to_string(project.root().join("devctl.toml")).expect("it is there");
    project.write("devctl.toml", &format!("{manifest}\n[services.after]\ncommand = \"STUB mute\"\n"));
    events.skip_past("a note about the manifest", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["event"] == "note" && message == "devctl.toml changed; `devctl reload` applies it"
    });
    assert_eq!(row(&project, "worker")["state"], "stopped");
    say(&project, &["start", "worker"]).expect(0);
    down(&project, events);
}
