//! The resolved stack as plain JSON, for `devctl config --stack`. Secrets are masked here, before anybody can print them.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::mask::{mask, mask_args, mask_variable};
use super::{Health, HealthAction, Need, Node, OnTimeout, RestartPolicy, Stack, Watch};
use crate::driver::Work;
use crate::driver::docker::{ContainerSpec, PullPolicy, api};
use crate::driver::embedded::{Server, Spec as EmbeddedSpec};
use crate::driver::process::{EnvSource, EnvVar, Program, Runtime, StopSignal};
use crate::probe;

/// Describes the stack: the project and its nodes in their order, with secrets masked. There is no `null` in it, so
/// that it can be written as TOML too.
pub fn describe(stack: &Stack) -> Value {
    json!({
        "project": stack.project().as_str(),
        "root": stack.root().display().to_string(),
        "nodes": stack.nodes().map(node).collect::<Vec<_>>(),
    })
}

fn node(node: &Node) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if !empty {
            out.insert(key.to_owned(), value);
        }
    };
    put("node", json!(node.id.to_string()));
    let (kind, details) = work(&node.work);
    put("kind", json!(kind));
    put(kind, details);
    put("needs", node.needs.iter().map(need).collect());
    if matches!(node.id, crate::name::NodeId::Service(_)) {
        put("ready", ready(node));
        put("health", node.health.as_ref().map_or(Value::Null, health));
        put("stop_grace", json!(duration(node.stop_grace)));
    }
    if node.restart.policy != RestartPolicy::No {
        put(
            "restart",
            json!({
                "policy": match node.restart.policy {
                    RestartPolicy::No => "no",
                    RestartPolicy::OnFailure => "on-failure",
                    RestartPolicy::Always => "always",
                },
                "max": node.restart.max,
                "within": duration(node.restart.within),
            }),
        );
    }
    put("ports", node.ports.iter().map(|at| json!(std::net::SocketAddr::new(at.ip, at.port).to_string())).collect());
    put("addresses", node.addresses.iter().map(|address| json!(mask(address))).collect());
    put("watch", node.watch.as_ref().map_or(Value::Null, watch));
    Value::Object(out)
}

fn need(need: &Need) -> Value {
    without_null(json!({ "node": need.on.to_string(), "until": need.until, "restart": need.restart.then_some(true) }))
}

fn health(health: &Health) -> Value {
    let action = match health.action {
        HealthAction::Restart => "restart",
        HealthAction::Warn => "warn",
    };
    json!({
        "probe": health.probe.kind(),
        "of": probe_of(&health.probe),
        "interval": duration(health.interval),
        "timeout": duration(health.timeout),
        "retries": health.retries,
        "action": action,
    })
}

fn watch(watch: &Watch) -> Value {
    without_null(json!({
        "paths": watch.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "ignore": watch.ignore,
        "debounce": duration(watch.debounce),
        "build": watch.build,
    }))
}

/// What a probe asks.
fn probe_of(probe: &probe::Spec) -> Value {
    match probe {
        probe::Spec::Postgres { host, port, database, user, .. } => {
            json!(format!("postgresql://{user}@{host}:{port}/{database}"))
        }
        probe::Spec::Redis { host, port, .. }
        | probe::Spec::Tcp { host, port }
        | probe::Spec::Server { host, port, .. } => json!(format!("{host}:{port}")),
        probe::Spec::Http { host, port, path } => json!(format!("http://{host}:{port}{path}")),
        probe::Spec::Exec { argv, .. } | probe::Spec::Healthcheck { argv, .. } => json!(mask_args(argv)),
        probe::Spec::Log { pattern } => json!(pattern),
        probe::Spec::Container => json!("the engine's healthcheck"),
    }
}

fn ready(node: &Node) -> Value {
    let Some(probe) = &node.probe else { return Value::Null };
    let mut out = Map::new();
    out.insert("probe".to_owned(), json!(probe.kind()));
    out.insert("of".to_owned(), probe_of(probe));
    out.insert("timeout".to_owned(), json!(duration(node.ready_timeout)));
    let on_timeout = match node.on_timeout {
        OnTimeout::Warn => "warn",
        OnTimeout::Fail => "fail",
    };
    out.insert("on_timeout".to_owned(), json!(on_timeout));
    Value::Object(out)
}

fn work(work: &Work) -> (&'static str, Value) {
    match work {
        Work::Network(spec) => (
            "network",
            without_null(json!({
                "name": spec.name,
                "driver": spec.body.driver,
                "external": spec.external.then_some(true),
                "internal": spec.body.internal.filter(|internal| *internal),
            })),
        ),
        Work::Volume(spec) => (
            "volume",
            without_null(json!({
                "name": spec.name,
                "driver": spec.body.driver,
                "external": spec.external.then_some(true),
            })),
        ),
        Work::Image(spec) => {
            let pull = match spec.pull {
                PullPolicy::Missing => "missing",
                PullPolicy::Always => "always",
                PullPolicy::Never => "never",
                PullPolicy::Build => "build",
                PullPolicy::Refresh(_) => "refresh",
            };
            (
                "image",
                without_null(json!({
                    "reference": spec.reference, "pull": pull, "platform": spec.platform,
                    "context": spec.build.as_ref().map(|build| &build.context),
                })),
            )
        }
        Work::Create(spec) => ("container", container(spec)),
        Work::Container(spec) => ("start", json!({ "container": spec.name })),
        Work::Install(package) => ("install", json!({ "package": package.title() })),
        Work::Embedded(spec) => ("embedded", embedded(spec)),
        Work::Build(spec) => {
            let runtime = match spec.runtime {
                Runtime::Rust => "rust",
                Runtime::Exec => "exec",
            };
            (
                "build",
                without_null(json!({
                    "runtime": runtime, "dir": spec.dir.display().to_string(), "bin": spec.bin,
                })),
            )
        }
        Work::Process(spec) => {
            let command = match &spec.program {
                Program::Argv(argv) => json!(mask_args(argv)),
                Program::Built => Value::Null,
            };
            let signal = match spec.stop_signal {
                StopSignal::Term => "SIGTERM",
                StopSignal::Int => "SIGINT",
                StopSignal::Quit => "SIGQUIT",
                StopSignal::Hup => "SIGHUP",
            };
            (
                "process",
                without_null(json!({
                    "command": command,
                    "args": mask_args(&spec.args),
                    "dir": spec.dir.display().to_string(),
                    "env": env(&spec.env),
                    "stop_signal": signal,
                    "pty": spec.pty.then_some(true),
                    "listen": spec.listen.then_some(true),
                })),
            )
        }
        Work::Expected => ("expected", Value::Null),
    }
}

fn env(env: &IndexMap<String, EnvVar>) -> Value {
    env.iter()
        .map(|(name, var)| {
            let source = match &var.source {
                EnvSource::File(path) => path.display().to_string(),
                EnvSource::Devctl => "devctl".to_owned(),
                EnvSource::Manifest => "devctl.toml".to_owned(),
                EnvSource::Shell => "shell".to_owned(),
            };
            (name.clone(), json!({ "value": mask_variable(name, &var.value), "from": source }))
        })
        .collect()
}

fn embedded(spec: &EmbeddedSpec) -> Value {
    let listen = std::net::SocketAddr::new(spec.ip, spec.port).to_string();
    let data = spec.data.display().to_string();
    match &spec.server {
        Server::Postgres { user, database, settings, .. } => without_null(json!({
            "server": "PostgreSQL", "listen": listen, "data": data, "user": user, "database": database,
            "settings": settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>(),
        })),
        Server::Redis { args } => without_null(json!({
            "server": "Redis", "listen": listen, "data": data, "args": mask_args(args),
        })),
    }
}

fn container(spec: &ContainerSpec) -> Value {
    let environment: Map<String, Value> =
        spec.environment().map(|(name, value)| (name.to_owned(), json!(mask_variable(name, value)))).collect();
    let host = spec.body.host_config.clone().unwrap_or_default();
    let labels: BTreeMap<_, _> = spec.body.labels.iter().flatten().collect();
    without_null(json!({
        "name": spec.name,
        "image": spec.body.image,
        "command": spec.body.cmd.as_deref().map(mask_args),
        "entrypoint": spec.body.entrypoint.as_deref().map(mask_args),
        "environment": environment,
        "ports": ports(&host),
        "mounts": mounts(&host),
        "networks": spec.networks.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "network_mode": host.network_mode.as_ref().filter(|_| spec.networks.is_empty()),
        "healthcheck": spec.body.healthcheck.as_ref().and_then(|check| check.test.as_deref()).map(mask_args),
        "restart": host.restart_policy.and_then(|policy| policy.name).map(|name| name.to_string()),
        "user": spec.body.user,
        "labels": labels,
    }))
}

fn ports(host: &api::HostConfig) -> Vec<String> {
    let mut ports = Vec::new();
    let sorted: BTreeMap<_, _> = host.port_bindings.iter().flatten().collect();
    for (port, bindings) in sorted {
        for binding in bindings.iter().flatten() {
            let ip = binding.host_ip.as_deref().unwrap_or_default();
            let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
            let published = binding.host_port.as_deref().unwrap_or_default();
            ports.push(match (ip.is_empty(), published.is_empty()) {
                (false, _) => format!("{ip}:{published}:{port}"),
                (true, false) => format!("{published}:{port}"),
                (true, true) => port.clone(),
            });
        }
    }
    ports
}

fn mounts(host: &api::HostConfig) -> Vec<String> {
    let mut mounts = host.binds.clone().unwrap_or_default();
    for mount in host.mounts.iter().flatten() {
        let kind = mount.typ.map(|typ| typ.to_string()).unwrap_or_default();
        let mode = if mount.read_only == Some(true) { ":ro" } else { "" };
        let source = mount.source.as_ref().map(|source| format!("{source}:")).unwrap_or_default();
        mounts.push(format!("{kind}:{source}{}{mode}", mount.target.as_deref().unwrap_or_default()));
    }
    let sorted: BTreeMap<_, _> = host.tmpfs.iter().flatten().collect();
    mounts.extend(sorted.into_iter().map(|(target, options)| {
        let options = if options.is_empty() { String::new() } else { format!(":{options}") };
        format!("tmpfs:{target}{options}")
    }));
    mounts
}

fn without_null(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let keep = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    Value::Object(fields.into_iter().filter(|(_, value)| keep(value)).collect())
}

fn duration(duration: Duration) -> String {
    let span = jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX);
    format!("{span:#}").replace(' ', "")
}
