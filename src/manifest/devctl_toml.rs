//! The reader of `devctl.toml`. Every key it knows is in one of the lists here and in `schema.rs`; a test compares them.

use std::path::Path;
use std::str::FromStr;

use indexmap::IndexMap;

use super::node::{Kind, Node};
use super::reader::{Reader, Table};
use super::service::{
    DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE, Dependency, OnTimeout, Ready, ReadyProbe, Restart, RestartPolicy,
    Service, Until,
};
use super::source::{At, Mark};
use super::{DriverChoice, suggest};
use crate::driver::process::{Runtime, StopSignal};
use crate::name::{ProjectName, ServiceName};
use crate::os::files;

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
    "groups",
    "depends_on",
    "ready",
    "restart",
    "stop",
    "watch",
    "env",
];
pub(super) const READY_KEYS: &[&str] = &["http", "tcp", "exec", "log", "timeout", "on_timeout"];
pub(super) const RESTART_KEYS: &[&str] = &["policy", "max", "within"];
pub(super) const STOP_KEYS: &[&str] = &["signal", "grace"];

pub(super) const DRIVERS: &[(&str, DriverChoice)] =
    &[("auto", DriverChoice::Auto), ("docker", DriverChoice::Docker), ("embedded", DriverChoice::Embedded)];
pub(super) const CONDITIONS: &[(&str, Until)] =
    &[("started", Until::Started), ("ready", Until::Ready), ("completed", Until::Completed)];
pub(super) const RESTART_POLICIES: &[(&str, RestartPolicy)] =
    &[("no", RestartPolicy::No), ("on-failure", RestartPolicy::OnFailure), ("always", RestartPolicy::Always)];
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
            && let Some(service) = read_service(table, root, &name, entry.key_mark)
        {
            file.services.insert(name, service);
        }
    }
    file
}

fn read_service(table: Table<'_, '_>, root: &Path, name: &ServiceName, mark: Mark) -> Option<Service> {
    let reader = table.reader();
    let dir = match table.read("dir", Reader::string_at) {
        Some(dir) => {
            let path = root.join(&dir.value);
            if !files::is_dir(&path) {
                reader.sink.push(dir.place.problem(format!("there is no folder `{}`", dir.value)));
            }
            path
        }
        None => root.to_owned(),
    };
    let command = table.read("command", command);
    let runtime = read_runtime(table, name, mark);
    if let (Some(Runtime::Exec), None, None) = (runtime, &command, table.get("command")) {
        reader.fail_with(
            mark,
            format!("the service `{name}` has the runtime `exec` and no `command`"),
            "say what to run: `command = \"./server --port 8000\"`",
        );
    }
    if let Some(Runtime::Rust) = runtime
        && let Some(entry) = table.entry("command")
    {
        reader.fail_with(
            entry.key_mark,
            "`command` is for the runtime `exec`; `rust` runs what it builds",
            "use `args` for its arguments, `bin` to choose among binaries, or `runtime = \"exec\"`",
        );
    }
    if let Some(Runtime::Exec) = runtime
        && let Some(entry) = table.entry("bin")
    {
        reader.fail(entry.key_mark, "`bin` is for the runtime `rust`");
    }
    let port = table.read("port", Reader::port);
    let stop = table.read("stop", |r, key, node| r.table(key, node, STOP_KEYS, &[]));
    Some(Service {
        name: name.clone(),
        place: reader.place(mark),
        dir,
        runtime: runtime?,
        command,
        args: table.read("args", Reader::strings).unwrap_or_default(),
        bin: table.read("bin", Reader::string),
        port,
        groups: table.read("groups", Reader::strings).unwrap_or_default(),
        depends_on: table.read("depends_on", depends_on).unwrap_or_default(),
        ready: table.read("ready", |r, key, node| read_ready(r, key, node, table.get("port").is_some(), port)),
        restart: table.read("restart", read_restart).unwrap_or_default(),
        stop_signal: stop
            .and_then(|stop| stop.read("signal", |r, key, node| r.one_of(key, node, SIGNALS)))
            .unwrap_or_default(),
        stop_grace: stop.and_then(|stop| stop.read("grace", Reader::duration)).unwrap_or(DEFAULT_STOP_GRACE),
        watch: table.read("watch", Reader::strings).unwrap_or_default(),
        env: table.read("env", env).unwrap_or_default(),
    })
}

fn read_runtime(table: Table<'_, '_>, name: &ServiceName, mark: Mark) -> Option<Runtime> {
    let reader = table.reader();
    let Some(node) = table.get("runtime") else {
        if table.get("command").is_some() {
            return Some(Runtime::Exec);
        }
        if table.misspelt("runtime", SERVICE_KEYS) || table.misspelt("command", SERVICE_KEYS) {
            return None;
        }
        let choices = suggest::listed(RUNTIMES.iter().map(|(word, _)| *word));
        reader.fail_with(
            mark,
            format!("the service `{name}` has no `runtime`"),
            format!("say how to run it: one of {choices}, or a `command`"),
        );
        return None;
    };
    let text = reader.string("runtime", node)?;
    if RUNTIMES_TO_COME.contains(&text.as_str()) {
        reader.fail_with(
            node.mark,
            format!("the runtime `{text}` comes in a later version of devctl"),
            "use `runtime = \"exec\"` with a `command` until then",
        );
        return None;
    }
    reader.one_of("runtime", node, RUNTIMES)
}

fn read_restart(reader: Reader<'_>, key: &str, node: &Node) -> Option<Restart> {
    let table = reader.table(key, node, RESTART_KEYS, &[])?;
    let default = Restart::default();
    Some(Restart {
        policy: table.read("policy", |r, key, node| r.one_of(key, node, RESTART_POLICIES)).unwrap_or(default.policy),
        max: table.read("max", |r, key, node| r.integer(key, node, "a whole number from 0")).unwrap_or(default.max),
        within: table.read("within", Reader::duration).unwrap_or(default.within),
    })
}

/// `declared` tells that the service has a `port`, even one that is wrong and was reported.
fn read_ready(reader: Reader<'_>, key: &str, node: &Node, declared: bool, port: Option<u16>) -> Option<Ready> {
    let table = reader.table(key, node, READY_KEYS, &[])?;
    let timeout = table.read("timeout", Reader::duration).unwrap_or(DEFAULT_READY_TIMEOUT);
    let on_timeout = table.read("on_timeout", |r, key, node| r.one_of(key, node, ON_TIMEOUTS)).unwrap_or_default();
    let kinds: Vec<_> = ["http", "tcp", "exec", "log"].into_iter().filter_map(|kind| table.entry(kind)).collect();
    if let [first, second, ..] = kinds.as_slice() {
        reader.fail_with(
            second.key_mark,
            format!("`ready` has both `{}` and `{}`", first.key, second.key),
            "a service has one readiness check; keep the one that says most",
        );
        return None;
    }
    let port_of = |what: &str, mark: Mark| {
        if !declared {
            reader.fail_with(mark, format!("`{what}` needs to know the port"), "give the service a `port = 8000`");
        }
        port
    };
    let Some(entry) = kinds.first() else {
        if !declared {
            reader.fail_with(
                table.mark,
                "`ready` says how long to wait and not for what",
                "add `http = \"/path\"`, `tcp = true`, `exec = \"command\"`, `log = \"regex\"`, or give the service a `port`",
            );
        }
        return Some(Ready { probe: ReadyProbe::Tcp { port: port? }, timeout, on_timeout });
    };
    let value = &entry.value;
    let probe = match entry.key.as_str() {
        "http" => {
            let path = reader.string("http", value)?;
            if !path.starts_with('/') || path.contains(char::is_whitespace) {
                reader.fail(value.mark, format!("`http` must be a path that begins with `/`, but is `{path}`"));
                return None;
            }
            ReadyProbe::Http { port: port_of("http", entry.key_mark)?, path }
        }
        "tcp" => match &value.kind {
            Kind::Bool(true) => ReadyProbe::Tcp { port: port_of("tcp = true", entry.key_mark)? },
            Kind::Int(_) => ReadyProbe::Tcp { port: reader.port("tcp", value)? },
            Kind::Null
            | Kind::Bool(false)
            | Kind::Float(_)
            | Kind::Str(_)
            | Kind::Datetime
            | Kind::List(_)
            | Kind::Map(_) => {
                reader.wrong("tcp", value, "a port or `true`");
                return None;
            }
        },
        "exec" => ReadyProbe::Exec { argv: command(reader, "exec", value)? },
        _ => {
            let pattern = reader.string("log", value)?;
            if let Err(error) = regex::Regex::new(&pattern) {
                // The crate draws the expression over several lines; its last line is the reason.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                reader.fail(value.mark, format!("`log` is no valid regular expression: {reason}"));
                return None;
            }
            ReadyProbe::Log { pattern }
        }
    };
    Some(Ready { probe, timeout, on_timeout })
}

fn depends_on(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<Dependency>> {
    let mut needs = Vec::new();
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(on) = reader.string(key, item).and_then(|text| name(reader, item.mark, &text)) else { continue };
            needs.push(Dependency { on, until: Until::Ready, place: reader.place(item.mark) });
        }
        return Some(needs);
    }
    let Kind::Map(entries) = &node.kind else {
        reader.wrong(key, node, "a list of services, or a table such as `{ db = \"ready\" }`");
        return None;
    };
    for entry in entries {
        let until = reader.one_of(&entry.key, &entry.value, CONDITIONS);
        let on = name(reader, entry.key_mark, &entry.key);
        if let (Some(on), Some(until)) = (on, until) {
            needs.push(Dependency { on, until, place: reader.place(entry.key_mark) });
        }
    }
    Some(needs)
}

fn env(reader: Reader<'_>, key: &str, node: &Node) -> Option<IndexMap<String, String>> {
    let mut vars = IndexMap::new();
    for entry in reader.entries(key, node)? {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            reader.fail(entry.key_mark, format!("`{}` is no name of a variable", entry.key));
            continue;
        }
        match &entry.value.kind {
            Kind::Str(_) | Kind::Int(_) | Kind::Bool(_) => {
                vars.insert(entry.key.clone(), entry.value.scalar_text().unwrap_or_default());
            }
            Kind::Null | Kind::Float(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => {
                reader.wrong(&entry.key, &entry.value, "a string, an integer or a boolean");
            }
        }
    }
    Some(vars)
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
    text.parse().map_err(|error: crate::name::NameError| reader.fail(mark, error.to_string())).ok()
}
