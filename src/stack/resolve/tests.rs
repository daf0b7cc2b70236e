//! Manifests to stacks: this repository's own, and small ones for each rule.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::advice::Advice;
use crate::driver::docker::ContainerSpec;
use crate::driver::embedded::Server;
use crate::driver::process::{EnvSource, Program};
use crate::manifest;
use crate::probe;
use crate::stack::{OnTimeout, RestartPolicy, assign_ports, describe};

fn project(toml: &str, compose: &str) -> (TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let toml = format!("[containers]\ncompose = \"c.yml\"\n{toml}");
    fs::write(folder.path().join("devctl.toml"), toml).unwrap();
    fs::write(folder.path().join("c.yml"), format!("name: p\n{compose}")).unwrap();
    let manifest = manifest::load(folder.path(), &BTreeMap::new()).unwrap_or_else(|problems| {
        panic!("{}", problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    (folder, manifest)
}

fn own() -> Manifest {
    let mut manifest = manifest::load(Path::new(env!("CARGO_MANIFEST_DIR")), &BTreeMap::new()).unwrap();
    // Whether the file is there depends on whether somebody ran the project.
    manifest.env_files.clear();
    manifest
}

fn stack_of(manifest: &Manifest, selection: &Selection, infra: Infra) -> Result<Stack, ResolveError> {
    resolve(manifest, selection, infra, &BTreeMap::new())
}

fn outline(stack: &Stack) -> String {
    let line = |node: &Node| {
        let needs: Vec<_> = node.needs.iter().map(|need| format!("{} ({:?})", need.on, need.until)).collect();
        let probe = node.probe.as_ref().map(|probe| format!(" [{}]", probe.kind())).unwrap_or_default();
        let needs = if needs.is_empty() { String::new() } else { format!(" <- {}", needs.join(", ")) };
        format!("{}{probe}{needs}", node.id)
    };
    stack.nodes().map(line).collect::<Vec<_>>().join("\n")
}

fn services(stack: &Stack) -> Vec<&str> {
    stack.services().map(ServiceName::as_str).collect()
}

fn service<'a>(stack: &'a Stack, name: &str) -> &'a Node {
    stack.node(&NodeId::Service(name.parse().unwrap())).unwrap()
}

fn container<'a>(stack: &'a Stack, name: &str) -> &'a ContainerSpec {
    match &stack.node(&NodeId::Create(name.parse().unwrap())).unwrap().work {
        Work::Create(spec) => spec,
        other => panic!("{other:?}"),
    }
}

fn process<'a>(stack: &'a Stack, name: &str) -> &'a crate::driver::process::Spec {
    match &service(stack, name).work {
        Work::Process(spec) => spec,
        other => panic!("{other:?}"),
    }
}

fn names(names: &[&str]) -> Vec<ServiceName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn this_repositorys_own_stack_on_docker() {
    let stack = stack_of(&own(), &Selection::default(), Infra::Docker).unwrap();
    insta::assert_snapshot!(outline(&stack), @r"
    image pgvector/pgvector:pg16
    network integrador_default
    volume integrador_pgdata
    container db <- image pgvector/pgvector:pg16 (Completed), network integrador_default (Completed), volume integrador_pgdata (Completed)
    db [postgres] <- container db (Completed)
    image redis:7-alpine
    volume integrador_redisdata
    container redis <- image redis:7-alpine (Completed), network integrador_default (Completed), volume integrador_redisdata (Completed)
    redis [redis] <- container redis (Completed)
    build api
    api [http] <- build api (Completed), db (Ready), redis (Ready)
    build gateway
    gateway [http] <- build gateway (Completed), redis (Ready), api (Ready)
    ");
    let db = service(&stack, "db");
    assert_eq!(db.addresses, ["postgresql://postgres:postgres@localhost:5432/menu_ops"]);
    assert_eq!(
        db.probe,
        Some(probe::Spec::Postgres {
            host: "127.0.0.1".to_owned(),
            port: 5432,
            user: "postgres".to_owned(),
            password: "postgres".to_owned(),
            database: "menu_ops".to_owned(),
        })
    );
    assert_eq!(service(&stack, "redis").addresses, ["redis://localhost:6380"]);
    let api = service(&stack, "api");
    assert_eq!(api.addresses, ["http://localhost:8000"]);
    assert_eq!((api.ready_timeout, api.on_timeout), (Duration::from_secs(30), OnTimeout::Warn));
    assert_eq!((api.restart.policy, api.restart.max), (RestartPolicy::OnFailure, 5));
    let spec = process(&stack, "gateway");
    assert_eq!((spec.port, &spec.program), (Some(8001), &Program::Built));
    let env: Vec<_> = spec.env.iter().map(|(name, var)| (name.as_str(), var.value.as_str())).collect();
    assert_eq!(
        env,
        [
            ("REDIS_URL", "redis://localhost:6380"),
            ("DATABASE_URL", "postgresql://postgres:postgres@localhost:5432/menu_ops"),
            ("PORT", "8001")
        ]
    );
}

#[test]
fn this_repositorys_own_stack_without_docker() {
    let manifest = own();
    let stack = stack_of(&manifest, &Selection::default(), Infra::Embedded).unwrap();
    insta::assert_snapshot!(outline(&stack), @r"
    install postgres
    db [postgres] <- install postgres (Completed)
    install redis
    redis [redis] <- install redis (Completed)
    build api
    api [http] <- build api (Completed), db (Ready), redis (Ready)
    build gateway
    gateway [http] <- build gateway (Completed), redis (Ready), api (Ready)
    ");
    let Work::Embedded(spec) = &service(&stack, "redis").work else { panic!("not embedded") };
    assert_eq!((spec.ip.to_string().as_str(), spec.port), ("127.0.0.1", 6380));
    assert_eq!(spec.data, manifest.root.join(".devctl/data/redis"));
    let args = "--appendonly yes --maxmemory 256mb --maxmemory-policy allkeys-lru";
    assert_eq!(spec.server, Server::Redis { args: args.split(' ').map(str::to_owned).collect() });

    let stack = stack_of(&manifest, &Selection::default(), Infra::Expected).unwrap();
    insta::assert_snapshot!(outline(&stack), @r"
    db [postgres]
    redis [redis]
    build api
    api [http] <- build api (Completed), db (Ready), redis (Ready)
    build gateway
    gateway [http] <- build gateway (Completed), redis (Ready), api (Ready)
    ");
    assert_eq!(service(&stack, "db").ports[0].port, 5432);
}

#[test]
fn selections_bring_what_they_need_and_no_more() {
    let manifest = own();
    let select = |services: &[&str], groups: &[&str], no_deps, profiles: &[&str]| Selection {
        services: names(services),
        groups: strings(groups),
        no_deps,
        profiles: strings(profiles),
        ..Selection::default()
    };
    for (selection, expected) in [
        (select(&[], &[], false, &[]), &["db", "redis", "api", "gateway"][..]),
        (select(&[], &[], false, &["ai"]), &["db", "redis", "ollama", "api", "gateway"]),
        (select(&[], &[], false, &["*"]), &["db", "redis", "ollama", "api", "gateway"]),
        (select(&[], &["api"], false, &[]), &["db", "redis", "api"]),
        (select(&[], &["ws"], false, &[]), &["redis", "gateway"]),
        (select(&[], &["ws", "api"], false, &[]), &["db", "redis", "api", "gateway"]),
        (select(&["gateway"], &[], false, &[]), &["db", "redis", "api", "gateway"]),
        (select(&["gateway"], &[], true, &[]), &["gateway"]),
        (select(&["redis"], &[], false, &[]), &["redis"]),
        (select(&["ollama"], &[], false, &[]), &["ollama"]),
        (select(&["db"], &["ws"], false, &[]), &["db", "redis", "gateway"]),
    ] {
        let stack = stack_of(&manifest, &selection, Infra::Docker).unwrap();
        assert_eq!(services(&stack), expected, "{selection:?}");
        for node in stack.nodes() {
            for need in &node.needs {
                assert!(stack.node(&need.on).is_some(), "{} needs {}", node.id, need.on);
            }
        }
    }
    // The address of a server that this run leaves to others is known all the same.
    let stack = stack_of(&manifest, &select(&["api"], &[], true, &[]), Infra::Docker).unwrap();
    assert!(process(&stack, "api").env.contains_key("DATABASE_URL"));
}

#[test]
fn names_and_labels_are_those_of_compose() {
    // The hashes were read from what `docker compose up` 2.40.3 made of the same file on an engine.
    let compose = r#"
services:
  s:
    image: redis:7-alpine
    environment: [NOWHERE_SET, "A=x$$y&"]
    depends_on: [other, third]
    volumes: ["data:/data", "lab:/lab", "/tmp/manifest-oracle/x:/x"]
    networks: [default, front]
  other: {image: redis:7-alpine}
  third: {image: redis:7-alpine, network_mode: none, container_name: drei}
volumes:
  data:
  lab: {labels: {a: "<b>"}, driver: local, driver_opts: {type: tmpfs, device: tmpfs}}
networks:
  front: {internal: true, labels: {x: y}, attachable: true, driver: bridge, driver_opts: {com.docker.network.bridge.name: mfo0}}
"#;
    let (folder, mut manifest) = project("", compose);
    manifest.project = "manifest-oracle".parse().unwrap();
    let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();

    let spec = container(&stack, "s");
    assert_eq!(spec.name, "manifest-oracle-s-1");
    // A variable that is set nowhere is named all the same: the engine takes it out of what the image sets.
    assert_eq!(spec.body.env.as_deref().unwrap(), ["A=x$y&", "NOWHERE_SET"]);
    assert_eq!(
        spec.networks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["manifest-oracle_default", "manifest-oracle_front"]
    );
    assert_eq!(spec.networks[0].1.aliases.as_deref().unwrap(), ["manifest-oracle-s-1", "s"]);
    assert_eq!(spec.body.host_config.as_ref().unwrap().binds.as_ref().unwrap()[0], "manifest-oracle_data:/data:rw");
    let root = folder.path().display();
    for (label, value) in [
        ("project", "manifest-oracle".to_owned()),
        ("service", "s".to_owned()),
        ("oneoff", "False".to_owned()),
        ("container-number", "1".to_owned()),
        ("config-hash", "0dbc90a45593515f9e435b724feb523fafa84d5c7edc8fb5e97716a4378fb083".to_owned()),
        ("depends_on", "other:service_started:false,third:service_started:false".to_owned()),
        ("project.working_dir", root.to_string()),
        ("project.config_files", format!("{root}/c.yml")),
        ("version", "2.40.3".to_owned()),
    ] {
        assert_eq!(spec.label(&format!("com.docker.compose.{label}")), Some(value.as_str()), "{label}");
    }
    let third = container(&stack, "third");
    assert_eq!((third.name.as_str(), third.networks.len()), ("drei", 0));

    let mut found = Vec::new();
    for node in stack.nodes() {
        match &node.work {
            Work::Network(spec) => found.push((spec.name.clone(), spec.body.labels.clone().unwrap())),
            Work::Volume(spec) => found.push((spec.name.clone(), spec.body.labels.clone().unwrap())),
            _ => {}
        }
    }
    for (name, kind, key, hash) in [
        (
            "manifest-oracle_default",
            "network",
            "default",
            "3c9748dd12e6842f9e892b91071fe309754b88638aa7bb425c2808024397faf1",
        ),
        (
            "manifest-oracle_front",
            "network",
            "front",
            "9d6237964066f0fd8b40ce14874ec2f2bbd361da2136eb990a8b061bf05572a6",
        ),
        ("manifest-oracle_data", "volume", "data", "c3eadb863a3fa8d872cec48dc7406768355f2ba186b8152a11420c4d92085c87"),
        ("manifest-oracle_lab", "volume", "lab", "d82fb89c882eb6c988994ade2d556cd0d73a036b9c2b97344241e063aacf07a0"),
    ] {
        let (_, labels) = found.iter().find(|(found, _)| found == name).unwrap();
        assert_eq!(labels["com.docker.compose.config-hash"], hash, "{name}");
        assert_eq!(labels[&format!("com.docker.compose.{kind}")], key);
        assert_eq!(labels["com.docker.compose.project"], "manifest-oracle");
    }
}

#[test]
fn what_others_make_is_neither_labelled_nor_renamed() {
    let compose = "services: {s: {image: x, networks: [n], volumes: ['vol:/v']}}\nnetworks: {n: {external: true}}\nvolumes: {vol: {external: true, name: theirs}}\n";
    let (_folder, manifest) = project("", compose);
    let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();
    let Work::Network(network) = &stack.node(&NodeId::Network("n".into())).unwrap().work else { panic!() };
    let Work::Volume(volume) = &stack.node(&NodeId::Volume("theirs".into())).unwrap().work else { panic!() };
    assert!(network.external && network.body.labels.is_none() && volume.external && volume.body.labels.is_none());
}

#[test]
fn probes_follow_the_image_then_the_healthcheck() {
    let compose = r#"
services:
  pg: {image: postgres:16, environment: {POSTGRES_USER: me, POSTGRES_PASSWORD: x}, ports: ["5433:5432"]}
  hidden: {image: postgres, healthcheck: {test: [CMD, pg_isready]}}
  cache: {image: "localhost:5000/redis", command: redis-server --requirepass s3cret, ports: ["127.0.0.1:6381:6379"]}
  web: {image: nginx, ports: ["8080:80"], healthcheck: {test: curl localhost}}
  plain: {image: nginx}
  off: {image: nginx, healthcheck: {disable: true}}
  asked: {image: "localhost:5000/nginx:1", ports: ["8081:80"], depends_on: {awaited: {condition: service_healthy}}}
  sql: {image: mariadb, ports: ["3307:3306"]}
  queue: {image: "rabbitmq:3-management", ports: ["15673:15672"]}
  awaited: {image: nats, ports: ["4223:4222"]}
"#;
    let (_folder, manifest) = project("", compose);
    let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();
    let kind = |name| service(&stack, name).probe.as_ref().map(probe::Spec::kind);
    for (name, expected) in [
        ("pg", Some("postgres")),
        ("hidden", Some("healthcheck")),
        ("cache", Some("redis")),
        ("web", Some("healthcheck")),
        ("plain", None),
        ("off", None),
        ("asked", Some("server")),
        ("sql", Some("mysql")),
        // Not the port that its protocol is spoken on.
        ("queue", None),
        // Somebody waits for its healthcheck, so the image must have one.
        ("awaited", Some("container")),
    ] {
        assert_eq!(kind(name), expected, "{name}");
    }
    assert_eq!(service(&stack, "asked").on_timeout, OnTimeout::Warn, "nobody knows what a web server listens on");
    let Some(probe::Spec::Healthcheck { argv, .. }) = &service(&stack, "web").probe else { panic!() };
    assert_eq!(argv, &["/bin/sh", "-c", "curl localhost"]);
    // The database is called as the user is, where nothing else is said.
    assert_eq!(service(&stack, "pg").addresses, ["postgresql://me:x@localhost:5433/me"]);
    assert_eq!(service(&stack, "cache").addresses, ["redis://:s3cret@localhost:6381"]);
    assert!(service(&stack, "pg").ports[0].ip.is_unspecified());
    let stack = stack_of(&manifest, &Selection::default(), Infra::Expected).unwrap();
    let tcp = Some(probe::Spec::Tcp { host: "127.0.0.1".to_owned(), port: 8080 });
    assert_eq!(service(&stack, "web").probe, tcp);
    assert_eq!(service(&stack, "plain").probe, None);
}

#[test]
fn programs_get_their_environment_in_layers() {
    let toml = r#"
[project]
env_file = [".env", "more.env"]
[services.a]
command = "./a --x 'y z'"
args = ["--port", "9000"]
port = 9000
depends_on = { second = "started" }
env = { LEVEL = 3, FLAG = true, DATABASE_URL = "mine" }
[services.b]
command = ["b"]
ready = { exec = "check it", timeout = "2s", on_timeout = "fail" }
"#;
    let compose = r#"
services:
  first: {image: redis, ports: ["6379:6379"]}
  second: {image: redis, ports: ["6380:6379"]}
"#;
    let (folder, _) = project(toml, compose);
    fs::write(folder.path().join(".env"), "A=1\nSECRET=low\nREDIS_URL=file\n").unwrap();
    fs::write(folder.path().join("more.env"), "A=2\n").unwrap();
    let manifest = manifest::load(folder.path(), &BTreeMap::new()).unwrap();
    let shell = [("SECRET", "high"), ("FLAG", "shell"), ("UNRELATED", "x")];
    let shell: BTreeMap<String, String> = shell.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let stack = resolve(&manifest, &Selection::default(), Infra::Docker, &shell).unwrap();
    let spec = process(&stack, "a");
    assert_eq!(spec.program, Program::Argv(strings(&["./a", "--x", "y z"])));
    let env: Vec<_> = spec.env.iter().map(|(name, var)| (name.as_str(), var.value.as_str(), &var.source)).collect();
    let (file, more) = (EnvSource::File(folder.path().join(".env")), EnvSource::File(folder.path().join("more.env")));
    assert_eq!(
        env,
        [
            ("A", "2", &more),
            ("SECRET", "high", &EnvSource::Shell),
            ("REDIS_URL", "redis://localhost:6380", &EnvSource::Devctl),
            ("PORT", "9000", &EnvSource::Devctl),
            ("LEVEL", "3", &EnvSource::Manifest),
            ("FLAG", "shell", &EnvSource::Shell),
            ("DATABASE_URL", "mine", &EnvSource::Manifest),
        ]
    );
    assert_ne!(file, more);
    assert_eq!(process(&stack, "b").env["REDIS_URL"].value, "redis://localhost:6379");
    let b = service(&stack, "b");
    let exec = probe::Spec::Exec { argv: strings(&["check", "it"]), timeout: Duration::from_secs(2) };
    assert_eq!((b.probe.as_ref(), b.on_timeout, b.ports.len()), (Some(&exec), OnTimeout::Fail, 0));
    assert_eq!(service(&stack, "a").probe.as_ref().map(probe::Spec::kind), Some("tcp"));
}

#[test]
fn what_cannot_be_resolved_says_why_and_what_to_do() {
    let toml = r#"
[services.a]
command = "a"
groups = ["api"]
depends_on = ["llm"]
"#;
    let compose = r#"
services:
  db: {image: postgres, ports: ["5432:5432"]}
  llm: {image: ollama, profiles: [ai, gpu]}
  web: {image: nginx}
  portless: {image: redis}
  scripted: {image: postgres, ports: ["5433:5432"], volumes: ["./init:/docker-entrypoint-initdb.d"]}
  alternative: {image: redis, profiles: [alt], ports: ["5432:6379"]}
"#;
    let (_folder, manifest) = project(toml, compose);
    let pick = |services: &[&str]| Selection { services: names(services), ..Selection::default() };
    let groups = Selection { groups: strings(&["app"]), ..Selection::default() };
    let profiles = Selection { profiles: strings(&["aii"]), ..Selection::default() };
    let mut text = String::new();
    for (selection, infra) in [
        (pick(&["bd"]), Infra::Docker),
        (groups, Infra::Docker),
        (profiles, Infra::Docker),
        (pick(&["a"]), Infra::Docker),
        (pick(&["llm", "web", "db"]), Infra::Embedded),
        (pick(&["web"]), Infra::Embedded),
        (pick(&["portless"]), Infra::Embedded),
        (pick(&["scripted"]), Infra::Embedded),
        (pick(&["db", "alternative"]), Infra::Docker),
    ] {
        let error = stack_of(&manifest, &selection, infra).unwrap_err();
        writeln!(text, "error: {error}").unwrap();
        for hint in error.hints() {
            writeln!(text, "  hint: {hint}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_image_of_two_services_is_one_node_and_pulled_as_the_stricter_asks() {
    let compose = "services: {a: {image: x, pull_policy: never}, b: {image: x, pull_policy: always}, c: {image: x}}\n";
    let (_folder, manifest) = project("", compose);
    let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();
    let Work::Image(image) = &stack.node(&NodeId::Image("x".into())).unwrap().work else { panic!() };
    assert_eq!(image.pull, crate::driver::docker::PullPolicy::Always);
    assert_eq!(stack.nodes().filter(|node| matches!(node.work, Work::Image(_))).count(), 1);
}

#[test]
fn nodes_come_after_what_they_need() {
    let compose = "services: {a: {image: x, depends_on: [c]}, b: {image: x}, c: {image: x, depends_on: {d: {condition: service_completed_successfully}}}, d: {image: x}}\n";
    let (_folder, manifest) = project("", compose);
    let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();
    assert_eq!(services(&stack), ["d", "c", "a", "b"]);
    let mut seen = Vec::new();
    for node in stack.nodes() {
        assert!(node.needs.iter().all(|need| seen.contains(&need.on)), "{}", node.id);
        seen.push(node.id.clone());
    }
    assert_eq!(service(&stack, "c").needs[1].until, Until::Completed);
    let needs = &stack.node(&NodeId::Create("a".parse().unwrap())).unwrap().needs;
    assert!(needs.iter().all(|need| !matches!(need.on, NodeId::Service(_))), "{needs:?}");
}

#[test]
fn the_description_masks_secrets_and_holds_no_null() {
    let toml =
        "[services.a]\ncommand = \"a\"\nport = 9000\nenv = { JWT_SECRET = \"s3cret\", X = \"http://u:s3cret@h\" }\n";
    let compose = r#"
services:
  db: {image: postgres, environment: {POSTGRES_PASSWORD: s3cret}, ports: ["127.0.0.1:5432:5432"]}
  cache: {image: redis, command: redis-server --requirepass s3cret, ports: ["6379:6379"], volumes: ["/d"]}
"#;
    let (folder, manifest) = project(toml, compose);
    for infra in [Infra::Docker, Infra::Embedded, Infra::Expected] {
        let value = describe(&stack_of(&manifest, &Selection::default(), infra).unwrap());
        let text = serde_json::to_string_pretty(&value).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(!text.contains("null"), "{text}");
        if infra == Infra::Embedded {
            let text = text.replace(&folder.path().display().to_string(), "/project");
            insta::assert_snapshot!(text);
        }
    }
}

const SCALED: &str = r#"
[services.api]
runtime = "rust"
port = 9000
scale = 3
args = ["--listen", "127.0.0.1:${PORT}"]
env = { URL = "http://localhost:${PORT}/", PORT = "9000" }
depends_on = ["db"]
ready = { http = "/ready" }
health = { exec = "check ${PORT} $PORT" }
[services.worker]
command = "work ${PORT}"
scale = 2
depends_on = { api = { until = "started", restart = true } }
[services.web]
command = "web --port ${PORT}"
port = 9002
port_range = "9100-9101"
"#;
const WITH_DB: &str = "services:\n  db: {image: postgres, ports: [\"127.0.0.1:9001:5432\"]}\n";

#[test]
fn replicas_are_nodes_of_their_own_and_share_what_is_built() {
    let (_folder, manifest) = project(SCALED, WITH_DB);
    let stack = stack_of(&manifest, &Selection::default(), Infra::Expected).unwrap();
    insta::assert_snapshot!(outline(&stack), @r"
    db [postgres]
    build api
    api [http] <- build api (Completed), db (Ready)
    api#2 [http] <- build api (Completed), db (Ready)
    api#3 [http] <- build api (Completed), db (Ready)
    worker <- api (Started), api#2 (Started), api#3 (Started)
    worker#2 <- api (Started), api#2 (Started), api#3 (Started)
    web [tcp]
    ");
    // 9001 is the database's, 9002 is web's.
    let addresses: Vec<_> = ["api", "api#2", "api#3"].iter().map(|name| &service(&stack, name).addresses[0]).collect();
    assert_eq!(addresses, ["http://localhost:9000", "http://localhost:9003", "http://localhost:9004"]);
    let third = service(&stack, "api#3");
    assert_eq!(
        third.probe,
        Some(probe::Spec::Http { host: "127.0.0.1".to_owned(), port: 9004, path: "/ready".to_owned() })
    );
    let health = &third.health.as_ref().unwrap().probe;
    assert!(
        matches!(health, probe::Spec::Exec { argv, .. } if *argv == strings(&["check", "9004", "$PORT"])),
        "{health:?}"
    );
    let spec = process(&stack, "api#3");
    assert_eq!((spec.port, &spec.args), (Some(9004), &strings(&["--listen", "127.0.0.1:9004"])));
    let value = |name: &str| (spec.env[name].value.as_str(), &spec.env[name].source);
    assert_eq!(value("PORT"), ("9004", &EnvSource::Devctl));
    assert_eq!(value("URL"), ("http://localhost:9004/", &EnvSource::Manifest));
    let first = process(&stack, "api");
    assert_eq!((first.env["PORT"].value.as_str(), &first.env["PORT"].source), ("9000", &EnvSource::Manifest));
    // Without a port there is nothing to put in.
    assert_eq!(process(&stack, "worker#2").program, Program::Argv(strings(&["work", "${PORT}"])));
}

#[test]
fn the_number_of_replicas_is_chosen_at_run_time_and_those_that_run_keep_their_ports() {
    let (_folder, manifest) = project(SCALED, WITH_DB);
    let scale = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, n)| (name.parse().unwrap(), *n)).collect();
    let ports = |selection: &Selection| -> Vec<_> {
        selection.ports.iter().map(|(name, port)| (name.to_string(), *port)).collect()
    };
    let mut selection = Selection { scale: scale(&[("api", 4), ("web", 3)]), ..Selection::default() };
    selection.ports.insert("api#3".parse().unwrap(), 9777);
    selection.ports.insert("gone#2".parse().unwrap(), 9778);
    assign_ports(&manifest, &mut selection, |port| port != 9003).unwrap();
    let owned =
        |pairs: &[(&str, u16)]| pairs.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect::<Vec<_>>();
    assert_eq!(
        ports(&selection),
        owned(&[("api#2", 9004), ("api#3", 9777), ("api#4", 9005), ("web#2", 9100), ("web#3", 9101)])
    );
    // Nothing is free any more; who has a port keeps it.
    selection.scale = scale(&[("api", 3), ("web", 2)]);
    assign_ports(&manifest, &mut selection, |_| false).unwrap();
    assert_eq!(ports(&selection), owned(&[("api#2", 9004), ("api#3", 9777), ("web#2", 9100)]));
    let stack = stack_of(&manifest, &selection, Infra::Expected).unwrap();
    assert_eq!(process(&stack, "web#2").program, Program::Argv(strings(&["web", "--port", "9100"])));
    // A port that another service declares by now is not kept.
    selection.ports.insert("web#2".parse().unwrap(), 9000);
    assign_ports(&manifest, &mut selection, |_| true).unwrap();
    assert_eq!(selection.ports[&"web#2".parse::<ServiceName>().unwrap()], 9100);
}

#[test]
fn replicas_that_cannot_be_say_why_and_what_to_do() {
    let fixed = "[services.fixed]\ncommand = \"a\"\nport = 9500\nready = { tcp = 9501 }\n";
    let (_folder, manifest) = project(&format!("{SCALED}{fixed}"), WITH_DB);
    let told = |selection: &Selection| {
        let error = stack_of(&manifest, selection, Infra::Expected).unwrap_err();
        format!("{error}\n  {}", error.hints().join("\n  "))
    };
    let scaled = |name: &str, n: u32| Selection { scale: [(name.parse().unwrap(), n)].into(), ..Selection::default() };
    let all = [
        told(&scaled("apy", 2)),
        told(&scaled("api", 0)),
        told(&scaled("api", 101)),
        told(&scaled("web", 4)),
        told(&scaled("fixed", 2)),
        told(&Selection { services: names(&["api#2"]), ..Selection::default() }),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    there is no service `apy`
      did you mean `api`?
      there are `db`, `api`, `worker`, `web`, `fixed`
    `api` cannot run 0 times at once
      stop it: `devctl stop api`
    `api` cannot run 101 times at once
      choose a number from 1 to 100
    there is no free port for `web#4` between 9100 and 9101
      name other ports for `web` in devctl.toml: `port_range = "8100-8199"`
      or run fewer of `web`
    the replicas of `fixed` would all be asked on port 9501
      let its checks ask its own port: `tcp = true`, `http`, or an `exec` with `${PORT}`
    `api#2` is a replica of `api`
      name the service, all of whose replicas run: `api`
    "#);
}

#[test]
fn supervision_comes_with_the_nodes_and_is_described() {
    let toml = r#"
[services.api]
command = "a"
dir = "src"
port = 9000
depends_on = { db = { restart = true }, web = "started" }
ready = { http = "/ready" }
health = { http = "/live", interval = "3s", action = "warn" }
watch = { paths = ["."], ignore = ["*.tmp"] }
[services.web]
runtime = "rust"
port = 9001
watch = ["."]
"#;
    let compose = r"
services:
  db: {image: postgres, depends_on: {cache: {condition: service_started, restart: true}}}
  cache: {image: redis}
";
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("devctl.toml"), format!("[containers]\ncompose = \"c.yml\"\n{toml}")).unwrap();
    fs::write(folder.path().join("c.yml"), format!("name: p\n{compose}")).unwrap();
    let manifest = manifest::load(folder.path(), &BTreeMap::new()).unwrap();
    let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();

    let restarts = |name| -> Vec<_> {
        service(&stack, name).needs.iter().map(|need| (need.on.to_string(), need.restart)).collect()
    };
    assert_eq!(restarts("db"), [("container db".to_owned(), false), ("cache".to_owned(), true)]);
    assert_eq!(restarts("api"), [("db".to_owned(), true), ("web".to_owned(), false)]);
    let api = service(&stack, "api");
    let health = api.health.as_ref().unwrap();
    let live = probe::Spec::Http { host: "127.0.0.1".to_owned(), port: 9000, path: "/live".to_owned() };
    assert_eq!((&health.probe, health.interval, health.retries), (&live, Duration::from_secs(3), 3));
    let builds = |name| service(&stack, name).watch.as_ref().unwrap().build;
    assert_eq!((builds("api"), builds("web")), (false, true));

    let value = describe(&stack);
    let described = |id: &str| value["nodes"].as_array().unwrap().iter().find(|node| node["node"] == id).unwrap();
    assert_eq!(
        described("api")["health"],
        serde_json::json!({
            "probe": "http", "of": "http://127.0.0.1:9000/live", "interval": "3s", "timeout": "2s", "retries": 3,
            "action": "warn",
        })
    );
    assert_eq!(described("api")["needs"][0], serde_json::json!({ "node": "db", "until": "ready", "restart": true }));
    let src = folder.path().join("src").display().to_string();
    assert_eq!(
        described("api")["watch"],
        serde_json::json!({ "paths": [src], "ignore": ["*.tmp"], "debounce": "300ms", "build": false })
    );
}

#[test]
fn a_service_of_a_provider_is_refused_by_name() {
    let compose = "services:\n  tool: {provider: {type: model}}\n  web: {image: x}\n";
    let (_folder, manifest) = project("", compose);
    let error = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap_err();
    assert_eq!(error.to_string(), "`tool` is run by a provider (`model`), which devctl does not start yet");
    let web = Selection { services: vec!["web".parse().unwrap()], ..Selection::default() };
    assert!(stack_of(&manifest, &web, Infra::Docker).is_ok(), "nobody asked for it");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn no_two_replicas_share_a_port_and_none_moves(
        first in proptest::collection::vec(1_u32..6, 3), second in proptest::collection::vec(1_u32..6, 3),
        busy in proptest::collection::btree_set(7000_u16..7030, 0..12),
    ) {
        let toml: String = (0..3).fold(String::new(), |mut toml, n| {
            writeln!(toml, "[services.s{n}]\ncommand = \"a\"\nport = {}", 7000 + n).unwrap();
            toml
        });
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("devctl.toml"), format!("[project]\nname = \"p\"\n{toml}")).unwrap();
        let manifest = manifest::load(folder.path(), &BTreeMap::new()).unwrap();
        let scale = |counts: &[u32]| -> BTreeMap<ServiceName, u32> {
            counts.iter().enumerate().map(|(n, count)| (format!("s{n}").parse().unwrap(), *count)).collect()
        };
        let mut selection = Selection { scale: scale(&first), ..Selection::default() };
        assign_ports(&manifest, &mut selection, |port| !busy.contains(&port)).unwrap();
        let before = selection.ports.clone();
        proptest::prop_assert!(before.values().all(|port| !busy.contains(port)));
        selection.scale = scale(&second);
        assign_ports(&manifest, &mut selection, |port| !busy.contains(&port)).unwrap();
        for (name, port) in &selection.ports {
            proptest::prop_assert!(before.get(name).is_none_or(|earlier| earlier == port), "{} moved", name);
        }
        let stack = stack_of(&manifest, &selection, Infra::Docker).unwrap();
        let expected: u32 = second.iter().sum();
        let ports: std::collections::BTreeSet<_> =
            stack.nodes().flat_map(|node| node.ports.iter().map(|claim| claim.port)).collect();
        proptest::prop_assert_eq!(ports.len(), expected as usize);
        proptest::prop_assert_eq!(stack.services().count(), expected as usize);
    }

    #[test]
    fn needs_are_met_in_order_or_their_circle_is_told(edges in proptest::collection::vec((0_usize..6, 0_usize..6), 0..10)) {
        let mut compose = "name: p\nservices:\n".to_owned();
        for from in 0..6 {
            let needs: std::collections::BTreeSet<_> =
                edges.iter().filter(|(f, _)| *f == from).map(|(_, to)| format!("s{to}")).collect();
            let needs = needs.into_iter().collect::<Vec<_>>().join(", ");
            writeln!(compose, "  s{from}: {{image: x, depends_on: [{needs}]}}").unwrap();
        }
        // A circle is there exactly if taking away services without needs, again and again, leaves some.
        let mut left: Vec<usize> = (0..6).collect();
        while let Some(free) = left.iter().position(|s| !edges.iter().any(|(f, t)| f == s && left.contains(t))) {
            left.remove(free);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("devctl.toml"), "[containers]\ncompose = \"c.yml\"\n").unwrap();
        fs::write(folder.path().join("c.yml"), compose).unwrap();
        match manifest::load(folder.path(), &BTreeMap::new()) {
            Err(problems) => {
                proptest::prop_assert!(!left.is_empty());
                proptest::prop_assert!(problems.0.iter().all(|problem| problem.message.contains("in a circle: ")));
            }
            Ok(manifest) => {
                proptest::prop_assert!(left.is_empty());
                let stack = stack_of(&manifest, &Selection::default(), Infra::Docker).unwrap();
                let order: Vec<_> = stack.nodes().map(|node| node.id.clone()).collect();
                for (at, node) in stack.nodes().enumerate() {
                    proptest::prop_assert!(node.needs.iter().all(|need| order[..at].contains(&need.on)));
                }
            }
        }
    }
}
