//! Supervision against real processes that misbehave: nothing is left, nothing hangs, nothing is lost.
//!
//! The children are `examples/stub.rs`. Every wait is for an event; its limit of time only turns a hang into a failure.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "supervision/builds.rs"]
mod builds;
#[path = "supervision/ends.rs"]
mod ends;
#[path = "supervision/sockets.rs"]
mod sockets;
#[path = "supervision/starts.rs"]
mod starts;
#[path = "supervision/terminals.rs"]
mod terminals;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use devctl::driver::process::{Launch, Processes, Program, Spec, StopSignal};
use devctl::driver::{Control, Running, StartContext};
use devctl::event::{Action, Exit, Handle};
use devctl::logs::{Delivery, Hub, Subscription};
use devctl::name::{NodeId, RunId, ServiceName};
use devctl::os;

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// A grace that is never used up: whoever needs it fails.
const LONG: Duration = Duration::from_secs(50);

/// The stub, built where it is not or is out of date: `cargo test --test supervision` alone builds no examples.
fn stub() -> &'static str {
    static STUB: OnceLock<String> = OnceLock::new();
    STUB.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stub.rs");
        let target = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/stub");
        let changed = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        if changed(&target) < changed(&source) {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--example", "stub"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            assert!(cargo.status().unwrap().success(), "the stub does not build");
        }
        target.to_str().unwrap().to_owned()
    })
}

/// A run of devctl with one service or several.
struct Run {
    id: RunId,
    processes: Processes,
    hub: Hub,
}

/// A service of a run.
struct Service {
    pid: u32,
    control: Arc<dyn Control>,
    exit: futures_util::future::BoxFuture<'static, Exit>,
    live: Subscription,
    lines: std::collections::VecDeque<String>,
}

impl Run {
    fn new() -> Self {
        static NEXT: Mutex<u64> = Mutex::new(0);
        let mut next = NEXT.lock().unwrap();
        *next += 1;
        let id = RunId::from_random((u64::from(std::process::id()) << 16) + *next);
        Self { processes: Processes::new(id.clone(), os::env::all()), hub: Hub::new(None), id }
    }

    fn context(&self, service: &ServiceName) -> StartContext {
        StartContext {
            node: NodeId::Service(service.clone()),
            run: self.id.clone(),
            action: Action::Create,
            existing: None,
            takeover: None,
            logs: self.hub.sink(service),
            progress: Arc::new(|_| {}),
        }
    }

    async fn service(&self, name: &str, stop_signal: StopSignal, args: &[&str]) -> Service {
        let mut argv = vec![stub().to_owned()];
        argv.extend(args.iter().map(|a| (*a).to_owned()));
        self.launch(name, launch(argv, stop_signal)).await
    }

    async fn start(&self, args: &[&str]) -> Service {
        self.service("api", StopSignal::Term, args).await
    }

    async fn launch(&self, name: &str, launch: Launch) -> Service {
        let live = self.hub.subscribe(1024);
        let cx = self.context(&name.parse().unwrap());
        let Running { handle, control, exit } = self.processes.launch(launch, &cx).await.unwrap();
        let Handle::Process { pid } = handle else { panic!("a process is a process") };
        Service { pid, control, exit, live, lines: std::collections::VecDeque::new() }
    }

    async fn spec(&self, spec: &Spec) -> Service {
        let live = self.hub.subscribe(64 * 1024);
        let cx = self.context(&spec.service);
        let Running { handle, control, exit } = self.processes.start(spec, &cx).await.unwrap();
        let Handle::Process { pid } = handle else { panic!("a process is a process") };
        Service { pid, control, exit, live, lines: std::collections::VecDeque::new() }
    }

    /// Nothing of the run is left, as the system sees it.
    fn assert_gone(&self) {
        assert_eq!(self.processes.leftovers(&self.id), Vec::<String>::new());
    }
}

impl Service {
    /// Waits for a line that begins so, and gives back the rest of it.
    async fn line(&mut self, beginning: &str) -> String {
        let wait = async {
            loop {
                // The others stay: processes of one tree speak in any order.
                let found = self.lines.iter().position(|line| line.starts_with(beginning));
                if let Some(line) = found.and_then(|at| self.lines.remove(at)) {
                    return line[beginning.len()..].to_owned();
                }
                match self.live.recv().await.expect("the logs are open") {
                    Delivery::Lines(lines) => self.lines.extend(lines.into_iter().map(|l| l.text)),
                    Delivery::Dropped(n) => panic!("{n} lines dropped"),
                }
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("no line `{beginning}…`"))
    }

    async fn sleeper(&mut self) -> u32 {
        self.line("sleeper ").await.parse().unwrap()
    }

    async fn end(self) -> Exit {
        within(self.exit).await
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("it hangs")
}

fn launch(argv: Vec<String>, stop_signal: StopSignal) -> Launch {
    Launch { argv, dir: "/".into(), env: Vec::new(), stop_signal, leader_only: false, user: None }
}

fn alive(pid: u32) -> bool {
    os::process::look(pid).is_some_and(|p| !p.ended)
}

/// A file that a process of a test writes a word into: a FIFO, so that the word is heard of and not looked for.
struct Word {
    path: PathBuf,
    receiver: tokio::net::unix::pipe::Receiver,
}

impl Word {
    fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let receiver = tokio::net::unix::pipe::OpenOptions::new().open_receiver(path).unwrap();
        Self { path: path.to_owned(), receiver }
    }

    /// All that was written, once the writer has closed it.
    async fn read(mut self) -> String {
        let mut word = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut self.receiver, &mut word).await.unwrap();
        word
    }
}

/// Waits until a process that is not our child is gone.
async fn gone(pid: u32) {
    until(|| !alive(pid)).await;
}

/// Nobody tells of processes that are not one's children; they are looked at.
async fn until(true_now: impl Fn() -> bool) {
    within(async {
        while !true_now() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

const KILLED: Exit = Exit { code: None, signal: Some(9), out_of_memory: false, lost: None };
const TERMINATED: Exit = Exit { code: None, signal: Some(15), out_of_memory: false, lost: None };

#[tokio::test]
async fn a_plain_service_stops_when_asked() {
    let run = Run::new();
    let mut service = run.start(&["lines", "up"]).await;
    service.line("up").await;
    assert_eq!(run.processes.leftovers(&run.id).len(), 1);
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
    run.assert_gone();
}

#[tokio::test]
async fn a_shell_and_what_it_waits_for_stop_together() {
    let run = Run::new();
    let mut service = run.start(&["shell", "\"$STUB\" sleeper & wait"]).await;
    let sleeper = service.sleeper().await;
    service.control.stop(LONG).await.unwrap();
    service.end().await;
    assert!(!alive(sleeper));
    run.assert_gone();
}

#[tokio::test]
async fn background_jobs_that_ignore_sigint_get_sigterm() {
    let run = Run::new();
    // A shell without a terminal starts `&` with SIGINT ignored; the shell itself dies of it at once.
    let mut service = run.service("api", StopSignal::Int, &["shell", "\"$STUB\" sleeper & wait"]).await;
    let sleeper = service.sleeper().await;
    service.control.stop(Duration::from_secs(2)).await.unwrap();
    assert_eq!(service.end().await.signal, Some(2));
    assert!(!alive(sleeper));
    run.assert_gone();
}

#[tokio::test]
async fn one_that_ignores_every_request_is_killed() {
    let run = Run::new();
    let mut service = run.start(&["stubborn"]).await;
    service.line("up").await;
    service.control.stop(LONG).await.unwrap();
    assert!(alive(service.pid));
    within(service.control.kill()).await.unwrap();
    assert_eq!(service.end().await, KILLED);
    run.assert_gone();
}

#[tokio::test]
async fn escapees_are_found_by_parent_and_by_cookie() {
    for args in [&["escape"][..], &["daemon"], &["shell", "\"$STUB\" daemon exit; \"$STUB\" lines; true"]] {
        let run = Run::new();
        let mut service = run.start(args).await;
        let sleeper = service.sleeper().await;
        assert_ne!(os::process::look(sleeper).unwrap().session, service.pid);
        service.control.stop(LONG).await.unwrap();
        service.end().await;
        assert!(!alive(sleeper), "{args:?}");
        run.assert_gone();
    }
}

#[tokio::test]
async fn a_stubborn_tree_is_killed_whole() {
    let run = Run::new();
    let script = "\"$STUB\" daemon exit; trap '' TERM; \"$STUB\" stubborn & wait";
    let mut service = run.start(&["shell", script]).await;
    let sleeper = service.sleeper().await;
    service.line("up").await;
    service.control.stop(LONG).await.unwrap();
    // The daemon listens; the shell and its job do not.
    gone(sleeper).await;
    assert!(alive(service.pid));
    within(service.control.kill()).await.unwrap();
    assert_eq!(service.end().await, KILLED);
    run.assert_gone();
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_keeps_nobody_waiting() {
    let run = Run::new();
    // The leader ends when it is told to: a sleeper that dies with it before it has said its line would prove nothing.
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("\"$STUB\" sleeper & read line < '{}'; exit 3", go.display());
    let mut service = run.start(&["shell", &script]).await;
    let sleeper = service.sleeper().await;
    std::fs::write(&go, "now\n").unwrap();
    assert_eq!(service.end().await.code, Some(3));
    assert!(!alive(sleeper), "a service ends as a whole");
    run.assert_gone();
}

#[tokio::test]
async fn one_that_outlives_its_leader_and_ignores_sigterm_is_killed_before_the_end_is_told() {
    let run = Run::new();
    let script = "\"$STUB\" stubborn & echo $!; exit 0";
    let mut service = run.start(&["shell", script]).await;
    let job: u32 = service.line("").await.parse().unwrap();
    assert_eq!(service.end().await.code, Some(0));
    assert!(!alive(job));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_that_left_no_trace_is_named_by_the_pipe_it_holds() {
    let run = Run::new();
    let mut service = run.start(&["daemon", "clean", "exit"]).await;
    let sleeper = service.sleeper().await;
    let note = service.line("devctl: background child still holds stdout (").await;
    assert_eq!(service.end().await.code, Some(0));
    assert!(alive(sleeper), "then it could be found after all");
    assert!(note.starts_with(&format!("pid {sleeper}, {} sleeper", stub())), "{note}");
    os::process::signal(os::process::look(sleeper).unwrap().id, os::process::Kill::Kill);
    gone(sleeper).await;
}

#[tokio::test]
async fn one_service_is_stopped_and_the_others_run_on() {
    let run = Run::new();
    let mut api = run.service("api", StopSignal::Term, &["daemon"]).await;
    let web = run.service("web", StopSignal::Term, &["daemon"]).await;
    // The first subscriber hears both services, the second at least its own.
    api.sleeper().await;
    api.sleeper().await;
    assert_eq!(run.processes.leftovers(&run.id).len(), 4);
    api.control.stop(LONG).await.unwrap();
    api.end().await;
    assert_eq!(run.processes.leftovers(&run.id).len(), 2, "web and its daemon");
    web.control.stop(LONG).await.unwrap();
    web.end().await;
    run.assert_gone();
}

impl Service {
    /// A process of the run that is not the leader.
    fn sleeper_of(&self, run: &Run) -> u32 {
        let left = run.processes.leftovers(&run.id);
        let pids = left.iter().map(|l| l.split(' ').nth(1).unwrap().parse().unwrap());
        pids.into_iter().find(|pid| *pid != self.pid).expect("the service has children")
    }
}

/// The stub as a service that says nothing special of itself.
fn spec(args: &[&str]) -> Spec {
    Spec {
        service: "api".parse().unwrap(),
        program: Program::Argv(vec![stub().to_owned()]),
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        dir: "/".into(),
        env: indexmap::IndexMap::new(),
        port: None,
        stop_signal: StopSignal::Term,
        pty: false,
        listen: false,
    }
}
