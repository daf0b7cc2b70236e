//! Whole projects: what a person writes in several files, and what comes back.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load_files(files: &[(&str, &str)]) -> Result<Manifest, Problems> {
    load(project(files).path(), &BTreeMap::new())
}

fn shown_problems(files: &[(&str, &str)]) -> String {
    let problems = load_files(files).expect_err("the files are wrong");
    problems.0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn this_repositorys_own_manifest_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = load(&root.join("src/manifest"), &BTreeMap::new()).unwrap();
    assert_eq!(manifest.root, root);
    assert_eq!(manifest.project.as_str(), "integrador");
    assert_eq!(
        manifest.compose.services.keys().map(ServiceName::as_str).collect::<Vec<_>>(),
        ["db", "redis", "ollama"]
    );
    assert_eq!(manifest.services.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["api", "gateway"]);
    assert_eq!(manifest.warnings, []);
    let api = &manifest.services[0];
    assert_eq!(api.dir, root.join("backend"));
    assert_eq!(api.restart.policy, RestartPolicy::OnFailure);
    let db = &manifest.compose.services[0];
    assert_eq!((db.ports[0].fixed(), db.ports[0].host_ip.as_deref()), (Some(5432), Some("127.0.0.1")));
}

#[test]
fn a_folder_without_a_manifest_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let problems = load(folder.path(), &BTreeMap::new()).unwrap_err();
    assert_eq!(problems.to_string(), "1 problem in the project's files");
    let text = problems.0[0].to_string().replace(&folder.path().display().to_string(), "/project");
    insta::assert_snapshot!(text, @r#"
    error: there is no devctl.toml and no Compose file here or in any folder above
     --> /project
      = help: change to a folder of the project, name a Compose file (`--file`), or begin a project with a file `devctl.toml` that holds
              [project]
              name = "my-project"
    "#);
}

#[test]
fn every_mistake_of_devctl_toml_is_told_in_one_run() {
    let toml = r#"
[project]
nmae = "x"
env_file = 3

[containers]
driver = "podman"

[services.api]
runtime = "rust"
port = 70000
depends_on = { gatewy = "ready", gateway = "healthy" }
ready = { http = "health", timeout = 30 }
restart = { policy = "on_failure", within = "1 fortnight" }
stop = { signal = "TERM", grace = "10" }
env = { A = 1, B = [1] }

[services.gateway]
runtime = "python"
command = "serve"

[services.worker]
command = "run 'it"
ready = { log = "(", tcp = 1 }

[services."bad name"]
runtime = "exec"

[services.nothing]
ready = { timeout = "5s" }
dir = "nowhere"

[services.re]
command = "x"
ready = { log = "(" }
"#;
    insta::assert_snapshot!(shown_problems(&[("devctl.toml", toml)]));
}

#[test]
fn every_mistake_in_how_programs_are_supervised_is_told_in_one_run() {
    let toml = r#"
[services.db]
command = "x"
ready = { log = "up" }
health = { interval = "5s" }

[services.job]
command = "x"
health = { retries = 0, action = "kill", log = "x" }
restart = "sometimes"

[services.api]
command = "x"
port = 8000
depends_on = { db = { until = "redy", restart = 1 }, job = { until = "completed", restart = true }, web = { unti = "ready" } }
health = { http = "live", tcp = true, interval = "0s" }
watch = { path = ["src"], ignore = ["[z-a]", "{a", "*.tmp"], debounce = 300 }

[services.web]
command = "x"
port = 8001
health = { http = "live", timeout = "0ms", retries = -1 }
watch = { paths = [""] , ignore = "x" }

[services.other]
command = "x"
health = { tcp = true }
watch = "src"

[services.last]
command = "x"
watch = { paths = [], debounce = "1s" }

[services."api#2"]
command = "x"

[services.many]
command = "x"
scale = 0
port_range = "8100-8199"
listen = true
pty = "yes"

[services.more]
command = "x"
port = 8002
scale = 101
port_range = "8199-8100"

[services.most]
command = "x"
port = 8003
scale = "3"
port_range = 8100
depends_on = ["api#2"]
"#;
    insta::assert_snapshot!(shown_problems(&[("devctl.toml", toml)]));
}

#[test]
fn supervision_is_read_in_short_and_in_long() {
    let toml = r#"
[services.db]
command = "x"
port = 5000
health = {}
restart = "always"
watch = []
[services.log]
command = "x"
ready = { log = "up" }
health = { exec = "check it", interval = "1m", timeout = "5s", retries = 1, action = "warn" }
restart = { policy = "never" }
[services.api]
command = "x"
dir = "a"
port = 8000
depends_on = { db = { restart = true }, log = { until = "started" } }
ready = { http = "/ready" }
health = { http = "/live" }
watch = ["src", "../shared/./x"]
[services.web]
command = "x"
port = 8001
ready = { http = "/ready" }
health = { interval = "3s" }
watch = { paths = ["gone"], ignore = ["*.tmp", "!keep.tmp"], debounce = "1s" }
"#;
    let folder = project(&[("devctl.toml", toml), ("a/src/main", ""), ("shared/x", "")]);
    let manifest = load(folder.path(), &BTreeMap::new()).unwrap();
    let service = |name: &str| &manifest.services[&name.parse::<ServiceName>().unwrap()];
    let seconds = Duration::from_secs;

    let db = service("db");
    assert_eq!(db.health, Some(Liveness::asking(ReadyProbe::Tcp { port: 5000 })));
    assert_eq!((db.restart.policy, db.restart.max), (RestartPolicy::Always, 5));
    assert_eq!(db.watch, None);
    let log = service("log");
    assert_eq!(
        log.health,
        Some(Liveness {
            probe: ReadyProbe::Exec { argv: vec!["check".to_owned(), "it".to_owned()] },
            interval: seconds(60),
            timeout: seconds(5),
            retries: 1,
            action: HealthAction::Warn,
        })
    );
    assert_eq!(log.restart.policy, RestartPolicy::No);
    let api = service("api");
    let needs: Vec<_> = api.depends_on.iter().map(|need| (need.on.as_str(), need.until, need.restart)).collect();
    assert_eq!(needs, [("db", Until::Ready, true), ("log", Until::Started, false)]);
    let live = Liveness::asking(ReadyProbe::Http { port: 8000, path: "/live".to_owned() });
    assert_eq!((live.interval, live.timeout, live.retries), (seconds(10), seconds(2), 3));
    assert_eq!(api.health, Some(live));
    let watch = api.watch.as_ref().unwrap();
    assert_eq!(watch.paths, [folder.path().join("a/src"), folder.path().join("shared/x")]);
    assert_eq!((watch.debounce, watch.build), (DEFAULT_DEBOUNCE, false));
    let web = service("web");
    let ready = ReadyProbe::Http { port: 8001, path: "/ready".to_owned() };
    assert_eq!(web.health, Some(Liveness { interval: seconds(3), ..Liveness::asking(ready) }));
    let watch = web.watch.as_ref().unwrap();
    assert_eq!(
        (watch.ignore.as_slice(), watch.debounce),
        (&["*.tmp".to_owned(), "!keep.tmp".to_owned()][..], seconds(1))
    );
    let warnings: Vec<_> = manifest.warnings.iter().map(|problem| (problem.message.as_str(), problem.at)).collect();
    assert_eq!(warnings, [("there is nothing to watch at `gone`", Some((26, 20)))]);
}

#[test]
fn every_mistake_of_a_compose_file_is_told_in_one_run() {
    let toml = "[project]\nname = \"p\"\n[containers]\ncompose = [\"c.yml\", \"gone.yml\"]\n";
    let yaml = r#"version: "3"
nmae: x
include: [other.yml]
x-mine: { a: 1 }
services:
  db:
    imge: postgres
    ports: ["5432:x", { target: 80, published: 8080, protcol: tcp }]
    volumes: ["pgdta:/data", { type: bind, target: /x }]
    networks: [bak]
    environment: { A: [1] }
    user: 1000
  web:
    image: nginx
    build: .
    depends_on: { dbb: { condition: service_started }, db: { condition: healthy } }
    healthcheck: { test: ["curl"], interval: 10, retries: many }
    restart: allways
    stop_grace_period: 2x
    mem_limit: lots
    command: a && b
    pull_policy: daily
    privileged: maybe
    ulimits: { nofile: { soft: 1 } }
    expose: ["0"]
volumes:
  pgdata:
networks:
  back:
    ipam: {}
"#;
    insta::assert_snapshot!(shown_problems(&[("devctl.toml", toml), ("c.yml", yaml)]));
}

#[test]
fn services_that_do_not_fit_together_are_told() {
    let toml = r#"
[project]
name = "one"
[containers]
compose = "c/c.yml"
[services.api]
command = "a"
port = 8000
depends_on = ["gateway", "bd"]
[services.gateway]
command = "a"
port = 8000
depends_on = { api = "started" }
[services.db]
command = "a"
[services.self]
command = "a"
port = 5432
depends_on = ["self"]
"#;
    let yaml = r#"name: two
services:
  db:
    image: postgres
    ports: ["5432:5432"]
  cache:
    image: redis
    depends_on: [api]
  alternative:
    image: postgres
    profiles: [other]
    ports: ["5432:5432"]
"#;
    insta::assert_snapshot!(shown_problems(&[("devctl.toml", toml), ("c/c.yml", yaml)]));
}

#[test]
fn a_syntax_error_is_told_without_a_trail_of_others() {
    let text = shown_problems(&[("devctl.toml", "[project\nname = \"x\"\n[services.a]\nprot = 1\n")]);
    assert!(text.starts_with("error: not valid TOML"), "{text}");
    assert!(!text.contains("prot"), "{text}");
}

#[test]
fn a_compose_file_that_cannot_be_read_makes_no_strangers_of_its_services() {
    let toml = "[project]\nname = \"p\"\n[containers]\ncompose = [\"c.yml\"]\n[services.a]\ncommand = \"a\"\ndepends_on = \
                [\"db\"]\n";
    let broken = shown_problems(&[("devctl.toml", toml), ("c.yml", "services:\n\tdb:\n")]);
    insta::assert_snapshot!(broken, @r"
    error: not valid YAML: a tab in the indentation
     --> c.yml:2:2
      |
    2 | 	db:
      | 	^
      = help: use spaces
    ");
    let missing = shown_problems(&[("devctl.toml", toml)]);
    assert!(missing.contains("there is no file `c.yml`") && !missing.contains("`db`"), "{missing}");
    let empty = shown_problems(&[("devctl.toml", toml), ("c.yml", "services: {}\n")]);
    assert!(empty.contains("`a` needs `db`, and there is no such service"), "{empty}");
}

#[test]
fn variables_come_from_the_shell_then_from_the_two_env_files() {
    let toml = "[containers]\ncompose = \"c/c.yml\"\n[project]\nname = \"p\"\nenv_file = \"app.env\"\n";
    let yaml = "services:\n  s:\n    image: \"i:${A}-${B}-${C}-${D:-d}\"\n    environment: [B, NOWHERE, X=$NOPE]\n";
    let folder = project(&[
        ("devctl.toml", toml),
        ("c/c.yml", yaml),
        (".env", "A=root\nB=root\n"),
        ("c/.env", "A=near\nB=near\nC=near\n"),
    ]);
    let shell = BTreeMap::from([("A".to_owned(), "shell".to_owned())]);
    let manifest = load(folder.path(), &shell).unwrap();
    let service = &manifest.compose.services[0];
    assert_eq!(service.image, "i:shell-root-near-d");
    assert_eq!(service.environment["B"].as_deref(), Some("root"));
    assert_eq!(service.environment["NOWHERE"], None);
    assert_eq!(manifest.warnings.len(), 1);
    insta::assert_snapshot!(manifest.warnings[0].render("warning"), @r"
    warning: the variable `NOPE` is not set; nothing stands in its place
     --> c/c.yml:4:31
      |
    4 |     environment: [B, NOWHERE, X=$NOPE]
      |                               ^^^^^^^
      = help: set `NOPE` in the shell or in `.env`, or give it a default: `${NOPE:-…}`
    ");
    assert!(!manifest.env_files[0].exists);
}

#[test]
fn what_compose_takes_is_taken() {
    let yaml = r#"
version: "3.9"
x-common: &common
  restart: unless-stopped
  labels: { tier: back }
services:
  a:
    <<: *common
    image: nginx
    command: nginx -g 'daemon off;'
    entrypoint: []
    ports: [8080, "127.0.0.1:8443:443/tcp", { target: 53, published: "5353", protocol: udp, host_ip: "::1" }]
    networks: { front: { aliases: [www] }, default: }
    volumes: [data:/data, ./x:/x:ro, /anon, { type: tmpfs, target: /t }, { type: volume, source: data, target: /d2 }]
    depends_on: { b: { condition: service_completed_successfully, restart: true, required: false } }
    healthcheck: { test: curl -f localhost, interval: 1m30s, retries: 3, start_interval: 1s }
    extra_hosts: ["h=1.2.3.4", "six=[::1]"]
    sysctls: [net.core.somaxconn=1024]
    ulimits: { nproc: 65535, nofile: { soft: 1, hard: 2 } }
    shm_size: 64m
    init: false
  b:
    image: busybox
    network_mode: none
    x-mine: 1
networks: { front: }
volumes: { data: { external: true, name: shared } }
"#;
    let manifest =
        load_files(&[("devctl.toml", "[containers]\ncompose = \"c.yml\"\n[project]\nname = \"p\"\n"), ("c.yml", yaml)])
            .map_err(|problems| problems.0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"));
    let manifest = manifest.unwrap();
    let a = &manifest.compose.services[0];
    assert_eq!(a.command.as_deref(), Some(&["nginx", "-g", "daemon off;"].map(str::to_owned)[..]));
    assert_eq!(a.entrypoint, Some(vec![]));
    assert_eq!(a.restart.as_deref(), Some("unless-stopped"));
    assert_eq!(a.labels["tier"], "back");
    assert_eq!(a.mounts.len(), 5);
    assert_eq!(*a.extra_hosts, [("h", "1.2.3.4"), ("six", "::1")].map(|(h, i)| (h.to_owned(), i.to_owned())));
    assert_eq!(a.shm_size.get(), Some(67_108_864));
    assert!(manifest.compose.volumes["data"].external);
}

#[test]
fn several_files_are_one_and_each_mistake_is_told_where_it_was_made() {
    let toml = "[project]\nname = \"p\"\n[containers]\ncompose = [\"a.yml\", \"b.yml\"]\n";
    let a = "services: { one: { image: x, user: me } }\nvolumes: { v: }\n";
    let b = "services: { one: { image: y }, two: { image: z } }\nvolumes: { v: { driver: d } }\n";
    let manifest = load_files(&[("devctl.toml", toml), ("a.yml", a), ("b.yml", b)]).unwrap();
    let services: Vec<_> = manifest.compose.services.values().map(|s| (s.name.as_str(), s.image.as_str())).collect();
    assert_eq!(services, [("one", "y"), ("two", "z")]);
    assert_eq!(manifest.compose.services[0].user.as_deref(), Some("me"));
    assert_eq!(manifest.compose.volumes["v"].driver.as_deref(), Some("d"));
    let b = "services:\n  one:\n    imge: y\n    init: maybe\n";
    insta::assert_snapshot!(shown_problems(&[("devctl.toml", toml), ("a.yml", a), ("b.yml", b)]), @r"
    error: unknown key `imge`
     --> b.yml:3:5
      |
    3 |     imge: y
      |     ^^^^
      = help: did you mean `image`?

    error: `init` must be true or false, but is a string
     --> b.yml:4:11
      |
    4 |     init: maybe
      |           ^^^^^
    ");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_loading_panic(toml in "(\\PC|[\\n\\[\\]={}\"']){0,200}", yaml in "(\\PC|[\\n:\\[\\]{}&*!'\" -]){0,200}") {
        let _ = load_files(&[("devctl.toml", &toml)]);
        let _ = load_files(&[("devctl.toml", "containers.compose = \"c.yml\""), ("c.yml", &yaml)]);
    }

    #[test]
    fn no_value_of_a_known_key_makes_loading_panic(
        key in prop::sample::select(devctl_toml::SERVICE_KEYS),
        value in prop::sample::select(vec!["1", "-1", "1.5", "true", "\"\"", "\"x y\"", "[]", "[1]", "[\"\"]", "{}", "{ a = 1 }", "1979-05-27", "99999999999999999999"]),
    ) {
        let _ = load_files(&[("devctl.toml", &format!("[services.a]\n{key} = {value}\n"))]);
    }

    #[test]
    fn no_value_of_a_compose_key_makes_loading_panic(
        key in prop::sample::select(vec!["image", "command", "ports", "volumes", "networks", "depends_on", "healthcheck", "extra_hosts", "ulimits", "environment", "labels", "expose", "restart"]),
        value in prop::sample::select(vec!["1", "-1", "1.5", "true", "''", "'x y'", "[]", "[1]", "['']", "['::']", "{}", "{a: 1}", "{a: {b: [c]}}", "~", "[[1]]", "'${'", "[{type: bind}]", "'='"]),
    ) {
        let _ = load_files(&[("devctl.toml", "containers.compose = \"c.yml\""), ("c.yml", &format!("services: {{a: {{{key}: {value}}}}}"))]);
    }
}
