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
    assert!(stderr.starts_with("error: there is no devctl.toml here or in any folder above"), "{stderr}");
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
    print(&hub, "gateway", "nobody reads this").await;
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
