//! The containers of the last run, where the engine they are on cannot be looked at: never said to be gone, since nobody
//! knows.

use std::collections::HashSet;

use crate::advice::Blame;
use crate::driver::docker::{self, Docker};
use crate::error::Error;
use crate::manifest::{DriverChoice, Manifest};
use crate::state::record::Record;

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
