//! What Compose files say, in the long form of everything, checked and with defaults in place: the canonical model that
//! `devctl config` prints and that config hashes are made of.
//!
//! There is one type for each of Compose's own, with its fields in the same order, as that is the order in which they
//! are hashed. Texts and structs that may be missing are an `Option`; numbers, lists and maps that Compose does not tell
//! apart from nothing are zero or empty. Places are never written; they are for the diagnostics of later checks.

mod build;
mod deploy;
mod device;
mod file_object;
mod hook;
mod lifecycle;
mod mount;
mod network;
mod port;
mod scalar;
mod selection;
mod service;

use std::path::PathBuf;

use indexmap::IndexMap;

pub use build::{Build, SshKey};
pub use deploy::{
    Deploy, DeployRestart, DiscreteResource, GenericResource, Placement, PlacementPreference, Resource, Resources,
    UpdateConfig,
};
pub use device::{Blkio, DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};
pub use file_object::{FileObject, FileReference};
pub use hook::{Develop, Hook, Trigger, WatchAction};
pub use lifecycle::{ContainerDependency, Healthcheck, PullPolicy};
pub use mount::{BindOptions, ImageOptions, Mount, MountKind, TmpfsOptions, VolumeOptions};
pub use network::{Attachment, Endpoint, Ipam, IpamPool, Network, Volume};
pub use port::{Port, Published};
pub use scalar::{Bytes, Extensions, FileMode, Hosts};
pub use selection::{Selected, SelectionError};
pub use service::{Container, CredentialSpec, Logging, Provider, Ulimit};

use super::canonical::{Form, HashDialect, Value};
use crate::manifest::source::At;
use crate::name::ServiceName;

/// The Compose files of a project, as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compose {
    /// The files, absolute, in their order.
    pub files: Vec<PathBuf>,
    /// The folder that relative paths begin at: the first file's.
    pub working_dir: PathBuf,
    /// The top-level `name`.
    pub name: Option<At<String>>,
    /// The services.
    pub services: IndexMap<ServiceName, Container>,
    /// The networks by key, `default` only where a file says something of it.
    pub networks: IndexMap<String, Network>,
    /// The volumes by key.
    pub volumes: IndexMap<String, Volume>,
    /// The secrets by key.
    pub secrets: IndexMap<String, FileObject>,
    /// The configs by key.
    pub configs: IndexMap<String, FileObject>,
    /// What the files say under `x-…` at their top level.
    pub extensions: Extensions,
    /// The names of all services, even of those whose description is wrong.
    pub(in crate::manifest) declared: Vec<ServiceName>,
    /// Whether a file could not be read at all, so that nobody knows which services there are.
    pub(in crate::manifest) unread: bool,
}

/// The names that stand for themselves unless a `name` is said.
fn resource_name(project: &str, key: &str, said: Option<&str>, external: bool) -> String {
    match said {
        Some(name) => name.to_owned(),
        None if external => key.to_owned(),
        None => format!("{project}_{key}"),
    }
}

impl Compose {
    /// The network of that key as the project `project` has it: with its name, and whether or not a file speaks of it.
    pub fn network(&self, project: &str, key: &str) -> Network {
        let mut network = self.networks.get(key).cloned().unwrap_or_default();
        network.name = Some(resource_name(project, key, network.name.as_deref(), network.external));
        network
    }

    /// The volume of that key as the project `project` has it, with its name.
    pub fn volume(&self, project: &str, key: &str) -> Volume {
        let mut volume = self.volumes.get(key).cloned().unwrap_or_default();
        volume.name = Some(resource_name(project, key, volume.name.as_deref(), volume.external));
        volume
    }
}

impl Container {
    /// The value of which Compose's config hash is made: without what decides when, whether and how often a container is
    /// made, or of what its image is built.
    pub fn hashed(&self, dialect: HashDialect) -> Value {
        let mut value = Value::of(self, Form::Json(dialect));
        for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
            value.remove(key);
        }
        if let Some(deploy) = value.get_mut("deploy") {
            deploy.remove("replicas");
        }
        value
    }
}
