//! `ready` and `health`: the questions that a service is asked, and what its port has to do with them.

use std::time::Duration;

use super::{HEALTH_ACTIONS, HEALTH_KEYS, ON_TIMEOUTS, READY_KEYS, command};
use crate::manifest::node::{Entry, Kind, Node};
use crate::manifest::reader::{Reader, Table};
use crate::manifest::service::{DEFAULT_READY_TIMEOUT, Liveness, Ready, ReadyProbe};
use crate::manifest::source::Mark;

/// The port a service declares.
#[derive(Clone, Copy)]
pub(super) struct OwnPort {
    /// Whether it has one, even one that is wrong and was reported.
    pub(super) declared: bool,
    /// The port, where it is right.
    pub(super) port: Option<u16>,
}

impl OwnPort {
    pub(super) fn or_fail(self, reader: Reader<'_>, what: &str, mark: Mark) -> Option<u16> {
        if !self.declared {
            reader.fail_with(mark, format!("`{what}` needs to know the port"), "give the service a `port = 8000`");
        }
        self.port
    }
}

pub(super) fn read_ready(reader: Reader<'_>, key: &str, node: &Node, own: OwnPort) -> Option<Ready> {
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
pub(super) enum Asked<'a> {
    /// Nothing is said of it: a connection to the service's own port.
    Port,
    /// This.
    This(&'a ReadyProbe),
    /// It is wrong, and that was reported.
    Wrong,
}

impl<'a> Asked<'a> {
    pub(super) fn of(table: Table<'_, '_>, ready: Option<&'a Ready>) -> Self {
        match (ready, table.get("ready")) {
            (Some(ready), _) => Self::This(&ready.probe),
            (None, Some(_)) => Self::Wrong,
            (None, None) => Self::Port,
        }
    }
}

pub(super) fn read_health(
    reader: Reader<'_>,
    key: &str,
    node: &Node,
    own: OwnPort,
    ready: Asked<'_>,
) -> Option<Liveness> {
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
