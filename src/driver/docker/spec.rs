//! What the engine is asked for, as plain data. Nothing here knows bollard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use indexmap::IndexMap;

use crate::name::ServiceName;

/// A network to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The name on the engine: `integrador_default`.
    pub name: String,
    /// The driver; the engine's default where `None`.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Whether the network has no way out.
    pub internal: bool,
    /// Whether containers outside the project may join.
    pub attachable: bool,
    /// All labels, Compose's among them.
    pub labels: BTreeMap<String, String>,
    /// Whether it must exist already and is not ours to make or remove.
    pub external: bool,
}

/// A volume to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSpec {
    /// The name on the engine: `integrador_pgdata`.
    pub name: String,
    /// The driver; the engine's default where `None`.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// All labels, Compose's among them.
    pub labels: BTreeMap<String, String>,
    /// Whether it must exist already and is not ours to make.
    pub external: bool,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// The service it is for.
    pub service: Option<ServiceName>,
    /// The name on the engine: `integrador-db-1`.
    pub name: String,
    /// The image's reference.
    pub image: String,
    /// Arguments; the image's own where `None`.
    pub command: Option<Vec<String>>,
    /// The program; the image's own where `None`.
    pub entrypoint: Option<Vec<String>>,
    /// Environment; a variable without a value is not passed.
    pub environment: IndexMap<String, String>,
    /// Published ports.
    pub ports: Vec<PortBinding>,
    /// Ports the container listens on without publishing them: `5432/tcp`.
    pub expose: Vec<String>,
    /// What is mounted where.
    pub mounts: Vec<Mount>,
    /// Networks, the primary one first.
    pub networks: Vec<NetworkAttachment>,
    /// `host`, `none`, `bridge`; `None` where `networks` decides.
    pub network_mode: Option<String>,
    /// The healthcheck; the image's own where `None`.
    pub healthcheck: Option<Healthcheck>,
    /// All labels, Compose's among them.
    pub labels: BTreeMap<String, String>,
    /// The engine's restart policy and its count: `unless-stopped`, `on-failure` with 5.
    pub restart: Option<(String, Option<i64>)>,
    /// The user to run as.
    pub user: Option<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// Whether the engine's init is process 1.
    pub init: Option<bool>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// How long it has to stop.
    pub stop_grace_period: Option<Duration>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub stdin_open: bool,
    /// Whether it has all of the host's rights.
    pub privileged: bool,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Entries of `/etc/hosts`: `name:ip`.
    pub extra_hosts: Vec<String>,
    /// Kernel settings of the container.
    pub sysctls: BTreeMap<String, String>,
    /// Limits: name, soft, hard.
    pub ulimits: Vec<(String, i64, i64)>,
    /// Size of `/dev/shm`, in bytes.
    pub shm_size: Option<i64>,
    /// Limit of memory, in bytes.
    pub mem_limit: Option<i64>,
    /// The platform: `linux/amd64`.
    pub platform: Option<String>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortBinding {
    /// The address on the host; every address where `None`.
    pub host_ip: Option<IpAddr>,
    /// The port on the host; the engine picks one where `None`.
    pub host_port: Option<u16>,
    /// The port in the container.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// Something mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// The path in the container.
    pub target: String,
    /// Whether the container may not write there.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A volume, by its name on the engine.
    Volume(String),
    /// A path of the host, absolute; made as a folder where it does not exist.
    Bind(String),
    /// Memory.
    Tmpfs,
    /// A volume without a name, that dies with the container.
    Anonymous,
}

/// A network the container joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAttachment {
    /// The network's name on the engine.
    pub name: String,
    /// The names by which other containers reach this one there.
    pub aliases: Vec<String>,
}

/// A healthcheck that the engine runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]` or `["NONE"]`; the image's own where `None`.
    pub test: Option<Vec<String>>,
    /// The time between two checks.
    pub interval: Option<Duration>,
    /// How long one check may take.
    pub timeout: Option<Duration>,
    /// How many failures in a row make the container unhealthy.
    pub retries: Option<u64>,
    /// How long failures do not count.
    pub start_period: Option<Duration>,
    /// The time between two checks in the start period; devctl honours it itself, older engines know no such thing.
    pub start_interval: Option<Duration>,
}

/// A container to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartSpec {
    /// The name on the engine.
    pub name: String,
    /// The service.
    pub service: ServiceName,
    /// The check that `exec` probes run, where the Compose file has one.
    pub healthcheck: Option<Healthcheck>,
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
