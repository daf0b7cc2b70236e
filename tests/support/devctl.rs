//! The binary under test, run with `--format json`: its events, its end, and all it said when something goes wrong.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devctl::os::process::{self, Identity, Kill, Table};
pub(crate) use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;

use super::DEADLINE;

/// How long a devctl that a failed test left running has to tidy up before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A devctl that runs. Dropped while it still runs, it is told to stop and waited for.
#[derive(Debug)]
pub(crate) struct Devctl {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<Value>,
    stdout: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
    shown: String,
}

/// A devctl that has ended: what it printed and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code as a shell would tell it: 128 + the signal's number where a signal ended it.
    pub(crate) code: Option<i32>,
    /// The signal that ended it, where it did not end by itself.
    pub(crate) killed_by: Option<i32>,
    /// Every line of standard output that is JSON, in order.
    pub(crate) events: Vec<Value>,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Devctl {
    /// Starts `command`, in a process group of its own, so that a signal for it reaches nobody else.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("cargo built the binary");
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = channel();
        let stdout = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            drop(stderr.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines, seen: Vec::new(), stdout: Some(stdout), stderr: Some(stderr), shown }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The events so far.
    pub(crate) fn events(&self) -> &[Value] {
        &self.seen
    }

    /// Waits for the first event that `wanted` accepts, among those seen already too.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(event) = self.seen.iter().find(|event| wanted(event)) {
            return event.clone();
        }
        self.wait_for_next(what, wanted)
    }

    /// Waits for the next event that `wanted` accepts, leaving out those seen already.
    #[track_caller]
    pub(crate) fn wait_for_next(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let event = parse(line);
                    self.seen.push(event.clone());
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("no {what} within {DEADLINE:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("it ended before {what}")),
            }
        }
    }

    /// Takes in what it says until `enough` accepts the events so far, it says nothing for that long, or it has ended:
    /// for whoever minds none of these.
    pub(crate) fn listen(&mut self, quiet: Duration, enough: impl Fn(&[Value]) -> bool) {
        while !enough(&self.seen) {
            let Ok(line) = self.lines.recv_timeout(quiet) else { return };
            self.seen.push(parse(line));
        }
    }

    /// Waits for an event by its name.
    #[track_caller]
    pub(crate) fn wait_event(&mut self, name: &str) -> Value {
        self.wait_for(&format!("event `{name}`"), |event| event["event"] == name)
    }

    /// Waits for an event of one node: `wait_node("ready", "db")`.
    #[track_caller]
    pub(crate) fn wait_node(&mut self, name: &str, node: &str) -> Value {
        self.wait_for(&format!("event `{name}` of `{node}`"), |event| event["event"] == name && event["node"] == node)
    }

    /// Whether an event of one node is among those that were printed up to now.
    pub(crate) fn has_node(&mut self, name: &str, node: &str) -> bool {
        self.seen.extend(self.lines.try_iter().map(parse));
        self.seen.iter().any(|event| event["event"] == name && event["node"] == node)
    }

    /// The id of the run.
    #[track_caller]
    pub(crate) fn run_id(&mut self) -> String {
        self.wait_event("run_started")["run"].as_str().expect("the run has an id").to_owned()
    }

    /// Sends a signal to devctl alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("process ids are positive");
        kill(Pid::from_raw(pid), signal).expect("devctl has not been waited for, so its id is its own");
    }

    /// The guardian of its run, as soon as there is one: `None` for the one that is to be left out.
    #[track_caller]
    pub(crate) fn guardian_but(&self, not: Option<Identity>) -> Identity {
        super::until("there is a guardian", || {
            let table = Table::snapshot();
            let mut children = table.iter().filter(|process| process.parent == self.pid() && !process.ended);
            let guardian = children.find(|child| process::command(child.id.pid) == "devctl guard");
            let guardian = guardian.map(|guardian| guardian.id).filter(|id| Some(*id) != not);
            guardian.ok_or_else(|| "there is none".to_owned())
        })
    }

    /// The guardian of its run.
    #[track_caller]
    pub(crate) fn guardian(&self) -> Identity {
        self.guardian_but(None)
    }

    /// Kills devctl alone, and waits until its guardian has done its work.
    #[track_caller]
    pub(crate) fn kill_and_wait_for_guardian(self) -> Finished {
        let guardian = self.guardian();
        self.signal(Signal::SIGKILL);
        let finished = self.wait_exit();
        gone(guardian);
        finished
    }

    /// Kills devctl and its guardian: neither of them can do anything for the other.
    #[track_caller]
    pub(crate) fn kill_with_guardian(self) -> Finished {
        // Stopped, it starts no other one.
        self.signal(Signal::SIGSTOP);
        let guardian = self.guardian();
        assert!(process::signal(guardian, Kill::Kill), "the guardian was there a moment ago");
        self.signal(Signal::SIGKILL);
        let finished = self.wait_exit();
        assert_eq!(finished.killed_by, Some(Signal::SIGKILL as i32));
        gone(guardian);
        finished
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait_exit(mut self) -> Finished {
        let end = Instant::now() + DEADLINE;
        // The end of its output comes first; a grandchild that holds it open is a finding of its own.
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(parse(line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("it has not ended within {DEADLINE:?}")),
            }
        }
        let status = self.child.wait().expect("it is our child");
        let stderr = self.stderr.take().map(JoinHandle::join).map(Result::unwrap_or_default).unwrap_or_default();
        let killed_by = status.signal();
        let code = status.code().or_else(|| killed_by.map(|signal| 128 + signal));
        Finished { code, killed_by, events: std::mem::take(&mut self.seen), stderr }
    }

    /// Fails the test with everything that devctl said.
    #[track_caller]
    fn fail(&mut self, why: &str) -> ! {
        self.end();
        let events = std::mem::take(&mut self.seen);
        let stderr = self.stderr.take().map(JoinHandle::join).map(Result::unwrap_or_default).unwrap_or_default();
        panic!("{}: {why}\n{}", self.shown, told(&events, &stderr));
    }

    /// Makes it end: politely, then by force.
    fn end(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(Signal::SIGTERM);
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(parse(line)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    drop(self.child.kill());
                    break;
                }
            }
        }
        drop(self.child.wait());
    }
}

impl Drop for Devctl {
    fn drop(&mut self) {
        self.end();
    }
}

impl Finished {
    /// Fails unless it ended with this exit code.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "another exit code was expected\n{}", told(&self.events, &self.stderr));
        self
    }

    /// The last event of that name.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> &Value {
        let found = self.events.iter().rev().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("there is no event `{name}`\n{}", told(&self.events, &self.stderr)))
    }

    /// The first event of that name, of a node where one is given.
    pub(crate) fn find(&self, name: &str, node: Option<&str>) -> Option<&Value> {
        self.events.iter().find(|event| event["event"] == name && node.is_none_or(|node| event["node"] == node))
    }

    /// Everything it said, for the message of a failed assertion.
    pub(crate) fn told(&self) -> String {
        told(&self.events, &self.stderr)
    }

    /// The receipt, which must say that nothing is left.
    #[track_caller]
    pub(crate) fn clean_receipt(&self) -> &Value {
        let receipt = self.event("receipt");
        let left = receipt["left"].as_array().expect("a receipt has a list of what is left");
        assert!(left.is_empty(), "something is left: {left:?}\n{}", told(&self.events, &self.stderr));
        receipt
    }
}

/// Waits until a process that is not our child is gone.
#[track_caller]
pub(crate) fn gone(id: Identity) {
    super::until("the process is gone", || if process::lives(id) { Err(process::command(id.pid)) } else { Ok(()) });
}

/// A line of output: an event, or text that should not be there and is kept as it is.
fn parse(line: String) -> Value {
    serde_json::from_str(&line).unwrap_or(Value::String(line))
}

fn told(events: &[Value], stderr: &str) -> String {
    let mut text = format!("--- {} lines of output\n", events.len());
    for event in events {
        writeln!(text, "{event}").expect("writing to a string cannot fail");
    }
    write!(text, "--- standard error\n{stderr}").expect("writing to a string cannot fail");
    text
}
