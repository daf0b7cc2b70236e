//! `up` and `reload` while the stack is up: what changed is made anew, and nothing else is touched.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Devctl, Events, Project, Signal, Terminal, until};
use crate::{Said, down, pid, project, row, rows, said, say, up, write};

const THREE: &str = r#"
[project]
name     = "@name@"
env_file = [".env"]

[services.db]
command = ["STUB", "lines", "up"]

[services.api]
command = ["STUB", "shell", "echo colour ${COLOUR:-none}, size ${SIZE:-none}; exec STUB lines up"]
ready   = { log = "up" }
env     = { COLOUR = "blue" }

[services.old]
command = ["STUB", "lines", "up"]
"#;

const NEW: &str = "\n[services.new]\ncommand = [\"STUB\", \"lines\", \"up\"]\n";

fn without_old(manifest: &str) -> String {
    manifest.split("\n[services.old]").next().expect("there is always a first part").to_owned()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// What the run went over to.
#[track_caller]
fn assert_applied(event: &Value, added: &[&str], changed: &[&str], removed: &[&str]) {
    let told = [&event["added"], &event["changed"], &event["removed"]].map(names);
    assert_eq!(told, [added, changed, removed], "{event}");
}

/// The last line of a service that begins so.
#[track_caller]
fn last_line(project: &Project, service: &str, begin: &str) -> String {
    let text = project.printed(&["logs", "--no-prefix", service]);
    let line = text.lines().rev().find(|line| line.starts_with(begin));
    line.unwrap_or_else(|| panic!("no line `{begin}`: {text}")).to_owned()
}

#[test]
fn up_while_up_brings_what_is_new_renews_what_changed_and_removes_what_is_gone() {
    let project = project(THREE);
    let mut events = up(&project);
    let before = [pid(&project, "db"), pid(&project, "api")];
    let again = say(&project, &["up", "-d"]).expect(0);
    assert!((again.out.clone() + &again.err).contains("runs it already, and nothing changed"), "{again:#?}");

    write(&project, &(without_old(THREE).replace("blue", "red") + NEW));
    let rehearsed = say(&project, &["up", "--dry-run"]).expect(0).out;
    for line in ["start    new", "restart  api  `COLOUR` changed", "remove   old"] {
        assert!(rehearsed.contains(line), "`{line}` is missing:\n{rehearsed}");
    }
    assert_eq!([pid(&project, "db"), pid(&project, "api")], before, "nothing was done");

    say(&project, &["up", "-d"]).expect(0);
    assert_applied(&events.next("applied"), &["new"], &["api"], &["old"]);
    let told = events.until("stack_ready");
    let renewing = told.iter().find(|event| event["event"] == "renewing").expect("it ran and is restarted");
    assert_eq!((&renewing["node"], &renewing["cause"]), (&json!("api"), &json!("`COLOUR` changed")));
    assert_eq!(pid(&project, "db"), before[0]);
    assert_ne!(pid(&project, "api"), before[1]);
    pid(&project, "new");
    assert!(rows(&project).iter().all(|row| row["service"] != "old"), "{:?}", rows(&project));
    assert_eq!(last_line(&project, "api", "colour"), "colour red, size none");
    down(&project, events);
}

#[test]
fn a_variable_of_the_shell_restarts_only_who_gets_another_value() {
    let project = project(THREE);
    let mut events = up(&project);
    let db = pid(&project, "db");
    let up_with = |colour: &str| {
        let mut command = project.command(&["up", "-d"]);
        // Nobody names the second one in a file.
        command.env("COLOUR", colour).env("UNRELATED", "yes");
        said(command).expect(0)
    };
    up_with("green");
    assert_applied(&events.next("applied"), &[], &["api"], &[]);
    events.next("stack_ready");
    assert_eq!(last_line(&project, "api", "colour"), "colour green, size none");
    let api = pid(&project, "api");
    let Said { out, err, .. } = up_with("green");
    assert!((out + &err).contains("nothing changed"));
    assert_eq!([pid(&project, "db"), pid(&project, "api")], [db, api]);
    down(&project, events);
}

#[test]
fn reload_reads_the_environment_files_again() {
    let project = project(THREE);
    let mut events = up(&project);
    let (db, old) = (pid(&project, "db"), pid(&project, "old"));
    write(&project, &THREE.replace("env     = { COLOUR = \"blue\" }", ""));
    project.write(".env", "SIZE=large\n");
    // Whoever runs the stack says so, and does nothing on its own.
    events.skip_past("a note about the files", |event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["event"] == "note" && message.contains("`devctl reload` applies it")
    });
    let Said { out, .. } = say(&project, &["reload"]).expect(0);
    assert!(out.contains("api restarted, ready in "), "{out}");
    assert_eq!(last_line(&project, "api", "colour"), "colour none, size large");
    let told = events.next("applied");
    assert!(names(&told["changed"]).contains(&"api"), "{told}");
    // The file is everybody's.
    assert_ne!([pid(&project, "db"), pid(&project, "old")], [db, old]);
    down(&project, events);
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let project = project(THREE);
    let events = up(&project);
    let before = [pid(&project, "db"), pid(&project, "api"), pid(&project, "old")];
    let stranger = TcpListener::bind(("127.0.0.1", project.port("new"))).expect("the port is the test's own");
    let taken = format!("{}{NEW}port = @port:new@\n", THREE.replace("blue", "red"));
    for (manifest, word) in [
        (taken, project.port("new").to_string()),
        (THREE.replace("{ COLOUR", "{ \"=\"") + NEW, "no name of a variable".to_owned()),
    ] {
        write(&project, &manifest);
        for verb in [&["up", "-d"][..], &["reload"]] {
            let Said { code, out, err } = say(&project, verb);
            assert!(matches!(code, Some(2 | 3)) && err.contains(&word), "{verb:?}: {code:?}\n{out}{err}");
        }
        write(&project, THREE);
        assert_eq!([pid(&project, "db"), pid(&project, "api"), pid(&project, "old")], before);
    }
    drop(stranger);
    down(&project, events);
}

#[test]
fn a_file_with_mistakes_keeps_nobody_from_looking_and_stopping() {
    let project = project(THREE);
    let events = up(&project);
    project.write("devctl.toml", "[project\n");
    let mut terminal = Terminal::start(&project, &["attach"]);
    terminal.wait_text("Ctrl+C leaves it running");
    say(&project, &["restart", "api"]).expect(0);
    terminal.wait_text("| colour");
    terminal.interrupt();
    assert_eq!(terminal.wait_exit(), Some(0));
    let refused = say(&project, &["down", "--volumes", "--yes"]);
    assert!(refused.code == Some(2) && refused.err.contains("devctl.toml"), "{refused:#?}");
    down(&project, events);
}

#[test]
fn up_at_a_terminal_while_up_shows_the_run_and_leaves_it() {
    let project = project(THREE);
    let events = up(&project);
    let shell = Terminal::shell(&project, "bash");
    shell.type_in("devctl up\n");
    shell.wait_text("Ctrl+C leaves it running");
    shell.interrupt();
    shell.wait_text("runs on");
    shell.wait_prompt();
    shell.type_in("echo the code was $?\n");
    shell.wait_text("the code was 0");
    shell.close();
    pid(&project, "api");
    down(&project, events);
}

#[test]
fn up_in_the_foreground_while_up_shows_the_run_and_leaves_it() {
    let project = project(THREE);
    let mut events = up(&project);
    write(&project, &(THREE.to_owned() + NEW));
    let mut second = Devctl::spawn(project.command(&["up", "--format", "json"]));
    second.wait_node("ready", "new");
    second.wait_event("stack_ready");
    second.signal(Signal::SIGINT);
    second.wait_exit().expect_code(0);
    assert_applied(&events.next("applied"), &["new"], &[], &[]);
    pid(&project, "new");
    // A run at a terminal is joined in the same way, and is the terminal's to end.
    down(&project, events);
    let first = project.up_ready(&[]);
    say(&project, &["up", "-d"]).expect(0);
    first.signal(Signal::SIGINT);
    first.wait_exit().expect_code(0).clean_receipt();
}

#[test]
fn named_services_add_up_and_a_stopped_one_is_started_by_up() {
    let project = project(THREE);
    say(&project, &["up", "-d", "db"]).expect(0);
    let events = Events::of(&project);
    assert_eq!(rows(&project).len(), 1);
    say(&project, &["up", "-d", "api"]).expect(0);
    pid(&project, "db");
    pid(&project, "api");
    assert_eq!(rows(&project).len(), 2);
    say(&project, &["stop", "db"]).expect(0);
    assert_eq!(row(&project, "db")["state"], "stopped");
    say(&project, &["up", "-d"]).expect(0);
    until("it runs again", || {
        let row = row(&project, "db");
        if row["state"] == "ready" { Ok(()) } else { Err(row.to_string()) }
    });
    down(&project, events);
}
