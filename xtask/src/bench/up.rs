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
use super::{load, machine, release_binary, verdict};
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
    fn new(project: Project, contender: Contender) -> Self {
        let (fresh, warm, down) = Default::default();
        Self { contender, project, fresh, warm, down }
    }

    /// One round: a first start, a stop, a start with data, a stop.
    fn round(&mut self) -> anyhow::Result<()> {
        self.project.remove_volumes()?;
        for times in [&mut self.fresh, &mut self.warm] {
            let (stack, time) = self.contender.up(&self.project)?;
            times.add(time);
            self.down.add(stack.down(&self.project)?);
        }
        Ok(())
    }
}

/// What is measured of devctl alone, with the whole stack of this repository.
struct Alone {
    contender: Contender,
    binary: PathBuf,
    project: Project,
    idle: Option<Idle>,
    help: Figures,
    ps: Figures,
    /// From the start of the command until the stack is ready.
    ready: Figures,
    /// What the nodes of the longest path took.
    path: Figures,
    /// The difference of the two.
    share: Figures,
    /// The longest path of the last start, in words.
    told: String,
}

impl Alone {
    fn new(binary: &Path) -> anyhow::Result<Self> {
        let contender = Contender::Devctl { binary: binary.to_owned(), services: &[] };
        let alone = Self {
            contender,
            binary: binary.to_owned(),
            project: Project::whole("whole")?,
            idle: None,
            help: Figures::default(),
            ps: Figures::default(),
            ready: Figures::default(),
            path: Figures::default(),
            share: Figures::default(),
            told: String::new(),
        };
        // The first start builds the programs and fills the volumes.
        eprintln!("whole stack: the first start, which builds");
        alone.contender.up(&alone.project)?.0.down(&alone.project)?;
        Ok(alone)
    }

    /// One start of everything, with what can be measured while it is up.
    fn round(&mut self, last: bool) -> anyhow::Result<()> {
        let (stack, _) = self.contender.up(&self.project)?;
        if let Stack::Devctl { child, start, .. } = &stack {
            let path = start.trace.longest()?;
            let ready = start.ready.as_secs_f64() * 1000.0;
            self.ready.add_ms(ready);
            self.path.add_ms(path.length());
            self.share.add_ms(ready - path.length());
            self.told = path.told();
            if last {
                // The first second belongs to the start.
                std::thread::sleep(Duration::from_secs(1));
                self.idle = Some(idle::watch(child.id(), Duration::from_secs(20))?);
            }
        }
        for _ in 0..10 {
            self.help.add(wall(Command::new(&self.binary).arg("--help").current_dir(self.project.folder()))?);
            self.ps.add(wall(Command::new(&self.binary).arg("ps").current_dir(self.project.folder()))?);
        }
        stack.down(&self.project)?;
        Ok(())
    }
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let compose = repo::output(Command::new("docker").args(["compose", "version", "--short"]))
        .context("the peer is needed: Docker Compose as a plugin of the docker command")?;
    images::load()?;
    let binary = if args.peer_only { None } else { Some(release_binary(args.devctl.as_deref())?) };
    let machine = machine(binary.as_deref(), compose.trim())?;

    let mut peer = Entry::new(Project::new("compose")?, Contender::Compose);
    let mut asked = Entry::new(Project::new("asked")?, Contender::ComposeAsked);
    let (mut ours, mut alone) = match &binary {
        None => (None, None),
        Some(binary) => {
            let contender = Contender::Devctl { binary: binary.clone(), services: &["db", "redis"] };
            (Some(Entry::new(Project::new("devctl")?, contender)), Some(Alone::new(binary)?))
        }
    };
    for round in 0..args.rounds {
        eprintln!("round {} of {}, load average {}", round + 1, args.rounds, load());
        // Who goes first changes, so that a machine that gets busier or warmer favours nobody.
        if round % 2 == 1 {
            peer.round()?;
        }
        if let (Some(ours), Some(alone)) = (&mut ours, &mut alone) {
            ours.round()?;
            alone.round(round + 1 == args.rounds)?;
        }
        if round % 2 == 0 {
            peer.round()?;
        }
        asked.round()?;
    }

    let text = told(&machine, ours.as_ref(), &peer, &asked, alone.as_ref());
    println!("{text}");
    if args.write {
        let path = repo::root().join("docs/benchmarks.md");
        let document = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        std::fs::write(&path, replace_between(&document, "bench up", &text)?)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

fn wall(command: &mut Command) -> anyhow::Result<Duration> {
    let start = Instant::now();
    repo::output(command)?;
    Ok(start.elapsed())
}

/// The figures as Markdown.
fn told(machine: &str, ours: Option<&Entry>, peer: &Entry, asked: &Entry, alone: Option<&Alone>) -> String {
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
    let Some(alone) = alone else { return text };
    text.push_str("\n| devctl alone | measured | goal |\n|---|---|---|\n");
    if let Some(idle) = &alone.idle {
        let (memory, processor) = (verdict(idle.memory <= 15.0), verdict(idle.processor <= 0.1));
        let of = if idle.processes == 1 { String::new() } else { format!(", {} processes", idle.processes) };
        writeln!(
            text,
            "| resident memory while the whole stack is up and idle{of} | {:.1} MiB {memory} | ≤ 15 MiB |",
            idle.memory
        )
        .expect(INFALLIBLE);
        writeln!(text, "| processor while idle, over 20 s | {:.2} % {processor} | ≤ 0.1 % |", idle.processor)
            .expect(INFALLIBLE);
    }
    let Alone { ready, path, share, told, .. } = alone;
    let ratio = ready.ratio(path).map_or("–".to_owned(), |r| format!("{r:.3} {}", verdict(r <= 1.15)));
    writeln!(text, "| whole stack, services built: command start → ready | {} | |", ready.told()).expect(INFALLIBLE);
    writeln!(text, "| its longest path (the last one: {told}) | {}; ratio {ratio} | ≤ 1.15 |", path.told())
        .expect(INFALLIBLE);
    for (what, figures, goal) in [
        ("devctl's own share of it", share, 50.0),
        ("`devctl --help`", &alone.help, 10.0),
        ("`devctl ps`, whole stack up", &alone.ps, 30.0),
    ] {
        let met = figures.median().map_or("", |median| verdict(median <= goal));
        writeln!(text, "| {what} | {} {met} | ≤ {} |", figures.told(), ms(goal)).expect(INFALLIBLE);
    }
    text
}

const INFALLIBLE: &str = "writing to a string cannot fail";
