//! What is likely wrong, each with the lines that say so and with what to do about it.

use serde::Serialize;

use super::exit::{ExitFacts, signal_of};
use super::path::{Link, service_of};
use super::pattern::{Meaning, Patterns};
use super::{Case, Found, Run, passed, words};
use crate::event::Failure;
use crate::logs::read::Life;
use crate::os::signal_name::signal_name;
use crate::stack::mask;
use crate::state::last_run::End;
use crate::state::record::ServiceRecord;

/// How many lines of a log are quoted where nothing in it is understood.
const LAST_LINES: usize = 5;

/// How long a start may take before it is worth a word, where nothing is known of earlier ones.
const SLOW_MS: u64 = 15_000;

/// Something that is likely wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Of which kind it is.
    pub kind: Kind,
    /// The service, or what stands behind one, that it is the matter with.
    pub node: String,
    /// What is wrong, in one line.
    pub summary: String,
    /// What says so.
    pub evidence: Vec<Quote>,
    /// What to do about it, the most useful first; commands stand in backticks.
    pub hints: Vec<String>,
}

/// A line that speaks for a cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quote {
    /// Who says it: `log`, `error`, `probe`, `exit`, `port`, `record`.
    pub from: &'static str,
    /// The line, without secrets.
    pub text: String,
}

impl Quote {
    pub(super) fn new(from: &'static str, text: impl AsRef<str>) -> Self {
        Self { from, text: mask(text.as_ref().trim_end()) }
    }
}

/// The kinds of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody else has the port.
    PortTaken,
    /// It listens on another port than the one that is asked.
    OtherPort,
    /// A module, package or library is not there.
    MissingModule,
    /// A program is not there.
    MissingProgram,
    /// A file or folder is not there.
    MissingFile,
    /// A variable of the environment is not set.
    MissingVariable,
    /// The system refused.
    Permission,
    /// A password is wrong.
    WrongPassword,
    /// The database, its user or a table is not there.
    MissingDatabase,
    /// Something that it needs takes no connections.
    Refused,
    /// It does not know a host's name.
    UnknownHost,
    /// There was no memory left.
    OutOfMemory,
    /// A signal ended it that devctl did not send.
    Signal,
    /// It ends again and again.
    CrashLoop,
    /// It ended, and nothing tells why.
    Ended,
    /// It ended well, and should have gone on.
    EndedWell,
    /// Its build failed.
    BuildFailed,
    /// It failed in a way that says what to do.
    Failed,
    /// It was not ready in time, or is not yet.
    NotReady,
    /// It fails the checks of its health.
    Unhealthy,
    /// Somebody stopped it.
    Stopped,
    /// Something before it is not done yet.
    GoingOn,
    /// The run ended.
    RunEnded,
    /// devctl itself was killed.
    RunKilled,
    /// Nobody started it.
    NotStarted,
}

/// What is likely wrong with the service, or with what it waits for in the end.
pub(super) fn causes(case: &Case, paths: &[Vec<Link>]) -> Vec<Cause> {
    let patterns = Patterns::new();
    let looker = Looker { case, patterns: &patterns };
    let Some(record) = case.services.get(&case.service) else { return looker.not_started() };
    let mut roots: Vec<&str> = Vec::new();
    for link in paths.iter().filter_map(|path| path.last()) {
        if !roots.contains(&link.node.as_str()) {
            roots.push(&link.node);
        }
    }
    let mut causes: Vec<Cause> = roots.iter().flat_map(|root| looker.of_root(root)).collect();
    if let Run::Over { end, .. } = case.run
        && !matches!(record.phase.as_str(), "failed" | "done")
    {
        let failed = case.services.iter().filter(|(_, record)| record.phase == "failed").map(|(name, _)| name.as_str());
        let others = failed.chain(case.failures.keys().map(String::as_str)).filter(|name| !roots.contains(name));
        if end == End::Failed {
            causes.extend(others.flat_map(|other| looker.of_root(other)));
        }
        if causes.is_empty() || end != End::Failed {
            causes.insert(0, looker.run_ended(end));
        }
        return causes;
    }
    if roots.is_empty() {
        causes.extend(looker.of_service(&case.service, record));
    }
    causes
}

/// Looks at a case.
pub(super) struct Looker<'a> {
    pub(super) case: &'a Case,
    patterns: &'a Patterns,
}

impl Looker<'_> {
    pub(super) fn is_up(&self) -> bool {
        matches!(self.case.run, Run::Up { .. })
    }

    /// How to try it once more.
    pub(super) fn again(&self, service: &str) -> String {
        if self.is_up() {
            format!("then start it again: `devctl restart {service}`")
        } else {
            "then once more: `devctl up`".to_owned()
        }
    }

    fn not_started(&self) -> Vec<Cause> {
        let service = self.case.service.as_str();
        let found = self.case.found.get(service);
        let taken = found.into_iter().flat_map(|found| &found.ports).filter(|(_, owners)| !owners.is_empty());
        let mut causes: Vec<Cause> =
            taken.map(|(port, _)| self.port_taken(service, &ServiceRecord::default(), Some(*port), None)).collect();
        if causes.is_empty() {
            let (summary, hint) = match self.case.run {
                Run::None => ("no run had it yet", "start it, with what it needs"),
                Run::Up { .. } => ("the run has other services only", "add it to the run, with what it needs"),
                Run::Over { .. } => ("the last run had other services only", "start it, with what it needs"),
            };
            let mut cause = Cause::new(Kind::NotStarted, service, summary);
            if !self.case.needs.is_empty() {
                cause.evidence.push(Quote::new("record", format!("it needs {}", words::comma(&self.case.needs))));
            }
            cause.hints.push(format!("{hint}: `devctl up {service}`"));
            causes.push(cause);
        }
        causes
    }

    fn run_ended(&self, end: End) -> Cause {
        let service = self.case.service.as_str();
        let (kind, summary) = match end {
            End::Done => (Kind::RunEnded, "the stack was taken down, by `devctl down`, Ctrl+C or another signal"),
            End::Interrupted => (Kind::RunEnded, "Ctrl+C or another signal ended the run before everything was ready"),
            End::Failed => (Kind::RunEnded, "the run failed"),
            End::Killed => (Kind::RunKilled, "devctl itself was killed while the stack ran"),
            End::PowerOff => (Kind::RunKilled, "the machine went down while the stack ran"),
        };
        let mut cause = Cause::new(kind, service, summary);
        if kind == Kind::RunKilled {
            cause.evidence.extend(self.case.deed.iter().map(|deed| Quote::new("record", deed)));
        }
        cause.hints.push("bring the stack up again: `devctl up`".to_owned());
        if end == End::Killed {
            cause.hints.push(
                "see whether the kernel did it for want of memory: `dmesg | grep -i 'killed process'`".to_owned(),
            );
        }
        cause
    }

    /// What is the matter with something that another waits for.
    fn of_root(&self, node: &str) -> Vec<Cause> {
        if let Some(record) = self.case.services.get(node) {
            let causes = self.of_service(node, record);
            if !causes.is_empty() {
                return causes;
            }
            let summary = match record.phase.as_str() {
                "ready" | "done" => return Vec::new(),
                "stopped" if record.ready_ms.is_some() => return Vec::new(),
                "stopped" => format!("{node} was not ready when the run ended"),
                "probing" => format!("{node} runs and is not ready yet"),
                "waiting" => format!("{node} waits for its turn"),
                phase => format!("{node} is {phase}"),
            };
            let mut cause = Cause::new(Kind::NotReady, node, summary);
            cause.evidence.extend(record.last_probe.as_ref().map(|answer| Quote::new("probe", answer)));
            cause.hints.push(if self.is_up() { format!("watch it: `devctl logs -f {node}`") } else { see_log(node) });
            return vec![cause];
        }
        let of_service = self.case.services.get(service_of(node)).and_then(|record| record.failure.as_ref());
        if let Some(failure) = self.case.failures.get(node).or(of_service) {
            return vec![self.failed(node, failure)];
        }
        let over = !self.is_up();
        let mut cause = Cause::new(
            Kind::GoingOn,
            node,
            if over { format!("{node} was not done when the run ended") } else { format!("{node} is not done yet") },
        );
        cause.hints.push(if over {
            "once more: `devctl up`".to_owned()
        } else {
            format!("watch it: `devctl logs -f {}`", service_of(node))
        });
        vec![cause]
    }

    /// What is the matter with a service that does not wait for another.
    fn of_service(&self, name: &str, record: &ServiceRecord) -> Vec<Cause> {
        let nothing = Found::default();
        let found = self.case.found.get(name).unwrap_or(&nothing);
        match record.phase.as_str() {
            "failed" => self.of_failed(name, record, found),
            "restarting" => self.of_end(name, record, None, &found.life).into_iter().collect(),
            "ready" | "late" | "unhealthy" | "starting" | "probing" if record.restarts > 0 => {
                let now = self.of_living(name, record, found);
                let before = self.of_end(name, record, None, &found.before);
                now.into_iter().chain(before).collect()
            }
            "ready" | "late" | "unhealthy" | "starting" | "probing" => {
                self.of_living(name, record, found).into_iter().collect()
            }
            "stopped" if self.case.run == (Run::Up { stopping: false }) => {
                let mut cause = Cause::new(
                    Kind::Stopped,
                    name,
                    format!("somebody stopped {name}, and it is not started by itself"),
                );
                let exit = record.last_exit.as_ref();
                cause.evidence.extend(exit.map(|exit| Quote::new("exit", ExitFacts::of(exit).text)));
                cause.hints.push(format!("start it: `devctl start {name}`"));
                vec![cause]
            }
            _ => Vec::new(),
        }
    }

    fn of_failed(&self, name: &str, record: &ServiceRecord, found: &Found) -> Vec<Cause> {
        let Some(failure) = &record.failure else {
            return self.of_end(name, record, None, &found.life).into_iter().collect();
        };
        if failure.exit.is_some() {
            return self.of_end(name, record, Some(failure), &found.life).into_iter().collect();
        }
        if failure.message.contains("is unhealthy again") {
            let mut cause =
                Cause::new(Kind::Unhealthy, name, format!("{name} fails the checks of its health each time"));
            cause.evidence.push(Quote::new("error", first_line(&failure.message)));
            cause.evidence.extend(failure.last_probe.as_ref().map(|answer| Quote::new("probe", answer)));
            cause.hints.extend([see_log(name), self.again(name)]);
            return vec![cause];
        }
        let life = merged(failure, &found.life);
        if failure.timed_out {
            return vec![self.not_ready(name, record, Some(failure), &life)];
        }
        vec![self.failed(name, failure)]
    }

    /// A failure that says itself what is wrong.
    fn failed(&self, node: &str, failure: &Failure) -> Cause {
        let message = first_line(&failure.message);
        let service = service_of(node);
        let record = self.case.services.get(service).cloned().unwrap_or_default();
        if let Some((command, folder, reason)) = build(message) {
            let mut cause = Cause::new(Kind::BuildFailed, node, format!("the build of {service} failed"));
            cause.evidence.push(Quote::new("error", reason));
            let more = failure.log_tail.iter().filter(|line| line.trim_start().starts_with("-->"));
            cause.evidence.extend(more.take(1).map(|line| Quote::new("log", line)));
            cause.hints.push(format!("mend it, and see whether it builds: `cd '{folder}' && {command}`"));
            cause.hints.push(self.again(service));
            return cause;
        }
        let meaning = self.patterns.meaning(message);
        let mut cause = match meaning {
            Some(meaning) => self.meant(service, &record, meaning, &Quote::new("error", message)),
            None => Cause::new(Kind::Failed, node, message),
        };
        node.clone_into(&mut cause.node);
        // Whoever raised it knows best what to do.
        if !failure.hints.is_empty() && cause.kind != Kind::PortTaken {
            cause.hints = failure.hints.iter().take(3).cloned().collect();
        }
        if cause.hints.is_empty() {
            cause.hints.push(see_log(service));
        }
        cause
    }

    /// What is the matter with a service that runs.
    fn of_living(&self, name: &str, record: &ServiceRecord, found: &Found) -> Option<Cause> {
        match record.phase.as_str() {
            "unhealthy" => {
                let mut cause =
                    Cause::new(Kind::Unhealthy, name, format!("{name} runs and fails the checks of its health"));
                cause.evidence.extend(record.detail.as_ref().map(|answer| Quote::new("probe", answer)));
                cause.evidence.extend(found.life.first_error.as_ref().map(|line| Quote::new("log", line)));
                cause.hints.push(see_log(name));
                cause.hints.push(format!("start it again: `devctl restart {name}`"));
                Some(cause)
            }
            "late" => Some(self.not_ready(name, record, None, &found.life)),
            "probing" => {
                let since = record.since.as_deref().and_then(|since| passed(self.case.now, since)).unwrap_or(0);
                let usual = self.case.earlier_ready_ms.filter(|_| name == self.case.service);
                let is_slow = since > usual.map_or(SLOW_MS, |usual| usual.saturating_mul(2).max(5_000));
                (is_slow || found.life.first_error.is_some()).then(|| self.not_ready(name, record, None, &found.life))
            }
            _ => None,
        }
    }

    /// Why a service is not ready.
    fn not_ready(&self, name: &str, record: &ServiceRecord, failure: Option<&Failure>, life: &Life) -> Cause {
        let probe = failure.and_then(|failure| failure.last_probe.as_ref()).or(record.last_probe.as_ref());
        let said = life.tail.iter().find_map(|line| Some((self.patterns.listening_on(line)?, line)));
        if let (Some((port, line)), Some(asked)) = (said, record.ports.first())
            && !record.ports.contains(&port)
            && probe.is_some_and(|answer| answer.contains("nobody listens"))
        {
            let summary = format!("{name} listens on port {port}, and devctl asks port {asked}");
            let mut cause = Cause::new(Kind::OtherPort, name, summary);
            cause.evidence.push(Quote::new("log", line));
            cause.evidence.extend(probe.map(|answer| Quote::new("probe", answer)));
            cause.hints.push(format!("say so in devctl.toml, under [services.{name}]: port = {port}"));
            cause.hints.push(format!("or have it listen on the port in its variable `PORT`, which is {asked}"));
            return cause;
        }
        let mut cause = if let Some((meaning, quote)) = self.understood(life) {
            self.meant(name, record, meaning, &quote)
        } else {
            let message = failure.map(|failure| first_line(&failure.message)).or(record.detail.as_deref());
            let message = message.filter(|message| message.contains("was not ready"));
            let summary = message.map_or_else(|| "not ready yet".to_owned(), |m| m.replace('`', ""));
            let summary = if message.is_some() { summary } else { format!("{name} is {summary}") };
            let mut cause = Cause::new(Kind::NotReady, name, summary);
            cause.evidence.extend(life.first_error.as_ref().map(|line| Quote::new("log", line)));
            cause
        };
        cause.evidence.extend(probe.map(|answer| Quote::new("probe", answer)));
        if let Some(usual) = self.case.earlier_ready_ms.filter(|_| name == self.case.service) {
            let usual = words::duration(usual);
            cause.evidence.push(Quote::new("record", format!("the time before it was ready in {usual}")));
        }
        if cause.kind == Kind::NotReady {
            if life.first_error.is_none() {
                let last = life.tail.iter().rev().find(|line| !line.trim().is_empty());
                cause.evidence.extend(last.map(|line| Quote::new("log", line)));
            }
            cause.hints.push(format!("see what it does: `devctl logs -f {name}`"));
            cause.hints.extend(failure.and_then(|failure| failure.hints.first().cloned()));
        }
        cause
    }

    /// Why a service ended. `life`: what it printed in the life that ended.
    fn of_end(&self, name: &str, record: &ServiceRecord, failure: Option<&Failure>, life: &Life) -> Option<Cause> {
        let exit = failure.and_then(|failure| failure.exit.as_ref()).or(record.last_exit.as_ref())?;
        let facts = ExitFacts::of(exit);
        let life = failure.map_or_else(|| life.clone(), |failure| merged(failure, life));
        let signal = signal_of(exit);
        let signal_name = signal.and_then(signal_name).unwrap_or("a signal");
        let loops = failure.is_some_and(|failure| failure.message.contains("ended again after")) || record.restarts > 1;
        let mut cause = if exit.lost.is_some() {
            self.failed(name, failure?)
        } else if exit.out_of_memory {
            out_of_memory(name, "the kernel ended it for want of memory")
        } else if let Some((meaning, quote)) = self.understood(&life).filter(|_| signal.is_none_or(|s| s == 6)) {
            self.meant(name, record, meaning, &quote)
        } else if signal.is_some() {
            self.signal(name, signal_name, record)
        } else if exit.code == Some(127) {
            let mut cause = Cause::new(Kind::MissingProgram, name, "its shell did not find a program");
            cause.hints.push(format!("see which: `devctl logs {name}`"));
            cause
        } else if exit.code == Some(126) {
            let mut cause = Cause::new(Kind::Permission, name, "its shell may not execute a program");
            cause.hints.push(format!("see which: `devctl logs {name}`"));
            cause
        } else if exit.success() && !loops {
            let mut cause = Cause::new(Kind::EndedWell, name, format!("{name} ended by itself, and well"));
            cause.hints.push(
                "keep it in the foreground: one that goes into the background by itself cannot be watched".to_owned(),
            );
            cause.hints.push(format!("where that is what it does: `restart = \"always\"` under [services.{name}]"));
            cause
        } else if loops {
            let mut cause = Cause::new(Kind::CrashLoop, name, format!("{name} ends each time soon after its start"));
            cause.hints.push(see_log(name));
            cause.hints.push(self.again(name));
            cause
        } else {
            let mut cause = Cause::new(Kind::Ended, name, format!("{name} ended by itself"));
            cause.hints.push(see_log(name));
            cause.hints.push(self.again(name));
            cause
        };
        let knows_little = matches!(
            cause.kind,
            Kind::CrashLoop | Kind::Ended | Kind::EndedWell | Kind::Signal | Kind::MissingProgram | Kind::Permission
        );
        if knows_little && cause.evidence.is_empty() {
            let from = life.tail.len().saturating_sub(LAST_LINES);
            let last = life.tail[from..].iter().filter(|line| !line.trim().is_empty());
            let first = life.first_error.as_ref().filter(|line| !life.tail[from..].contains(line));
            cause.evidence.extend(first.into_iter().chain(last).map(|line| Quote::new("log", line)));
            if cause.evidence.is_empty() {
                cause.evidence.push(Quote::new("log", "it printed nothing"));
            }
        }
        cause.evidence.push(Quote::new("exit", facts.text));
        if loops {
            let restarts = words::count(record.restarts.into(), "restart", "restarts");
            let given_up = failure.is_some_and(|failure| failure.message.contains("ended again after"));
            let rest = if given_up { ", then devctl gave up" } else { "" };
            cause.evidence.push(Quote::new("record", format!("{restarts}{rest}")));
        }
        Some(cause)
    }

    fn signal(&self, name: &str, signal: &str, record: &ServiceRecord) -> Cause {
        let (summary, hint) = match signal {
            "SIGKILL" => (
                "SIGKILL ended it, and devctl did not send it: `kill -9` by somebody, or the kernel for want of memory",
                "see whether it was the kernel: `dmesg | grep -i 'killed process'`".to_owned(),
            ),
            "SIGSEGV" | "SIGBUS" | "SIGILL" | "SIGFPE" | "SIGABRT" | "SIGTRAP" | "SIGSYS" => (
                "it crashed: a mistake in the program itself or in a library of it",
                "see where, if the system keeps core files: `coredumpctl list`".to_owned(),
            ),
            "SIGPIPE" => ("it wrote to something that nobody reads any more", see_log(name)),
            _ => ("somebody else asked it to end: devctl did not", see_log(name)),
        };
        let summary = if summary.starts_with("SIG") { summary.to_owned() } else { format!("{signal}: {summary}") };
        let mut cause = Cause::new(Kind::Signal, name, summary);
        cause.hints.push(hint);
        if record.phase == "failed" || !self.is_up() {
            cause.hints.push(self.again(name));
        }
        cause
    }

    /// The first thing in what a life left that is understood: what looks like an error comes first, then the last lines.
    fn understood(&self, life: &Life) -> Option<(Meaning, Quote)> {
        let lines = life.first_error.iter().chain(life.tail.iter().rev());
        let mut found = lines.filter_map(|line| Some((self.patterns.meaning(line)?, Quote::new("log", line))));
        found.next()
    }
}

/// No memory was left.
pub(super) fn out_of_memory(name: &str, summary: &str) -> Cause {
    let mut cause = Cause::new(Kind::OutOfMemory, name, summary);
    cause.hints.push("see what takes the memory: `ps aux --sort=-rss | head`".to_owned());
    cause.hints.push("or give it more: its own limit, or that of its container".to_owned());
    cause
}

/// How to see more.
pub(super) fn see_log(service: &str) -> String {
    format!("see all that it printed: `devctl logs {service}`")
}

impl Cause {
    pub(super) fn new(kind: Kind, node: &str, summary: impl Into<String>) -> Self {
        Self { kind, node: node.to_owned(), summary: mask(&summary.into()), evidence: Vec::new(), hints: Vec::new() }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: String) -> Self {
        self.hints.push(hint);
        self
    }
}

/// What the log file has, or, where that is gone, what was kept with the failure.
fn merged(failure: &Failure, life: &Life) -> Life {
    let first_error = life.first_error.clone().or_else(|| failure.first_error.clone());
    let tail = if life.tail.is_empty() { failure.log_tail.clone() } else { life.tail.clone() };
    Life { first_error, tail }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Takes the message of a failed build apart: the command, its folder, the reason.
fn build(message: &str) -> Option<(&str, &str, &str)> {
    let (command, rest) = message.strip_prefix('`')?.split_once("` in `")?;
    let (folder, reason) = rest.split_once("` failed: ")?;
    Some((command, folder, reason))
}
