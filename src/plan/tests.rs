//! What is decided about this repository's own stack, for everything that may be there already.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::manifest;
use crate::stack::{self, Infra, Selection};

fn stack(infra: Infra) -> Stack {
    let manifest = manifest::load(Path::new(env!("CARGO_MANIFEST_DIR")), &BTreeMap::new()).unwrap();
    stack::resolve(&manifest, &Selection::default(), infra, &BTreeMap::new()).unwrap()
}

/// An engine that has all of the stack, up to date and running.
fn everything(stack: &Stack) -> Observed {
    let mut engine = Observed::default();
    for node in stack.nodes() {
        match &node.work {
            Work::Network(spec) => {
                engine.networks.insert(spec.name.clone(), true);
            }
            Work::Volume(spec) => engine.volumes.push(spec.name.clone()),
            Work::Image(spec) => {
                engine.images.insert(spec.reference.clone(), format!("id of {}", spec.reference));
            }
            Work::Create(spec) => {
                let service = node.id.service().unwrap().to_string();
                let found = ObservedContainer {
                    id: format!("id of {service}"),
                    name: spec.name.clone(),
                    service: service.clone(),
                    depends_on: Vec::new(),
                    running: true,
                    config_hash: spec.label(CONFIG_HASH).map(str::to_owned),
                    image_id: format!("id of {}", spec.image()),
                    ports: Vec::new(),
                    status: "Up 3 minutes".to_owned(),
                    run: Some("00000000000a".to_owned()),
                    working_dir: None,
                };
                engine.containers.insert(service, found);
            }
            _ => {}
        }
    }
    engine
}

/// The plan without what it never decides anything about: builds and programs.
fn plan(stack: &Stack, engine: Observed, runs: Vec<RunId>) -> String {
    let plan = diff(stack, &Now { engine, dead: Dead { runs, ..Dead::default() } });
    let steps = plan.steps.into_iter().filter(|step| !matches!(step.node.work, Work::Build(_) | Work::Process(_)));
    Plan { steps: steps.collect(), keep: false }.to_string()
}

#[test]
fn on_an_empty_engine_everything_is_made() {
    let stack = stack(Infra::Docker);
    insta::assert_snapshot!(diff(&stack, &Now::default()), @r"
    pull     image pgvector/pgvector:pg16  the engine does not have it
    create   network integrador_default    does not exist
    create   volume integrador_pgdata      does not exist
    create   container db                  does not exist
    start    db                            does not exist
    pull     image redis:7-alpine          the engine does not have it
    create   volume integrador_redisdata   does not exist
    create   container redis               does not exist
    start    redis                         does not exist
    build    api                           builds what has changed
    start    api                           does not run; waits for db, redis
    build    gateway                       builds what has changed
    start    gateway                       does not run; waits for redis, api
    ");
}

#[test]
fn what_runs_and_matches_is_kept_with_all_it_stands_on() {
    let stack = stack(Infra::Docker);
    insta::assert_snapshot!(plan(&stack, everything(&stack), Vec::new()), @r"
    keep     image pgvector/pgvector:pg16  the engine has it
    keep     network integrador_default    exists
    keep     volume integrador_pgdata      exists
    keep     container db                  runs and is up to date
    keep     db                            runs and is up to date
    keep     image redis:7-alpine          the engine has it
    keep     volume integrador_redisdata   exists
    keep     container redis               runs and is up to date
    keep     redis                         runs and is up to date
    ");
}

#[test]
fn another_configuration_or_image_is_a_reason_to_replace() {
    let stack = stack(Infra::Docker);
    let mut engine = everything(&stack);
    engine.containers.get_mut("db").unwrap().config_hash = Some("0".repeat(64));
    engine.containers.get_mut("redis").unwrap().image_id = "an older one".to_owned();
    insta::assert_snapshot!(plan(&stack, engine, Vec::new()), @r"
    keep     image pgvector/pgvector:pg16  the engine has it
    adopt    network integrador_default    exists, and nothing uses it
    keep     volume integrador_pgdata      exists
    replace  container db                  its configuration changed
    start    db                            its configuration changed
    keep     image redis:7-alpine          the engine has it
    keep     volume integrador_redisdata   exists
    replace  container redis               the image `redis:7-alpine` changed
    start    redis                         the image `redis:7-alpine` changed
    ");
}

#[test]
fn what_is_stopped_is_started_and_an_unused_network_is_taken_over() {
    let stack = stack(Infra::Docker);
    let mut engine = everything(&stack);
    for found in engine.containers.values_mut() {
        found.running = false;
    }
    insta::assert_snapshot!(plan(&stack, engine, Vec::new()), @r"
    keep     image pgvector/pgvector:pg16  the engine has it
    adopt    network integrador_default    exists, and nothing uses it
    keep     volume integrador_pgdata      exists
    reuse    container db                  exists and does not run
    start    db                            exists and does not run
    keep     image redis:7-alpine          the engine has it
    keep     volume integrador_redisdata   exists
    reuse    container redis               exists and does not run
    start    redis                         exists and does not run
    ");
}

#[test]
fn what_a_dead_run_left_is_adopted() {
    let stack = stack(Infra::Docker);
    let dead = "00000000000a".parse().unwrap();
    insta::assert_snapshot!(plan(&stack, everything(&stack), vec![dead]), @r"
    keep     image pgvector/pgvector:pg16  the engine has it
    adopt    network integrador_default    exists, and nothing uses it
    keep     volume integrador_pgdata      exists
    adopt    container db                  runs, left by a run that was killed
    adopt    db                            runs, left by a run that was killed
    keep     image redis:7-alpine          the engine has it
    keep     volume integrador_redisdata   exists
    adopt    container redis               runs, left by a run that was killed
    adopt    redis                         runs, left by a run that was killed
    ");
}

#[test]
fn what_a_dead_run_left_outside_of_this_one_is_an_orphan() {
    let whole = stack(Infra::Docker);
    let manifest = manifest::load(Path::new(env!("CARGO_MANIFEST_DIR")), &BTreeMap::new()).unwrap();
    let selection = Selection { services: vec!["redis".parse().unwrap()], ..Selection::default() };
    let redis = stack::resolve(&manifest, &selection, Infra::Docker, &BTreeMap::new()).unwrap();
    let dead = Dead { runs: vec!["00000000000a".parse().unwrap()], ..Dead::default() };
    let now = Now { engine: everything(&whole), dead };
    let names = |stack| orphans(stack, &now).into_iter().map(|found| found.service.as_str()).collect::<Vec<_>>();
    assert_eq!(names(&redis), ["db"]);
    assert_eq!(names(&whole), [""; 0]);
    assert!(orphans(&redis, &Now { dead: Dead::default(), ..now.clone() }).is_empty());
}

#[test]
fn without_docker_servers_are_installed_and_with_skip_docker_they_are_looked_for() {
    insta::assert_snapshot!(plan(&stack(Infra::Embedded), Observed::default(), Vec::new()), @r"
    install  postgres  unless its programs are at hand
    start    db        does not run
    install  redis     unless its programs are at hand
    start    redis     does not run
    ");
    let expected = diff(&stack(Infra::Expected), &Now::default());
    let db = expected.steps.iter().find(|step| step.node.id.to_string() == "db").unwrap();
    assert_eq!((db.action, db.node.ready_timeout), (Action::Expect, EXPECTED_WITHIN));
}
