//! Supervision against real processes that misbehave: nothing is left, nothing hangs, nothing is lost.
//!
//! The children are `examples/stub.rs`. Every wait is for an event; its limit of time only turns a hang into a failure.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use devctl::advice::Advice;
use devctl::driver::process::{BuildSpec, Error, Launch, Processes, Program, Runtime, Spec, StopSignal};
use devctl::driver::{Control, Listener, Running, StartContext};
use devctl::event::{Action, Exit, Handle, Progress};
use devctl::logs::{Delivery, Hub, Subscription};
use devctl::name::{NodeId, RunId, ServiceName};
use devctl::os;
use futures_util::FutureExt as _;

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

#[tokio::test]
async fn letting_go_of_a_service_kills_it() {
    for poll_first in [false, true] {
        let run = Run::new();
        let mut service = run.start(&["shell", "\"$STUB\" daemon exit; \"$STUB\" stubborn"]).await;
        service.line("up").await;
        let pids = [service.pid, service.sleeper_of(&run)];
        let mut exit = service.exit;
        if poll_first {
            assert!(futures_util::poll!(&mut exit).is_pending());
        }
        drop(exit);
        for pid in pids {
            gone(pid).await;
        }
        run.assert_gone();
    }
}

impl Service {
    /// A process of the run that is not the leader.
    fn sleeper_of(&self, run: &Run) -> u32 {
        let left = run.processes.leftovers(&run.id);
        let pids = left.iter().map(|l| l.split(' ').nth(1).unwrap().parse().unwrap());
        pids.into_iter().find(|pid| *pid != self.pid).expect("the service has children")
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_child() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let argv = vec![stub().to_owned(), "stubborn".to_owned()];
    {
        let mut start = Box::pin(run.processes.launch(launch(argv, StopSignal::Term), &cx));
        // The child is on order now. On a lucky machine it is made already: then it is let go of with its end.
        let _ = futures_util::poll!(&mut start);
    }
    // Children are made one after the other: when this one runs, the fate of the first is decided.
    let mut next = run.service("next", StopSignal::Term, &["lines", "up"]).await;
    next.line("up").await;
    until(|| run.processes.leftovers(&run.id).len() <= 1).await;
    assert!(alive(next.pid));
    next.control.stop(LONG).await.unwrap();
    next.end().await;
    run.assert_gone();
}

#[tokio::test]
async fn a_last_line_without_its_end_is_a_line() {
    let run = Run::new();
    let service = run.start(&["partial", "no newline"]).await;
    assert_eq!(service.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 9);
    assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["no newline"]);
}

#[tokio::test]
async fn the_exit_code_is_told() {
    let run = Run::new();
    assert_eq!(run.start(&["exit", "42"]).await.end().await.code, Some(42));
}

#[tokio::test]
async fn one_that_takes_its_time_to_end_is_given_it() {
    let run = Run::new();
    let mut service = run.start(&["slow", "0", "300"]).await;
    service.line("up").await;
    service.control.stop(LONG).await.unwrap();
    service.line("bye").await;
    assert_eq!(service.end().await.code, Some(0), "nobody hurried it");
    run.assert_gone();
}

#[tokio::test]
async fn one_that_closes_its_outputs_is_still_a_service() {
    let run = Run::new();
    let service = run.start(&["mute"]).await;
    let pid = service.pid;
    // Linux tells which files a process has open.
    #[cfg(target_os = "linux")]
    until(|| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() <= 1).await;
    assert!(alive(pid));
    assert_eq!(run.processes.leftovers(&run.id).len(), 1);
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
    run.assert_gone();
}

#[tokio::test]
async fn bytes_that_are_no_text_become_lines_and_hold_nobody_up() {
    let run = Run::new();
    let service = run.start(&["binary", "1000000"]).await;
    assert_eq!(service.end().await.code, Some(0));
    assert!(!run.hub.tail(&"api".parse().unwrap(), 1).is_empty());
}

#[tokio::test]
async fn one_that_crashes_at_a_request_has_answered_it() {
    let run = Run::new();
    let port = "22212";
    let mut service = run.start(&["serve", port, "2"]).await;
    service.line("listening").await;
    for _ in 0..2 {
        let answer = within(reqwest::get(format!("http://127.0.0.1:{port}/"))).await.unwrap();
        assert_eq!(within(answer.text()).await.unwrap(), "ok");
    }
    assert_eq!(service.end().await.code, Some(3));
    let service = run.start(&["crash", "7", "20"]).await;
    assert_eq!(service.end().await.code, Some(7));
}

#[tokio::test]
async fn one_that_eats_memory_ends_when_it_is_told_to() {
    let run = Run::new();
    let mut service = run.start(&["eat", "64"]).await;
    service.line("full").await;
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
}

/// 200 MB, which are 2,000,000 lines, through a supervisor of its own, as memory is counted per process. A subscriber
/// that never reads is attached.
#[test]
fn a_flood_is_kept_whole_in_flat_memory() {
    let logs = tempfile::tempdir().unwrap();
    let bytes = 200_000_000;
    let output = Command::new(stub())
        .args(["supervise", logs.path().to_str().unwrap(), "flood", &bytes.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let file = std::fs::File::open(logs.path().join("stub.log")).unwrap();
    let mut expected = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.unwrap();
        // A mark of devctl's own: which process it is.
        if line[28] == b'S' {
            continue;
        }
        // `2026-11-20T08:00:00.123456Z O 000000000 xxx…`
        let number: u64 = std::str::from_utf8(&line[30..39]).unwrap().parse().unwrap();
        assert_eq!((number, line.len()), (expected, 30 + 99));
        expected += 1;
    }
    assert_eq!(expected, 2_000_000);
    if cfg!(target_os = "linux") {
        let peak: u64 = said.lines().find_map(|l| l.strip_prefix("peak ")).unwrap().parse().unwrap();
        assert!(peak < 48 * 1024, "the supervisor grew to {peak} KiB");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn services_hear_of_it_when_devctl_is_killed() {
    let logs = tempfile::tempdir().unwrap();
    let mut devctl = Command::new(stub())
        .args(["supervise", logs.path().to_str().unwrap(), "lines", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(devctl.stdout.take().unwrap()).lines();
    let leader = said.next().unwrap().unwrap().strip_prefix("leader ").unwrap().parse().unwrap();
    assert!(alive(leader));
    devctl.kill().unwrap();
    devctl.wait().unwrap();
    gone(leader).await;
}

#[test]
fn every_signal_is_told_by_its_name() {
    for signals in [["TERM", "INT", "HUP"], ["INT", "INT", "INT"]] {
        let mut devctl =
            Command::new(stub()).arg("signals").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(devctl.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(said.next().as_deref(), Some("up"));
        for signal in signals {
            let kill = Command::new("kill").args(["-s", signal, &devctl.id().to_string()]).status().unwrap();
            assert!(kill.success());
            assert_eq!(said.next().unwrap().to_uppercase(), signal);
        }
        assert!(devctl.wait().unwrap().success());
    }
}

#[test]
fn of_two_quick_signals_none_is_lost() {
    let mut devctl = Command::new(stub()).arg("signals").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(devctl.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("up"));
    let id = devctl.id();
    // One shell, so that they come within microseconds; different ones, as the kernel itself merges equal ones.
    assert!(
        Command::new("sh").arg("-c").arg(format!("kill -s INT {id}; kill -s TERM {id}")).status().unwrap().success()
    );
    let mut both = [said.next().unwrap(), said.next().unwrap()];
    both.sort();
    assert_eq!(both, ["Int", "Term"]);
    devctl.kill().unwrap();
    devctl.wait().unwrap();
}

#[tokio::test]
async fn a_listener_is_ours_a_strangers_or_nobodys() {
    let run = Run::new();
    let port = "23011";
    let mut api = run.service("api", StopSignal::Term, &["shell", "\"$STUB\" lines idle"]).await;
    api.line("idle").await;
    assert_eq!(api.control.listener(23011), Listener::Nobody);
    let mut web = run.service("web", StopSignal::Term, &["shell", &format!("\"$STUB\" listen {port}; true")]).await;
    web.line("listening").await;
    assert_eq!(web.control.listener(23011), Listener::Ours);
    let Listener::Stranger(who) = api.control.listener(23011) else { panic!("web is a stranger to api") };
    assert!(who.contains("stub listen 23011") && who.starts_with("pid "), "{who}");
    for service in [api, web] {
        service.control.stop(LONG).await.unwrap();
        service.end().await;
    }
}

#[tokio::test]
async fn a_probe_command_runs_where_the_service_runs() {
    let run = Run::new();
    let dir = tempfile::tempdir().unwrap();
    let mut launch = launch(vec![stub().to_owned(), "lines".to_owned(), "up".to_owned()], StopSignal::Term);
    launch.dir = dir.path().canonicalize().unwrap();
    launch.env.push(("PROBED".to_owned(), "yes".to_owned()));
    let mut service = run.launch("api", launch.clone()).await;
    service.line("up").await;
    let sh = |script: &str| service.control.exec(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]);

    let output = within(sh("pwd; echo $PROBED $DEVCTL_SERVICE >&2; exit 7")).await.unwrap();
    assert_eq!(output.code, 7);
    let mut lines: Vec<&str> = output.output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [launch.dir.to_str().unwrap(), "yes api"]);

    assert_eq!(within(sh("kill -9 $$")).await.unwrap().code, 137);
    let long = within(sh("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done")).await.unwrap();
    assert!(long.output.len() == 4096 && long.output.ends_with("1999\n"));
    let held = within(sh(&format!("{} sleeper & exit 0", stub()))).await.unwrap();
    assert_eq!(held.code, 0);

    // A probe that hangs is dropped by its time limit, and dies of it.
    let mark = Word::new(&dir.path().join("pid"));
    let hanging = sh(&format!("echo $$ > {}; sleep 1000", mark.path.display()));
    let pid: u32 = tokio::select! {
        _ = hanging => panic!("it does not hang"),
        word = within(mark.read()) => word.trim().parse().unwrap(),
    };
    gone(pid).await;
    assert!(alive(service.pid));
    service.control.stop(LONG).await.unwrap();
    service.end().await;
    run.assert_gone();
}

#[tokio::test]
async fn a_child_whose_order_is_given_up_on_the_way_is_killed() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let argv = [stub(), "sleeper"].map(str::to_owned).to_vec();
    // Asked once and never again: the child is made, and the answer is not read.
    let start = loop {
        let mut start = Box::pin(run.processes.launch(launch(argv.clone(), StopSignal::Term), &cx));
        match start.as_mut().now_or_never() {
            None => break start,
            // Made while it was asked for: that one was not on its way, and is killed with its handle.
            Some(made) => drop(made.unwrap()),
        }
        until(|| run.processes.leftovers(&run.id).is_empty()).await;
    };
    until(|| !run.processes.leftovers(&run.id).is_empty()).await;
    drop(start);
    until(|| run.processes.leftovers(&run.id).is_empty()).await;
}

#[tokio::test]
async fn children_carry_the_cookies_and_nothing_of_cargos() {
    assert!(os::env::all().contains_key("CARGO_PKG_NAME"), "tests are started by cargo");
    let run = Run::new();
    let service =
        run.start(&["shell", "env | grep -E '^(DEVCTL_(RUN|SERVICE)|CARGO_PKG|CARGO_MANIFEST)' | sort"]).await;
    assert_eq!(service.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    let lines: Vec<&str> = tail.iter().map(|l| l.text.as_str()).collect();
    assert_eq!(lines, [format!("DEVCTL_RUN={}", run.id).as_str(), "DEVCTL_SERVICE=api"]);
}

#[tokio::test]
async fn a_child_gets_signals_terminal_and_files_of_its_own() {
    let run = Run::new();
    let _open = std::fs::File::open("/").unwrap();
    let script = "ps -o sid=,pgid= -p $$ | tr -s ' '; read line || echo no input; ls /proc/self/fd 2>/dev/null | wc -w";
    let service = run.start(&["shell", script]).await;
    let pid = service.pid;
    service.end().await;
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    let lines: Vec<&str> = tail.iter().map(|l| l.text.trim()).collect();
    assert_eq!(lines[..2], [format!("{pid} {pid}").as_str(), "no input"]);
    if cfg!(target_os = "linux") {
        // Standard files and the one that `ls` itself reads.
        assert_eq!(lines[2], "4");
    }
}

#[tokio::test]
async fn root_can_run_a_child_as_somebody_else() {
    if !nix::unistd::Uid::effective().is_root() {
        // Not by `eprintln!`: the test runner would swallow it.
        drop(writeln!(std::io::stderr(), "SKIPPED: only root can change its user"));
        return;
    }
    let run = Run::new();
    let argv = ["sh", "-c", "id -u; id -G; kill -TERM $$"].map(str::to_owned).to_vec();
    let service = run.launch("db", Launch { user: Some((65534, 65533)), ..launch(argv, StopSignal::Term) }).await;
    assert_eq!(service.end().await, TERMINATED);
    let tail = run.hub.tail(&"db".parse().unwrap(), 99);
    assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["65534", "65533"]);
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let refuse = async |argv: &[&str], dir: &str| {
        let argv = argv.iter().map(|a| (*a).to_owned()).collect();
        let launch = Launch { dir: dir.into(), ..launch(argv, StopSignal::Term) };
        match run.processes.launch(launch, &cx).await {
            Ok(_) => panic!("it runs"),
            Err(e) => e,
        }
    };
    assert!(matches!(refuse(&[], "/").await, Error::Empty { .. }));
    assert!(matches!(refuse(&["no-such-program-here"], "/").await, Error::NotInPath { .. }));
    assert!(matches!(refuse(&["sh"], "/no/such/folder").await, Error::FolderMissing { .. }));
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = refuse(&["./script"], dir.path().to_str().unwrap()).await;
    assert!(matches!(error, Error::InterpreterMissing { .. }), "{error:?}");
    assert_eq!(error.hints().len(), 1);
    let spec = Spec {
        service: "api".parse().unwrap(),
        program: Program::Built,
        args: Vec::new(),
        dir: "/".into(),
        env: indexmap::IndexMap::new(),
        port: None,
        stop_signal: StopSignal::Term,
        pty: false,
        listen: false,
    };
    assert!(matches!(run.processes.start(&spec, &cx).await, Err(Error::NotBuilt { .. })));
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

/// A service that runs in a terminal of its own.
async fn in_terminal(run: &Run, args: &[&str]) -> Service {
    run.spec(&Spec { pty: true, ..spec(args) }).await
}

/// A service that is given the socket of a port.
fn listening(port: u16, args: &[&str]) -> Spec {
    Spec { port: Some(port), listen: true, ..spec(args) }
}

#[tokio::test]
async fn a_service_that_insists_on_a_terminal_has_one() {
    let run = Run::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo three; stty size; stty -a | grep -o -- '[ ]-echo '; \
                  [ -n \"$TERM\" ] && echo term; echo controlling >/dev/tty; echo error >&2; ps -o sid= -p $$ | tr -d ' '";
    let service = in_terminal(&run, &["shell", script]).await;
    let pid = service.pid;
    assert_eq!(service.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    let lines: Vec<&str> = tail.iter().map(|l| l.text.trim()).collect();
    assert_eq!(lines, ["three", "40 120", "-echo", "term", "controlling", "error", &pid.to_string()]);
    assert!(tail.iter().all(|line| line.stream == devctl::logs::Stream::Stdout && !line.text.ends_with('\r')));
    run.assert_gone();
}

#[tokio::test]
async fn without_being_asked_for_there_is_no_terminal() {
    let run = Run::new();
    let script = "test -t 0 || test -t 1 || test -t 2 || echo none; (echo x >/dev/tty) 2>/dev/null || echo nor another";
    assert_eq!(run.start(&["shell", script]).await.end().await.code, Some(0));
    let tail = run.hub.tail(&"api".parse().unwrap(), 99);
    assert_eq!(tail.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["none", "nor another"]);
}

#[tokio::test]
async fn a_service_in_a_terminal_stops_when_asked_with_all_it_started() {
    let run = Run::new();
    let mut service = in_terminal(&run, &["shell", "\"$STUB\" sleeper & wait"]).await;
    let sleeper = service.sleeper().await;
    service.control.stop(LONG).await.unwrap();
    assert_eq!(service.end().await, TERMINATED);
    assert!(!alive(sleeper));
    run.assert_gone();
}

#[tokio::test]
async fn one_in_a_terminal_that_ignores_every_request_is_killed() {
    let run = Run::new();
    let mut service = in_terminal(&run, &["stubborn"]).await;
    service.line("up").await;
    service.control.stop(LONG).await.unwrap();
    service.control.kill().await.unwrap();
    assert_eq!(service.end().await, KILLED);
    run.assert_gone();
}

#[tokio::test]
async fn everything_written_to_a_terminal_arrives() {
    let run = Run::new();
    let mut service = in_terminal(&run, &["flood", "2000000"]).await;
    let mut next = 0;
    let all = async {
        while next < 20_000 {
            let Delivery::Lines(lines) = service.live.recv().await.unwrap() else {
                panic!("the queue is large enough")
            };
            for line in lines {
                assert_eq!((&line.text[..9], line.text.len()), (format!("{next:09}").as_str(), 99));
                next += 1;
            }
        }
    };
    within(all).await;
    assert_eq!(service.end().await.code, Some(0));
}

#[tokio::test]
async fn a_socket_is_handed_over_as_systemd_hands_it_over() {
    let run = Run::new();
    let script = "echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID - $$)); ls -l /proc/self/fd | grep -c socket; \
                  ls /proc/self/fd | wc -w";
    let mut service = run.spec(&listening(21801, &["shell", script])).await;
    service.line("1 api 0").await;
    if cfg!(target_os = "linux") {
        service.line("1").await;
        // Standard files, the socket and the one that `ls` itself reads.
        service.line("5").await;
    }
    service.end().await;

    // Somebody else's children get nothing of it, and no word of it either.
    let service = run.start(&["shell", "env | grep -c LISTEN_"]).await;
    service.end().await;
    assert_eq!(run.hub.tail(&"api".parse().unwrap(), 1)[0].text, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_refuses_no_connection() {
    let run = Run::new();
    let spec = listening(21802, &["inherit"]);
    let service = run.spec(&spec).await;
    // Every answer that a client got: the id of the process that took its connection.
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let (end, ended) = tokio::sync::watch::channel(false);
    let clients = tokio::spawn(async move {
        let mut clients = tokio::task::JoinSet::new();
        while !*ended.borrow() {
            let answers = answers.clone();
            clients.spawn(async move {
                let answer = async {
                    let mut stream = tokio::net::TcpStream::connect("127.0.0.1:21802").await?;
                    let mut answer = String::new();
                    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await?;
                    std::io::Result::Ok(answer)
                };
                answers.send(answer.await.map_err(|e| e.to_string())).unwrap();
            });
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        clients.join_all().await;
    });
    let mut service = service;
    for life in 1..=5 {
        service.line("inherited 1 api").await;
        let pid = service.pid.to_string();
        let here = async {
            loop {
                match answered.recv().await.unwrap() {
                    Ok(answer) if answer == pid => break,
                    // A client of the life before, whose answer was still on its way.
                    Ok(answer) => assert!(answer.parse::<u32>().is_ok(), "a connection of life {life} was dropped"),
                    Err(error) => panic!("life {life}: {error}"),
                }
            }
        };
        within(here).await;
        service.control.stop(LONG).await.unwrap();
        assert_eq!(service.end().await.code, Some(0));
        service = run.spec(&spec).await;
    }
    service.line("inherited 1 api").await;
    end.send(true).unwrap();
    within(clients).await.unwrap();
    while let Some(answer) = answered.recv().await {
        assert!(answer.is_ok_and(|answer| answer.parse::<u32>().is_ok()), "a connection was refused or dropped");
    }
    service.control.stop(LONG).await.unwrap();
    service.end().await;

    // Kept between two lives, given back when the service goes for good.
    assert!(!os::ports::is_free([127, 0, 0, 1].into(), 21802));
    run.processes.release(&"api".parse().unwrap());
    assert!(os::ports::is_free([127, 0, 0, 1].into(), 21802));
}

#[tokio::test]
async fn a_socket_that_devctl_holds_makes_no_service_ready() {
    let run = Run::new();
    let tcp = devctl::probe::Spec::Tcp { host: "127.0.0.1".to_owned(), port: 21803 };
    let context = |control: &Arc<dyn Control>| devctl::probe::Context {
        service: "api".parse().unwrap(),
        control: Some(Arc::clone(control)),
        logs: run.hub.clone(),
        since: None,
    };
    let mut idle = run.spec(&listening(21803, &["lines", "idle"])).await;
    idle.line("idle").await;
    assert_eq!(idle.control.listener(21803), Listener::Ours);
    let devctl::probe::Attempt::NotYet(answer) = devctl::probe::attempt(&tcp, &context(&idle.control)).await else {
        panic!("nobody takes connections");
    };
    assert_eq!(answer, "127.0.0.1:21803 has a connection waiting that the service does not take");
    idle.control.stop(LONG).await.unwrap();
    idle.end().await;

    let mut service = run.spec(&listening(21803, &["inherit"])).await;
    service.line("inherited").await;
    let http = devctl::probe::Spec::Http { host: "127.0.0.1".to_owned(), port: 21803, path: "/".to_owned() };
    assert_eq!(devctl::probe::attempt(&tcp, &context(&service.control)).await, devctl::probe::Attempt::Ready);
    // Taken as well, and answered in no HTTP.
    let devctl::probe::Attempt::NotYet(answer) = devctl::probe::attempt(&http, &context(&service.control)).await else {
        panic!("it speaks no HTTP");
    };
    assert!(answer.starts_with("127.0.0.1:21803 gives no answer in HTTP"), "{answer}");
    service.control.stop(LONG).await.unwrap();
    service.end().await;
}

#[tokio::test]
async fn a_socket_that_cannot_be_had_or_handed_over_is_told() {
    let run = Run::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:21804").unwrap();
    let cx = run.context(&"api".parse().unwrap());
    let error = run.processes.start(&listening(21804, &["inherit"]), &cx).await.err().unwrap();
    assert_eq!(error.to_string(), "cannot listen on port 21804 for `api`");
    assert!(error.hints().iter().any(|hint| hint.contains(&std::process::id().to_string())), "{:?}", error.hints());
    drop(taken);

    // What only the child can find out reaches devctl all the same.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "no program").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let argv = vec![program.display().to_string()];
    let spec = Spec { program: Program::Argv(argv), ..listening(21804, &[]) };
    let error = run.processes.start(&spec, &cx).await.err().unwrap();
    assert!(matches!(&error, Error::Spawn { source, .. } if source.raw_os_error() == Some(libc::ENOEXEC)), "{error:?}");
    run.assert_gone();
}

#[tokio::test]
async fn a_port_that_devctl_holds_for_a_service_is_not_taken() {
    use devctl::driver::claim;
    let run = Run::new();
    let mut service = run.spec(&listening(21805, &["inherit"])).await;
    service.line("inherited").await;
    let ip = [127, 0, 0, 1].into();
    let wanted = claim::Claim { service: "api".parse().unwrap(), ip, port: 21805, infrastructure: false };
    claim::check(vec![wanted], None, &std::collections::BTreeMap::new()).await.unwrap();
    service.control.stop(LONG).await.unwrap();
    service.end().await;
}

/// A package without dependencies, with these files.
fn package(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    for (name, text) in files.iter().chain([&("Cargo.toml", manifest)]) {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn build_spec(dir: &Path, bin: Option<&str>) -> BuildSpec {
    BuildSpec {
        service: "api".parse().unwrap(),
        runtime: Runtime::Rust,
        dir: dir.to_owned(),
        bin: bin.map(str::to_owned),
        env: indexmap::IndexMap::new(),
    }
}

#[tokio::test]
async fn a_rust_program_is_built_and_run() {
    let package = package(&[("src/main.rs", "fn main() { println!(\"built and run\"); }")]);
    let run = Run::new();
    let steps: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let seen = Arc::clone(&steps);
    let mut cx = run.context(&"api".parse().unwrap());
    cx.progress = Arc::new(move |p| seen.lock().unwrap().push(p));
    within(run.processes.build(&build_spec(package.path(), None), &cx)).await.unwrap();
    assert!(steps.lock().unwrap().iter().any(|p| p.what == "compiling tiny" && p.unit == "crates"));
    let spec = Spec {
        service: "api".parse().unwrap(),
        program: Program::Built,
        args: Vec::new(),
        dir: package.path().to_owned(),
        env: indexmap::IndexMap::new(),
        port: None,
        stop_signal: StopSignal::Term,
        pty: false,
        listen: false,
    };
    let running = run.processes.start(&spec, &cx).await.unwrap();
    assert!(within(running.exit).await.success());
    assert_eq!(run.hub.tail(&"api".parse().unwrap(), 1)[0].text, "built and run");
}

#[tokio::test]
async fn a_build_that_cannot_be_used_says_why() {
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let broken = package(&[("src/main.rs", "fn main() { let x: u8 = \"no\"; }")]);
    let error = within(run.processes.build(&build_spec(broken.path(), None), &cx)).await.unwrap_err();
    let Error::BuildFailed { first, .. } = &error else { panic!("{error:?}") };
    assert_eq!(first, "error[E0308]: mismatched types");
    assert!(run.hub.first_error(&"api".parse().unwrap()).unwrap().text.contains("E0308"));

    let several = package(&[("src/bin/one.rs", "fn main() {}"), ("src/bin/two.rs", "fn main() {}")]);
    let error = within(run.processes.build(&build_spec(several.path(), None), &cx)).await.unwrap_err();
    let Error::SeveralBinaries { names, .. } = &error else { panic!("{error:?}") };
    assert_eq!(names, &["one", "two"]);
    assert_eq!(error.hints(), ["choose one: bin = \"one\""]);
    within(run.processes.build(&build_spec(several.path(), Some("two")), &cx)).await.unwrap();

    let library = package(&[("src/lib.rs", "")]);
    let error = within(run.processes.build(&build_spec(library.path(), None), &cx)).await.unwrap_err();
    assert!(matches!(error, Error::NoBinary { .. }), "{error:?}");
}

#[tokio::test]
async fn dropping_a_build_kills_all_of_it() {
    let script = "fn main() {
        std::fs::write(\"pid.new\", std::process::id().to_string()).unwrap();
        std::fs::rename(\"pid.new\", \"pid\").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }";
    let package = package(&[("src/main.rs", "fn main() {}"), ("build.rs", script)]);
    let run = Run::new();
    let cx = run.context(&"api".parse().unwrap());
    let spec = build_spec(package.path(), None);
    let mark = Word::new(&package.path().join("pid"));
    let pid: u32 = tokio::select! {
        result = run.processes.build(&spec, &cx) => panic!("it ended: {result:?}"),
        word = within(mark.read()) => word.parse().unwrap(),
    };
    gone(pid).await;
}

/// The variables of a child are those of the launch over those of devctl.
#[tokio::test]
async fn the_launch_overrides_the_environment() {
    let run = Run::new();
    let mut launch = launch(["sh", "-c", "echo $HOME $EXTRA"].map(str::to_owned).to_vec(), StopSignal::Term);
    launch.env = vec![("HOME".to_owned(), "/over".to_owned()), ("EXTRA".to_owned(), "more".to_owned())];
    run.launch("api", launch).await.end().await;
    assert_eq!(run.hub.tail(&"api".parse().unwrap(), 1)[0].text, "/over more");
}

#[tokio::test]
async fn a_start_that_was_dropped_halfway_leaves_nothing() {
    for _ in 0..20 {
        let run = Run::new();
        let cx = run.context(&"api".parse().unwrap());
        let mut start = Box::pin(
            run.processes.launch(launch(vec![stub().to_owned(), "stubborn".to_owned()], StopSignal::Term), &cx),
        );
        // The order is given; mostly it is not carried out yet when nobody wants its child any more.
        drop(futures_util::poll!(&mut start));
        drop(start);
        assert_eq!(run.processes.left(&run.id).await, Vec::<String>::new());
        run.assert_gone();
    }
}
