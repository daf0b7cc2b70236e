//! What a service waits for, through everything that waits itself, down to what does not.

use serde::Serialize;

use indexmap::IndexMap;

use super::{Case, Run};
use crate::state::record::ServiceRecord;

/// How many ways are followed: in a big stack everything waits for everything.
const PATHS: usize = 12;

/// One step on the way from a service to what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// A service, or something that stands behind one: `image redis:7`.
    pub node: String,
    /// What it is doing.
    pub state: String,
    /// What there is to say of that: the last answer of its probe, why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The services that something must be found out about before one can be explained: itself, and all it waits for.
pub fn concerned(services: &IndexMap<String, ServiceRecord>, service: &str) -> Vec<String> {
    let mut all = vec![service.to_owned()];
    let mut index = 0;
    while let Some(name) = all.get(index) {
        let on = services.get(name).map(|record| record.waiting_on.clone()).unwrap_or_default();
        for name in on.iter().map(|node| service_of(node)).filter(|name| services.contains_key(*name)) {
            if !all.iter().any(|known| known == name) {
                all.push(name.to_owned());
            }
        }
        index += 1;
    }
    all
}

/// The service that a node works for, where its name tells.
pub(super) fn service_of(node: &str) -> &str {
    node.strip_prefix("build ").or_else(|| node.strip_prefix("container ")).unwrap_or(node)
}

/// Each way from the service to something that waits for nothing more.
pub(super) fn paths(case: &Case) -> Vec<Vec<Link>> {
    let mut paths = Vec::new();
    follow(case, &case.service, &mut Vec::new(), &mut paths);
    paths
}

fn follow(case: &Case, name: &str, way: &mut Vec<Link>, paths: &mut Vec<Vec<Link>>) {
    let on = case.services.get(name).map(|record| record.waiting_on.as_slice()).unwrap_or_default();
    if on.is_empty() && !way.is_empty() {
        paths.push(way.clone());
    }
    for node in on {
        // A cycle cannot be in a stack, but it could be in a file.
        if paths.len() >= PATHS || way.iter().any(|link| link.node == *node) || node == &case.service {
            continue;
        }
        way.push(link(case, node));
        follow(case, node, way, paths);
        way.pop();
    }
}

fn link(case: &Case, node: &str) -> Link {
    let over = !matches!(case.run, Run::Up { .. });
    let (state, detail) = if let Some(record) = case.services.get(node) {
        let message = record.failure.as_ref().map(|failure| failure.message.clone());
        // That it was stopped with the run is no reason for anything.
        let unready = over && record.phase == "stopped" && record.ready_ms.is_none();
        let probe = record.last_probe.clone().filter(|_| unready || record.phase != "stopped");
        let detail = message.or(probe).or_else(|| record.detail.clone());
        let state = if unready { "not ready" } else { &record.phase };
        (state.to_owned(), detail.filter(|_| record.phase != "waiting"))
    } else if let Some(failure) = case.failures.get(node) {
        ("failed".to_owned(), Some(failure.message.clone()))
    } else {
        let of_service = case.services.get(service_of(node)).and_then(|record| record.failure.as_ref());
        match of_service {
            Some(failure) => ("failed".to_owned(), Some(failure.message.clone())),
            None if over => ("not done".to_owned(), None),
            None => ("going on".to_owned(), None),
        }
    };
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    Link { node: node.to_owned(), state, detail: detail.map(first_line) }
}
