//! What the verbs on containers have in common: which project is meant, which of its containers, and what to say where
//! there is none. A Compose file helps and is not needed: containers are found by their labels.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Context, output};
use crate::advice::Blame;
use crate::control::client::Client;
use crate::driver::docker::{Docker, Pick, ProjectContainer};
use crate::error::Error;
use crate::manifest::{Manifest, suggest};
use crate::name::ProjectName;
use crate::state::StateDir;
use crate::state::lock::Lock;
use crate::state::record::{Record, ServiceRecord};

/// The variable that names the project, as with Compose.
const PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";

/// The project that a verb is about.
pub(super) struct Project {
    /// Its name.
    pub(super) name: ProjectName,
    /// Its files, where they can be read.
    pub(super) manifest: Option<Manifest>,
}

impl Project {
    /// The project that is meant: by its name where that is given, else by the files that are found. Files that have
    /// mistakes are no hindrance where the name is known without them.
    pub(super) fn find(context: &Context) -> Result<Self, Error> {
        let flag = context.request.project_name.as_ref().map(|name| (name, "--project-name"));
        let variable = context.env.get(PROJECT_NAME).map(|name| (name, PROJECT_NAME));
        let named = flag.into_iter().chain(variable).find(|(name, _)| !name.is_empty());
        let loaded = context.request.load(&context.env);
        match (named, loaded) {
            (Some((name, by)), loaded) => {
                let name: ProjectName =
                    name.parse().map_err(|error| Error::new(Blame::Configuration, format!("{by}: {error}")))?;
                Ok(Self { manifest: loaded.ok().filter(|manifest| manifest.project == name), name })
            }
            (None, Ok(manifest)) => Ok(Self { name: manifest.project.clone(), manifest: Some(manifest) }),
            (None, Err(problems)) => match running_here(context) {
                // Whoever edits a file must still be able to reach what runs.
                Some(name) => Ok(Self { name, manifest: None }),
                None => Err(Error::problems(problems)),
            },
        }
    }

    /// The project's folder, where it is known.
    pub(super) fn root(&self) -> Option<PathBuf> {
        self.manifest.as_ref().map(|manifest| manifest.root.clone())
    }

    /// Whether the files have a container of that name. Where there are no files, nobody can say that they do not.
    pub(super) fn declares(&self, service: &str) -> bool {
        let manifest = self.manifest.as_ref();
        manifest.is_none_or(|manifest| manifest.compose.services.keys().any(|name| name.as_str() == service))
    }

    /// The services of the files: programs and containers.
    fn services(&self) -> BTreeSet<String> {
        let Some(manifest) = &self.manifest else { return BTreeSet::new() };
        let containers = manifest.compose.services.keys();
        containers.chain(manifest.services.keys()).map(|service| service.as_str().to_owned()).collect()
    }
}

/// The project of a run that is under way around here.
fn running_here(context: &Context) -> Option<ProjectName> {
    let state = StateDir::around(&context.request.start)?;
    Record::read(&state)?.project.parse().ok()
}

/// A project and the engine its containers are on.
pub(super) struct Here {
    pub(super) project: Project,
    pub(super) engine: Docker,
}

impl Here {
    /// Finds the project and reaches the engine.
    pub(super) async fn find(context: &Context) -> Result<Self, Error> {
        let project = Project::find(context)?;
        let engine = Docker::connect(&context.env).await?;
        Ok(Self { project, engine })
    }

    /// The containers of the project.
    pub(super) async fn containers(&self, pick: &Pick) -> Result<Vec<ProjectContainer>, Error> {
        Ok(self.engine.project_containers(self.project.name.as_str(), pick).await?)
    }

    /// The containers of the services that are asked for; each of these has to be one the project knows.
    pub(super) async fn picked(&self, pick: &Pick) -> Result<Vec<ProjectContainer>, Error> {
        let containers = self.containers(pick).await?;
        for service in &pick.services {
            if !containers.iter().any(|container| container.service == *service) {
                self.check(service).await?;
            }
        }
        Ok(containers)
    }

    /// All containers but one-offs, running or not; each of these services has to be one the project knows.
    pub(super) async fn picked_among(&self, services: &[String]) -> Result<Vec<ProjectContainer>, Error> {
        let containers = self.containers(&Pick::all(&[])).await?;
        for service in services {
            if !containers.iter().any(|container| container.service == *service) {
                self.check(service).await?;
            }
        }
        Ok(containers)
    }

    /// The running container of a service: the one with that number, or the first. One-offs come last.
    pub(super) async fn one(&self, service: &str, index: Option<u32>) -> Result<ProjectContainer, Error> {
        let pick = Pick::running(&[service.to_owned()]).with_oneoffs();
        let found = self.containers(&pick).await?.into_iter().filter(|container| !container.is_temporary());
        let mut found: Vec<ProjectContainer> =
            found.filter(|container| index.is_none_or(|index| container.number == Some(index))).collect();
        if !found.is_empty() {
            return Ok(found.remove(0));
        }
        self.check(service).await?;
        Err(not_running(service, index))
    }

    /// Whether a service is one whose containers may be asked for; says so where it is no container or nothing at all.
    pub(super) async fn check(&self, service: &str) -> Result<(), Error> {
        let manifest = self.project.manifest.as_ref();
        let is = |services: Option<bool>| services.unwrap_or(false);
        let in_compose =
            is(manifest.map(|manifest| manifest.compose.services.keys().any(|name| name.as_str() == service)));
        let record = self.record(service);
        if is(manifest.map(|manifest| manifest.services.keys().any(|name| name.as_str() == service))) {
            return Err(not_a_container(service, record.as_ref(), "a program of this machine"));
        }
        if record.as_ref().is_some_and(|record| record.pid.is_some() && record.container.is_none()) {
            return Err(not_a_container(
                service,
                record.as_ref(),
                "a server without a container (`--driver embedded`)",
            ));
        }
        if in_compose {
            return Ok(());
        }
        let containers = self.containers(&Pick::all(&[]).with_oneoffs()).await?;
        let mut known: BTreeSet<String> = containers.into_iter().map(|container| container.service).collect();
        if known.contains(service) {
            return Ok(());
        }
        known.extend(self.project.services());
        let project = &self.project.name;
        let error =
            Error::new(Blame::Configuration, format!("there is no service `{service}` in the project `{project}`"));
        if known.is_empty() {
            return Err(error.hint("`devctl ls` shows the projects that have containers"));
        }
        Err(match suggest::closest(service, known.iter().map(String::as_str)) {
            Some(close) => error.hint(format!("did you mean `{close}`?")),
            None => error.hint(suggest::choices(known.iter().map(String::as_str))),
        })
    }

    /// What the devctl that runs the project says of a service.
    fn record(&self, service: &str) -> Option<ServiceRecord> {
        let state = StateDir::of(&self.project.root()?);
        Lock::holder(&state).ok().flatten()?;
        Record::read(&state)?.services.get(service).cloned()
    }

    /// The devctl that runs the project, where one does.
    pub(super) async fn supervisor(&self) -> Result<Option<Client>, Error> {
        match self.project.root() {
            Some(root) => supervisor(root).await,
            None => Ok(None),
        }
    }
}

/// Says that a service has no container that runs.
pub(super) fn not_running(service: &str, index: Option<u32>) -> Error {
    let which = index.map(|index| format!(" (container {index} of it)")).unwrap_or_default();
    Error::new(Blame::Service, format!("the service `{service}` is not running{which}"))
        .hint(format!("`devctl up -d {service}` starts it, `devctl ps` shows what runs"))
}

/// Says that a service is there and has no container, and how to reach it all the same.
fn not_a_container(service: &str, record: Option<&ServiceRecord>, what: &str) -> Error {
    let error = Error::new(Blame::Configuration, format!("`{service}` is {what}, not a container"));
    let mut error = match record.and_then(|record| record.pid) {
        Some(pid) => error.note(format!("it runs as pid {pid}, and every command of your shell can reach it")),
        None => error,
    };
    if let Some(address) = record.and_then(|record| record.addresses.first()) {
        error = error.note(format!("it answers on {address}"));
    }
    error.hint(format!("`devctl logs {service}` shows what it prints, `devctl why {service}` how it is"))
}

/// The devctl that runs a project, where one does.
pub(super) async fn supervisor(root: PathBuf) -> Result<Option<Client>, Error> {
    match Client::connect(&root).await {
        Ok((client, _)) => Ok(Some(client)),
        Err(error) if error.is_nobody() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says what was done to a container, on standard error, as its output may be somebody's input.
pub(super) fn tell(context: &Context, did: &str, container: &ProjectContainer) -> Result<(), Error> {
    output::note(&format!("{did} {}\n", container.name), context.color)
}

/// Makes an exit code of what a program ended with, as a shell would see it.
pub(super) fn exit_code(code: i64) -> u8 {
    u8::try_from(code & 0xff).expect("it was cut to a byte")
}

/// A line for each.
pub(super) fn lines<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut lines = String::new();
    for text in texts {
        lines.push_str(text);
        lines.push('\n');
    }
    lines
}
