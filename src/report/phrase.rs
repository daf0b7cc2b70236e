//! The wording of events, as text without colour. Plain output prints these lines; the terminal borrows the longer ones.

use super::board::Board;
use super::{clean, words};
use crate::event::{Action, Event, EventKind, Exit, Failure, Handle, Outcome, Receipt, Signal, StopCause};
use crate::name::{NodeId, ServiceName};

/// What an event is about and what there is to say of it: a first line, and more lines below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Phrase {
    /// The node, or nothing where it is about the whole run.
    pub(super) subject: String,
    /// The first line.
    pub(super) text: String,
    /// Lines that belong below it.
    pub(super) more: Vec<String>,
}

/// Words an event that `board` has taken in. Progress has its own figures and is worded by the reporters.
pub(super) fn of(event: &Event, board: &Board) -> Option<Phrase> {
    let about = |node: &NodeId, text: String| Some(Phrase { subject: node.to_string(), text, more: Vec::new() });
    let run = |text: String, more: Vec<String>| Some(Phrase { subject: String::new(), text, more });
    match &event.kind {
        EventKind::RunStarted { project, run: id, driver, why, services } => run(
            format!("run {id} of {project}: {}", words::comma(services)),
            vec![format!("driver {driver}: {}", clean::first_line(why))],
        ),
        EventKind::Note { message } => run(clean::first_line(message), Vec::new()),
        EventKind::Warning { node, message, hints } => Some(Phrase {
            subject: node.as_ref().map(NodeId::to_string).unwrap_or_default(),
            text: format!("warning: {}", clean::first_line(message)),
            more: hints.iter().map(|hint| format!("hint: {}", clean::first_line(hint))).collect(),
        }),
        EventKind::Waiting { node, on } => about(node, waiting(on)),
        EventKind::Starting { node, action } => about(node, starting(node, *action).to_owned()),
        EventKind::Progress { .. } => None,
        EventKind::Started { node, handle } => about(
            node,
            match handle {
                Handle::Container { name, .. } => format!("started (container {name})"),
                Handle::Process { pid } => format!("started (pid {pid})"),
                Handle::External => "runs outside devctl".to_owned(),
            },
        ),
        EventKind::Probing { node, answer } => about(node, format!("not ready yet: {}", clean::first_line(answer))),
        // Who came later was told that it is ready, and not how that was found.
        EventKind::Ready { node, elapsed_ms, probe: "" } => {
            about(node, format!("ready in {}", words::duration(*elapsed_ms)))
        }
        EventKind::Ready { node, elapsed_ms, probe } => {
            about(node, format!("ready in {} ({probe})", words::duration(*elapsed_ms)))
        }
        EventKind::Completed { node, elapsed_ms } => about(node, format!("done in {}", words::duration(*elapsed_ms))),
        EventKind::Failed { node, failure } => Some(Phrase {
            subject: node.to_string(),
            text: format!("failed: {}", clean::first_line(&failure.message)),
            more: failure_details(node, failure, board).iter().map(Detail::plain).collect(),
        }),
        EventKind::Restarting { node, attempt, delay_ms, exit } => about(node, restarting(*attempt, *delay_ms, exit)),
        EventKind::Renewing { node, cause } => about(node, renewing(cause)),
        EventKind::BuildFailed { node, failure } => Some(Phrase {
            subject: node.to_string(),
            text: format!("failed, and what was built before runs on: {}", clean::first_line(&failure.message)),
            more: failure_details(node, failure, board).iter().map(Detail::plain).collect(),
        }),
        EventKind::Unhealthy { node, answer, failures } => about(node, unhealthy(answer, *failures)),
        EventKind::Healthy { node } => about(node, "healthy again".to_owned()),
        EventKind::Applied { added, changed, removed } => run(applied(added, changed, removed), Vec::new()),
        EventKind::StackReady { elapsed_ms, unready } if unready.is_empty() => {
            run(format!("everything is ready{}", words::took(*elapsed_ms)), Vec::new())
        }
        EventKind::StackReady { elapsed_ms, unready } => {
            run(format!("up{}, not ready: {}", words::took(*elapsed_ms), words::comma(unready)), Vec::new())
        }
        EventKind::StackStopping { cause } => run(format!("stopping: {}", stop_cause(*cause)), Vec::new()),
        EventKind::Stopping { node, grace_ms } => {
            about(node, format!("stopping, within {}", words::duration(*grace_ms)))
        }
        EventKind::Killing { node } => about(node, killing(node, board)),
        EventKind::Stopped { node, exit } => about(node, format!("stopped ({exit})")),
        EventKind::Removed { node: node @ NodeId::Service(_) } => about(node, "no longer part of the stack".to_owned()),
        EventKind::Removed { node } => about(node, "removed".to_owned()),
        EventKind::Receipt(receipt) => {
            let mut lines = receipt_lines(receipt, board);
            let left = left_lines(receipt);
            let text = lines.remove(0);
            lines.extend(left);
            run(text, lines)
        }
        EventKind::Finished { outcome, exit_code } => {
            run(format!("{} (exit code {exit_code})", finished(*outcome)), Vec::new())
        }
    }
}

/// `waiting for db, redis`.
pub(super) fn waiting(on: &[NodeId]) -> String {
    if on.is_empty() { "waiting".to_owned() } else { format!("waiting for {}", words::comma(on)) }
}

/// What is being done to a node that begins.
pub(super) fn starting(node: &NodeId, action: Action) -> &'static str {
    match (action, node) {
        (Action::Keep, _) => "is there already, kept",
        (Action::Adopt, _) => "was left by a run that died, taking over",
        (Action::Expect, _) => "should be there, looking",
        (Action::Replace, _) => "replacing: it differs from the manifest",
        (Action::Create | Action::Start, NodeId::Service(_)) => "starting",
        (Action::Create | Action::Start, NodeId::Image(_)) => "pulling",
        (Action::Create | Action::Start, NodeId::Install(_)) => "installing",
        (Action::Create | Action::Start, NodeId::Build(_)) => "building",
        (Action::Create | Action::Start, NodeId::Network(_) | NodeId::Volume(_) | NodeId::Create(_)) => "creating",
    }
}

/// `exit code 1; restart 2 in 500 ms`.
pub(super) fn restarting(attempt: u32, delay_ms: u64, exit: &Exit) -> String {
    format!("ended ({exit}), restart {attempt} in {}", words::duration(delay_ms))
}

/// `restarting: its configuration changed`.
pub(super) fn renewing(cause: &str) -> String {
    let cause = clean::first_line(cause);
    if cause.is_empty() { "restarting".to_owned() } else { format!("restarting: {cause}") }
}

/// `unhealthy, 3 checks failed: connection refused`.
pub(super) fn unhealthy(answer: &str, failures: u32) -> String {
    let checks = words::count(u64::from(failures), "check", "checks");
    format!("unhealthy, {checks} failed: {}", clean::first_line(answer))
}

/// `applying changes: new worker; changed api; removed old`.
pub(super) fn applied(added: &[ServiceName], changed: &[ServiceName], removed: &[ServiceName]) -> String {
    let parts: Vec<String> = [("new", added), ("changed", changed), ("removed", removed)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", words::comma(names)))
        .collect();
    if parts.is_empty() { "nothing changed".to_owned() } else { format!("applying changes: {}", parts.join("; ")) }
}

/// Why a workload is killed: it had its time, or the user would not wait.
pub(super) fn killing(node: &NodeId, board: &Board) -> String {
    match board.get(node).and_then(|node| node.overdue_ms) {
        Some(grace_ms) => format!("did not stop within {} and was killed", words::limit(grace_ms)),
        None => "was killed".to_owned(),
    }
}

/// What a run is called at its beginning: `integrador on Docker Engine 20.10.24 (API 1.41)`, in two parts, the
/// project's name first.
pub(super) fn headline(driver: &str, why: &str) -> String {
    let why = clean::first_line(why);
    match driver {
        "docker" => format!(" on {why}"),
        "none" => format!(": {why}"),
        driver => format!(" {driver}: {why}"),
    }
}

/// Who failed and of what: `api ended before it was ready`. Messages that begin with the name are not led by it again.
pub(super) fn reason(node: &NodeId, failure: &Failure) -> String {
    let message = clean::first_line(&failure.message);
    match message.strip_prefix(&format!("`{node}` ")) {
        Some(rest) => format!("{node} {rest}"),
        None => format!("{node}: {message}"),
    }
}

/// The reason once more, for the end of the output: the block about it may have scrolled away by then.
pub(super) fn last_words(node: &NodeId, failure: &Failure) -> String {
    let logs = match node.service() {
        Some(service) if !failure.log_tail.is_empty() => format!(", or `devctl logs {service}`"),
        Some(_) | None => String::new(),
    };
    format!("{} (see above{logs})", reason(node, failure))
}

/// Why a run ends, in words.
pub(super) fn stop_cause(cause: StopCause) -> &'static str {
    match cause {
        StopCause::Signal(Signal::Int) => "Ctrl+C",
        StopCause::Signal(Signal::Term) => "SIGTERM",
        StopCause::Signal(Signal::Hup) => "the terminal is gone (SIGHUP)",
        StopCause::Command => "`devctl down`",
        StopCause::Failure => "a service failed",
        StopCause::AllExited => "every service has ended",
    }
}

fn finished(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Interrupted(_) => "interrupted before everything was ready",
        Outcome::Failed => "a service failed",
        Outcome::Environment => "the machine is not fit",
        Outcome::NotReady => "not ready in time",
    }
}

/// One line of the block about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) kind: DetailKind,
    pub(super) text: String,
}

/// What a line of a failure's block is, for the one who puts colours on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DetailKind {
    /// A sentence.
    Fact,
    /// The first line of the log that looks like an error, as it is.
    FirstError,
    /// A line of the log, as it is.
    Log,
    /// What to do about it.
    Hint,
}

impl Detail {
    fn plain(&self) -> String {
        match self.kind {
            DetailKind::Fact => self.text.clone(),
            DetailKind::FirstError => format!("first error: {}", clean::line(&self.text, false)),
            DetailKind::Log => format!("  {}", clean::line(&self.text, false)),
            DetailKind::Hint => format!("hint: {}", self.text),
        }
    }
}

/// Everything that is known of a failure besides its message.
pub(super) fn failure_details(node: &NodeId, failure: &Failure, board: &Board) -> Vec<Detail> {
    let Failure { message, exit, last_probe, first_error, log_tail, hints, timed_out: _, environment: _ } = failure;
    let mut details = Vec::new();
    let mut add = |kind, text: String| details.push(Detail { kind, text });
    // A message of several lines (the engine's own words, mostly) keeps all of them.
    for line in message.lines().skip(1) {
        add(DetailKind::Fact, clean::line(line, false));
    }
    // What the message itself says is not said again.
    if let Some(exit) = exit
        && !message.contains(&exit.to_string())
    {
        add(DetailKind::Fact, format!("it ended: {exit}"));
    }
    // What was answered before it was ready says nothing about its end.
    if let Some(answer) = last_probe.as_ref().filter(|_| board.get(node).is_none_or(|node| node.ready_ms.is_none())) {
        add(DetailKind::Fact, format!("last probe: {}", clean::first_line(answer)));
    }
    if let Some(line) = first_error
        && !message.contains(line.as_str())
    {
        add(DetailKind::FirstError, line.clone());
    }
    if !log_tail.is_empty() {
        add(DetailKind::Fact, "end of its log:".to_owned());
    }
    for line in log_tail {
        add(DetailKind::Log, line.clone());
    }
    for hint in hints {
        add(DetailKind::Hint, clean::first_line(hint));
    }
    if board.others_stay_up(node) {
        let hint = format!("the others stay up; to get {node} back: Ctrl+C, then `devctl up`");
        add(DetailKind::Hint, hint);
    }
    details
}

/// `stopped 2 containers, 2 processes; 0 left`, then what was kept and what lives on.
pub(super) fn receipt_lines(receipt: &Receipt, board: &Board) -> Vec<String> {
    let Receipt { containers, processes, networks: _, kept, data, left, elapsed_ms: _ } = receipt;
    let mut stopped = Vec::new();
    if *containers > 0 {
        stopped.push(words::count((*containers).into(), "container", "containers"));
    }
    if *processes > 0 {
        stopped.push(words::count((*processes).into(), "process", "processes"));
    }
    let stopped = if stopped.is_empty() { "nothing".to_owned() } else { words::comma(stopped) };
    let mut lines = vec![format!("stopped {stopped}; {} left", left.len())];
    if !kept.is_empty() {
        lines.push(format!("kept running: {}", words::comma(kept)));
    }
    // Where nothing ran there was nothing to be worried about.
    if !data.is_empty() && board.began() {
        lines.push(format!("data live on: {}", words::comma(data)));
    }
    lines
}

/// What should be gone and is not.
pub(super) fn left_lines(receipt: &Receipt) -> Vec<String> {
    receipt.left.iter().map(|left| format!("left: {}", clean::first_line(left))).collect()
}
