//! What somebody may want of a run that is up.

use std::collections::{HashMap, HashSet};

use super::node::Spec;
use crate::name::NodeId;

/// A wish about a run that is up. Nodes that a wish names and that the run does not have are left out of it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Bring up services that do not run, and what they need.
    Start(Vec<NodeId>),
    /// Stop services and leave them stopped. What needs them runs on.
    Stop {
        /// The services.
        nodes: Vec<NodeId>,
        /// Whether they are killed at once.
        kill: bool,
    },
    /// Stop services and start them again; those that do not run are started.
    Restart {
        /// The services.
        nodes: Vec<NodeId>,
        /// Whether they are built first, and restarted only if that succeeds.
        build: bool,
        /// Why, in a few words.
        cause: String,
    },
    /// Go over to another plan.
    Apply(Change),
    /// End the run.
    Down {
        /// Whether everything is killed at once.
        kill: bool,
        /// Whether containers and networks are left behind, stopped.
        keep: bool,
    },
}

/// Another plan, laid against the one that is being carried out.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// All nodes of the new plan, needed ones first.
    pub specs: Vec<Spec>,
    /// Those that have to be made anew, and why, in a few words.
    pub changed: HashMap<NodeId, String>,
    /// Those that are tried again where they failed or were stopped; all others that do not run are left alone.
    pub again: HashSet<NodeId>,
}
