//! One project, a schedule that happens to it, and what must hold afterwards, looked at from outside.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use devctl::os::process::{self, Identity};
use devctl::state::StateDir;
use devctl::state::lock::Lock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::schedule::{Action, Schedule, Step, Victim, When, Word};
use crate::support::{Devctl, Finished, Process, Project, until};
use crate::{socket, stub};

#[cfg(target_os = "linux")]
use crate::{disk::Disk, wall_clock::Clock};

/// How long devctl may say nothing before a step that waits for its next event is done without it.
const QUIET: Duration = Duration::from_millis(300);

/// The services that have a port.
const PORTS: [&str; 2] = ["listening", "serving"];

/// A project that one schedule after the other happens to.
pub(crate) struct Arena {
    project: Project,
    /// Whether it may be on a disk of its own.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "it may not"))]
    disks: bool,
}

/// A schedule that happens.
struct Run<'a> {
    project: &'a Project,
    schedule: &'a Schedule,
    /// The `devctl up` that was typed first.
    typed: Devctl,
    others: Vec<Devctl>,
    words: Vec<JoinHandle<()>>,
    stopped: Vec<Identity>,
    killed_supervisor: bool,
    #[cfg(target_os = "linux")]
    disk: Option<Disk>,
    #[cfg(target_os = "linux")]
    clock: Option<Clock>,
}

impl Arena {
    pub(crate) fn new(disks: bool) -> Self {
        Self { project: Project::empty(), disks }
    }

    /// Lets a schedule happen, and fails unless all is well afterwards.
    pub(crate) fn run(&self, schedule: &Schedule) {
        let project = &self.project;
        drop(fs::remove_dir_all(project.root().join(".devctl")));
        #[cfg(target_os = "linux")]
        let disk = (schedule.small_disk && self.disks).then(|| Disk::mount(project.root()).expect("it could before"));
        #[cfg(target_os = "linux")]
        let clock = schedule.own_clock.then(|| Clock::new().expect("one could be made before"));
        let mut manifest = schedule.manifest(&stub::path().display().to_string());
        for service in PORTS {
            manifest = manifest.replace(&format!("@range:{service}@"), &replica_ports(project, service));
        }
        project.write("devctl.toml", &manifest);
        project.write("src/main", "0");
        let args: &[&str] = if schedule.detached { &["up", "-d"] } else { &["up"] };
        let mut command = project.command(&[args, &["--format", "json"]].concat());
        #[cfg(target_os = "linux")]
        if let Some(clock) = &clock {
            clock.wear(&mut command);
        }
        let mut run = Run {
            project,
            schedule,
            typed: Devctl::spawn(command),
            others: Vec::new(),
            words: Vec::new(),
            stopped: Vec::new(),
            killed_supervisor: false,
            #[cfg(target_os = "linux")]
            disk,
            #[cfg(target_os = "linux")]
            clock,
        };
        for step in &schedule.steps {
            run.step(step);
        }
        run.end();
    }

    /// All there is to know of the project, for the message of a failure.
    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        for process in self.project.processes() {
            let state = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
            writeln!(text, "process {} ({}): {}", process.pid, process.command, state.trim()).expect("a string");
        }
        let folder = self.project.root().join(".devctl");
        let mut files: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        files.sort();
        for file in files {
            let content = fs::read(&file).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            writeln!(text, "--- {}\n{}", file.display(), content.trim()).expect("a string");
        }
        text
    }
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match step.when {
            When::Event(count) => self.typed.listen(QUIET, |events| events.len() >= count),
            When::After(pause) => self.typed.listen(pause, |_| false),
        }
        match step.action {
            Action::Kill(Victim::Both) => {
                let supervisor = self.supervisor();
                if let Some(supervisor) = supervisor {
                    // Stopped, it starts no other one.
                    signal(supervisor, Signal::SIGSTOP);
                }
                self.hit(Victim::Guardian, Signal::SIGKILL);
                if let Some(supervisor) = supervisor {
                    self.killed_supervisor = true;
                    signal(supervisor, Signal::SIGKILL);
                }
            }
            Action::Kill(victim) => {
                self.killed_supervisor |= matches!(victim, Victim::Supervisor) && self.supervisor().is_some();
                self.hit(victim, Signal::SIGKILL);
            }
            Action::Ask(victim, signal, times) => (0..times).for_each(|_| self.hit(victim, signal)),
            Action::Stop(victim) => {
                // One look: another guardian may have come by the next one.
                if let Some(id) = self.find(victim) {
                    signal(id, Signal::SIGSTOP);
                    self.stopped.push(id);
                }
            }
            Action::Say(word, n) => self.say(word, n),
            Action::Type(args) => self.others.push(Devctl::spawn(self.command(args))),
            Action::Touch => drop(fs::write(self.project.root().join("src/main"), format!("{step:?}"))),
            #[cfg(target_os = "linux")]
            Action::Fill => self.disk.iter().for_each(Disk::fill),
            #[cfg(target_os = "linux")]
            Action::Jump(seconds) => self.clock.iter().for_each(|clock| clock.jump(seconds)),
            #[cfg(not(target_os = "linux"))]
            Action::Fill | Action::Jump(_) => {}
        }
    }

    /// Says something over the control socket, without waiting for the answer.
    fn say(&mut self, word: Word, n: usize) {
        let name = self.schedule.services[n % self.schedule.services.len()].name();
        let (what, body) = match word {
            Word::Start => ("start", String::new()),
            Word::Stop => ("stop", String::new()),
            Word::Restart | Word::RestartAll => ("restart", String::new()),
            Word::Kill => ("kill", String::new()),
            Word::Term => ("kill", r#"{"signal":"SIGTERM"}"#.to_owned()),
            Word::Scale(replicas) => ("scale", format!(r#"{{"replicas":{replicas}}}"#)),
            Word::Reload => ("reload", String::new()),
            Word::Down => ("down", String::new()),
        };
        let route = match word {
            Word::Reload | Word::Down => format!("/v1/{what}"),
            Word::RestartAll => format!("/v1/services/*/{what}"),
            Word::Start | Word::Stop | Word::Restart | Word::Kill | Word::Term | Word::Scale(_) => {
                format!("/v1/services/{name}/{what}")
            }
        };
        let root = self.project.root().to_owned();
        self.words.push(std::thread::spawn(move || {
            let answer = socket::ask(&root, "POST", &route, &body).unwrap_or_default();
            assert!(!answer.contains("urn:devctl:bug"), "{route}: {answer}");
        }));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command(args);
        #[cfg(target_os = "linux")]
        if let Some(clock) = &self.clock {
            clock.wear(&mut command);
        }
        command.stdin(std::process::Stdio::null());
        command
    }

    fn hit(&self, victim: Victim, with: Signal) {
        self.find(victim).into_iter().for_each(|id| signal(id, with));
    }

    fn find(&self, victim: Victim) -> Option<Identity> {
        match victim {
            Victim::Supervisor | Victim::Both => self.supervisor(),
            Victim::Guardian => {
                let processes = self.project.processes();
                let found = processes.iter().find(|process| process.command == "devctl guard")?;
                identity(found)
            }
            Victim::Typed => process::look(self.typed.pid()).filter(|found| !found.ended).map(|found| found.id),
            Victim::Leader(n) => nth(&self.children().0, n),
            Victim::Grandchild(n) => nth(&self.children().1, n),
        }
    }

    /// The devctl that runs the stack, where there is one.
    fn supervisor(&self) -> Option<Identity> {
        let holder = Lock::holder(&StateDir::of(self.project.root())).ok().flatten();
        holder.filter(|holder| !holder.guardian)?.process()
    }

    /// The processes that devctl has started, and those that they have started.
    fn children(&self) -> (Vec<Identity>, Vec<Identity>) {
        let supervisor = self.supervisor().map(|id| id.pid);
        let children = children(self.project);
        let found = children.iter().filter_map(|child| process::look(u32::try_from(child.pid).ok()?));
        let (leaders, others): (Vec<_>, Vec<_>) =
            found.filter(|found| !found.ended).partition(|found| Some(found.parent) == supervisor);
        let ids = |of: Vec<process::Process>| of.into_iter().map(|found| found.id).collect();
        (ids(leaders), ids(others))
    }

    /// Ends it, and looks at what is left.
    fn end(mut self) {
        if self.schedule.look {
            self.ps_tells_the_truth();
        }
        if !self.schedule.stopped_for_long {
            self.resume();
        }
        for word in std::mem::take(&mut self.words) {
            if let Err(panic) = word.join() {
                std::panic::resume_unwind(panic);
            }
        }
        for other in std::mem::take(&mut self.others) {
            sane(&other.wait_exit());
        }
        begun(self.project);
        if self.guardian_is_enough() {
            until("the guardian has done its work", || {
                let devctl = self.project.processes().into_iter().find(is_devctl);
                devctl.map_or(Ok(()), |devctl| Err(format!("{devctl:?}")))
            });
            assert_eq!(children(self.project), [], "the guardian has left somebody");
        }
        self.down();
        self.resume();
        let typed = std::mem::replace(&mut self.typed, Devctl::spawn(Command::new("true"))).wait_exit();
        sane(&typed);
        let pids = said(&typed.events, self.project);
        self.nothing_is_left(&pids);
        #[cfg(target_os = "linux")]
        self.disk.iter().for_each(Disk::free);

        let up = Devctl::spawn(self.command(&["up", "-d", "--format", "json"])).wait_exit();
        sane(&up);
        let up = up.expect_code(0);
        self.ps_tells_the_truth();
        self.down();
        let pids = said(&up.events, self.project);
        self.nothing_is_left(&pids);
    }

    fn resume(&mut self) {
        for stopped in self.stopped.drain(..) {
            signal(stopped, Signal::SIGCONT);
        }
    }

    /// Whether the supervisor was killed and there is a guardian whom nobody has kept from its work.
    fn guardian_is_enough(&self) -> bool {
        let unharmed = self.schedule.steps.iter().all(|step| match step.action {
            Action::Kill(Victim::Guardian | Victim::Both) | Action::Stop(Victim::Guardian) => false,
            Action::Type(args) => args[0] != "up",
            _ => true,
        });
        let dead = self.killed_supervisor && self.supervisor().is_none();
        self.schedule.leave_it_to_the_guardian && unharmed && dead
    }

    fn down(&self) {
        let finished = Devctl::spawn(self.command(&["down"])).wait_exit();
        sane(&finished);
        finished.expect_code(0);
        assert_eq!(children(self.project), [], "`down` has left somebody");
    }

    fn nothing_is_left(&self, said: &BTreeSet<u32>) {
        // A guardian that was stopped or came late has nothing to do any more.
        until("nobody is left", || {
            let left = self.project.processes();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
        let stub = stub::path().display().to_string();
        for pid in said {
            // Another's, by now, where it is not of this project.
            let mark = format!("TEST_PROJECT={}", self.project.name());
            let environment = process::environment(*pid);
            let others = environment.windows(13).any(|w| w == b"TEST_PROJECT=") && !contains(&environment, &mark);
            let lives = process::look(*pid).is_some_and(|found| !found.ended) && !others;
            assert!(!(lives && process::command(*pid).contains(&stub)), "process {pid} is left");
        }
        let ours = |name: &&str| self.schedule.services.iter().any(|service| service.name() == *name);
        for name in PORTS.into_iter().filter(ours) {
            let port = self.project.port(name);
            let mut late = false;
            until("the port is free", || {
                let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop);
                late |= bound.is_err();
                bound.map_err(|error| format!("port {port} ({name}): {error}"))
            });
            if late {
                // Whoever dies leaves the process table's sight before the system has closed its files.
                crate::say(&format!("chaos: seed {}: port {port} ({name}) was free only later", self.schedule.seed));
            }
        }
        let state = self.project.root().join(".devctl");
        let record = fs::read_to_string(state.join("run.json"));
        assert!(record.is_err(), "nothing is left, and there is a record: {record:?}");
        if let Some(place) = socket::place(self.project.root()) {
            let answer = socket::ask(self.project.root(), "GET", "/v1/status", "");
            assert!(answer.is_some(), "{} is there, and nobody answers", place.display());
        }
        assert_eq!(self.rows(), [] as [Value; 0], "`ps` tells of what is gone");
    }

    fn rows(&self) -> Vec<Value> {
        let output = self.command(&["ps", "--format", "json"]).output().expect("cargo built the binary");
        let (told, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`devctl ps`: {}\n{told}\n{complaint}", output.status);
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("`devctl ps`: {error}\n{told}\n{complaint}"))
    }

    /// What `ps` says is so, at the latest when nothing happens any more.
    fn ps_tells_the_truth(&self) {
        until("`ps` tells the truth", || {
            let rows = self.rows();
            let pids: BTreeSet<u32> =
                rows.iter().filter_map(|row| row["pid"].as_u64()).filter_map(|pid| u32::try_from(pid).ok()).collect();
            let living: BTreeSet<u32> =
                children(self.project).iter().filter_map(|child| u32::try_from(child.pid).ok()).collect();
            let (leaders, _) = self.children();
            if let Some(gone) = pids.iter().find(|pid| !living.contains(pid)) {
                return Err(format!("process {gone} does not live: {rows:#?}"));
            }
            if let Some(leader) = leaders.iter().find(|leader| !pids.contains(&leader.pid)) {
                return Err(format!("process {} is not told of: {rows:#?}", leader.pid));
            }
            if let Some(row) = rows.iter().find(|row| row["state"] == "ready" && row["pid"].is_null()) {
                return Err(format!("ready, and no process: {row}"));
            }
            if rows.is_empty() && !living.is_empty() {
                return Err(format!("nothing is told of {living:?}"));
            }
            Ok(())
        });
    }
}

/// Waits until whoever is about to begin has begun: what comes later is no matter of a `down` that was typed before.
pub(crate) fn begun(project: &Project) {
    until("somebody has the project, or nobody wants it", || {
        let held = Lock::holder(&StateDir::of(project.root())).is_ok_and(|holder| holder.is_some());
        let wants = project.processes().into_iter().find(|p| is_devctl(p) && p.command != "devctl guard");
        if held { Ok(()) } else { wants.map_or(Ok(()), |wants| Err(format!("{wants:?}"))) }
    });
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes())
}

fn signal(id: Identity, signal: Signal) {
    if process::lives(id) {
        // Gone since we looked: then it was somebody else who hit it.
        let _ = kill(Pid::from_raw(id.pid.cast_signed()), signal);
    }
}

fn identity(process: &Process) -> Option<Identity> {
    process::look(u32::try_from(process.pid).ok()?).map(|found| found.id)
}

fn nth(all: &[Identity], n: usize) -> Option<Identity> {
    (!all.is_empty()).then(|| all[n % all.len()])
}

fn is_devctl(process: &Process) -> bool {
    process.command == "devctl guard" || process.command.starts_with(env!("CARGO_BIN_EXE_devctl"))
}

/// Two ports of the project's own, one behind the other, for the replicas of a service.
fn replica_ports(project: &Project, service: &str) -> String {
    let port = |n: u32| project.port(&format!("{service}-{n}"));
    let found = (0..1000).find(|n| port(*n) + 1 == port(n + 1)).expect("there are thousands of ports");
    format!("{}-{}", port(found), port(found + 1))
}

/// Whatever runs in a project, but for devctl itself.
fn children(project: &Project) -> Vec<Process> {
    project.processes().into_iter().filter(|process| !is_devctl(process)).collect()
}

/// A devctl that has ended has not panicked, and what it said it left is nothing.
fn sane(finished: &Finished) {
    assert!(!finished.stderr.contains("panicked at"), "{}", finished.told());
    if let Some(receipt) = finished.find("receipt", None) {
        assert!(receipt["left"].as_array().is_some_and(Vec::is_empty), "{receipt}\n{}", finished.told());
    }
}

/// The pids that the children have said, on a terminal or in their logs.
fn said(events: &[Value], project: &Project) -> BTreeSet<u32> {
    let mut text: String = events.iter().filter_map(|event| event["line"].as_str()).collect::<Vec<_>>().join("\n");
    let logs = fs::read_dir(project.root().join(".devctl/logs")).into_iter().flatten().flatten();
    for log in logs {
        text.push('\n');
        text.push_str(&fs::read_to_string(log.path()).unwrap_or_default());
    }
    text.lines().filter_map(|line| line.rsplit_once("pid ")?.1.trim().parse().ok()).collect()
}
