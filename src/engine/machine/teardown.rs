//! The end of a run: against the arrows, with patience, with less of it, and at last with a look at what is left.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::{Effect, Machine, Mode};
use crate::engine::node::{Entry, Kind, Phase, Then};
use crate::event::{Action, EventKind, Failure, Handle, Outcome, Receipt, Signal, StopCause, millis};
use crate::name::NodeId;

/// How long a killed workload may take to be gone before devctl stops waiting for it and reports it as left.
const AFTER_KILL: Duration = Duration::from_secs(10);

impl Machine {
    /// The first signal stops gracefully, the second kills, the third waits for nothing. Where a failure began the stop,
    /// the first signal is the second already: the user sees the stop, and wants it over.
    ///
    /// A hang-up begins a stop and never hurries one: a closed terminal sends it more than once, a reader that went
    /// away counts as one too, and nobody who pressed a key stands behind either. Nor does the first key after it count
    /// twice: of `devctl up | tee log`, one Ctrl+C ends both, and which of the two devctl hears first is chance.
    pub(super) fn signal(&mut self, signal: Signal, now: Instant) {
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

    pub(super) fn stop(&mut self, cause: StopCause, now: Instant) {
        let outcome = match (cause, &self.failed) {
            (StopCause::Signal(signal), None) if !self.was_ready => Outcome::Interrupted(signal),
            (StopCause::Command, None) if !self.was_ready => Outcome::Interrupted(Signal::Term),
            (StopCause::Signal(_) | StopCause::Command | StopCause::AllExited, None) => Outcome::Done,
            (_, Some((_, failed))) => *failed,
            (StopCause::Failure, None) => Outcome::Failed,
        };
        self.asked = u32::from(cause != StopCause::Signal(Signal::Hup));
        self.mode = Mode::Stopping { outcome, since: now, kill: false };
        self.emit(EventKind::StackStopping { cause });
        for index in 0..self.nodes.len() {
            let entry = &mut self.nodes[index];
            entry.then = None;
            if cause == StopCause::Failure && entry.was_there() {
                // A failure takes back what this run made, and no more.
                entry.spare();
            }
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
                | Phase::Stopped
                | Phase::Gone => {}
            }
        }
        self.wind_down();
    }

    /// Whether nothing of a node stands in the way of those it needs.
    fn cleared(entry: &Entry) -> bool {
        match entry.phase {
            Phase::Waiting | Phase::Backoff | Phase::Failed | Phase::Stopped | Phase::Gone => true,
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
    pub(super) fn wind_down(&mut self) {
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
                | Phase::Stopped
                | Phase::Gone => {}
            }
        }
        if self.nodes.values().all(Self::cleared) {
            self.verify(outcome, since);
        }
    }

    pub(super) fn stop_node(&mut self, id: &NodeId, kill: bool) {
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
    pub(super) fn kill_node(&mut self, id: &NodeId) {
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

    pub(super) fn kill_or_give_up(&mut self, id: &NodeId, now: Instant) {
        if self.entry(id).killed {
            self.give_up(id, format!("`{id}` is still there {} s after it was killed", AFTER_KILL.as_secs()), now);
        } else {
            self.kill_node(id);
        }
    }

    pub(super) fn stop_failed(&mut self, id: &NodeId, why: &str, now: Instant) {
        if self.entry(id).killed {
            self.give_up(id, format!("`{id}` could not be stopped: {why}"), now);
        } else {
            self.kill_node(id);
        }
    }

    /// Waits no longer for a workload; the last check tells whether it is really left.
    fn give_up(&mut self, id: &NodeId, message: String, now: Instant) {
        let is_up = self.mode == Mode::Up;
        let entry = self.entry(id);
        if is_up && !matches!(entry.then, Some(Then::Leave)) {
            // A second one beside it would only meet it.
            entry.then = None;
            return self.fail(id, Failure { message, environment: true, ..Failure::default() }, now);
        }
        self.entry(id).enter(Phase::Gone);
        self.emit(EventKind::Warning { node: Some(id.clone()), message, hints: Vec::new() });
        self.advance(now);
    }

    pub(super) fn count_stopped(&mut self, handle: Option<&Handle>) {
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

    pub(super) fn verified(&mut self, left: Vec<String>, now: Instant) {
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
