//! The shape of `devctl.toml` for editors: a JSON Schema, generated from the structs here.
//!
//! Nothing is read with these structs, since serde stops at the first mistake; `devctl_toml.rs` reads. A test makes
//! sure that both know the same keys and the same words.

#![expect(dead_code, reason = "the structs are there for their schema alone")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

/// The manifest of a devctl project.
#[derive(JsonSchema)]
#[schemars(title = "devctl.toml", deny_unknown_fields)]
struct DevctlToml {
    /// The project.
    project: Option<Project>,
    /// The containers, which standard Compose files describe.
    containers: Option<Containers>,
    /// The project's own programs, run on the host.
    #[schemars(default)]
    services: BTreeMap<String, Service>,
}

/// The project.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Project {
    /// Prefix of containers, networks and volumes. Default: the name in the Compose file, or the folder's.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]*$"))]
    name: Option<String>,
    /// `.env` files for the programs, later ones winning. One that is missing is no mistake.
    env_file: Option<OneOrMany>,
}

/// The containers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Containers {
    /// Compose files.
    compose: Option<OneOrMany>,
    /// What runs them.
    driver: Option<Driver>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Driver {
    /// Docker where it works, embedded servers otherwise.
    Auto,
    /// The Docker Engine.
    Docker,
    /// Servers that devctl brings itself, without Docker.
    Embedded,
}

/// A program of the project.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    /// The folder it lives in. Default: the project's.
    dir: Option<String>,
    /// What knows how to prepare and run it. Default: `exec` where there is a `command`.
    runtime: Option<Runtime>,
    /// What `exec` runs: a list, or a string that is split as a shell splits it. No shell runs it.
    command: Option<OneOrMany>,
    /// Further arguments.
    args: Option<Vec<String>>,
    /// Which binary to build and run, where there are several.
    bin: Option<String>,
    /// The port it listens on; it gets it as `PORT`.
    #[schemars(range(min = 1, max = 65535))]
    port: Option<u16>,
    /// Whether devctl listens on `port` itself and hands the socket over as systemd does (`LISTEN_FDS`), so that a
    /// restart refuses no connection. Not on Windows. Default: false.
    listen: Option<bool>,
    /// How many of it run at once, each with a `PORT` of its own. Default: 1.
    #[schemars(range(min = 1, max = 100))]
    scale: Option<u32>,
    /// Where further replicas get their ports from: `8100-8199`. Default: the ports after `port`.
    #[schemars(regex(pattern = r"^[0-9]+-[0-9]+$"))]
    port_range: Option<String>,
    /// Groups to select it by: `--api-only` selects `api`, `--ws-only` selects `ws`.
    groups: Option<Vec<String>>,
    /// What must be up before it starts: a list (which must be ready), or service = condition.
    depends_on: Option<DependsOn>,
    /// How its readiness is decided. Default: a connection to `port`.
    ready: Option<Ready>,
    /// How it is seen that it still works once it was ready.
    health: Option<Health>,
    /// What happens when it ends by itself: a policy, or a table.
    restart: Option<RestartOrPolicy>,
    /// How it is stopped.
    stop: Option<Stop>,
    /// Whether it runs in a terminal of its own, for programs that insist on one; its output is one stream then. Not on
    /// Windows. Default: false.
    pty: Option<bool>,
    /// What to watch for changes, relative to `dir`: a list of paths, or a table.
    watch: Option<WatchOrPaths>,
    /// Environment. Wins over `.env` files, loses to the shell.
    env: Option<BTreeMap<String, EnvValue>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Runtime {
    /// `cargo build`, then the binary.
    Rust,
    /// A command.
    Exec,
}

/// A readiness check: one of `http`, `tcp`, `exec` and `log`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Ready {
    /// A path that must be answered with 2xx.
    #[schemars(regex(pattern = r"^/\S*$"))]
    http: Option<String>,
    /// A port that must accept connections; `true` for the service's own.
    tcp: Option<PortOrTrue>,
    /// A command that must succeed.
    exec: Option<OneOrMany>,
    /// A regular expression that a line of the output must match.
    log: Option<String>,
    /// How long it may take: `30s`.
    timeout: Option<String>,
    /// What happens then.
    on_timeout: Option<OnTimeout>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnTimeout {
    /// Go on with a warning.
    Warn,
    /// Stop everything and say why.
    Fail,
}

/// A liveness check: at most one of `http`, `tcp` and `exec`. Default: what `ready` asks.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Health {
    /// A path that must be answered with 2xx.
    #[schemars(regex(pattern = r"^/\S*$"))]
    http: Option<String>,
    /// A port that must accept connections; `true` for the service's own.
    tcp: Option<PortOrTrue>,
    /// A command that must succeed.
    exec: Option<OneOrMany>,
    /// The time between two questions. Default: `10s`.
    interval: Option<String>,
    /// How long an answer may take. Default: `2s`.
    timeout: Option<String>,
    /// How many bad answers in a row it takes. Default: 3.
    #[schemars(range(min = 1))]
    retries: Option<u32>,
    /// What happens then. Default: `restart`.
    action: Option<HealthAction>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum HealthAction {
    /// Restart it.
    Restart,
    /// Say so and do nothing.
    Warn,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum WatchOrPaths {
    /// Files and folders.
    Paths(Vec<String>),
    /// With options.
    Watch(Watch),
}

/// What is watched for changes.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Watch {
    /// Files and folders, relative to `dir`.
    paths: Vec<String>,
    /// Changes that do not count: patterns of `.gitignore`.
    ignore: Option<Vec<String>>,
    /// How long no further change must come. Default: `300ms`.
    debounce: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RestartOrPolicy {
    /// A policy, with the usual limits.
    Policy(RestartPolicy),
    /// With limits.
    Restart(Restart),
}

/// What happens when a program ends by itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Restart {
    /// After which ends it is started again. Default: `no`.
    policy: Option<RestartPolicy>,
    /// How many restarts within `within` before it is given up. Default: 5.
    max: Option<u32>,
    /// The span of time in which restarts are counted. Default: `60s`.
    within: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RestartPolicy {
    /// Never.
    No,
    /// Never: the same as `no`.
    Never,
    /// After any end but exit code 0.
    OnFailure,
    /// After every end.
    Always,
}

/// How a program is stopped.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Stop {
    /// The signal that asks. Default: `SIGTERM`.
    signal: Option<Signal>,
    /// How long it has before it is killed. Default: `10s`.
    grace: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
enum Signal {
    Sigterm,
    Sigint,
    Sigquit,
    Sighup,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Condition {
    /// It was started.
    Started,
    /// It is ready.
    Ready,
    /// It ended well.
    Completed,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum DependsOn {
    /// Services that must be ready.
    List(Vec<String>),
    /// Services and their conditions.
    Map(BTreeMap<String, ConditionOrNeed>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ConditionOrNeed {
    /// A condition.
    Condition(Condition),
    /// With options.
    Need(Need),
}

/// What must be true of a service that is needed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Need {
    /// The condition. Default: `ready`.
    until: Option<Condition>,
    /// Whether this service restarts when the other one was restarted.
    restart: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum PortOrTrue {
    /// A port.
    Port(#[schemars(range(min = 1, max = 65535))] u16),
    /// The service's own port.
    Own(bool),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum EnvValue {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
}

/// The JSON Schema of `devctl.toml`, as it is kept in `docs/devctl.schema.json`.
pub fn json_schema() -> String {
    let mut schema = schemars::schema_for!(DevctlToml).to_value();
    drop_null(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// Takes `null` out of what a key may be: TOML has none, a key that is left out is not written at all.
fn drop_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    fields.remove("anyOf");
                    fields.extend(only);
                }
            }
            fields.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::devctl_toml as reader;
    use super::*;

    fn schema() -> Value {
        serde_json::from_str(&json_schema()).unwrap()
    }

    #[test]
    fn the_reader_and_the_schema_know_the_same_keys() {
        let schema = schema();
        for (pointer, keys) in [
            ("", reader::FILE_KEYS),
            ("/$defs/Project", reader::PROJECT_KEYS),
            ("/$defs/Containers", reader::CONTAINERS_KEYS),
            ("/$defs/Service", reader::SERVICE_KEYS),
            ("/$defs/Ready", reader::READY_KEYS),
            ("/$defs/Health", reader::HEALTH_KEYS),
            ("/$defs/Need", reader::NEED_KEYS),
            ("/$defs/Watch", reader::WATCH_KEYS),
            ("/$defs/Restart", reader::RESTART_KEYS),
            ("/$defs/Stop", reader::STOP_KEYS),
        ] {
            let object = schema.pointer(&format!("{pointer}/properties")).and_then(Value::as_object).unwrap();
            let in_schema: BTreeSet<_> = object.keys().map(String::as_str).collect();
            assert_eq!(in_schema, keys.iter().copied().collect(), "{pointer}");
        }
    }

    #[test]
    fn the_reader_and_the_schema_know_the_same_words() {
        fn words<T>(list: &[(&'static str, T)]) -> BTreeSet<String> {
            list.iter().map(|(word, _)| (*word).to_owned()).collect()
        }
        let schema = schema();
        for (name, expected) in [
            ("Driver", words(reader::DRIVERS)),
            ("Runtime", words(reader::RUNTIMES)),
            ("Condition", words(reader::CONDITIONS)),
            ("RestartPolicy", words(reader::RESTART_POLICIES)),
            ("HealthAction", words(reader::HEALTH_ACTIONS)),
            ("OnTimeout", words(reader::ON_TIMEOUTS)),
            ("Signal", words(reader::SIGNALS)),
        ] {
            let definition = &schema["$defs"][name];
            let mut found: BTreeSet<String> = BTreeSet::new();
            for value in definition["enum"].as_array().into_iter().flatten() {
                found.insert(value.as_str().unwrap().to_owned());
            }
            for variant in definition["oneOf"].as_array().into_iter().flatten() {
                found.insert(variant["const"].as_str().unwrap().to_owned());
            }
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_committed_schema_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/devctl.schema.json");
        let committed = crate::os::files::read(&path).unwrap_or_default();
        assert!(committed == json_schema(), "docs/devctl.schema.json is out of date: run `cargo xtask schema`");
    }
}
