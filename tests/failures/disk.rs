//! A disk without room for what devctl writes.
//!
//! The disk is a file system in memory that only the devctl of the test can see: mount namespaces are Linux's, and a
//! kernel may forbid them to normal users.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::process::Command;

use crate::message::{Message, up_command, wait_line};
use crate::stub;
use crate::support::{Devctl, Project, Signal};

/// `devctl up` with a disk of that size under `.devctl`, in KiB, after `fill` has run in the project. `None` where this
/// user may not mount one.
fn up_on_disk(project: &Project, kib: u32, fill: &str) -> Option<Devctl> {
    std::fs::create_dir_all(project.root().join(".devctl")).expect("the project is ours");
    // A normal user is root in a namespace of its own, where the kernel lets it be.
    let namespace: &[&str] = if is_root() { &["--mount"] } else { &["--map-root-user", "--mount"] };
    let may = Command::new("unshare").args(namespace).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        skipped("this user may not mount a small disk");
        return None;
    }
    let devctl = up_command(project, &["--driver", "embedded"]);
    let script = format!("mount -t tmpfs -o size={kib}k,mode=755 tmpfs .devctl && {{ {fill}; }} && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c", &script, "sh"]).arg(devctl.get_program()).args(devctl.get_args());
    command.current_dir(project.root()).env_clear().envs(project.environment());
    Some(Devctl::spawn(command))
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Not by `eprintln!`: the test runner would swallow it, since the test passes.
fn skipped(why: &str) {
    drop(writeln!(std::io::stderr(), "SKIPPED: {why}"));
}

fn chatty(script: &str) -> Project {
    let project = Project::empty();
    let command = format!("[\"{}\", \"shell\", \"{script}\"]", stub::path().display());
    let ready = "ready = { log = \"here\" }\nstop = { grace = \"2s\" }\n";
    project
        .write("devctl.toml", &format!("[project]\nname = \"@name@\"\n\n[services.api]\ncommand = {command}\n{ready}"));
    project
}

#[test]
fn a_disk_that_is_full_from_the_start() {
    let project = chatty("echo here; sleep 600");
    let fill = "head -c 1000000 /dev/zero >.devctl/rest 2>&- || true";
    let Some(devctl) = up_on_disk(&project, 64, fill) else { return };
    Message::new(&project, devctl.wait_exit()).nothing_left(&project).matches("disk_full");
}

#[test]
fn a_disk_that_gets_full_while_everything_runs() {
    let project = chatty(
        "echo here; until test -e fill; do sleep 0.05; done; head -c 1000000 /dev/zero | tr '\\\\0' 'x' | fold -w 99; echo; echo done; exec sleep 600",
    );
    let Some(mut devctl) = up_on_disk(&project, 128, "true") else { return };
    wait_line(&mut devctl, "everything is ready");
    project.write("fill", "");
    wait_line(&mut devctl, "] done");
    wait_line(&mut devctl, "not in the file");
    devctl.signal(Signal::SIGINT);
    Message::new(&project, devctl.wait_exit())
        .nothing_left(&project)
        .without("xxx")
        .at_any_time("cannot write `[project]/.devctl/run.json`")
        .matches("disk_gets_full");
}

#[test]
fn a_disk_without_room_for_a_database() {
    if !is_root() {
        // Root of a namespace has nobody to run PostgreSQL as.
        return skipped("only root can give its disk to the user of a database");
    }
    let project = Project::with(
        "[project]\nname = \"@name@\"\n\n[containers]\ncompose = [\"compose.yml\"]\n",
        "name: @name@\nservices:\n  db:\n    image: pgvector/pgvector:pg16\n    environment:\n      \
         POSTGRES_PASSWORD: postgres\n    ports: [\"127.0.0.1:@port:db@:5432\"]\n",
    );
    let Some(devctl) = up_on_disk(&project, 4096, "true") else { return };
    Message::new(&project, devctl.wait_exit()).nothing_left(&project).matches("disk_full_database");
}
