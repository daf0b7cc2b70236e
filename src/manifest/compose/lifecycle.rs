//! When the containers of a Compose service are made and started, and how it is seen that they work.

use std::collections::BTreeMap;

use super::super::devctl_toml::name as parse_name;
use super::super::duration;
use super::super::node::{Kind, Node};
use super::super::reader::{Reader, Table};
use super::model::{Container, ContainerDependency, Extensions, Healthcheck, PullPolicy};
use super::values::extensions;
use crate::manifest::Until;
use crate::name::ServiceName;

const HEALTHCHECK_KEYS: &[&str] =
    &["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"];
const DEPENDENCY_KEYS: &[&str] = &["condition", "restart", "required"];
const CONDITIONS: &[(&str, Until)] = &[
    ("service_started", Until::Started),
    ("service_healthy", Until::Ready),
    ("service_completed_successfully", Until::Completed),
];

type Needs = BTreeMap<ServiceName, ContainerDependency>;

pub(super) fn read_depends_on(reader: Reader<'_>, key: &str, node: &Node) -> Option<Needs> {
    let mut needs = Needs::new();
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(on) = reader.string(key, item).and_then(|text| parse_name(reader, item.mark, &text)) else {
                continue;
            };
            needs.insert(on, implied(reader, item, false));
        }
        return Some(needs);
    }
    for entry in reader.entries(key, node)? {
        let on = parse_name(reader, entry.key_mark, &entry.key);
        let Some(table) = reader.table(&entry.key, &entry.value, DEPENDENCY_KEYS, &[]) else { continue };
        let until = table.read("condition", |r, key, node| r.one_of(key, node, CONDITIONS));
        if table.get("condition").is_none() {
            reader.fail(entry.key_mark, format!("`{}` needs a `condition`, such as `service_healthy`", entry.key));
        }
        let restart = table.flag("restart");
        let required = table.read("required", Reader::boolean).unwrap_or(true);
        if let (Some(on), Some(until)) = (on, until) {
            let place = reader.place(entry.key_mark);
            needs.insert(on, ContainerDependency { place, until, restart, required, extensions: extensions(table) });
        }
    }
    Some(needs)
}

fn implied(reader: Reader<'_>, node: &Node, restart: bool) -> ContainerDependency {
    ContainerDependency {
        place: reader.place(node.mark),
        until: Until::Started,
        restart,
        required: true,
        extensions: Extensions::default(),
    }
}

/// Adds the needs that other keys imply: links, shared namespaces, volumes of another service.
pub(super) fn add_implied_needs(table: Table<'_, '_>, container: &mut Container) {
    let reader = table.reader();
    let mut add = |service: &str, node: &Node, restart: bool| {
        if let Some(on) = parse_name(reader, node.mark, service) {
            container.depends_on.entry(on).or_insert_with(|| implied(reader, node, restart));
        }
    };
    let items = |key: &str| match table.get(key).map(|node| &node.kind) {
        Some(Kind::List(items)) => items.as_slice(),
        Some(_) | None => &[],
    };
    for item in items("links") {
        if let Kind::Str(text) = &item.kind {
            // With more than one colon Compose takes all of it for the name.
            let service = text.split_once(':').filter(|(_, alias)| !alias.contains(':')).map_or(text.as_str(), |p| p.0);
            add(service, item, true);
        }
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = table.get(key)
            && let Kind::Str(text) = &node.kind
            && let Some(service) = text.strip_prefix("service:")
        {
            add(service, node, true);
        }
    }
    for item in items("volumes_from") {
        if let Kind::Str(text) = &item.kind
            && !text.starts_with("container:")
        {
            add(text.split(':').next().unwrap_or(text), item, false);
        }
    }
}

pub(super) fn read_healthcheck(reader: Reader<'_>, key: &str, node: &Node) -> Option<Healthcheck> {
    let table = reader.table(key, node, HEALTHCHECK_KEYS, &[])?;
    Some(Healthcheck {
        test: table.read("test", read_test).unwrap_or_default(),
        timeout: table.read("timeout", Reader::duration),
        interval: table.read("interval", Reader::duration),
        retries: table.read("retries", |r, key, node| r.integer(key, node, "a whole number from 0")),
        start_period: table.read("start_period", Reader::duration),
        start_interval: table.read("start_interval", Reader::duration),
        disable: table.flag("disable"),
        extensions: extensions(table),
    })
}

fn read_test(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    if let Kind::Str(line) = &node.kind {
        return Some(vec!["CMD-SHELL".to_owned(), line.clone()]);
    }
    let test = reader.strings(key, node)?;
    // Whether arguments fit is for the engine to say, as with Compose.
    let valid = test.first().is_none_or(|first| matches!(first.as_str(), "NONE" | "CMD" | "CMD-SHELL"));
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

pub(super) fn read_restart(reader: Reader<'_>, key: &str, node: &Node) -> Option<String> {
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

pub(super) fn read_pull_policy(reader: Reader<'_>, key: &str, node: &Node) -> Option<PullPolicy> {
    const WORDS: [&str; 9] =
        ["missing", "if_not_present", "always", "never", "build", "refresh", "daily", "weekly", "every_12h"];
    const HOURS: u64 = 60 * 60;
    let text = reader.string(key, node)?;
    let refresh = |after: Option<std::time::Duration>| PullPolicy::Refresh { text: text.clone(), after };
    let hours = |hours: u64| Some(std::time::Duration::from_secs(hours * HOURS));
    Some(match text.as_str() {
        "missing" | "if_not_present" => PullPolicy::Missing,
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        "build" => PullPolicy::Build,
        "refresh" => refresh(None),
        "daily" => refresh(hours(24)),
        "weekly" => refresh(hours(7 * 24)),
        _ => {
            let Some(after) = text.strip_prefix("every_").and_then(duration::parse_compose) else {
                reader.not_one_of(key, node.mark, &text, WORDS.into_iter());
                return None;
            };
            refresh(Some(after))
        }
    })
}
