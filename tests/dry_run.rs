//! What `up` says before it does anything: the plan against what is there, what would be in its way, and that there is
//! nothing to do at all.

#![cfg(unix)]

mod support;

use std::net::TcpListener;

use support::{Project, Signal};

/// A project with one program that listens on a port once it runs.
fn project() -> Project {
    let project = Project::empty();
    let manifest = "[project]\nname = \"@name@\"\n\n[services.api]\ncommand = [\"sleep\", \"600\"]\nport = @port:api@\nready = \
                    { timeout = \"100ms\", on_timeout = \"warn\" }\n";
    project.write("devctl.toml", manifest);
    project
}

#[test]
fn a_taken_port_is_told_as_up_itself_would_tell_it() {
    let project = project();
    let free = project.printed(&["up", "--dry-run"]);
    assert!(!free.contains("would fail"), "{free}");
    let taken = TcpListener::bind(("127.0.0.1", project.port("api"))).expect("the port is this test's own");
    let plan = project.printed(&["up", "--dry-run"]);
    let refusal = project.run(&["up"]).expect_code(3).stderr;
    drop(taken);
    assert!(plan.contains("\nstart    api  does not run\n"), "{plan}");
    assert!(plan.ends_with(&format!("\n`devctl up` would fail now:\n{refusal}")), "{plan}\n{refusal}");
    assert!(refusal.contains(&format!("port {} for `api` is taken", project.port("api"))), "{refusal}");
}

#[test]
fn a_stack_that_is_up_is_told_first() {
    let project = project();
    let mut devctl = project.up(&[]);
    devctl.wait_event("stack_ready");
    let plan = project.printed(&["up", "--dry-run"]);
    // Nothing changes, and nobody is ready by being asked again: the service is as late as it was.
    let again = project.run(&["up", "-d"]).expect_code(4).stderr;
    let pid = devctl.pid();
    let run = devctl.run_id();
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0);
    let lines: Vec<&str> = plan.lines().collect();
    let [first, "`devctl up` would change nothing"] = lines[..] else { panic!("{plan}") };
    assert!(first.ends_with(&format!(" is up (devctl, pid {pid})")), "{plan}");
    let unchanged = format!("devctl (pid {pid}) runs it already, and nothing changed\nerror: not ready: api\n");
    assert!(again.starts_with(&unchanged), "{again}");
    project.assert_nothing_left(&run);
}

#[test]
fn nothing_to_run_is_a_mistake_and_leaves_no_trace() {
    let project = Project::empty();
    project.write("devctl.toml", "");
    for args in [&["up"][..], &["up", "--dry-run"]] {
        let refusal = project.run(args).expect_code(2).stderr;
        assert!(refusal.starts_with("error: there is nothing to run\n"), "{refusal}");
        assert!(refusal.contains("[services.api]"), "{refusal}");
        assert!(!project.root().join(".devctl").exists());
    }
    project.write("devctl.toml", "[project]\nname = \"@name@\"\n[containers]\ncompose = \"c.yml\"\n");
    project.write("c.yml", "name: @name@\nservices: { a: { image: redis, profiles: [extra] } }\n");
    let refusal = project.run(&["up"]).expect_code(2).stderr;
    assert!(refusal.contains("hint: ask for one: `devctl up --profile extra`"), "{refusal}");
}

#[test]
fn short_secrets_are_a_warning() {
    let project = project();
    project.write("app/.env", "JWT_SECRET=hunter2\n");
    let manifest = "[project]\nname = \"@name@\"\nenv_file = [\"app/.env\"]\n\n[services.api]\ncommand = [\"true\"]\n";
    project.write("devctl.toml", manifest);
    let finished = project.run(&["up", "--format", "json"]);
    let warning = finished.event("warning");
    let message = warning["message"].as_str().expect("a warning has a message");
    assert!(message.starts_with("`JWT_SECRET` in app/.env has 7 characters"), "{message}");
    assert!(!finished.told().contains("hunter2"), "{}", finished.told());
}
