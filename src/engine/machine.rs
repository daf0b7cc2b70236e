//! The machine: what happens next, given what just happened. Pure, synchronous, deterministic.
//!
//! [`Machine::on`] takes one [`Input`] and the time and returns the [`Effect`]s to carry out, in order. It never waits,
//! never looks at a clock and never talks to anybody. Rules it keeps, and `tests` proves:
//!
//! - a node starts only when all its needs hold, and nothing starts once a stop began;
//! - teardown goes against the arrows: a node is stopped or taken back only when whatever needs it is gone;
//! - every timer that was armed is consumed or void: a phase change voids the timers of the phase before;
//! - what was there before the run, and what is not ours, is never stopped, unless somebody names it.

mod change;
mod ends;
mod health;
mod teardown;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::command::Command;
use super::node::{Entry, Epoch, Life, Phase, Redo, Spec};
use crate::event::{Action, EventKind, Exit, Failure, Handle, Outcome, Progress, Receipt, Signal, millis};
use crate::name::NodeId;
use crate::stack::{Need, OnTimeout};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The run begins.
    Begin,
    /// A driver or a probe reports on a life of a node.
    Report(NodeId, Life, Report),
    /// A timer is due.
    Timer(NodeId, Epoch),
    /// Somebody wants something of the run.
    Command(Command),
    /// The user or the system wants the run to end.
    Signal(Signal),
    /// The last check is made; this is what should be gone and is not.
    Verified(Vec<String>),
}

/// What a driver or a probe has to say about a node.
#[derive(Clone, Debug)]
pub enum Report {
    /// The workload runs.
    Started(Handle),
    /// The task is done.
    Done,
    /// It could not be started or done.
    StartFailed(Failure),
    /// The start was dropped in the middle, and nothing of it is left.
    Canceled,
    /// A pull, a download or a build advanced.
    Progress(Progress),
    /// The probe's answer changed and is not final.
    Answer(String),
    /// The probe says it is ready.
    Ready,
    /// The probe says it never will be.
    Never(Failure),
    /// A check of a ready workload's health passed, or failed and said this.
    Health(Option<String>),
    /// The workload ended.
    Exited(Exit),
    /// The workload could not be asked to stop, or could not be killed.
    StopFailed(String),
    /// The task is taken back.
    Undone,
    /// The task could not be taken back.
    UndoFailed(String),
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Effect {
    /// Bring the node about, in the way the plan says or in a plain restart.
    Start(NodeId, Life, Action),
    /// Drop its start.
    Cancel(NodeId, Life),
    /// Probe it until there is a final answer.
    Probe(NodeId, Life),
    /// Check its health from now on.
    Watch(NodeId, Life),
    /// Ask it to stop.
    Stop(NodeId, Life, Duration),
    /// Kill it.
    Kill(NodeId, Life),
    /// Take it back.
    Undo(NodeId, Life),
    /// Let go of what is held for the next start of a workload: there will be none soon.
    Release(NodeId),
    /// Say so when the time is over.
    Arm(NodeId, Epoch, Duration),
    /// Tell the outside.
    Emit(EventKind),
    /// Look what is left.
    Verify,
    /// The run is over.
    Finish(Outcome),
}

/// The state of a run.
#[derive(Debug)]
pub struct Machine {
    nodes: IndexMap<NodeId, Entry>,
    mode: Mode,
    /// Whether everything was ready once.
    was_ready: bool,
    /// Since when there is something to bring up, until all of it is up.
    settling: Option<Instant>,
    /// The first failure decides how the run ends, unless that node was started again since.
    failed: Option<(NodeId, Outcome)>,
    /// Spreads out the restarts of several runs.
    seed: u64,
    /// How often somebody asked for the end: a failure counts, a hang-up does not.
    asked: u32,
    receipt: Receipt,
    out: Vec<Effect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Idle,
    Up,
    Stopping { outcome: Outcome, since: Instant, kill: bool },
    Verifying { outcome: Outcome, since: Instant },
    Over,
}

impl Machine {
    /// Makes the machine of a run that began at `began`. `specs` are in an order in which needed nodes come before
    /// those that need them, and every need names one of them; `stack::resolve` makes sure of both. `seed`: what the
    /// jitter of delays is made of.
    pub fn new(specs: impl IntoIterator<Item = Spec>, began: Instant, seed: u64) -> Self {
        Self {
            nodes: specs.into_iter().map(|spec| (spec.id.clone(), Entry::new(spec))).collect(),
            mode: Mode::Idle,
            was_ready: false,
            settling: Some(began),
            failed: None,
            seed,
            asked: 0,
            receipt: Receipt::default(),
            out: Vec::new(),
        }
    }

    /// Takes an input and tells what to do about it.
    #[must_use]
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        if self.mode == Mode::Over {
            return Vec::new();
        }
        match input {
            Input::Begin => {
                if self.mode == Mode::Idle {
                    self.mode = Mode::Up;
                    self.advance(now);
                }
            }
            Input::Report(id, life, report) => {
                // A report of an earlier life, or of a node that is not ours, is void.
                if self.nodes.get(&id).is_some_and(|entry| entry.life == life) {
                    self.report(&id, report, now);
                }
            }
            Input::Timer(id, epoch) => {
                if self.nodes.get(&id).is_some_and(|entry| entry.epoch == epoch) {
                    self.timer(&id, now);
                }
            }
            Input::Command(command) => self.command(command, now),
            Input::Signal(signal) => self.signal(signal, now),
            Input::Verified(left) => self.verified(left, now),
        }
        std::mem::take(&mut self.out)
    }

    /// The phase of a node.
    pub fn phase(&self, id: &NodeId) -> Option<&Phase> {
        self.nodes.get(id).map(|entry| &entry.phase)
    }

    /// What a waiting node still needs, in the order of the manifest.
    pub fn unmet(&self, id: &NodeId) -> Vec<NodeId> {
        let Some(entry) = self.nodes.get(id) else { return Vec::new() };
        entry
            .spec
            .needs
            .iter()
            .filter(|need| !self.nodes.get(&need.on).is_some_and(|on| on.meets(need.until)))
            .map(|need| need.on.clone())
            .collect()
    }

    fn entry(&mut self, id: &NodeId) -> &mut Entry {
        self.nodes.get_mut(id).expect("inputs are checked against the nodes before they get here")
    }

    fn emit(&mut self, event: EventKind) {
        self.out.push(Effect::Emit(event));
    }

    // ---- start-up ----

    /// Takes the next steps: towards what commands want, and of the start-up. Tells what the others wait for.
    fn advance(&mut self, now: Instant) {
        if self.mode != Mode::Up {
            return self.wind_down();
        }
        self.follow_restarts();
        self.pursue(now);
        // One pass is enough: needed nodes come first, and only tasks that are kept are done at once.
        for index in 0..self.nodes.len() {
            let (id, entry) = self.nodes.get_index(index).expect("the index is within bounds");
            if entry.phase != Phase::Waiting || entry.then.is_some() {
                continue;
            }
            let id = id.clone();
            let unmet = self.unmet(&id);
            if unmet.is_empty() {
                self.start(&id, now);
            } else if self.nodes[index].told_waiting != unmet {
                self.nodes[index].told_waiting.clone_from(&unmet);
                self.emit(EventKind::Waiting { node: id, on: unmet });
            }
        }
        self.settle(now);
    }

    /// Says so once all that was to be brought up is up. What somebody has stopped is not waited for, nor is what needs
    /// it, nor what failed after that.
    fn settle(&mut self, now: Instant) {
        let Some(since) = self.settling else { return };
        let mut idle: HashSet<&NodeId> = HashSet::new();
        // Needed nodes come first.
        for (id, entry) in &self.nodes {
            let is_idle = match entry.phase {
                Phase::Stopped => true,
                Phase::Failed => self.was_ready,
                Phase::Waiting => entry.spec.needs.iter().any(|need| {
                    let unmet = |on: &Entry| !on.meets(need.until);
                    idle.contains(&need.on) && self.nodes.get(&need.on).is_some_and(unmet)
                }),
                Phase::Starting
                | Phase::Probing
                | Phase::Late
                | Phase::Ready
                | Phase::Done
                | Phase::Backoff
                | Phase::Stopping
                | Phase::Undoing
                | Phase::Gone => false,
            };
            if is_idle && entry.then.is_none() {
                idle.insert(id);
            } else if !entry.settled() {
                return;
            }
        }
        let unready = self
            .nodes
            .values()
            .filter(|entry| matches!(entry.phase, Phase::Late | Phase::Failed | Phase::Waiting))
            .filter_map(|entry| entry.spec.id.service().cloned())
            .collect();
        self.was_ready = true;
        self.settling = None;
        self.emit(EventKind::StackReady { elapsed_ms: millis(now.duration_since(since)), unready });
        self.end_if_nothing_runs(now);
    }

    fn start(&mut self, id: &NodeId, now: Instant) {
        let entry = &self.nodes[id];
        let lives = |need: &Need| Some((need.on.clone(), self.nodes.get(&need.on)?.life));
        let against = entry.spec.needs.iter().filter(|need| need.restart).filter_map(lives).collect();
        if self.failed.as_ref().is_some_and(|(failed, _)| failed == id) {
            self.failed = None;
        }
        let entry = self.entry(id);
        entry.life.0 += 1;
        entry.started = Some(now);
        entry.last_answer = None;
        entry.killed = false;
        entry.against = against;
        entry.ready_since = None;
        entry.unwell = 0;
        let (life, action) = (entry.life, entry.next);
        if !entry.is_workload() && action == Action::Keep {
            // It is there already: nobody has to be asked.
            entry.enter(Phase::Done);
            return;
        }
        if entry.is_workload() && action != Action::Expect {
            entry.next = Action::Start;
        }
        entry.made = true;
        entry.enter(Phase::Starting);
        self.emit(EventKind::Starting { node: id.clone(), action });
        self.out.push(Effect::Start(id.clone(), life, action));
    }

    fn report(&mut self, id: &NodeId, report: Report, now: Instant) {
        let phase = self.entry(id).phase.clone();
        match (report, phase) {
            (Report::Started(handle), Phase::Starting) => self.started(id, handle, now),
            (Report::Done, Phase::Starting) if self.entry(id).redo != Redo::No => self.redone(id, None, now),
            (Report::StartFailed(failure), Phase::Starting) if self.entry(id).redo != Redo::No => {
                self.redone(id, Some(failure), now);
            }
            (Report::Done, Phase::Starting) => {
                let entry = self.entry(id);
                let elapsed_ms = entry.started.map_or(0, |at| millis(now.duration_since(at)));
                entry.enter(Phase::Done);
                self.emit(EventKind::Completed { node: id.clone(), elapsed_ms });
                self.advance(now);
            }
            (Report::StartFailed(_), Phase::Starting) if self.mode == Mode::Up && self.entry(id).then.is_some() => {
                // Nobody waits for this life any more.
                self.entry(id).enter(Phase::Stopped);
                self.advance(now);
            }
            (Report::StartFailed(failure), Phase::Starting) => self.fail(id, failure, now),
            (Report::Canceled, Phase::Starting) => {
                let phase = if self.mode == Mode::Up { Phase::Stopped } else { Phase::Gone };
                self.entry(id).enter(phase);
                self.advance(now);
            }
            (Report::Progress(progress), Phase::Starting) => {
                self.emit(EventKind::Progress { node: id.clone(), progress });
            }
            (Report::Answer(answer), Phase::Probing | Phase::Late) => {
                let entry = self.entry(id);
                if entry.last_answer.as_ref() != Some(&answer) {
                    entry.last_answer = Some(answer.clone());
                    self.emit(EventKind::Probing { node: id.clone(), answer });
                }
            }
            (Report::Ready, Phase::Probing | Phase::Late) => self.ready(id, now),
            (Report::Never(failure), Phase::Probing | Phase::Late) => self.never(id, failure, now),
            (Report::Health(answer), Phase::Ready) => self.checked(id, answer, now),
            (Report::Exited(exit), Phase::Probing | Phase::Late | Phase::Ready | Phase::Stopping) => {
                self.exited(id, exit, now);
            }
            (Report::StopFailed(why), Phase::Stopping) => self.stop_failed(id, &why, now),
            (Report::Undone, Phase::Undoing) => {
                self.entry(id).enter(Phase::Gone);
                if matches!(id, NodeId::Network(_)) {
                    self.receipt.networks += 1;
                }
                self.emit(EventKind::Removed { node: id.clone() });
                self.advance(now);
            }
            (Report::UndoFailed(message), Phase::Undoing) => {
                self.entry(id).enter(Phase::Gone);
                self.emit(EventKind::Warning { node: Some(id.clone()), message, hints: Vec::new() });
                self.advance(now);
            }
            // Anything else came too late to matter: an answer of a probe whose workload has ended meanwhile, a
            // failed stop of a workload that is gone.
            (
                Report::Started(_)
                | Report::Done
                | Report::StartFailed(_)
                | Report::Canceled
                | Report::Progress(_)
                | Report::Answer(_)
                | Report::Ready
                | Report::Never(_)
                | Report::Health(_)
                | Report::Exited(_)
                | Report::StopFailed(_)
                | Report::Undone
                | Report::UndoFailed(_),
                _,
            ) => {}
        }
    }

    fn started(&mut self, id: &NodeId, handle: Handle, now: Instant) {
        let entry = self.entry(id);
        entry.handle = Some(handle.clone());
        entry.enter(Phase::Probing);
        let (life, epoch, probe, limit) = (entry.life, entry.epoch, entry.spec.probe, entry.spec.ready_timeout);
        self.emit(EventKind::Started { node: id.clone(), handle });
        let ours = self.entry(id).ours();
        match self.mode {
            Mode::Up => {}
            // Nobody waits for it any more, so this is the last moment at which somebody can end it.
            Mode::Verifying { .. } if ours => return self.kill_node(id),
            // It came up after a stop began; it goes down in its turn.
            Mode::Idle | Mode::Stopping { .. } | Mode::Verifying { .. } | Mode::Over => return self.wind_down(),
        }
        if self.entry(id).then.is_some() {
            return self.advance(now);
        }
        if probe.is_some() {
            self.out.push(Effect::Probe(id.clone(), life));
            self.out.push(Effect::Arm(id.clone(), epoch, limit));
            self.advance(now);
        } else {
            self.ready(id, now);
        }
    }

    fn ready(&mut self, id: &NodeId, now: Instant) {
        let entry = self.entry(id);
        entry.enter(Phase::Ready);
        // What a probe said before is no evidence of anything that happens later.
        entry.last_answer = None;
        entry.ready_since = Some(now);
        let elapsed_ms = entry.started.map_or(0, |at| millis(now.duration_since(at)));
        let (life, probe, watched) = (entry.life, entry.spec.probe.unwrap_or("started"), entry.spec.health.is_some());
        self.emit(EventKind::Ready { node: id.clone(), elapsed_ms, probe });
        if watched && self.mode == Mode::Up {
            self.out.push(Effect::Watch(id.clone(), life));
        }
        self.advance(now);
    }

    fn never(&mut self, id: &NodeId, failure: Failure, now: Instant) {
        if self.was_ready || self.mode != Mode::Up || self.entry(id).spec.action == Action::Expect {
            // The stack stays up: either it was ready once, or the thing is not ours to judge.
            self.go_on_without(id, failure.message, failure.hints, now);
        } else {
            self.condemn(id, failure, now);
        }
    }

    /// Takes a workload as ready with a warning.
    fn go_on_without(&mut self, id: &NodeId, message: String, hints: Vec<String>, now: Instant) {
        self.entry(id).enter(Phase::Late);
        self.emit(EventKind::Warning { node: Some(id.clone()), message, hints });
        self.advance(now);
    }

    fn timer(&mut self, id: &NodeId, now: Instant) {
        let entry = self.entry(id);
        match entry.phase {
            Phase::Probing => self.not_ready_in_time(id, now),
            Phase::Backoff => {
                entry.enter(Phase::Waiting);
                self.advance(now);
            }
            Phase::Stopping => self.kill_or_give_up(id, now),
            Phase::Waiting
            | Phase::Starting
            | Phase::Late
            | Phase::Ready
            | Phase::Done
            | Phase::Undoing
            | Phase::Failed
            | Phase::Stopped
            | Phase::Gone => {}
        }
    }

    fn not_ready_in_time(&mut self, id: &NodeId, now: Instant) {
        let entry = self.entry(id);
        let (limit, on_timeout) = (entry.spec.ready_timeout, entry.spec.on_timeout);
        let last = entry.last_answer.clone();
        let expected = entry.spec.action == Action::Expect;
        let limit = limit.as_secs_f64();
        let message = if expected {
            format!("`{id}` is not there: {}", last.as_deref().unwrap_or("no answer"))
        } else {
            format!("`{id}` was not ready within {limit} s")
        };
        let fail = match on_timeout {
            OnTimeout::Fail => !self.was_ready && !expected,
            OnTimeout::Warn => false,
        };
        if fail {
            let hints =
                vec!["where it only needs longer: `devctl up --timeout 2m`, or `timeout` under `ready`".to_owned()];
            let failure = Failure { message, last_probe: last, timed_out: true, hints, ..Failure::default() };
            self.condemn(id, failure, now);
        } else {
            let message = match last {
                Some(last) if !expected => format!("{message}; going on without it ({last})"),
                Some(_) | None => format!("{message}; going on without it"),
            };
            let hints = if expected {
                vec![format!("start `{id}`, or leave `--skip-docker` away and devctl starts it")]
            } else {
                vec![format!("see `devctl logs {id}`")]
            };
            self.go_on_without(id, message, hints, now);
        }
    }
}

#[cfg(test)]
mod tests;
