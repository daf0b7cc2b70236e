//! Benchmarks of the whole binary beside its peer, in one run on one machine: figures from different runs are not
//! compared.

mod compose;
mod contender;
mod figures;
mod idle;
mod project;
#[cfg(target_os = "linux")]
mod supervise;
mod trace;
mod up;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::repo;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Start and stop of PostgreSQL and Redis on Docker: `devctl up` beside `docker compose up -d --wait`.
    Up(up::Args),
    /// Compose projects: `up`, `down`, `ps`, loading, beside `docker compose`.
    Compose(compose::Args),
    /// Processes supervised: start, cost, logs, restart, Ctrl+C, beside the peers that are installed.
    #[cfg(target_os = "linux")]
    Supervise(supervise::Args),
}

/// Measures and prints.
pub(crate) fn run(what: &Bench) -> anyhow::Result<()> {
    match what {
        Bench::Up(args) => up::run(args),
        Bench::Compose(args) => compose::run(args),
        #[cfg(target_os = "linux")]
        Bench::Supervise(args) => supervise::run(args),
    }
}

/// The devctl to measure: the one given, or a release build.
fn release_binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return path.canonicalize().with_context(|| format!("there is no `{}`", path.display()));
    }
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--package",
        "devctl",
        "--bin",
        "devctl",
        "--message-format",
        "json-render-diagnostics",
    ]);
    let messages = repo::output(cargo.current_dir(repo::root()))?;
    let mut messages = messages.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = messages.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.context("cargo did not say where the binary is")
}

/// One line on what was measured where.
fn machine(binary: Option<&Path>, compose: &str) -> anyhow::Result<String> {
    let devctl = match binary {
        Some(path) => repo::output(Command::new(path).arg("--version"))?.trim().to_owned(),
        None => "no devctl".to_owned(),
    };
    let engine = repo::output(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))?;
    let date = repo::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!(
        "{}: {devctl}, Docker Compose {compose}, Docker Engine {}, {processors} processors, load average at the start {}",
        date.trim(),
        engine.trim(),
        load(),
    ))
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn verdict(met: bool) -> &'static str {
    if met { "✓" } else { "✗" }
}
