//! A service of a Compose file.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::devctl_toml::name as parse_name;
use super::super::node::{Entry, Kind, Node};
use super::super::reader::{Reader, Table};
use super::file::{Context, string_map};
use super::model::{Attachment, Container, ContainerDependency, Healthcheck, PullPolicy, Ulimit};
use super::mounts::Paths;
use super::{mounts, ports};
use crate::manifest::Until;
use crate::name::ServiceName;

pub(super) const KEYS: &[&str] = &[
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
];

const KEYS_LATER: &[&str] = &[
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
    "env_file",
    "extends",
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
    "models",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "post_start",
    "pre_start",
    "pre_stop",
    "provider",
    "pull_refresh_after",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "storage_opt",
    "tmpfs",
    "use_api_socket",
    "userns_mode",
    "uts",
    "volumes_from",
];

const HEALTHCHECK_KEYS: &[&str] =
    &["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"];
const NETWORK_KEYS_LATER: &[&str] = &[
    "driver_opts",
    "gw_priority",
    "interface_name",
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "priority",
];
const CONDITIONS: &[(&str, Until)] = &[
    ("service_started", Until::Started),
    ("service_healthy", Until::Ready),
    ("service_completed_successfully", Until::Completed),
];

/// Reads a service. `name` is `None` where its name is wrong and was reported; its keys are still worth a look.
pub(super) fn read(
    reader: Reader<'_>,
    entry: &Entry,
    name: Option<&ServiceName>,
    working_dir: &Path,
    context: &Context<'_>,
) -> Option<Container> {
    let table = reader.table(&entry.key, &entry.value, KEYS, KEYS_LATER)?;
    let paths = Paths { working_dir, home: context.home };
    let mut environment = table.read("environment", Reader::pairs).unwrap_or_default();
    for (variable, value) in &mut environment {
        if value.is_none() {
            *value = (context.lookup)(variable);
        }
    }
    let image = table.read("image", Reader::string);
    let said_elsewhere = ["image", "build", "extends", "provider"].iter().any(|key| table.get(key).is_some());
    if !said_elsewhere && !table.misspelt("image", KEYS) {
        reader.fail(entry.key_mark, format!("the service `{}` has no `image`", entry.key));
    }
    let networks = table.read("networks", read_networks).unwrap_or_default();
    let network_mode = table.read("network_mode", read_network_mode);
    if let (Some(mode), false) = (table.entry("network_mode"), networks.is_empty()) {
        reader.fail(mode.key_mark, "`network_mode` and `networks` exclude each other");
    }
    let container = Container {
        name: name?.clone(),
        place: reader.place(entry.key_mark),
        image: image.unwrap_or_default(),
        command: table.read("command", Reader::command),
        entrypoint: table.read("entrypoint", Reader::command),
        environment,
        ports: table.read("ports", ports::read).unwrap_or_default(),
        mounts: table.read("volumes", |r, key, node| mounts::read(r, key, node, paths)).unwrap_or_default(),
        networks,
        network_mode,
        depends_on: table.read("depends_on", read_depends_on).unwrap_or_default(),
        healthcheck: table.read("healthcheck", read_healthcheck),
        restart: table.read("restart", read_restart),
        profiles: table.read("profiles", Reader::strings).unwrap_or_default(),
        labels: table.read("labels", string_map).unwrap_or_default(),
        container_name: table.read("container_name", Reader::string),
        user: table.read("user", Reader::string),
        working_dir: table.read("working_dir", Reader::string),
        hostname: table.read("hostname", Reader::string),
        init: table.read("init", Reader::boolean),
        stop_signal: table.read("stop_signal", Reader::string),
        stop_grace_period: table.read("stop_grace_period", Reader::duration),
        tty: flag(table, "tty"),
        stdin_open: flag(table, "stdin_open"),
        privileged: flag(table, "privileged"),
        read_only: flag(table, "read_only"),
        cap_add: unique(table.read("cap_add", Reader::strings)),
        cap_drop: unique(table.read("cap_drop", Reader::strings)),
        extra_hosts: table.read("extra_hosts", read_extra_hosts).unwrap_or_default(),
        sysctls: table.read("sysctls", string_map).unwrap_or_default(),
        ulimits: table.read("ulimits", read_ulimits).unwrap_or_default(),
        shm_size: table.read("shm_size", Reader::size),
        mem_limit: table.read("mem_limit", Reader::size),
        platform: table.read("platform", Reader::string),
        pull_policy: table.read("pull_policy", read_pull_policy),
        expose: unique(table.read("expose", read_expose)),
    };
    Some(container)
}

fn flag(table: Table<'_, '_>, key: &str) -> bool {
    table.read(key, Reader::boolean).unwrap_or_default()
}

fn unique(items: Option<Vec<String>>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for item in items.unwrap_or_default() {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

fn read_networks(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<Attachment>> {
    let mut networks: Vec<Attachment> = Vec::new();
    if let Kind::List(_) = node.kind {
        for network in reader.strings_at(key, node)? {
            if networks.iter().all(|other| other.key != network.value) {
                networks.push(Attachment { place: network.place, key: network.value, aliases: None });
            }
        }
        return Some(networks);
    }
    for entry in reader.entries(key, node)? {
        let aliases = match &entry.value.kind {
            Kind::Null => None,
            Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Float(_)
            | Kind::Str(_)
            | Kind::Datetime
            | Kind::List(_)
            | Kind::Map(_) => {
                let table = reader.table(&entry.key, &entry.value, &["aliases"], NETWORK_KEYS_LATER)?;
                Some(unique(table.read("aliases", Reader::strings)))
            }
        };
        networks.push(Attachment { place: reader.place(entry.key_mark), key: entry.key.clone(), aliases });
    }
    Some(networks)
}

fn read_network_mode(reader: Reader<'_>, key: &str, node: &Node) -> Option<String> {
    let mode = reader.string(key, node)?;
    if mode.starts_with("service:") || mode.starts_with("container:") {
        reader.fail(node.mark, format!("devctl doesn't support `{key}: {mode}` yet"));
        return None;
    }
    Some(mode)
}

fn read_depends_on(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<ContainerDependency>> {
    let mut needs: Vec<ContainerDependency> = Vec::new();
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(on) = reader.string(key, item).and_then(|text| parse_name(reader, item.mark, &text)) else {
                continue;
            };
            let place = reader.place(item.mark);
            needs.push(ContainerDependency { place, on, until: Until::Started, restart: false, required: true });
        }
        return Some(needs);
    }
    for entry in reader.entries(key, node)? {
        let on = parse_name(reader, entry.key_mark, &entry.key);
        let Some(table) = reader.table(&entry.key, &entry.value, &["condition", "restart", "required"], &[]) else {
            continue;
        };
        let until = table.read("condition", |r, key, node| r.one_of(key, node, CONDITIONS));
        if table.get("condition").is_none() {
            reader.fail(entry.key_mark, format!("`{}` needs a `condition`, such as `service_healthy`", entry.key));
        }
        let restart = flag(table, "restart");
        let required = table.read("required", Reader::boolean).unwrap_or(true);
        if let (Some(on), Some(until)) = (on, until) {
            needs.push(ContainerDependency { place: reader.place(entry.key_mark), on, until, restart, required });
        }
    }
    Some(needs)
}

fn read_healthcheck(reader: Reader<'_>, key: &str, node: &Node) -> Option<Healthcheck> {
    let table = reader.table(key, node, HEALTHCHECK_KEYS, &[])?;
    Some(Healthcheck {
        test: table.read("test", read_test),
        interval: table.read("interval", Reader::duration),
        timeout: table.read("timeout", Reader::duration),
        retries: table.read("retries", |r, key, node| r.integer(key, node, "a whole number from 0")),
        start_period: table.read("start_period", Reader::duration),
        start_interval: table.read("start_interval", Reader::duration),
        disable: flag(table, "disable"),
    })
}

fn read_test(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    if let Kind::Str(line) = &node.kind {
        return Some(vec!["CMD-SHELL".to_owned(), line.clone()]);
    }
    let test = reader.strings(key, node)?;
    let valid = match test.first().map(String::as_str) {
        Some("NONE") => test.len() == 1,
        Some("CMD") => test.len() > 1,
        Some("CMD-SHELL") => test.len() == 2,
        Some(_) | None => false,
    };
    if !valid {
        reader.fail_with(
            node.mark,
            "a healthcheck's `test` must begin with `CMD`, `CMD-SHELL` or `NONE`",
            "write `[\"CMD\", \"program\", \"argument\"]`, or the command as one string",
        );
        return None;
    }
    Some(test)
}

fn read_restart(reader: Reader<'_>, key: &str, node: &Node) -> Option<String> {
    const WORDS: [&str; 4] = ["no", "always", "on-failure", "unless-stopped"];
    let text = reader.string(key, node)?;
    let known = match text.split_once(':') {
        Some(("on-failure", count)) => count.parse::<u32>().is_ok(),
        Some(_) => false,
        None => WORDS.contains(&text.as_str()),
    };
    if !known {
        reader.not_one_of(key, node.mark, &text, WORDS.into_iter());
        return None;
    }
    Some(text)
}

fn read_pull_policy(reader: Reader<'_>, key: &str, node: &Node) -> Option<PullPolicy> {
    const WORDS: &[(&str, PullPolicy)] = &[
        ("missing", PullPolicy::Missing),
        ("if_not_present", PullPolicy::Missing),
        ("always", PullPolicy::Always),
        ("never", PullPolicy::Never),
    ];
    let text = reader.string(key, node)?;
    if matches!(text.as_str(), "build" | "daily" | "weekly" | "refresh") || text.starts_with("every_") {
        reader.fail(node.mark, format!("devctl doesn't support `{key}: {text}` yet"));
        return None;
    }
    reader.one_of(key, node, WORDS)
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

fn read_extra_hosts(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<(String, String)>> {
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
    Some(hosts)
}

fn read_ulimits(reader: Reader<'_>, key: &str, node: &Node) -> Option<BTreeMap<String, Ulimit>> {
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
