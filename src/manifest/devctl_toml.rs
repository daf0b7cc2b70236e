//! The reader of `devctl.toml`. Every key it knows is in one of the lists here and in `schema.rs`; a test compares them.

mod checks;
mod needs;
mod service;
mod watch;

use std::path::Path;
use std::str::FromStr;

use indexmap::IndexMap;

use self::service::read_service;
use super::DriverChoice;
use super::node::{Kind, Node};
use super::problem::Problem;
use super::reader::Reader;
use super::service::{HealthAction, OnTimeout, RestartPolicy, Service, Until};
use super::source::{At, Mark};
use crate::driver::process::{Runtime, StopSignal};
use crate::name::{ProjectName, ServiceName};

pub(super) const FILE_KEYS: &[&str] = &["project", "containers", "services"];
pub(super) const PROJECT_KEYS: &[&str] = &["name", "env_file"];
pub(super) const CONTAINERS_KEYS: &[&str] = &["compose", "driver"];
pub(super) const SERVICE_KEYS: &[&str] = &[
    "dir",
    "runtime",
    "command",
    "args",
    "bin",
    "port",
    "listen",
    "scale",
    "port_range",
    "groups",
    "depends_on",
    "ready",
    "health",
    "restart",
    "stop",
    "pty",
    "watch",
    "env",
];
pub(super) const READY_KEYS: &[&str] = &["http", "tcp", "exec", "log", "timeout", "on_timeout"];
pub(super) const HEALTH_KEYS: &[&str] = &["http", "tcp", "exec", "interval", "timeout", "retries", "action"];
pub(super) const NEED_KEYS: &[&str] = &["until", "restart"];
pub(super) const WATCH_KEYS: &[&str] = &["paths", "ignore", "debounce"];
pub(super) const RESTART_KEYS: &[&str] = &["policy", "max", "within"];
pub(super) const STOP_KEYS: &[&str] = &["signal", "grace"];

pub(super) const DRIVERS: &[(&str, DriverChoice)] =
    &[("auto", DriverChoice::Auto), ("docker", DriverChoice::Docker), ("embedded", DriverChoice::Embedded)];
pub(super) const CONDITIONS: &[(&str, Until)] =
    &[("started", Until::Started), ("ready", Until::Ready), ("completed", Until::Completed)];
pub(super) const RESTART_POLICIES: &[(&str, RestartPolicy)] = &[
    ("no", RestartPolicy::No),
    ("never", RestartPolicy::No),
    ("on-failure", RestartPolicy::OnFailure),
    ("always", RestartPolicy::Always),
];
pub(super) const HEALTH_ACTIONS: &[(&str, HealthAction)] =
    &[("restart", HealthAction::Restart), ("warn", HealthAction::Warn)];
pub(super) const ON_TIMEOUTS: &[(&str, OnTimeout)] = &[("warn", OnTimeout::Warn), ("fail", OnTimeout::Fail)];
pub(super) const SIGNALS: &[(&str, StopSignal)] = &[
    ("SIGTERM", StopSignal::Term),
    ("SIGINT", StopSignal::Int),
    ("SIGQUIT", StopSignal::Quit),
    ("SIGHUP", StopSignal::Hup),
];
pub(super) const RUNTIMES: &[(&str, Runtime)] = &[("rust", Runtime::Rust), ("exec", Runtime::Exec)];

/// Runtimes that are planned: their names are right, devctl is not that far.
const RUNTIMES_TO_COME: &[&str] = &["python", "node", "go"];

/// What `devctl.toml` says.
#[derive(Debug, Default)]
pub(super) struct ProjectFile {
    pub(super) name: Option<At<ProjectName>>,
    pub(super) env_files: Vec<At<String>>,
    pub(super) compose: Vec<At<String>>,
    pub(super) driver: DriverChoice,
    pub(super) services: IndexMap<ServiceName, Service>,
    /// The names of all services, even of those whose description is wrong.
    pub(super) declared: Vec<ServiceName>,
    /// What is no mistake and still worth a look.
    pub(super) warnings: Vec<Problem>,
}

/// Reads the file's tree. `root` is the folder it lies in.
pub(super) fn read(reader: Reader<'_>, root: &Path, tree: &Node) -> ProjectFile {
    let mut file = ProjectFile::default();
    let Some(top) = reader.table("devctl.toml", tree, FILE_KEYS, &[]) else { return file };
    if let Some(project) = top.read("project", |r, key, node| r.table(key, node, PROJECT_KEYS, &[])) {
        file.name = project.read("name", name_at);
        file.env_files = project.read("env_file", string_or_list).unwrap_or_default();
    }
    if let Some(containers) = top.read("containers", |r, key, node| r.table(key, node, CONTAINERS_KEYS, &[])) {
        file.compose = containers.read("compose", string_or_list).unwrap_or_default();
        file.driver = containers.read("driver", |r, key, node| r.one_of(key, node, DRIVERS)).unwrap_or_default();
    }
    let services = top.read("services", Reader::entries).unwrap_or_default();
    for entry in services {
        let name = name::<ServiceName>(reader, entry.key_mark, &entry.key);
        let table = reader.table(&entry.key, &entry.value, SERVICE_KEYS, &[]);
        file.declared.extend(name.clone());
        if let (Some(name), Some(table)) = (name, table)
            && let Some(service) = read_service(table, root, &name, entry.key_mark, &mut file.warnings)
        {
            file.services.insert(name, service);
        }
    }
    file
}

fn command(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    let words = reader.command(key, node)?;
    if words.first().is_none_or(String::is_empty) {
        if matches!(&node.kind, Kind::List(items) if !items.is_empty()) && words.is_empty() {
            // Its items were of the wrong type and were reported.
            return None;
        }
        reader.fail(node.mark, format!("`{key}` is empty"));
        return None;
    }
    Some(words)
}

fn string_or_list(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<At<String>>> {
    match &node.kind {
        Kind::Str(_) => reader.string_at(key, node).map(|text| vec![text]),
        Kind::List(_) => reader.strings_at(key, node),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::Map(_) => {
            reader.wrong(key, node, "a string or a list of strings");
            None
        }
    }
}

fn name_at(reader: Reader<'_>, key: &str, node: &Node) -> Option<At<ProjectName>> {
    let text = reader.string(key, node)?;
    Some(At { value: name(reader, node.mark, &text)?, place: reader.place(node.mark) })
}

/// Parses a name and reports one that breaks its rules.
pub(super) fn name<T: FromStr<Err = crate::name::NameError>>(reader: Reader<'_>, mark: Mark, text: &str) -> Option<T> {
    let parsed = text.parse().map_err(|error: crate::name::NameError| reader.fail(mark, error.to_string())).ok();
    if parsed.is_some() && text.contains('#') {
        let help = "replicas have such names by themselves: `scale = 3`";
        reader.fail_with(mark, format!("the name `{text}` may not hold a `#`"), help);
        return None;
    }
    parsed
}
