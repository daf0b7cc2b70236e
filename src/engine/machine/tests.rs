//! The machine's rules: tables for what a person would ask, properties for what must hold whatever happens.

mod commands;
mod worlds;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::engine::command::Change;
use crate::engine::node::{Kind, Liveness};
use crate::event::StopCause;
use crate::stack::{HealthAction, Need, Restart, RestartPolicy, Until};

const GRACE: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(30);

fn service(name: &str) -> NodeId {
    NodeId::Service(name.parse().unwrap())
}

fn workload(name: &str, needs: &[(&NodeId, Until)]) -> Spec {
    Spec {
        id: service(name),
        kind: Kind::Workload { cancel: false },
        action: Action::Start,
        needs: needs.iter().map(|(on, until)| Need::new((*on).clone(), *until)).collect(),
        probe: Some("tcp"),
        ready_timeout: LIMIT,
        on_timeout: OnTimeout::Fail,
        restart: Restart::default(),
        stop_grace: GRACE,
        health: None,
    }
}

fn task(id: NodeId, undo: bool, cancel: bool) -> Spec {
    let kind = Kind::Task { undo, cancel };
    Spec { id, kind, action: Action::Create, probe: None, ..workload("placeholder", &[]) }
}

/// A machine with a clock that a test sets by hand.
struct Bench {
    machine: Machine,
    now: Instant,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(specs: Vec<Spec>) -> Self {
        let now = Instant::now();
        let mut bench = Self { machine: Machine::new(specs, now, 0), now, effects: Vec::new() };
        bench.send(Input::Begin);
        bench
    }

    fn send(&mut self, input: Input) {
        self.effects = self.machine.on(input, self.now);
    }

    fn report(&mut self, name: &str, report: Report) {
        let id = service(name);
        let life = self.machine.nodes[&id].life;
        self.send(Input::Report(id, life, report));
    }

    /// Starts a workload and has it ready.
    fn up(&mut self, name: &str) {
        self.report(name, Report::Started(Handle::Process { pid: 1 }));
        self.report(name, Report::Ready);
    }

    fn gone(&mut self, name: &str) {
        self.report(name, Report::Exited(Exit { code: Some(0), ..Exit::default() }));
    }

    /// Fires the newest timer of a node.
    fn timer(&mut self, name: &str) {
        let id = service(name);
        let epoch = self.machine.nodes[&id].epoch;
        self.send(Input::Timer(id, epoch));
    }

    fn starts(&self) -> Vec<String> {
        self.pick(|effect| if let Effect::Start(id, _, _) = effect { Some(id.to_string()) } else { None })
    }

    fn stops(&self) -> Vec<String> {
        self.pick(|effect| if let Effect::Stop(id, _, _) = effect { Some(id.to_string()) } else { None })
    }

    fn kills(&self) -> Vec<String> {
        self.pick(|effect| if let Effect::Kill(id, _) = effect { Some(id.to_string()) } else { None })
    }

    fn events(&self) -> Vec<EventKind> {
        self.pick(|effect| if let Effect::Emit(event) = effect { Some(event.clone()) } else { None })
    }

    fn pick<T>(&self, f: impl FnMut(&Effect) -> Option<T>) -> Vec<T> {
        self.effects.iter().filter_map(f).collect()
    }

    fn phase(&self, name: &str) -> Phase {
        self.machine.phase(&service(name)).unwrap().clone()
    }

    /// Ends the run and tells how.
    fn outcome(&mut self) -> Outcome {
        assert!(self.effects.contains(&Effect::Verify), "{:?}", self.effects);
        self.send(Input::Verified(Vec::new()));
        match self.effects.last() {
            Some(Effect::Finish(outcome)) => *outcome,
            other => panic!("{other:?}"),
        }
    }
}

fn chain() -> Bench {
    let (db, api) = (service("db"), service("api"));
    Bench::new(vec![
        workload("db", &[]),
        workload("api", &[(&db, Until::Ready)]),
        workload("gateway", &[(&api, Until::Ready)]),
    ])
}

#[test]
fn a_node_starts_the_moment_its_needs_hold() {
    let mut bench = chain();
    assert_eq!(bench.starts(), ["db"]);
    bench.report("db", Report::Started(Handle::Process { pid: 1 }));
    assert_eq!(bench.starts(), [""; 0], "a started database is not a ready one");
    bench.report("db", Report::Ready);
    assert_eq!(bench.starts(), ["api"]);
    bench.up("api");
    assert_eq!(bench.starts(), ["gateway"]);
    bench.up("gateway");
    assert!(bench.events().iter().any(|event| matches!(event, EventKind::StackReady { .. })));
}

#[test]
fn a_failure_takes_back_what_the_run_made_and_leaves_what_was_there() {
    let id = |name: &str| NodeId::Network(name.into());
    let actions = [("new", Action::Create), ("stopped", Action::Start), ("changed", Action::Replace)];
    let bench = || {
        let mut specs: Vec<Spec> =
            actions.iter().map(|(name, action)| Spec { action: *action, ..task(id(name), true, false) }).collect();
        specs.push(workload("db", &[]));
        let mut bench = Bench::new(specs);
        for (name, _) in actions {
            bench.send(Input::Report(id(name), bench.machine.nodes[&id(name)].life, Report::Done));
        }
        bench
    };
    let undone =
        |bench: &Bench| bench.pick(|effect| if let Effect::Undo(id, _) = effect { Some(id.to_string()) } else { None });
    let mut failing = bench();
    failing.report("db", Report::StartFailed(Failure::default()));
    assert_eq!(undone(&failing), ["network new"]);
    let mut stopped = bench();
    stopped.up("db");
    stopped.send(Input::Signal(Signal::Int));
    // Nothing needs them, so nobody is waited for.
    assert_eq!(undone(&stopped).len(), 3, "all of it is gone at the end of a run that somebody ends");
}

#[test]
fn independent_nodes_start_at_once() {
    let bench = Bench::new(vec![workload("db", &[]), workload("redis", &[])]);
    assert_eq!(bench.starts(), ["db", "redis"]);
}

#[test]
fn teardown_goes_against_the_arrows() {
    let mut bench = chain();
    for name in ["db", "api", "gateway"] {
        bench.up(name);
    }
    bench.send(Input::Signal(Signal::Int));
    assert_eq!(bench.stops(), ["gateway"]);
    bench.gone("gateway");
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!(bench.stops(), ["db"]);
    bench.gone("db");
    assert_eq!(bench.outcome(), Outcome::Done);
}

#[test]
fn a_signal_before_everything_is_ready_is_an_interruption() {
    for (signal, code) in [(Signal::Int, 130), (Signal::Term, 143), (Signal::Hup, 129)] {
        let mut bench = chain();
        bench.up("db");
        bench.send(Input::Signal(signal));
        assert_eq!(bench.stops(), [""; 0], "api is still starting and must be awaited");
        bench.report("api", Report::Started(Handle::Process { pid: 2 }));
        assert_eq!(bench.stops(), ["api"]);
        assert_eq!(bench.phase("gateway"), Phase::Gone, "nothing pending starts any more");
        bench.gone("api");
        bench.gone("db");
        assert_eq!(bench.outcome().exit_code(), code);
    }
}

#[test]
fn a_pull_is_dropped_by_a_signal_and_a_network_is_not() {
    let (image, network) = (NodeId::Image("i".into()), NodeId::Network("n".into()));
    let mut bench = Bench::new(vec![task(image.clone(), false, true), task(network.clone(), true, false)]);
    bench.send(Input::Signal(Signal::Int));
    assert!(bench.effects.contains(&Effect::Cancel(image.clone(), Life(1))));
    bench.send(Input::Report(network.clone(), Life(1), Report::Done));
    assert!(bench.effects.contains(&Effect::Undo(network.clone(), Life(1))));
    bench.send(Input::Report(image, Life(1), Report::Canceled));
    bench.send(Input::Report(network, Life(1), Report::Undone));
    assert_eq!(bench.outcome(), Outcome::Interrupted(Signal::Int));
}

#[test]
fn the_second_signal_kills_and_the_third_waits_for_nothing() {
    let mut bench = chain();
    for name in ["db", "api", "gateway"] {
        bench.up(name);
    }
    bench.send(Input::Signal(Signal::Int));
    bench.send(Input::Signal(Signal::Int));
    assert_eq!(bench.kills(), ["gateway", "api", "db"]);
    bench.send(Input::Signal(Signal::Int));
    bench.send(Input::Verified(vec!["process 1 (db)".to_owned()]));
    assert!(bench.effects.contains(&Effect::Finish(Outcome::Failed)), "what is left is not `done`");
}

#[test]
fn what_starts_after_the_third_signal_is_killed() {
    let mut bench = Bench::new(vec![workload("db", &[])]);
    for _ in 0..3 {
        bench.send(Input::Signal(Signal::Int));
    }
    assert_eq!(bench.effects, [Effect::Verify]);
    bench.report("db", Report::Started(Handle::Process { pid: 1 }));
    assert_eq!(bench.kills(), ["db"]);
    bench.gone("db");
    bench.send(Input::Verified(Vec::new()));
    assert!(bench.effects.contains(&Effect::Finish(Outcome::Interrupted(Signal::Int))), "{:?}", bench.effects);
}

#[test]
fn a_hang_up_stops_and_never_hurries() {
    for first in [Signal::Hup, Signal::Int] {
        let mut bench = chain();
        for name in ["db", "api", "gateway"] {
            bench.up(name);
        }
        bench.send(Input::Signal(first));
        assert_eq!(bench.stops(), ["gateway"]);
        for _ in 0..3 {
            bench.send(Input::Signal(Signal::Hup));
            assert_eq!(bench.effects, [], "after {first:?}");
        }
        if first == Signal::Hup {
            bench.send(Input::Signal(Signal::Int));
            assert_eq!(bench.effects, [], "the first key after a hang-up may be the one that caused it");
        }
        bench.send(Input::Signal(Signal::Int));
        assert_eq!(bench.kills(), ["gateway", "api", "db"], "a person who insists is heard");
    }
}

#[test]
fn a_workload_that_ignores_the_stop_is_killed_after_its_grace() {
    let mut bench = Bench::new(vec![workload("db", &[])]);
    bench.up("db");
    bench.send(Input::Signal(Signal::Term));
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Arm(_, _, GRACE))));
    bench.timer("db");
    assert_eq!(bench.kills(), ["db"]);
    bench.timer("db");
    assert!(bench.effects.contains(&Effect::Verify), "a dead weight is not waited for");
}

#[test]
fn an_old_timer_is_void() {
    let mut bench = Bench::new(vec![workload("db", &[])]);
    bench.report("db", Report::Started(Handle::Process { pid: 1 }));
    let armed =
        bench.pick(|effect| if let Effect::Arm(id, epoch, _) = effect { Some((id.clone(), *epoch)) } else { None });
    bench.report("db", Report::Ready);
    for (id, epoch) in armed {
        bench.send(Input::Timer(id, epoch));
        assert_eq!(bench.effects, []);
    }
    assert_eq!(bench.phase("db"), Phase::Ready);
}

#[test]
fn on_timeout_warn_goes_on_and_fail_stops() {
    for (on_timeout, starts) in [(OnTimeout::Warn, vec!["api"]), (OnTimeout::Fail, vec![])] {
        let db = service("db");
        let mut bench =
            Bench::new(vec![Spec { on_timeout, ..workload("db", &[]) }, workload("api", &[(&db, Until::Ready)])]);
        bench.report("db", Report::Started(Handle::Process { pid: 1 }));
        bench.report("db", Report::Answer("refused".to_owned()));
        bench.timer("db");
        assert_eq!(bench.starts(), starts, "{on_timeout:?}");
        if on_timeout == OnTimeout::Fail {
            bench.gone("db");
            assert_eq!(bench.outcome().exit_code(), 4);
        } else {
            // It may still become ready, and then it is.
            bench.report("db", Report::Ready);
            assert_eq!(bench.phase("db"), Phase::Ready);
        }
    }
}

#[test]
fn a_service_that_ends_during_start_up_ends_the_run_with_its_reason() {
    let mut bench = chain();
    bench.up("db");
    bench.report("api", Report::Started(Handle::Process { pid: 2 }));
    bench.report("api", Report::Exited(Exit { code: Some(3), ..Exit::default() }));
    let messages: Vec<String> = bench
        .events()
        .into_iter()
        .filter_map(|event| if let EventKind::Failed { failure, .. } = event { Some(failure.message) } else { None })
        .collect();
    assert_eq!(messages, ["`api` ended before it was ready: exit code 3"]);
    bench.gone("db");
    assert_eq!(bench.outcome(), Outcome::Failed);
}

#[test]
fn after_readiness_one_failure_leaves_the_others_up() {
    let mut bench = chain();
    for name in ["db", "api", "gateway"] {
        bench.up(name);
    }
    bench.report("api", Report::Exited(Exit { code: Some(1), ..Exit::default() }));
    assert_eq!(bench.phase("api"), Phase::Failed);
    assert_eq!(bench.phase("gateway"), Phase::Ready);
    bench.send(Input::Signal(Signal::Int));
    assert_eq!(bench.stops(), ["gateway"]);
}

#[test]
fn what_a_probe_said_before_readiness_is_no_evidence_afterwards() {
    let mut bench = Bench::new(vec![workload("db", &[])]);
    bench.report("db", Report::Started(Handle::Process { pid: 1 }));
    bench.report("db", Report::Answer("refused".to_owned()));
    bench.report("db", Report::Ready);
    bench.report("db", Report::Exited(Exit { code: Some(1), ..Exit::default() }));
    let last = bench
        .events()
        .into_iter()
        .find_map(|event| if let EventKind::Failed { failure, .. } = event { Some(failure.last_probe) } else { None });
    assert_eq!(last, Some(None));
}

#[test]
fn a_restart_waits_for_its_delay_and_for_nothing_after_a_stop() {
    let restart = Restart { policy: RestartPolicy::OnFailure, ..Restart::default() };
    let mut bench = Bench::new(vec![Spec { restart, ..workload("api", &[]) }]);
    bench.up("api");
    bench.report("api", Report::Exited(Exit { code: Some(1), ..Exit::default() }));
    assert_eq!(bench.phase("api"), Phase::Backoff);
    bench.timer("api");
    assert_eq!(bench.starts(), ["api"]);
    bench.up("api");
    bench.report("api", Report::Exited(Exit { signal: Some(9), ..Exit::default() }));
    bench.send(Input::Signal(Signal::Int));
    bench.timer("api");
    assert_eq!(bench.starts(), [""; 0]);
}

#[test]
fn what_ran_before_is_left_running() {
    let db = service("db");
    let mut bench =
        Bench::new(vec![Spec { action: Action::Keep, ..workload("db", &[]) }, workload("api", &[(&db, Until::Ready)])]);
    bench.up("db");
    bench.up("api");
    bench.send(Input::Signal(Signal::Int));
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    bench.send(Input::Verified(Vec::new()));
    let receipt = bench
        .events()
        .into_iter()
        .find_map(|event| if let EventKind::Receipt(receipt) = event { Some(receipt) } else { None })
        .unwrap();
    assert_eq!((receipt.processes, receipt.kept), (1, vec!["db".to_owned()]));
}

#[test]
fn a_job_that_ends_well_is_done() {
    let (job, id) = (Spec { probe: None, ..workload("migrate", &[]) }, service("migrate"));
    let mut bench = Bench::new(vec![job, workload("api", &[(&id, Until::Completed)])]);
    bench.report("migrate", Report::Started(Handle::Process { pid: 1 }));
    assert_eq!(bench.starts(), [""; 0]);
    bench.gone("migrate");
    assert_eq!(bench.starts(), ["api"]);
}

// ---- commands ----
