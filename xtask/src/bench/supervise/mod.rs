//! `cargo xtask bench supervise`: what it costs to have processes supervised, and whether they are gone afterwards.
//!
//! devctl and its peers get the same workload, in turns, in one run. The workload tells by itself when it began and
//! ended, so no figure holds the pause of somebody who asks again and again.

mod family;
mod measure;
mod peers;
mod session;
mod told;
mod watch;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use self::measure::{Bench, Entry};
use self::peers::{Devctl, Way};
use self::session::Tool;
use super::figures::replace_between;
use crate::repo;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; each tool is measured once in every round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The binary to measure; built with `cargo build --release` where not given.
    #[arg(long, value_name = "PATH")]
    devctl: Option<PathBuf>,
    /// Folders in which peers are looked for before `PATH`.
    #[arg(long, value_name = "FOLDER")]
    peers: Vec<PathBuf>,
    /// Measures only these; all where none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<What>,
    /// Measures only tools whose names begin so.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    tools: Vec<String>,
    /// Writes the figures into docs/benchmarks.md.
    #[arg(long, conflicts_with_all = ["only", "tools"])]
    write: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// 10 trivial processes: start, memory, Ctrl+C.
    Ten,
    /// Processor while they idle, over 10 s.
    Idle,
    /// 200 MB of lines from one process.
    Flood,
    /// From a crash to the next life.
    Crash,
    /// 1,000 processes.
    Thousand,
    /// 4 kinds of child, 4 ways to end.
    Matrix,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if ignores_interrupts()? {
        // It would be handed on to every tool, and some would never hear of Ctrl+C.
        bail!("SIGINT is ignored here, as in a background job of a shell: start it with `env --default-signal=INT …`");
    }
    let wanted = |what: What| args.only.is_empty() || args.only.contains(&what);
    let devctl = match &args.devctl {
        Some(path) => path.canonicalize().with_context(|| format!("there is no `{}`", path.display()))?,
        None => built("devctl", "devctl")?,
    };
    let workload = built("workload", "workload")?.canonicalize()?;
    let tools: Vec<Tool> = tools(args, &devctl)?
        .into_iter()
        .filter(|tool| {
            args.tools.is_empty() || args.tools.iter().any(|name| tool.peer.name().starts_with(name.as_str()))
        })
        .collect();
    let began = load();
    let mut entries: Vec<Entry<'_>> = tools.iter().map(Entry::new).collect();
    let bench = Bench { workload: &workload };
    for round in 0..args.rounds {
        eprintln!("round {} of {}, load average {}", round + 1, args.rounds, load());
        let last = round + 1 == args.rounds;
        for entry in &mut entries {
            if wanted(What::Ten) || wanted(What::Idle) {
                entry.attempt(|entry| bench.ten(entry, last && wanted(What::Idle)))?;
            }
        }
        for entry in &mut entries {
            if wanted(What::Flood) && (round == 0 || !entry.tool.peer.is_slow()) {
                entry.attempt(|entry| bench.flood(entry))?;
            }
        }
        for entry in &mut entries {
            let slow = entry.tool.peer.is_slow();
            if wanted(What::Thousand) && entry.is_of_thousand() && (round == 0 || !slow) {
                entry.attempt(|entry| bench.thousand(entry, last || slow))?;
            }
        }
        // Who goes first changes, so that a machine that gets busier or warmer favours nobody.
        entries.reverse();
    }
    if args.rounds % 2 == 1 {
        entries.reverse();
    }
    for entry in &mut entries {
        if wanted(What::Crash) && entry.tool.peer.restarts() {
            eprintln!("crashes: {}", entry.tool.peer.name());
            entry.attempt(|entry| bench.crashes(entry))?;
        }
    }
    for entry in &mut entries {
        if wanted(What::Matrix) && entry.is_of_matrix() {
            eprintln!("matrix: {}", entry.tool.peer.name());
            entry.attempt(|entry| bench.matrix(entry))?;
        }
    }

    let text = told::told(&machine(&began)?, &entries);
    println!("{text}");
    if args.write {
        let path = repo::root().join("docs/benchmarks.md");
        let document = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        std::fs::write(&path, replace_between(&document, "bench supervise", &text)?)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

/// devctl, and the peers that are installed. One that is not is said to be missing, loudly.
fn tools(args: &Args, devctl: &Path) -> anyhow::Result<Vec<Tool>> {
    let version = repo::output(Command::new(devctl).arg("--version"))?;
    let version = version.trim().trim_start_matches("devctl ").to_owned();
    let help = repo::output(Command::new(devctl).args(["up", "--help"]))?;
    let mut ways = vec![Way::Pipe, Way::Terminal];
    if help.contains("--detach") {
        ways.push(Way::Detached);
    } else {
        eprintln!("SKIPPED: this devctl has no `up -d`");
    }
    let mut tools: Vec<Tool> = ways
        .into_iter()
        .map(|way| Tool { peer: Box::new(Devctl(way)), program: devctl.to_owned(), version: version.clone() })
        .collect();
    for peer in peers::all() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = args.peers.iter().cloned().chain(std::env::split_paths(&path));
        let Some(program) = folders.find_map(|folder| folder.join(peer.program()).canonicalize().ok()) else {
            eprintln!("SKIPPED: {} is not installed: neither in --peers nor in PATH", peer.name());
            continue;
        };
        // Links of npm lead to a script whose name says nothing; what matters is that it is there.
        let version =
            Command::new(&program).args(peer.version()).output().map(|output| output.stdout).unwrap_or_default();
        let version = String::from_utf8_lossy(&version);
        let version = version.split_whitespace().rfind(|word| word.contains('.')).unwrap_or("?").to_owned();
        tools.push(Tool { peer, program, version });
    }
    Ok(tools)
}

/// A binary of this repository, as it is released.
fn built(package: &str, binary: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--message-format", "json-render-diagnostics"]);
    cargo.args(["--package", package, "--bin", binary]);
    let messages = repo::output(cargo.current_dir(repo::root()))?;
    let mut messages = messages.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = messages.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.context("cargo did not say where the binary is")
}

/// One line on what was measured where, but for the tools.
fn machine(began: &str) -> anyhow::Result<String> {
    let date = repo::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(format!("{}: {processors} processors, load average at the start {began}, at the end {}", date.trim(), load()))
}

/// Whether this process was started with SIGINT ignored.
fn ignores_interrupts() -> anyhow::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask =
        status.lines().find_map(|line| line.strip_prefix("SigIgn:")).context("no SigIgn in /proc/self/status")?;
    // Signal 2 is bit 1.
    Ok(u64::from_str_radix(mask.trim(), 16)? & 0b10 != 0)
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}
