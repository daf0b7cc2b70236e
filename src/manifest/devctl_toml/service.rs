//! `[services.NAME]`: one program of the project, key by key.

use std::ops::RangeInclusive;
use std::path::Path;

use indexmap::IndexMap;

use super::checks::{Asked, OwnPort, read_health, read_ready};
use super::needs::depends_on;
use super::watch::read_watch;
use super::{RESTART_KEYS, RESTART_POLICIES, RUNTIMES, RUNTIMES_TO_COME, SERVICE_KEYS, SIGNALS, STOP_KEYS, command};
use crate::driver::process::Runtime;
use crate::manifest::node::{Kind, Node};
use crate::manifest::problem::Problem;
use crate::manifest::reader::{Reader, Table};
use crate::manifest::service::{DEFAULT_STOP_GRACE, MAX_SCALE, Restart, Service, Watch};
use crate::manifest::source::Mark;
use crate::manifest::suggest;
use crate::name::ServiceName;
use crate::os::files;

pub(super) fn read_service(
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
