//! `up -d`: when it comes back, with what exit code and which words, and what ends the run and what does not.

use std::net::TcpListener;

use crate::support::{Devctl, Events, Project, Signal, Terminal, until};
use crate::{Said, answer, assert_gone, down, pid, project, row, run_id, say, up};

const SERVER: &str = r#"
[project]
name = "@name@"

[services.api]
command = ["STUB", "serve", "@port:api@"]
port    = @port:api@
ready   = { http = "/" }
"#;

/// It is ready when the test makes the file `go`.
const GATED: &str = r#"
[project]
name = "@name@"

[services.api]
command = ["STUB", "shell", "until test -e go; do sleep 0.02; done; echo open; exec STUB lines up"]
ready   = { log = "open", timeout = "2m" }
"#;

fn session(pid: u32) -> Option<u32> {
    devctl::os::process::look(pid).map(|process| process.session)
}

#[track_caller]
fn supervisor(project: &Project) -> u32 {
    let text = std::fs::read_to_string(project.root().join(".devctl/run.json")).expect("there is a record");
    let record: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    u32::try_from(record["pid"].as_u64().expect("it has a pid")).expect("it is a process")
}

#[test]
fn it_comes_back_when_all_is_ready_and_leaves_a_supervisor_in_a_session_of_its_own() {
    let project = project(SERVER);
    let Said { out, err, .. } = say(&project, &["up", "-d"]).expect(0);
    for word in ["api", &format!("http://localhost:{}", project.port("api")), "everything is ready in"] {
        assert!(out.contains(word), "`{word}` is missing:\n{out}{err}");
    }
    assert_eq!(answer(project.port("api")), "ok");
    let supervisor = supervisor(&project);
    assert_eq!(session(supervisor), Some(supervisor));
    let mut events = Events::of(&project);
    project.remember(run_id(&mut events));
    down(&project, events);
}

#[test]
fn its_events_are_those_of_the_foreground() {
    let project = project(SERVER);
    let behind = project.run(&["up", "-d", "--format", "json"]).expect_code(0);
    say(&project, &["down"]).expect(0);
    let mut front = project.up_ready(&[]);
    front.wait_event("stack_ready");
    let names = |events: &[serde_json::Value]| {
        // What a service prints and what a probe finds is a matter of moments.
        let of_run =
            |event: &&serde_json::Value| !["log", "probing"].map(serde_json::Value::from).contains(&event["event"]);
        events.iter().filter(of_run).map(|event| format!("{} {}", event["event"], event["node"])).collect::<Vec<_>>()
    };
    assert_eq!(names(&behind.events), names(front.events()));
    front.signal(Signal::SIGINT);
    front.wait_exit().expect_code(0);
    assert_gone(&project);
}

#[test]
fn what_fails_is_stopped_again_and_told() {
    let manifest =
        format!("{SERVER}\n[services.worker]\ncommand = [\"STUB\", \"exit\", \"3\"]\nready = {{ log = \"up\" }}\n");
    let project = project(&manifest);
    let Said { out, err, .. } = say(&project, &["up", "-d"]).expect(1);
    let text = out + &err;
    for word in ["worker", "exit code 3"] {
        assert!(text.contains(word), "`{word}` is missing:\n{text}");
    }
    assert_gone(&project);
}

#[test]
fn what_is_late_is_left_running_or_stopped_as_the_manifest_says() {
    let manifest = |on_timeout| {
        format!(
            "{SERVER}\n[services.worker]\ncommand = [\"STUB\", \"lines\", \"nothing\"]\n\
             ready = {{ log = \"never\", timeout = \"300ms\", on_timeout = \"{on_timeout}\" }}\n"
        )
    };
    let late = project(&manifest("warn"));
    let Said { out, err, .. } = say(&late, &["up", "-d"]).expect(4);
    assert!((out.clone() + &err).contains("`worker` was not ready within 0.3 s"), "{out}{err}");
    assert_eq!(row(&late, "worker")["state"], "late");
    assert_eq!(row(&late, "api")["state"], "ready");
    let events = Events::of(&late);
    down(&late, events);

    let failed = project(&manifest("fail"));
    say(&failed, &["up", "-d"]).expect(4);
    assert_gone(&failed);
}

#[test]
fn without_a_wait_it_comes_back_at_once() {
    let project = project(GATED);
    let Said { out, .. } = say(&project, &["up", "-d", "--no-wait"]).expect(0);
    let supervisor = supervisor(&project);
    assert!(out.starts_with(&format!("devctl (pid {supervisor}) brings the stack up")), "{out}");
    let mut events = Events::of(&project);
    project.remember(run_id(&mut events));
    assert_ne!(row(&project, "api")["state"], "ready");
    project.write("go", "");
    say(&project, &["wait", "--timeout", "2m"]).expect(0);
    assert_eq!(row(&project, "api")["state"], "ready");
    down(&project, events);
}

#[test]
fn what_is_wrong_before_anything_starts_is_told_in_the_words_of_the_foreground() {
    let taken = project(SERVER);
    let _stranger = TcpListener::bind(("127.0.0.1", taken.port("api"))).expect("the port is the test's own");
    let broken = project(&SERVER.replace("port    =", "prot    ="));
    let nothing = project("[project]\nname = \"@name@\"\n");
    for (project, code, word) in [
        (&taken, 3, taken.port("api").to_string()),
        (&broken, 2, "prot".to_owned()),
        (&nothing, 2, "devctl".to_owned()),
    ] {
        let front = say(project, &["up"]).expect(code);
        let behind = say(project, &["up", "-d"]).expect(code);
        assert!(front.err.contains(&word), "{}", front.err);
        assert_eq!(front.err, behind.err);
        assert_eq!(behind.out, "", "nothing began");
        let left = project.processes();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn ctrl_c_before_it_is_up_takes_it_down() {
    let project = project(GATED);
    let mut devctl = Devctl::spawn(project.command(&["up", "-d", "--format", "json"]));
    project.remember(devctl.run_id());
    devctl.wait_node("started", "api");
    devctl.signal(Signal::SIGINT);
    let finished = devctl.wait_exit().expect_code(130);
    finished.clean_receipt();
    assert_gone(&project);
}

#[test]
fn a_terminal_that_is_closed_ends_the_waiting_and_not_the_run() {
    let project = project(GATED);
    let terminal = Terminal::shell(&project, "bash");
    terminal.type_in("devctl up -d\n");
    terminal.wait_text("probing");
    terminal.close();
    let mut events = Events::of(&project);
    project.remember(run_id(&mut events));
    project.write("go", "");
    events.next("stack_ready");
    assert_eq!(row(&project, "api")["state"], "ready");
    down(&project, events);
}

#[test]
fn what_is_left_in_the_background_outlives_its_terminal_and_is_shown_by_attach() {
    let project = project(SERVER);
    let shell = Terminal::shell(&project, "bash");
    shell.type_in("devctl up -d\n");
    shell.wait_text("Ready in");
    shell.wait_prompt();
    shell.close();
    let api = pid(&project, "api");

    let mut terminal = Terminal::start(&project, &["attach"]);
    let screen = terminal.wait_text("Ctrl+C leaves it running");
    assert!(
        screen.contains(&format!("pid {api}")) && screen.contains(&format!("http://localhost:{}", project.port("api"))),
        "{screen}"
    );
    // What is printed and what happens from now on is seen too.
    say(&project, &["restart", "api"]).expect(0);
    terminal.wait_text("| listening");
    terminal.interrupt();
    terminal.wait_text("runs on");
    assert_eq!(terminal.wait_exit(), Some(0));
    assert_ne!(pid(&project, "api"), api);
    let mut events = Events::of(&project);
    project.remember(run_id(&mut events));
    down(&project, events);
}

#[test]
fn attach_ends_with_the_run_and_needs_one() {
    let project = project(SERVER);
    let nobody = say(&project, &["attach"]);
    assert!(nobody.code == Some(1) && nobody.err.contains("nothing of this project runs"), "{nobody:#?}");
    let events = up(&project);
    let mut attached = Devctl::spawn(project.command(&["attach", "--format", "json"]));
    until("it is attached", || {
        say(&project, &["restart", "api"]).expect(0);
        if attached.has_node("ready", "api") { Ok(()) } else { Err("it has seen no restart".to_owned()) }
    });
    down(&project, events);
    attached.wait_exit().expect_code(0).event("finished");
}

#[test]
fn a_supervisor_that_is_killed_meanwhile_is_told_of() {
    let project = project(GATED);
    let mut devctl = Devctl::spawn(project.command(&["up", "-d", "--format", "json"]));
    project.remember(devctl.run_id());
    devctl.wait_node("started", "api");
    let supervisor = devctl::os::process::look(supervisor(&project)).expect("it runs");
    assert!(devctl::os::process::signal(supervisor.id, devctl::os::process::Kill::Kill));
    let finished = devctl.wait_exit().expect_code(1);
    assert!(finished.stderr.contains("ended without a word"), "{}", finished.told());
    until("its guardian has done its work", || {
        let left = project.left_of("none");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}
