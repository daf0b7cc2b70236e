//! The verbs that change a stack that is up, with the real binary on both ends of the control socket.

#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::Value;
use support::{Devctl, Finished, Project, Signal, until};

const MANIFEST: &str = r#"
[project]
name = "@name@"

[services.db]
dir     = "."
runtime = "exec"
command = ["sh", "-c", "echo up; exec sleep 600"]

[services.api]
dir        = "."
runtime    = "exec"
command    = ["./api"]
depends_on = ["db"]
ready      = { log = "listening" }
"#;

/// Says so when it gets SIGUSR1, and fails where there is a file `broken`.
const API: &str = r#"#!/bin/sh
if [ -e broken ]; then
    echo "reading the configuration"
    echo "ERROR: the configuration is broken" >&2
    exit 3
fi
trap 'echo heard' USR1
trap 'exit 0' TERM
echo listening
while :; do sleep 600 & wait $!; kill $!; done
"#;

fn project() -> Project {
    let project = Project::empty();
    project.write("devctl.toml", MANIFEST);
    project.script("api", API);
    project
}

/// What a verb printed and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

#[track_caller]
fn say(project: &Project, args: &[&str]) -> Said {
    let Output { status, stdout, stderr } = project.output(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("devctl prints text");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs a verb that must end well and print one line that begins and ends like that.
#[track_caller]
fn well(project: &Project, args: &[&str], begin: &str, end: &str) {
    let Said { code, out, err } = say(project, args);
    assert!(
        code == Some(0) && out.starts_with(begin) && out.trim_end().ends_with(end),
        "{args:?}: {code:?}\n{out}{err}"
    );
    assert_eq!(out.lines().count(), 1, "{args:?}: {out}");
}

/// A service as `ps` shows it.
#[track_caller]
fn ps(project: &Project, service: &str) -> Value {
    let text = project.printed(&["ps", "--format", "json"]);
    let rows: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
    rows.into_iter().find(|row| row["service"] == service).unwrap_or_else(|| panic!("no {service}: {text}"))
}

#[track_caller]
fn end(devctl: Devctl, project: &Project) -> Finished {
    let mut devctl = devctl;
    let run = devctl.run_id();
    devctl.signal(Signal::SIGINT);
    let finished = devctl.wait_exit();
    project.assert_nothing_left(&run);
    finished
}

#[test]
fn each_verb_comes_back_when_its_effect_is_there() {
    let project = project();
    let mut devctl = project.up_ready(&[]);
    let first = ps(&project, "api")["pid"].as_u64().expect("it runs");

    well(&project, &["restart", "api"], "api restarted, ready in ", "ms");
    let second = ps(&project, "api");
    assert!(second["state"] == "ready" && second["pid"].as_u64() != Some(first), "{second}");

    well(&project, &["stop", "api"], "api stopped (exit code 0)", "");
    assert_eq!(ps(&project, "api")["state"], "stopped");
    assert_eq!(ps(&project, "db")["state"], "ready");
    well(&project, &["stop", "api"], "api is stopped already", "");

    well(&project, &["start", "api"], "api started, ready in ", "ms");
    assert_eq!(ps(&project, "api")["state"], "ready");
    well(&project, &["start", "api"], "api is ready already", "");

    well(&project, &["kill", "-s", "usr1", "api"], "api got SIGUSR1", "");
    devctl.wait_for("the signal's echo", |event| event["line"] == "heard");
    well(&project, &["kill", "api"], "api stopped (killed by signal 9)", "");
    assert_eq!(ps(&project, "api")["state"], "stopped");

    let json = project.printed(&["start", "--format", "json", "api"]);
    let told: Value = serde_json::from_str(&json).expect("it is one line of JSON");
    assert!(told["service"] == "api" && told["outcome"] == "ready" && told["ready_ms"].is_u64(), "{told}");
    assert_eq!(end(devctl, &project).code, Some(0));
}

#[test]
fn a_service_that_fails_is_told_with_evidence() {
    let project = project();
    let devctl = project.up_ready(&[]);
    project.write("broken", "");
    let Said { code, out, err } = say(&project, &["restart", "api"]);
    assert_eq!(code, Some(1), "{out}{err}");
    for evidence in ["api ended", "exit code 3", "ERROR: the configuration is broken", "devctl logs api"] {
        assert!(err.contains(evidence), "{evidence} is missing:\n{out}{err}");
    }
    // The rest runs on, and what is mended can be started.
    assert_eq!(ps(&project, "db")["state"], "ready");
    std::fs::remove_file(project.root().join("broken")).expect("it was just written");
    well(&project, &["start", "api"], "api started, ready in ", "ms");
    end(devctl, &project);
}

#[test]
fn what_cannot_be_done_is_told_with_what_can() {
    let project = project();
    let nobody = say(&project, &["restart", "api"]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.err);
    assert!(
        nobody.err.contains("nothing of this project runs") && nobody.err.contains("devctl up -d"),
        "{}",
        nobody.err
    );
    let devctl = project.up_ready(&[]);
    for verb in ["start", "stop", "restart", "kill", "wait"] {
        let said = say(&project, &[verb, "apo"]);
        assert_eq!(said.code, Some(2), "{verb}: {}", said.err);
        assert!(
            said.err.contains("no service `apo`") && said.err.contains("did you mean `api`?"),
            "{verb}: {}",
            said.err
        );
    }
    end(devctl, &project);
}

#[test]
fn waiting_begins_before_the_stack_and_ends_with_what_was_waited_for() {
    let project = project();
    let early = Devctl::spawn(project.command(&["wait", "api", "--timeout", "2m"]));
    let devctl = project.up_ready(&[]);
    assert_eq!(early.wait_exit().code, Some(0));
    let late = say(&project, &["wait", "--for", "failed", "--timeout", "200ms", "api"]);
    assert_eq!(late.code, Some(4), "{}", late.err);
    assert!(late.err.contains("api is ready"), "{}", late.err);
    let stopped = Devctl::spawn(project.command(&["wait", "--for", "stopped", "--timeout", "2m", "api"]));
    well(&project, &["stop", "api"], "api stopped", "");
    assert_eq!(stopped.wait_exit().code, Some(0));
    // It failed: it will not be ready.
    project.write("broken", "");
    assert_eq!(say(&project, &["start", "api"]).code, Some(1));
    let never = say(&project, &["wait", "api"]);
    assert!(never.code == Some(1) && never.err.contains("api failed"), "{:?} {}", never.code, never.err);
    assert_eq!(say(&project, &["wait", "--for", "failed", "api"]).code, Some(0));
    end(devctl, &project);
    assert_eq!(say(&project, &["wait", "--for", "stopped"]).code, Some(0));
}

#[test]
fn a_changed_manifest_is_applied_by_reload() {
    let project = project();
    let devctl = project.up_ready(&[]);
    let before = ps(&project, "api")["pid"].clone();
    let more = "\n[services.more]\ndir = \".\"\nruntime = \"exec\"\ncommand = [\"sleep\", \"600\"]\n";
    project.write("devctl.toml", &format!("{MANIFEST}{more}"));
    well(&project, &["reload"], "more started, ready in ", "");
    assert_eq!(ps(&project, "more")["state"], "ready");
    project.write("devctl.toml", &format!("{MANIFEST}\nnonsense = 1\n"));
    let wrong = say(&project, &["reload"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("nonsense"), "{:?} {}", wrong.code, wrong.err);
    project.write("devctl.toml", MANIFEST);
    well(&project, &["reload"], "more removed", "");
    // What did not change ran on all the time.
    assert_eq!(ps(&project, "api")["pid"], before);
    end(devctl, &project);
}

#[test]
fn what_was_stopped_stays_so_and_what_was_removed_is_forgotten() {
    let project = project();
    let devctl = project.up_ready(&[]);
    well(&project, &["stop", "api"], "api stopped (exit code 0)", "");
    well(&project, &["reload"], "everything is as it should be", "");
    well(&project, &["scale", "db=2"], "db#2 started, ready in ", "ms");
    assert_eq!(ps(&project, "api")["state"], "stopped");
    // Whoever needs it gets it all the same.
    let manifest = format!("{MANIFEST}\n[services.web]\ncommand = \"sleep 600\"\ndepends_on = [\"api\"]\n");
    project.write("devctl.toml", &manifest);
    let Said { code, out, err } = say(&project, &["reload"]);
    assert!(code == Some(0) && out.contains("web started") && out.contains("api started"), "{out}{err}");

    project.write("devctl.toml", MANIFEST);
    well(&project, &["reload"], "web removed", "");
    well(&project, &["scale", "db=1"], "db#2 removed", "");
    let shown = project.printed(&["ps"]);
    assert!(!shown.contains("web") && !shown.contains("db#2"), "{shown}");
    let Said { code, out, err } = say(&project, &["wait"]);
    assert_eq!((code, out.as_str()), (Some(0), "db is ready\napi is ready\n"), "{err}");
    end(devctl, &project);
}

#[test]
fn mistakes_in_the_files_keep_nobody_from_seeing_and_ending_what_runs() {
    for broken in [Some("[services.api]\nport = \"x\"\n"), None] {
        let project = project();
        let mut devctl = project.up_ready(&[]);
        let run = devctl.run_id();
        match broken {
            Some(text) => project.write("devctl.toml", text),
            None => std::fs::remove_file(project.root().join("devctl.toml")).expect("it is there"),
        }
        assert_eq!(ps(&project, "api")["state"], "ready");
        assert_eq!(say(&project, &["reload"]).code, Some(2));
        well(&project, &["restart", "api"], "api restarted, ready in ", "ms");
        let Said { code, out, err } = say(&project, &["down"]);
        assert!(code == Some(0) && out.starts_with("stopped devctl (pid "), "{out}{err}");
        assert_eq!(devctl.wait_exit().code, Some(0));
        project.assert_nothing_left(&run);
        // With nobody to ask, the files are needed.
        assert_eq!(say(&project, &["down"]).code, Some(2));
    }
}

#[test]
fn a_project_with_a_long_path_has_its_socket_elsewhere() {
    let project = project();
    let long = "a-rather-long-name-for-a-folder/".repeat(5);
    project.write(&format!("{long}devctl.toml"), MANIFEST);
    project.script(&format!("{long}api"), API);
    let root = project.root().join(&long);
    let root = root.to_str().expect("it is ASCII");
    let mut devctl = Devctl::spawn(project.command(&["-C", root, "up", "--format", "json"]));
    project.remember(devctl.run_id());
    devctl.wait_event("stack_ready");
    let link = std::fs::read_link(project.root().join(format!("{long}.devctl/control.sock"))).expect("it is a link");
    assert_eq!(link.metadata().expect("it leads to a socket").permissions().mode() & 0o777, 0o600);
    well(&project, &["-C", root, "restart", "api"], "api restarted, ready in ", "ms");
    devctl.signal(Signal::SIGINT);
    assert_eq!(devctl.wait_exit().code, Some(0));
    assert!(!link.exists());
}

#[test]
fn a_socket_whose_devctl_was_killed_is_recognised_and_replaced() {
    let project = project();
    let devctl = project.up_ready(&[]);
    devctl.signal(Signal::SIGKILL);
    drop(devctl.wait_exit());
    let socket = project.root().join(".devctl/control.sock");
    assert!(socket.exists(), "nobody was there to remove it");
    assert_eq!(say(&project, &["restart", "api"]).code, Some(1));
    // The guardian still takes down what was left.
    until("the project is free", || {
        let said = say(&project, &["ps"]);
        if said.out.contains("nothing of this project runs") { Ok(()) } else { Err(said.out + &said.err) }
    });
    let devctl = project.up_ready(&[]);
    well(&project, &["restart", "api"], "api restarted, ready in ", "ms");
    end(devctl, &project);
    assert!(!socket.exists());
}

#[test]
fn the_use_of_a_service_is_that_of_all_its_processes() {
    let project = Project::empty();
    // The leader sleeps; the child that it waits for is busy.
    let busy = r#"command = ["sh", "-c", "sh -c 'while :; do :; done' & wait"]"#;
    project.write("devctl.toml", &MANIFEST.replace(r#"command = ["sh", "-c", "echo up; exec sleep 600"]"#, busy));
    project.script("api", API);
    let devctl = project.up_ready(&[]);
    let uses = |service: &str| {
        let text = project.printed(&["ps", "--stats", "--format", "json"]);
        let rows: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
        let row = rows.into_iter().find(|row| row["service"] == service).expect("it runs");
        (row["cpu_percent"].as_f64().expect("it is a number"), row["memory_bytes"].as_u64().expect("it is a number"))
    };
    until("the busy child is seen", || {
        let (cpu, memory) = uses("db");
        if cpu > 0.0 && memory > 100_000 { Ok(()) } else { Err(format!("{cpu} % {memory} bytes")) }
    });
    assert!(uses("api").1 > 100_000);
    let table = project.printed(&["ps", "--stats"]);
    assert!(table.contains("CPU") && table.contains("MEMORY") && table.contains(" %"), "{table}");
    end(devctl, &project);
}
