//! Mistakes in the project's files and on the command line.

use std::fmt::Write as _;

use crate::message::{Message, up, wait_line};
use crate::stub;
use crate::support::{Project, Signal};

const MISTAKES: &str = r#"[project]
name = "@name@"
env_fil = "backend/.env"

[containers]
compose = ["compose.yml", "broken.yml"]
driver  = "dokcer"

[services.api]
dir        = "."
command    = "serve --port 8000"
port       = 80000
depends_on = { dbb = "ready", gateway = "ready" }
ready      = { http = "api/health", timeout = "30" }

[services.gateway]
dir        = "."
runtime    = "node"
command    = "serve"
port       = "8001"
depends_on = ["api"]
restrat    = { max = 5 }

[services.worker]
command    = "work"
depends_on = ["mailer"]

[services.mailer]
command    = "mail"
depends_on = ["worker"]
"#;

const COMPOSE: &str = r#"services:
  db:
    image: pgvector/pgvector:pg16
    port: ["5432:5432"]
    healthcheck: { test: ["CMD", "true"], interval: 10 }
  redis:
    image: redis:${REDIS_VERSION:?say which redis}
    depends_on: [bd]
"#;

#[test]
fn every_mistake_is_told_in_one_run() {
    let project = Project::with(MISTAKES, COMPOSE);
    project.write("broken.yml", "services:\n  mail:\n    image: \"mail\n    ports: [25\n");
    Message::of_up(&project, &[]).nothing_left(&project).matches("manifest_mistakes");
}

#[test]
fn services_that_wait_for_each_other() {
    let project = Project::empty();
    let service = |name, needs| format!("\n[services.{name}]\ncommand = \"true\"\ndepends_on = [\"{needs}\"]\n");
    let services = [service("api", "gateway"), service("gateway", "worker"), service("worker", "api")].concat();
    project.write("devctl.toml", &format!("[project]\nname = \"@name@\"\n{services}"));
    Message::of_up(&project, &[]).nothing_left(&project).matches("manifest_cycle");
}

#[test]
fn no_manifest_at_all() {
    let project = Project::empty();
    let mut said = String::new();
    for verb in [&["up"][..], &["ps"], &["logs"], &["down"], &["config"], &["db", "shell"]] {
        let message = Message::of(&project, verb).nothing_left(&project);
        writeln!(said, "=== devctl {}: {}", verb.join(" "), message.text()).expect("writing to a string cannot fail");
    }
    Message::joined(said).matches("manifest_missing");
}

#[test]
fn a_service_that_nobody_knows() {
    let project = Project::empty();
    project.write("devctl.toml", "[project]\nname = \"@name@\"\n\n[services.gateway]\ncommand = \"true\"\n");
    Message::of_up(&project, &["gatway", "mainframe"]).nothing_left(&project).matches("service_unknown");
}

#[test]
fn an_up_while_up() {
    let project = Project::empty();
    let command = format!("[\"{}\", \"lines\", \"here\"]", stub::path().display());
    project.write("devctl.toml", &format!("[project]\nname = \"@name@\"\n\n[services.api]\ncommand = {command}\n"));
    let mut first = up(&project, &[]);
    wait_line(&mut first, "everything is ready");
    let second = Message::of(&project, &["up", "-d"]);
    first.signal(Signal::SIGINT);
    let first = Message::new(&project, first.wait_exit()).nothing_left(&project);
    assert!(first.text().starts_with("exit code 0\n"), "{}", first.text());
    second.matches("up_while_up");
}
