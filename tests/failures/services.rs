//! Programs of the project that fail, hang, flood, or will not stop.

use std::fmt::Write as _;

use crate::message::{Message, up, wait_line};
use crate::stub;
use crate::support::{Project, Signal};

/// A project with one service that runs the stub, and more keys of it.
fn stub_project(args: &[&str], keys: &str) -> Project {
    let project = Project::empty();
    let mut command = format!("\"{}\"", stub::path().display());
    for arg in args {
        write!(command, ", {arg:?}").expect("writing to a string cannot fail");
    }
    project.write(
        "devctl.toml",
        &format!("[project]\nname = \"@name@\"\n\n[services.api]\ncommand = [{command}]\n{keys}"),
    );
    project
}

#[test]
fn a_service_that_exits_at_once() {
    let script = "echo reading config.yml; echo 'ERROR: config.yml: no such file'; echo giving up; exit 3";
    let project = stub_project(&["shell", script], "ready = { log = \"listening\" }\n");
    Message::of_up(&project, &[]).nothing_left(&project).matches("service_exits_at_once");
}

#[test]
fn a_service_that_ends_again_and_again() {
    let keys = "restart = { policy = \"on-failure\", max = 2, within = \"60s\" }\n";
    let project = stub_project(&["shell", "echo 'ERROR: out of paper' >&2; exit 1"], keys);
    Message::of_up(&project, &[]).nothing_left(&project).matches("service_gives_up");
}

#[test]
fn a_service_that_never_gets_ready_and_must() {
    let keys = "port = @port:api@\nready = { timeout = \"300ms\", on_timeout = \"fail\" }\n";
    let project = stub_project(&["lines", "connecting to the mainframe"], keys);
    Message::of_up(&project, &[]).nothing_left(&project).matches("service_never_ready_fail");
}

#[test]
fn a_service_that_never_gets_ready_and_need_not() {
    let keys = "port = @port:api@\nready = { timeout = \"300ms\", on_timeout = \"warn\" }\n";
    let project = stub_project(&["lines", "connecting to the mainframe"], keys);
    let message = Message::of_interrupted(&project, up(&project, &[]), "not ready: api");
    message.nothing_left(&project).matches("service_never_ready_warn");
}

#[test]
fn a_service_that_ignores_sigterm() {
    let project = stub_project(&["stubborn"], "ready = { log = \"up\" }\nstop = { grace = \"300ms\" }\n");
    let message = Message::of_interrupted(&project, up(&project, &[]), "everything is ready");
    message.nothing_left(&project).matches("service_ignores_sigterm");
}

#[test]
fn a_program_that_is_not_there() {
    let project = Project::empty();
    project.write("notes.txt", "not a program");
    project.script("old.sh", "#!/opt/perl4/bin/perl\n");
    let mut said = String::new();
    for command in ["no-such-program", "./no-such-program", "./notes.txt", "./old.sh"] {
        let manifest = format!("[project]\nname = \"@name@\"\n\n[services.api]\ncommand = [\"{command}\"]\n");
        project.write("devctl.toml", &manifest);
        let message = Message::of_up(&project, &[]).nothing_left(&project);
        writeln!(said, "=== {command}: {}", message.text()).expect("writing to a string cannot fail");
    }
    Message::joined(said).matches("program_missing");
}

#[test]
fn a_folder_that_is_not_there() {
    let project = stub_project(&["lines"], "dir = \"backend\"\n");
    Message::of_up(&project, &[]).nothing_left(&project).matches("folder_missing");
}

#[test]
fn a_build_that_fails() {
    let project = Project::empty();
    project.write("devctl.toml", "[project]\nname = \"@name@\"\n\n[services.api]\nruntime = \"rust\"\ndir = \"api\"\n");
    project.write("api/Cargo.toml", "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    project.write("api/src/main.rs", "fn main() {\n    println!(\"listening on {}\", prot);\n}\n");
    Message::of_up(&project, &[]).nothing_left(&project).matches("build_fails");
}

#[test]
fn a_flood_is_neither_lost_nor_kept_in_memory() {
    const BYTES: u64 = 200_000_000;
    let project = stub_project(&["lines", "here"], "ready = { log = \"here\" }\n");
    let manifest = std::fs::read_to_string(project.root().join("devctl.toml")).expect("it was just written");
    let flood = format!("\n[services.flood]\ncommand = [\"{}\", \"flood\", \"{BYTES}\"]\n", stub::path().display());
    project.write("devctl.toml", &(manifest + &flood));
    let mut devctl = up(&project, &[]);
    // It prints and ends, and the other service keeps devctl there to be looked at.
    wait_line(&mut devctl, "done in");
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{}/status", devctl.pid())).expect("devctl runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("it is a number");
        assert!(peak < 64 * 1024, "devctl took {peak} KiB");
    }
    devctl.signal(Signal::SIGINT);
    let finished = devctl.wait_exit().expect_code(0);
    // Every line was shown, or counted where the reader was too slow.
    let (mut shown, mut dropped) = (0, 0);
    for line in finished.events.iter().filter_map(serde_json::Value::as_str) {
        if line.starts_with("[flood] ") {
            shown += 1;
        } else if let Some(count) = line.strip_prefix("… ").and_then(|rest| rest.split(' ').next()) {
            dropped += count.parse::<u64>().expect("it is a count");
        }
    }
    assert_eq!(shown + dropped, BYTES / 100, "{shown} shown, {dropped} counted");
    // The files are rotated: the first lines of the start are kept, and the rest has no gap and goes on to the end.
    let tail = project.output(&["logs", "--tail", "150000", "flood"]);
    let tail = String::from_utf8(tail.stdout).expect("the stub prints text");
    let numbers: Vec<u64> = tail
        .lines()
        .map(|line| line.trim_start_matches("flood | ")[..9].parse().expect("each line begins with its number"))
        .collect();
    assert_eq!(numbers.last(), Some(&(BYTES / 100 - 1)));
    assert!(numbers.len() > 100_000, "{} lines are kept", numbers.len());
    let (first, rest) = numbers.split_at(20);
    assert!(first.iter().copied().eq(0..20), "{first:?}");
    assert!(rest.windows(2).all(|pair| pair[0] + 1 == pair[1]), "there is a gap");
}
