//! `cargo xtask bench up`: from the command to a query answered from the host, and back to nothing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::contender::{Contender, Stack};
use super::figures::{Figures, ms, replace_between};
use super::idle::{self, Idle};
use super::project::Project;
use crate::{images, repo};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; each contender is measured once in every round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The binary to measure; built with `cargo build --release` where not given.
    #[arg(long, value_name = "PATH")]
    devctl: Option<PathBuf>,
    /// Measures the peer alone, to see how quiet the machine is.
    #[arg(long)]
    peer_only: bool,
    /// Writes the figures into docs/benchmarks.md.
    #[arg(long, conflicts_with = "peer_only")]
    write: bool,
}

/// One contender's figures.
struct Entry {
    contender: Contender,
    project: Project,
    fresh: Figures,
    warm: Figures,
    down: Figures,
}

impl Entry {
    fn new(name: &str, contender: Contender) -> anyhow::Result<Self> {
        let project = Project::new(name)?;
        let (fresh, warm, down) = Default::default();
        Ok(Self { contender, project, fresh, warm, down })
    }

    /// One round: a first start, a stop, a start with data, a stop.
    fn round(&mut self, while_up: impl FnOnce(&Stack, &Project) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.project.remove_volumes()?;
        let (stack, time) = self.contender.up(&self.project)?;
        self.fresh.add(time);
        self.down.add(stack.down(&self.project)?);
        let (stack, time) = self.contender.up(&self.project)?;
        self.warm.add(time);
        while_up(&stack, &self.project)?;
        self.down.add(stack.down(&self.project)?);
        Ok(())
    }
}

/// What is measured of devctl alone.
#[derive(Default)]
struct Alone {
    idle: Option<Idle>,
    help: Figures,
    ps: Figures,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let compose = repo::output(Command::new("docker").args(["compose", "version", "--short"]))
        .context("the peer is needed: Docker Compose as a plugin of the docker command")?;
    images::load()?;
    let binary = if args.peer_only { None } else { Some(binary(args.devctl.as_deref())?) };
    let machine = machine(binary.as_deref(), compose.trim())?;

    let mut peer = Entry::new("compose", Contender::Compose)?;
    let mut asked = Entry::new("asked", Contender::ComposeAsked)?;
    let mut ours = binary.as_ref().map(|path| Entry::new("devctl", Contender::Devctl(path.clone()))).transpose()?;
    let mut alone = Alone::default();
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        // Who goes first changes, so that a machine that gets busier or warmer favours nobody.
        if round % 2 == 1 {
            peer.round(|_, _| Ok(()))?;
        }
        if let (Some(ours), Some(binary)) = (&mut ours, &binary) {
            ours.round(|stack, project| measure_alone(&mut alone, binary, stack, project))?;
        }
        if round % 2 == 0 {
            peer.round(|_, _| Ok(()))?;
        }
        asked.round(|_, _| Ok(()))?;
    }

    let text = told(&machine, ours.as_ref(), &peer, &asked, &alone);
    println!("{text}");
    if args.write {
        let path = repo::root().join("docs/benchmarks.md");
        let document = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        std::fs::write(&path, replace_between(&document, "bench up", &text)?)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

/// The binary to measure.
fn binary(given: Option<&Path>) -> anyhow::Result<PathBuf> {
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

/// What needs a stack that is up: the price of waiting, once, and `ps`. `--help` is measured in the same breath.
fn measure_alone(alone: &mut Alone, binary: &Path, stack: &Stack, project: &Project) -> anyhow::Result<()> {
    if let (Stack::Devctl { child, .. }, None) = (stack, &alone.idle) {
        // The first second belongs to the start.
        std::thread::sleep(Duration::from_secs(1));
        alone.idle = Some(idle::watch(child.id(), Duration::from_secs(10))?);
    }
    for _ in 0..10 {
        alone.help.add(wall(Command::new(binary).arg("--help").current_dir(project.folder()))?);
        alone.ps.add(wall(Command::new(binary).arg("ps").current_dir(project.folder()))?);
    }
    Ok(())
}

fn wall(command: &mut Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    repo::output(command)?;
    Ok(start.elapsed())
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

/// The figures as Markdown.
fn told(machine: &str, ours: Option<&Entry>, peer: &Entry, asked: &Entry, alone: &Alone) -> String {
    let none = Figures::default();
    let mut text = format!("{machine}, at the end {}.\n\n", load());
    text.push_str("| what (min / median / max) | devctl | `docker compose up -d --wait` | `up -d`, asked every 5 ms | devctl : Compose | goal |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    let rows = [
        ("start, volumes exist", ours.map(|ours| &ours.warm), &peer.warm, &asked.warm, 0.10),
        ("start, fresh volumes", ours.map(|ours| &ours.fresh), &peer.fresh, &asked.fresh, 0.20),
        ("stop", ours.map(|ours| &ours.down), &peer.down, &asked.down, 0.80),
    ];
    for (what, mine, peer, asked, goal) in rows {
        let mine = mine.unwrap_or(&none);
        let ratio = mine.ratio(peer).map_or("–".to_owned(), |r| format!("{r:.3} {}", verdict(r <= goal)));
        let (mine, peer, asked) = (mine.told(), peer.told(), asked.told());
        writeln!(text, "| {what} | {mine} | {peer} | {asked} | {ratio} | ≤ {goal:.2} |").expect(INFALLIBLE);
    }
    if ours.is_none() {
        return text;
    }
    text.push_str("\n| devctl alone | measured | goal |\n|---|---|---|\n");
    if let Some(idle) = &alone.idle {
        let (memory, processor) = (verdict(idle.memory <= 15.0), verdict(idle.processor <= 0.1));
        let of = if idle.processes == 1 { String::new() } else { format!(", {} processes", idle.processes) };
        writeln!(text, "| resident memory while idle{of} | {:.1} MiB {memory} | ≤ 15 MiB |", idle.memory)
            .expect(INFALLIBLE);
        writeln!(text, "| processor while idle, over 10 s | {:.2} % {processor} | ≤ 0.1 % |", idle.processor)
            .expect(INFALLIBLE);
    }
    for (what, figures, goal) in [("`devctl --help`", &alone.help, 10.0), ("`devctl ps`", &alone.ps, 30.0)] {
        let met = figures.median().map_or("", |median| verdict(median <= goal));
        writeln!(text, "| {what} | {} {met} | ≤ {} |", figures.told(), ms(goal)).expect(INFALLIBLE);
    }
    text
}

const INFALLIBLE: &str = "writing to a string cannot fail";

fn verdict(met: bool) -> &'static str {
    if met { "✓" } else { "✗" }
}
