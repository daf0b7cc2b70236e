//! What is decided about this repository's own stack, for everything that may be there already.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::driver::docker::{ObservedNetwork, ObservedVolume};
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
                let (project, config_hash) = (spec.label(PROJECT), spec.label(CONFIG_HASH));
                let (project, config_hash) = (project.map(str::to_owned), config_hash.map(str::to_owned));
                let found = ObservedNetwork { id: format!("id of {}", spec.name), project, config_hash };
                engine.networks.insert(spec.name.clone(), found);
            }
            Work::Volume(spec) => {
                let (project, config_hash) = (spec.label(PROJECT), spec.label(CONFIG_HASH));
                let (project, config_hash) = (project.map(str::to_owned), config_hash.map(str::to_owned));
                engine.volumes.insert(spec.name.clone(), ObservedVolume { project, config_hash });
            }
            Work::Image(spec) => {
                engine.images.insert(spec.reference.clone(), format!("id of {}", spec.reference));
            }
            Work::Create(spec) => {
                let service = node.id.service().unwrap().base().to_string();
                let found = ObservedContainer {
                    id: format!("id of {}", spec.name),
                    name: spec.name.clone(),
                    service: service.clone(),
                    number: spec.number(),
                    running: true,
                    config_hash: spec.label(CONFIG_HASH).map(str::to_owned),
                    image_id: format!("id of {}", spec.image()),
                    image_label: Some(format!("id of {}", spec.image())),
                    networks: spec.network_names().map(|name| (name.to_owned(), format!("id of {name}"))).collect(),
                    volumes: spec.volume_names().map(str::to_owned).collect(),
                    status: "Up 3 minutes".to_owned(),
                    run: Some("00000000000a".to_owned()),
                    working_dir: Some("/srv/shop".to_owned()),
                    ..ObservedContainer::default()
                };
                engine.containers.entry(service).or_default().push(found);
            }
            _ => {}
        }
    }
    engine
}

/// The plan without what it never decides anything about: builds and programs.
fn plan(stack: &Stack, engine: Observed, runs: Vec<RunId>) -> String {
    let mut plan = diff(stack, &Now { engine, dead: Dead { runs, ..Dead::default() } }, &Policy::default());
    plan.steps.retain(|step| !matches!(step.node.work, Work::Build(_) | Work::Process(_)));
    plan.to_string()
}

/// The only container of a service.
fn found<'a>(engine: &'a mut Observed, service: &str) -> &'a mut ObservedContainer {
    &mut engine.containers.get_mut(service).unwrap()[0]
}

#[test]
fn on_an_empty_engine_everything_is_made() {
    let stack = stack(Infra::Docker);
    insta::assert_snapshot!(diff(&stack, &Now::default(), &Policy::default()), @r"
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
    found(&mut engine, "db").config_hash = Some("0".repeat(64));
    found(&mut engine, "redis").image_id = "an older one".to_owned();
    found(&mut engine, "redis").image_label = Some("an older one".to_owned());
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
    for found in engine.containers.values_mut().flatten() {
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
    let names =
        |stack| left_by_the_dead(stack, &now).into_iter().map(|found| found.service.as_str()).collect::<Vec<_>>();
    assert_eq!(names(&redis), ["db"]);
    assert_eq!(names(&whole), [""; 0]);
    assert!(left_by_the_dead(&redis, &Now { dead: Dead::default(), ..now.clone() }).is_empty());
}

#[test]
fn without_docker_servers_are_installed_and_with_skip_docker_they_are_looked_for() {
    insta::assert_snapshot!(plan(&stack(Infra::Embedded), Observed::default(), Vec::new()), @r"
    install  postgres  unless its programs are at hand
    start    db        does not run
    install  redis     unless its programs are at hand
    start    redis     does not run
    ");
    let expected = diff(&stack(Infra::Expected), &Now::default(), &Policy::default());
    let db = expected.steps.iter().find(|step| step.node.id.to_string() == "db").unwrap();
    assert_eq!((db.action, db.node.ready_timeout), (Action::Expect, EXPECTED_WITHIN));
}

/// A project of containers alone.
const SHOP: &str = "\
name: shop
services:
  db:
    image: db:1
    volumes: [data:/data]
    networks: [back]
  api:
    image: api:1
    networks: [back, front]
    depends_on: { db: { condition: service_started, restart: true } }
  web:
    image: web:1
    depends_on: [api]
networks:
  back:
  front:
volumes:
  data:
";

fn shop(scale: &[(&str, u32)]) -> Stack {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yml"), SHOP).unwrap();
    let manifest = "[project]\nname = \"shop\"\n[containers]\ncompose = [\"compose.yml\"]\n";
    std::fs::write(folder.path().join("devctl.toml"), manifest).unwrap();
    let manifest = manifest::load(folder.path(), &BTreeMap::new()).unwrap();
    let scale = scale.iter().map(|(name, scale)| (name.parse().unwrap(), *scale)).collect();
    let selection = Selection { scale, ..Selection::default() };
    stack::resolve(&manifest, &selection, Infra::Docker, &BTreeMap::new()).unwrap()
}

/// What is decided about containers: `verb container: cause`, and what is removed.
fn decided(stack: &Stack, engine: Observed, policy: &Policy) -> Vec<String> {
    let plan = diff(stack, &Now { engine, dead: Dead::default() }, policy);
    let removals = plan.removals.iter().map(|gone| format!("remove {}: {}", gone.name, gone.cause));
    let steps = plan.steps.iter().filter_map(|step| {
        let name = match &step.node.work {
            Work::Create(spec) => &spec.name,
            Work::Container(spec) if step.action != Action::Keep => return Some(format!("run {}", spec.name)),
            _ => return None,
        };
        let first = step.takeover.as_ref().map_or(0, |takeover| takeover.stop_first.len());
        let first = if first == 0 { String::new() } else { format!(" after {first}") };
        (step.action != Action::Keep).then(|| format!("{:?} {name}{first}: {}", step.action, step.cause))
    });
    removals.chain(steps).collect()
}

type Change = fn(&mut Observed);

#[test]
fn each_reason_to_make_a_container_anew_is_named() {
    let stack = shop(&[]);
    let cases: &[(Change, &[&str])] = &[
        (|_| {}, &[]),
        (
            |engine| found(engine, "web").config_hash = None,
            &["Replace shop-web-1: its configuration changed", "run shop-web-1"],
        ),
        (
            |engine| found(engine, "web").config_hash = Some("0".repeat(64)),
            &["Replace shop-web-1: its configuration changed", "run shop-web-1"],
        ),
        (
            |engine| {
                found(engine, "web").image_id = "older".to_owned();
                found(engine, "web").image_label = Some("older".to_owned());
            },
            &["Replace shop-web-1: the image `web:1` changed", "run shop-web-1"],
        ),
        // Newer versions of Compose write a digest; other tools write nothing.
        (|engine| found(engine, "web").image_label = Some("sha256:manifest".to_owned()), &[]),
        (|engine| found(engine, "web").image_label = None, &[]),
        // What the engine says of an image may be a digest too.
        (|engine| found(engine, "web").image_id = "sha256:manifest".to_owned(), &[]),
        (
            |engine| {
                found(engine, "api").networks.remove("shop_front");
            },
            &["Replace shop-api-1: it is not on the network `shop_front`", "run shop-api-1"],
        ),
        (
            |engine| {
                found(engine, "api").networks.insert("shop_front".to_owned(), "an older one".to_owned());
            },
            &["Replace shop-api-1: it is not on the network `shop_front`", "run shop-api-1"],
        ),
        // One that never ran was on none yet.
        (
            |engine| {
                found(engine, "api").running = false;
                found(engine, "api").networks.clear();
            },
            &["Start shop-api-1: exists and does not run", "run shop-api-1"],
        ),
        (
            |engine| {
                found(engine, "web").running = false;
                engine.networks.get_mut("shop_default").unwrap().id = "a newer one".to_owned();
            },
            &["Replace shop-web-1: the network `shop_default` it was on is gone", "run shop-web-1"],
        ),
        (
            |engine| found(engine, "db").volumes.clear(),
            // Whoever is restarted with it is stopped before it.
            &["Replace shop-db-1 after 1: it does not mount the volume `shop_data`", "run shop-db-1", "run shop-api-1"],
        ),
        (
            |engine| {
                found(engine, "api").running = false;
                found(engine, "db").config_hash = None;
            },
            &[
                "Replace shop-db-1: its configuration changed",
                "run shop-db-1",
                "Start shop-api-1: exists and does not run",
                "run shop-api-1",
            ],
        ),
    ];
    for (number, (change, expected)) in cases.iter().enumerate() {
        let mut engine = everything(&stack);
        change(&mut engine);
        assert_eq!(decided(&stack, engine, &Policy::default()), *expected, "case {number}");
    }
}

#[test]
fn a_hash_of_either_way_of_forming_it_is_up_to_date() {
    let labels = [(CONFIG_HASH.to_owned(), "the newer way".to_owned())];
    let body = docker::api::ContainerCreateBody { labels: Some(labels.into()), ..Default::default() };
    let spec = docker::ContainerSpec {
        body,
        other_hashes: vec!["the older way".to_owned()],
        ..docker::ContainerSpec::default()
    };
    for (hash, expected) in [
        (Some("the newer way"), true),
        (Some("the older way"), true),
        (Some("another configuration"), false),
        (Some(""), false),
        (None, false),
    ] {
        let found = ObservedContainer { config_hash: hash.map(str::to_owned), ..ObservedContainer::default() };
        assert_eq!(containers::is_current(&spec, &found), expected, "{hash:?}");
    }
}

#[test]
fn somebody_may_want_containers_anew_or_left_alone() {
    let stack = shop(&[]);
    let named = || vec!["api".parse().unwrap()];
    let policy = |recreate, recreate_others| Policy { named: named(), recreate, recreate_others, ..Policy::default() };
    let mut engine = everything(&stack);
    found(&mut engine, "web").config_hash = None;
    let names = |policy: &Policy| {
        let made_anew = decided(&stack, engine.clone(), policy).into_iter().filter(|line| line.starts_with("Replace"));
        made_anew.map(|line| line[8..line.find(':').unwrap()].to_owned()).collect::<Vec<_>>()
    };
    let everybody = Policy { recreate: Recreate::Force, ..Policy::default() };
    assert_eq!(names(&everybody), ["shop-db-1 after 1", "shop-api-1", "shop-web-1"]);
    assert_eq!(names(&policy(Recreate::Force, Recreate::Diverged)), ["shop-api-1", "shop-web-1"]);
    assert_eq!(names(&policy(Recreate::Diverged, Recreate::Force)), ["shop-db-1 after 1", "shop-web-1"]);
    assert_eq!(names(&policy(Recreate::Never, Recreate::Never)), [""; 0]);
}

#[test]
fn replicas_keep_what_is_there_and_get_numbers_above_it() {
    let none: &[&str] = &[];
    let several = |numbers: &[u32]| {
        let stack = shop(&[]);
        let mut engine = everything(&stack);
        let one = engine.containers["web"][0].clone();
        let named = |number: &u32| ObservedContainer {
            id: format!("web {number}"),
            name: format!("shop-web-{number}"),
            number: *number,
            ..one.clone()
        };
        engine.containers.insert("web".to_owned(), numbers.iter().map(named).collect());
        engine
    };
    let surplus = "there are more of it than asked for";
    for (there, scale, old, expected) in [
        (&[1][..], 3, &[][..], &["Create shop-web-2", "Create shop-web-3"][..]),
        (&[], 2, &[], &["Create shop-web-1", "Create shop-web-2"]),
        (&[2], 3, &[], &["Create shop-web-3", "Create shop-web-4"]),
        (&[1, 3], 2, &[], none),
        (&[1, 2, 3], 1, &[], &["remove shop-web-2", "remove shop-web-3"]),
        // What has to be made anew is the first to go.
        (&[1, 2, 3], 2, &[1], &["remove shop-web-1"]),
        (&[1, 2, 3], 2, &[1, 2], &["remove shop-web-2", "Replace shop-web-1"]),
        (&[1, 2], 0, &[], &["remove shop-web-1", "remove shop-web-2"]),
    ] {
        let mut engine = several(there);
        for found in engine.containers.get_mut("web").unwrap() {
            if old.contains(&found.number) {
                found.config_hash = None;
            }
        }
        let decided = decided(&shop(&[("web", scale)]), engine, &Policy::default());
        let short = decided.iter().filter(|line| !line.starts_with("run")).map(|line| line.split(':').next().unwrap());
        assert_eq!(short.collect::<Vec<_>>(), expected, "{there:?} to {scale}, {old:?} old");
        let removed = decided.iter().filter(|line| line.starts_with("remove"));
        assert!(scale == 0 || removed.into_iter().all(|line| line.ends_with(surplus)), "{decided:?}");
    }
}

#[test]
fn a_replica_is_called_as_compose_calls_it() {
    let plan = diff(&shop(&[("web", 2)]), &Now::default(), &Policy::default());
    let is_web = |step: &&Step| step.node.id.service().is_some_and(|name| name.base().as_str() == "web");
    let named = plan.steps.iter().filter(is_web).map(|step| match &step.node.work {
        Work::Create(spec) => (step.node.id.to_string(), spec.name.clone(), spec.number()),
        Work::Container(spec) => (step.node.id.to_string(), spec.name.clone(), 0),
        _ => panic!("{step:?}"),
    });
    let named: Vec<_> = named.collect();
    let named: Vec<_> = named.iter().map(|(id, name, number)| (id.as_str(), name.as_str(), *number)).collect();
    assert_eq!(
        named,
        [
            ("container web", "shop-web-1", 1),
            ("web", "shop-web-1", 0),
            ("container web#2", "shop-web-2", 2),
            ("web#2", "shop-web-2", 0)
        ]
    );
}

#[test]
fn a_network_that_differs_is_made_anew_and_a_volume_only_where_its_loss_was_agreed_to() {
    let stack = shop(&[]);
    let mut engine = everything(&stack);
    engine.networks.get_mut("shop_front").unwrap().config_hash = Some("another".to_owned());
    engine.volumes.get_mut("shop_data").unwrap().config_hash = Some("another".to_owned());
    let plan = |policy: &Policy| diff(&stack, &Now { engine: engine.clone(), dead: Dead::default() }, policy);
    let action = |plan: &Plan, node: &str| {
        plan.steps.iter().find(|step| step.node.id.to_string() == node).map(|step| step.action).unwrap()
    };
    let cautious = plan(&Policy::default());
    assert_eq!(action(&cautious, "network shop_front"), Action::Replace);
    assert_eq!((action(&cautious, "container api"), action(&cautious, "api")), (Action::Keep, Action::Start));
    assert_eq!((action(&cautious, "container web"), action(&cautious, "web")), (Action::Keep, Action::Keep));
    assert_eq!(action(&cautious, "volume shop_data"), Action::Keep);
    assert_eq!(cautious.warnings.len(), 1);
    assert!(cautious.warnings[0].message.contains("`shop_data`"), "{:?}", cautious.warnings);

    let daring = plan(&Policy { lose_data: true, ..Policy::default() });
    assert_eq!(action(&daring, "volume shop_data"), Action::Replace);
    assert_eq!(action(&daring, "container db"), Action::Create);
    assert_eq!(daring.warnings, []);

    // What carries no hash, or another project's name, is used as it is.
    for (hash, project, warnings) in [(None, Some("shop"), 0), (Some("x"), Some("other"), 1), (None, None, 1)] {
        let network = engine.networks.get_mut("shop_front").unwrap();
        network.config_hash = hash.map(str::to_owned);
        network.project = project.map(str::to_owned);
        engine.volumes.get_mut("shop_data").unwrap().config_hash = None;
        let now = Now { engine: engine.clone(), dead: Dead::default() };
        let plan = diff(&stack, &now, &Policy::default());
        assert_eq!(action(&plan, "network shop_front"), Action::Keep);
        assert_eq!(plan.warnings.len(), warnings, "{:?}", plan.warnings);
    }
}

#[test]
fn a_container_of_an_image_that_is_pulled_is_looked_at_again() {
    let stack = shop(&[]);
    let policy = Policy { pull: Some(Pull::Always), ..Policy::default() };
    let decided = decided(&stack, everything(&stack), &policy);
    assert_eq!(decided[0], "Expect shop-db-1: unless the image `db:1` changes");
    assert_eq!(decided.len(), 3, "what runs is not started again: {decided:?}");
}

#[test]
fn orphans_are_containers_of_services_that_no_file_has_and_commands_that_have_ended() {
    let mut engine = everything(&shop(&[]));
    let one = |service: &str| ObservedContainer {
        name: format!("shop-{service}-1"),
        service: service.to_owned(),
        ..ObservedContainer::default()
    };
    engine.containers.insert("old".to_owned(), vec![one("old")]);
    engine.one_offs.push(one("web-run"));
    let now = Now { engine, dead: Dead::default() };
    let names = |known: &[&str]| {
        let found = orphans(&now, |service| known.contains(&service));
        found.iter().map(|found| found.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["db", "api", "web"]), ["shop-old-1", "shop-web-run-1"]);
    assert_eq!(names(&["db", "api", "web", "old"]), ["shop-web-run-1"], "behind a profile it is no orphan");
    let table = [("", Orphans::Warn), ("1", Orphans::Remove), ("True", Orphans::Remove), ("0", Orphans::Warn)];
    for (value, expected) in table {
        let env = BTreeMap::from([("COMPOSE_REMOVE_ORPHANS".to_owned(), value.to_owned())]);
        assert_eq!(Policy::default().orphans(&env), expected, "{value}");
    }
    let env = BTreeMap::from([("COMPOSE_IGNORE_ORPHANS".to_owned(), "true".to_owned())]);
    assert_eq!(Policy::default().orphans(&env), Orphans::Ignore);
    let policy = Policy { orphans: Orphans::Remove, ..Policy::default() };
    assert_eq!(policy.orphans(&env), Orphans::Remove, "an option counts more than a variable");
}

#[test]
fn a_project_of_the_same_name_elsewhere_is_found_by_its_folder() {
    let engine = everything(&shop(&[]));
    assert_eq!(elsewhere(engine.all(), |folder| folder == "/srv/shop"), None);
    let found = elsewhere(engine.all(), |folder| folder == "/home/me/shop").unwrap();
    assert_eq!((found.folder.as_str(), found.containers.len()), ("/srv/shop", 3));
    // One that says nothing is nobody's.
    let mut engine = engine;
    for found in engine.containers.values_mut().flatten() {
        found.working_dir = None;
    }
    assert_eq!(elsewhere(engine.all(), |_| false), None);
}
