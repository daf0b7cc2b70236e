//! The checked model: nodes and what each needs.
//!
//! Only [`resolve`] can build a [`Stack`]; it is never half valid: every need names a node of the stack and there is
//! no cycle.

mod containers;
mod describe;
mod embedded;
mod error;
mod graph;
pub mod hash;
mod known;
mod mask;
mod programs;
mod replicas;
mod resolve;
mod select;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use crate::driver::Work;
use crate::driver::embedded::Server;
use crate::manifest::compose::{Container, HashDialect};
use crate::name::{NodeId, ProjectName, ServiceName};
use crate::probe;

pub use crate::manifest::{HealthAction, OnTimeout, Restart, RestartPolicy, Until, Watch};
pub use describe::describe;
pub use error::ResolveError;
pub use mask::{mask, mask_variable};
pub use replicas::assign_ports;
pub use resolve::resolve;

/// A limit for tasks, which have none of their own: a pull takes as long as the line needs, a build as the compiler.
const TASK_LIMIT: Duration = Duration::from_hours(24);

/// A stack that can be brought up.
#[derive(Clone, Debug)]
pub struct Stack {
    pub(in crate::stack) project: ProjectName,
    pub(in crate::stack) root: PathBuf,
    pub(in crate::stack) nodes: IndexMap<NodeId, Node>,
    pub(in crate::stack) scaled_to_none: Vec<ServiceName>,
    /// What the Compose files say of the services that run in containers.
    pub(in crate::stack) described: BTreeMap<ServiceName, Container>,
}

/// One node of a stack.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// What it brings about.
    pub work: Work,
    /// What must hold before it starts.
    pub needs: Vec<Need>,
    /// How its readiness is decided; ready as soon as it is started where there is none.
    pub probe: Option<probe::Spec>,
    /// How long it may take to be ready, from its start.
    pub ready_timeout: Duration,
    /// What happens at that limit.
    pub on_timeout: OnTimeout,
    /// How it is seen that it still works once it was ready; nobody looks where there is none.
    pub health: Option<Health>,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// How long it has to stop before it is killed.
    pub stop_grace: Duration,
    /// The TCP ports of this machine that it will listen on.
    pub ports: Vec<PortClaim>,
    /// Where people reach it: URLs and connection strings. Secrets are in there; mask before printing.
    pub addresses: Vec<String>,
    /// What is watched for changes, where something is.
    pub watch: Option<Watch>,
}

/// An edge of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The node that is needed.
    pub on: NodeId,
    /// What must be true of it.
    pub until: Until,
    /// Whether whoever needs it is restarted when it was started against an earlier life of it.
    pub restart: bool,
}

impl Need {
    /// A need that does not restart whoever has it.
    pub fn new(on: NodeId, until: Until) -> Self {
        Self { on, until, restart: false }
    }
}

/// How it is seen that a service still works after it was ready.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What is asked.
    pub probe: probe::Spec,
    /// The time between the end of one question and the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many bad answers in a row it takes.
    pub retries: u32,
    /// What happens then.
    pub action: HealthAction,
}

/// A port that a node will listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortClaim {
    /// The address.
    pub ip: std::net::IpAddr,
    /// The port.
    pub port: u16,
}

impl Stack {
    /// The project's name.
    pub fn project(&self) -> &ProjectName {
        &self.project
    }

    /// The folder of `devctl.toml`.
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }

    /// The nodes, needed ones before those that need them, otherwise in the order of the manifest.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node of that identity.
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The services of Compose files that were asked for with no container at all.
    pub fn scaled_to_none(&self) -> &[ServiceName] {
        &self.scaled_to_none
    }

    /// The keys of a service that are not as they were when this label was written (`dev.devctl.config-keys`); `None` where
    /// that cannot be told.
    pub fn changed_keys(&self, service: &ServiceName, label: &str) -> Option<Vec<String>> {
        hash::changed_keys(label, self.described.get(&service.base())?)
    }

    /// What a service shares with others, as Compose hashes it: the service's hashes where the containers of these have
    /// the ids that `id` tells, and which services they are. `None` where it shares nothing.
    pub fn shared_hashes(
        &self,
        service: &ServiceName,
        id: impl Fn(&str) -> Option<String>,
    ) -> Option<(Vec<String>, Vec<String>)> {
        let container = self.described.get(&service.base())?;
        let with = std::cell::RefCell::new(Vec::new());
        let shared = hash::shared(container, |service| {
            with.borrow_mut().push(service.to_owned());
            id(service)
        });
        let with = with.into_inner();
        let hashes = || HashDialect::ALL.into_iter().map(|dialect| hash::service(&shared, dialect)).collect();
        (!with.is_empty()).then(|| (hashes(), with))
    }

    /// The values in the environments of all nodes that no log should show.
    pub fn secrets(&self) -> Vec<String> {
        let mut env: Vec<(&str, &str)> = Vec::new();
        for node in self.nodes.values() {
            match &node.work {
                Work::Create(spec) => env.extend(spec.environment()),
                Work::Build(spec) => env.extend(spec.env.iter().map(|(k, v)| (k.as_str(), v.value.as_str()))),
                Work::Process(spec) => env.extend(spec.env.iter().map(|(k, v)| (k.as_str(), v.value.as_str()))),
                Work::Embedded(spec) => {
                    if let Server::Postgres { user, password, .. } = &spec.server {
                        env.extend([("POSTGRES_USER", user.as_str()), ("POSTGRES_PASSWORD", password.as_str())]);
                    }
                }
                Work::Network(_)
                | Work::Volume(_)
                | Work::Image(_)
                | Work::Container(_)
                | Work::Install(_)
                | Work::Expected => {}
            }
        }
        // Names of services are in every prefix.
        env.extend(self.services().map(|name| ("", name.as_str())));
        mask::secret_values(env)
    }

    /// The services, in the order of the manifest.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.nodes.keys().filter_map(|id| if let NodeId::Service(name) = id { Some(name) } else { None })
    }
}

/// Which part of the manifest to bring up.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// These services and all that they need; every service of no inactive profile where empty.
    pub services: Vec<ServiceName>,
    /// Only host programs of these groups (`--api-only`, `--ws-only`) and the containers that they need. A need on a
    /// host program of another group is dropped: the point of the flag is that somebody else runs it.
    pub groups: Vec<String>,
    /// Only the named services, without what they need.
    pub no_deps: bool,
    /// Active Compose profiles.
    pub profiles: Vec<String>,
    /// How many of a service run at once, where that is not what the files say.
    pub scale: BTreeMap<ServiceName, u32>,
    /// The ports of replicas but the first, which has the declared one. What is there is kept, so that a replica that
    /// runs keeps its port; [`assign_ports`] adds what is missing.
    pub ports: BTreeMap<ServiceName, u16>,
}

impl Selection {
    /// Asks for more. All services are asked for where none is named.
    pub fn add(&mut self, services: Vec<ServiceName>, groups: Vec<String>, profiles: Vec<String>, no_deps: bool) {
        let everything = |services: &[ServiceName], groups: &[String]| services.is_empty() && groups.is_empty();
        if everything(&self.services, &self.groups) || everything(&services, &groups) {
            (self.services, self.groups, self.no_deps) = (Vec::new(), Vec::new(), false);
        } else {
            self.no_deps &= no_deps;
            self.services.extend(services);
            self.groups.extend(groups);
        }
        self.profiles.extend(profiles);
        for list in [&mut self.groups, &mut self.profiles] {
            list.sort();
            list.dedup();
        }
        self.services.sort();
        self.services.dedup();
    }
}

/// What stands behind the services of the Compose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Infra {
    /// Containers on the Docker Engine.
    Docker,
    /// Embedded servers.
    Embedded,
    /// Nothing of ours: they should be there (`--skip-docker`).
    Expected,
}

/// A node that ends by itself: it makes or fetches something.
fn task(id: NodeId, work: Work) -> Node {
    Node {
        id,
        work,
        needs: Vec::new(),
        probe: None,
        ready_timeout: TASK_LIMIT,
        on_timeout: OnTimeout::Fail,
        health: None,
        restart: Restart::default(),
        stop_grace: crate::manifest::DEFAULT_STOP_GRACE,
        ports: Vec::new(),
        addresses: Vec::new(),
        watch: None,
    }
}
