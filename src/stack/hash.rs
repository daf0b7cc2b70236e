//! Compose's config hashes: SHA-256 over the compact JSON of a service, network or volume, as Docker Compose 2.40 forms
//! it. Where the hash on a container is the one Compose computes, neither tool recreates what the other started.
//!
//! The fields stand in Compose's order. Left out are those that Compose leaves out: what decides when and whether a
//! container is made (`depends_on`, `profiles`, `pull_policy`), not what it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::manifest::compose::{Container, Healthcheck, Mount, Network, Port, Source, Ulimit, Volume};

/// The hash of a service.
pub(super) fn service(container: &Container) -> String {
    sha256(&service_json(container))
}

/// The hash of a network of that name on the engine.
pub(super) fn network(name: &str, said: Option<&Network>) -> String {
    let mut json = Object::new();
    json.text("name", name);
    json.text("driver", said.and_then(|network| network.driver.as_deref()).unwrap_or_default());
    if let Some(network) = said {
        json.map("driver_opts", &network.driver_opts);
    }
    json.raw("ipam", "{}");
    if let Some(network) = said {
        json.flag("internal", network.internal);
        json.flag("attachable", network.attachable);
        json.map("labels", &network.labels);
    }
    sha256(&json.finish())
}

/// The hash of a volume of that name on the engine.
pub(super) fn volume(name: &str, said: Option<&Volume>) -> String {
    let mut json = Object::new();
    json.text("name", name);
    json.text("driver", said.and_then(|volume| volume.driver.as_deref()).unwrap_or("local"));
    if let Some(volume) = said {
        json.map("driver_opts", &volume.driver_opts);
        json.map("labels", &volume.labels);
    }
    sha256(&json.finish())
}

fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
    }
    hex
}

fn service_json(container: &Container) -> String {
    let mut json = Object::new();
    json.list("cap_add", &container.cap_add);
    json.list("cap_drop", &container.cap_drop);
    json.raw("command", &container.command.as_deref().map_or("null".to_owned(), array));
    json.text("container_name", container.container_name.as_deref().unwrap_or_default());
    json.raw("entrypoint", &container.entrypoint.as_deref().map_or("null".to_owned(), array));
    if !container.environment.is_empty() {
        let sorted: BTreeMap<_, _> = container.environment.iter().collect();
        let mut environment = Object::new();
        for (name, value) in sorted {
            environment.raw(name, &value.as_deref().map_or("null".to_owned(), string));
        }
        json.raw("environment", &environment.finish());
    }
    json.list("expose", &container.expose);
    let hosts: Vec<String> = container.extra_hosts.iter().map(|(host, ip)| format!("{host}={ip}")).collect();
    json.list("extra_hosts", &hosts);
    json.text("hostname", container.hostname.as_deref().unwrap_or_default());
    if let Some(check) = &container.healthcheck {
        json.raw("healthcheck", &healthcheck(check));
    }
    json.text("image", &container.image);
    if let Some(init) = container.init {
        json.raw("init", if init { "true" } else { "false" });
    }
    json.map("labels", &container.labels);
    json.bytes("mem_limit", container.mem_limit);
    json.text("network_mode", container.network_mode.as_deref().unwrap_or_default());
    if container.network_mode.is_none() {
        json.raw("networks", &networks(container));
    }
    json.text("platform", container.platform.as_deref().unwrap_or_default());
    json.objects("ports", container.ports.iter().map(port));
    json.flag("privileged", container.privileged);
    json.flag("read_only", container.read_only);
    json.text("restart", container.restart.as_deref().unwrap_or_default());
    json.bytes("shm_size", container.shm_size);
    json.flag("stdin_open", container.stdin_open);
    json.duration("stop_grace_period", container.stop_grace_period);
    json.text("stop_signal", container.stop_signal.as_deref().unwrap_or_default());
    json.map("sysctls", &container.sysctls);
    json.flag("tty", container.tty);
    if !container.ulimits.is_empty() {
        let mut limits = Object::new();
        for (name, limit) in &container.ulimits {
            limits.raw(name, &ulimit(*limit));
        }
        json.raw("ulimits", &limits.finish());
    }
    json.text("user", container.user.as_deref().unwrap_or_default());
    json.objects("volumes", container.mounts.iter().map(mount));
    json.text("working_dir", container.working_dir.as_deref().unwrap_or_default());
    json.finish()
}

fn networks(container: &Container) -> String {
    let mut sorted: BTreeMap<&str, Option<&[String]>> =
        container.networks.iter().map(|network| (network.key.as_str(), network.aliases.as_deref())).collect();
    if sorted.is_empty() {
        sorted.insert("default", None);
    }
    let mut json = Object::new();
    for (key, aliases) in sorted {
        match aliases {
            None => json.raw(key, "null"),
            Some(aliases) => {
                let mut network = Object::new();
                network.list("aliases", aliases);
                json.raw(key, &network.finish());
            }
        }
    }
    json.finish()
}

fn healthcheck(check: &Healthcheck) -> String {
    let mut json = Object::new();
    json.list("test", check.test.as_deref().unwrap_or_default());
    json.duration("timeout", check.timeout);
    json.duration("interval", check.interval);
    if let Some(retries) = check.retries {
        json.raw("retries", &retries.to_string());
    }
    json.duration("start_period", check.start_period);
    json.duration("start_interval", check.start_interval);
    json.flag("disable", check.disable);
    json.finish()
}

fn port(port: &Port) -> String {
    let mut json = Object::new();
    json.text("name", port.name.as_deref().unwrap_or_default());
    json.text("mode", &port.mode);
    json.text("host_ip", port.host_ip.as_deref().unwrap_or_default());
    json.raw("target", &port.target.to_string());
    json.text("published", &port.published.map(|port| port.to_string()).unwrap_or_default());
    json.text("protocol", &port.protocol);
    json.text("app_protocol", port.app_protocol.as_deref().unwrap_or_default());
    json.finish()
}

fn mount(mount: &Mount) -> String {
    let (kind, source) = match &mount.source {
        Source::Volume(key) => ("volume", key.as_str()),
        Source::Anonymous => ("volume", ""),
        Source::Bind { path, .. } => ("bind", path.as_str()),
        Source::Tmpfs => ("tmpfs", ""),
    };
    let mut json = Object::new();
    json.text("type", kind);
    json.text("source", source);
    json.text("target", &mount.target);
    json.flag("read_only", mount.read_only);
    match &mount.source {
        Source::Bind { create: Some(true), .. } => json.raw("bind", "{\"create_host_path\":true}"),
        Source::Bind { create: Some(false), .. } => json.raw("bind", "{}"),
        Source::Volume(_) | Source::Anonymous if !mount.long => json.raw("volume", "{}"),
        Source::Bind { create: None, .. } | Source::Volume(_) | Source::Anonymous | Source::Tmpfs => {}
    }
    json.finish()
}

fn ulimit(limit: Ulimit) -> String {
    match limit {
        Ulimit::Single(0) => "{}".to_owned(),
        Ulimit::Single(both) => both.to_string(),
        Ulimit::Pair(soft, hard) => {
            let mut json = Object::new();
            if soft != 0 {
                json.raw("soft", &soft.to_string());
            }
            if hard != 0 {
                json.raw("hard", &hard.to_string());
            }
            json.finish()
        }
    }
}

/// A JSON object in the making. What is empty is left out, as Go's `omitempty` does.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn raw(&mut self, name: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&string(name));
        self.0.push(':');
        self.0.push_str(json);
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.raw(name, &string(text));
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.raw(name, "true");
        }
    }

    fn list(&mut self, name: &str, items: &[String]) {
        if !items.is_empty() {
            self.raw(name, &array(items));
        }
    }

    fn objects(&mut self, name: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        if !items.is_empty() {
            self.raw(name, &format!("[{}]", items.join(",")));
        }
    }

    fn map(&mut self, name: &str, map: &BTreeMap<String, String>) {
        if !map.is_empty() {
            let mut json = Self::new();
            for (key, value) in map {
                json.raw(key, &string(value));
            }
            self.raw(name, &json.finish());
        }
    }

    fn bytes(&mut self, name: &str, bytes: Option<i64>) {
        if let Some(bytes) = bytes.filter(|bytes| *bytes != 0) {
            self.raw(name, &format!("\"{bytes}\""));
        }
    }

    fn duration(&mut self, name: &str, duration: Option<Duration>) {
        if let Some(duration) = duration {
            self.raw(name, &string(&go_duration(duration)));
        }
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| string(item)).collect::<Vec<_>>().join(","))
}

/// A JSON string as Go writes it: safe within HTML.
fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A duration as Go writes it: `1m30s`, `1.5s`, `250ms`, `0s`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fraction = |value: u128, unit: u128, name: &str| {
        let (whole, rest) = (value / unit, value % unit);
        let digits = unit.ilog10() as usize;
        let rest = format!("{rest:0digits$}");
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{rest}{name}") }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => fraction(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(nanos, 1_000_000, "ms"),
        _ => {
            let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000, "s");
            let minutes = nanos / 60_000_000_000;
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
