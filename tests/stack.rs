//! The whole stack with the real binary, real servers and the repository's own services: from `up` to the receipt, with
//! one body for both drivers.

#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{
    Devctl, Engine, Finished, Infra, Project, Signal, get, get_json, processes_of_run, redis_ping, sql, until,
    websocket_round_trip,
};

/// What is left of an ended run must be nothing, as devctl says and as can be seen from outside.
#[track_caller]
fn nothing_left(project: &Project, run: &str, finished: Finished) -> Finished {
    finished.clean_receipt();
    project.assert_nothing_left(run);
    finished
}

/// The names in an array of strings.
fn names(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Every product of the menu, page by page.
fn products(project: &Project) -> Vec<String> {
    let (mut products, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = get_json(&project.url("api", &format!("/api/products?limit=20{after}")));
        let items = page["items"].as_array().expect("a page has items");
        products.extend(items.iter().map(|item| item["id"].as_str().expect("a product has an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return products,
        }
    }
}

/// The name of this life of the database: another one after the data were thrown away.
fn epoch(project: &Project) -> String {
    let epoch = sql(&project.database_url(), "SELECT value FROM app_meta WHERE key = 'epoch'");
    epoch.expect("the database answers").expect("the backend has migrated it")
}

fn the_whole_stack(infra: Infra) {
    if !infra.available() {
        return;
    }
    let project = Project::whole();

    let devctl = project.up_ready(&infra.args());
    let menu = products(&project);
    assert!(menu.len() > 20, "the empty database was filled: {menu:?}");
    let detailed = get_json(&project.url("api", "/api/health/detailed"));
    for check in ["database", "redis"] {
        assert_eq!(detailed["checks"][check]["status"], "ok", "{detailed:#}");
    }
    let detailed = get_json(&project.url("gateway", "/ws/health/detailed"));
    assert_eq!(detailed["checks"]["redis"]["status"], "ok", "{detailed:#}");
    websocket_round_trip(&format!("ws://127.0.0.1:{}/ws", project.port("gateway")), "hello from one client");
    let first = epoch(&project);
    other_terminals_see_it(&project, infra, devctl.pid());
    database_shell(&project, &menu[0]);
    let run = interrupted(&project, devctl, infra);
    let data = project.data(infra);
    assert_eq!(data.len(), 2, "volumes and data live on: {data:?}");

    // The same data again, and nothing is seeded a second time: what was deleted stays away.
    let mut devctl = project.up_ready(&infra.args());
    assert_ne!(devctl.run_id(), run);
    assert_eq!(products(&project), menu[1..]);
    assert_eq!(epoch(&project), first);
    let down = project.printed(&["down"]);
    assert!(down.ends_with("0 left\n"), "{down}");
    let run = devctl.run_id();
    nothing_left(&project, &run, devctl.wait_exit().expect_code(0));
    assert_eq!(project.data(infra), data);

    // Nobody deletes data in passing.
    let refused = project.output(&["down", "--volumes"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(project.data(infra), data);
    let deleted = project.printed(&["down", "-v", "--yes"]);
    for name in &data {
        assert!(deleted.contains(name.as_str()), "{deleted}");
    }
    assert_eq!(project.data(infra), Vec::<String>::new());
}

/// `ps`, `logs` and a second `up` while the stack is up.
fn other_terminals_see_it(project: &Project, infra: Infra, pid: u32) {
    let rows: Value = serde_json::from_str(&project.printed(&["ps", "--format", "json"])).expect("JSON was asked for");
    let rows = rows.as_array().expect("an array of services");
    let services: Vec<&Value> = rows.iter().map(|row| &row["service"]).collect();
    assert_eq!(services, ["db", "redis", "api", "gateway"]);
    for row in rows {
        let name = row["service"].as_str().expect("it was just compared");
        assert_eq!(row["state"], "ready", "{row}");
        let container = infra == Infra::Docker && ["db", "redis"].contains(&name);
        assert_eq!((row["container"].is_string(), row["pid"].is_u64()), (container, !container), "{row}");
        let since: jiff::Timestamp = row["since"].as_str().unwrap_or_default().parse().expect("it says since when");
        assert!(since <= jiff::Timestamp::now(), "{row}");
        let address = row["addresses"][0].as_str().unwrap_or_default();
        assert!(address.contains(&format!(":{}", project.port(name))), "{row}");
        assert!(!address.contains("postgres:postgres"), "a password is shown: {row}");
    }

    // One line of each, newest last, and every line says whose it is.
    let logs = project.printed(&["logs", "--tail", "1"]);
    let prefixes: Vec<&str> = logs.lines().map(|line| line.split('|').next().unwrap_or_default().trim()).collect();
    for service in ["db", "redis", "api", "gateway"] {
        assert_eq!(prefixes.iter().filter(|prefix| **prefix == service).count(), 1, "{logs}");
    }
    let logs = project.printed(&["logs", "--tail", "500", "api"]);
    assert!(logs.contains("filled the empty database"), "{logs}");
    assert!(logs.lines().all(|line| line.starts_with("api")), "{logs}");

    // Another `up` finds all of it as it should be, and leaves it alone.
    let second = project.output(&["up", "-d"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(0), "{said}");
    assert_eq!(said, format!("devctl (pid {pid}) runs it already, and nothing changed\n"));
}

/// `db shell`: a command, a pipe, and psql's own exit code. Deletes one product.
fn database_shell(project: &Project, product: &str) {
    let answer = project.printed(&["db", "shell", "-c", "SELECT 'four' || 'teen' AS number"]);
    assert!(answer.contains("fourteen"), "{answer}");
    let script = format!(
        "DELETE FROM order_items WHERE product_id = '{product}';\nDELETE FROM products WHERE id = '{product}';\n\\t on\nSELECT count(*) + 100000 FROM products;\n"
    );
    let piped = project.output_of(&["db", "shell"], &script);
    let text = String::from_utf8_lossy(&piped.stdout);
    assert!(piped.status.success(), "{piped:?}");
    assert!(text.contains("DELETE 1") && text.contains("100059"), "{text}");
    // psql: 1 where `-c` failed, 3 where a script did.
    let failed = project.output(&["db", "shell", "-c", "SELECT nonsense"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("nonsense"), "{failed:?}");
    let failed = project.output_of(&["db", "shell"], "SELECT nonsense;\nSELECT 'later';\n");
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    assert!(!String::from_utf8_lossy(&failed.stdout).contains("later"), "{failed:?}");
}

/// Ctrl+C: the exit code, the receipt, the order, and nothing left. Answers with the run's id.
fn interrupted(project: &Project, mut devctl: Devctl, infra: Infra) -> String {
    let run = devctl.run_id();
    devctl.signal(Signal::SIGINT);
    let finished = nothing_left(project, &run, devctl.wait_exit().expect_code(0));
    let receipt = finished.event("receipt");
    let counts = (&receipt["containers"], &receipt["processes"], &receipt["networks"]);
    match infra {
        Infra::Docker => assert_eq!(counts, (&2.into(), &2.into(), &1.into()), "{receipt}"),
        Infra::Embedded => assert_eq!(counts, (&0.into(), &4.into(), &0.into()), "{receipt}"),
    }
    assert_eq!(names(&receipt["data"]).len(), 2, "{receipt}");
    assert_eq!(finished.find("killing", None), None, "everything stops when asked\n{}", finished.told());
    let position = |name: &str, node: &str| {
        let found = finished.events.iter().position(|event| event["event"] == name && event["node"] == node);
        found.unwrap_or_else(|| panic!("`{node}` was never {name}\n{}", finished.told()))
    };
    // Against the arrows: the gateway needs the API, and the API needs the databases.
    assert!(position("stopped", "gateway") < position("stopping", "api"));
    assert!(position("stopped", "api") < position("stopping", "db"));
    assert!(position("stopped", "api") < position("stopping", "redis"));
    run
}

#[test]
fn the_whole_stack_on_docker() {
    the_whole_stack(Infra::Docker);
}

#[test]
fn the_whole_stack_embedded() {
    the_whole_stack(Infra::Embedded);
}

/// Brings a part of the stack up, checks which services that is and that no other listens, and ends it.
#[track_caller]
fn part(project: &Project, infra: Infra, args: &[&str], expected: &[&str]) {
    let mut devctl = project.up_ready(&[&infra.args(), args].concat());
    let (run, started) = (devctl.run_id(), devctl.wait_event("run_started"));
    assert_eq!(names(&started["services"]), expected, "{args:?}");
    let ready = devctl.wait_event("stack_ready");
    assert_eq!(names(&ready["unready"]), Vec::<&str>::new(), "{args:?}: {ready}");
    for service in ["db", "redis", "api", "gateway"] {
        let there = match service {
            "db" => sql(&project.database_url(), "SELECT 1").is_ok(),
            "redis" => redis_ping(project.port("redis")).is_ok(),
            "api" => get(&project.url("api", "/api/health")).is_ok(),
            _ => get(&project.url("gateway", "/ws/health")).is_ok(),
        };
        assert_eq!(there, expected.contains(&service), "{args:?}: {service}");
    }
    devctl.signal(Signal::SIGINT);
    nothing_left(project, &run, devctl.wait_exit().expect_code(0));
}

fn parts_of_the_stack(infra: Infra) {
    if !infra.available() {
        return;
    }
    let project = Project::whole();
    part(&project, infra, &["--api-only"], &["db", "redis", "api"]);
    part(&project, infra, &["--ws-only"], &["redis", "gateway"]);
    part(&project, infra, &["gateway"], &["db", "redis", "api", "gateway"]);
    part(&project, infra, &["redis"], &["redis"]);
    part(&project, infra, &["--no-deps", "gateway"], &["gateway"]);
}

#[test]
fn parts_of_the_stack_on_docker() {
    parts_of_the_stack(Infra::Docker);
}

#[test]
fn parts_of_the_stack_embedded() {
    parts_of_the_stack(Infra::Embedded);
}

#[test]
fn databases_that_run_elsewhere_are_used_and_left_alone() {
    let elsewhere = Project::whole();
    let (db, redis) = (elsewhere.port("db").to_string(), elsewhere.port("redis").to_string());
    let project = Project::changed(&[("@port:db@", &db), ("@port:redis@", &redis)]);
    let mut databases = elsewhere.up_ready(&["--driver", "embedded", "db", "redis"]);

    let mut devctl = project.up_ready(&["--skip-docker"]);
    let run = devctl.run_id();
    assert_eq!(devctl.wait_event("run_started")["driver"], "none");
    assert_eq!(names(&devctl.wait_event("stack_ready")["unready"]), Vec::<&str>::new());
    assert!(!products(&project).is_empty());
    devctl.signal(Signal::SIGINT);
    let finished = nothing_left(&project, &run, devctl.wait_exit().expect_code(0));
    assert_eq!(finished.event("receipt")["processes"], 2);
    assert_eq!(finished.find("stopping", Some("db")), None, "{}", finished.told());
    assert!(!epoch(&elsewhere).is_empty(), "the database still answers");

    databases.signal(Signal::SIGTERM);
    let run = databases.run_id();
    nothing_left(&elsewhere, &run, databases.wait_exit().expect_code(0));

    // Now they are gone: devctl says which, and starts none.
    let mut devctl = project.up_ready(&["--skip-docker", "--ws-only"]);
    let run = devctl.run_id();
    let warning = devctl.wait_node("warning", "redis");
    let message = warning["message"].as_str().unwrap_or_default();
    assert!(message.contains("`redis` is not there") && message.contains(&redis), "{warning}");
    assert!(!names(&warning["hints"]).is_empty(), "{warning}");
    assert_eq!(names(&devctl.wait_event("stack_ready")["unready"]), ["redis"]);
    assert_eq!(get_json(&project.url("gateway", "/ws/health"))["status"], "ok");
    devctl.signal(Signal::SIGINT);
    let finished = nothing_left(&project, &run, devctl.wait_exit().expect_code(0));
    assert_eq!(finished.event("receipt")["processes"], 1);
}

/// Everything in a folder, with what is in it.
fn tree(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is ours").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
    }
    found.sort();
    found
}

fn a_dry_run(infra: Infra) {
    if !infra.available() {
        return;
    }
    let project = Project::whole();
    let before = tree(project.root());
    let plan = project.printed(&[&["up", "--dry-run"], &infra.args()[..]].concat());
    for service in ["db", "redis", "api", "gateway"] {
        assert!(plan.lines().any(|line| line.split_whitespace().nth(1) == Some(service)), "{plan}");
    }
    assert!(plan.contains("waits for db, redis"), "{plan}");
    assert_eq!(tree(project.root()), before);
    assert_eq!(project.data(infra), Vec::<String>::new());
    project.assert_nothing_left("none");
}

#[test]
fn a_dry_run_changes_nothing() {
    a_dry_run(Infra::Docker);
    a_dry_run(Infra::Embedded);
}

/// A program beside the stack whose child leaves its session, as daemons do: only its environment tells whose it is.
const DAEMON: &str = r#"
[services.daemon]
dir        = "."
runtime    = "exec"
command    = ["./daemon.sh"]
"#;

fn with_daemon() -> Project {
    let project = Project::changed(&[("[services.api]", &format!("{DAEMON}\n[services.api]"))]);
    project.script("daemon.sh", "#!/bin/sh\nsetsid sleep 600 &\nexec sleep 600\n");
    project
}

/// The ids of the project's containers.
fn containers(project: &Project) -> Vec<String> {
    let engine = Engine::for_test().expect("a test of containers runs only where there is an engine");
    let found = engine.containers(&format!("com.docker.compose.project={}", project.name()));
    let mut ids: Vec<String> = found.into_iter().map(|container| container.id).collect();
    ids.sort();
    ids
}

fn killed_and_up_again(infra: Infra) {
    if !infra.available() {
        return;
    }
    let project = with_daemon();
    let mut devctl = project.up_ready(&infra.args());
    let mut runs = vec![devctl.run_id()];
    let (first, menu) = (epoch(&project), products(&project));
    let made = if infra == Infra::Docker { containers(&project) } else { Vec::new() };

    // Twice, so that what the first dead run left is still known to the third.
    for _ in 0..2 {
        devctl.kill_with_guardian();
        let left = processes_of_run(&runs[runs.len() - 1]);
        assert!(left.iter().any(|process| process.command == "sleep 600"), "nobody is there to end it: {left:?}");
        if infra == Infra::Docker {
            assert_eq!(containers(&project), made, "nobody is there to remove them");
        }

        devctl = project.up_ready(&infra.args());
        runs.push(devctl.run_id());
        let note = devctl.wait_event("note");
        assert!(note["message"].as_str().is_some_and(|message| message.contains("sleep 600")), "{note}");
        assert_eq!((epoch(&project), products(&project)), (first.clone(), menu.clone()));
        if infra == Infra::Docker {
            assert_eq!(containers(&project), made, "what runs is taken over, not made anew");
            assert_eq!(devctl.wait_node("starting", "db")["action"], "adopt");
        }
    }
    devctl.signal(Signal::SIGINT);
    let finished = devctl.wait_exit().expect_code(0);
    let receipt = finished.clean_receipt();
    assert_eq!(names(&receipt["kept"]), Vec::<&str>::new(), "{receipt}");
    for run in &runs {
        project.assert_nothing_left(run);
    }
    assert_eq!(project.data(infra).len(), 2);
}

#[test]
fn the_next_up_takes_over_what_a_killed_devctl_left_on_docker() {
    killed_and_up_again(Infra::Docker);
}

#[test]
fn the_next_up_takes_over_what_a_killed_devctl_left_embedded() {
    killed_and_up_again(Infra::Embedded);
}

fn killed_and_down(infra: Infra) {
    if !infra.available() {
        return;
    }
    let project = with_daemon();
    let mut devctl = project.up_ready(&infra.args());
    let run = devctl.run_id();
    devctl.kill_with_guardian();
    let down = project.printed(&["down"]);
    assert!(down.ends_with("0 left\n"), "{down}");
    project.assert_nothing_left(&run);
    assert_eq!(project.data(infra).len(), 2, "{down}");
}

#[test]
fn down_ends_what_a_killed_devctl_left() {
    killed_and_down(Infra::Docker);
    killed_and_down(Infra::Embedded);
}

/// `docker compose` in a project's folder; `None`, loudly, where this machine has no such command.
fn compose(project: &Project) -> Option<impl Fn(&[&str]) -> String> {
    let command = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.args(["compose", "--ansi", "never", "--file", "compose.yml"]).args(args);
        command.current_dir(project.root()).stdin(Stdio::null());
        command.output().expect("the docker command runs, it did before")
    };
    Engine::for_test()?;
    if !command(&["version"]).status.success() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        drop(writeln!(std::io::stderr(), "SKIPPED: no `docker compose` for {test}"));
        return None;
    }
    Some(move |args: &[&str]| {
        let output = command(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`docker compose {}`: {error}", args.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// The id of a service's container, its state and since when it is in it.
fn container(project: &Project, service: &str) -> Option<(String, String)> {
    let engine = Engine::for_test().expect("a test of containers runs only where there is an engine");
    let name = format!("{}-{service}-1", project.name());
    let found = engine.containers(&format!("com.docker.compose.project={}", project.name()));
    let found = found.into_iter().find(|container| container.name == name)?;
    let since = engine.docker(&["inspect", "--format", "{{.State.Status}} {{.State.StartedAt}}", &found.id]);
    Some((found.id, since.trim().to_owned()))
}

#[test]
fn what_ran_before_is_kept_as_it_is_and_left_running() {
    let project = Project::whole();
    let Some(compose) = compose(&project) else { return };
    compose(&["up", "--detach", "db"]);
    let before = container(&project, "db").expect("Compose has started it");

    let plan = project.printed(&["up", "--driver", "docker", "--dry-run"]);
    assert!(plan.lines().any(|line| line.starts_with("keep ") && line.contains(" db ")), "{plan}");
    let mut devctl = project.up_ready(&["--driver", "docker"]);
    let run = devctl.run_id();
    assert_eq!(devctl.wait_node("starting", "db")["action"], "keep");
    assert_eq!(container(&project, "db").as_ref(), Some(&before), "not made anew, not started anew");
    assert!(!products(&project).is_empty());
    devctl.signal(Signal::SIGINT);
    let finished = devctl.wait_exit().expect_code(0);
    let receipt = finished.clean_receipt();
    assert_eq!(names(&receipt["kept"]), ["db"], "{receipt}");
    assert_eq!((&receipt["containers"], &receipt["processes"]), (&1.into(), &2.into()), "{receipt}");

    assert_eq!(container(&project, "db"), Some(before), "left running");
    assert_eq!(container(&project, "redis"), None);
    assert_eq!(processes_of_run(&run), []);
    assert!(!epoch(&project).is_empty(), "it still answers");
    compose(&["down"]);
    project.assert_nothing_left(&run);
}

#[test]
fn compose_and_devctl_take_each_others_containers_as_their_own() {
    let project = Project::whole();
    let Some(compose) = compose(&project) else { return };
    // devctl → Compose, while it runs and after it.
    let mut devctl = project.up_ready(&["--driver", "docker", "--keep"]);
    let run = devctl.run_id();
    let first = epoch(&project);
    let seen = compose(&["ps", "--format", "{{.Service}} {{.State}}"]);
    let mut seen: Vec<&str> = seen.lines().collect();
    seen.sort_unstable();
    assert_eq!(seen, ["db running", "redis running"]);
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0).clean_receipt();
    assert_eq!(processes_of_run(&run), []);
    let kept = containers(&project);
    assert_eq!(kept.len(), 2, "`--keep` leaves them");
    let seen = compose(&["ps", "--all", "--format", "{{.State}}"]);
    assert_eq!(seen.lines().collect::<Vec<_>>(), ["exited", "exited"]);
    let plan = compose(&["--dry-run", "up", "--detach"]);
    assert!(!plan.contains("Recreate"), "{plan}");
    compose(&["up", "--detach"]);
    assert_eq!(containers(&project), kept, "Compose starts the very containers of devctl");

    // Compose → devctl, and `ps` knows them without a supervisor.
    let rows: Value = serde_json::from_str(&project.printed(&["ps", "--format", "json"])).expect("JSON was asked for");
    assert!(rows.as_array().is_some_and(|rows| rows.len() == 2), "{rows:#}");
    compose(&["stop"]);
    let mut devctl = project.up_ready(&["--driver", "docker", "--keep"]);
    assert_eq!(devctl.wait_node("starting", "db")["action"], "start");
    assert_eq!(containers(&project), kept, "devctl starts the very containers of Compose");
    assert_eq!(epoch(&project), first);
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0).clean_receipt();

    compose(&["down"]);
    project.assert_nothing_left(&run);
    assert_eq!(project.data(Infra::Docker).len(), 2);
}

#[test]
fn containers_that_a_killed_devctl_only_started_are_taken_over_too() {
    if !Infra::Docker.available() {
        return;
    }
    let project = Project::whole();
    let args = ["--driver", "docker", "redis"];
    let devctl = project.up_ready(&[&args[..], &["--keep"]].concat());
    devctl.signal(Signal::SIGINT);
    devctl.wait_exit().expect_code(0).clean_receipt();
    // The container carries the id of that run for ever, which ended as it should.
    let kept = containers(&project);
    assert_eq!(kept.len(), 1);
    let devctl = project.up_ready(&args);
    devctl.kill_with_guardian();
    let mut devctl = project.up_ready(&args);
    assert_eq!(devctl.wait_node("starting", "redis")["action"], "adopt");
    assert_eq!(containers(&project), kept);
    let run = devctl.run_id();
    devctl.signal(Signal::SIGINT);
    nothing_left(&project, &run, devctl.wait_exit().expect_code(0));
}

#[test]
fn a_database_that_somebody_restarts_stays_part_of_the_stack() {
    let Some(engine) = Engine::for_test() else { return };
    let project = Project::whole();
    let mut devctl = project.up_ready(&["--driver", "docker"]);
    let run = devctl.run_id();
    engine.docker(&["restart", &format!("{}-db-1", project.name())]);
    devctl.wait_for("word of the restart", |line| line.to_string().contains("restarted by somebody else"));
    support::until("the database answers again", || sql(&project.database_url(), "SELECT 1"));
    devctl.signal(Signal::SIGINT);
    let finished = nothing_left(&project, &run, devctl.wait_exit().expect_code(0));
    assert_eq!(finished.find("failed", None), None, "{}", finished.told());
    assert_eq!(finished.find("killing", None), None, "{}", finished.told());
    // Its new life was followed too, to its orderly end.
    let stopping = |event: &Value| event["event"] == "stopping" && event["node"] == "db";
    let at_the_end = finished.events.iter().skip_while(|event| !stopping(event));
    let mut lines = at_the_end.map(Value::to_string);
    assert!(lines.any(|line| line.contains("database system is shut down")), "{}", finished.told());
}

#[test]
fn what_containers_print_while_no_devctl_runs_is_read_from_the_engine_and_merged() {
    let Some(engine) = Engine::for_test() else { return };
    let project = Project::with(
        "[project]\nname = \"@name@\"\n\n[containers]\ncompose = [\"compose.yml\"]\n",
        "name: @name@\nservices:\n  redis:\n    image: redis:7-alpine\n    environment: { API_TOKEN: not-for-logs }\n",
    );
    let stamp = |minute: u32| format!("2026-11-20T08:{minute:02}:00.000000Z");
    // A file of an earlier run: of a program that is gone, and of the container.
    let old = |text: &str| format!("{} O {text}\n", stamp(0));
    project.write(".devctl/logs/api.log", &old("api of a run before"));
    project.write(".devctl/logs/redis.log", &old("redis of a run before"));
    let name = project.name();
    let labels = ["project", "service", "oneoff", "config-hash", "container-number"]
        .map(|label| format!("com.docker.compose.{label}"))
        .into_iter()
        .zip([name, "redis", "False", "none", "1"])
        .map(|(label, value)| format!("--label={label}={value}"));
    let container = format!("--name={name}-redis-1");
    let mut args = vec!["run".to_owned(), "--detach".to_owned(), "--network=none".to_owned(), container];
    args.extend(labels);
    let script = "echo token not-for-logs; echo on stderr >&2; echo 'ERROR: the last'; exec sleep 600";
    args.extend(["--entrypoint=/bin/sh", "redis:7-alpine", "-c", script].map(str::to_owned));
    engine.docker(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let lines = until("the container prints", || {
        let printed = project.printed(&["logs"]);
        if printed.contains("the last") { Ok(printed) } else { Err(printed) }
    });
    let mut lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[..2], ["api   | api of a run before", "redis | redis of a run before"]);
    // The two streams of a container reach the engine on two ways.
    lines[2..].sort_unstable();
    assert_eq!(lines[2..], ["redis | ERROR: the last", "redis | on stderr", "redis | token ***"]);
    assert_eq!(project.printed(&["logs", "--level", "error"]), "redis | ERROR: the last\n");
    assert_eq!(project.printed(&["logs", "redis", "--grep", "^on", "--no-prefix"]), "on stderr\n");
    assert_eq!(project.printed(&["logs", "--until", &stamp(1), "redis"]), "redis | redis of a run before\n");
    assert_eq!(project.printed(&["logs", "-n", "1", "api"]), "api | api of a run before\n");
}
