//! `devctl ps`.

mod listed;

use std::collections::HashMap;
use std::fmt::Write as _;

use indexmap::IndexMap;

use super::containers::{Here, lines};
use super::stats::{self, Usage};
use super::template::Template;
use super::{Context, last_run, output};
use crate::advice::Blame;
use crate::control::client::Client;
use crate::driver::docker::{Docker, ObservedContainer, Oneoffs, Pick, ProjectContainer};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::os::process::Process;
use crate::os::{clock, terminal, tree};
use crate::report::{self, why::ExitFacts};
use crate::state::StateDir;
use crate::state::guardian_log::Deed;
use crate::state::last_run::{End, LastRun};
use crate::state::lock::{Holder, Lock};
use crate::state::record::{Record, ServiceRecord};

/// Show what runs, where, and how it is
///
/// Containers are shown whoever started them. `--quiet`, `--services` and a template list what runs, as Compose does,
/// and with `--all` what does not run as well.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl ps
  devctl ps --stats              with CPU and memory
  devctl ps --format json | jq '.[].state'
  devctl ps -aq db               the ids of a service's containers, running or not
  devctl ps --format '{{.Name}} {{.State}}'")]
pub(super) struct Args {
    /// Also containers that do not run, and those of `devctl run`
    #[arg(short, long)]
    all: bool,

    /// Only what is in a state: `status=running`
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Option<Status>,

    /// How to show it: `table`, `json`, or a Go template for each container, such as `{{.Name}} {{.State}}`; `table
    /// TEMPLATE` puts a head above
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,

    /// Ids and commands in full, in templates and JSON
    #[arg(long)]
    no_trunc: bool,

    /// Whether to show containers of services that the files do not have
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    orphans: bool,

    /// The ids of the containers alone
    #[arg(short, long, conflicts_with = "services")]
    quiet: bool,

    /// The names of the services alone
    #[arg(id = "services", long = "services")]
    only_services: bool,

    /// How much CPU and memory each service uses, with all its processes
    #[arg(long)]
    stats: bool,

    /// Only what is in this state; can be repeated
    #[arg(long, value_name = "STATUS")]
    status: Vec<Status>,

    /// Services to show; all of them where none is named
    #[arg(id = "named", value_name = "SERVICES")]
    services: Vec<String>,
}

/// A state of a container, as the engine names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Status {
    Paused,
    Restarting,
    Removing,
    Running,
    Dead,
    Created,
    Exited,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Running => "running",
            Self::Dead => "dead",
            Self::Created => "created",
            Self::Exited => "exited",
        }
    }

    /// The engine's word for a state of devctl's, so that programs and containers are filtered alike.
    fn of(state: &str) -> &str {
        match state {
            "ready" | "probing" | "late" | "unhealthy" | "starting" | "stopping" | "orphaned" => "running",
            "failed" | "done" | "stopped" => "exited",
            "waiting" => "created",
            other => other,
        }
    }
}

fn filter(text: &str) -> Result<Status, String> {
    match text.split_once('=') {
        Some(("status", status)) => clap::ValueEnum::from_str(status, true)
            .map_err(|_| format!("there is no status `{status}`: `devctl ps --help` names them")),
        Some((key, _)) => Err(format!("there is no filter `{key}`; there is `status=STATUS`")),
        None => Err("a filter is written `status=STATUS`".to_owned()),
    }
}

/// How `devctl ps` shows what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A table.
    Table,
    /// A JSON array of services.
    Json,
    /// A line for each container.
    Template {
        /// What is in the line.
        template: Template,
        /// Whether the lines make a table with a head.
        table: bool,
    },
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ => match text.strip_prefix("table ") {
                Some(rest) => Ok(Self::Template { template: rest.trim_start().parse()?, table: true }),
                None if text.contains("{{") => Ok(Self::Template { template: text.parse()?, table: false }),
                None => Err("there are `table`, `json` and templates such as `{{.Name}}`".to_owned()),
            },
        }
    }
}

/// What `devctl ps` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `--all`.
    pub(super) all: bool,
    /// `--format`.
    pub(super) format: Format,
    /// `--no-trunc`.
    pub(super) full: bool,
    /// `--orphans`.
    pub(super) orphans: bool,
    /// `--quiet`.
    pub(super) quiet: bool,
    /// `--services`.
    pub(super) only_services: bool,
    /// `--stats`.
    pub(super) stats: bool,
    /// `--status` and `--filter`.
    pub(super) status: Vec<Status>,
    /// The services; all where empty.
    pub(super) services: Vec<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { all, filter, format, no_trunc, orphans, quiet, only_services, stats, mut status, services } = self;
        status.extend(filter);
        Settings { all, format, full: no_trunc, orphans, quiet, only_services, stats, status, services }
    }
}

/// Shows what runs.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    if settings.quiet || matches!(settings.format, Format::Template { .. }) {
        return list_containers(&settings, &context).await;
    }
    let state = StateDir::of(&super::project_folder(&context)?);
    let holder = Lock::holder(&state).map_err(|error| Error::io("cannot look at the project's lock", error))?;
    let record = match fresh(&state).await? {
        Some(record) => Some(record),
        None => Record::read(&state),
    };
    let (services, remarks, elsewhere) = match record {
        // The supervisor knows best, and keeps its record up to date.
        Some(record) if holder.as_ref().is_some_and(|holder| !holder.guardian && holder.run == record.run) => {
            let mut used = if settings.stats { stats::of(&record, &context).await } else { HashMap::new() };
            let row = |(name, service): (String, ServiceRecord)| {
                let used = used.remove(&name);
                Row { used, ..Row::of_record(name, service) }
            };
            let rows: Vec<Row> = record.services.into_iter().map(row).collect();
            let ill = rows.iter().filter(|row| ILL.contains(&row.state.as_str())).map(|row| row.service.as_str());
            let remarks = ask_why(ill).into_iter().collect();
            (rows, remarks, Ok(()))
        }
        record => {
            let manifest = context.manifest()?;
            let left = record.as_ref().map(orphans).unwrap_or_default();
            let (containers, elsewhere) = match without_supervisor(&manifest, record.as_ref(), &context).await {
                Ok(found) => found,
                Err(error) => (Vec::new(), Err(error)),
            };
            let rows: Vec<Row> = left.into_iter().chain(containers).collect();
            let remarks = remarks(&state, holder.as_ref(), record.as_ref(), !rows.is_empty());
            (rows, remarks, elsewhere)
        }
    };
    let (mut services, mut remarks) = (services, remarks);
    if settings.is_about_containers() {
        merge_containers(&mut services, &settings, &context).await?;
        remarks.clear();
    }
    if settings.only_services {
        let mut names: Vec<&str> = services.iter().map(|row| row.service.as_str()).collect();
        names.dedup();
        output::print(&lines(names), context.color)?;
        return Ok(0);
    }
    let mut text = match settings.format {
        Format::Json => json(&services)?,
        // A word about what is going on says more than that nothing is here.
        Format::Table if services.is_empty() && holder.is_some() => String::new(),
        Format::Table if services.is_empty() && settings.is_about_containers() => {
            "there is nothing of that\n".to_owned()
        }
        Format::Table if services.is_empty() => "nothing of this project runs\n".to_owned(),
        Format::Table | Format::Template { .. } => {
            table(&services, clock::timestamp(), terminal::size().map(|(columns, _)| columns))
        }
    };
    if settings.format == Format::Table {
        for remark in remarks {
            let _ = writeln!(text, "{remark}");
        }
    }
    // A word about what is elsewhere says more than that nothing is here.
    if elsewhere.is_ok() || !services.is_empty() {
        output::print(&text, context.color)?;
    }
    elsewhere.map(|()| 0)
}

impl Settings {
    /// `devctl ps` and nothing more.
    fn plain() -> Self {
        Self {
            all: false,
            format: Format::Table,
            full: false,
            orphans: true,
            quiet: false,
            only_services: false,
            stats: false,
            status: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Whether more or less is wanted than what `ps` shows by itself.
    fn is_about_containers(&self) -> bool {
        let Self { all, format, full: _, orphans, quiet, only_services, stats: _, status, services } = self;
        let as_json = *format == Format::Json;
        *all || !orphans || *quiet || *only_services || !status.is_empty() || !services.is_empty() || as_json
    }

    /// The containers that are meant.
    fn pick(&self) -> Pick {
        let stopped = self.all || !self.status.is_empty();
        let oneoffs = if stopped { Oneoffs::Included } else { Oneoffs::LeftOut };
        Pick { stopped, oneoffs, services: self.services.clone() }
    }

    fn wants(&self, container: &ProjectContainer, here: &Here) -> bool {
        let state = self.status.is_empty() || self.status.iter().any(|status| status.as_str() == container.state);
        state && (self.orphans || here.project.declares(&container.service))
    }
}

/// Lists containers as Compose does.
async fn list_containers(settings: &Settings, context: &Context) -> Result<u8, Error> {
    let here = Here::find(context).await?;
    let mut containers = here.picked(&settings.pick()).await?;
    containers.retain(|container| settings.wants(container, &here));
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let text = match &settings.format {
        Format::Template { template, table } if !settings.quiet => {
            listed::by_template(&containers, template, *table, settings.full, clock::timestamp())
                .map_err(|message| Error::new(Blame::Configuration, message))?
        }
        Format::Table | Format::Json | Format::Template { .. } => {
            lines(containers.iter().map(|container| container.id.as_str()))
        }
    };
    output::print(&text, context.color)?;
    Ok(0)
}

/// Lays what the engine has beside the rows there are: containers that have none get one, the others learn what the
/// engine says of them, and what is not asked for goes.
async fn merge_containers(rows: &mut Vec<Row>, settings: &Settings, context: &Context) -> Result<(), Error> {
    let wanted = |row: &Row| {
        let state = row.engine.as_ref().map_or_else(|| Status::of(&row.state), |listed| listed.state());
        let state = settings.status.is_empty() || settings.status.iter().any(|status| status.as_str() == state);
        state && (settings.services.is_empty() || settings.services.contains(&row.service))
    };
    let here = match Here::find(context).await {
        Ok(here) => here,
        // There may be no engine where there are no containers; what runs besides is known.
        Err(_) if settings.format == Format::Json && !settings.all && settings.services.is_empty() => {
            rows.retain(wanted);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let known = |service: &String| rows.iter().any(|row| row.service == *service);
    for service in settings.services.iter().filter(|service| !known(service)) {
        here.check(service).await?;
    }
    let plain = Settings { services: settings.services.clone(), ..Settings::plain() };
    let as_ever = *settings == Settings { format: settings.format.clone(), stats: settings.stats, ..plain };
    let pick = if as_ever { Pick::all(&settings.services) } else { settings.pick() };
    let containers = here.containers(&pick).await?;
    let now = clock::timestamp();
    for container in &containers {
        let listed = Box::new(listed::Listed::of(container, settings.full, now));
        match rows.iter_mut().find(|row| row.container.as_deref() == Some(&container.name)) {
            Some(row) => row.engine = Some(listed),
            None => rows.push(Row { engine: Some(listed), ..Row::of_container(container) }),
        }
    }
    if settings.only_services && !settings.pick().stopped {
        rows.retain(|row| row.engine.as_ref().map_or_else(|| Status::of(&row.state) == "running", |_| true));
    }
    // A container that is not in the list is not asked for, whatever row it had.
    rows.retain(|row| row.container.is_none() || row.engine.is_some() || as_ever);
    rows.retain(|row| wanted(row) && (settings.orphans || row.engine.is_none() || here.project.declares(&row.service)));
    Ok(())
}

/// What the supervisor itself says, where it can be asked: what is written of it is a moment behind.
async fn fresh(state: &StateDir) -> Result<Option<Record>, Error> {
    match Client::connect(state.root()).await {
        Ok((_, status)) => Ok(Some(status.into_record())),
        // Its record is as closed to us as its socket.
        Err(error) if error.is_stranger() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// The processes that a dead run left, a row for each service.
fn orphans(record: &Record) -> Vec<Row> {
    let lost = last_run::lost(record);
    let mut services: IndexMap<String, Vec<Process>> = IndexMap::new();
    for process in lost.processes() {
        services.entry(lost.service_of(&process).unwrap_or_default()).or_default().push(process);
    }
    let row = |(service, processes): (String, Vec<Process>)| {
        let known = record.services.get(&service).cloned().unwrap_or_default();
        let leader = processes.iter().position(|process| Some(process.id) == known.leader());
        let (shown, others) = (leader.unwrap_or(0), processes.len() - 1);
        let mut detail = format!("left by a run that was killed: {}", tree::describe(&processes[shown]));
        if others > 0 {
            let _ = write!(detail, ", and {others} more");
        }
        let state = "orphaned".to_owned();
        let pid = Some(processes[shown].id.pid);
        let since = known.since.filter(|_| leader.is_some());
        let (restarts, ports, addresses) = (known.restarts, known.ports, known.addresses);
        Row { service, state, pid, since, restarts, ports, addresses, detail: Some(detail), ..Row::default() }
    };
    services.into_iter().map(row).collect()
}

/// What is worth saying where no supervisor runs the stack. `rows`: whether there is anything to show.
fn remarks(state: &StateDir, holder: Option<&Holder>, dead: Option<&Record>, rows: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    match holder {
        Some(holder) if holder.guardian => {
            remarks.push(format!("the last run was killed; its guardian (pid {}) is taking it down", holder.pid));
            return remarks;
        }
        Some(holder) => {
            remarks.push(format!("devctl (pid {}) has the project, and has not said yet what it runs", holder.pid));
            return remarks;
        }
        None => {}
    }
    let deed = Deed::read(state);
    remarks.extend(deed.as_ref().map(ToString::to_string));
    if deed.is_none() && dead.is_none() {
        remarks.extend(after_the_end(state));
    }
    if let Some(record) = dead {
        if deed.is_none() {
            remarks.push(format!("the last run {}", last_run::how_it_ended(state, record)));
        }
        if rows {
            remarks.push("`devctl up` takes over what it left, `devctl down` takes it down".to_owned());
        }
    }
    remarks
}

/// States that want an explanation.
const ILL: [&str; 4] = ["failed", "late", "restarting", "unhealthy"];

/// What to type to be told what is wrong with these.
fn ask_why<'a>(services: impl Iterator<Item = &'a str>) -> Option<String> {
    let commands: Vec<String> = services.map(|service| format!("`devctl why {service}`")).collect();
    (!commands.is_empty()).then(|| format!("what is wrong: {}", commands.join(", ")))
}

/// How the last run ended, where it ended by itself and is told by nothing else.
fn after_the_end(state: &StateDir) -> Vec<String> {
    let Some(LastRun { ended, end, record }) = LastRun::read(state) else { return Vec::new() };
    let ago = ended.parse().ok().and_then(|ended| {
        let passed = clock::timestamp().duration_since(ended).max(jiff::SignedDuration::ZERO);
        Some(format!(", {} ago", report::duration(passed.as_millis().try_into().ok()?)))
    });
    let how = report::why::how_it_ended(end);
    let mut remarks = vec![format!("the last run {how}{}", ago.unwrap_or_default())];
    let failed =
        || record.services.iter().filter(|(_, service)| service.phase == "failed").map(|(name, _)| name.as_str());
    // Where what failed is no service, whoever needed it knows.
    let waiting =
        record.services.iter().filter(|(_, service)| service.phase == "waiting").map(|(name, _)| name.as_str());
    if end == End::Failed {
        remarks.extend(ask_why(failed()).or_else(|| ask_why(waiting.take(1))));
    }
    remarks
}

/// What to type to run this again.
const COMMAND: &str = "devctl ps";

/// One service as `ps` shows it.
#[derive(Debug, Default, serde::Serialize)]
struct Row {
    service: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// When it was started, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_ms: Option<u64>,
    restarts: u32,
    /// When it will be started again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_start: Option<String>,
    /// How it ended the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_exit: Option<ExitFacts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_on: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<u16>,
    addresses: Vec<String>,
    /// What it uses, where that was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    used: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What the engine says of its container, by the names that Compose gives it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    engine: Option<Box<listed::Listed>>,
}

impl Row {
    fn of_container(container: &ProjectContainer) -> Self {
        let published = || container.ports.iter().filter(|port| port.host_port > 0);
        Self {
            service: container.service.clone(),
            state: container.state.clone(),
            container: Some(container.name.clone()),
            ports: published().map(|port| port.host_port).collect(),
            addresses: published().map(|port| format!("{}:{}", port.host_ip, port.host_port)).collect(),
            detail: Some(container.status.clone()),
            ..Self::default()
        }
    }

    fn of_record(service: String, record: ServiceRecord) -> Self {
        let last_exit = record.last_exit.as_ref().map(ExitFacts::of);
        let ServiceRecord { phase, pid, container, since, ready_ms, restarts, next_start, .. } = record;
        let ServiceRecord { waiting_on, ports, addresses, detail, .. } = record;
        let row =
            Self { service, state: phase, pid, container, since, ready_ms, restarts, next_start, ..Self::default() };
        Self { last_exit, waiting_on, ports, addresses, detail, ..row }
    }

    /// How it ended, where its state does not tell: it runs again.
    fn ended_before(&self) -> Option<String> {
        let exit = self.last_exit.as_ref().filter(|_| self.restarts > 0 && self.since.is_some())?;
        Some(format!("restarted {} times, after {}", self.restarts, exit.text).replace(" 1 times", " once"))
    }

    fn place(&self) -> String {
        match (&self.container, self.pid) {
            (Some(container), _) => container.clone(),
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => String::new(),
        }
    }

    /// How long it runs.
    fn up(&self, now: jiff::Timestamp) -> Option<String> {
        let since: jiff::Timestamp = self.since.as_deref()?.parse().ok()?;
        // A clock that was set back in between must not make nonsense of it.
        let passed = now.duration_since(since).max(jiff::SignedDuration::ZERO);
        Some(report::duration(passed.as_millis().try_into().ok()?))
    }

    /// CPU and memory; nothing where it does not run.
    fn stats(&self) -> [String; 2] {
        self.used.map_or_else(Default::default, |used| {
            [format!("{:.1} %", used.cpu_percent), report::bytes(used.memory_bytes)]
        })
    }

    fn ready(&self) -> Option<String> {
        self.ready_ms.map(report::duration)
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
        container: Some(found.name),
        ports: found.ports.iter().map(|(_, host, _)| *host).collect(),
        addresses: found.ports.iter().map(|(ip, host, _)| format!("{ip}:{host}")).collect(),
        // Since when it runs is told by its status, in the engine's words.
        detail: Some(found.status),
        ..Row::default()
    };
    Ok((containers.into_iter().map(row).collect(), elsewhere))
}

fn json(rows: &[Row]) -> Result<String, Error> {
    let mut text = serde_json::to_string_pretty(rows)
        .map_err(|error| Error::new(Blame::Bug, format!("the services cannot be written: {error}")))?;
    text.push('\n');
    Ok(text)
}

const HEAD: [&str; 9] = ["SERVICE", "STATE", "WHERE", "READY IN", "UP", "RESTARTS", "CPU", "MEMORY", "ADDRESS"];

/// A table where the terminal is wide enough for it, a list where it is not. What there is to say of a service stands
/// below it, and nothing is cut: the terminal wraps what is long, and it can still be copied.
fn table(rows: &[Row], now: jiff::Timestamp, screen: Option<u16>) -> String {
    let mut cells = vec![HEAD.map(str::to_owned)];
    for row in rows {
        let (ready, up) = (row.ready().unwrap_or_default(), row.up(now).unwrap_or_default());
        let first = row.addresses.first().cloned().unwrap_or_default();
        let [cpu, memory] = row.stats();
        let restarts = row.restarts.to_string();
        cells.push([row.service.clone(), row.state.clone(), row.place(), ready, up, restarts, cpu, memory, first]);
    }
    // Room is scarce, and mostly there were none.
    let restarted = rows.iter().any(|row| row.restarts > 0);
    let measured = rows.iter().any(|row| row.used.is_some());
    let shown = |column: &usize| match HEAD[*column] {
        "RESTARTS" => restarted,
        "CPU" | "MEMORY" => measured,
        _ => true,
    };
    let width = |column: usize| cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0) + GAP;
    let columns: Vec<(usize, usize)> =
        (0..HEAD.len() - 1).filter(shown).map(|column| (column, width(column))).collect();
    let before_address: usize = columns.iter().map(|(_, width)| width).sum();
    let longest = rows.iter().flat_map(|row| &row.addresses).map(|address| address.chars().count()).max().unwrap_or(0);
    if screen.is_some_and(|width| before_address + longest > usize::from(width)) {
        return list(rows, now);
    }
    let mut text = String::new();
    for (index, cells) in cells.iter().enumerate() {
        let mut line = String::new();
        for (column, width) in columns.iter().copied().chain([(HEAD.len() - 1, 0)]) {
            let _ = write!(line, "{:width$}", cells[column]);
        }
        let _ = writeln!(text, "{}", line.trim_end());
        if let Some(row) = index.checked_sub(1).map(|index| &rows[index]) {
            for address in row.addresses.iter().skip(1) {
                let _ = writeln!(text, "{:before_address$}{address}", "");
            }
            detail(&mut text, row);
        }
    }
    text
}

/// The cells between two columns.
const GAP: usize = 2;

fn list(rows: &[Row], now: jiff::Timestamp) -> String {
    let mut text = String::new();
    for row in rows {
        let _ = write!(text, "{}  {}", row.service, row.state);
        if let Some(ready) = row.ready() {
            let again = if row.state == "ready" { "" } else { ", was ready" };
            let _ = write!(text, "{again} in {ready}");
        }
        if let Some(up) = row.up(now) {
            let _ = write!(text, ", up {up}");
        }
        if row.used.is_some() {
            let [cpu, memory] = row.stats();
            let _ = write!(text, ", {cpu} CPU, {memory}");
        }
        if row.restarts > 0 && row.ended_before().is_none() {
            let _ = write!(text, ", restarts {}", row.restarts);
        }
        text.push('\n');
        for line in [&row.place()].into_iter().chain(&row.addresses).filter(|line| !line.is_empty()) {
            let _ = writeln!(text, "  {line}");
        }
        detail(&mut text, row);
    }
    text
}

fn detail(text: &mut String, row: &Row) {
    if let Some(ended) = row.ended_before() {
        let _ = writeln!(text, "  {ended}");
    }
    for line in row.detail.iter().flat_map(|detail| detail.lines()).filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "  {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row =
            |service: &str, state: &str| Row { service: service.to_owned(), state: state.to_owned(), ..Row::default() };
        vec![
            Row {
                container: Some("integrador-db-1".to_owned()),
                since: Some("2026-11-20T08:47:57Z".to_owned()),
                ready_ms: Some(702),
                addresses: vec!["postgresql://postgres:***@127.0.0.1:5432/menu_ops".to_owned()],
                ..row("db", "ready")
            },
            Row {
                pid: Some(4242),
                since: Some("2026-11-20T08:59:59.5Z".to_owned()),
                ready_ms: Some(3812),
                addresses: vec!["http://127.0.0.1:8000".to_owned(), "http://[::1]:8000".to_owned()],
                ..row("api", "ready")
            },
            Row {
                addresses: vec!["http://127.0.0.1:8001".to_owned()],
                detail: Some(
                    "`gateway` ended again after 5 restarts within 60 s: exit code 101\nsee its log".to_owned(),
                ),
                ..row("gateway", "failed")
            },
        ]
    }

    fn shown(width: u16) -> String {
        table(&rows(), "2026-11-20T09:00:00Z".parse().unwrap(), Some(width))
    }

    #[test]
    fn details_stand_below_their_row() {
        insta::assert_snapshot!(shown(120), @r"
        SERVICE  STATE   WHERE            READY IN  UP         ADDRESS
        db       ready   integrador-db-1  702 ms    12 m 03 s  postgresql://postgres:***@127.0.0.1:5432/menu_ops
        api      ready   pid 4242         3.8 s     500 ms     http://127.0.0.1:8000
                                                               http://[::1]:8000
        gateway  failed                                        http://127.0.0.1:8001
          `gateway` ended again after 5 restarts within 60 s: exit code 101
          see its log
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_a_list() {
        insta::assert_snapshot!(shown(80), @r"
        db  ready in 702 ms, up 12 m 03 s
          integrador-db-1
          postgresql://postgres:***@127.0.0.1:5432/menu_ops
        api  ready in 3.8 s, up 500 ms
          pid 4242
          http://127.0.0.1:8000
          http://[::1]:8000
        gateway  failed
          http://127.0.0.1:8001
          `gateway` ended again after 5 restarts within 60 s: exit code 101
          see its log
        ");
    }
}
