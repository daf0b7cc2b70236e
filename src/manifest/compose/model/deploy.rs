//! `deploy`: how many of a service there are and what each may use. The rest of it is for Swarm.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::scalar::duration;
use super::{Bytes, DeviceRequest, Extensions};

/// How a service is deployed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Deploy {
    /// `replicated`, `global` and so on.
    pub mode: Option<String>,
    /// How many containers there are.
    pub replicas: Option<i64>,
    /// Labels of Swarm's service.
    pub labels: BTreeMap<String, String>,
    /// How Swarm brings in a new version.
    pub update_config: Option<UpdateConfig>,
    /// How Swarm goes back to the old one.
    pub rollback_config: Option<UpdateConfig>,
    /// What each container may use.
    pub resources: Resources,
    /// When a container that ends is started again.
    pub restart_policy: Option<DeployRestart>,
    /// Where Swarm runs it.
    pub placement: Placement,
    /// How Swarm's service is reached.
    pub endpoint_mode: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How Swarm changes a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpdateConfig {
    /// How many at once.
    pub parallelism: Option<u64>,
    /// The time between two.
    #[serde(serialize_with = "duration")]
    pub delay: Option<Duration>,
    /// What happens when it fails.
    pub failure_action: Option<String>,
    /// How long each is watched.
    #[serde(serialize_with = "duration")]
    pub monitor: Option<Duration>,
    /// How many may fail.
    pub max_failure_ratio: f32,
    /// `start-first` or `stop-first`.
    pub order: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// What a container may use, and what is kept for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resources {
    /// What it may use.
    pub limits: Option<Resource>,
    /// What is kept for it.
    pub reservations: Option<Resource>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// An amount of resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Resource {
    /// Processors.
    pub cpus: f32,
    /// Memory.
    pub memory: Bytes,
    /// Processes.
    pub pids: i64,
    /// Devices, such as GPUs.
    pub devices: Vec<DeviceRequest>,
    /// What Swarm's nodes say they have.
    pub generic_resources: Vec<GenericResource>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Something that Swarm's nodes say they have.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GenericResource {
    /// What can be counted.
    pub discrete_resource_spec: Option<DiscreteResource>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Something that can be counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiscreteResource {
    /// What it is.
    #[serde(rename = "kind!")]
    pub kind: String,
    /// How many.
    #[serde(rename = "value!")]
    pub value: i64,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// When a container that ends is started again.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeployRestart {
    /// `none`, `on-failure` or `any`.
    pub condition: Option<String>,
    /// The time between two attempts.
    #[serde(serialize_with = "duration")]
    pub delay: Option<Duration>,
    /// How many attempts there are.
    pub max_attempts: Option<u64>,
    /// How long it must run to count as started.
    #[serde(serialize_with = "duration")]
    pub window: Option<Duration>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Where Swarm runs a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Placement {
    /// What a node must have.
    pub constraints: Vec<String>,
    /// What a node should have.
    pub preferences: Vec<PlacementPreference>,
    /// How many there may be on one node.
    pub max_replicas_per_node: u64,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// What a node should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlacementPreference {
    /// The label over whose values they are spread.
    pub spread: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
