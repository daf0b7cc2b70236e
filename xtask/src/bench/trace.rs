//! The longest path of a start-up, read from the events of `devctl up --format json`: what had to wait for what, and how
//! much of the time nobody but devctl can be blamed for.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The nodes of a start-up as the events told of them. Times are milliseconds since the command began.
#[derive(Debug, Default)]
pub(super) struct Trace {
    nodes: HashMap<String, Node>,
    /// The name of whoever was done last.
    last: Option<String>,
}

#[derive(Debug, Default)]
struct Node {
    /// What it waited for, ever.
    on: Vec<String>,
    began: Option<f64>,
    done: Option<f64>,
}

/// A chain of nodes, each of which could begin only when the one before was done.
#[derive(Debug, PartialEq)]
pub(super) struct Path {
    /// The nodes in the order of their start, each with its milliseconds.
    pub(super) nodes: Vec<(String, f64)>,
}

impl Path {
    /// What the nodes took: the engine's, the servers' and cargo's time.
    pub(super) fn length(&self) -> f64 {
        self.nodes.iter().map(|(_, time)| time).sum()
    }

    /// The path in words: `network 90 ms → container db 60 ms`.
    pub(super) fn told(&self) -> String {
        self.nodes.iter().map(|(name, time)| format!("{name} {time:.0} ms")).collect::<Vec<_>>().join(" → ")
    }
}

impl Trace {
    /// Takes an event; those that say nothing about nodes are passed over.
    pub(super) fn add(&mut self, event: &Value) {
        let (Some(name), Some(at)) = (event["node"].as_str(), event["at_ms"].as_f64()) else { return };
        let node = self.nodes.entry(name.to_owned()).or_default();
        match event["event"].as_str() {
            Some("waiting") => {
                let on = event["on"].as_array().into_iter().flatten().filter_map(Value::as_str);
                node.on.extend(on.map(str::to_owned));
            }
            Some("starting") => node.began = Some(at),
            Some("ready" | "completed") => {
                node.done = Some(at);
                self.last = Some(name.to_owned());
            }
            _ => {}
        }
    }

    /// The path that ends with whoever was done last: before each node comes the one it waited for the longest.
    pub(super) fn longest(&self) -> anyhow::Result<Path> {
        let mut nodes = Vec::new();
        let mut at = self.last.as_deref();
        while let Some(name) = at {
            let node = self.nodes.get(name).with_context(|| format!("the events do not tell of `{name}`"))?;
            let (Some(began), Some(done)) = (node.began, node.done) else {
                bail!("the events do not tell when `{name}` began and was done");
            };
            nodes.push((name.to_owned(), done - began));
            let done = |name: &String| self.nodes.get(name).and_then(|node| node.done).unwrap_or(0.0);
            // What was there before the run has no time of its own and is on no path.
            let waited_for = node.on.iter().filter(|name| done(name) > 0.0);
            at = waited_for.max_by(|a, b| done(a).total_cmp(&done(b))).map(String::as_str);
        }
        nodes.reverse();
        if nodes.is_empty() {
            bail!("the events tell of no node that was done");
        }
        Ok(Path { nodes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(events: &str) -> Trace {
        let mut trace = Trace::default();
        for line in events.lines() {
            trace.add(&serde_json::from_str(line).unwrap());
        }
        trace
    }

    #[test]
    fn a_node_follows_the_one_it_waited_for_the_longest() {
        let path = trace(
            r#"{"at_ms":10,"event":"run_started"}
            {"at_ms":10,"event":"waiting","node":"api","on":["build api","db","volume"]}
            {"at_ms":11,"event":"starting","node":"db"}
            {"at_ms":12,"event":"starting","node":"build api"}
            {"at_ms":200,"event":"completed","node":"build api"}
            {"at_ms":200,"event":"waiting","node":"api","on":["db"]}
            {"at_ms":300,"event":"started","node":"db"}
            {"at_ms":500,"event":"ready","node":"db"}
            {"at_ms":502,"event":"starting","node":"api"}
            {"at_ms":600,"event":"ready","node":"api"}
            {"at_ms":600,"event":"stack_ready"}"#,
        )
        .longest()
        .unwrap();
        assert_eq!(path.nodes, [("db".to_owned(), 489.0), ("api".to_owned(), 98.0)]);
        assert_eq!(path.told(), "db 489 ms → api 98 ms");
        assert!((path.length() - 587.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_start_without_nodes_has_no_path() {
        assert!(trace(r#"{"at_ms":10,"event":"run_started"}"#).longest().is_err());
    }
}
