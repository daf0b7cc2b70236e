//! A new plan, laid against the one that is being carried out: what has to be made anew, and which part of it changed.

use std::collections::{BTreeSet, HashMap, HashSet};

use indexmap::IndexMap;

use super::{Plan, Step};
use crate::driver::Work;
use crate::driver::process::{BuildSpec, EnvVar, Spec};
use crate::event::Action;
use crate::name::{NodeId, ServiceName};
use crate::stack::Until;

/// What a new plan changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Services that are new.
    pub added: Vec<ServiceName>,
    /// Services that are made anew.
    pub changed: Vec<ServiceName>,
    /// Services that are no more.
    pub removed: Vec<ServiceName>,
    /// The nodes that are made anew, and why, in a few words.
    pub nodes: HashMap<NodeId, String>,
}

impl Renewal {
    /// Whether both plans bring about the same.
    pub fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares the plan that is being carried out with a new one.
pub fn renew(now: &Plan, new: &Plan) -> Renewal {
    let before: HashMap<&NodeId, &Step> = now.steps.iter().map(|step| (&step.node.id, step)).collect();
    let mut renewal = Renewal::default();
    for step in &new.steps {
        let id = &step.node.id;
        let Some(old) = before.get(id) else {
            if let NodeId::Service(name) = id {
                renewal.added.push(name.clone());
            }
            continue;
        };
        // Needed nodes come first: a service is made anew with the container, the build or the programs it is made of.
        let mut made_of = step.node.needs.iter().filter(|need| need.until == Until::Completed && is_part(&need.on));
        let cause = difference(old, step).or_else(|| made_of.find_map(|need| renewal.nodes.get(&need.on)).cloned());
        if let Some(cause) = cause {
            if let NodeId::Service(name) = id {
                renewal.changed.push(name.clone());
            }
            renewal.nodes.insert(id.clone(), cause);
        }
    }
    let is_kept = |id: &NodeId| new.steps.iter().any(|step| step.node.id == *id);
    renewal.removed = before
        .keys()
        .filter(|id| !is_kept(id))
        .filter_map(|id| if let NodeId::Service(name) = id { Some(name.clone()) } else { None })
        .collect();
    renewal.removed.sort();
    renewal
}

/// What nodes need of a plan, directly or not, and those nodes themselves.
pub fn with_needs(plan: &Plan, nodes: impl IntoIterator<Item = NodeId>) -> HashSet<NodeId> {
    let mut found: HashSet<NodeId> = nodes.into_iter().collect();
    // Needed nodes come first: seen from the end, whoever needs a node was met before it.
    for step in plan.steps.iter().rev() {
        if found.contains(&step.node.id) {
            found.extend(step.node.needs.iter().map(|need| need.on.clone()));
        }
    }
    found
}

/// Whether a node makes what one service runs.
fn is_part(id: &NodeId) -> bool {
    matches!(id, NodeId::Create(_) | NodeId::Build(_))
}

/// What is different, in a few words; `None` where nothing is that would need another start.
fn difference(before: &Step, step: &Step) -> Option<String> {
    let (old, new) = (&before.node.work, &step.node.work);
    let changed = |what: &str| Some(format!("{what} changed"));
    match (old, new) {
        (Work::Process(old), Work::Process(new)) => process(old, new),
        (Work::Build(old), Work::Build(new)) => match environment(&old.env, &new.env) {
            Some(variables) => changed(&variables),
            None if (BuildSpec { env: new.env.clone(), ..old.clone() }) != *new => changed("how it is built"),
            None => None,
        },
        // What the engine has was laid against the new plan already.
        (Work::Create(_), Work::Create(_)) => (step.action == Action::Replace).then(|| step.cause.clone()),
        (Work::Container(old), Work::Container(new)) if old != new => changed("its container"),
        (Work::Embedded(old), Work::Embedded(new)) if old != new => changed("its configuration"),
        // The engine's networks, volumes and images are made once; what uses them says when it changed.
        (
            Work::Container(_)
            | Work::Embedded(_)
            | Work::Network(_)
            | Work::Volume(_)
            | Work::Image(_)
            | Work::Install(_)
            | Work::Expected,
            _,
        ) if std::mem::discriminant(old) == std::mem::discriminant(new) => None,
        (_, _) => changed("what runs it"),
    }
}

fn process(old: &Spec, new: &Spec) -> Option<String> {
    // Where a value came from makes no difference to whoever gets it.
    if (Spec { env: new.env.clone(), ..old.clone() }) == *new {
        return environment(&old.env, &new.env).map(|variables| format!("{variables} changed"));
    }
    let mut parts = Vec::new();
    if old.program != new.program || old.args != new.args {
        parts.push("its command".to_owned());
    }
    if old.dir != new.dir {
        parts.push("its folder".to_owned());
    }
    if old.port != new.port {
        parts.push("its port".to_owned());
    }
    parts.extend(environment(&old.env, &new.env));
    if parts.is_empty() {
        parts.push("its configuration".to_owned());
    }
    Some(format!("{} changed", parts.join(", ")))
}

/// Names the variables that differ; their values may be secret.
fn environment(old: &IndexMap<String, EnvVar>, new: &IndexMap<String, EnvVar>) -> Option<String> {
    let differ: BTreeSet<&String> = old
        .keys()
        .chain(new.keys())
        .filter(|name| old.get(*name).map(|var| &var.value) != new.get(*name).map(|var| &var.value))
        .collect();
    let names: Vec<String> = differ.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
