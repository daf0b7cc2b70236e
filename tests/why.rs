//! `devctl why` and `devctl ps` on the real binary and on services that really go wrong: what a person reads, while the
//! stack runs, after it ended, and after it was killed.
#![cfg(unix)]

mod support;

#[path = "failures/stub.rs"]
mod stub;

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;
use support::{Devctl, Infra, Project, Signal, until};

/// What differs from run to run, and what stands there instead.
const REDACTIONS: &[(&str, &str)] = &[
    (r"\bpid \d+", "pid [pid]"),
    (r"\bkill \d+", "kill [pid]"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[when]"),
    (r"\d{4}-\d\d-\d\d [0-9:.]+ UTC \[\d+\]", "[stamp]"),
    (r"(ready in +|after |up )\d+(?:\.\d)? m?s\b", "${1}[duration]"),
    (r" +\b\d+(?:\.\d)? m?s\b", " [duration]"),
    (r"\b2[0-6]\d{3}\b", "[port]"),
    (r"(?m)[ \t]+$", ""),
    // Whether it was asked before it ended is chance.
    (r"(?m)^  last probe  no line matches .*\n", ""),
];

/// A project whose services are the stub: a name, its arguments, further keys of each.
fn project(services: &[(&str, &[&str], &str)]) -> Project {
    let project = Project::empty();
    let mut manifest = "[project]\nname = \"@name@\"\n".to_owned();
    for (name, args, keys) in services {
        write!(manifest, "\n[services.{name}]\ncommand = [\"{}\"", stub::path().display()).expect("it is a string");
        for arg in *args {
            write!(manifest, ", {arg:?}").expect("it is a string");
        }
        writeln!(manifest, "]\n{keys}").expect("it is a string");
    }
    project.write("devctl.toml", &manifest);
    project
}

/// A service that keeps the run up.
const KEEPER: (&str, &[&str], &str) = ("keeper", &["lines", "here"], "ready = { log = \"here\" }");

/// What a command prints, in a form that is the same in every run.
#[track_caller]
fn said(project: &Project, args: &[&str]) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        REDACTIONS.iter().map(|(from, to)| (Regex::new(from).expect("the pattern is valid"), *to)).collect()
    });
    let mut text = project
        .printed(args)
        .replace(&project.root().display().to_string(), "[project]")
        .replace(&stub::path().display().to_string(), "[stub]")
        .replace(project.name(), "[name]");
    for (pattern, to) in patterns {
        text = pattern.replace_all(&text, *to).into_owned();
    }
    // The columns of a table are as wide as what was replaced.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    if args[0] == "ps" { text.lines().map(words).collect::<Vec<_>>().join("\n") } else { text }
}

/// The same as JSON.
#[track_caller]
fn why(project: &Project, service: &str) -> Value {
    serde_json::from_str(&project.printed(&["why", service, "--format", "json"])).expect("it is JSON")
}

#[track_caller]
fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("why_{name}"), text);
    });
}

/// Waits until the run has its service so, as its own status tells.
#[track_caller]
fn until_state(project: &Project, service: &str, state: &str) {
    until(&format!("{service} is {state}"), || {
        let why = why(project, service);
        if why["state"] == state { Ok(()) } else { Err(why.to_string()) }
    });
}

fn interrupt(devctl: Devctl) {
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().clean_receipt();
}

/// A stranger that listens on a port, until it is dropped.
struct Stranger(Child);

impl Stranger {
    fn on(port: u16) -> Self {
        let mut stub = Command::new(stub::path());
        let child = stub.args(["listen", &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let stranger = Self(child.expect("the stub was built"));
        until("the stranger listens", || std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string()));
        stranger
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_service_that_is_well() {
    let project = project(&[KEEPER]);
    let devctl = project.up_ready(&[]);
    snapshot("well", &said(&project, &["why", "keeper"]));
    let why = why(&project, "keeper");
    assert_eq!(
        (&why["well"], &why["state"], &why["causes"]),
        (&true.into(), &"ready".into(), &Value::Array(Vec::new()))
    );
    assert!(why["up_ms"].is_u64() && why["ready_ms"].is_u64(), "{why}");
    interrupt(devctl);
    snapshot("after_the_end", &said(&project, &["why", "keeper"]));
    snapshot("ps_after_the_end", &said(&project, &["ps"]));
}

#[test]
fn a_service_that_ends_again_and_again() {
    let keys = "restart = { policy = \"on-failure\", max = 2, within = \"60s\" }";
    let api = ("api", &["shell", "echo 'ERROR: out of paper' >&2; exit 1"][..], keys);
    let project = project(&[KEEPER, api]);
    let mut devctl = project.up_ready(&[]);
    devctl.wait_node("failed", "api");
    until_state(&project, "api", "failed");
    snapshot("crash_loop", &said(&project, &["why", "api"]));
    let why = why(&project, "api");
    assert_eq!((&why["causes"][0]["kind"], &why["restarts"]), (&"crash_loop".into(), &2.into()), "{why}");
    snapshot("ps_crash_loop", &said(&project, &["ps"]));
    interrupt(devctl);
    snapshot("crash_loop_after", &said(&project, &["why", "api"]));
    snapshot("ps_crash_loop_after", &said(&project, &["ps"]));
}

#[test]
fn a_port_that_somebody_has() {
    let project = project(&[("api", &["listen", "@port:api@"], "port = @port:api@")]);
    let stranger = Stranger::on(project.port("api"));
    assert_eq!(project.run(&["up"]).code, Some(3));
    snapshot("port_taken", &said(&project, &["why", "api"]));
    assert_eq!(why(&project, "api")["causes"][0]["kind"], "port_taken");
    drop(stranger);
    snapshot("never_ran", &said(&project, &["why", "api"]));
}

#[test]
fn a_program_that_says_that_its_port_is_taken() {
    let script = "echo 'Error: listen EADDRINUSE: address already in use 127.0.0.1:@port:api@' >&2; exit 1";
    let project = project(&[KEEPER, ("api", &["shell", script], "")]);
    let stranger = Stranger::on(project.port("api"));
    let mut devctl = project.up(&[]);
    devctl.wait_node("failed", "api");
    // Whether everything was ready before decides whether the run goes on: the cause is the same.
    let why = until("the failure is known", || {
        let why = why(&project, "api");
        if why["state"] == "failed" { Ok(why) } else { Err(why.to_string()) }
    });
    assert_eq!(why["causes"][0]["kind"], "port_taken", "{why}");
    drop(stranger);
    drop(devctl);
}

#[test]
fn a_program_that_is_not_there() {
    let project = project(&[KEEPER]);
    let keeper = std::fs::read_to_string(project.root().join("devctl.toml")).expect("it was just written");
    project.write(
        "devctl.toml",
        &format!("{keeper}\n[services.api]\ncommand = [\"no-such-program\"]\ndepends_on = {{ keeper = \"ready\" }}\n"),
    );
    assert_eq!(project.run(&["up"]).code, Some(3));
    snapshot("program_missing", &said(&project, &["why", "api"]));
    snapshot("program_missing_other", &said(&project, &["why", "keeper"]));
    snapshot("ps_program_missing", &said(&project, &["ps"]));
}

#[test]
fn a_service_that_waits_for_another_that_waits() {
    let db = ("db", &["lines", "recovering"][..], "port = @port:db@\nready = { timeout = \"60s\" }");
    let api = ("api", &["lines", "here"][..], "depends_on = { db = \"ready\" }");
    let gateway = ("gateway", &["lines", "here"][..], "depends_on = { api = \"ready\" }");
    let project = project(&[db, api, gateway]);
    let mut devctl = project.up(&[]);
    devctl.wait_node("probing", "db");
    until_state(&project, "gateway", "waiting");
    until("the line is in the log", || {
        let why = why(&project, "gateway");
        let evidence = why["causes"][0]["evidence"].to_string();
        if why["waits_for"][0][1]["node"] == "db" && evidence.contains("nobody listens") {
            Ok(())
        } else {
            Err(why.to_string())
        }
    });
    snapshot("waits", &said(&project, &["why", "gateway"]));
    interrupt(devctl);
    snapshot("waits_after", &said(&project, &["why", "gateway"]));
}

#[test]
fn a_service_whose_database_failed() {
    let db = (
        "db",
        &["shell", "echo 'FATAL: could not open file \"x\": Permission denied'; exit 2"][..],
        "ready = { log = \"up\" }",
    );
    let api = ("api", &["lines", "here"][..], "depends_on = { db = \"ready\" }");
    let project = project(&[db, api]);
    assert_eq!(project.run(&["up"]).code, Some(1));
    snapshot("dependency_failed", &said(&project, &["why", "api"]));
}

#[test]
fn a_connection_that_a_dependency_refused() {
    let db = ("db", &["lines", "here"][..], "port = @port:db@\nready = { log = \"here\" }");
    let script = "echo 'Error: connect ECONNREFUSED 127.0.0.1:@port:db@' >&2; exit 1";
    let project =
        project(&[db, ("api", &["shell", script], "depends_on = { db = \"ready\" }\nready = { log = \"never\" }")]);
    assert_eq!(project.run(&["up", "--format", "json"]).code, Some(1));
    snapshot("refused", &said(&project, &["why", "api"]));
    assert_eq!(why(&project, "api")["causes"][0]["kind"], "refused");
}

#[test]
fn ends_that_only_the_exit_tells_of() {
    let mut said_of_all = String::new();
    for script in ["kill -KILL $$", "kill -SEGV $$", "exit 0", "exit 3", ": ${API_KEY?}", "no-such-program"] {
        let project = project(&[("api", &["shell", script], "ready = { log = \"never\" }")]);
        assert_eq!(project.run(&["up"]).code, Some(1), "{script}");
        let said = said(&project, &["why", "api"]);
        writeln!(said_of_all, "=== {script}\n{said}").expect("it is a string");
    }
    snapshot("ends", &said_of_all);
}

#[test]
fn a_service_that_is_unhealthy() {
    let health = "health = { exec = [\"@root@/check\"], interval = \"100ms\", retries = 1, action = \"warn\" }";
    let project = project(&[("api", &["lines", "here"], "ready = { log = \"here\" }")]);
    let manifest = std::fs::read_to_string(project.root().join("devctl.toml")).expect("it was just written");
    project.script("check", "#!/bin/sh\necho the cache is cold; exit 1\n");
    let health = health.replace("@root@", &project.root().display().to_string());
    project.write("devctl.toml", &format!("{manifest}{health}\n"));
    let mut devctl = project.up_ready(&[]);
    devctl.wait_node("unhealthy", "api");
    until_state(&project, "api", "unhealthy");
    snapshot("unhealthy", &said(&project, &["why", "api"]));
    snapshot("ps_unhealthy", &said(&project, &["ps"]));
    interrupt(devctl);
}

#[test]
fn a_service_that_listens_elsewhere() {
    let keys = "port = @port:api@\nready = { timeout = \"300ms\", on_timeout = \"warn\" }";
    let project = project(&[("api", &["lines", "Listening on http://127.0.0.1:3000"], keys)]);
    let mut devctl = project.up(&[]);
    devctl.wait_event("stack_ready");
    until("both are known", || {
        let why = why(&project, "api");
        if why["causes"][0]["kind"] == "other_port" { Ok(()) } else { Err(why.to_string()) }
    });
    snapshot("other_port", &said(&project, &["why", "api"]));
    interrupt(devctl);
}

#[test]
fn a_build_that_fails() {
    let project = Project::empty();
    project.write("devctl.toml", "[project]\nname = \"@name@\"\n\n[services.api]\nruntime = \"rust\"\ndir = \"api\"\n");
    project.write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    project.write("api/src/main.rs", "fn main() {\n    println!(\"listening on {}\", prot);\n}\n");
    assert_eq!(project.run(&["up"]).code, Some(1));
    snapshot("build_fails", &said(&project, &["why", "api"]));
}

#[test]
fn a_devctl_that_was_killed() {
    let project = project(&[KEEPER]);
    let devctl = project.up_ready(&[]);
    devctl.kill_and_wait_for_guardian();
    snapshot("killed", &said(&project, &["why", "keeper"]));
    assert_eq!(why(&project, "keeper")["end"], "killed");
}

#[test]
fn a_devctl_that_was_killed_with_its_guardian() {
    let project = project(&[KEEPER]);
    let devctl = project.up_ready(&[]);
    devctl.kill_with_guardian();
    assert_eq!(why(&project, "keeper")["causes"][0]["kind"], "run_killed");
    assert_eq!(project.run(&["down"]).code, Some(0));
    assert_eq!(why(&project, "keeper")["causes"][0]["kind"], "run_killed");
}

#[test]
fn a_password_that_is_not_the_one_of_the_data() {
    let compose = |password: &str| {
        format!(
            "name: @name@\nservices:\n  db:\n    image: pgvector/pgvector:pg16\n    environment:\n      \
             POSTGRES_PASSWORD: {password}\n    ports: [\"127.0.0.1:@port:db@:5432\"]\n    \
             volumes: [\"data:/var/lib/postgresql/data\"]\nvolumes:\n  data:\n"
        )
    };
    let manifest = "[project]\nname = \"@name@\"\n\n[containers]\ncompose = [\"compose.yml\"]\n";
    let project = Project::with(manifest, &compose("as-it-was"));
    interrupt(project.up_ready(&Infra::Embedded.args()));
    project.write("compose.yml", &compose("as-it-is-now"));
    assert_eq!(project.run(&[&["up"][..], &Infra::Embedded.args()].concat()).code, Some(1));
    let why = why(&project, "db");
    assert_eq!(why["causes"][0]["kind"], "wrong_password", "{why}");
    let said = said(&project, &["why", "db"]);
    assert!(!said.contains("as-it-"), "{said}");
    snapshot("wrong_password", &said);
}

#[test]
fn a_service_that_nobody_has() {
    let project = project(&[KEEPER]);
    let output = project.output(&["why", "keper"]);
    assert_eq!(output.status.code(), Some(2));
    snapshot("unknown", &String::from_utf8_lossy(&output.stderr));
}
