//! Workloads that end by themselves, and nodes that fail.

use std::time::{Duration, Instant};

use super::{Effect, Machine, Mode};
use crate::engine::backoff::Decision;
use crate::engine::node::{Life, Phase};
use crate::event::{Action, EventKind, Exit, Failure, Outcome, StopCause, millis};
use crate::name::NodeId;
use crate::stack::Until;

impl Machine {
    pub(super) fn exited(&mut self, id: &NodeId, exit: Exit, now: Instant) {
        let (up, seed) = (self.mode == Mode::Up, self.seed);
        let wanted_to_complete = self
            .nodes
            .values()
            .flat_map(|other| &other.spec.needs)
            .any(|need| need.on == *id && need.until == Until::Completed);
        let entry = self.entry(id);
        entry.exit = Some(exit.clone());
        let (ours, was_probing) = (entry.ours(), matches!(entry.phase, Phase::Probing | Phase::Late));
        if up && (entry.phase == Phase::Stopping || entry.then.is_some()) {
            // A command wanted it, and says what becomes of it now.
            entry.enter(Phase::Stopped);
            self.emit(EventKind::Stopped { node: id.clone(), exit });
            return self.advance(now);
        }
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
        let ready_for = entry.ready_since.map(|since| now.duration_since(since));
        let jitter = jitter(seed, entry.life);
        let decision = if ours {
            entry.restarts.decide(entry.spec.restart, &exit, ready_for, jitter, now)
        } else {
            Decision::LetBe
        };
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
                let message = format!("`{id}` ended again after {}: {exit}", times(restarts, within));
                let last_probe = entry.last_answer.clone();
                self.fail(id, Failure { message, exit: Some(exit), last_probe, ..Failure::default() }, now);
            }
        }
    }

    /// A node failed and does not run.
    pub(super) fn fail(&mut self, id: &NodeId, failure: Failure, now: Instant) {
        let entry = self.entry(id);
        entry.enter(Phase::Failed);
        if entry.is_workload() {
            // Nobody is to wait at a socket that nobody serves.
            self.out.push(Effect::Release(id.clone()));
        }
        self.condemn(id, failure, now);
    }

    /// A node failed, running or not. Before the stack was ready that ends the run; afterwards the others stay up.
    pub(super) fn condemn(&mut self, id: &NodeId, failure: Failure, now: Instant) {
        let outcome = if failure.timed_out {
            Outcome::NotReady
        } else if failure.environment {
            Outcome::Environment
        } else {
            Outcome::Failed
        };
        self.failed.get_or_insert((id.clone(), outcome));
        self.emit(EventKind::Failed { node: id.clone(), failure });
        if self.mode != Mode::Up {
            self.wind_down();
        } else if self.was_ready {
            self.settle(now);
            self.end_if_nothing_runs(now);
        } else {
            self.stop(StopCause::Failure, now);
        }
    }

    /// A run of which nothing runs any more is over.
    pub(super) fn end_if_nothing_runs(&mut self, now: Instant) {
        let over = self.nodes.values().filter(|entry| entry.is_workload()).all(|entry| {
            matches!(entry.phase, Phase::Done | Phase::Failed | Phase::Gone) || entry.spec.action == Action::Expect
        });
        if self.was_ready && self.mode == Mode::Up && over {
            self.stop(StopCause::AllExited, now);
        }
    }
}

/// `5 restarts within 60 s`.
pub(super) fn times(restarts: u32, within: Duration) -> String {
    let plural = if restarts == 1 { "" } else { "s" };
    format!("{restarts} restart{plural} within {} s", within.as_secs())
}

/// A number below 1, another for each life and each run: services that fail together should not come back together.
fn jitter(seed: u64, life: Life) -> f64 {
    // SplitMix64: https://prng.di.unimi.it/splitmix64.c
    let mut z = seed.wrapping_add(u64::from(life.0).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bits = u32::try_from((z ^ (z >> 31)) >> 32).expect("32 bits are left");
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
