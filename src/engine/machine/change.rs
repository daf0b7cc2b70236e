//! Commands: what becomes of a run that is up when somebody wants something of it.
//!
//! A command writes down what is to become of each node ([`Then`]); [`Machine::pursue`] takes the steps, against the
//! arrows: of two nodes that have to stop, the one that needs the other stops first.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::{Effect, Machine, Mode};
use crate::engine::backoff::Restarts;
use crate::engine::command::{Change, Command};
use crate::engine::node::{Entry, Kind, Phase, Redo, Spec, Then};
use crate::event::{EventKind, Failure, Signal, StopCause, millis};
use crate::name::NodeId;

impl Machine {
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        if let Command::Down { kill, keep } = command {
            return self.down(kill, keep, now);
        }
        if self.mode != Mode::Up {
            return;
        }
        match command {
            Command::Start(nodes) => self.start_again(&nodes),
            Command::Stop { nodes, kill } => {
                for id in nodes {
                    self.want(&id, Then::Stay, kill);
                }
            }
            Command::Restart { nodes, build, cause } => self.restart(&nodes, build, &cause, now),
            Command::Apply(change) => self.apply(change, now),
            Command::Down { .. } => {}
        }
        self.advance(now);
    }

    fn down(&mut self, kill: bool, keep: bool, now: Instant) {
        if keep {
            for entry in self.nodes.values_mut() {
                entry.spare();
            }
        }
        if matches!(self.mode, Mode::Idle | Mode::Up) {
            self.stop(StopCause::Command, now);
        }
        if kill {
            // As insistent as the second Ctrl+C, whatever came before it.
            self.asked = self.asked.max(1);
            self.signal(Signal::Term, now);
        }
    }

    /// Writes down what is to become of a service. What is about to leave leaves.
    fn want(&mut self, id: &NodeId, then: Then, kill: bool) {
        let Some(entry) = self.nodes.get_mut(id) else { return };
        if matches!(entry.then, Some(Then::Leave)) || entry.phase == Phase::Gone {
            return;
        }
        let again = matches!(then, Then::Again);
        entry.then = Some(match (then, entry.then.take()) {
            // Whatever is wanted of it besides, its next life is that of the new plan.
            (Then::Again, Some(Then::Replace(spec))) => Then::Replace(spec),
            (then, Some(Then::Replace(spec))) => {
                entry.spec = Spec { action: entry.spec.action, ..*spec };
                then
            }
            (then, _) => then,
        });
        entry.hurry = kill;
        if kill && entry.phase == Phase::Stopping && !entry.killed {
            self.kill_node(id);
        } else if again {
            // Whoever asks for it has seen what became of it before.
            self.entry(id).restarts = Restarts::default();
        }
    }

    /// Starts what does not run, and what it needs that does not run either.
    fn start_again(&mut self, nodes: &[NodeId]) {
        let mut waiting: Vec<NodeId> = nodes.to_vec();
        let mut seen: HashSet<NodeId> = HashSet::new();
        while let Some(id) = waiting.pop() {
            let asked = nodes.contains(&id);
            let Some(entry) = self.nodes.get_mut(&id) else { continue };
            if !seen.insert(id) {
                continue;
            }
            waiting.extend(entry.spec.needs.iter().map(|need| need.on.clone()));
            let again = match entry.phase {
                Phase::Stopped | Phase::Failed | Phase::Backoff => true,
                Phase::Done => asked && entry.is_workload(),
                Phase::Waiting
                | Phase::Starting
                | Phase::Probing
                | Phase::Late
                | Phase::Ready
                | Phase::Stopping
                | Phase::Undoing
                | Phase::Gone => matches!(entry.then, Some(Then::Stay)),
            };
            if again {
                if !matches!(entry.then, Some(Then::Replace(_))) {
                    entry.then = Some(Then::Again);
                }
                entry.restarts = Restarts::default();
            }
        }
    }

    fn restart(&mut self, nodes: &[NodeId], build: bool, cause: &str, now: Instant) {
        for id in nodes {
            let Some(entry) = self.nodes.get(id) else { continue };
            let builds: Vec<NodeId> = entry
                .spec
                .needs
                .iter()
                .filter(|need| build && matches!(need.on, NodeId::Build(_)))
                .map(|need| need.on.clone())
                .collect();
            if builds.is_empty() {
                self.renew(id, cause);
            }
            for id in builds {
                self.redo(&id, now);
            }
        }
        if !build {
            self.start_again(nodes);
        }
    }

    /// Has a service stopped and started again, and says why.
    pub(super) fn renew(&mut self, id: &NodeId, cause: &str) {
        let Some(entry) = self.nodes.get(id) else { return };
        if entry.runs() || entry.phase == Phase::Starting {
            self.emit(EventKind::Renewing { node: id.clone(), cause: cause.to_owned() });
        }
        self.want(id, Then::Again, false);
    }

    /// Does a task again whose result is in use.
    fn redo(&mut self, id: &NodeId, now: Instant) {
        let Some(entry) = self.nodes.get_mut(id) else { return };
        match entry.phase {
            Phase::Done => {
                entry.redo = Redo::Running;
                self.start(id, now);
            }
            Phase::Starting => entry.redo = if entry.redo == Redo::No { Redo::No } else { Redo::Once },
            Phase::Failed | Phase::Stopped => entry.then = Some(Then::Again),
            Phase::Waiting
            | Phase::Probing
            | Phase::Late
            | Phase::Ready
            | Phase::Backoff
            | Phase::Stopping
            | Phase::Undoing
            | Phase::Gone => {}
        }
    }

    /// A task that was done before is done again, well or badly. Only a good one reaches what uses its result.
    pub(super) fn redone(&mut self, id: &NodeId, failure: Option<Failure>, now: Instant) {
        let entry = self.entry(id);
        let once_more = std::mem::take(&mut entry.redo) == Redo::Once;
        let elapsed_ms = entry.started.map_or(0, |at| millis(now.duration_since(at)));
        entry.enter(Phase::Done);
        let succeeded = failure.is_none();
        self.emit(match failure {
            None => EventKind::Completed { node: id.clone(), elapsed_ms },
            Some(failure) => EventKind::BuildFailed { node: id.clone(), failure },
        });
        if once_more {
            self.redo(id, now);
        } else if succeeded {
            let users: Vec<NodeId> = self
                .nodes
                .values()
                .filter(|entry| entry.spec.needs.iter().any(|need| need.on == *id) && entry.phase != Phase::Stopped)
                .map(|entry| entry.spec.id.clone())
                .collect();
            for user in users {
                self.renew(&user, "it was built anew");
            }
        }
        self.advance(now);
    }

    /// Goes over to another plan: what is new is brought up, what is gone is taken away, what changed is made anew, and
    /// all else is left alone.
    fn apply(&mut self, change: Change, now: Instant) {
        let Change { specs, changed, again } = change;
        let wanted: HashSet<NodeId> = specs.iter().map(|spec| spec.id.clone()).collect();
        let (stay, leave): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut self.nodes).into_values().partition(|entry| wanted.contains(&entry.spec.id));
        let mut stay: HashMap<NodeId, Entry> = stay.into_iter().map(|entry| (entry.spec.id.clone(), entry)).collect();
        for spec in specs {
            let id = spec.id.clone();
            let entry = match stay.remove(&id) {
                None => Entry::new(spec),
                Some(entry) => self.carried_over(entry, spec, changed.get(&id), again.contains(&id)),
            };
            self.nodes.insert(id, entry);
        }
        // Behind all others: what they need stands before them, and nothing that stays needs them.
        for mut entry in leave {
            if entry.phase != Phase::Gone {
                entry.then = Some(Then::Leave);
            }
            self.nodes.insert(entry.spec.id.clone(), entry);
        }
        let is_busy =
            |entry: &Entry| entry.then.is_some() || (entry.phase == Phase::Waiting && entry.started.is_none());
        if self.nodes.values().any(is_busy) {
            self.settling.get_or_insert(now);
        }
    }

    /// A node that both plans have.
    fn carried_over(&mut self, mut entry: Entry, spec: Spec, cause: Option<&String>, again: bool) -> Entry {
        let was_gone = entry.phase == Phase::Gone || matches!(entry.then, Some(Then::Leave));
        if let Some(cause) = cause.cloned().or_else(|| was_gone.then(String::new)) {
            if entry.runs() && entry.is_workload() {
                self.emit(EventKind::Renewing { node: spec.id.clone(), cause });
            }
            entry.then = Some(Then::Replace(Box::new(spec)));
            return entry;
        }
        if let Some(Then::Replace(next)) = &mut entry.then {
            // It is on its way to an earlier plan, which this one takes the place of.
            **next = spec;
            return entry;
        }
        // What the plan would do now is of no matter: it is done already.
        entry.spec = Spec { action: entry.spec.action, ..spec };
        if entry.phase == Phase::Ready && entry.spec.health.is_some() {
            // It may be asked in another way from now on.
            self.out.push(Effect::Watch(entry.spec.id.clone(), entry.life));
        }
        // What somebody is stopping is wanted after all.
        let idle = matches!(entry.phase, Phase::Failed | Phase::Stopped) || matches!(entry.then, Some(Then::Stay));
        if again && idle {
            entry.then = Some(Then::Again);
            entry.restarts = Restarts::default();
        }
        entry
    }

    /// Restarts what was started against an earlier life of something it has to be restarted with.
    pub(super) fn follow_restarts(&mut self) {
        let behind = |entry: &Entry| {
            if !entry.runs() || entry.phase == Phase::Stopping || entry.then.is_some() {
                return None;
            }
            let (on, _) = entry.against.iter().find(|(on, life)| {
                let until = entry.spec.needs.iter().find(|need| need.on == *on).map(|need| need.until);
                let there = self.nodes.get(on).zip(until);
                there.is_some_and(|(there, until)| there.life != *life && there.meets(until))
            })?;
            Some((entry.spec.id.clone(), format!("`{on}` was restarted")))
        };
        let renewed: Vec<(NodeId, String)> = self.nodes.values().filter_map(behind).collect();
        for (id, cause) in renewed {
            self.renew(&id, &cause);
        }
    }

    /// Takes the next steps towards what commands want of the nodes.
    pub(super) fn pursue(&mut self, now: Instant) {
        let mut held: HashSet<NodeId> = HashSet::new();
        for index in (0..self.nodes.len()).rev() {
            let entry = &self.nodes[index];
            if entry.then.is_none() {
                continue;
            }
            let id = entry.spec.id.clone();
            let is_held = held.contains(&id);
            let busy = matches!(entry.phase, Phase::Starting | Phase::Stopping | Phase::Undoing) || entry.runs();
            if busy || is_held {
                held.extend(entry.spec.needs.iter().map(|need| need.on.clone()));
            }
            if is_held {
                continue;
            }
            match entry.phase {
                Phase::Probing | Phase::Late | Phase::Ready => {
                    if matches!(entry.then, Some(Then::Leave)) && !entry.ours() {
                        self.conclude(&id, now);
                    } else {
                        let kill = entry.hurry;
                        self.stop_node(&id, kill);
                    }
                }
                Phase::Starting if entry.cancellable() => {
                    let life = entry.life;
                    self.out.push(Effect::Cancel(id, life));
                }
                Phase::Starting | Phase::Stopping | Phase::Undoing => {}
                Phase::Waiting | Phase::Done | Phase::Backoff | Phase::Failed | Phase::Stopped | Phase::Gone => {
                    self.conclude(&id, now);
                }
            }
        }
    }

    /// Nothing of the node's present life runs: it becomes what was wanted of it.
    fn conclude(&mut self, id: &NodeId, now: Instant) {
        let entry = self.entry(id);
        let Some(then) = entry.then.take() else { return };
        entry.told_waiting.clear();
        entry.hurry = false;
        match then {
            Then::Stay => {
                entry.enter(Phase::Stopped);
                self.out.push(Effect::Release(id.clone()));
            }
            Then::Again => entry.enter(Phase::Waiting),
            Then::Replace(spec) => {
                let Entry { life, epoch, .. } = *entry;
                *entry = Entry { life, epoch, made: entry.made, ..Entry::new(*spec) };
                entry.enter(Phase::Waiting);
            }
            Then::Fail(failure) => self.fail(id, *failure, now),
            Then::Leave => {
                let undo = match entry.spec.kind {
                    Kind::Task { undo, .. } => undo && entry.made && entry.ours() && entry.phase == Phase::Done,
                    Kind::Workload { .. } => false,
                };
                entry.spec.needs.clear();
                if undo {
                    entry.enter(Phase::Undoing);
                    let life = entry.life;
                    self.out.push(Effect::Undo(id.clone(), life));
                } else {
                    let told = entry.is_workload() && entry.phase != Phase::Gone;
                    entry.enter(Phase::Gone);
                    self.out.push(Effect::Release(id.clone()));
                    if told {
                        self.emit(EventKind::Removed { node: id.clone() });
                    }
                }
            }
        }
    }
}
