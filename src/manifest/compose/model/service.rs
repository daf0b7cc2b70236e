//! A service: what its containers are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::scalar::duration;
use super::{
    Attachment, Blkio, Build, Bytes, ContainerDependency, Deploy, Develop, DeviceMapping, DeviceRequest, Extensions,
    FileReference, Healthcheck, Hook, Hosts, Mount, Port, PullPolicy,
};
use crate::manifest::source::Place;
use crate::name::ServiceName;

/// A service of a Compose file.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Container {
    /// Its name.
    #[serde(skip)]
    pub name: ServiceName,
    /// Where it is described.
    #[serde(skip)]
    pub place: Place,
    /// Profiles that bring it; always there where empty.
    pub profiles: Vec<String>,
    /// What the container runtime is told.
    pub annotations: BTreeMap<String, String>,
    /// Whether `up` shows what it prints; it does where nothing is said.
    pub attach: Option<bool>,
    /// How its image is built.
    pub build: Option<Build>,
    /// What is for development alone.
    pub develop: Option<Develop>,
    /// How much it may read and write.
    pub blkio_config: Option<Blkio>,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// The control group that its own is made in.
    pub cgroup_parent: Option<String>,
    /// `host` or `private`.
    pub cgroup: Option<String>,
    /// Processors of a Windows container.
    pub cpu_count: i64,
    /// Part of the processors of a Windows container.
    pub cpu_percent: f32,
    /// The period of its share, in microseconds.
    pub cpu_period: i64,
    /// Its share of each period, in microseconds.
    pub cpu_quota: i64,
    /// The same, scheduled in real time.
    pub cpu_rt_period: i64,
    /// The same, scheduled in real time.
    pub cpu_rt_runtime: i64,
    /// Processors that it may use.
    pub cpus: f32,
    /// Which processors it may use.
    pub cpuset: Option<String>,
    /// Its weight against other containers.
    pub cpu_shares: i64,
    /// Arguments; the image's own where `None`.
    #[serde(rename = "command?")]
    pub command: Option<Vec<String>>,
    /// Configs that it is given.
    pub configs: Vec<FileReference>,
    /// The container's name on the engine.
    pub container_name: Option<String>,
    /// The account of a Windows container.
    pub credential_spec: Option<CredentialSpec>,
    /// What it needs.
    pub depends_on: BTreeMap<ServiceName, ContainerDependency>,
    /// How many of it there are, what each may use, and what is for Swarm.
    pub deploy: Option<Deploy>,
    /// Rules for devices, as control groups have them.
    pub device_cgroup_rules: Vec<String>,
    /// Devices of the host.
    pub devices: Vec<DeviceMapping>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_opt: Vec<String>,
    /// Domains that names are looked for in.
    pub dns_search: Vec<String>,
    /// The domain of its host name.
    pub domainname: Option<String>,
    /// The program; the image's own where `None`.
    #[serde(rename = "entrypoint?")]
    pub entrypoint: Option<Vec<String>>,
    /// The program that provides it instead of a container.
    pub provider: Option<Provider>,
    /// Environment, of `env_file` as well. `None` is a variable that is named and set nowhere.
    pub environment: BTreeMap<String, Option<String>>,
    /// Ports that are not published.
    pub expose: Vec<String>,
    /// Containers outside the project that it is linked to.
    pub external_links: Vec<String>,
    /// Further entries of `/etc/hosts`.
    pub extra_hosts: Hosts,
    /// Further groups of its user.
    pub group_add: Vec<String>,
    /// GPUs.
    pub gpus: Vec<DeviceRequest>,
    /// The host name.
    pub hostname: Option<String>,
    /// The healthcheck.
    pub healthcheck: Option<Healthcheck>,
    /// The image's reference; empty where it is built and has no name of its own.
    pub image: String,
    /// Whether the engine's init is process 1.
    pub init: Option<bool>,
    /// `host`, `shareable`, `service:…` and so on.
    pub ipc: Option<String>,
    /// The isolation of a Windows container.
    pub isolation: Option<String>,
    /// Labels, of `label_file` as well.
    pub labels: BTreeMap<String, String>,
    /// The files whose labels it has, absolute. They are hashed and not shown, as Compose does.
    pub label_file: Vec<String>,
    /// Services that it reaches under further names.
    pub links: Vec<String>,
    /// Where its output goes.
    pub logging: Option<Logging>,
    /// Limit of memory.
    pub mem_limit: Bytes,
    /// Memory that is kept for it.
    pub mem_reservation: Bytes,
    /// Limit of memory and swap together; -1 for none.
    pub memswap_limit: Bytes,
    /// How readily its memory is swapped, in per cent.
    pub mem_swappiness: Bytes,
    /// Its MAC address.
    pub mac_address: Option<String>,
    /// `host`, `none`, `bridge`, `service:…`, `container:…`.
    pub network_mode: Option<String>,
    /// The networks that it joins by key, the default one where the file names none. Empty with a `network_mode`.
    pub networks: BTreeMap<String, Attachment>,
    /// Whether the kernel may not end it for want of memory.
    pub oom_kill_disable: bool,
    /// How readily the kernel ends it for want of memory.
    pub oom_score_adj: i64,
    /// `host`, `service:…`, `container:…`.
    pub pid: Option<String>,
    /// Limit of processes; -1 for none.
    pub pids_limit: i64,
    /// The platform.
    pub platform: Option<String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Whether it has all of the host's rights.
    pub privileged: bool,
    /// When the image is pulled.
    pub pull_policy: Option<PullPolicy>,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// The engine's restart policy, as it is written.
    pub restart: Option<String>,
    /// The container runtime.
    pub runtime: Option<String>,
    /// How many of it there are.
    pub scale: Option<i64>,
    /// Secrets that it is given.
    pub secrets: Vec<FileReference>,
    /// Options of the security modules.
    pub security_opt: Vec<String>,
    /// Size of `/dev/shm`.
    pub shm_size: Bytes,
    /// Whether its standard input stays open.
    pub stdin_open: bool,
    /// How long it has to stop.
    #[serde(serialize_with = "duration")]
    pub stop_grace_period: Option<Duration>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// Options of the storage driver.
    pub storage_opt: BTreeMap<String, String>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Paths in memory, with options behind a colon.
    pub tmpfs: Vec<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Limits.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The user to run as.
    pub user: Option<String>,
    /// `host`, or nothing.
    pub userns_mode: Option<String>,
    /// `host`, or nothing.
    pub uts: Option<String>,
    /// What is mounted.
    #[serde(rename = "volumes")]
    pub mounts: Vec<Mount>,
    /// Services and containers whose volumes it has, too.
    pub volumes_from: Vec<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// What is run in it after its start.
    pub post_start: Vec<Hook>,
    /// What is run in it before it is stopped.
    pub pre_stop: Vec<Hook>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

impl Container {
    /// How many containers there are.
    pub fn replicas(&self) -> i64 {
        self.scale.or_else(|| self.deploy.as_ref()?.replicas).unwrap_or(1)
    }

    /// The image's reference: what the file says, or the name that Compose gives to what it builds.
    pub fn image_name(&self, project: &str) -> String {
        if self.image.is_empty() { format!("{project}-{}", self.name) } else { self.image.clone() }
    }

    /// The keys of its networks, the one that is joined first in front: by priority, then by name.
    pub fn networks_by_priority(&self) -> Vec<&str> {
        let priority = |attachment: &Attachment| attachment.endpoint.as_ref().map_or(0, |endpoint| endpoint.priority);
        let mut networks: Vec<(&str, i64)> =
            self.networks.iter().map(|(key, attachment)| (key.as_str(), priority(attachment))).collect();
        networks.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        networks.into_iter().map(|(key, _)| key).collect()
    }
}

/// The account of a Windows container.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct CredentialSpec {
    /// The config that holds it.
    pub config: Option<String>,
    /// The file that holds it.
    pub file: Option<String>,
    /// The entry of the host's registry that holds it.
    pub registry: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// The program that provides a service instead of a container.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Provider {
    /// The program, `docker-NAME` or a command of its own.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its options, each of which may be said several times.
    pub options: BTreeMap<String, Vec<String>>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// Where the output of a container goes.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Logging {
    /// The driver.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ulimit {
    /// One number for both.
    Single(i64),
    /// Soft and hard.
    Pair(i64, i64),
}

impl Ulimit {
    /// The soft and the hard limit.
    pub fn soft_hard(self) -> (i64, i64) {
        match self {
            Self::Single(both) => (both, both),
            Self::Pair(soft, hard) => (soft, hard),
        }
    }
}

impl Serialize for Ulimit {
    /// One number is written as such, but 0 as an empty pair: Compose cannot tell it from nothing.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (soft, hard) = match *self {
            Self::Single(0) => (0, 0),
            Self::Single(both) => return serializer.serialize_i64(both),
            Self::Pair(soft, hard) => (soft, hard),
        };
        let mut pair = serializer.serialize_struct("Ulimit", 2)?;
        pair.serialize_field("soft^", &soft)?;
        pair.serialize_field("hard^", &hard)?;
        pair.end()
    }
}
