//! `devctl ps`.

use clap::ValueEnum;

use super::{Context, last_run, output};
use crate::advice::Blame;
use crate::driver::docker::{Docker, ObservedContainer};
use crate::error::Error;
use crate::manifest::{self, Manifest};
use crate::state::StateDir;
use crate::state::lock::Lock;
use crate::state::record::{Record, ServiceRecord};

/// Show what runs, where, and how it is
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl ps
  devctl ps --format json | jq '.[].state'")]
pub(super) struct Args {
    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// How `devctl ps` shows what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    Table,
    /// A JSON array of services
    Json,
}

/// What `devctl ps` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `--format`.
    pub(super) format: Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { format } = self;
        Settings { format }
    }
}

/// Shows what runs.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let manifest = manifest::load(&context.start, &context.env).map_err(Error::problems)?;
    let state = StateDir::of(&manifest.root);
    let holder = Lock::holder(&state).map_err(|error| Error::io("cannot look at the project's lock", error))?;
    let record = Record::read(&state);
    let (services, elsewhere) = match record {
        // The supervisor knows best, and keeps its record up to date.
        Some(record) if holder.is_some() => {
            (record.services.into_iter().map(|(name, service)| Row::of_record(name, service)).collect(), Ok(()))
        }
        record => without_supervisor(&manifest, record.as_ref(), &context).await?,
    };
    let text = match settings.format {
        Format::Json => json(&services)?,
        Format::Table if services.is_empty() => "nothing of this project runs\n".to_owned(),
        Format::Table => table(&services),
    };
    // A word about what is elsewhere says more than that nothing is here.
    if elsewhere.is_ok() || !services.is_empty() {
        output::print(&text, context.color)?;
    }
    elsewhere.map(|()| 0)
}

/// What to type to run this again.
const COMMAND: &str = "devctl ps";

/// One service as `ps` shows it.
#[derive(Debug, serde::Serialize)]
struct Row {
    service: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_ms: Option<u64>,
    restarts: u32,
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Row {
    fn of_record(service: String, record: ServiceRecord) -> Self {
        let ServiceRecord { phase, pid, container, ours: _, ready_ms, restarts, addresses, detail } = record;
        Self { service, state: phase, pid, container, ready_ms, restarts, addresses, detail }
    }

    fn place(&self) -> String {
        match (&self.container, self.pid) {
            (Some(container), _) => format!("container {container}"),
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => String::new(),
        }
    }
}

/// What the engine has of the project when no devctl runs it: left with `--keep` or by a run that was killed, or started
/// by `docker compose`. And whether there may be more on another engine.
async fn without_supervisor(
    manifest: &Manifest,
    record: Option<&Record>,
    context: &Context,
) -> Result<(Vec<Row>, Result<(), Error>), Error> {
    let engine = match Docker::connect(&context.env).await {
        Ok(engine) => engine,
        Err(away) if last_run::may_have_containers(manifest, record) => {
            return Err(last_run::engine_away(&away, manifest, record, COMMAND));
        }
        // Without an engine there are no containers to show.
        Err(_) => return Ok((Vec::new(), Ok(()))),
    };
    let containers = engine.list_project(&manifest.project).await?;
    let found = containers.iter().map(|found| found.name.as_str()).collect();
    let elsewhere = record.map_or(Ok(()), |record| last_run::on_another_engine(record, &engine, &found, COMMAND));
    let row = |found: ObservedContainer| Row {
        service: found.service,
        state: if found.running { "running" } else { "exited" }.to_owned(),
        pid: None,
        container: Some(found.name),
        ready_ms: None,
        restarts: 0,
        addresses: found.ports.iter().map(|(ip, host, _)| format!("{ip}:{host}")).collect(),
        detail: Some(found.status),
    };
    Ok((containers.into_iter().map(row).collect(), elsewhere))
}

fn json(rows: &[Row]) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(rows)
        .map_err(|error| Error::new(Blame::Bug, format!("the services cannot be written: {error}")))?;
    text.push('\n');
    Ok(text)
}

fn table(rows: &[Row]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["SERVICE", "STATE", "WHERE", "READY", "ADDRESS"]);
    for row in rows {
        let ready = row.ready_ms.map_or_else(String::new, |ms| format!("{ms} ms"));
        let state = match (&row.detail, row.state.as_str()) {
            (Some(detail), "ready" | "done") if detail.is_empty() => row.state.clone(),
            (Some(detail), _) => format!("{}: {detail}", row.state),
            (None, _) => row.state.clone(),
        };
        table.add_row([row.service.clone(), state, row.place(), ready, row.addresses.join(" ")]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}
