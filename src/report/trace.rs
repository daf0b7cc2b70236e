//! What start-up took so long for: the chain of nodes each of which was the last thing the next one waited for. Pure.

use std::collections::{BTreeSet, HashMap};

use super::words;
use crate::event::{Event, EventKind};
use crate::name::{NodeId, ServiceName};

/// Tasks below this are not worth a mention: creating a network takes a few milliseconds and explains nothing.
const WORTH_MS: u64 = 10;

/// Gathers when each node was there and what it needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    needs: HashMap<NodeId, BTreeSet<NodeId>>,
    there: HashMap<NodeId, There>,
    over: bool,
}

#[derive(Clone, Copy, Debug)]
struct There {
    at_ms: u64,
    elapsed_ms: u64,
}

impl Trace {
    pub(super) fn new(needs: impl IntoIterator<Item = (NodeId, Vec<NodeId>)>) -> Self {
        let needs = needs.into_iter().map(|(node, on)| (node, on.into_iter().collect())).collect();
        Self { needs, ..Self::default() }
    }

    /// The services that need a node, by themselves or for what stands behind them, such as their container.
    pub(super) fn needed_by(&self, id: &NodeId) -> impl Iterator<Item = &ServiceName> {
        self.needs.iter().filter(move |(_, needs)| needs.contains(id)).filter_map(|(user, _)| match user {
            NodeId::Service(name) | NodeId::Create(name) => Some(name),
            NodeId::Network(_) | NodeId::Volume(_) | NodeId::Image(_) | NodeId::Install(_) | NodeId::Build(_) => None,
        })
    }

    /// Takes an event in; what comes after the stack was ready is no part of start-up.
    pub(super) fn on(&mut self, event: &Event) {
        if self.over {
            return;
        }
        match &event.kind {
            EventKind::Waiting { node, on } => {
                self.needs.entry(node.clone()).or_default().extend(on.iter().cloned());
            }
            EventKind::Ready { node, elapsed_ms, .. } | EventKind::Completed { node, elapsed_ms } => {
                let there = There { at_ms: event.at_ms, elapsed_ms: *elapsed_ms };
                self.there.entry(node.clone()).or_insert(there);
            }
            EventKind::StackReady { .. } => self.over = true,
            EventKind::RunStarted { .. }
            | EventKind::Note { .. }
            | EventKind::Warning { .. }
            | EventKind::Starting { .. }
            | EventKind::Progress { .. }
            | EventKind::Started { .. }
            | EventKind::Probing { .. }
            | EventKind::Failed { .. }
            | EventKind::Restarting { .. }
            | EventKind::Renewing { .. }
            | EventKind::BuildFailed { .. }
            | EventKind::Unhealthy { .. }
            | EventKind::Healthy { .. }
            | EventKind::Applied { .. }
            | EventKind::StackStopping { .. }
            | EventKind::Stopping { .. }
            | EventKind::Killing { .. }
            | EventKind::Stopped { .. }
            | EventKind::Removed { .. }
            | EventKind::Receipt(_)
            | EventKind::Finished { .. } => {}
        }
    }

    /// `critical path: db 702 ms → api 48 ms`; nothing where there is no chain to speak of.
    pub(super) fn critical_path(&self) -> Option<String> {
        let mut path = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = self.last(self.there.keys().filter(|node| matches!(node, NodeId::Service(_))));
        while let Some((there, node)) = next {
            if !seen.insert(node) {
                break;
            }
            if matches!(node, NodeId::Service(_)) || there.elapsed_ms >= WORTH_MS {
                path.push(format!("{node} {}", words::duration(there.elapsed_ms)));
            }
            next = self.needs.get(node).and_then(|needs| self.last(needs));
        }
        path.reverse();
        (path.len() > 1).then(|| format!("critical path: {}", path.join(" → ")))
    }

    /// The one of `nodes` that was there last. Of two at once the name decides: the same events give the same text.
    fn last<'a>(&'a self, nodes: impl IntoIterator<Item = &'a NodeId>) -> Option<(There, &'a NodeId)> {
        let there = nodes.into_iter().filter_map(|node| Some((*self.there.get(node)?, node)));
        there.max_by_key(|(there, node)| (there.at_ms, *node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::Service(name.parse().unwrap())
    }

    fn ready(at_ms: u64, name: &str, elapsed_ms: u64) -> Event {
        Event { at_ms, kind: EventKind::Ready { node: node(name), elapsed_ms, probe: "tcp" } }
    }

    fn path(trace: Trace, events: &[Event]) -> Option<String> {
        let mut trace = trace;
        for event in events {
            trace.on(event);
        }
        trace.critical_path()
    }

    #[test]
    fn the_path_goes_through_what_was_waited_for_last() {
        let needs =
            [(node("api"), vec![node("db"), node("redis")]), (node("gateway"), vec![node("redis"), node("api")])];
        let events = [ready(90, "redis", 90), ready(702, "db", 702), ready(750, "api", 48), ready(762, "gateway", 12)];
        assert_eq!(
            path(Trace::new(needs), &events).as_deref(),
            Some("critical path: db 702 ms → api 48 ms → gateway 12 ms")
        );
    }

    #[test]
    fn needs_are_learned_from_events_and_quick_tasks_are_left_out() {
        let network = NodeId::Network("n".into());
        let waiting =
            |name: &str, on: Vec<NodeId>| Event { at_ms: 0, kind: EventKind::Waiting { node: node(name), on } };
        let events = [
            waiting("db", vec![network.clone()]),
            waiting("api", vec![node("db")]),
            Event { at_ms: 3, kind: EventKind::Completed { node: network, elapsed_ms: 3 } },
            ready(50, "db", 47),
            ready(60, "api", 10),
            Event { at_ms: 60, kind: EventKind::StackReady { elapsed_ms: 60, unready: vec![] } },
            // A restart long after start-up is no part of it.
            ready(90_000, "db", 5),
        ];
        assert_eq!(path(Trace::default(), &events).as_deref(), Some("critical path: db 47 ms → api 10 ms"));
    }

    #[test]
    fn one_node_is_no_path_and_a_cycle_ends() {
        assert_eq!(path(Trace::default(), &[ready(5, "db", 5)]), None);
        let cycle = [(node("a"), vec![node("b")]), (node("b"), vec![node("a")])];
        let path = path(Trace::new(cycle), &[ready(5, "a", 5), ready(6, "b", 1)]);
        assert_eq!(path.as_deref(), Some("critical path: a 5 ms → b 1 ms"));
    }
}
