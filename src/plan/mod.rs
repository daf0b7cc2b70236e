//! What `up` will do and why: the stack, laid against what is there now.
//!
//! [`diff`] is a pure function; `up --dry-run` prints its result and the engine carries the same value out.

mod renew;

pub use renew::{Renewal, renew, with_needs};

use std::fmt;
use std::time::Duration;

use crate::driver::Work;
use crate::driver::docker::{Observed, ObservedContainer, PullPolicy};
use crate::event::Action;
use crate::name::{NodeId, RunId};
use crate::stack::{Node, Stack};

/// The label that carries Compose's hash of a container's configuration.
const CONFIG_HASH: &str = "com.docker.compose.config-hash";

/// How long devctl looks for what somebody else should be running before it says that it is not there.
const EXPECTED_WITHIN: Duration = Duration::from_secs(5);

/// What is to be done, in an order in which needed nodes come first.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One step for each node of the stack.
    pub steps: Vec<Step>,
    /// Whether containers and networks outlive the run, for a faster next start.
    pub keep: bool,
}

/// What is to be done with one node.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node.
    pub node: Node,
    /// What to do.
    pub action: Action,
    /// The id of what exists already, where something does.
    pub existing: Option<String>,
    /// Why, in a few words.
    pub cause: String,
}

/// What the machine looks like before the run.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// What the engine has, where one is used.
    pub engine: Observed,
    /// What runs that died without cleaning up left: it is ours to take over.
    pub dead: Dead,
}

/// What is known of runs of this project that died.
#[derive(Clone, Debug, Default)]
pub struct Dead {
    /// Their ids, which their containers carry.
    pub runs: Vec<RunId>,
    /// The services that the last of them had started. A container that was there before, stopped, carries another id
    /// or none, and labels cannot be changed.
    pub services: Vec<String>,
}

impl Dead {
    fn left(&self, found: &ObservedContainer) -> bool {
        let labelled = found.run.as_ref().is_some_and(|run| self.runs.iter().any(|dead| dead.as_str() == run));
        labelled || self.services.contains(&found.service)
    }
}

/// What dead runs left of services that this stack does not have: nobody will adopt it.
pub fn orphans<'a>(stack: &Stack, now: &'a Now) -> Vec<&'a ObservedContainer> {
    let is_planned = |service: &str| stack.services().any(|name| name.as_str() == service);
    now.engine.containers.values().filter(|found| now.dead.left(found) && !is_planned(&found.service)).collect()
}

/// Lays a stack against what is there.
pub fn diff(stack: &Stack, now: &Now) -> Plan {
    let kept_any =
        stack.nodes().any(|node| matches!(judge(node, stack, now, false).0, Action::Keep) && is_service(node));
    let steps = stack
        .nodes()
        .map(|node| {
            let (action, existing, cause) = judge(node, stack, now, kept_any);
            let mut node = node.clone();
            if action == Action::Expect {
                node.ready_timeout = node.ready_timeout.min(EXPECTED_WITHIN);
            }
            Step { node, action, existing, cause }
        })
        .collect();
    Plan { steps, keep: false }
}

fn is_service(node: &Node) -> bool {
    matches!(node.id, NodeId::Service(_))
}

type Judgement = (Action, Option<String>, String);

/// Decides on one node. `kept_any`: whether some container of the stack was running before and stays.
fn judge(node: &Node, stack: &Stack, now: &Now, kept_any: bool) -> Judgement {
    let engine = &now.engine;
    match &node.work {
        Work::Network(spec) => match engine.networks.get(&spec.name) {
            None if spec.external => (Action::Create, None, "must exist already".to_owned()),
            None => (Action::Create, None, "does not exist".to_owned()),
            Some(ours) if spec.external || kept_any || !ours => (Action::Keep, None, "exists".to_owned()),
            Some(_) => (Action::Adopt, None, "exists, and nothing uses it".to_owned()),
        },
        Work::Volume(spec) => {
            if engine.volumes.contains(&spec.name) {
                (Action::Keep, None, "exists".to_owned())
            } else {
                (Action::Create, None, "does not exist".to_owned())
            }
        }
        Work::Image(spec) => match engine.images.get(&spec.reference) {
            Some(id) => match spec.pull {
                PullPolicy::Missing | PullPolicy::Never => {
                    (Action::Keep, Some(id.clone()), "the engine has it".to_owned())
                }
                PullPolicy::Always => (Action::Create, None, "its pull policy is `always`".to_owned()),
                PullPolicy::Build => (Action::Create, None, "its pull policy is `build`".to_owned()),
                PullPolicy::Refresh(_) => (Action::Create, None, "unless it is new enough".to_owned()),
            },
            None => (Action::Create, None, "the engine does not have it".to_owned()),
        },
        Work::Create(spec) => container(node, spec, now).unwrap_or_else(absent),
        Work::Container(_) => {
            // The start follows the container it starts.
            let create = node.id.service().cloned().map(NodeId::Create).and_then(|id| stack.node(&id));
            match create.map(|create| judge(create, stack, now, kept_any)) {
                Some((action @ (Action::Keep | Action::Adopt), existing, cause)) => (action, existing, cause),
                Some((Action::Replace, _, cause)) => (Action::Start, None, cause),
                Some((_, existing, cause)) => (Action::Start, existing, cause),
                None => absent(),
            }
        }
        Work::Install(_) => (Action::Create, None, "unless its programs are at hand".to_owned()),
        Work::Embedded(_) | Work::Process(_) => (Action::Start, None, "does not run".to_owned()),
        Work::Build(_) => (Action::Start, None, "builds what has changed".to_owned()),
        Work::Expected => (Action::Expect, None, "somebody else runs it".to_owned()),
    }
}

fn absent() -> Judgement {
    (Action::Create, None, "does not exist".to_owned())
}

fn container(node: &Node, spec: &crate::driver::docker::ContainerSpec, now: &Now) -> Option<Judgement> {
    let service = node.id.service()?;
    let found: &ObservedContainer = now.engine.containers.get(service.as_str())?;
    let existing = Some(found.id.clone());
    if found.config_hash.as_deref() != spec.label(CONFIG_HASH) {
        return Some((Action::Replace, existing, "its configuration changed".to_owned()));
    }
    if now.engine.images.get(spec.image()).is_some_and(|id| *id != found.image_id) {
        return Some((Action::Replace, existing, format!("the image `{}` changed", spec.image())));
    }
    Some(match (found.running, now.dead.left(found)) {
        (true, true) => (Action::Adopt, existing, "runs, left by a run that was killed".to_owned()),
        (true, false) => (Action::Keep, existing, "runs and is up to date".to_owned()),
        (false, _) => (Action::Start, existing, "exists and does not run".to_owned()),
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| object(&step.node.id).chars().count()).max().unwrap_or(0);
        for step in &self.steps {
            let verb = match (step.action, &step.node.work) {
                (Action::Create, Work::Image(spec)) if spec.build.is_some() => "build",
                (Action::Create, Work::Image(_)) => "pull",
                (Action::Create, Work::Install(_)) => "install",
                (Action::Create, _) => "create",
                (Action::Start, Work::Build(_)) => "build",
                (Action::Start, Work::Create(_)) => "reuse",
                (Action::Start, _) => "start",
                (Action::Replace, _) => "replace",
                (Action::Keep, _) => "keep",
                (Action::Adopt, _) => "adopt",
                (Action::Expect, _) => "expect",
            };
            let needs: Vec<String> = step
                .node
                .needs
                .iter()
                .filter(|need| is_service_id(&need.on) && is_service_id(&step.node.id))
                .map(|need| need.on.to_string())
                .collect();
            write!(f, "{verb:<8} {:<width$}  {}", object(&step.node.id), step.cause)?;
            if !needs.is_empty() {
                write!(f, "; waits for {}", needs.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What a verb is said of: `build api` and not `build build api`.
fn object(id: &NodeId) -> String {
    match id {
        NodeId::Build(name) => name.to_string(),
        NodeId::Install(name) => name.to_string(),
        NodeId::Network(_) | NodeId::Volume(_) | NodeId::Image(_) | NodeId::Create(_) | NodeId::Service(_) => {
            id.to_string()
        }
    }
}

fn is_service_id(id: &NodeId) -> bool {
    matches!(id, NodeId::Service(_))
}

#[cfg(test)]
mod tests;
