//! The reader of `devctl.toml`. Every key it knows is in one of the lists here and in `schema.rs`; a test compares them.

use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use indexmap::IndexMap;

use super::node::{Entry, Kind, Node};
use super::problem::Problem;
use super::reader::{Reader, Table};
use super::service::{
    DEFAULT_DEBOUNCE, DEFAULT_READY_TIMEOUT, DEFAULT_STOP_GRACE, Dependency, HealthAction, Liveness, MAX_SCALE,
    OnTimeout, Ready, ReadyProbe, Restart, RestartPolicy, Service, Until, Watch,
};
use super::source::{At, Mark};
use super::{DriverChoice, compose_path, suggest};
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

fn read_service(
    table: Table<'_, '_>,
    root: &Path,
    name: &ServiceName,
    mark: Mark,
    warnings: &mut Vec<Problem>,
) -> Option<Service> {
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
    let own = OwnPort { declared: table.get("port").is_some(), port };
    let listen = table.read("listen", Reader::boolean).unwrap_or_default();
    if let (true, false, Some(entry)) = (listen, own.declared, table.entry("listen")) {
        own.or_fail(reader, "listen = true", entry.key_mark);
    }
    let port_range = table.read("port_range", read_port_range);
    if let (false, Some(entry)) = (own.declared, table.entry("port_range")) {
        own.or_fail(reader, "port_range", entry.key_mark);
    }
    let stop = table.read("stop", |r, key, node| r.table(key, node, STOP_KEYS, &[]));
    let ready = table.read("ready", |r, key, node| read_ready(r, key, node, own));
    let health = table.read("health", |r, key, node| read_health(r, key, node, own, Asked::of(table, ready.as_ref())));
    let watch = table.read("watch", |r, key, node| read_watch(r, key, node, &dir, warnings));
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
        ready,
        health,
        restart: table.read("restart", read_restart).unwrap_or_default(),
        stop_signal: stop
            .and_then(|stop| stop.read("signal", |r, key, node| r.one_of(key, node, SIGNALS)))
            .unwrap_or_default(),
        stop_grace: stop.and_then(|stop| stop.read("grace", Reader::duration)).unwrap_or(DEFAULT_STOP_GRACE),
        listen,
        scale: table.read("scale", read_scale).unwrap_or(1),
        port_range,
        pty: table.read("pty", Reader::boolean).unwrap_or_default(),
        watch: watch.map(|watch| Watch { build: runtime == Some(Runtime::Rust), ..watch }),
        env: table.read("env", env).unwrap_or_default(),
    })
}

fn read_scale(reader: Reader<'_>, key: &str, node: &Node) -> Option<u32> {
    let expected = format!("a whole number from 1 to {MAX_SCALE}");
    let scale: u32 = reader.integer(key, node, &expected)?;
    if !(1..=MAX_SCALE).contains(&scale) {
        reader.fail(node.mark, format!("`{key}` must be {expected}, but is {scale}"));
        return None;
    }
    Some(scale)
}

/// Ports from one to another: `8100-8199`.
fn read_port_range(reader: Reader<'_>, key: &str, node: &Node) -> Option<RangeInclusive<u16>> {
    const EXPECTED: &str = "two ports such as \"8100-8199\"";
    let Kind::Str(text) = &node.kind else {
        reader.wrong(key, node, EXPECTED);
        return None;
    };
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let range = text.split_once('-').and_then(|(first, last)| Some(port(first)?..=port(last)?));
    let range = range.filter(|range| !range.is_empty());
    if range.is_none() {
        let help = "the smaller one first, both between 1 and 65535";
        reader.fail_with(node.mark, format!("`{key}` must be {EXPECTED}, but is `{text}`"), help);
    }
    range
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
    let default = Restart::default();
    if let Kind::Str(_) = &node.kind {
        return Some(Restart { policy: reader.one_of(key, node, RESTART_POLICIES)?, ..default });
    }
    let table = reader.table(key, node, RESTART_KEYS, &[])?;
    Some(Restart {
        policy: table.read("policy", |r, key, node| r.one_of(key, node, RESTART_POLICIES)).unwrap_or(default.policy),
        max: table.read("max", |r, key, node| r.integer(key, node, "a whole number from 0")).unwrap_or(default.max),
        within: table.read("within", Reader::duration).unwrap_or(default.within),
    })
}

/// The port a service declares.
#[derive(Clone, Copy)]
struct OwnPort {
    /// Whether it has one, even one that is wrong and was reported.
    declared: bool,
    /// The port, where it is right.
    port: Option<u16>,
}

impl OwnPort {
    fn or_fail(self, reader: Reader<'_>, what: &str, mark: Mark) -> Option<u16> {
        if !self.declared {
            reader.fail_with(mark, format!("`{what}` needs to know the port"), "give the service a `port = 8000`");
        }
        self.port
    }
}

fn read_ready(reader: Reader<'_>, key: &str, node: &Node, own: OwnPort) -> Option<Ready> {
    let table = reader.table(key, node, READY_KEYS, &[])?;
    let timeout = table.read("timeout", Reader::duration).unwrap_or(DEFAULT_READY_TIMEOUT);
    let on_timeout = table.read("on_timeout", |r, key, node| r.one_of(key, node, ON_TIMEOUTS)).unwrap_or_default();
    let Some(entry) = check_of(table, key, &["http", "tcp", "exec", "log"], "readiness check").ok()? else {
        if !own.declared {
            reader.fail_with(
                table.mark,
                "`ready` says how long to wait and not for what",
                "add `http = \"/path\"`, `tcp = true`, `exec = \"command\"`, `log = \"regex\"`, or give the service a `port`",
            );
        }
        return Some(Ready { probe: ReadyProbe::Tcp { port: own.port? }, timeout, on_timeout });
    };
    Some(Ready { probe: read_probe(reader, entry, own)?, timeout, on_timeout })
}

/// A mistake that was reported.
struct Reported;

/// The one of these checks that a table has, if it has one.
fn check_of<'n>(table: Table<'_, 'n>, key: &str, kinds: &[&str], title: &str) -> Result<Option<&'n Entry>, Reported> {
    let found: Vec<_> = kinds.iter().filter_map(|kind| table.entry(kind)).collect();
    if let [first, second, ..] = found.as_slice() {
        table.reader().fail_with(
            second.key_mark,
            format!("`{key}` has both `{}` and `{}`", first.key, second.key),
            format!("a service has one {title}; keep the one that says most"),
        );
        return Err(Reported);
    }
    Ok(found.first().copied())
}

/// What a check asks, by its key: `http`, `tcp`, `exec` or `log`.
fn read_probe(reader: Reader<'_>, entry: &Entry, own: OwnPort) -> Option<ReadyProbe> {
    let value = &entry.value;
    Some(match entry.key.as_str() {
        "http" => {
            let path = reader.string("http", value)?;
            if !path.starts_with('/') || path.contains(char::is_whitespace) {
                reader.fail(value.mark, format!("`http` must be a path that begins with `/`, but is `{path}`"));
                return None;
            }
            ReadyProbe::Http { port: own.or_fail(reader, "http", entry.key_mark)?, path }
        }
        "tcp" => match &value.kind {
            Kind::Bool(true) => ReadyProbe::Tcp { port: own.or_fail(reader, "tcp = true", entry.key_mark)? },
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
    })
}

/// What decides on readiness, for a liveness check that does not say what it asks.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// Nothing is said of it: a connection to the service's own port.
    Port,
    /// This.
    This(&'a ReadyProbe),
    /// It is wrong, and that was reported.
    Wrong,
}

impl<'a> Asked<'a> {
    fn of(table: Table<'_, '_>, ready: Option<&'a Ready>) -> Self {
        match (ready, table.get("ready")) {
            (Some(ready), _) => Self::This(&ready.probe),
            (None, Some(_)) => Self::Wrong,
            (None, None) => Self::Port,
        }
    }
}

fn read_health(reader: Reader<'_>, key: &str, node: &Node, own: OwnPort, ready: Asked<'_>) -> Option<Liveness> {
    const TO_ADD: &str = "add `http = \"/path\"`, `tcp = true` or `exec = \"command\"`";
    let table = reader.table(key, node, HEALTH_KEYS, &[])?;
    let interval = table.read("interval", span);
    let timeout = table.read("timeout", span);
    let retries = table.read("retries", |r, key, node| {
        let retries: u32 = r.integer(key, node, "a whole number from 1")?;
        if retries == 0 {
            r.fail(node.mark, format!("`{key}` must be a whole number from 1, but is 0"));
        }
        (retries > 0).then_some(retries)
    });
    let action = table.read("action", |r, key, node| r.one_of(key, node, HEALTH_ACTIONS));
    let probe = match (check_of(table, key, &["http", "tcp", "exec"], "liveness check").ok()?, ready) {
        (Some(entry), _) => read_probe(reader, entry, own)?,
        (None, Asked::Wrong) => return None,
        (None, Asked::This(ReadyProbe::Log { .. })) => {
            let message =
                "`health` asks what `ready` asks, and a line of output is printed once and says nothing later";
            reader.fail_with(table.mark, message, TO_ADD);
            return None;
        }
        (None, Asked::This(probe)) => probe.clone(),
        (None, Asked::Port) if own.declared => ReadyProbe::Tcp { port: own.port? },
        (None, Asked::Port) => {
            let help = format!("{TO_ADD}, or give the service a `port`");
            reader.fail_with(table.mark, "`health` says how to ask and not what", help);
            return None;
        }
    };
    let default = Liveness::asking(probe);
    Some(Liveness {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or(default.timeout),
        retries: retries.unwrap_or(default.retries),
        action: action.unwrap_or(default.action),
        ..default
    })
}

/// A span of time that is not nothing.
fn span(reader: Reader<'_>, key: &str, node: &Node) -> Option<Duration> {
    let span = reader.duration(key, node)?;
    if span.is_zero() {
        reader.fail(node.mark, format!("`{key}` must be longer than nothing"));
        return None;
    }
    Some(span)
}

/// What is watched. Whether there is something to build is the caller's to say.
fn read_watch(reader: Reader<'_>, key: &str, node: &Node, dir: &Path, warnings: &mut Vec<Problem>) -> Option<Watch> {
    const TO_ADD: &str = "name files or folders of the service: `paths = [\"src\"]`";
    let (paths, mark, ignore, debounce) = if let Kind::List(_) = &node.kind {
        (reader.strings_at(key, node)?, node.mark, Vec::new(), None)
    } else if let Kind::Map(_) = &node.kind {
        let table = reader.table(key, node, WATCH_KEYS, &[])?;
        let ignore = table.read("ignore", Reader::strings_at).unwrap_or_default();
        check_patterns(reader, &ignore);
        let debounce = table.read("debounce", Reader::duration);
        let Some(paths) = table.entry("paths") else {
            if !table.misspelt("paths", WATCH_KEYS) {
                reader.fail_with(table.mark, format!("`{key}` does not say what to watch"), TO_ADD);
            }
            return None;
        };
        (reader.strings_at("paths", &paths.value)?, paths.value.mark, ignore, debounce)
    } else {
        reader.wrong(key, node, "a list of paths, or a table such as `{ paths = [\"src\"], ignore = [\"*.tmp\"] }`");
        return None;
    };
    let none_written = matches!(&node.kind, Kind::List(items) if items.is_empty());
    if paths.is_empty() && !none_written {
        reader.fail_with(mark, format!("`{key}` does not say what to watch"), TO_ADD);
        return None;
    }
    for path in &paths {
        if path.value.is_empty() {
            reader.fail_with(path.place.mark, "a watched path is empty", "write `.` for the service's folder");
        } else if files::is_dir(dir) && !files::exists(&dir.join(&path.value)) {
            // No mistake: what is watched may be made by a build that is still to come.
            let message = format!("there is nothing to watch at `{}`", path.value);
            let help = format!("paths are relative to the service's folder, {}", dir.display());
            warnings.push(path.place.problem(message).with_help(help));
        }
    }
    // `watch = []` is a way to say: nothing.
    (!paths.is_empty()).then(|| Watch {
        paths: paths.into_iter().map(|path| compose_path(&dir.join(path.value))).collect(),
        ignore: ignore.into_iter().map(|pattern| pattern.value).collect(),
        debounce: debounce.unwrap_or(DEFAULT_DEBOUNCE),
        build: false,
    })
}

fn check_patterns(reader: Reader<'_>, ignore: &[At<String>]) {
    let mut patterns = ignore::gitignore::GitignoreBuilder::new("");
    for pattern in ignore {
        if let Err(error) = patterns.add_line(None, &pattern.value) {
            let reason = match error {
                ignore::Error::Glob { err, .. } => err,
                other => other.to_string(),
            };
            reader.fail_with(
                pattern.place.mark,
                format!("`{}` is no pattern: {reason}", pattern.value),
                "patterns are those of `.gitignore`: `*.tmp`, `/target`, `**/cache/`",
            );
        }
    }
}

fn depends_on(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<Dependency>> {
    let mut needs = Vec::new();
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(on) = reader.string(key, item).and_then(|text| name(reader, item.mark, &text)) else { continue };
            needs.push(Dependency { on, until: Until::Ready, restart: false, place: reader.place(item.mark) });
        }
        return Some(needs);
    }
    let Kind::Map(entries) = &node.kind else {
        reader.wrong(key, node, "a list of services, or a table such as `{ db = \"ready\" }`");
        return None;
    };
    for entry in entries {
        let condition = condition(reader, entry);
        let on = name(reader, entry.key_mark, &entry.key);
        if let (Some(on), Some((until, restart))) = (on, condition) {
            needs.push(Dependency { on, until, restart, place: reader.place(entry.key_mark) });
        }
    }
    Some(needs)
}

/// What must be true of a needed service, and whether whoever needs it restarts with it.
fn condition(reader: Reader<'_>, entry: &Entry) -> Option<(Until, bool)> {
    let Kind::Map(_) = &entry.value.kind else {
        return Some((reader.one_of(&entry.key, &entry.value, CONDITIONS)?, false));
    };
    let table = reader.table(&entry.key, &entry.value, NEED_KEYS, &[])?;
    let said = table.read("until", |r, key, node| r.one_of(key, node, CONDITIONS));
    let restart = table.read("restart", Reader::boolean).unwrap_or_default();
    let until = match (said, table.get("until")) {
        (Some(until), _) => until,
        (None, None) => Until::Ready,
        (None, Some(_)) => return None,
    };
    if let (Until::Completed, true, Some(said)) = (until, restart, table.entry("restart")) {
        reader.fail_with(
            said.key_mark,
            format!("`{}` is needed until it ended well, so it is never restarted under whoever needs it", entry.key),
            "leave `restart` out, or wait with `until = \"ready\"`",
        );
        return None;
    }
    Some((until, restart))
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
    let parsed = text.parse().map_err(|error: crate::name::NameError| reader.fail(mark, error.to_string())).ok();
    if parsed.is_some() && text.contains('#') {
        let help = "replicas have such names by themselves: `scale = 3`";
        reader.fail_with(mark, format!("the name `{text}` may not hold a `#`"), help);
        return None;
    }
    parsed
}
