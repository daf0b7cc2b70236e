//! `devctl stats`.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use futures_util::future::join_all;
use serde::Serialize;

use super::columns::{self, binary_size, size};
use super::containers::Here;
use super::output::Printed;
use super::{Context, output};
use crate::advice::Blame;
use crate::driver::docker::{Pick, ProjectContainer, Stats};
use crate::error::Error;

/// Show how much CPU, memory, network and disk the containers use
///
/// `devctl ps --stats` shows the programs of this machine as well.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl stats
  devctl stats --no-stream db
  devctl stats --no-stream --format json | jq -r .CPUPerc")]
pub(super) struct Args {
    /// Also containers that do not run
    #[arg(short, long)]
    all: bool,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Look once
    #[arg(long)]
    no_stream: bool,

    /// Ids in full
    #[arg(long)]
    no_trunc: bool,

    /// Services to show; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table, renewed each second
    Table,
    /// A JSON object a line
    Json,
}

/// What `devctl stats` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) all: bool,
    pub(super) format: Format,
    pub(super) no_stream: bool,
    pub(super) no_trunc: bool,
    pub(super) services: Vec<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { all, format, no_stream, no_trunc, services } = self;
        Settings { all, format, no_stream, no_trunc, services }
    }
}

/// What a container uses, by the names and in the words of Docker.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "BlockIO")]
    block: String,
    #[serde(rename = "CPUPerc")]
    cpu: String,
    #[serde(rename = "Container")]
    container: String,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MemPerc")]
    memory_share: String,
    #[serde(rename = "MemUsage")]
    memory: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "NetIO")]
    net: String,
    #[serde(rename = "PIDs")]
    pids: String,
}

/// Top left, and the rest of the screen empty.
const HOME: &str = "\x1b[H\x1b[J";

/// Shows what containers use, until it is interrupted.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { all, format, no_stream, no_trunc, services } = settings;
    let here = Here::find(&context).await?;
    let pick = if all { Pick::all(&services) } else { Pick::running(&services) };
    let renewed = !no_stream && format == Format::Table && io::stdout().is_terminal();
    for service in &services {
        here.check(service).await?;
    }
    loop {
        let mut containers = here.containers(&pick).await?;
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        // The engine takes a second for each, which is the pause between two looks.
        let looks = join_all(containers.iter().map(|container| here.engine.stats(container))).await;
        let mut rows = Vec::new();
        for (container, look) in containers.iter().zip(looks) {
            match look {
                Ok(stats) => rows.push(row(container, &stats, no_trunc)),
                // One that has ended meanwhile uses nothing, and the rest is worth showing.
                Err(_) if !no_stream => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = match format {
            Format::Table => columns::render(&table(&rows), columns::TEMPLATE),
            Format::Json => lines(&rows)?,
        };
        let text = if renewed { format!("{HOME}{text}") } else { text };
        if output::print(&text, context.color)? == Printed::ReaderGone || no_stream {
            return Ok(0);
        }
        if containers.is_empty() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

fn lines(rows: &[Row]) -> Result<String, Error> {
    let mut text = String::new();
    for row in rows {
        let line = serde_json::to_string(row);
        text += &line.map_err(|error| Error::new(Blame::Bug, format!("usage cannot be written: {error}")))?;
        text.push('\n');
    }
    Ok(text)
}

fn row(container: &ProjectContainer, stats: &Stats, full: bool) -> Row {
    let id: String = if full { container.id.clone() } else { container.id.chars().take(12).collect() };
    let signed = |bytes: u64| size(i64::try_from(bytes).unwrap_or(i64::MAX));
    #[expect(clippy::cast_precision_loss, reason = "a percentage is shown with two digits")]
    let share = if stats.memory_limit == 0 { 0.0 } else { stats.memory as f64 / stats.memory_limit as f64 * 100.0 };
    Row {
        block: format!("{} / {}", signed(stats.block_in), signed(stats.block_out)),
        cpu: format!("{:.2}%", stats.cpu_percent),
        container: id.clone(),
        id,
        memory_share: format!("{share:.2}%"),
        memory: format!("{} / {}", binary_size(stats.memory), binary_size(stats.memory_limit)),
        name: container.name.clone(),
        net: format!("{} / {}", signed(stats.net_in), signed(stats.net_out)),
        pids: stats.pids.to_string(),
    }
}

fn table(rows: &[Row]) -> Vec<Vec<String>> {
    let head = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
    let cells = rows.iter().map(|row| {
        let Row { block, cpu, container: _, id, memory_share, memory, name, net, pids } = row;
        [id, name, cpu, memory, memory_share, net, block, pids].map(Clone::clone).to_vec()
    });
    std::iter::once(head.map(str::to_owned).to_vec()).chain(cells).collect()
}
