//! The machine: what happens next, given what just happened. Pure, synchronous, deterministic.
//!
//! [`Machine::on`] takes one [`Input`] and the time and returns the [`Effect`]s to carry out, in order. It never waits,
//! never looks at a clock and never talks to anybody. Rules it keeps, and `tests` proves:
//!
//! - a node starts only when all its needs hold, and nothing starts once a stop began;
//! - teardown goes against the arrows: a node is stopped or taken back only when whatever needs it is gone;
//! - every timer that was armed is consumed or void: a phase change voids the timers of the phase before;
//! - what was there before the run, and what is not ours, is never stopped.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::backoff::Decision;
use super::node::{Entry, Epoch, Kind, Life, Phase, Spec};
use crate::event::{Action, EventKind, Exit, Failure, Handle, Outcome, Progress, Receipt, Signal, StopCause, millis};
use crate::name::NodeId;
use crate::stack::{OnTimeout, Until};

/// How long a killed workload may take to be gone before devctl stops waiting for it and reports it as left.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The run begins.
    Begin,
    /// A driver or a probe reports on a life of a node.
    Report(NodeId, Life, Report),
    /// A timer is due.
    Timer(NodeId, Epoch),
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
    /// Bring the node about.
    Start(NodeId, Life),
    /// Drop its start.
    Cancel(NodeId, Life),
    /// Probe it until there is a final answer.
    Probe(NodeId, Life),
    /// Ask it to stop.
    Stop(NodeId, Life, Duration),
    /// Kill it.
    Kill(NodeId, Life),
    /// Take it back.
    Undo(NodeId, Life),
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
    began: Instant,
    mode: Mode,
    /// Whether everything was ready once.
    was_ready: bool,
    /// The first failure decides how the run ends.
    failed: Option<Outcome>,
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
    /// those that need them, and every need names one of them; `stack::resolve` makes sure of both.
    pub fn new(specs: impl IntoIterator<Item = Spec>, began: Instant) -> Self {
        Self {
            nodes: specs.into_iter().map(|spec| (spec.id.clone(), Entry::new(spec))).collect(),
            began,
            mode: Mode::Idle,
            was_ready: false,
            failed: None,
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

    /// Starts whatever can start now and tells what the others wait for.
    fn advance(&mut self, now: Instant) {
        if self.mode != Mode::Up {
            return self.wind_down();
        }
        // One pass is enough: needed nodes come first, and only tasks that are kept are done at once.
        for index in 0..self.nodes.len() {
            let (id, entry) = self.nodes.get_index(index).expect("the index is within bounds");
            if entry.phase != Phase::Waiting {
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
        if !self.was_ready && self.nodes.values().all(Entry::settled) {
            self.was_ready = true;
            let unready = self
                .nodes
                .values()
                .filter(|entry| entry.phase == Phase::Late)
                .filter_map(|entry| entry.spec.id.service().cloned())
                .collect();
            let elapsed_ms = millis(now.duration_since(self.began));
            self.emit(EventKind::StackReady { elapsed_ms, unready });
            self.end_if_nothing_runs(now);
        }
    }

    fn start(&mut self, id: &NodeId, now: Instant) {
        let entry = self.entry(id);
        entry.life.0 += 1;
        entry.started = Some(now);
        entry.last_answer = None;
        entry.killed = false;
        let (life, action) = (entry.life, entry.spec.action);
        if !entry.is_workload() && action == Action::Keep {
            // It is there already: nobody has to be asked.
            entry.enter(Phase::Done);
            return;
        }
        entry.made = true;
        entry.enter(Phase::Starting);
        self.emit(EventKind::Starting { node: id.clone(), action });
        self.out.push(Effect::Start(id.clone(), life));
    }

    fn report(&mut self, id: &NodeId, report: Report, now: Instant) {
        let phase = self.entry(id).phase.clone();
        match (report, phase) {
            (Report::Started(handle), Phase::Starting) => self.started(id, handle, now),
            (Report::Done, Phase::Starting) => {
                let entry = self.entry(id);
                let elapsed_ms = entry.started.map_or(0, |at| millis(now.duration_since(at)));
                entry.enter(Phase::Done);
                self.emit(EventKind::Completed { node: id.clone(), elapsed_ms });
                self.advance(now);
            }
            (Report::StartFailed(failure), Phase::Starting) => self.fail(id, failure, now),
            (Report::Canceled, Phase::Starting) => {
                self.entry(id).enter(Phase::Gone);
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
        if self.mode != Mode::Up {
            // It came up after a stop began; it goes down in its turn.
            return self.wind_down();
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
        let elapsed_ms = entry.started.map_or(0, |at| millis(now.duration_since(at)));
        let probe = entry.spec.probe.unwrap_or("started");
        self.emit(EventKind::Ready { node: id.clone(), elapsed_ms, probe });
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

    // ---- ends and failures ----

    fn exited(&mut self, id: &NodeId, exit: Exit, now: Instant) {
        let up = self.mode == Mode::Up;
        let wanted_to_complete = self
            .nodes
            .values()
            .flat_map(|other| &other.spec.needs)
            .any(|need| need.on == *id && need.until == Until::Completed);
        let entry = self.entry(id);
        entry.exit = Some(exit.clone());
        let (ours, was_probing) = (entry.ours(), matches!(entry.phase, Phase::Probing | Phase::Late));
        if entry.phase == Phase::Stopping || !up {
            entry.enter(Phase::Gone);
            if ours && exit.lost.is_none() {
                let handle = entry.handle.clone();
                self.count_stopped(handle.as_ref());
            }
            self.emit(EventKind::Stopped { node: id.clone(), exit });
            return self.advance(now);
        }
        if let Some(why) = &exit.lost {
            // It may well run on, so that another start would only meet it.
            let message = format!("lost sight of `{id}`: {why}");
            let failure = Failure { message, exit: Some(exit), environment: true, ..Failure::default() };
            return self.fail(id, failure, now);
        }
        let decision = if ours { entry.restarts.decide(entry.spec.restart, &exit, now) } else { Decision::LetBe };
        let no_probe = entry.spec.probe.is_none();
        match decision {
            Decision::Again { delay, attempt } => {
                entry.enter(Phase::Backoff);
                let epoch = entry.epoch;
                self.out.push(Effect::Arm(id.clone(), epoch, delay));
                self.emit(EventKind::Restarting { node: id.clone(), attempt, delay_ms: millis(delay), exit });
            }
            Decision::LetBe if exit.success() && (no_probe || wanted_to_complete) => {
                // A job: it did what it was for.
                entry.enter(Phase::Done);
                let elapsed_ms = entry.started.map_or(0, |at| millis(now.duration_since(at)));
                self.emit(EventKind::Completed { node: id.clone(), elapsed_ms });
                self.advance(now);
                self.end_if_nothing_runs(now);
            }
            Decision::LetBe => {
                let when = if was_probing { "before it was ready" } else { "by itself" };
                let message = format!("`{id}` ended {when}: {exit}");
                let last_probe = entry.last_answer.clone();
                self.fail(id, Failure { message, exit: Some(exit), last_probe, ..Failure::default() }, now);
            }
            Decision::GiveUp { restarts, within } => {
                let times = if restarts == 1 { "1 restart".to_owned() } else { format!("{restarts} restarts") };
                let message = format!("`{id}` ended again after {times} within {} s: {exit}", within.as_secs());
                let last_probe = entry.last_answer.clone();
                self.fail(id, Failure { message, exit: Some(exit), last_probe, ..Failure::default() }, now);
            }
        }
    }

    /// A node failed and does not run.
    fn fail(&mut self, id: &NodeId, failure: Failure, now: Instant) {
        self.entry(id).enter(Phase::Failed);
        self.condemn(id, failure, now);
    }

    /// A node failed, running or not. Before the stack was ready that ends the run; afterwards the others stay up.
    fn condemn(&mut self, id: &NodeId, failure: Failure, now: Instant) {
        let outcome = if failure.timed_out {
            Outcome::NotReady
        } else if failure.environment {
            Outcome::Environment
        } else {
            Outcome::Failed
        };
        self.failed.get_or_insert(outcome);
        self.emit(EventKind::Failed { node: id.clone(), failure });
        if self.mode != Mode::Up {
            self.wind_down();
        } else if self.was_ready {
            self.end_if_nothing_runs(now);
        } else {
            self.stop(StopCause::Failure, now);
        }
    }

    /// A run of which nothing runs any more is over.
    fn end_if_nothing_runs(&mut self, now: Instant) {
        let over = self.nodes.values().filter(|entry| entry.is_workload()).all(|entry| {
            matches!(entry.phase, Phase::Done | Phase::Failed | Phase::Gone) || entry.spec.action == Action::Expect
        });
        if self.was_ready && self.mode == Mode::Up && over {
            self.stop(StopCause::AllExited, now);
        }
    }

    // ---- teardown ----

    /// The first signal stops gracefully, the second kills, the third waits for nothing. Where a failure began the stop,
    /// the first signal is the second already: the user sees the stop, and wants it over.
    ///
    /// A hang-up begins a stop and never hurries one: a closed terminal sends it more than once, a reader that went
    /// away counts as one too, and nobody who pressed a key stands behind either. Nor does the first key after it count
    /// twice: of `devctl up | tee log`, one Ctrl+C ends both, and which of the two devctl hears first is chance.
    fn signal(&mut self, signal: Signal, now: Instant) {
        if matches!(self.mode, Mode::Idle | Mode::Up) {
            return self.stop(StopCause::Signal(signal), now);
        }
        let Mode::Stopping { outcome, since, .. } = self.mode else { return };
        if signal == Signal::Hup {
            return;
        }
        self.asked += 1;
        match self.asked {
            0 | 1 => {}
            2 => {
                self.mode = Mode::Stopping { outcome, since, kill: true };
                self.kill_everything();
                self.wind_down();
            }
            // What is left is in the receipt.
            _ => self.verify(outcome, since),
        }
    }

    fn stop(&mut self, cause: StopCause, now: Instant) {
        let outcome = match (cause, self.failed) {
            (StopCause::Signal(signal), None) if !self.was_ready => Outcome::Interrupted(signal),
            (StopCause::Signal(_) | StopCause::AllExited, None) => Outcome::Done,
            (_, Some(failed)) => failed,
            (StopCause::Failure, None) => Outcome::Failed,
        };
        self.asked = u32::from(cause != StopCause::Signal(Signal::Hup));
        self.mode = Mode::Stopping { outcome, since: now, kill: false };
        self.emit(EventKind::StackStopping { cause });
        for index in 0..self.nodes.len() {
            let entry = &mut self.nodes[index];
            match entry.phase {
                Phase::Waiting | Phase::Backoff => entry.enter(Phase::Gone),
                Phase::Starting if entry.cancellable() => {
                    self.out.push(Effect::Cancel(entry.spec.id.clone(), entry.life));
                }
                Phase::Starting
                | Phase::Probing
                | Phase::Late
                | Phase::Ready
                | Phase::Done
                | Phase::Stopping
                | Phase::Undoing
                | Phase::Failed
                | Phase::Gone => {}
            }
        }
        self.wind_down();
    }

    /// Whether nothing of a node stands in the way of those it needs.
    fn cleared(entry: &Entry) -> bool {
        match entry.phase {
            Phase::Waiting | Phase::Backoff | Phase::Failed | Phase::Gone => true,
            Phase::Starting | Phase::Stopping | Phase::Undoing => false,
            Phase::Probing | Phase::Late | Phase::Ready => !entry.ours(),
            Phase::Done => match entry.spec.kind {
                Kind::Task { undo, .. } => !(undo && entry.made && entry.ours()),
                Kind::Workload { .. } => true,
            },
        }
    }

    /// Takes the next steps of the teardown: whatever is needed, directly or through others, by nothing that is still
    /// there.
    fn wind_down(&mut self) {
        let Mode::Stopping { outcome, since, kill } = self.mode else { return };
        // Needed nodes come first, so walking backwards meets every node after all that need it.
        let mut held: HashSet<NodeId> = HashSet::new();
        for index in (0..self.nodes.len()).rev() {
            let entry = &self.nodes[index];
            let (id, is_held) = (entry.spec.id.clone(), held.contains(&entry.spec.id));
            let cleared = Self::cleared(entry);
            if is_held || !cleared {
                held.extend(entry.spec.needs.iter().map(|need| need.on.clone()));
            }
            if is_held || cleared {
                continue;
            }
            match entry.phase {
                Phase::Probing | Phase::Late | Phase::Ready => self.stop_node(&id, kill),
                Phase::Done => {
                    let entry = &mut self.nodes[index];
                    entry.enter(Phase::Undoing);
                    let life = entry.life;
                    self.out.push(Effect::Undo(id, life));
                }
                Phase::Waiting
                | Phase::Starting
                | Phase::Backoff
                | Phase::Stopping
                | Phase::Undoing
                | Phase::Failed
                | Phase::Gone => {}
            }
        }
        if self.nodes.values().all(Self::cleared) {
            self.verify(outcome, since);
        }
    }

    fn stop_node(&mut self, id: &NodeId, kill: bool) {
        let entry = self.entry(id);
        entry.enter(Phase::Stopping);
        let (life, epoch, grace) = (entry.life, entry.epoch, entry.spec.stop_grace);
        if kill {
            return self.kill_node(id);
        }
        self.emit(EventKind::Stopping { node: id.clone(), grace_ms: millis(grace) });
        self.out.push(Effect::Stop(id.clone(), life, grace));
        self.out.push(Effect::Arm(id.clone(), epoch, grace));
    }

    /// Kills a workload that is in the phase `Stopping`.
    fn kill_node(&mut self, id: &NodeId) {
        let entry = self.entry(id);
        entry.killed = true;
        entry.enter(Phase::Stopping);
        let (life, epoch) = (entry.life, entry.epoch);
        self.emit(EventKind::Killing { node: id.clone() });
        self.out.push(Effect::Kill(id.clone(), life));
        self.out.push(Effect::Arm(id.clone(), epoch, AFTER_KILL));
    }

    fn kill_everything(&mut self) {
        let running: Vec<NodeId> = self
            .nodes
            .values()
            .rev()
            .filter(|entry| entry.ours() && entry.runs() && !entry.killed)
            .map(|entry| entry.spec.id.clone())
            .collect();
        for id in running {
            self.kill_node(&id);
        }
    }

    fn kill_or_give_up(&mut self, id: &NodeId, now: Instant) {
        if self.entry(id).killed {
            self.give_up(id, format!("`{id}` is still there {} s after it was killed", AFTER_KILL.as_secs()), now);
        } else {
            self.kill_node(id);
        }
    }

    fn stop_failed(&mut self, id: &NodeId, why: &str, now: Instant) {
        if self.entry(id).killed {
            self.give_up(id, format!("`{id}` could not be stopped: {why}"), now);
        } else {
            self.kill_node(id);
        }
    }

    /// Waits no longer for a workload; the last check tells whether it is really left.
    fn give_up(&mut self, id: &NodeId, message: String, now: Instant) {
        self.entry(id).enter(Phase::Gone);
        self.emit(EventKind::Warning { node: Some(id.clone()), message, hints: Vec::new() });
        self.advance(now);
    }

    fn count_stopped(&mut self, handle: Option<&Handle>) {
        match handle {
            Some(Handle::Container { .. }) => self.receipt.containers += 1,
            Some(Handle::Process { .. }) => self.receipt.processes += 1,
            Some(Handle::External) | None => {}
        }
    }

    fn verify(&mut self, outcome: Outcome, since: Instant) {
        self.mode = Mode::Verifying { outcome, since };
        self.out.push(Effect::Verify);
    }

    fn verified(&mut self, left: Vec<String>, now: Instant) {
        let Mode::Verifying { outcome, since } = self.mode else { return };
        self.mode = Mode::Over;
        let outcome = if left.is_empty() || outcome != Outcome::Done { outcome } else { Outcome::Failed };
        let kept = self
            .nodes
            .values()
            .filter(|entry| entry.is_workload() && entry.spec.action == Action::Keep && entry.runs())
            .map(|entry| entry.spec.id.to_string())
            .collect();
        let elapsed_ms = millis(now.duration_since(since));
        let receipt = Receipt { kept, left, elapsed_ms, ..std::mem::take(&mut self.receipt) };
        self.emit(EventKind::Receipt(receipt));
        self.emit(EventKind::Finished { outcome, exit_code: outcome.exit_code() });
        self.out.push(Effect::Finish(outcome));
    }
}

#[cfg(test)]
mod tests;
