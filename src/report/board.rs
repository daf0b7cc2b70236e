//! What every node does at the moment, gathered from the events, and one line of text for each that matters. Pure: the
//! terminal draws these lines, a test reads them.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::gauge::Gauge;
use super::paint::{BAD, BOLD, DIM, GOOD, Paint, WARN};
use super::trace::Trace;
use super::{clean, phrase, words};
use crate::event::{Action, Event, EventKind, Handle, StopCause};
use crate::name::{NodeId, ServiceName};

/// Below this width a bar leaves no room for its words.
const BAR_FROM_WIDTH: u16 = 72;
const BAR_CELLS: usize = 20;

/// How many lines those that stop may take, and those that stop later as many.
const LIVE_LINES: usize = 8;

/// The state of a run, as far as the events tell it.
#[derive(Debug, Default)]
pub(super) struct Board {
    services: Vec<ServiceName>,
    nodes: IndexMap<NodeId, Node>,
    up: bool,
    stopping: Option<StopCause>,
    /// Whether somebody would not wait for the stopping.
    hurried: bool,
    failed: Option<String>,
    began: bool,
}

/// What is known of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) phase: Phase,
    pub(super) handle: Option<Handle>,
    pub(super) kept: bool,
    /// Milliseconds from the start of the node's current life to its readiness, once it was ready.
    pub(super) ready_ms: Option<u64>,
    /// How long it had to stop, where it was killed because it did not: nobody asked for it.
    pub(super) overdue_ms: Option<u64>,
    since_ms: u64,
    gauge: Gauge,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Pending,
    Waiting(Vec<NodeId>),
    Starting(Action),
    Running,
    Probing(String),
    Ready,
    Completed,
    Failed(String),
    Restarting(String),
    Stopping {
        deadline_ms: u64,
        grace_ms: u64,
    },
    Killed,
    Stopped,
}

impl Board {
    /// Takes an event in.
    pub(super) fn on(&mut self, event: &Event) {
        let now = event.at_ms;
        match &event.kind {
            EventKind::RunStarted { services, .. } => {
                self.services.clone_from(services);
                for service in services {
                    self.nodes.entry(NodeId::Service(service.clone())).or_default();
                }
            }
            EventKind::Waiting { node, on } => self.node(node).phase = Phase::Waiting(on.clone()),
            EventKind::Starting { node, action } => {
                let node = self.node(node);
                node.phase = Phase::Starting(*action);
                node.kept = *action == Action::Keep;
                node.since_ms = now;
                node.ready_ms = None;
                node.gauge = Gauge::default();
            }
            EventKind::Progress { node, progress } => self.node(node).gauge.on(progress),
            EventKind::Started { node, handle } => {
                let node = self.node(node);
                node.phase = Phase::Running;
                node.handle = Some(handle.clone());
                self.began = true;
            }
            EventKind::Probing { node, answer } => {
                self.node(node).phase = Phase::Probing(clean::first_line(answer));
            }
            EventKind::Ready { node, elapsed_ms, .. } => {
                let node = self.node(node);
                node.phase = Phase::Ready;
                node.ready_ms = Some(*elapsed_ms);
            }
            EventKind::Completed { node, .. } => self.node(node).phase = Phase::Completed,
            EventKind::Failed { node, failure } => {
                self.node(node).phase = Phase::Failed(clean::first_line(&failure.message));
                // The first failure decides how the run ends.
                self.failed.get_or_insert_with(|| phrase::last_words(node, failure));
            }
            EventKind::Restarting { node, attempt, delay_ms, exit } => {
                self.node(node).phase = Phase::Restarting(phrase::restarting(*attempt, *delay_ms, exit));
            }
            EventKind::StackReady { .. } => self.up = true,
            EventKind::StackStopping { cause } => self.stopping = Some(*cause),
            EventKind::Stopping { node, grace_ms } => {
                let (deadline_ms, grace_ms) = (now.saturating_add(*grace_ms), *grace_ms);
                self.node(node).phase = Phase::Stopping { deadline_ms, grace_ms };
            }
            EventKind::Killing { node } => {
                let node = self.node(node);
                if let Phase::Stopping { deadline_ms, grace_ms } = node.phase
                    && now >= deadline_ms
                {
                    node.overdue_ms = Some(grace_ms);
                }
                let hurried = node.overdue_ms.is_none();
                node.phase = Phase::Killed;
                self.hurried |= hurried && self.stopping.is_some();
            }
            EventKind::Stopped { node, .. } => {
                let node = self.node(node);
                // A service that failed stays failed when its remains are swept up.
                if !matches!(node.phase, Phase::Failed(_)) {
                    node.phase = Phase::Stopped;
                }
                node.handle = None;
            }
            EventKind::Renewing { node, cause } => {
                self.node(node).phase = Phase::Restarting(phrase::renewing(cause));
            }
            EventKind::Applied { added, removed, .. } => {
                self.services.retain(|name| !removed.contains(name));
                let new: Vec<_> = added.iter().filter(|name| !self.services.contains(name)).cloned().collect();
                self.services.extend(new);
            }
            EventKind::Note { .. }
            | EventKind::Warning { .. }
            | EventKind::BuildFailed { .. }
            | EventKind::Unhealthy { .. }
            | EventKind::Healthy { .. }
            | EventKind::Removed { .. }
            | EventKind::Receipt(_)
            | EventKind::Finished { .. } => {}
        }
    }

    fn node(&mut self, id: &NodeId) -> &mut Node {
        self.nodes.entry(id.clone()).or_default()
    }

    /// What is known of a node.
    pub(super) fn get(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Why the stack goes down, once it does.
    pub(super) fn stopping(&self) -> Option<StopCause> {
        self.stopping
    }

    /// The first failure, for the last line of the run.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Whether any workload was ever started.
    pub(super) fn began(&self) -> bool {
        self.began
    }

    /// Whether the stack is up and others than this node go on running.
    pub(super) fn others_stay_up(&self, id: &NodeId) -> bool {
        let runs = |node: &Node| matches!(node.phase, Phase::Running | Phase::Probing(_) | Phase::Ready);
        self.up && self.stopping.is_none() && self.nodes.iter().any(|(other, node)| other != id && runs(node))
    }

    /// What is known of a service.
    pub(super) fn service(&self, name: &ServiceName) -> Option<&Node> {
        self.nodes.get(&NodeId::Service(name.clone()))
    }

    /// The lines of start-up: a line for each service, and one for each pull or installation that is under way.
    pub(super) fn starting_lines(&self, now_ms: u64, width: u16, paint: Paint) -> Vec<String> {
        let pad = self.services.iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        let mut lines = Vec::new();
        for name in &self.services {
            let status = self.service_status(name, now_ms, width, paint);
            lines.push(format!("{}  {status}", paint.paint(BOLD, &format!("{name:pad$}"))));
        }
        for (id, node) in &self.nodes {
            if id.service().is_none() && matches!(node.phase, Phase::Starting(_)) && !node.gauge.text().is_empty() {
                lines.push(format!("{id}  {}", node.working(now_ms, width, paint)));
            }
        }
        lines
    }

    fn service_status(&self, name: &ServiceName, now_ms: u64, width: u16, paint: Paint) -> String {
        // A build or a container in the making says more than the service that waits for it.
        for task in [NodeId::Build(name.clone()), NodeId::Create(name.clone())] {
            if let Some(node) = self.nodes.get(&task) {
                match &node.phase {
                    Phase::Starting(Action::Keep) => {}
                    Phase::Starting(_) if node.gauge.text().is_empty() => {
                        let doing = if matches!(task, NodeId::Build(_)) { "building" } else { "creating" };
                        return format!("{doing} {}", node.age(now_ms, paint));
                    }
                    Phase::Starting(_) => return node.working(now_ms, width, paint),
                    Phase::Failed(message) => return paint.paint(BAD, &format!("failed: {message}")),
                    Phase::Waiting(on)
                        if matches!(
                            self.service(name),
                            Some(Node { phase: Phase::Pending | Phase::Waiting(_), .. })
                        ) =>
                    {
                        let others: Vec<_> = on.iter().filter(|need| is_worth_a_mention(need)).cloned().collect();
                        if !others.is_empty() {
                            return paint.paint(DIM, &phrase::waiting(&others));
                        }
                    }
                    Phase::Pending
                    | Phase::Waiting(_)
                    | Phase::Running
                    | Phase::Probing(_)
                    | Phase::Ready
                    | Phase::Completed
                    | Phase::Restarting(_)
                    | Phase::Stopping { .. }
                    | Phase::Killed
                    | Phase::Stopped => {}
                }
            }
        }
        let Some(node) = self.service(name) else { return String::new() };
        match &node.phase {
            Phase::Pending => paint.paint(DIM, "waiting"),
            Phase::Waiting(on) => {
                let others: Vec<_> = on.iter().filter(|need| is_worth_a_mention(need)).cloned().collect();
                paint.paint(DIM, &phrase::waiting(&others))
            }
            Phase::Starting(action) => {
                let id = NodeId::Service(name.clone());
                format!("{} {}", phrase::starting(&id, *action), node.age(now_ms, paint))
            }
            Phase::Running => format!("started {}", node.age(now_ms, paint)),
            Phase::Probing(answer) => format!("probing {} {}", node.age(now_ms, paint), paint.paint(DIM, answer)),
            Phase::Ready | Phase::Completed => {
                let text = node.ready_ms.map_or_else(
                    || "ready".to_owned(),
                    |ms| format!("ready in {}{}", words::duration(ms), if node.kept { ", kept" } else { "" }),
                );
                paint.paint(GOOD, &text)
            }
            Phase::Failed(message) => paint.paint(BAD, &format!("failed: {message}")),
            Phase::Restarting(text) => paint.paint(WARN, text),
            Phase::Stopping { .. } => "stopping".to_owned(),
            Phase::Killed => paint.paint(WARN, "killed"),
            Phase::Stopped => paint.paint(DIM, "stopped"),
        }
    }

    /// The lines of teardown: who is waited for, how long it has, and who stops after whom.
    pub(super) fn stopping_lines(&self, now_ms: u64, trace: &Trace, paint: Paint) -> Vec<String> {
        let Some(cause) = self.stopping else { return Vec::new() };
        let hurry = match cause {
            StopCause::Signal(_) => "Ctrl+C again to kill",
            StopCause::Command | StopCause::Failure | StopCause::AllExited => "Ctrl+C to kill",
        };
        let mut waiting = Vec::new();
        let mut later = Vec::new();
        for (id, node) in &self.nodes {
            let named = node.named(id);
            match &node.phase {
                Phase::Stopping { deadline_ms, .. } => {
                    let left = words::seconds(deadline_ms.saturating_sub(now_ms));
                    waiting.push(format!("waiting for {named}: {left} left; {hurry}"));
                }
                Phase::Killed => {
                    // Once somebody has insisted, there is only one thing left to insist on.
                    let abandon = if self.hurried { "; Ctrl+C again to leave it behind" } else { "" };
                    waiting.push(paint.paint(WARN, &format!("killing {named}{abandon}")));
                }
                Phase::Running | Phase::Probing(_) | Phase::Ready if node.is_ours_and_runs() => {
                    later.push(format!("{named} stops {}", self.stops_when(id, trace)));
                }
                Phase::Pending
                | Phase::Waiting(_)
                | Phase::Starting(_)
                | Phase::Running
                | Phase::Probing(_)
                | Phase::Ready
                | Phase::Completed
                | Phase::Failed(_)
                | Phase::Restarting(_)
                | Phase::Stopped => {}
            }
        }
        // In the order in which they will stop.
        later.reverse();
        let mut lines = shortened(waiting);
        lines.extend(shortened(later).into_iter().map(|line| paint.paint(DIM, &line)));
        lines
    }

    /// Whom a node waits for before it is stopped: those that need it and are still there.
    fn stops_when(&self, id: &NodeId, trace: &Trace) -> String {
        let there = |name: &&ServiceName| {
            self.service(name).is_some_and(|node| match node.phase {
                Phase::Stopping { .. } | Phase::Killed => true,
                Phase::Running | Phase::Probing(_) | Phase::Ready => node.is_ours_and_runs(),
                Phase::Pending
                | Phase::Waiting(_)
                | Phase::Starting(_)
                | Phase::Completed
                | Phase::Failed(_)
                | Phase::Restarting(_)
                | Phase::Stopped => false,
            })
        };
        let before: BTreeSet<&ServiceName> = trace.needed_by(id).filter(there).collect();
        if before.is_empty() { "next".to_owned() } else { format!("after {}", words::comma(before)) }
    }
}

/// At most as many lines as leave room for what is printed above them.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > LIVE_LINES {
        let more = lines.split_off(LIVE_LINES - 1).len();
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Networks and volumes take milliseconds, and a service's own container and build are shown in its own line.
fn is_worth_a_mention(id: &NodeId) -> bool {
    match id {
        NodeId::Service(_) | NodeId::Image(_) | NodeId::Install(_) => true,
        NodeId::Network(_) | NodeId::Volume(_) | NodeId::Create(_) | NodeId::Build(_) => false,
    }
}

impl Node {
    /// Whether it runs and is ours to stop.
    fn is_ours_and_runs(&self) -> bool {
        !self.kept && !matches!(self.handle, Some(Handle::External) | None)
    }

    /// `api (pid 123)`.
    fn named(&self, id: &NodeId) -> String {
        match &self.handle {
            Some(Handle::Container { name, .. }) => format!("{id} (container {name})"),
            Some(Handle::Process { pid }) => format!("{id} (pid {pid})"),
            Some(Handle::External) | None => id.to_string(),
        }
    }

    fn age(&self, now_ms: u64, paint: Paint) -> String {
        paint.paint(DIM, &words::duration(now_ms.saturating_sub(self.since_ms) / 100 * 100))
    }

    /// A pull, an installation or a build: a bar where there is room, the figures, the time.
    fn working(&self, now_ms: u64, width: u16, paint: Paint) -> String {
        let bar = match self.gauge.fraction() {
            Some(fraction) if width >= BAR_FROM_WIDTH => format!("{} ", bar(fraction)),
            Some(_) | None => String::new(),
        };
        format!("{bar}{} {}", self.gauge.text(), self.age(now_ms, paint))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a number of cells between 0 and 20"
)]
fn bar(fraction: f64) -> String {
    let full = ((fraction * BAR_CELLS as f64) as usize).min(BAR_CELLS);
    let head = usize::from(full < BAR_CELLS);
    format!("[{}{}{}]", "=".repeat(full), ">".repeat(head), " ".repeat(BAR_CELLS - full - head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_when_empty_as_when_full() {
        for fraction in [0.0, 0.01, 0.5, 0.999, 1.0] {
            assert_eq!(bar(fraction).len(), BAR_CELLS + 2, "{fraction}");
        }
        assert_eq!(bar(0.5), "[==========>         ]");
        assert_eq!(bar(1.0), "[====================]");
    }
}
