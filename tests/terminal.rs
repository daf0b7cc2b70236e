//! What a person sees and types: the real binary in a pseudo-terminal, its screen compared with snapshots at the moments
//! that matter, its keys pressed as bytes.
#![cfg(unix)]

mod support;

#[path = "failures/stub.rs"]
mod stub;

use std::sync::OnceLock;

use regex::Regex;
use support::{Infra, Project, Terminal};

const SHOW_CURSOR: &str = "\u{1b}[?25h";
const HIDE_CURSOR: &str = "\u{1b}[?25l";

/// Three services in a row: a slow one, one that waits for it, one that waits for that. The slow one gets ready when the
/// test makes the file `go`, and says more when it makes the file `more`.
fn in_a_row(stop: &str) -> Project {
    let project = Project::empty();
    let manifest = r#"
[project]
name = "@name@"

[services.db]
command = ["STUB", "shell", "until test -e go; do sleep 0.05; done; echo open for business; until test -e more; do sleep 0.05; done; echo SELECT 1; exec STUB sleeper"]
ready   = { log = "open for business" }

[services.api]
command    = ["STUB", "lines", "GET / 200"]
ready      = { log = "GET" }
depends_on = ["db"]

[services.gateway]
command    = ["STUB", "STOP", "up"]
ready      = { log = "up" }
stop       = { grace = "60s" }
depends_on = ["api"]
"#;
    let manifest = manifest.replace("STUB", &stub::path().display().to_string()).replace("STOP", stop);
    project.write("devctl.toml", &manifest);
    project
}

fn go(project: &Project) {
    project.write("go", "");
}

/// The screen without what differs from run to run; as wide as before, so that columns stay columns.
fn settled(project: &Project, screen: &str) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        [
            (r"\b\d+(?:\.\d)? m?s\b *", "TIME "),
            (r"\bpid \d+ *", "pid PID "),
            (r"\bsleeper \d+", "sleeper PID"),
            // The width of a column depends on how many digits its numbers have.
            (r"WHERE +", "WHERE  "),
            (r"(?m) +$", ""),
        ]
        .map(|(from, to)| (Regex::new(from).expect("the pattern is valid"), to))
        .into()
    });
    let mut text = screen.replace(project.name(), "NAME");
    for (pattern, to) in patterns {
        text = pattern.replace_all(&text, *to).into_owned();
    }
    text
}

macro_rules! assert_screen {
    ($name:literal, $project:expr, $screen:expr) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($name, settled(&$project, &$screen));
        })
    };
}

/// Fails unless the cursor was shown again after it was hidden for the last time.
#[track_caller]
fn assert_cursor_restored(terminal: &Terminal) {
    let raw = terminal.raw();
    let hidden = raw.rfind(HIDE_CURSOR);
    assert!(hidden.is_none() || hidden < raw.rfind(SHOW_CURSOR), "the cursor is still hidden: {raw:?}");
}

/// Waits for the end and then for the last of the output, and gives the exit code.
#[track_caller]
fn end(terminal: &mut Terminal, last_words: &str) -> Option<i32> {
    terminal.wait_text(last_words);
    terminal.wait_exit()
}

#[test]
fn the_screen_from_the_first_line_to_the_receipt() {
    let project = in_a_row("lines");
    let mut terminal = Terminal::start(&project, &["up"]);
    let waiting = terminal.wait_screen("all three services", |screen| {
        screen.contains("probing") && screen.contains("waiting for db") && screen.contains("waiting for api")
    });
    assert_screen!("screen_starting", project, waiting);
    go(&project);
    terminal.wait_text("Ctrl+C stops everything");
    project.write("more", "");
    let ready = terminal.wait_text("| sleeper");
    assert_screen!("screen_ready", project, ready);
    terminal.interrupt();
    assert_eq!(end(&mut terminal, "0 left"), Some(0));
    assert_screen!("screen_receipt", project, terminal.screen());
    assert_cursor_restored(&terminal);
    project.assert_nothing_left("none");
}

#[test]
fn ctrl_c_before_everything_is_ready() {
    let project = in_a_row("lines");
    let mut terminal = Terminal::start(&project, &["up"]);
    // In the middle of a frame, maybe: the kernel must not throw away the rest of it, or the cursor would be in another
    // row than devctl takes it to be in.
    terminal.wait_text("probing");
    terminal.interrupt();
    assert_eq!(end(&mut terminal, "Interrupted before everything was ready"), Some(130));
    assert_screen!("screen_interrupted", project, terminal.screen());
    assert_cursor_restored(&terminal);
    project.assert_nothing_left("none");
}

#[test]
fn a_second_ctrl_c_kills() {
    let project = in_a_row("stubborn");
    go(&project);
    let mut terminal = Terminal::start(&project, &["up"]);
    terminal.wait_text("Ctrl+C stops everything");
    terminal.interrupt();
    // It has a minute to stop and does not: nobody waits for that.
    terminal.wait_text("Ctrl+C again to kill");
    let stopping = terminal.wait_screen("who stops after whom", |screen| screen.contains("stops after api"));
    assert_screen!("screen_stopping", project, stopping);
    terminal.interrupt();
    assert_eq!(end(&mut terminal, "0 left"), Some(0));
    assert_screen!("screen_killed", project, terminal.screen());
    assert_cursor_restored(&terminal);
    project.assert_nothing_left("none");
}

#[test]
fn a_narrow_terminal_is_not_torn() {
    let project = in_a_row("lines");
    let mut terminal = Terminal::start_sized(&project, &["up"], 40, 30);
    let waiting = terminal.wait_screen("all three services", |screen| {
        screen.contains("probing") && screen.contains("waiting for db") && screen.contains("waiting for api")
    });
    assert_screen!("narrow_starting", project, waiting);
    go(&project);
    let ready = terminal.wait_screen("all of the last line", |screen| {
        screen.contains("Ctrl+C stops everything") && screen.ends_with("the keys")
    });
    assert_screen!("narrow_ready", project, ready);
    terminal.interrupt();
    assert_eq!(end(&mut terminal, "0 left"), Some(0));
    assert_cursor_restored(&terminal);
}

#[test]
fn a_window_that_is_made_smaller_leaves_no_rubbish() {
    let project = in_a_row("lines");
    let mut terminal = Terminal::start(&project, &["up"]);
    terminal.wait_text("waiting for api");
    terminal.resize(50, 20);
    go(&project);
    terminal.wait_text("Ctrl+C stops everything");
    terminal.interrupt();
    assert_eq!(end(&mut terminal, "0 left"), Some(0));
    assert_eq!(terminal.screen().matches("waiting for api").count(), 0, "{}", terminal.screen());
}

#[test]
fn a_failure_on_the_screen() {
    let project = Project::empty();
    let manifest = r#"
[project]
name = "@name@"

[services.api]
command = ["STUB", "shell", "echo reading config.yml; echo 'ERROR: config.yml: no such file'; exit 3"]
ready   = { log = "never" }
"#;
    project.write("devctl.toml", &manifest.replace("STUB", &stub::path().display().to_string()));
    let mut terminal = Terminal::start(&project, &["up"]);
    assert_eq!(end(&mut terminal, "0 left"), Some(1));
    let screen = terminal.screen();
    // Whether it was asked before it ended is chance.
    let screen: Vec<&str> = screen.lines().filter(|line| !line.contains("last probe: ")).collect();
    assert_screen!("screen_failure", project, screen.join("\n"));
    assert_cursor_restored(&terminal);
}

#[test]
fn colours_are_there_and_can_be_had_without() {
    let coloured = |args: &[&str], env: &[(&str, &str)]| {
        let project = in_a_row("lines");
        go(&project);
        let mut terminal = Terminal::start_with(&project, args, env, (120, 40));
        terminal.wait_text("Ctrl+C stops everything");
        terminal.interrupt();
        assert_eq!(end(&mut terminal, "0 left"), Some(0));
        let raw = terminal.raw();
        Regex::new("\u{1b}\\[[0-9;]*[1-9][0-9;]*m").expect("the pattern is valid").is_match(&raw)
    };
    assert!(coloured(&["up"], &[]));
    assert!(!coloured(&["up"], &[("NO_COLOR", "1")]));
    assert!(!coloured(&["up", "--color", "never"], &[]));
}

const DATABASE: &str = r#"
name: @name@
services:
  db:
    image: pgvector/pgvector:pg16
    environment: { POSTGRES_PASSWORD: postgres, POSTGRES_DB: menu_ops }
    ports: ["127.0.0.1:@port:db@:5432"]
"#;

/// An interactive psql: it prompts, answers, takes Ctrl+C for itself, and its end is devctl's end.
fn psql_in_a_terminal(infra: Infra) {
    if !infra.available() {
        return;
    }
    let project = Project::with("[project]\nname = \"@name@\"\n[containers]\ncompose = [\"compose.yml\"]\n", DATABASE);
    let devctl = project.up_ready(&infra.args());
    let mut terminal = Terminal::start(&project, &["db", "shell"]);
    terminal.wait_text("menu_ops=#");
    terminal.type_in("select 6 * 7 as answer;\n");
    terminal.wait_screen("the answer", |screen| screen.contains("answer") && screen.contains("42"));
    terminal.wait_text("(1 row)");
    terminal.type_in("select pg_sleep(100);\n");
    // Only once the server is at it is there something to cancel.
    support::until("the server sleeps", || {
        let sleeping =
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(100);' and state = 'active'";
        match support::sql(&project.database_url(), sleeping)?.as_deref() {
            Some("1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    terminal.interrupt();
    terminal.wait_text("canceling statement due to user request");
    terminal.type_in("select 'still ' || 'here' as proof;\n");
    terminal.wait_text("still here");
    terminal.type_in("\\q\n");
    assert_eq!(terminal.wait_exit(), Some(0));
    // The stack it belongs to has not noticed.
    devctl.signal(support::Signal::SIGINT);
    devctl.wait_exit().expect_code(0).clean_receipt();
}

#[test]
fn psql_of_a_container_in_a_terminal() {
    psql_in_a_terminal(Infra::Docker);
}

#[test]
fn psql_of_an_embedded_server_in_a_terminal() {
    psql_in_a_terminal(Infra::Embedded);
}
