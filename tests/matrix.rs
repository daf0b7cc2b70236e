//! The release gate of supervision: four kinds of child, four ways to end, and nothing left in any of the sixteen.
//!
//! The peers fail here, each in its own cell. What is left is looked for from outside, by three marks that do not depend
//! on each other: the run's id in an environment, the session in which devctl started a service, and the pid that each
//! process said itself.

#![cfg(unix)]

#[path = "failures/stub.rs"]
mod stub;
mod support;

use std::process::Command;

use nix::sys::signal::killpg;
use nix::unistd::{Pid, getsid};
use serde_json::Value;
use support::{Devctl, Project, Signal, processes_of_run};

/// The kinds of child and how many processes each of them is.
const KINDS: [(&str, usize); 4] = [("plain", 1), ("grand", 2), ("setsid", 2), ("stub", 1)];

/// A child of each kind, all of whose processes have said who they are.
struct Matrix {
    project: Project,
    run: String,
    /// The processes, each with its kind.
    said: Vec<(&'static str, Pid)>,
    /// The sessions that they were seen in.
    sessions: Vec<Pid>,
}

impl Matrix {
    /// Starts one service of each kind and waits until all are ready and have said all their pids.
    fn up() -> (Self, Devctl) {
        let project = Project::empty();
        let services = KINDS.map(|(kind, _)| {
            // The stubborn one needs all the time it is given.
            let stop = if kind == "stub" { "stop = { grace = \"1s\" }\n" } else { "" };
            let command = format!("command = [\"{}\", \"kind\", {kind:?}]", stub::path().display());
            format!("[services.{kind}]\ndir = \".\"\nruntime = \"exec\"\n{command}\n{stop}")
        });
        project.write("devctl.toml", &format!("[project]\nname = \"@name@\"\n{}", services.concat()));
        let mut devctl = project.up(&[]);
        let run = devctl.run_id();
        project.remember(run.clone());
        devctl.wait_event("stack_ready");

        let expected: usize = KINDS.iter().map(|(_, count)| count).sum();
        let mut said: Vec<_> = devctl.events().iter().filter_map(pid_said).collect();
        while said.len() < expected {
            let event = devctl.wait_for_next("pid of a service", |event| pid_said(event).is_some());
            said.extend(pid_said(&event));
        }
        for (kind, count) in KINDS {
            assert_eq!(said.iter().filter(|(of, _)| *of == kind).count(), count, "{said:?}");
        }
        let mut sessions: Vec<Pid> = said.iter().map(|(_, pid)| getsid(Some(*pid)).expect("it runs")).collect();
        sessions.sort_unstable();
        sessions.dedup();
        // One for each service, and one that the child of `setsid` made for itself.
        assert_eq!(sessions.len(), KINDS.len() + 1);
        let matrix = Self { project, run, said, sessions };
        // A look that cannot find them now would find nothing left afterwards.
        let marks = matrix.left();
        for mark in ["cookie", "session", "pid"] {
            assert_eq!(marks.iter().filter(|left| left.starts_with(mark)).count(), expected, "{marks:#?}");
        }
        (matrix, devctl)
    }

    /// What is left, by each of the three marks.
    fn left(&self) -> Vec<String> {
        let cookie = processes_of_run(&self.run).into_iter();
        let cookie = cookie.map(|process| format!("cookie: {} ({})", process.pid, process.command));
        let living = living();
        let session = living.iter().filter_map(|pid| {
            let session = getsid(Some(*pid)).ok().filter(|session| self.sessions.contains(session))?;
            Some(format!("session: {pid} in {session}"))
        });
        let said = self.said.iter().filter(|(_, pid)| living.contains(pid));
        cookie.chain(session).chain(said.map(|(kind, pid)| format!("pid: {pid} of `{kind}`"))).collect()
    }
}

/// The kind and the pid, where the event is the line by which a process says who it is.
fn pid_said(event: &Value) -> Option<(&'static str, Pid)> {
    let (kind, _) = KINDS.into_iter().find(|(kind, _)| event["service"] == *kind)?;
    let pid = event["line"].as_str()?.strip_prefix("pid ")?;
    Some((kind, Pid::from_raw(pid.parse().expect("a pid is a number"))))
}

/// All processes but those that have ended and wait for a parent to hear of it.
fn living() -> Vec<Pid> {
    let listed = Command::new("ps").args(["-ax", "-o", "pid=,stat="]).output().expect("every Unix has ps");
    let listed = String::from_utf8(listed.stdout).expect("numbers and letters");
    let process = |line: &str| {
        let (pid, state) = line.trim().split_once(char::is_whitespace)?;
        (!state.trim().starts_with('Z')).then(|| Pid::from_raw(pid.parse().expect("ps was asked for pids")))
    };
    listed.lines().filter_map(process).collect()
}

/// devctl was told by signals to end: the moment it has, nothing is left.
fn nothing_is_left(matrix: &Matrix, devctl: Devctl) {
    let finished = devctl.wait_exit();
    let left = matrix.left();
    assert!(left.is_empty(), "left: {left:#?}\n{}", finished.told());
    let finished = finished.expect_code(0);
    finished.clean_receipt();
    assert!(finished.find("killing", Some("stub")).is_some(), "nothing else ends it\n{}", finished.told());
    matrix.project.assert_nothing_left(&matrix.run);
}

/// Ctrl+C: the terminal signals whoever is in the foreground.
fn interrupt(devctl: &Devctl) {
    let group = Pid::from_raw(i32::try_from(devctl.pid()).expect("process ids are small"));
    killpg(group, Signal::SIGINT).expect("the harness gives each devctl a group of its own");
}

#[test]
fn one_sigterm_leaves_nothing() {
    let (matrix, devctl) = Matrix::up();
    devctl.signal(Signal::SIGTERM);
    nothing_is_left(&matrix, devctl);
}

#[test]
fn one_ctrl_c_leaves_nothing() {
    let (matrix, devctl) = Matrix::up();
    interrupt(&devctl);
    nothing_is_left(&matrix, devctl);
}

#[test]
fn two_ctrl_c_leave_nothing() {
    let (matrix, mut devctl) = Matrix::up();
    interrupt(&devctl);
    // The first was heard: a second that comes before would be the same signal to the kernel.
    devctl.wait_event("stack_stopping");
    interrupt(&devctl);
    nothing_is_left(&matrix, devctl);
}

#[test]
fn a_devctl_that_is_killed_leaves_nothing() {
    let (matrix, devctl) = Matrix::up();
    let finished = devctl.kill_and_wait_for_guardian();
    assert_eq!(finished.killed_by, Some(Signal::SIGKILL as i32), "{}", finished.told());
    let left = matrix.left();
    assert!(left.is_empty(), "left: {left:#?}\n{}", finished.told());
    matrix.project.assert_nothing_left(&matrix.run);
}
