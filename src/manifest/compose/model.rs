//! What Compose files say, in the long form of everything, checked and with defaults in place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use super::super::source::{At, Place};
use crate::manifest::Until;
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
    /// The names of all services, even of those whose description is wrong.
    pub(in crate::manifest) declared: Vec<ServiceName>,
    /// Whether a file could not be read at all, so that nobody knows which services there are.
    pub(in crate::manifest) unread: bool,
}

/// A service of a Compose file.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its name.
    pub name: ServiceName,
    /// Where it is described.
    pub place: Place,
    /// The image's reference.
    pub image: String,
    /// Arguments; the image's own where `None`.
    pub command: Option<Vec<String>>,
    /// The program; the image's own where `None`.
    pub entrypoint: Option<Vec<String>>,
    /// Environment. `None` is a variable that is named and set nowhere.
    pub environment: IndexMap<String, Option<String>>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Networks that are named; the default one where there are none and no `network_mode`.
    pub networks: Vec<Attachment>,
    /// `host`, `none`, `bridge`.
    pub network_mode: Option<String>,
    /// What it needs.
    pub depends_on: Vec<ContainerDependency>,
    /// The healthcheck.
    pub healthcheck: Option<Healthcheck>,
    /// The engine's restart policy, as it is written.
    pub restart: Option<String>,
    /// Profiles that bring it; always there where empty.
    pub profiles: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The container's name on the engine.
    pub container_name: Option<String>,
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
    /// Host name and address, sorted.
    pub extra_hosts: Vec<(String, String)>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Limits.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Size of `/dev/shm`, in bytes.
    pub shm_size: Option<i64>,
    /// Limit of memory, in bytes.
    pub mem_limit: Option<i64>,
    /// The platform.
    pub platform: Option<String>,
    /// When the image is pulled.
    pub pull_policy: Option<PullPolicy>,
    /// Ports that are not published.
    pub expose: Vec<String>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Where it is said.
    pub place: Place,
    /// A name for people.
    pub name: Option<String>,
    /// `ingress` or `host`.
    pub mode: String,
    /// The address on the host, as it is written.
    pub host_ip: Option<String>,
    /// The port in the container.
    pub target: u16,
    /// The port on the host; the engine picks one where `None`.
    pub published: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// What is spoken there, for people.
    pub app_protocol: Option<String>,
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Where it is said.
    pub place: Place,
    /// What is mounted.
    pub source: Source,
    /// The path in the container.
    pub target: String,
    /// Whether the container may not write there.
    pub read_only: bool,
    /// Whether the long form was used, which Compose hashes differently.
    pub long: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A volume of the file, by its key.
    Volume(String),
    /// A volume without a name.
    Anonymous,
    /// A path of the host, absolute.
    Bind {
        /// The path.
        path: String,
        /// Whether it is made where it does not exist; `None` where the long form does not say.
        create: Option<bool>,
    },
    /// Memory.
    Tmpfs,
}

/// A network that a service joins.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Where it is said.
    pub place: Place,
    /// The network's key.
    pub key: String,
    /// Further names of the service there; `None` where nothing is said of the network but its name.
    pub aliases: Option<Vec<String>>,
}

/// A service that a container needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerDependency {
    /// Where it is said.
    pub place: Place,
    /// Its name.
    pub on: ServiceName,
    /// What must be true of it.
    pub until: Until,
    /// Whether this one restarts with it.
    pub restart: bool,
    /// Whether it must be there at all.
    pub required: bool,
}

/// A healthcheck.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]` or `["NONE"]`.
    pub test: Option<Vec<String>>,
    /// The time between two checks.
    pub interval: Option<Duration>,
    /// How long one check may take.
    pub timeout: Option<Duration>,
    /// How many failures in a row make the container unhealthy.
    pub retries: Option<u64>,
    /// How long failures do not count.
    pub start_period: Option<Duration>,
    /// The time between two checks in the start period.
    pub start_interval: Option<Duration>,
    /// Whether the image's own check is switched off.
    pub disable: bool,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ulimit {
    /// One number for both.
    Single(i64),
    /// Soft and hard.
    Pair(i64, i64),
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the engine does not have it.
    Missing,
    /// On every `up`.
    Always,
    /// Never.
    Never,
}

/// A network of a Compose file.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Where it is described.
    pub place: Place,
    /// Its name on the engine, where it is said.
    pub name: Option<String>,
    /// The driver.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether containers outside the project may join.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether somebody else makes it.
    pub external: bool,
}

/// A volume of a Compose file.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Where it is described.
    pub place: Place,
    /// Its name on the engine, where it is said.
    pub name: Option<String>,
    /// The driver.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether somebody else makes it.
    pub external: bool,
}
