//! The whole stack with the real binary, real servers and the repository's own services: from `up` to the receipt, with
//! one body for both drivers.

#![cfg(unix)]

mod support;

use serde_json::Value;
use support::{Finished, Infra, Project, Signal, get, get_json, redis_ping, sql, websocket_round_trip};

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

    let second = project.output(&["up"]);
    let error = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{error}");
    assert!(error.contains(&format!("pid {pid}")), "{error}");
}

/// `db shell`: a command, a pipe, and psql's own exit code. Deletes one product.
fn database_shell(project: &Project, product: &str) {
    let answer = project.printed(&["db", "shell", "-c", "SELECT 'four' || 'teen' AS number"]);
    assert!(answer.contains("fourteen"), "{answer}");
    let script =
        format!("DELETE FROM products WHERE id = '{product}';\n\\t on\nSELECT count(*) + 100000 FROM products;\n");
    let piped = project.output_of(&["db", "shell"], &script);
    let text = String::from_utf8_lossy(&piped.stdout);
    assert!(piped.status.success(), "{piped:?}");
    assert!(text.contains("DELETE 1") && text.contains("10004"), "{text}");
    // psql: 1 where `-c` failed, 3 where a script did.
    let failed = project.output(&["db", "shell", "-c", "SELECT nonsense"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains("nonsense"), "{failed:?}");
    let failed = project.output_of(&["db", "shell"], "SELECT nonsense;\nSELECT 'later';\n");
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    assert!(!String::from_utf8_lossy(&failed.stdout).contains("later"), "{failed:?}");
}

/// Ctrl+C: the exit code, the receipt, the order, and nothing left. Answers with the run's id.
fn interrupted(project: &Project, mut devctl: support::Devctl, infra: Infra) -> String {
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
