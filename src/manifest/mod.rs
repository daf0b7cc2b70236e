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
pub use schema::json_schema;
pub use service::{
    DEFAULT_DEBOUNCE, DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE, Dependency, HealthAction, Liveness, MAX_SCALE,
    OnTimeout, Ready, ReadyProbe, Restart, RestartPolicy, Service, Until, Watch,
};
pub use source::{At, Place};

use crate::name::{ProjectName, ServiceName};
use crate::os::{env, files};
use devctl_toml::ProjectFile;
use problem::Sink;
use reader::Reader;
use source::{Language, Source, Sources};

/// The name of the manifest's own file.
pub const FILE_NAME: &str = "devctl.toml";

/// What the files say. Whole and well-typed, its names resolved and free of cycles.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The folder of `devctl.toml`.
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
}

impl Manifest {
    /// What is left to say of a project whose files cannot be read just now, by what a run wrote down: enough to end it.
    pub fn unread(root: PathBuf, project: ProjectName, driver: DriverChoice) -> Self {
        let (env_files, compose, services) = (Vec::new(), Compose::default(), IndexMap::new());
        Self { root, project, driver, env_files, compose, services, warnings: Vec::new(), files: Vec::new() }
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

/// Finds the folder of `devctl.toml`: `start`, or the nearest above it that has one.
pub fn discover(start: &Path) -> Result<PathBuf, Problems> {
    let start = if start.is_absolute() { start.to_owned() } else { env::current_dir().unwrap_or_default().join(start) };
    let start = compose_path(&start);
    if let Some(root) = start.ancestors().find(|folder| files::is_file(&folder.join(FILE_NAME))) {
        return Ok(root.to_owned());
    }
    Err(Problems(vec![Problem {
        message: format!("there is no {FILE_NAME} here or in any folder above"),
        file: start,
        at: None,
        excerpt: None,
        help: Some(format!(
            "change to a folder of the project, or begin one with a file `{FILE_NAME}` that holds\n[project]\nname = \
             \"my-project\""
        )),
    }]))
}

fn compose_path(path: &Path) -> PathBuf {
    compose::lexical(path)
}

/// Finds `devctl.toml` in `start` or above and reads it with everything it names. `shell` is the environment devctl
/// was started with.
pub fn load(start: &Path, shell: &BTreeMap<String, String>) -> Result<Manifest, Problems> {
    let root = discover(start)?;
    let sink = Sink::default();
    let manifest = read_all(&root, shell, &sink);
    match manifest {
        Some(manifest) if sink.is_empty() => Ok(manifest),
        Some(_) | None => Err(Problems(sink.into_problems())),
    }
}

fn read_all(root: &Path, shell: &BTreeMap<String, String>, sink: &Sink) -> Option<Manifest> {
    let path = root.join(FILE_NAME);
    let text = read_text(&path, Path::new(FILE_NAME), sink)?;
    let sources = Sources::default();
    let source = sources.add(FILE_NAME.into(), text);
    let file = read_devctl_toml(&sources, &source, root, sink);

    let compose_paths: Vec<PathBuf> = file.compose.iter().map(|at| compose_path(&root.join(&at.value))).collect();
    let mut warnings = file.warnings.clone();
    let compose = read_compose(&sources, root, &file, &compose_paths, shell, sink, &mut warnings);
    let env_files = file
        .env_files
        .iter()
        .map(|at| {
            let path = compose_path(&root.join(&at.value));
            dotenv::read(&path, &shown(root, &path), sink)
        })
        .collect();
    let named = file.env_files.iter().map(|at| compose_path(&root.join(&at.value)));
    // Compose files are interpolated with the `.env` beside them.
    let beside = compose_paths.first().and_then(|first| first.parent()).map(|folder| folder.join(".env"));
    let mut files: Vec<PathBuf> =
        std::iter::once(path.clone()).chain(compose_paths.iter().cloned()).chain(named).chain(beside).collect();
    files.dedup();
    let project = project_name(root, &file, &compose, &source, sink);
    check::check(&compose, &file.services, &file.declared, sink);
    Some(Manifest {
        root: root.to_owned(),
        project: project?,
        driver: file.driver,
        env_files,
        compose,
        services: file.services,
        warnings,
        files,
    })
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

fn read_compose(
    sources: &Sources,
    root: &Path,
    file: &ProjectFile,
    paths: &[PathBuf],
    shell: &BTreeMap<String, String>,
    sink: &Sink,
    warnings: &mut Vec<Problem>,
) -> Compose {
    // The order in which `docker compose`, run in the project's root, finds the value of a variable.
    let mut dotenv_paths = vec![root.join(".env")];
    if let Some(folder) = paths.first().and_then(|path| path.parent()) {
        let beside = folder.join(".env");
        if !dotenv_paths.contains(&beside) {
            dotenv_paths.push(beside);
        }
    }
    let dotenvs: Vec<EnvFile> = if paths.is_empty() {
        Vec::new()
    } else {
        dotenv_paths.iter().map(|path| dotenv::read(path, &shown(root, path), sink)).collect()
    };
    let lookup = |name: &str| shell.get(name).or_else(|| dotenvs.iter().find_map(|file| file.vars.get(name))).cloned();
    let mut texts = Vec::new();
    for (path, at) in paths.iter().zip(&file.compose) {
        match files::read(path) {
            Ok(text) => texts.push((path.clone(), shown(root, path), text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                sink.push(at.place.problem(format!("there is no file `{}`", at.value)));
            }
            Err(error) => sink.push(at.place.problem(format!("`{}` cannot be read: {error}", at.value))),
        }
    }
    let files = compose::Files { texts, lookup: &lookup, home: shell.get("HOME").map(String::as_str) };
    let unread = files.texts.len() < paths.len();
    let compose = compose::load(files, sources, sink, warnings);
    Compose { unread: compose.unread || unread, ..compose }
}

fn project_name(
    root: &Path,
    file: &ProjectFile,
    compose: &Compose,
    source: &Arc<Source>,
    sink: &Sink,
) -> Option<ProjectName> {
    let from_compose = compose.name.as_ref().and_then(|at| match at.value.parse::<ProjectName>() {
        Ok(name) => Some((name, &at.place)),
        Err(error) => {
            sink.push(at.place.problem(error.to_string()));
            None
        }
    });
    match (&file.name, from_compose) {
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
            let folder = root.file_name().unwrap_or_default().to_string_lossy();
            let name = ProjectName::from_folder(&folder);
            if name.is_none() && compose.name.is_none() && sink.is_empty() {
                let problem = source.problem(None, "the project has no name and its folder's name makes none");
                sink.push(problem.with_help("add `name = \"…\"` under `[project]`"));
            }
            name
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

/// A path as problems show it: relative to the root where it lies below.
fn shown(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests;
