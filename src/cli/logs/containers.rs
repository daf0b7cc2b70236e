//! Containers of the project whose lines no devctl takes: started by `docker compose`, or left when a run ended. The
//! Docker Engine keeps what they printed.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::Context;
use crate::driver::docker::{Docker, LogRange};
use crate::logs::Secrets;
use crate::logs::read::{self, Query, Remote};
use crate::manifest::Manifest;
use crate::name::ServiceName;
use crate::stack::{self, Infra, Selection};
use crate::state::StateDir;
use crate::state::lock::Lock;
use crate::state::record::Record;

/// How long an engine may take to answer. The files can be shown without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found on the engine.
#[derive(Default)]
pub(super) struct Found {
    engine: Option<Docker>,
    /// Services, and the ids of their containers.
    containers: Vec<(ServiceName, String)>,
    services: Vec<ServiceName>,
    secrets: Secrets,
    /// Why the engine could not be asked.
    away: Option<String>,
}

/// Looks for containers of the services that are asked for. A service that a running devctl takes care of is read from
/// its file alone. A manifest that cannot be read is no reason not to show what is in the files.
pub(super) async fn find(state: &StateDir, query: &Query, known: &[ServiceName], context: &Context) -> Found {
    if query.previous {
        // The engine keeps no marks of starts.
        return Found::default();
    }
    let Ok(manifest) = context.request.load(&context.env) else { return Found::default() };
    let mut wanted: BTreeSet<ServiceName> = manifest.compose.services.keys().cloned().collect();
    wanted.retain(|service| query.services.is_empty() || query.services.contains(service));
    if matches!(Lock::holder(state), Ok(Some(_))) {
        let record = Record::read(state);
        wanted.retain(|service| {
            let is_cared_for = record.as_ref().is_none_or(|record| record.services.contains_key(service.as_str()));
            !is_cared_for && !known.contains(service)
        });
    }
    if wanted.is_empty() {
        return Found::default();
    }
    let look = async {
        let engine = Docker::connect(&context.env).await?;
        let containers = engine.list_project(&manifest.project).await?;
        Ok::<_, crate::driver::docker::Error>((engine, containers))
    };
    let away = |away: String| Found { away: Some(away), ..Found::default() };
    let (engine, listed) = match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return away(error.to_string()),
        Err(_) => return away(format!("the Docker Engine did not answer within {} s", PATIENCE.as_secs())),
    };
    let mut containers = Vec::new();
    for container in listed {
        let service = container.service.parse::<ServiceName>();
        containers
            .extend(service.ok().filter(|service| wanted.contains(service)).map(|service| (service, container.id)));
    }
    let services: BTreeSet<ServiceName> = containers.iter().map(|(service, _)| service.clone()).collect();
    Found {
        engine: Some(engine),
        containers,
        services: services.into_iter().collect(),
        secrets: secrets(&manifest, context),
        away: None,
    }
}

/// The secrets of the whole stack. They were taken out of the files already.
fn secrets(manifest: &Manifest, context: &Context) -> Secrets {
    let stack = stack::resolve(manifest, &Selection::default(), Infra::Docker, &context.env);
    Secrets::new(stack.map(|stack| stack.secrets()).unwrap_or_default())
}

impl Found {
    /// The services that have containers to read.
    pub(super) fn services(&self) -> &[ServiceName] {
        &self.services
    }

    /// Why the engine could not be asked, where it could not.
    pub(super) fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Begins to read them: what is newer than what the files have.
    pub(super) fn read(self, folder: &Path, query: &Query) -> io::Result<Vec<Remote>> {
        let Some(engine) = self.engine else { return Ok(Vec::new()) };
        let secrets = Arc::new(self.secrets);
        let mut remotes = Vec::new();
        for (service, id) in self.containers {
            let in_files = read::last_stamp(folder, &service)?;
            let range = LogRange {
                since: query.since.max(in_files),
                until: query.until,
                tail: query.tail.filter(|_| query.filter.is_open()),
                follow: query.follow,
            };
            remotes.push(engine.log(&id, service, range, Arc::clone(&secrets)));
        }
        Ok(remotes)
    }
}
