//! `cargo xtask bench compose`: Compose projects under devctl and under Docker Compose, in turns, in one run.
//!
//! Both get the same files. The containers are small shells, so that what is measured is the tool and the engine, not a
//! server. What the engine itself takes for the same containers is measured beside them: nobody can be faster than that.

mod cases;
mod engine;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use self::cases::{Case, Folder};
use super::figures::{Figures, replace_between};
use super::{load, release_binary, verdict};
use crate::{images, repo};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; each tool is measured once in every round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The binary to measure; built with `cargo build --release` where not given.
    #[arg(long, value_name = "PATH")]
    devctl: Option<PathBuf>,
    /// Measures only these; all where none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Case>,
    /// Writes the figures into docs/benchmarks.md.
    #[arg(long, conflicts_with = "only")]
    write: bool,
}

/// Who does the work.
enum Tool {
    /// The binary that is measured.
    Devctl(PathBuf),
    /// The peer.
    Compose,
}

impl Tool {
    /// Its command, in a project's folder.
    fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = match self {
            Self::Devctl(binary) => Command::new(binary),
            Self::Compose => {
                let mut docker = Command::new("docker");
                docker.arg("compose");
                docker
            }
        };
        command.args(args).current_dir(folder);
        command
    }

    /// Runs it to its end, which must be a good one.
    fn time(&self, folder: &Folder, args: &[&str]) -> anyhow::Result<Duration> {
        let mut command = self.command(folder.path(), args);
        let start = Instant::now();
        repo::output(&mut command)?;
        Ok(start.elapsed())
    }

    /// `up`, until everything is ready.
    fn up(&self, folder: &Folder) -> anyhow::Result<Duration> {
        self.time(folder, &["up", "--detach", "--wait"])
    }

    fn down(&self, folder: &Folder) -> anyhow::Result<Duration> {
        self.time(folder, &["down"])
    }
}

/// What one case gave.
struct Row {
    case: Case,
    devctl: Figures,
    compose: Figures,
    engine: Figures,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let version = repo::output(Command::new("docker").args(["compose", "version", "--short"]))
        .context("the peer is needed: Docker Compose as a plugin of the docker command")?;
    images::load()?;
    let devctl = Tool::Devctl(release_binary(args.devctl.as_deref())?);
    let head = super::machine(Some(devctl.binary()?), version.trim())?;
    let all = <Case as clap::ValueEnum>::value_variants();
    let mut rows = Vec::new();
    for case in all.iter().filter(|case| args.only.is_empty() || args.only.contains(case)) {
        eprintln!("{}, load average {}", case.title(), load());
        rows.push(measure(*case, &devctl, args.rounds)?);
    }
    let text = told(&head, &rows);
    println!("{text}");
    if args.write {
        let path = repo::root().join("docs/benchmarks.md");
        let document = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        std::fs::write(&path, replace_between(&document, "bench compose", &text)?)?;
        println!("written to {}", path.display());
    }
    Ok(())
}

impl Tool {
    fn binary(&self) -> anyhow::Result<&Path> {
        match self {
            Self::Devctl(path) => Ok(path),
            Self::Compose => bail!("the peer has no binary of its own"),
        }
    }
}

fn measure(case: Case, devctl: &Tool, rounds: u32) -> anyhow::Result<Row> {
    let mut row = Row { case, devctl: Figures::default(), compose: Figures::default(), engine: Figures::default() };
    let (ours, theirs) = (case.folder("devctl")?, case.folder("compose")?);
    for round in 0..rounds {
        let mut turns = [(devctl, &ours, &mut row.devctl), (&Tool::Compose, &theirs, &mut row.compose)];
        // Who goes first changes, so that a machine that gets busier or warmer favours nobody.
        if round % 2 == 1 {
            turns.reverse();
        }
        for (tool, folder, figures) in turns {
            figures.add(one(case, tool, folder)?);
        }
        if let Some(containers) = case.floor() {
            row.engine.add(engine::run(&format!("devctl-bench-floor-{}", std::process::id()), containers)?);
        }
    }
    Ok(row)
}

/// One measurement. What is not measured of it is done before and after.
fn one(case: Case, tool: &Tool, folder: &Folder) -> anyhow::Result<Duration> {
    match case {
        Case::Nothing => {
            tool.up(folder)?;
            let time = tool.up(folder)?;
            tool.down(folder)?;
            Ok(time)
        }
        Case::Chain | Case::Eight | Case::Replicas => {
            let time = tool.up(folder)?;
            tool.down(folder)?;
            Ok(time)
        }
        Case::Down => {
            tool.up(folder)?;
            tool.down(folder)
        }
        Case::Ps => {
            // Both look at what the peer made: that is what a list of containers is about.
            Tool::Compose.time(folder, &["create", "--scale", "web=100"])?;
            let time = tool.time(folder, &["ps", "--all"])?;
            Tool::Compose.down(folder)?;
            Ok(time)
        }
        Case::Load => tool.time(folder, &["config", "--quiet"]),
    }
}

/// The figures as Markdown.
fn told(head: &str, rows: &[Row]) -> String {
    let mut text = format!("{head}, at the end {}.\n\n", load());
    text.push_str(
        "| what (min / **median** / max) | devctl | Docker Compose | the engine alone | devctl : Compose | goal |\n",
    );
    text.push_str("|---|---|---|---|---|---|\n");
    for Row { case, devctl, compose, engine } in rows {
        let ratio = devctl.ratio(compose);
        let (met, goal) = match case.goal() {
            cases::Goal::Ratio(goal) => (ratio.is_some_and(|ratio| ratio <= goal), format!("≤ {goal:.2}")),
            cases::Goal::Milliseconds(goal) => {
                (devctl.median().is_some_and(|median| median <= goal), format!("≤ {goal:.0} ms"))
            }
        };
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.3} {}", verdict(met)));
        let over = devctl.ratio(engine).map_or(String::new(), |over| format!("; devctl {over:.2} of it"));
        writeln!(
            text,
            "| {} | {} | {} | {}{over} | {ratio} | {goal} |",
            case.title(),
            devctl.told(),
            compose.told(),
            engine.told(),
        )
        .expect("writing to a string cannot fail");
    }
    text
}
