//! `devctl logs` on the files of a real run of the log room: merged, coloured or not, followed, and its errors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by failing")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use devctl::logs::{Hub, Stream};

fn devctl(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devctl"));
    command.current_dir(root).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), utf8(&output.stdout), utf8(&output.stderr))
}

async fn print(hub: &Hub, service: &str, line: &str) {
    hub.sink(&service.parse().unwrap()).write(Stream::Stdout, format!("{line}\n").as_bytes()).await;
    hub.flush().await;
}

/// A project with the logs of two services.
async fn project() -> (tempfile::TempDir, Hub) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("devctl.toml"), "[project]\nname = \"x\"\n").unwrap();
    std::fs::create_dir(root.path().join("below")).unwrap();
    let hub = Hub::new(Some(root.path().join(".devctl/logs")));
    print(&hub, "gateway", "first").await;
    print(&hub, "db", "\u{1b}[31msecond\u{1b}[0m \u{1b}[2J").await;
    print(&hub, "gateway", "third").await;
    (root, hub)
}

#[tokio::test]
async fn lines_are_merged_by_time_and_found_from_below_the_root() {
    let (root, _hub) = project().await;
    let output = devctl(&root.path().join("below")).arg("logs").output().unwrap();
    let (code, stdout, stderr) = text(&output);
    assert_eq!(stdout, "gateway | first\ndb      | second \ngateway | third\n");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn some_lines_of_some_services() {
    let (root, _hub) = project().await;
    let output = devctl(root.path()).args(["logs", "--tail", "1", "gateway"]).output().unwrap();
    assert_eq!(text(&output).1, "gateway | third\n");
}

#[tokio::test]
async fn the_prefix_is_coloured_when_colours_are_asked_for() {
    let (root, _hub) = project().await;
    let output = devctl(root.path()).args(["logs", "--color", "always", "db"]).output().unwrap();
    assert_eq!(text(&output).1, "\u{1b}[94mdb |\u{1b}[0m second \n");
}

#[tokio::test]
async fn lines_of_json_go_through_a_pipe_as_they_are() {
    let (root, hub) = project().await;
    let line = r#"{"level":"info","message":"answered","status":200}"#;
    print(&hub, "db", line).await;
    let output = devctl(root.path()).args(["logs", "--tail", "1", "--color", "always", "db"]).output().unwrap();
    assert_eq!(text(&output).1, format!("\u{1b}[94mdb |\u{1b}[0m {line}\n"));
}

#[tokio::test]
async fn a_mistyped_service_is_a_usage_error_that_suggests() {
    let (root, _hub) = project().await;
    let output = devctl(root.path()).args(["logs", "gatway"]).output().unwrap();
    let (code, stdout, stderr) = text(&output);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_eq!(stderr, "error: there are no logs of `gatway`\n  hint: did you mean `gateway`?\n");
}

#[test]
fn outside_a_project_the_error_says_so() {
    let root = tempfile::tempdir().unwrap();
    let output = devctl(root.path()).arg("logs").output().unwrap();
    let (code, _, stderr) = text(&output);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("error: there is no devctl.toml and no Compose file here or in any folder above"),
        "{stderr}"
    );
    assert!(stderr.contains(&*root.path().to_string_lossy()), "{stderr}");
}

#[tokio::test]
async fn following_shows_new_lines_and_ends_when_nobody_reads() {
    let (root, hub) = project().await;
    let mut child = devctl(root.path())
        .args(["logs", "--follow", "--tail", "1", "gateway"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(next(), "gateway | third\n");
    print(&hub, "gateway", "fourth").await;
    assert_eq!(next(), "gateway | fourth\n");
    drop(stdout);
    // A child that another test has just forked may hold the pipe for a moment more, so one line may not be enough.
    let status = loop {
        print(&hub, "gateway", "nobody reads this").await;
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Some(0));
}

/// What `devctl logs` prints.
fn logs(root: &Path, args: &[&str]) -> String {
    let output = devctl(root).arg("logs").args(args).output().unwrap();
    let (code, stdout, stderr) = text(&output);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
    stdout
}

/// A project whose service `api` lived three times and said things of several levels.
async fn lives() -> (tempfile::TempDir, Hub) {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("devctl.toml"), "[project]\nname = \"x\"\n").unwrap();
    let hub = Hub::new(Some(root.path().join(".devctl/logs")));
    for life in 1..=3 {
        hub.restarted(&"api".parse().unwrap());
        print(&hub, "api", &format!("INFO:     life {life}")).await;
        print(&hub, "api", &format!("ERROR:    no luck {life}")).await;
        print(&hub, "api", "    at the end").await;
        print(&hub, "web", &format!(r#"{{"level":40,"msg":"slow {life}","ms":{life}}}"#)).await;
    }
    (root, hub)
}

#[tokio::test]
async fn services_are_named_in_two_ways_and_tails_counted_in_lines() {
    let (root, _hub) = project().await;
    let both = "gateway | first\ndb      | second \ngateway | third\n";
    assert_eq!(logs(root.path(), &["--service", "db", "--service", "gateway", "--tail", "all"]), both);
    assert_eq!(logs(root.path(), &["--service", "db", "gateway", "-n", "2"]), both);
    assert_eq!(logs(root.path(), &["-n", "0"]), "");
}

#[tokio::test]
async fn levels_and_patterns_choose_lines() {
    let (root, _hub) = lives().await;
    let errors = "api | ERROR:    no luck 3\napi |     at the end\n";
    assert_eq!(logs(root.path(), &["--level", "error", "--tail", "1"]), errors);
    let warnings = logs(root.path(), &["--level", "warn"]);
    assert_eq!(warnings.lines().count(), 9, "{warnings}");
    assert!(!warnings.contains("INFO"));
    assert_eq!(
        logs(root.path(), &["--grep", "luck [12]$", "--no-prefix"]),
        "ERROR:    no luck 1\nERROR:    no luck 2\n"
    );
    let (code, stdout, stderr) = text(&devctl(root.path()).args(["logs", "--grep", "("]).output().unwrap());
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("unclosed group; for the text itself: \\("), "{stderr}");
}

#[tokio::test]
async fn the_previous_life_is_shown_alone() {
    let (root, _hub) = lives().await;
    let previous = "api | INFO:     life 2\napi | ERROR:    no luck 2\napi |     at the end\n";
    assert_eq!(logs(root.path(), &["--previous"]), previous);
    assert_eq!(logs(root.path(), &["--previous", "--level", "info", "--grep", "life"]), "api | INFO:     life 2\n");
}

#[tokio::test]
async fn times_are_shown_and_bound_what_is_shown() {
    let (root, _hub) = lives().await;
    let all = logs(root.path(), &["--json"]);
    let objects: Vec<serde_json::Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 12);
    let at = |n: usize| objects[n]["at"].as_str().unwrap().to_owned();
    let middle = logs(root.path(), &["--since", &at(3), "--until", &at(5), "--json"]);
    assert_eq!(middle.lines().collect::<Vec<_>>(), all.lines().skip(3).take(3).collect::<Vec<_>>());
    assert_eq!(logs(root.path(), &["--since", "1h"]).lines().count(), 12);
    assert_eq!(logs(root.path(), &["--until", "1h"]), "");
    let stamped = devctl(root.path()).args(["logs", "-t", "-n", "1", "web"]).env("TZ", "UTC").output().unwrap();
    let stamp: jiff::Timestamp = at(11).parse().unwrap();
    let text = text(&stamped).1;
    assert!(text.starts_with(&format!("web | {}+00:00 ", stamp.strftime("%Y-%m-%dT%H:%M:%S%.6f"))), "{text}");
}

#[tokio::test]
async fn objects_have_level_and_fields() {
    let (root, hub) = lives().await;
    print(&hub, "db", "\u{1b}[31mt=1 lvl=warn\u{1b}[0m").await;
    print(&hub, "db", "no level").await;
    let objects: Vec<serde_json::Value> =
        logs(root.path(), &["--json", "-n", "2"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let short = |object: &serde_json::Value| {
        let mut object = object.clone();
        assert!(object["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        object.as_object_mut().unwrap().remove("at");
        object
    };
    let of = |service: &str, level: serde_json::Value, text: &str| serde_json::json!({ "service": service, "stream": "stdout", "level": level, "text": text });
    let found: Vec<serde_json::Value> = objects.iter().map(short).collect();
    let slow = |n: i32| {
        let mut object = of("web", "warn".into(), &format!(r#"{{"level":40,"msg":"slow {n}","ms":{n}}}"#));
        object["fields"] = serde_json::json!({ "level": 40, "msg": format!("slow {n}"), "ms": n });
        object
    };
    let mut logfmt = of("db", "warn".into(), "t=1 lvl=warn");
    logfmt["fields"] = serde_json::json!({ "t": "1", "lvl": "warn" });
    assert_eq!(
        found,
        [
            slow(2),
            of("api", "error".into(), "ERROR:    no luck 3"),
            of("api", serde_json::Value::Null, "    at the end"),
            slow(3),
            logfmt,
            of("db", serde_json::Value::Null, "no level"),
        ]
    );
}

#[tokio::test]
async fn colours_follow_the_environment() {
    let (root, _hub) = project().await;
    let run = |name: &str, value: &str| {
        let mut command = devctl(root.path());
        command.args(["logs", "-n", "1", "db"]).env_remove("FORCE_COLOR").env(name, value);
        text(&command.output().unwrap()).1
    };
    let coloured = "\u{1b}[94mdb |\u{1b}[0m second \n";
    assert_eq!(run("FORCE_COLOR", "1"), coloured);
    assert_eq!(run("CLICOLOR_FORCE", "1"), coloured);
    assert_eq!(run("FORCE_COLOR", "0"), "db | second \n");
    let mut command = devctl(root.path());
    command.args(["logs", "-n", "1", "db"]).env("FORCE_COLOR", "1").env("NO_COLOR", "1");
    assert_eq!(text(&command.output().unwrap()).1, "db | second \n");
}

#[tokio::test]
async fn following_goes_through_the_same_filter() {
    let (root, hub) = lives().await;
    let mut child = devctl(root.path())
        .args(["logs", "-f", "--tail", "1", "--grep", "life", "--no-prefix"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(next(), "INFO:     life 3\n");
    print(&hub, "web", "of no interest").await;
    print(&hub, "later", "another life").await;
    assert_eq!(next(), "another life\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_it() {
    let (root, hub) = project().await;
    let sink = hub.sink(&"flood".parse().unwrap());
    for i in 0..40_000 {
        sink.write(Stream::Stdout, format!("{i} {}\n", "x".repeat(90)).as_bytes()).await;
    }
    hub.flush().await;
    let mut child = devctl(root.path()).args(["logs", "--tail", "all"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "gateway | first\n");
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
