//! The machine's rules: tables for what a person would ask, properties for what must hold whatever happens.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

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

fn services(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| service(name)).collect()
}

fn restart(names: &[&str], build: bool) -> Input {
    Input::Command(Command::Restart { nodes: services(names), build, cause: "asked for".to_owned() })
}

/// The chain of database, API and gateway, all of it up.
fn running_chain() -> Bench {
    let mut bench = chain();
    for name in ["db", "api", "gateway"] {
        bench.up(name);
    }
    bench
}

#[test]
fn what_is_stopped_stays_stopped_and_what_needs_it_runs_on() {
    let mut bench = running_chain();
    bench.send(Input::Command(Command::Stop { nodes: services(&["db"]), kill: false }));
    assert_eq!(bench.stops(), ["db"]);
    bench.gone("db");
    assert_eq!((bench.phase("db"), bench.phase("api")), (Phase::Stopped, Phase::Ready));
    assert!(bench.starts().is_empty());
    bench.send(Input::Command(Command::Start(services(&["db"]))));
    assert_eq!(bench.starts(), ["db"]);
    bench.up("db");
    assert!(bench.starts().is_empty(), "the others never stopped");
    bench.send(Input::Signal(Signal::Int));
    assert_eq!(bench.stops(), ["gateway"]);
}

#[test]
fn what_is_being_stopped_is_started_again_by_an_apply_that_wants_it() {
    let mut bench = running_chain();
    let specs: Vec<Spec> = bench.machine.nodes.values().map(|entry| entry.spec.clone()).collect();
    bench.send(Input::Command(Command::Stop { nodes: services(&["gateway"]), kill: false }));
    let again = HashSet::from([service("gateway")]);
    bench.send(Input::Command(Command::Apply(Change { specs, again, ..Change::default() })));
    bench.gone("gateway");
    assert_eq!(bench.starts(), ["gateway"], "nobody would start it any more, and `up` waits for it");
    bench.up("gateway");
    assert!(matches!(&bench.events()[..], [.., EventKind::StackReady { unready, .. }] if unready.is_empty()));
}

#[test]
fn nobody_waits_for_what_needs_something_that_was_stopped() {
    let mut bench = chain();
    bench.up("db");
    bench.send(Input::Command(Command::Stop { nodes: services(&["api"]), kill: false }));
    bench.report("api", Report::Started(Handle::Process { pid: 1 }));
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!((bench.phase("api"), bench.phase("gateway")), (Phase::Stopped, Phase::Waiting));
    let gateway = vec!["gateway".parse().unwrap()];
    assert!(matches!(&bench.events()[..], [.., EventKind::StackReady { unready, .. }] if *unready == gateway));
    // It comes up all the same, once that is there.
    bench.send(Input::Command(Command::Start(services(&["api"]))));
    bench.up("api");
    assert_eq!(bench.starts(), ["gateway"]);
}

#[test]
fn a_stop_without_patience_kills() {
    let mut bench = running_chain();
    bench.send(Input::Command(Command::Stop { nodes: services(&["api"]), kill: true }));
    assert_eq!((bench.stops(), bench.kills()), (vec![], vec!["api".to_owned()]));
    bench.gone("api");
    assert_eq!(bench.phase("api"), Phase::Stopped);
    bench.send(Input::Command(Command::Stop { nodes: services(&["db"]), kill: false }));
    bench.send(Input::Command(Command::Stop { nodes: services(&["db"]), kill: true }));
    assert_eq!(bench.kills(), ["db"], "the second one does not wait for the grace of the first");
}

#[test]
fn of_two_that_restart_the_one_that_needs_the_other_stops_first_and_starts_last() {
    let mut bench = running_chain();
    bench.send(restart(&["db", "api"], false));
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!((bench.stops(), bench.starts()), (vec!["db".to_owned()], vec![]));
    bench.gone("db");
    assert_eq!(bench.starts(), ["db"]);
    bench.up("db");
    assert_eq!(bench.starts(), ["api"]);
    bench.up("api");
    assert_eq!(bench.phase("gateway"), Phase::Ready);
}

#[test]
fn a_dependant_follows_a_restart_where_that_is_declared() {
    let (db, api) = (service("db"), service("api"));
    let follows = |on: &NodeId| Need { restart: true, ..Need::new(on.clone(), Until::Ready) };
    let mut bench = Bench::new(vec![
        workload("db", &[]),
        Spec { needs: vec![follows(&db)], ..workload("api", &[]) },
        Spec { needs: vec![follows(&api)], ..workload("gateway", &[]) },
    ]);
    for name in ["db", "api", "gateway"] {
        bench.up(name);
    }
    bench.send(restart(&["db"], false));
    assert_eq!(bench.stops(), ["db"]);
    bench.gone("db");
    bench.report("db", Report::Started(Handle::Process { pid: 2 }));
    assert!(bench.stops().is_empty(), "what it needs is not ready yet");
    bench.report("db", Report::Ready);
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!(bench.starts(), ["api"]);
    bench.up("api");
    assert_eq!(bench.stops(), ["gateway"], "and so on down the chain");
    bench.gone("gateway");
    bench.up("gateway");
    assert!(bench.stops().is_empty(), "once is enough");
}

#[test]
fn a_build_that_fails_leaves_what_runs_and_one_that_succeeds_restarts_it() {
    let build = NodeId::Build("api".parse().unwrap());
    let report = |bench: &mut Bench, report| {
        let life = bench.machine.nodes[&build].life;
        bench.send(Input::Report(build.clone(), life, report));
    };
    let mut bench = Bench::new(vec![task(build.clone(), false, true), workload("api", &[(&build, Until::Completed)])]);
    report(&mut bench, Report::Done);
    bench.up("api");
    bench.send(restart(&["api"], true));
    assert_eq!((bench.starts(), bench.stops()), (vec!["build api".to_owned()], vec![]));
    report(&mut bench, Report::StartFailed(Failure::default()));
    assert!(bench.stops().is_empty());
    assert!(bench.events().iter().any(|event| matches!(event, EventKind::BuildFailed { .. })));
    bench.send(restart(&["api"], true));
    // Asked for once more in the middle of it: what is being built may be old already.
    bench.send(restart(&["api"], true));
    assert!(bench.starts().is_empty());
    report(&mut bench, Report::Done);
    assert_eq!((bench.starts(), bench.stops()), (vec!["build api".to_owned()], vec![]));
    report(&mut bench, Report::Done);
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!(bench.starts(), ["api"]);
}

#[test]
fn another_plan_brings_what_is_new_takes_what_is_gone_and_remakes_what_changed() {
    let db = service("db");
    let mut bench = running_chain();
    let specs =
        vec![workload("db", &[]), workload("api", &[(&db, Until::Ready)]), workload("worker", &[(&db, Until::Ready)])];
    let changed = HashMap::from([(service("api"), "its command changed".to_owned())]);
    bench.send(Input::Command(Command::Apply(Change { specs, changed, ..Change::default() })));
    assert_eq!((bench.starts(), bench.stops()), (vec!["worker".to_owned()], vec!["gateway".to_owned()]));
    bench.gone("gateway");
    let left = EventKind::Removed { node: service("gateway") };
    assert!(bench.events().contains(&left), "{:?}", bench.events());
    assert_eq!((bench.phase("gateway"), bench.stops()), (Phase::Gone, vec!["api".to_owned()]));
    bench.gone("api");
    assert_eq!(bench.starts(), ["api"]);
    bench.up("api");
    assert_eq!(bench.phase("db"), Phase::Ready);
    bench.up("worker");
    assert!(bench.events().iter().any(|event| matches!(event, EventKind::StackReady { .. })));
    // What is of the stack no more comes back as if it had never been there.
    bench.send(Input::Command(Command::Apply(Change {
        specs: vec![workload("db", &[]), workload("gateway", &[(&db, Until::Ready)])],
        ..Change::default()
    })));
    assert_eq!(bench.starts(), ["gateway"]);
    assert_eq!(bench.stops(), ["worker", "api"]);
}

#[test]
fn another_plan_brings_back_what_was_stopped_only_where_that_is_asked_for() {
    let mut bench = running_chain();
    let specs: Vec<Spec> = bench.machine.nodes.values().map(|entry| entry.spec.clone()).collect();
    bench.send(Input::Command(Command::Stop { nodes: vec![service("gateway")], kill: false }));
    bench.gone("gateway");
    bench.starts();
    let change = Change { specs, ..Change::default() };
    bench.send(Input::Command(Command::Apply(change.clone())));
    assert_eq!((bench.starts(), bench.phase("gateway")), (vec![], Phase::Stopped));
    bench.send(Input::Command(Command::Apply(Change { again: HashSet::from([service("gateway")]), ..change })));
    assert_eq!(bench.starts(), ["gateway"]);
}

#[test]
fn what_is_wanted_of_a_service_meanwhile_does_not_bring_its_old_plan_back() {
    let (db, worker) = (service("db"), service("worker"));
    let specs = |on: &NodeId| {
        vec![workload("db", &[]), workload("worker", &[(&db, Until::Ready)]), workload("api", &[(on, Until::Ready)])]
    };
    let api = || vec![service("api")];
    let commands = [
        Command::Restart { nodes: api(), build: false, cause: String::new() },
        Command::Start(api()),
        // Of the plan that comes after it, the need of `worker` is all that is left.
        Command::Apply(Change { specs: specs(&worker), ..Change::default() }),
    ];
    for command in commands {
        let mut bench = running_chain();
        let first = if matches!(command, Command::Apply(_)) { &db } else { &worker };
        let changed = HashMap::from([(service("api"), "its command changed".to_owned())]);
        bench.send(Input::Command(Command::Apply(Change { specs: specs(first), changed, ..Change::default() })));
        bench.gone("gateway");
        assert_eq!(bench.stops(), ["api"]);
        bench.send(Input::Command(command.clone()));
        bench.gone("api");
        assert_eq!(bench.starts(), Vec::<String>::new(), "{command:?}");
        bench.up("worker");
        assert_eq!(bench.starts(), ["api"], "{command:?}");
    }
}

#[test]
fn a_container_is_made_anew_once_it_has_stopped() {
    let create = NodeId::Create("db".parse().unwrap());
    let report = |bench: &mut Bench, report| {
        let life = bench.machine.nodes[&create].life;
        bench.send(Input::Report(create.clone(), life, report));
    };
    let specs = || vec![task(create.clone(), true, false), workload("db", &[(&create, Until::Completed)])];
    let mut bench = Bench::new(specs());
    report(&mut bench, Report::Done);
    bench.up("db");
    let mut anew = specs();
    anew[0].action = Action::Replace;
    let changed = [create.clone(), service("db")].map(|id| (id, "its image changed".to_owned()));
    bench.send(Input::Command(Command::Apply(Change {
        specs: anew,
        changed: HashMap::from(changed),
        ..Change::default()
    })));
    assert_eq!((bench.starts(), bench.stops()), (vec![], vec!["db".to_owned()]));
    bench.gone("db");
    let replaced = |effect: &Effect| matches!(effect, Effect::Start(id, _, Action::Replace) if *id == create);
    assert!(bench.effects.iter().any(replaced), "{:?}", bench.effects);
    report(&mut bench, Report::Done);
    assert_eq!(bench.starts(), ["db"]);
}

#[test]
fn an_unhealthy_service_is_restarted_and_at_last_given_up() {
    let health = Some(Liveness { retries: 2, action: HealthAction::Restart });
    let restart = Restart { max: 1, ..Restart::default() };
    let mut bench = Bench::new(vec![Spec { restart, health, ..workload("api", &[]) }, workload("db", &[])]);
    bench.up("db");
    bench.up("api");
    let watched = |effect: &Effect| matches!(effect, Effect::Watch(..));
    assert!(bench.effects.iter().any(watched));
    let sick = || Report::Health(Some("connection refused".to_owned()));
    bench.report("api", sick());
    bench.report("api", Report::Health(None));
    bench.report("api", sick());
    assert!(bench.stops().is_empty(), "two in a row it takes");
    bench.report("api", sick());
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!(bench.starts(), ["api"]);
    bench.up("api");
    bench.report("api", sick());
    bench.report("api", sick());
    assert_eq!(bench.stops(), ["api"]);
    bench.gone("api");
    assert_eq!(bench.phase("api"), Phase::Failed);
    assert_eq!(bench.phase("db"), Phase::Ready);
}

#[test]
fn a_warning_is_all_that_comes_of_bad_health_where_that_is_wanted() {
    let health = Some(Liveness { retries: 1, action: HealthAction::Warn });
    let mut bench = Bench::new(vec![Spec { health, ..workload("api", &[]) }]);
    bench.up("api");
    bench.report("api", Report::Health(Some("500".to_owned())));
    assert!(bench.stops().is_empty());
    assert!(bench.events().iter().any(|event| matches!(event, EventKind::Unhealthy { failures: 1, .. })));
    bench.report("api", Report::Health(Some("500".to_owned())));
    assert!(bench.events().is_empty(), "once is enough");
    bench.report("api", Report::Health(None));
    assert!(bench.events().iter().any(|event| matches!(event, EventKind::Healthy { .. })));
}

#[test]
fn a_service_that_was_started_again_after_a_failure_ends_a_run_well() {
    let mut bench = Bench::new(vec![workload("api", &[]), workload("db", &[])]);
    bench.up("api");
    bench.up("db");
    bench.report("api", Report::Exited(Exit { code: Some(1), ..Exit::default() }));
    assert_eq!(bench.phase("api"), Phase::Failed);
    bench.send(Input::Command(Command::Start(services(&["api"]))));
    bench.up("api");
    bench.send(Input::Command(Command::Down { kill: false, keep: false }));
    bench.gone("db");
    bench.gone("api");
    assert_eq!(bench.outcome(), Outcome::Done);
}

#[test]
fn down_is_as_patient_as_it_is_told() {
    let mut bench = running_chain();
    bench.send(Input::Command(Command::Down { kill: false, keep: false }));
    assert!(bench.events().contains(&EventKind::StackStopping { cause: StopCause::Command }));
    assert_eq!(bench.stops(), ["gateway"]);
    bench.send(Input::Command(Command::Down { kill: true, keep: false }));
    assert_eq!(bench.kills(), ["gateway", "api", "db"]);
}

// ---- properties ----

/// A plan of up to eight nodes whose needs point backwards, so it has no cycle.
fn plans() -> impl Strategy<Value = Vec<Spec>> {
    let node = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3),
        0..6_u8,
    );
    proptest::collection::vec(node, 1..8).prop_map(|nodes| {
        let mut specs: Vec<Spec> = Vec::new();
        for (index, (is_task, undo, cancel, probed, needs, flavour)) in nodes.into_iter().enumerate() {
            let id = if is_task { NodeId::Network(format!("n{index}").into()) } else { service(&format!("s{index}")) };
            let mut wanted = BTreeMap::new();
            for (pick, ready) in needs {
                if !specs.is_empty() {
                    let on = specs[pick.index(specs.len())].id.clone();
                    wanted.insert(on, if ready { Until::Ready } else { Until::Started });
                }
            }
            let policy = if flavour == 0 { RestartPolicy::Always } else { RestartPolicy::No };
            specs.push(Spec {
                id,
                kind: if is_task { Kind::Task { undo, cancel } } else { Kind::Workload { cancel } },
                action: match (flavour, is_task) {
                    (1, _) => Action::Keep,
                    (3, true) => Action::Replace,
                    (_, true) => Action::Create,
                    (_, false) => Action::Start,
                },
                needs: wanted.into_iter().map(|(on, until)| Need::new(on, until)).collect(),
                probe: (!is_task && probed).then_some("tcp"),
                ready_timeout: LIMIT,
                on_timeout: if flavour == 2 { OnTimeout::Warn } else { OnTimeout::Fail },
                restart: Restart { policy, ..Restart::default() },
                stop_grace: GRACE,
                health: None,
            });
        }
        specs
    })
}

/// A world that answers the machine's effects in any order, as the choices say, and checks its promises.
struct World {
    machine: Machine,
    specs: HashMap<NodeId, Spec>,
    /// The plan that the run began with.
    all: Vec<Spec>,
    now: Instant,
    /// What may happen next.
    pending: Vec<Input>,
    running: HashSet<NodeId>,
    /// Killed workloads: in this world a kill always works, so the timer after it never fires.
    killed: HashSet<NodeId>,
    made: HashSet<NodeId>,
    stopping: bool,
    /// How often the run was asked to end: a failure counts as a signal does.
    asked: u32,
    finished: Option<Outcome>,
}

impl World {
    fn new(specs: Vec<Spec>) -> Self {
        let now = Instant::now();
        let by_id = specs.iter().map(|spec| (spec.id.clone(), spec.clone())).collect();
        let all = specs.clone();
        let mut world = Self {
            machine: Machine::new(specs, now, 0),
            specs: by_id,
            all,
            now,
            pending: Vec::new(),
            running: HashSet::new(),
            killed: HashSet::new(),
            made: HashSet::new(),
            stopping: false,
            asked: 0,
            finished: None,
        };
        world.step(Input::Begin);
        world
    }

    fn step(&mut self, input: Input) {
        self.now += Duration::from_millis(1);
        if let Input::Report(id, _, report) = &input {
            match report {
                Report::Started(_) => {
                    self.running.insert(id.clone());
                }
                Report::Exited(_) => {
                    self.running.remove(id);
                }
                Report::Done => {
                    self.made.insert(id.clone());
                }
                Report::Undone => {
                    self.made.remove(id);
                }
                _ => {}
            }
        }
        if matches!(input, Input::Signal(_)) && self.stopping {
            self.asked += 1;
        }
        for effect in self.machine.on(input, self.now) {
            assert!(self.finished.is_none(), "something was to be done after the end: {effect:?}");
            self.answer(effect);
        }
    }

    fn answer(&mut self, effect: Effect) {
        let exit = || Report::Exited(Exit { code: Some(0), ..Exit::default() });
        match effect {
            Effect::Start(id, life, _) => {
                assert!(!self.stopping, "{id} was started after a stop began");
                let spec = &self.specs[&id];
                for need in &spec.needs {
                    let phase = self.machine.phase(&need.on).unwrap();
                    let held = match need.until {
                        Until::Started => matches!(phase, Phase::Probing | Phase::Late | Phase::Ready | Phase::Done),
                        Until::Ready => matches!(phase, Phase::Late | Phase::Ready | Phase::Done),
                        Until::Completed => *phase == Phase::Done,
                    };
                    assert!(held, "{id} was started while {} is {phase:?}", need.on);
                }
                let report = match spec.kind {
                    Kind::Task { .. } => Report::Done,
                    Kind::Workload { .. } => Report::Started(Handle::Process { pid: 1 }),
                };
                self.pending.push(Input::Report(id, life, report));
            }
            Effect::Cancel(id, life) => {
                self.pending.retain(|input| !matches!(input, Input::Report(other, _, _) if *other == id));
                self.pending.push(Input::Report(id, life, Report::Canceled));
            }
            Effect::Probe(id, life) => self.pending.push(Input::Report(id, life, Report::Ready)),
            Effect::Stop(id, life, _) => {
                assert!(self.specs[&id].action != Action::Keep, "{id} ran before and must be left alone");
                self.pending.push(Input::Report(id, life, exit()));
            }
            Effect::Kill(id, life) => {
                assert!(self.specs[&id].action != Action::Keep, "{id} ran before and must be left alone");
                self.killed.insert(id.clone());
                self.pending.push(Input::Report(id, life, exit()));
            }
            Effect::Undo(id, life) => {
                for other in self.specs.values().filter(|other| other.needs.iter().any(|need| need.on == id)) {
                    let ours = other.action != Action::Keep;
                    assert!(!(ours && self.running.contains(&other.id)), "{id} was taken away under {}", other.id);
                }
                self.pending.push(Input::Report(id, life, Report::Undone));
            }
            Effect::Arm(id, _, _) if self.killed.contains(&id) => {}
            Effect::Arm(id, epoch, _) => self.pending.push(Input::Timer(id, epoch)),
            Effect::Emit(EventKind::StackStopping { .. }) => {
                self.stopping = true;
                self.asked += 1;
            }
            Effect::Emit(_) | Effect::Watch(..) | Effect::Release(_) => {}
            Effect::Verify => self.pending.push(Input::Verified(Vec::new())),
            Effect::Finish(outcome) => self.finished = Some(outcome),
        }
    }

    /// Something that somebody at another terminal may want: of services that are ours, so that what ran before has to
    /// be left alone all the same.
    fn command(&mut self, pick: usize, which: u8) -> Option<Command> {
        let ours = |spec: &&Spec| matches!(spec.id, NodeId::Service(_)) && spec.action != Action::Keep;
        let mut services: Vec<NodeId> = self.specs.values().filter(ours).map(|spec| spec.id.clone()).collect();
        services.sort();
        let id = services.get(pick % services.len().max(1))?.clone();
        let cause = String::new();
        Some(match (which, pick % 3) {
            (2, 0) => Command::Stop { nodes: vec![id], kill: false },
            (2, 1) => Command::Stop { nodes: vec![id], kill: true },
            (2, _) => Command::Start(vec![id]),
            (3, 0) => Command::Restart { nodes: services, build: false, cause },
            (3, _) => Command::Restart { nodes: vec![id], build: false, cause },
            (_, way) => {
                // The plan with the service made anew, or without it, or with all that once was.
                let mut specs: Vec<Spec> = self.all.clone();
                if way == 0 {
                    specs.retain(|spec| spec.id != id);
                    for spec in &mut specs {
                        spec.needs.retain(|need| need.on != id);
                    }
                }
                let changed = if way == 1 { HashMap::from([(id, cause)]) } else { HashMap::new() };
                self.specs = self.specs.drain().chain(specs.iter().map(|s| (s.id.clone(), s.clone()))).collect();
                let again = if way == 2 { specs.iter().map(|spec| spec.id.clone()).collect() } else { HashSet::new() };
                Command::Apply(Change { specs, changed, again })
            }
        })
    }

    /// Lets one of the pending things happen, or something nobody asked for.
    fn happen(&mut self, pick: usize, surprise: u8) {
        let input = match surprise {
            // The third one waits for nothing, so it proves nothing.
            0 if self.asked < 2 => Input::Signal(Signal::Int),
            1 if !self.running.is_empty() => {
                let mut running: Vec<_> = self.running.iter().cloned().collect();
                running.sort();
                let id = running[pick % running.len()].clone();
                let life = self.machine.nodes[&id].life;
                Input::Report(id, life, Report::Exited(Exit { code: Some(1), ..Exit::default() }))
            }
            2..=4 if !self.stopping => match self.command(pick, surprise) {
                Some(command) => Input::Command(command),
                None => return,
            },
            _ if self.pending.is_empty() => return,
            _ => self.pending.remove(pick % self.pending.len()),
        };
        // A workload ends once; the world must not report it twice.
        if let Input::Report(id, life, Report::Exited(_)) = &input
            && !(self.running.contains(id) && self.machine.nodes[id].life == *life)
        {
            return;
        }
        if let Input::Report(id, _, Report::Started(_)) = &input {
            self.killed.remove(id);
        }
        self.step(input);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: nothing starts before its needs or after a stop, nothing is taken away
    /// under somebody who needs it, what ran before is left alone (all asserted by the world), and a run that is told
    /// to end does end, with nothing of it left.
    #[test]
    fn every_run_ends_clean(
        specs in plans(),
        choices in proptest::collection::vec((any::<usize>(), 0..40_u8), 0..60),
    ) {
        let mut world = World::new(specs);
        for (pick, surprise) in choices {
            if world.finished.is_some() {
                break;
            }
            world.happen(pick, surprise);
        }
        // Now the user stops it, and everything that was asked for comes true.
        if world.finished.is_none() && !world.stopping {
            world.step(Input::Signal(Signal::Int));
        }
        for _ in 0..1000 {
            if world.finished.is_some() {
                break;
            }
            // Timers last: a workload that obeys is not killed.
            let next = world.pending.iter().position(|input| !matches!(input, Input::Timer(..))).unwrap_or(0);
            prop_assert!(!world.pending.is_empty(), "the run hangs: {:?}", world.machine);
            world.happen(next, u8::MAX);
        }
        prop_assert!(world.finished.is_some(), "the run does not end");
        for id in &world.running {
            prop_assert!(world.specs[id].action == Action::Keep, "{} is left running", id);
        }
        for id in &world.made {
            if let Kind::Task { undo: true, .. } = world.specs[id].kind {
                let spared = matches!(world.finished, Some(Outcome::Failed | Outcome::Environment | Outcome::NotReady))
                    && world.specs[id].action == Action::Replace;
                prop_assert!(spared || world.specs[id].action == Action::Keep, "{} is left behind", id);
            }
        }
    }

    /// Every timer is consumed or void: once a run is over, firing all that were ever armed does nothing.
    #[test]
    fn timers_of_the_past_are_void(specs in plans(), choices in proptest::collection::vec((any::<usize>(), 2..40_u8), 0..60)) {
        let mut world = World::new(specs);
        for (pick, surprise) in choices {
            world.happen(pick, surprise);
        }
        let timers: Vec<Input> =
            world.pending.iter().filter(|input| matches!(input, Input::Timer(..))).cloned().collect();
        for timer in timers {
            let Input::Timer(id, epoch) = &timer else { unreachable!() };
            let current = world.machine.nodes[id].epoch == *epoch;
            let phase = world.machine.nodes[id].phase.clone();
            let effects = world.machine.on(timer.clone(), world.now);
            prop_assert!(current || effects.is_empty(), "a void timer of {} did something in {:?}", id, phase);
            prop_assert!(
                !current || matches!(phase, Phase::Probing | Phase::Backoff | Phase::Stopping),
                "a timer of {} is armed in {:?}", id, phase
            );
        }
    }
}
