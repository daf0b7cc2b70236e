//! What the engine is asked for, as plain data: the bodies of its own API, and what devctl has to know beside them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models as api;

use crate::name::ServiceName;

/// A network to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkSpec {
    /// The name on the engine: `integrador_default`.
    pub name: String,
    /// What the engine is asked for; of no meaning where the network is external.
    pub body: api::NetworkCreateRequest,
    /// Whether it must exist already and is not ours to make or remove.
    pub external: bool,
}

impl NetworkSpec {
    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        label(self.body.labels.as_ref(), name)
    }
}

/// A volume to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeSpec {
    /// The name on the engine: `integrador_pgdata`.
    pub name: String,
    /// What the engine is asked for; of no meaning where the volume is external.
    pub body: api::VolumeCreateRequest,
    /// Whether it must exist already and is not ours to make.
    pub external: bool,
}

impl VolumeSpec {
    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        label(self.body.labels.as_ref(), name)
    }
}

fn label<'a>(labels: Option<&'a HashMap<String, String>>, name: &str) -> Option<&'a str> {
    labels?.get(name).map(String::as_str)
}

/// An image to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The reference: `pgvector/pgvector:pg16`.
    pub reference: String,
    /// The platform to pull, `linux/amd64`; the engine's own where `None`.
    pub platform: Option<String>,
    /// When to pull.
    pub pull: PullPolicy,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// On every `up`.
    Always,
    /// Never.
    Never,
}

/// A container to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// The service it is for.
    pub service: Option<ServiceName>,
    /// The name on the engine: `integrador-db-1`.
    pub name: String,
    /// The platform: `linux/amd64`; the engine's own where `None`.
    pub platform: Option<String>,
    /// What the engine is asked for, as its newest API words it; the driver takes out what the engine at hand does not
    /// know. Its networks are in `networks`.
    pub body: api::ContainerCreateBody,
    /// The networks to join, by name on the engine, the primary one first.
    pub networks: Vec<(String, api::EndpointSettings)>,
}

impl ContainerSpec {
    /// The image's reference.
    pub fn image(&self) -> &str {
        self.body.image.as_deref().unwrap_or_default()
    }

    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        label(self.body.labels.as_ref(), name)
    }

    /// The environment, in its order. A variable without a value, which takes away what the image sets, is left out.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.body.env.iter().flatten().filter_map(|variable| variable.split_once('='))
    }
}

/// A container to start.
#[derive(Clone, Debug, PartialEq)]
pub struct StartSpec {
    /// The name on the engine.
    pub name: String,
    /// The service.
    pub service: ServiceName,
    /// The check that `exec` probes run, where the Compose file has one.
    pub healthcheck: Option<api::HealthConfig>,
    /// Whether the container has a terminal, which decides how its output is framed.
    pub tty: bool,
}

/// What of a project is on the engine now.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Containers of the project, by service.
    pub containers: BTreeMap<String, ObservedContainer>,
    /// Networks, by name on the engine: whether they carry this project's labels.
    pub networks: BTreeMap<String, bool>,
    /// Volumes, by name on the engine.
    pub volumes: Vec<String>,
    /// Images the engine has, among those asked for: reference to image id.
    pub images: BTreeMap<String, String>,
}

/// A container of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedContainer {
    /// The full id.
    pub id: String,
    /// The name, without the leading `/`.
    pub name: String,
    /// The service, by its label.
    pub service: String,
    /// The services it depends on, by its label.
    pub depends_on: Vec<String>,
    /// Whether it runs.
    pub running: bool,
    /// `com.docker.compose.config-hash`.
    pub config_hash: Option<String>,
    /// The id of the image it was made from.
    pub image_id: String,
    /// Published ports: address and port on the host, port in the container.
    pub ports: Vec<(String, u16, u16)>,
    /// One line as `docker ps` shows it: `Up 3 minutes (healthy)`.
    pub status: String,
    /// `dev.devctl.run`, where devctl made it.
    pub run: Option<String>,
    /// `com.docker.compose.project.working_dir`.
    pub working_dir: Option<String>,
}

/// Sorts containers into levels to stop one after the other, each at once: a container comes before those it depends
/// on. Labels are other people's text: those that go round in a circle make one level.
pub fn stop_levels(containers: Vec<ObservedContainer>) -> Vec<Vec<ObservedContainer>> {
    let mut levels = Vec::new();
    let mut left = containers;
    while !left.is_empty() {
        let needed: BTreeSet<String> = left.iter().flat_map(|found| found.depends_on.iter().cloned()).collect();
        let (mut now, mut later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|found| !needed.contains(&found.service));
        if now.is_empty() {
            std::mem::swap(&mut now, &mut later);
        }
        levels.push(now);
        left = later;
    }
    levels
}
