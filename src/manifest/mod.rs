//! The files as written: `devctl.toml`, Compose files, `.env`. Finds and reads them, and reports every mistake in all
//! of them at once. What is to be brought up in which order is for `stack` to say.

mod check;
pub mod compose;
mod devctl_toml;
mod dotenv;
mod duration;
mod interpolate;
mod node;
mod problem;
mod reader;
mod request;
mod schema;
mod service;
mod size;
mod source;
pub(crate) mod suggest;
mod toml_tree;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

pub use compose::Compose;
pub use dotenv::EnvFile;
pub use problem::{Problem, Problems};
pub use request::Request;
pub use schema::json_schema;
pub use service::{
    DEFAULT_DEBOUNCE, DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE, Dependency, HealthAction, Liveness, MAX_SCALE,
    OnTimeout, Ready, ReadyProbe, Restart, RestartPolicy, Service, Until, Watch,
};
pub use source::{At, Place};

use crate::name::{ProjectName, ServiceName};
use crate::os::{env, files};
use compose::{Found, Loader, Scope};
use devctl_toml::ProjectFile;
use problem::Sink;
use reader::Reader;
use source::{Language, Source, Sources};

/// The name of the manifest's own file.
pub const FILE_NAME: &str = "devctl.toml";

/// What the files say. Whole and well-typed, its names resolved and free of cycles.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The folder of `devctl.toml`, or without one that of the Compose files.
    pub root: PathBuf,
    /// The project's name.
    pub project: ProjectName,
    /// How containers are to be run.
    pub driver: DriverChoice,
    /// The `.env` files of the programs, in their order.
    pub env_files: Vec<EnvFile>,
    /// The Compose files.
    pub compose: Compose,
    /// The host programs.
    pub services: IndexMap<ServiceName, Service>,
    /// What is no mistake and still worth a look: variables of Compose files that are set nowhere, watched paths where
    /// nothing is.
    pub warnings: Vec<Problem>,
    /// The files that all this was read from, those that are missing and would be read included.
    pub files: Vec<PathBuf>,
    /// The Compose profiles that are active without being asked for by name of a service: `--profile` or
    /// `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// The variables that Compose files see: the shell's, `.env`, and the project's name.
    pub environment: BTreeMap<String, String>,
    /// The files of `--env-file`, absolute; none where `.env` is read.
    pub chosen_env_files: Vec<PathBuf>,
}

impl Manifest {
    /// What is left to say of a project whose files cannot be read just now, by what a run wrote down: enough to end it.
    pub fn unread(root: PathBuf, project: ProjectName, driver: DriverChoice) -> Self {
        let (env_files, compose, services) = (Vec::new(), Compose::default(), IndexMap::new());
        Self {
            root,
            project,
            driver,
            env_files,
            compose,
            services,
            warnings: Vec::new(),
            files: Vec::new(),
            profiles: Vec::new(),
            environment: BTreeMap::new(),
            chosen_env_files: Vec::new(),
        }
    }
}

/// `containers.driver`, or `--driver`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverChoice {
    /// Docker where it works, embedded otherwise.
    #[default]
    Auto,
    /// Docker or nothing.
    Docker,
    /// Embedded servers.
    Embedded,
}

/// Finds the folder of a project: `start`, or the nearest above it that has a `devctl.toml` or a Compose file.
pub fn discover(start: &Path) -> Result<PathBuf, Problems> {
    Request::at(start).root(&env::all())
}

/// Finds the project's files in `start` or above and reads them with everything they name. `shell` is the environment
/// devctl was started with.
pub fn load(start: &Path, shell: &BTreeMap<String, String>) -> Result<Manifest, Problems> {
    Request::at(start).load(shell)
}

fn discover_request(request: &Request, shell: &BTreeMap<String, String>) -> Result<PathBuf, Problems> {
    let sink = Sink::default();
    match compose::find(request, shell, &sink, &|_| {}) {
        // A `.env` with a mistake in it does not make the folder another one.
        Some(found) => Ok(found.root),
        None => Err(Problems(sink.into_problems())),
    }
}

fn load_request(request: &Request, shell: &BTreeMap<String, String>) -> Result<Manifest, Problems> {
    let sink = Sink::default();
    let warnings = Sink::default();
    let warn = |problem: Problem| warnings.push(problem);
    let manifest =
        compose::find(request, shell, &sink, &warn).and_then(|found| read_all(request, found, shell, &sink, &warn));
    match manifest {
        Some(manifest) if sink.is_empty() => Ok(Manifest { warnings: warnings.into_told(), ..manifest }),
        Some(_) | None => Err(Problems(sink.into_problems())),
    }
}

fn read_all(
    request: &Request,
    mut found: Found,
    shell: &BTreeMap<String, String>,
    sink: &Sink,
    warn: &dyn Fn(Problem),
) -> Option<Manifest> {
    let root = found.root.clone();
    let sources = Sources::default();
    let mut files = Vec::new();
    let file = if found.has_toml {
        let path = root.join(FILE_NAME);
        let text = read_text(&path, Path::new(FILE_NAME), sink)?;
        files.push(path);
        let source = sources.add(FILE_NAME.into(), text);
        read_devctl_toml(&sources, &source, &root, sink)
    } else {
        ProjectFile::default()
    };
    file.warnings.iter().cloned().for_each(warn);

    let mut compose_files = std::mem::take(&mut found.files);
    if compose_files.is_empty() {
        compose_files = compose::files_of(&file.compose, &root);
    }
    let working_dir = found.working_dir(&compose_files);
    if !compose_files.is_empty() {
        found.vars.add(&working_dir, &|path| shown(&root, path), sink);
    }
    let compose::Variables { mut env, chosen, seen, .. } = found.vars;
    let home = env.get("HOME").cloned();
    let loader = Loader::new(&sources, sink, warn, &root, home.as_deref(), request.standard_input.as_deref());
    let layers: Vec<_> = compose_files.iter().filter_map(|file| loader.read(file)).collect();
    let said = loader.name(&layers, Scope { folder: &working_dir, env: &env });
    let naming =
        Naming { request, env: &env, file: &file, said, working_dir: &working_dir, is_unread: loader.has_unread() };
    let project = naming.name(if found.has_toml { &root } else { &working_dir }, !compose_files.is_empty(), sink);
    if let Some(project) = &project {
        env.insert("COMPOSE_PROJECT_NAME".to_owned(), project.to_string());
    }
    let profiles = compose::profiles(request, &env);
    let mut compose = Compose { working_dir: working_dir.clone(), ..Compose::default() };
    if let Some(mut tree) = loader.model(layers, Scope { folder: &working_dir, env: &env }, &[]) {
        loader.env_files(&mut tree, &env, |service| takes_part(service, &profiles));
        let reader = Reader { sources: &sources, language: Language::Yaml, sink };
        compose = compose::read(reader, &tree, &env, &working_dir, warn);
    }
    compose.files = compose_files.iter().map(|file| file.path.clone()).collect();
    compose.unread |= loader.has_unread();

    let env_files: Vec<EnvFile> = file
        .env_files
        .iter()
        .map(|at| {
            let path = compose_path(&root.join(&at.value));
            compose::of_programs(&path, &shown(&root, &path), shell, sink)
        })
        .collect();
    files.extend(loader.seen());
    files.extend(env_files.iter().map(|file| file.path.clone()));
    files.extend(if compose_files.is_empty() { Vec::new() } else { seen });
    let mut known = std::collections::HashSet::new();
    files.retain(|path| known.insert(path.clone()));
    check::check(&compose, &file.services, &file.declared, sink);
    Some(Manifest {
        root,
        project: project?,
        driver: file.driver,
        env_files,
        compose,
        services: file.services,
        warnings: Vec::new(),
        files,
        profiles,
        environment: env,
        chosen_env_files: chosen,
    })
}

/// Whether a service of a tree is brought up without being named.
fn takes_part(service: &node::Node, active: &[String]) -> bool {
    let own = service.get("profiles").map_or(&[][..], node::Node::items);
    let is_active = |own: &node::Node| own.as_str().is_some_and(|own| active.iter().any(|p| p == own));
    own.is_empty() || active.iter().any(|profile| profile == "*") || own.iter().any(is_active)
}

fn read_devctl_toml(sources: &Sources, source: &Arc<Source>, root: &Path, sink: &Sink) -> ProjectFile {
    let mut problems = Vec::new();
    let tree = toml_tree::parse(source, &mut problems);
    let broken = !problems.is_empty();
    sink.extend(problems);
    // What follows a syntax error is guesswork; complaints about guesses would hide the one that matters.
    let silent = Sink::default();
    let sink = if broken { &silent } else { sink };
    devctl_toml::read(Reader { sources, language: Language::Toml, sink }, root, &tree)
}

/// What a project's name is decided by.
struct Naming<'a> {
    request: &'a Request,
    env: &'a BTreeMap<String, String>,
    file: &'a ProjectFile,
    /// `name` of the Compose files.
    said: Option<(String, Place)>,
    working_dir: &'a Path,
    is_unread: bool,
}

impl Naming<'_> {
    /// The name, by Compose's order: the flag, the variable, the files, the folder.
    fn name(&self, folder: &Path, has_compose: bool, sink: &Sink) -> Option<ProjectName> {
        let flag = self.request.project_name.as_deref().map(|name| (name, "--project-name"));
        let variable = self.env.get("COMPOSE_PROJECT_NAME").filter(|_| has_compose);
        let variable = variable.map(|name| (name.as_str(), "COMPOSE_PROJECT_NAME"));
        if let Some((name, by)) = flag.into_iter().chain(variable).find(|(name, _)| !name.is_empty()) {
            return name
                .parse()
                .map_err(|error: crate::name::NameError| {
                    let help = ProjectName::from_folder(name).map(|right| format!("did you mean `{right}`?"));
                    sink.push(Problem { file: by.into(), at: None, message: error.to_string(), excerpt: None, help });
                })
                .ok();
        }
        // Compose makes a valid name of what a file says.
        let from_compose = self.said.as_ref().and_then(|(said, place)| Some((ProjectName::from_folder(said)?, place)));
        match (&self.file.name, from_compose) {
            (Some(at), Some((other, place))) if at.value != other => {
                let message = format!("the project is named `{}` here and `{other}` in {}", at.value, place.short());
                sink.push(
                    at.place
                        .problem(message)
                        .with_help("use one name, so that devctl and `docker compose` find each other's containers"),
                );
                None
            }
            (Some(at), _) => Some(at.value.clone()),
            (None, Some((name, _))) => Some(name),
            (None, None) => {
                let folder = folder.file_name().unwrap_or_default().to_string_lossy();
                let name = ProjectName::from_folder(&folder);
                if name.is_none() && !self.is_unread && sink.is_empty() {
                    let message = "the project has no name and its folder's name makes none".to_owned();
                    let file = self.working_dir.to_owned();
                    let help = if has_compose {
                        "add `name: …` to the Compose file"
                    } else {
                        "add `name = \"…\"` under `[project]`"
                    };
                    sink.push(Problem { file, at: None, message, excerpt: None, help: Some(help.to_owned()) });
                }
                name
            }
        }
    }
}

fn read_text(path: &Path, shown: &Path, sink: &Sink) -> Option<String> {
    match files::read(path) {
        Ok(text) => Some(text),
        Err(error) => {
            let source = Source::alone(shown.to_owned(), String::new());
            sink.push(source.problem(None, format!("cannot be read: {error}")));
            None
        }
    }
}

fn compose_path(path: &Path) -> PathBuf {
    compose::lexical(path)
}

/// A path as problems show it: relative to the root where it lies below.
fn shown(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests;
