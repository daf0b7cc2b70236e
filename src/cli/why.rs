//! `devctl why`: gathers what is known of a service, from the devctl that runs it or from what a run left behind, and
//! prints what `report::why` makes of it.

use std::path::Path;

use clap::ValueEnum;
use indexmap::IndexMap;

use super::{Context, output};
use crate::advice::Blame;
use crate::control::client::Client;
use crate::control::wire::Phase;
use crate::error::Error;
use crate::event::Failure;
use crate::logs::read;
use crate::manifest::{Manifest, suggest};
use crate::name::{NodeId, ServiceName};
use crate::os::{clock, ports};
use crate::report::why::{self, Case, Found, Run};
use crate::stack::{self, Infra, Selection};
use crate::state::StateDir;
use crate::state::guardian_log::Deed;
use crate::state::last_run::{End, LastRun};
use crate::state::lock::Lock;
use crate::state::record::{Record, ServiceRecord};

/// How many of the last lines of a log are looked at.
const LINES: usize = 200;

/// Say why a service does not run, is not ready, or was restarted
///
/// Tells what it waits for, what its last probe and its last exit said, what is likely wrong, the lines that say so, and
/// what to type. Works while the stack runs and after.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl why api
  devctl why api --format json | jq '.causes[0].kind'")]
pub(super) struct Args {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,

    /// How to say it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// How `devctl why` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// A JSON object
    Json,
}

/// What `devctl why` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The service.
    pub(super) service: ServiceName,
    /// `--format`.
    pub(super) format: Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { service, format } = self;
        Settings { service, format }
    }
}

/// Explains a service.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { service, format } = settings;
    let manifest = context.manifest()?;
    let state = StateDir::of(&manifest.root);
    let last = LastRun::read(&state);
    let Told { run, services, failures, driver } = told(&state, last.as_ref()).await?;
    check(&service, &manifest, &services)?;
    let known = in_files(&service, &manifest, &driver, &context);
    let earlier = last.filter(|_| matches!(run, Run::Up { .. }));
    let earlier_ready_ms = earlier.and_then(|last| last.record.services.get(service.as_str())?.ready_ms);
    let found = look(&service, &services, &run, &known, &state.logs());
    let explanation = why::explain(&Case {
        service: service.to_string(),
        now: clock::timestamp(),
        run,
        services,
        failures,
        found,
        needs: known.needs,
        checked: known.checked,
        earlier_ready_ms,
        deed: Deed::read(&state).map(|deed| deed.to_string()),
    });
    let text = match format {
        Format::Text => why::text(&explanation),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&explanation)
                .map_err(|error| Error::new(Blame::Bug, format!("the explanation cannot be written: {error}")))?;
            text.push('\n');
            text
        }
    };
    output::print(&text, context.color)?;
    Ok(0)
}

/// What is told of the run that goes on, or of the last one.
struct Told {
    run: Run,
    services: IndexMap<String, ServiceRecord>,
    failures: IndexMap<String, Failure>,
    driver: String,
}

async fn told(state: &StateDir, last: Option<&LastRun>) -> Result<Told, Error> {
    let record = Record::read(state);
    if let Ok((_, status)) = Client::connect(state.root()).await {
        let run = Run::Up { stopping: status.phase == Phase::Stopping };
        let Record { run: id, services, driver, .. } = status.into_record();
        // What the status does not tell is in the record of the same run.
        let failures = record.filter(|record| record.run == id).map(|record| record.failures);
        return Ok(Told { run, services, failures: failures.unwrap_or_default(), driver });
    }
    let holder = Lock::holder(state).map_err(|error| Error::io("cannot look at the project's lock", error))?;
    let of =
        |run, record: Record| Told { run, services: record.services, failures: record.failures, driver: record.driver };
    Ok(match (record, last) {
        // It does not answer, and keeps its record up to date all the same.
        (Some(record), _) if holder.is_some_and(|holder| !holder.guardian && holder.run == record.run) => {
            of(Run::Up { stopping: false }, record)
        }
        (Some(record), last) if last.is_none_or(|last| last.record.run != record.run) => {
            let end = if record.is_of_this_boot() { End::Killed } else { End::PowerOff };
            of(Run::Over { end, ended: None }, record)
        }
        (_, Some(last)) => of(Run::Over { end: last.end, ended: Some(last.ended.clone()) }, last.record.clone()),
        (Some(_) | None, None) => {
            Told { run: Run::None, services: IndexMap::new(), failures: IndexMap::new(), driver: String::new() }
        }
    })
}

/// Fails where neither the project's files nor the run know the service.
fn check(service: &ServiceName, manifest: &Manifest, services: &IndexMap<String, ServiceRecord>) -> Result<(), Error> {
    let mut names: Vec<&str> =
        manifest.compose.services.keys().chain(manifest.services.keys()).map(ServiceName::as_str).collect();
    for name in services.keys() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    if names.contains(&service.as_str()) {
        return Ok(());
    }
    let error = Error::new(Blame::Configuration, format!("there is no service `{service}`"));
    Err(match suggest::closest(service.as_str(), names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(suggest::choices(names)),
    })
}

/// What the project's files say of a service.
#[derive(Default)]
struct InFiles {
    needs: Vec<String>,
    ports: Vec<u16>,
    checked: bool,
}

/// What cannot be resolved is told by `devctl up` and `devctl config`; here it is merely not known.
fn in_files(service: &ServiceName, manifest: &Manifest, driver: &str, context: &Context) -> InFiles {
    let infra = if driver == "embedded" { Infra::Embedded } else { Infra::Docker };
    let profiles = manifest.compose.services.get(&service.base()).map(|container| container.profiles.clone());
    let selection =
        Selection { services: vec![service.base()], profiles: profiles.unwrap_or_default(), ..Selection::default() };
    let Ok(stack) = stack::resolve(manifest, &selection, infra, &context.env) else { return InFiles::default() };
    let Some(node) = stack.node(&NodeId::Service(service.clone())) else { return InFiles::default() };
    let needs = node.needs.iter().filter(|need| matches!(need.on, NodeId::Service(_)));
    InFiles {
        needs: needs.map(|need| need.on.to_string()).collect(),
        ports: node.ports.iter().map(|claim| claim.port).collect(),
        checked: node.health.is_some(),
    }
}

/// Looks at logs and ports of a service, and of all that it may be explained by.
fn look(
    service: &ServiceName,
    services: &IndexMap<String, ServiceRecord>,
    run: &Run,
    known: &InFiles,
    logs: &Path,
) -> IndexMap<String, Found> {
    let mut names = why::concerned(services, service.as_str());
    if matches!(run, Run::Over { .. }) {
        let failed = services.iter().filter(|(name, record)| record.phase == "failed" && !names.contains(name));
        let failed: Vec<String> = failed.map(|(name, _)| name.clone()).collect();
        names.extend(failed);
    }
    let look = |name: String| {
        let record = services.get(&name);
        // A log that cannot be read is one less thing to go by.
        let life = |previous| {
            let name: ServiceName = name.parse().ok()?;
            read::life(logs, &name, previous, LINES).ok()
        };
        let is_well = record.is_some_and(|record| matches!(record.phase.as_str(), "ready" | "done" | "waiting"));
        let wanted = record.map_or(known.ports.as_slice(), |record| record.ports.as_slice());
        let ports = wanted.iter().filter(|_| !is_well).map(|port| (*port, ports::owners(*port))).collect();
        let restarted = record.is_some_and(|record| record.restarts > 0);
        let before = restarted.then(|| life(true)).flatten().unwrap_or_default();
        // Without a record the log is one of an earlier run, and explains nothing.
        let life = record.and_then(|_| life(false)).unwrap_or_default();
        (name, Found { life, before, ports })
    };
    names.into_iter().map(look).collect()
}
