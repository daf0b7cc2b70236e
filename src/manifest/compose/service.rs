//! A service of a Compose file.

use std::collections::BTreeMap;

use super::super::node::{Entry, Kind, Node};
use super::super::reader::{Reader, Table};
use super::deploy::read_count;
use super::file::Context;
use super::lifecycle::{self, read_depends_on, read_healthcheck, read_pull_policy, read_restart};
use super::model::{Attachment, Container, CredentialSpec, Hosts, Logging, Provider, Ulimit};
use super::mounts::{Paths, Scene};
use super::values::{extensions, unique};
use super::{build, deploy, devices, files, hooks, mounts, networks, ports};
use crate::name::ServiceName;

const KEYS: &[&str] = &[
    "image",
    "command",
    "entrypoint",
    "environment",
    "ports",
    "volumes",
    "networks",
    "network_mode",
    "depends_on",
    "healthcheck",
    "restart",
    "profiles",
    "labels",
    "label_file",
    "container_name",
    "user",
    "working_dir",
    "hostname",
    "init",
    "stop_signal",
    "stop_grace_period",
    "tty",
    "stdin_open",
    "privileged",
    "read_only",
    "cap_add",
    "cap_drop",
    "extra_hosts",
    "sysctls",
    "ulimits",
    "shm_size",
    "mem_limit",
    "platform",
    "pull_policy",
    "expose",
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cgroup",
    "cgroup_parent",
    "configs",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "external_links",
    "gpus",
    "group_add",
    "ipc",
    "isolation",
    "label_file",
    "links",
    "logging",
    "mac_address",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "post_start",
    "pre_stop",
    "provider",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "storage_opt",
    "tmpfs",
    "userns_mode",
    "uts",
    "volumes_from",
];
/// What Compose has and devctl has not. `env_file` and `extends` were carried out, too, and taken away.
const KEYS_LATER: &[&str] = &["env_file", "extends", "models", "pre_start", "use_api_socket"];
/// What Compose reads and makes no use of.
const IGNORED_KEYS: &[&str] = &["pull_refresh_after"];

/// Reads a service. `name` is `None` where its name is wrong and was reported; its keys are still worth a look.
pub(super) fn read(
    reader: Reader<'_>,
    entry: &Entry,
    name: Option<&ServiceName>,
    paths: Paths<'_>,
    context: &Context<'_>,
) -> Option<Container> {
    let known: Vec<&str> = KEYS.iter().chain(IGNORED_KEYS).copied().collect();
    let table = reader.table(&entry.key, &entry.value, &known, KEYS_LATER)?;
    for key in IGNORED_KEYS {
        if let Some(entry) = table.entry(key) {
            let problem = reader.place(entry.key_mark).problem(format!("`{key}` has no effect"));
            context.notes.push(problem.with_help("it is left out, as Docker Compose does"));
        }
    }
    let said_elsewhere = ["image", "build", "extends", "provider"].iter().any(|key| table.get(key).is_some());
    if !said_elsewhere && !table.misspelt("image", KEYS) {
        reader.fail(entry.key_mark, format!("the service `{}` has no `image`", entry.key));
    }
    let mut container = Container {
        name: name.cloned().unwrap_or_else(|| "unnamed".parse().expect("the word is a valid name")),
        place: reader.place(entry.key_mark),
        profiles: unique(table.read("profiles", Reader::strings)),
        annotations: table.map("annotations"),
        attach: table.read("attach", Reader::boolean),
        build: table.read("build", |r, key, node| build::read(r, key, node, paths, context)),
        develop: table.read("develop", |r, key, node| hooks::read_develop(r, key, node, paths, context)),
        blkio_config: table.read("blkio_config", devices::read_blkio),
        cap_add: unique(table.read("cap_add", Reader::strings)),
        cap_drop: unique(table.read("cap_drop", Reader::strings)),
        cgroup_parent: table.text("cgroup_parent"),
        cgroup: table
            .read("cgroup", |r, key, node| r.one_of(key, node, &[("host", "host"), ("private", "private")]))
            .map(str::to_owned),
        cpu_count: table.number("cpu_count"),
        cpu_percent: table.float("cpu_percent"),
        cpu_period: table.number("cpu_period"),
        cpu_quota: table.number("cpu_quota"),
        cpu_rt_period: table.number("cpu_rt_period"),
        cpu_rt_runtime: table.number("cpu_rt_runtime"),
        cpus: table.float("cpus"),
        cpuset: table.text("cpuset"),
        cpu_shares: table.number("cpu_shares"),
        command: table.read("command", Reader::command),
        configs: table.read("configs", |r, key, node| files::read(r, key, node, None)).unwrap_or_default(),
        container_name: table.text("container_name"),
        credential_spec: table.read("credential_spec", read_credential_spec),
        depends_on: table.read("depends_on", read_depends_on).unwrap_or_default(),
        deploy: table.read("deploy", |r, key, node| deploy::read(r, key, node, context)),
        device_cgroup_rules: table.texts("device_cgroup_rules"),
        devices: table.read("devices", devices::read).unwrap_or_default(),
        dns: unique(Some(table.one_or_more("dns"))),
        dns_opt: unique(table.read("dns_opt", Reader::strings)),
        dns_search: unique(Some(table.one_or_more("dns_search"))),
        domainname: table.text("domainname"),
        entrypoint: table.read("entrypoint", Reader::command),
        provider: table.read("provider", read_provider),
        environment: environment(table, context, true),
        expose: unique(table.read("expose", read_expose)),
        external_links: table.texts("external_links"),
        extra_hosts: table.read("extra_hosts", read_extra_hosts).unwrap_or_default(),
        group_add: table.read("group_add", read_groups).unwrap_or_default(),
        gpus: table.read("gpus", devices::read_gpus).unwrap_or_default(),
        hostname: table.text("hostname"),
        healthcheck: table.read("healthcheck", read_healthcheck),
        image: table.text("image").unwrap_or_default(),
        init: table.read("init", Reader::boolean),
        ipc: table.text("ipc"),
        isolation: table.text("isolation"),
        labels: table.map("labels"),
        label_file: table.one_or_more("label_file"),
        links: unique(table.read("links", Reader::strings)),
        logging: table.read("logging", read_logging),
        mem_limit: table.bytes("mem_limit"),
        mem_reservation: table.bytes("mem_reservation"),
        memswap_limit: table.bytes_or_unlimited("memswap_limit"),
        mem_swappiness: table.bytes("mem_swappiness"),
        mac_address: table.text("mac_address"),
        network_mode: table.text("network_mode"),
        networks: table.read("networks", networks::read).unwrap_or_default(),
        oom_kill_disable: table.flag("oom_kill_disable"),
        oom_score_adj: table.number("oom_score_adj"),
        pid: table.text("pid"),
        pids_limit: table.number("pids_limit"),
        platform: table.text("platform"),
        ports: table.read("ports", ports::read).unwrap_or_default(),
        privileged: table.flag("privileged"),
        pull_policy: table.read("pull_policy", read_pull_policy),
        read_only: table.flag("read_only"),
        restart: table.read("restart", read_restart),
        runtime: table.text("runtime"),
        scale: table.read("scale", read_count),
        secrets: table
            .read("secrets", |r, key, node| files::read(r, key, node, Some("/run/secrets")))
            .unwrap_or_default(),
        security_opt: table.texts("security_opt"),
        shm_size: table.bytes("shm_size"),
        stdin_open: table.flag("stdin_open"),
        stop_grace_period: table.read("stop_grace_period", Reader::duration),
        stop_signal: table.text("stop_signal"),
        storage_opt: table.options("storage_opt"),
        sysctls: table.map("sysctls"),
        tmpfs: unique(Some(table.one_or_more("tmpfs"))),
        tty: table.flag("tty"),
        ulimits: table.read("ulimits", read_ulimits).unwrap_or_default(),
        user: table.text("user"),
        userns_mode: table.text("userns_mode"),
        uts: table.text("uts"),
        mounts: table
            .read("volumes", |r, key, node| mounts::read(r, key, node, Scene { paths, context }))
            .unwrap_or_default(),
        volumes_from: table.texts("volumes_from"),
        working_dir: table.text("working_dir"),
        post_start: table.read("post_start", |r, key, node| hooks::read(r, key, node, context)).unwrap_or_default(),
        pre_stop: table.read("pre_stop", |r, key, node| hooks::read(r, key, node, context)).unwrap_or_default(),
        extensions: extensions(table),
    };
    complete(table, &mut container);
    check(table, &container);
    name.is_some().then_some(container)
}

/// Puts in what Compose takes as said: the default network, needs that other keys imply, one number of replicas.
fn complete(table: Table<'_, '_>, container: &mut Container) {
    if container.networks.is_empty() && container.network_mode.is_none() && container.provider.is_none() {
        container.networks.insert("default".to_owned(), Attachment { place: None, endpoint: None });
    }
    lifecycle::add_implied_needs(table, container);
    if let (Some(scale), Some(deploy)) = (container.scale, &mut container.deploy)
        && deploy.replicas.is_none_or(|replicas| replicas == scale)
    {
        deploy.replicas = Some(scale);
    }
}

/// Checks that what is said in two places is the same, as Compose wants it.
fn check(table: Table<'_, '_>, container: &Container) {
    let reader = table.reader();
    let fail = |key: &str, message: String| {
        if let Some(entry) = table.entry(key) {
            reader.fail(entry.key_mark, message);
        }
    };
    if container.network_mode.is_some() && !container.networks.is_empty() {
        fail("network_mode", "`network_mode` and `networks` exclude each other".to_owned());
    }
    if container.replicas() > 1 && container.container_name.is_some() {
        fail("container_name", "`container_name` is for one container, and there are several".to_owned());
    }
    if let Some(build) = &container.build
        && let Some(platform) = &container.platform
        && !build.platforms.is_empty()
        && !build.platforms.contains(platform)
    {
        fail("platform", format!("`platform` must be among `build.platforms`, but is `{platform}`"));
    }
    let paths = container.tmpfs.iter().map(|path| path.split(':').next().unwrap_or(path));
    for path in paths {
        if let Some(mount) = container.mounts.iter().find(|mount| mount.target == path) {
            reader.sink.push(mount.place.problem(format!("`{path}` is mounted twice, the other time by `tmpfs`")));
        }
    }
    let Some(deploy) = &container.deploy else { return };
    if let (Some(scale), Some(replicas)) = (container.scale, deploy.replicas)
        && scale != replicas
    {
        fail("scale", format!("`scale` is {scale}, and `deploy.replicas` is {replicas}"));
    }
    let differ = |key: &str, other: &str| {
        fail(key, format!("`{key}` and `deploy.resources.{other}` must say the same"));
    };
    if let Some(limits) = &deploy.resources.limits {
        #[expect(clippy::float_cmp, reason = "both were read of a text; Compose compares them so, too")]
        if container.cpus != 0.0 && container.cpus != limits.cpus {
            differ("cpus", "limits.cpus");
        }
        if container.mem_limit.0 != 0 && container.mem_limit != limits.memory {
            differ("mem_limit", "limits.memory");
        }
        if container.pids_limit != 0 && container.pids_limit != limits.pids {
            differ("pids_limit", "limits.pids");
        }
    }
    if let Some(reservations) = &deploy.resources.reservations
        && container.mem_reservation.0 != 0
        && container.mem_reservation != reservations.memory
    {
        differ("mem_reservation", "reservations.memory");
    }
}

/// Environment. With `resolve`, a variable that is named alone gets the value that it has here.
pub(super) fn environment(
    table: Table<'_, '_>,
    context: &Context<'_>,
    resolve: bool,
) -> BTreeMap<String, Option<String>> {
    let pairs = table.read("environment", Reader::pairs).unwrap_or_default();
    pairs
        .into_iter()
        .map(|(name, value)| {
            let value = value.or_else(|| if resolve { (context.lookup)(&name) } else { None });
            (name, value)
        })
        .collect()
}

fn read_credential_spec(reader: Reader<'_>, key: &str, node: &Node) -> Option<CredentialSpec> {
    let table = reader.table(key, node, &["config", "file", "registry"], &[])?;
    Some(CredentialSpec {
        config: table.text("config"),
        file: table.text("file"),
        registry: table.text("registry"),
        extensions: extensions(table),
    })
}

fn read_provider(reader: Reader<'_>, key: &str, node: &Node) -> Option<Provider> {
    let table = reader.table(key, node, &["type", "options"], &[])?;
    if table.get("type").is_none() && !table.misspelt("type", &["type", "options"]) {
        reader.fail(node.mark, "a provider needs a `type`, the program that provides the service");
    }
    let mut options = BTreeMap::new();
    for entry in table.read("options", Reader::entries).unwrap_or_default() {
        let items = match &entry.value.kind {
            Kind::List(items) => items.as_slice(),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Float(_)
            | Kind::Str(_)
            | Kind::Datetime
            | Kind::Map(_) => std::slice::from_ref(&entry.value),
        };
        let mut values = Vec::new();
        for item in items {
            match item.scalar_text() {
                Some(text) => values.push(text),
                None => reader.wrong(&entry.key, item, "a string, a number, a boolean or a list of them"),
            }
        }
        options.insert(entry.key.clone(), values);
    }
    Some(Provider { kind: table.text("type"), options, extensions: extensions(table) })
}

fn read_logging(reader: Reader<'_>, key: &str, node: &Node) -> Option<Logging> {
    let table = reader.table(key, node, &["driver", "options"], &[])?;
    Some(Logging { driver: table.text("driver"), options: table.options("options"), extensions: extensions(table) })
}

/// Groups: names and numbers.
fn read_groups(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    let mut groups = Vec::new();
    for item in reader.list(key, node)? {
        match &item.kind {
            Kind::Str(text) => groups.push(text.clone()),
            Kind::Int(n) => groups.push(n.to_string()),
            Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => {
                reader.wrong(key, item, "a group's name or number");
            }
        }
    }
    Some(groups)
}

fn read_expose(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    let mut ports = Vec::new();
    for item in reader.list(key, node)? {
        let text = match &item.kind {
            Kind::Str(text) => text.clone(),
            Kind::Int(value) => value.to_string(),
            Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => {
                reader.wrong(key, item, "a port");
                continue;
            }
        };
        let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
        if number.parse::<u16>().is_ok_and(|port| port > 0) && matches!(protocol, "tcp" | "udp" | "sctp") {
            ports.push(text);
        } else {
            reader.fail(item.mark, format!("`{text}` is no port between 1 and 65535, with or without `/udp`"));
        }
    }
    Some(ports)
}

pub(super) fn read_extra_hosts(reader: Reader<'_>, key: &str, node: &Node) -> Option<Hosts> {
    let mut hosts = Vec::new();
    let mut add = |node: &Node, host: &str, ip: &str| {
        if host.is_empty() || ip.is_empty() || host.contains([':', '=']) {
            reader.fail(node.mark, format!("`{host}={ip}` must be of the form `host=address`"));
            return;
        }
        let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        hosts.push((host.to_owned(), ip.to_owned()));
    };
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(text) = reader.string(key, item) else { continue };
            let (host, ips) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((&text, ""));
            ips.split(',').for_each(|ip| add(item, host, ip));
        }
    } else {
        for entry in reader.entries(key, node)? {
            match &entry.value.kind {
                Kind::List(_) => {
                    for ip in reader.strings(&entry.key, &entry.value).unwrap_or_default() {
                        add(&entry.value, &entry.key, &ip);
                    }
                }
                Kind::Null
                | Kind::Bool(_)
                | Kind::Int(_)
                | Kind::Float(_)
                | Kind::Str(_)
                | Kind::Datetime
                | Kind::Map(_) => {
                    if let Some(ip) = reader.string(&entry.key, &entry.value) {
                        add(&entry.value, &entry.key, &ip);
                    }
                }
            }
        }
    }
    hosts.sort_by_key(|(host, ip)| format!("{host}={ip}"));
    Some(Hosts(hosts))
}

pub(super) fn read_ulimits(reader: Reader<'_>, key: &str, node: &Node) -> Option<BTreeMap<String, Ulimit>> {
    const NUMBER: &str = "a whole number";
    let mut limits = BTreeMap::new();
    for entry in reader.entries(key, node)? {
        let limit = if let Kind::Map(_) = entry.value.kind {
            let Some(table) = reader.table(&entry.key, &entry.value, &["soft", "hard"], &[]) else { continue };
            let soft = table.read("soft", |r, key, node| r.integer(key, node, NUMBER));
            let hard = table.read("hard", |r, key, node| r.integer(key, node, NUMBER));
            if table.get("soft").is_none() || table.get("hard").is_none() {
                reader.fail(entry.key_mark, format!("the limit `{}` needs `soft` and `hard`", entry.key));
            }
            let (Some(soft), Some(hard)) = (soft, hard) else { continue };
            Ulimit::Pair(soft, hard)
        } else {
            let Some(both) = reader.integer(&entry.key, &entry.value, NUMBER) else { continue };
            Ulimit::Single(both)
        };
        limits.insert(entry.key.clone(), limit);
    }
    Some(limits)
}
