//! Which files a project is made of, which folder is its own, and which variables it has, by the flags, variables and
//! file names of Compose. What the files say is for others.

use std::path::{Path, PathBuf};

use super::super::dotenv::{self, EnvFile, Format, Vars};
use super::super::problem::{Problem, Sink};
use super::super::request::Request;
use super::super::source::{At, Sources};
use super::super::{FILE_NAME, toml_tree};
use super::environment::Env;
use super::load::{File, Named};
use super::mounts::lexical;
use crate::os::{env, files};

/// The names of a Compose file, the first of which counts.
const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The names of a file that is laid on it.
const OVERRIDE_NAMES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// What was found.
#[derive(Debug)]
pub(in crate::manifest) struct Found {
    /// The folder of the project: that of `devctl.toml`, or without one the folder of the Compose files.
    pub(in crate::manifest) root: PathBuf,
    /// Whether there is a `devctl.toml` in it.
    pub(in crate::manifest) has_toml: bool,
    /// The Compose files. With a `devctl.toml` they are those of the flags, and none where it is to say them itself.
    pub(in crate::manifest) files: Vec<File>,
    /// The variables, as far as they are known without knowing the files of `devctl.toml`.
    pub(in crate::manifest) vars: Variables,
    /// `--project-directory`.
    pub(in crate::manifest) project_directory: Option<PathBuf>,
}

impl Found {
    /// The folder that relative paths of Compose files begin at.
    pub(in crate::manifest) fn working_dir(&self, files: &[File]) -> PathBuf {
        self.project_directory.clone().or_else(|| folder_of(files)).unwrap_or_else(|| self.root.clone())
    }
}

/// The variables of a project as they are collected: what was there first counts.
#[derive(Debug)]
pub(in crate::manifest) struct Variables {
    pub(in crate::manifest) env: Env,
    /// The files of `--env-file` or `COMPOSE_ENV_FILES`, absolute; with them `.env` is not read.
    pub(in crate::manifest) chosen: Vec<PathBuf>,
    disabled: bool,
    /// The `.env` files that were read, or would be.
    pub(in crate::manifest) seen: Vec<PathBuf>,
}

impl Variables {
    fn new(request: &Request, start: &Path, shell: &Env, sink: &Sink) -> Self {
        let mut env = shell.clone();
        env.entry("PWD".to_owned()).or_insert_with(|| start.display().to_string());
        let mut chosen: Vec<PathBuf> = request.env_files.iter().map(|file| lexical(&start.join(file))).collect();
        if chosen.is_empty()
            && let Some(files) = env.get("COMPOSE_ENV_FILES")
        {
            chosen = files.split(',').filter(|file| !file.is_empty()).map(|file| lexical(&start.join(file))).collect();
        }
        let mut variables = Self { env, chosen, disabled: false, seen: Vec::new() };
        variables.disabled = variables.flag("COMPOSE_DISABLE_ENV_FILE", sink);
        variables
    }

    fn flag(&self, name: &'static str, sink: &Sink) -> bool {
        match self.env.get(name).map(String::as_str) {
            None | Some("" | "0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some(value) => {
                let message = format!("the variable `{name}` must be true or false, but is `{value}`");
                sink.push(Problem { file: name.into(), at: None, message, excerpt: None, help: None });
                false
            }
        }
    }

    /// Adds what the `.env` of a folder says, or the files that stand in for it.
    pub(in crate::manifest) fn add(&mut self, folder: &Path, shown: &dyn Fn(&Path) -> PathBuf, sink: &Sink) {
        let beside = [folder.join(".env")];
        let named = !self.chosen.is_empty();
        if named && self.seen == self.chosen {
            return;
        }
        let paths: &[PathBuf] = if named { &self.chosen } else { &beside };
        if !named && self.seen.contains(&beside[0]) {
            return;
        }
        let mut vars = Vars::new();
        let problems = Sink::default();
        for path in paths {
            let shown = shown(path);
            if !named && !files::is_file(path) {
                continue;
            }
            match dotenv::read_text(path) {
                Ok(text) => {
                    let lookup = |name: &str| self.env.get(name).cloned();
                    dotenv::parse(&text, &shown, Format::Dotenv, &lookup, &mut vars, &problems);
                }
                Err(error) => {
                    let missing = error.kind() == std::io::ErrorKind::NotFound;
                    let message =
                        if missing { "there is no such file".to_owned() } else { format!("cannot be read: {error}") };
                    let problem = Problem { file: shown, at: None, message, excerpt: None, help: None };
                    problems.push(if named {
                        problem.with_help("`--env-file` or `COMPOSE_ENV_FILES` names it")
                    } else {
                        problem
                    });
                }
            }
        }
        self.seen.extend(paths.iter().cloned());
        // The settings of Compose itself count in any case, even the one that switches the file off.
        for (name, value) in vars.iter().filter(|(name, _)| name.starts_with("COMPOSE_")) {
            self.env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if !named {
            self.disabled = self.flag("COMPOSE_DISABLE_ENV_FILE", sink);
            if self.disabled {
                return;
            }
        }
        sink.extend(problems.into_problems());
        for (name, value) in vars {
            self.env.entry(name).or_insert(value);
        }
    }
}

/// Looks for the project. `None` where there is none, or where what is said of it is wrong; both is told.
pub(in crate::manifest) fn find(request: &Request, shell: &Env, sink: &Sink, warn: &dyn Fn(Problem)) -> Option<Found> {
    let start = if request.start.is_absolute() {
        request.start.clone()
    } else {
        env::current_dir().unwrap_or_default().join(&request.start)
    };
    let start = lexical(&start);
    let project_directory = request.project_directory.as_ref().map(|folder| lexical(&start.join(folder)));
    if let Some(folder) = project_directory.as_ref().filter(|folder| !files::is_dir(folder)) {
        let message = "there is no such folder".to_owned();
        let problem = Problem { file: folder.clone(), at: None, message, excerpt: None, help: None };
        sink.push(problem.with_help("`--project-directory` names it"));
        return None;
    }
    let named = |said: &String| file(&start, said, "`--file`");
    let flags: Vec<File> = request.files.iter().map(named).collect();
    let from = project_directory.clone().unwrap_or_else(|| start.clone());
    let toml = if flags.is_empty() { nearest(&from) } else { around(&start, &flags) };

    let mut vars = Variables::new(request, &start, shell, sink);
    let shown = |path: &Path| path.strip_prefix(&from).unwrap_or(path).to_owned();
    let first = match (&toml, &project_directory) {
        (Some(root), _) => root.clone(),
        (None, Some(folder)) => folder.clone(),
        (None, None) => folder_of(&flags).unwrap_or_else(|| start.clone()),
    };
    vars.add(&first, &shown, sink);
    if let Some(root) = toml {
        return Some(Found { root, has_toml: true, files: flags, vars, project_directory });
    }

    let mut files = flags;
    if files.is_empty()
        && let Some(said) = vars.env.get("COMPOSE_FILE").filter(|said| !said.is_empty())
    {
        let separator = vars.env.get("COMPOSE_PATH_SEPARATOR").filter(|text| !text.is_empty());
        let separator = separator.map_or(if cfg!(windows) { ";" } else { ":" }, String::as_str);
        files = said.split(separator).map(|said| file(&start, said, "`COMPOSE_FILE`")).collect();
    }
    if files.is_empty() {
        files = beside(&from, warn);
    }
    if files.is_empty() {
        let message = format!("there is no {FILE_NAME} and no Compose file here or in any folder above");
        let problem = Problem { file: start, at: None, message, excerpt: None, help: None };
        sink.push(problem.with_help(format!(
            "change to a folder of the project, name a Compose file (`--file`), or begin a project with a file \
             `{FILE_NAME}` that holds\n[project]\nname = \"my-project\""
        )));
        return None;
    }
    let mut found = Found { root: PathBuf::new(), has_toml: false, files, vars, project_directory };
    found.root = found.project_directory.clone().or_else(|| folder_of(&found.files)).unwrap_or(start);
    let root = found.root.clone();
    found.vars.add(&root, &shown, sink);
    Some(found)
}

/// A file that a flag or a variable names.
fn file(start: &Path, said: &str, by: &'static str) -> File {
    let path = if said == "-" { "-".into() } else { lexical(&start.join(said)) };
    File { path, said: said.to_owned(), named: Named::By(by) }
}

/// Files that `devctl.toml` names.
pub(in crate::manifest) fn files_of(said: &[At<String>], root: &Path) -> Vec<File> {
    let file = |at: &At<String>| File {
        path: lexical(&root.join(&at.value)),
        said: at.value.clone(),
        named: Named::Here(at.place.clone()),
    };
    said.iter().map(file).collect()
}

/// The folder of the first file that has one.
fn folder_of(files: &[File]) -> Option<PathBuf> {
    files.iter().find(|file| file.path != Path::new("-"))?.path.parent().map(Path::to_owned)
}

fn compose_file(folder: &Path) -> Option<PathBuf> {
    FILE_NAMES.iter().map(|name| folder.join(name)).find(|path| files::exists(path))
}

/// The nearest folder with a `devctl.toml`, unless Compose files are nearer that it does not know of: then they are a
/// project of their own.
fn nearest(from: &Path) -> Option<PathBuf> {
    let root = from.ancestors().find(|folder| files::is_file(&folder.join(FILE_NAME)))?;
    let nearer = from.ancestors().take_while(|folder| *folder != root).find_map(compose_file);
    match nearer {
        Some(path) if !names(root, &path) => None,
        Some(_) | None => Some(root.to_owned()),
    }
}

/// The nearest folder above with a `devctl.toml`, where the files that flags name lie below it.
fn around(start: &Path, flags: &[File]) -> Option<PathBuf> {
    let root = start.ancestors().find(|folder| files::is_file(&folder.join(FILE_NAME)))?;
    let is_below = flags.iter().all(|file| file.path == Path::new("-") || file.path.starts_with(root));
    is_below.then(|| root.to_owned())
}

/// Whether the `devctl.toml` of a folder names this Compose file.
fn names(root: &Path, file: &Path) -> bool {
    let Ok(text) = files::read(&root.join(FILE_NAME)) else { return false };
    let source = Sources::default().add(FILE_NAME.into(), text);
    let tree = toml_tree::parse(&source, &mut Vec::new());
    let Some(compose) = tree.get("containers").and_then(|containers| containers.get("compose")) else { return false };
    let is_it = |said: Option<&str>| said.is_some_and(|said| lexical(&root.join(said)) == file);
    is_it(compose.as_str()) || compose.items().iter().any(|item| is_it(item.as_str()))
}

/// The Compose file of the nearest folder that has one, and the one to be laid on it.
fn beside(from: &Path, warn: &dyn Fn(Problem)) -> Vec<File> {
    let Some(folder) = from.ancestors().find(|folder| compose_file(folder).is_some()) else { return Vec::new() };
    let pick = |names: [&str; 4], kind: &str| {
        let there: Vec<&str> = names.into_iter().filter(|name| files::exists(&folder.join(name))).collect();
        let first = there.first()?;
        if there.len() > 1 {
            let others = there[1..].iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let message = format!("the {kind} is `{first}`; {others} beside it is not read");
            warn(Problem { file: folder.join(first), at: None, message, excerpt: None, help: None });
        }
        Some(File { path: folder.join(first), said: (*first).to_owned(), named: Named::By("the folder") })
    };
    pick(FILE_NAMES, "Compose file").into_iter().chain(pick(OVERRIDE_NAMES, "override file")).collect()
}

/// The profiles that are active: those of the flags, or of the variable.
pub(in crate::manifest) fn profiles(request: &Request, env: &Env) -> Vec<String> {
    if !request.profiles.is_empty() {
        return request.profiles.clone();
    }
    let said = env.get("COMPOSE_PROFILES").map_or("", String::as_str);
    said.split(',').map(str::trim).filter(|profile| !profile.is_empty()).map(str::to_owned).collect()
}

/// What a `.env` file of `devctl.toml` holds, for the programs.
pub(in crate::manifest) fn of_programs(path: &Path, shown: &Path, shell: &Env, sink: &Sink) -> EnvFile {
    dotenv::read(path, shown, &|name| shell.get(name).cloned(), sink)
}
