//! Services that follow others, and services that are asked how they are: restarts that nobody typed.

use serde_json::Value;

use crate::{down, pid, project, row, say, up};

const CHAIN: &str = r#"
[project]
name = "@name@"

[services.db]
command = ["STUB", "serve", "@port:db@"]
port    = @port:db@
restart = "always"

[services.api]
command    = ["STUB", "lines", "up"]
depends_on = { db = { until = "ready", restart = true } }

[services.gateway]
command    = ["STUB", "lines", "up"]
depends_on = { api = { until = "ready", restart = true } }

[services.bystander]
command    = ["STUB", "lines", "up"]
depends_on = ["db"]
"#;

#[test]
fn who_asked_for_it_is_restarted_with_what_it_needs_and_nobody_else() {
    let project = project(CHAIN);
    let mut events = up(&project);
    let before = ["db", "api", "gateway", "bystander"].map(|service| pid(&project, service));
    say(&project, &["restart", "db"]).expect(0);
    assert_eq!(events.next_node("renewing", "api")["cause"], "`db` was restarted");
    assert_eq!(events.next_node("renewing", "gateway")["cause"], "`api` was restarted");
    events.next_node("ready", "gateway");
    let after = ["db", "api", "gateway", "bystander"].map(|service| pid(&project, service));
    for (at, renewed) in [true, true, true, false].into_iter().enumerate() {
        assert_eq!(before[at] != after[at], renewed, "{before:?} {after:?}");
    }
    // A crash is a restart too.
    say(&project, &["kill", "-s", "ABRT", "db"]).expect(0);
    events.next_node("restarting", "db");
    events.next_node("ready", "db");
    assert_eq!(events.next_node("renewing", "api")["cause"], "`db` was restarted");
    events.next_node("ready", "gateway");
    assert_eq!(pid(&project, "bystander"), before[3]);
    down(&project, events);
}

/// Both are well for as long as there is no file `sick`.
const PATIENTS: &str = r#"
[project]
name = "@name@"

[services.api]
command = ["STUB", "lines", "up"]
health  = { exec = ["sh", "-c", "! test -e sick"], interval = "30ms", retries = 2, action = "restart" }

[services.worker]
command = ["STUB", "lines", "up"]
health  = { exec = ["sh", "-c", "! test -e sick"], interval = "30ms", retries = 2, action = "warn" }
"#;

#[test]
fn an_unhealthy_service_is_restarted_or_told_of() {
    // It may be given up for as long as the file is there, and this is about something else.
    let project = project(&PATIENTS.replace("\"restart\" }", "\"restart\" }\nrestart = { max = 100000 }"));
    let mut events = up(&project);
    let (api, worker) = (pid(&project, "api"), pid(&project, "worker"));
    project.write("sick", "");
    let is = |event: &Value, name: &str, node: &str| event["event"] == name && event["node"] == node;
    let (mut restarted, mut told) = (false, false);
    while !(restarted && told) {
        let event =
            events.skip_past("word of both", |event| is(event, "renewing", "api") || is(event, "unhealthy", "worker"));
        restarted |= is(&event, "renewing", "api");
        told |= is(&event, "unhealthy", "worker");
        if is(&event, "renewing", "api") {
            assert!(event["cause"].as_str().is_some_and(|cause| cause.starts_with("unhealthy: ")), "{event}");
        } else {
            assert_eq!(event["failures"], 2, "{event}");
        }
    }
    assert_eq!(row(&project, "worker")["state"], "unhealthy");
    std::fs::remove_file(project.root().join("sick")).expect("it was just written");
    events.next_node("healthy", "worker");
    // A restart that was on its way when the file went may come after this one.
    crate::until("the restarted one is well", || {
        let row = row(&project, "api");
        let is_another = row["pid"].as_u64().is_some_and(|pid| pid != api);
        if row["state"] == "ready" && is_another { Ok(()) } else { Err(row.to_string()) }
    });
    assert_eq!(pid(&project, "worker"), worker, "it was only told of");
    down(&project, events);
}

#[test]
fn what_does_not_get_well_is_given_up() {
    let project = project(&PATIENTS.replace("action = \"restart\" }", "action = \"restart\" }\nrestart = { max = 2 }"));
    let mut events = up(&project);
    project.write("sick", "");
    let failed = events.next_node("failed", "api");
    let message = failed["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`api` is unhealthy again after 2 restarts within 60 s"), "{failed}");
    assert_eq!(row(&project, "api")["state"], "failed");
    assert!(row(&project, "worker")["pid"].is_u64(), "the others run on");
    down(&project, events);
}
