//! One node as the machine sees it: what it needs, in which phase it is, and what voids its timers and reports.

use std::time::{Duration, Instant};

use super::backoff::Restarts;
use crate::event::{Action, Exit, Failure, Handle};
use crate::name::NodeId;
use crate::stack::{HealthAction, Need, OnTimeout, Restart, Until};

/// What the machine has to know of a node; the rest of it is for the drivers.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its identity.
    pub id: NodeId,
    /// Whether it is done once (a task) or runs (a workload).
    pub kind: Kind,
    /// What the plan decided.
    pub action: Action,
    /// What must hold before it starts.
    pub needs: Vec<Need>,
    /// The kind of its probe, where it has one.
    pub probe: Option<&'static str>,
    /// How long it may take to be ready.
    pub ready_timeout: Duration,
    /// What happens at that limit.
    pub on_timeout: OnTimeout,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// How long it has to stop.
    pub stop_grace: Duration,
    /// What is asked of it once it is ready, where something is.
    pub health: Option<Liveness>,
}

/// When a ready workload counts as unhealthy, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// After how many failed checks in a row.
    pub retries: u32,
    /// What happens then.
    pub action: HealthAction,
}

/// The two kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Done once.
    Task {
        /// Whether teardown takes it back: containers and networks.
        undo: bool,
        /// Whether it may be dropped in the middle: pulls and builds may, since nothing of theirs stays behind.
        cancel: bool,
    },
    /// Runs until it ends or is stopped.
    Workload {
        /// Whether its start may be dropped in the middle.
        cancel: bool,
    },
}

/// Which start of a node a report belongs to. A report of an earlier life is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Life(pub u32);

/// Which phase of a node a timer belongs to. A timer of an earlier phase is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its needs do not hold yet.
    Waiting,
    /// A driver is at it.
    Starting,
    /// It runs, and is being probed.
    Probing,
    /// It runs and was not ready in time; whatever needs it went on, and it is still being probed.
    Late,
    /// It runs and is ready.
    Ready,
    /// A task is done, or a workload ended well and nobody minds.
    Done,
    /// It ended and will be started again.
    Backoff,
    /// It was asked to stop.
    Stopping,
    /// It is being taken back.
    Undoing,
    /// It failed and does not run.
    Failed,
    /// Somebody stopped it on purpose; it stays so until somebody starts it.
    Stopped,
    /// Nothing of it is there any more, or it never was, or it is not ours to take away.
    Gone,
}

/// What becomes of a node once its present life is over.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// It stays stopped.
    Stay,
    /// It starts again.
    Again,
    /// It starts again, made anew.
    Replace(Box<Spec>),
    /// It counts as failed.
    Fail(Box<Failure>),
    /// It is of the stack no more.
    Leave,
}

/// A node and its state.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) spec: Spec,
    /// Whether it is ours to stop and to take back. What was there before the run, and what somebody else runs, is not;
    /// and it does not become ours by being restarted.
    pub(super) ours: bool,
    /// What the next start does: what the plan says for the first one, a plain start for the others.
    pub(super) next: Action,
    pub(super) phase: Phase,
    pub(super) life: Life,
    pub(super) epoch: Epoch,
    pub(super) handle: Option<Handle>,
    pub(super) started: Option<Instant>,
    pub(super) restarts: Restarts,
    pub(super) last_answer: Option<String>,
    /// What the last `Waiting` event said, so that it is said only when it changes.
    pub(super) told_waiting: Vec<NodeId>,
    /// The end of the last life, where it ended.
    pub(super) exit: Option<Exit>,
    /// Whether this life was killed already.
    pub(super) killed: bool,
    /// Whether it was ever brought about in this run, so that teardown has something to take back.
    pub(super) made: bool,
    /// What a command wants to become of it.
    pub(super) then: Option<Then>,
    /// Whether the present stop may not take its time.
    pub(super) hurry: bool,
    /// The lives of what it was started against, where it has to be restarted with it.
    pub(super) against: Vec<(NodeId, Life)>,
    /// Since when it is ready.
    pub(super) ready_since: Option<Instant>,
    /// How many checks of its health have failed in a row.
    pub(super) unwell: u32,
    /// A task that was done before is being done again, and what came of it before is still there.
    pub(super) redo: Redo,
}

/// Whether a task that is being done was done before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Redo {
    /// It was not.
    #[default]
    No,
    /// It was; a failure leaves what there is.
    Running,
    /// It was, and was asked for once more meanwhile.
    Once,
}

impl Entry {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            ours: !matches!(spec.action, Action::Keep | Action::Expect),
            next: spec.action,
            spec,
            phase: Phase::Waiting,
            life: Life::default(),
            epoch: Epoch::default(),
            handle: None,
            started: None,
            restarts: Restarts::default(),
            last_answer: None,
            told_waiting: Vec::new(),
            exit: None,
            killed: false,
            made: false,
            then: None,
            hurry: false,
            against: Vec::new(),
            ready_since: None,
            unwell: 0,
            redo: Redo::No,
        }
    }

    /// Moves to another phase; timers of the old one are void from now on.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch.0 += 1;
    }

    /// Whether a need on this node holds.
    pub(super) fn meets(&self, until: Until) -> bool {
        // What is about to end is as good as gone.
        self.then.is_none()
            && match until {
                Until::Started => matches!(self.phase, Phase::Probing | Phase::Late | Phase::Ready | Phase::Done),
                Until::Ready => matches!(self.phase, Phase::Late | Phase::Ready | Phase::Done),
                Until::Completed => self.phase == Phase::Done,
            }
    }

    /// Whether the start-up is over for this node: nothing more is to be awaited of it.
    pub(super) fn settled(&self) -> bool {
        self.then.is_none()
            && matches!(self.phase, Phase::Late | Phase::Ready | Phase::Done | Phase::Stopped | Phase::Gone)
    }

    /// Whether it is ours to stop and to take back.
    pub(super) fn ours(&self) -> bool {
        self.ours
    }

    /// Whether a workload of it runs as far as we know.
    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Probing | Phase::Late | Phase::Ready | Phase::Stopping)
    }

    /// Whether its start may be dropped in the middle.
    pub(super) fn cancellable(&self) -> bool {
        match self.spec.kind {
            Kind::Task { cancel, .. } | Kind::Workload { cancel } => cancel,
        }
    }

    /// Whether there was something of it before the run that nobody is known to have lost.
    pub(super) fn was_there(&self) -> bool {
        match self.spec.action {
            Action::Start | Action::Replace => true,
            // Of containers, what a killed run left is to be taken away; a network may hold others up.
            Action::Adopt => matches!(self.spec.id, NodeId::Network(_)),
            Action::Create | Action::Keep | Action::Expect => false,
        }
    }

    /// Leaves what came of it where it is at the end of the run.
    pub(super) fn spare(&mut self) {
        if let Kind::Task { undo, .. } = &mut self.spec.kind {
            *undo = false;
        }
    }

    /// Whether it is a workload.
    pub(super) fn is_workload(&self) -> bool {
        matches!(self.spec.kind, Kind::Workload { .. })
    }
}
