//! The containers of the last run, where the engine they are on cannot be looked at: never said to be gone, since nobody
//! knows.

use std::collections::HashSet;

use crate::advice::Blame;
use crate::driver::docker::{self, Docker};
use crate::driver::process::{Leader, Lost};
use crate::error::Error;
use crate::manifest::{DriverChoice, Manifest};
use crate::os::process::Identity;
use crate::state::StateDir;
use crate::state::last_run::{End, LastRun};
use crate::state::record::{Record, StopBy};

/// Whether a run had containers, or was about to.
pub(super) fn used_docker(record: &Record) -> bool {
    record.driver == "docker"
}

/// Whether there may be containers of this project, although no engine answers.
pub(super) fn may_have_containers(manifest: &Manifest, record: Option<&Record>) -> bool {
    manifest.driver == DriverChoice::Docker || record.is_some_and(used_docker)
}

/// The names of a run's containers.
pub(super) fn containers(record: &Record) -> impl Iterator<Item = &str> {
    record.services.values().filter_map(|service| service.container.as_deref())
}

/// Keeps how a run was that died without a word, unless its guardian has done so.
pub(super) fn remember(state: &StateDir, record: &Record) {
    if LastRun::read(state).is_none_or(|last| last.record.run != record.run) {
        // `why` knows less of it where it cannot be written.
        let _ = LastRun::of_dead(record.clone()).write(state);
    }
}

/// How a run ended that left a record behind, in words that follow "the last run".
pub(super) fn how_it_ended(state: &StateDir, record: &Record) -> &'static str {
    let known = LastRun::read(state).filter(|last| last.record.run == record.run).map(|last| last.end);
    let unknown = if record.is_of_this_boot() { End::Killed } else { End::PowerOff };
    match known.unwrap_or(unknown) {
        End::Done | End::Interrupted | End::Failed => "could not take everything down",
        End::PowerOff => "was up when the machine went down",
        End::Killed => "was killed",
    }
}

/// The names of the containers that a run made, started or took over: what ran before it is not among them.
pub(super) fn started_containers(record: &Record) -> Vec<String> {
    record.services.values().filter(|service| service.ours).filter_map(|service| service.container.clone()).collect()
}

/// The processes of a run that died, as far as it wrote them down. Nobody where the machine was started anew since.
pub(super) fn lost(record: &Record) -> Lost {
    let leader = |(service, id, stop): (&str, Identity, StopBy)| Leader {
        id,
        service: service.to_owned(),
        signal: stop.signal,
        leader_only: stop.leader_only,
    };
    // A cookie is of this start of the machine by itself: it is in a living process.
    Lost { runs: record.runs(), leaders: record.leaders().map(leader).collect() }
}

/// Says which containers may still run although the engine is away. `command`: what to type once it is back.
pub(super) fn engine_away(away: &docker::Error, manifest: &Manifest, record: Option<&Record>, command: &str) -> Error {
    let message = away.to_string();
    let names: Vec<&str> = record.into_iter().flat_map(containers).collect();
    let may_run = if names.is_empty() {
        format!("containers of the project `{}` may still run", manifest.project)
    } else {
        format!("these containers may still run: {}", names.join(", "))
    };
    let mut error = Error::new(Blame::Environment, message.clone()).note(may_run);
    let engine = record.and_then(|record| record.engine.as_deref());
    // An address that the message shows is known to lead nowhere.
    if let Some(engine) = engine.filter(|engine| !message.contains(engine.trim_start_matches("unix://"))) {
        error = error.hint(format!("the last run used another engine: `DOCKER_HOST={engine} {command}`"));
    }
    for hint in away.how_to_reach() {
        error = error.hint(hint);
    }
    error.hint(format!("then again: `{command}`"))
}

/// Says which containers of the last run were not found, because they are on another engine than the one that answers.
/// Addresses may differ and lead to the same engine, so that what was found is what counts.
pub(super) fn on_another_engine(
    record: &Record,
    engine: &Docker,
    found: &HashSet<&str>,
    command: &str,
) -> Result<(), Error> {
    let Some(theirs) = record.engine.as_deref().filter(|theirs| *theirs != engine.host()) else { return Ok(()) };
    let missing: Vec<&str> = containers(record).filter(|name| !found.contains(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("the last run used another Docker Engine: `{theirs}`, and this is `{}`", engine.host());
    Err(Error::new(Blame::Environment, message)
        .note(format!("these containers may still run there: {}", missing.join(", ")))
        .hint(format!("`DOCKER_HOST={theirs} {command}`")))
}
