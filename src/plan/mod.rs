//! What `up` will do and why: the stack, laid against what is there now.
//!
//! [`diff`] is a pure function; `up --dry-run` prints its result and the engine carries the same value out.

mod containers;
mod orphans;
mod policy;
mod renew;

pub use orphans::{Elsewhere, elsewhere, left_by_the_dead, orphans, told_of_orphans};
pub use policy::{Builds, Orphans, Policy, Pull, Recreate};
pub use renew::{Renewal, renew, with_needs};

use std::fmt;
use std::time::Duration;

use crate::driver::Work;
use crate::driver::docker::{self, Observed, ObservedContainer, PullPolicy, Takeover};
use crate::event::Action;
use crate::name::{NodeId, RunId};
use crate::stack::{Node, Stack};

use self::containers::{Remade, Verdicts};

/// The label that carries Compose's hash of what was asked for.
const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The label that carries the project's name.
const PROJECT: &str = "com.docker.compose.project";

/// How long devctl looks for what somebody else should be running before it says that it is not there.
const EXPECTED_WITHIN: Duration = Duration::from_secs(5);

/// What is to be done, in an order in which needed nodes come first.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One step for each node of the stack.
    pub steps: Vec<Step>,
    /// Whether containers and networks outlive the run, for a faster next start.
    pub keep: bool,
    /// Containers of these services that are too many, and go before the steps are taken.
    pub removals: Vec<Removal>,
    /// What is not as the files say and stays as it is all the same.
    pub warnings: Vec<Warning>,
}

/// A container that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why, in a few words.
    pub cause: String,
}

impl Removal {
    /// The removal of a container of a service that no file has.
    pub fn orphan(found: &ObservedContainer) -> Self {
        Self::new(found, "no file has its service")
    }

    fn new(found: &ObservedContainer, cause: &str) -> Self {
        Self { id: found.id.clone(), name: found.name.clone(), cause: cause.to_owned() }
    }
}

/// Something that stays as it is although it is not as the files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
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
    /// The container whose place it takes, where it takes one's.
    pub takeover: Option<Takeover>,
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

/// Lays a stack against what is there.
pub fn diff(stack: &Stack, now: &Now, policy: &Policy) -> Plan {
    let mut warnings = Vec::new();
    let mut remade = Remade { networks: Vec::new(), volumes: Vec::new(), images: Vec::new() };
    for node in stack.nodes() {
        match &node.work {
            Work::Network(spec) if differs(spec, now) => remade.networks.push(&spec.name),
            Work::Volume(spec) if policy.lose_data && other_volume(spec, now) => remade.volumes.push(&spec.name),
            Work::Volume(spec) if other_volume(spec, now) => warnings.push(other_configuration(spec)),
            Work::Image(spec) => match pull_of(spec, policy) {
                PullPolicy::Always | PullPolicy::Build | PullPolicy::Refresh(_) => {
                    remade.images.push(&spec.reference);
                }
                PullPolicy::Missing | PullPolicy::Never => {}
            },
            _ => {}
        }
        warnings.extend(foreign(node, stack, now));
    }
    let verdicts = containers::judge(stack, now, policy, &remade);
    let is_kept = |node: &Node| matches!(containers::start(node, &verdicts), Some((Action::Keep, ..)));
    let kept_any = stack.nodes().any(|node| is_service(node) && is_kept(node));
    let steps = stack
        .nodes()
        .map(|node| {
            let mut node = node.clone();
            if let Work::Image(spec) = &mut node.work {
                spec.pull = pull_of(spec, policy);
                spec.build = spec.build.take().filter(|_| policy.build != Some(Builds::Never));
            }
            let (action, existing, cause) = judge(&node, now, &remade, &verdicts, kept_any);
            if action == Action::Expect && is_service(&node) {
                node.ready_timeout = node.ready_timeout.min(EXPECTED_WITHIN);
            }
            let verdict = node.id.service().and_then(|name| verdicts.by_node.get(&NodeId::Create(name.clone())));
            let mut takeover = None;
            if let Some(verdict) = verdict {
                renumber(&mut node, verdict.number);
                takeover = verdict.takeover.clone().filter(|_| matches!(node.id, NodeId::Create(_)));
            }
            Step { node, action, existing, cause, takeover }
        })
        .collect();
    Plan { steps, keep: false, removals: verdicts.removals, warnings }
}

fn pull_of(spec: &docker::ImageSpec, policy: &Policy) -> PullPolicy {
    match (&spec.build, policy.build) {
        (Some(_), Some(Builds::Always)) => PullPolicy::Build,
        (Some(_), Some(Builds::Never)) => PullPolicy::Never,
        (None, _) | (Some(_), None) => policy.pull.map_or(spec.pull, Into::into),
    }
}

/// Makes a node that of the container with this number.
fn renumber(node: &mut Node, number: u32) {
    match &mut node.work {
        Work::Create(spec) => spec.renumber(number),
        Work::Container(spec) => spec.renumber(number),
        _ => {}
    }
}

/// Whether a network of ours is there and is not as the file says. One without a hash is nobody's to judge.
fn differs(spec: &docker::NetworkSpec, now: &Now) -> bool {
    now.engine.networks.get(&spec.name).is_some_and(|found| {
        let ours = !spec.external && found.project.as_deref() == spec.label(PROJECT);
        let hash = found.config_hash.as_deref().filter(|hash| !hash.is_empty());
        ours && hash.is_some_and(|hash| spec.label(CONFIG_HASH) != Some(hash))
    })
}

/// The same of a volume.
fn other_volume(spec: &docker::VolumeSpec, now: &Now) -> bool {
    now.engine.volumes.get(&spec.name).is_some_and(|found| {
        let ours = !spec.external && found.project.as_deref() == spec.label(PROJECT);
        let hash = found.config_hash.as_deref().filter(|hash| !hash.is_empty());
        ours && hash.is_some_and(|hash| spec.label(CONFIG_HASH) != Some(hash))
    })
}

fn other_configuration(spec: &docker::VolumeSpec) -> Warning {
    Warning {
        message: format!("the volume `{}` exists and is not as the Compose file says; it is used as it is", spec.name),
        hints: vec![format!("to make it anew and lose what is in it: `devctl up --yes`")],
    }
}

/// A network or volume of the right name that was not made for this project. Compose uses it too.
fn foreign(node: &Node, stack: &Stack, now: &Now) -> Option<Warning> {
    let (kind, name, owner) = match &node.work {
        Work::Network(spec) if !spec.external => ("network", &spec.name, &now.engine.networks.get(&spec.name)?.project),
        Work::Volume(spec) if !spec.external => ("volume", &spec.name, &now.engine.volumes.get(&spec.name)?.project),
        _ => return None,
    };
    let message = match owner {
        Some(owner) if owner == stack.project().as_str() => return None,
        Some(owner) => format!("the {kind} `{name}` belongs to the project `{owner}`; it is used all the same"),
        None => format!("the {kind} `{name}` was not made by devctl or Docker Compose; it is used all the same"),
    };
    Some(Warning { message, hints: vec![format!("say so in the Compose file: `external: true` for this {kind}")] })
}

fn is_service(node: &Node) -> bool {
    matches!(node.id, NodeId::Service(_))
}

type Judgement = (Action, Option<String>, String);

/// Decides on one node. `kept_any`: whether some container of the stack was running before and stays.
fn judge(node: &Node, now: &Now, remade: &Remade, verdicts: &Verdicts, kept_any: bool) -> Judgement {
    let engine = &now.engine;
    match &node.work {
        Work::Network(spec) => match engine.networks.get(&spec.name) {
            None if spec.external => (Action::Create, None, "must exist already".to_owned()),
            None => (Action::Create, None, "does not exist".to_owned()),
            Some(_) if remade.networks.contains(&spec.name.as_str()) => {
                (Action::Replace, None, "its configuration changed".to_owned())
            }
            Some(found) if spec.external || kept_any || found.project.as_deref() != spec.label(PROJECT) => {
                (Action::Keep, None, "exists".to_owned())
            }
            Some(_) => (Action::Adopt, None, "exists, and nothing uses it".to_owned()),
        },
        Work::Volume(spec) => match engine.volumes.get(&spec.name) {
            None => (Action::Create, None, "does not exist".to_owned()),
            Some(_) if remade.volumes.contains(&spec.name.as_str()) => {
                (Action::Replace, None, "its configuration changed; what is in it is lost".to_owned())
            }
            Some(_) => (Action::Keep, None, "exists".to_owned()),
        },
        Work::Image(spec) => match engine.images.get(&spec.reference) {
            Some(id) => match spec.pull {
                PullPolicy::Missing | PullPolicy::Never => {
                    (Action::Keep, Some(id.clone()), "the engine has it".to_owned())
                }
                PullPolicy::Always => (Action::Create, None, "its pull policy is `always`".to_owned()),
                PullPolicy::Build => (Action::Create, None, "it is built whatever the engine has".to_owned()),
                PullPolicy::Refresh(_) => (Action::Create, None, "unless it is new enough".to_owned()),
            },
            None => (Action::Create, None, "the engine does not have it".to_owned()),
        },
        Work::Create(_) => match verdicts.by_node.get(&node.id) {
            Some(verdict) => (verdict.action, verdict.existing.clone(), verdict.cause.clone()),
            None => absent(),
        },
        // The start follows the container it starts.
        Work::Container(_) => containers::start(node, verdicts).unwrap_or_else(absent),
        Work::Install(_) => (Action::Create, None, "unless its programs are at hand".to_owned()),
        Work::Embedded(_) | Work::Process(_) => (Action::Start, None, "does not run".to_owned()),
        Work::Build(_) => (Action::Start, None, "builds what has changed".to_owned()),
        Work::Expected => (Action::Expect, None, "somebody else runs it".to_owned()),
    }
}

fn absent() -> Judgement {
    (Action::Create, None, "does not exist".to_owned())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for removal in &self.removals {
            writeln!(f, "remove   container {}  {}", removal.name, removal.cause)?;
        }
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
                (Action::Keep, _) | (Action::Expect, Work::Create(_)) => "keep",
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
