//! Commands, restarts, other plans and health while a run is up.

use super::*;

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
