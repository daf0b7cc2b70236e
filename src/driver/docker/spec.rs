//! What the engine is asked for, as plain data: the bodies of its own API, and what devctl has to know beside them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::time::Duration;

use bollard::models as api;
use sha2::{Digest, Sha256};

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
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSpec {
    /// The reference: `pgvector/pgvector:pg16`.
    pub reference: String,
    /// The platform to pull, `linux/amd64`; the engine's own where `None`.
    pub platform: Option<String>,
    /// When to pull.
    pub pull: PullPolicy,
    /// How it is built, where it can be.
    pub build: Option<Box<ImageBuild>>,
}

/// When an image is pulled or built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the engine does not have it.
    #[default]
    Missing,
    /// On every `up`.
    Always,
    /// Never; it is built where the engine does not have it and that can be done.
    Never,
    /// Never: it is built, on every `up`.
    Build,
    /// When the engine does not have it, or got it longer ago than that.
    Refresh(Duration),
}

impl PullPolicy {
    /// The policy for two services that have the image in common: that of the one which asks for more.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let rank = |policy: &Self| match policy {
            Self::Never => 0,
            Self::Missing => 1,
            Self::Refresh(_) => 2,
            Self::Always => 3,
            Self::Build => 4,
        };
        match (self, other) {
            (Self::Refresh(one), Self::Refresh(two)) => Self::Refresh(one.min(two)),
            (one, two) if rank(&one) >= rank(&two) => one,
            (_, two) => two,
        }
    }
}

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageBuild {
    /// Whether the file gives it a name of its own, so that a registry may have it.
    pub named: bool,
    /// The folder, absolute, or the address of a repository or archive that the engine fetches.
    pub context: String,
    /// The Dockerfile, relative to the context.
    pub dockerfile: String,
    /// The Dockerfile's text, where no file has it.
    pub inline: Option<String>,
    /// The names of the image.
    pub tags: Vec<String>,
    /// Arguments.
    pub args: BTreeMap<String, String>,
    /// Labels of the image, Compose's among them.
    pub labels: BTreeMap<String, String>,
    /// The stage to build.
    pub target: Option<String>,
    /// The network of the build's commands.
    pub network: Option<String>,
    /// Further entries of `/etc/hosts` while it builds: `name:ip`.
    pub extra_hosts: Vec<String>,
    /// Where layers are looked for.
    pub cache_from: Vec<String>,
    /// Where layers are kept. BuildKit only.
    pub cache_to: Vec<String>,
    /// Whether nothing is taken from the cache.
    pub no_cache: bool,
    /// Whether the images it builds on are pulled.
    pub pull: bool,
    /// The platforms to build for. More than one: BuildKit only.
    pub platforms: Vec<String>,
    /// Size of `/dev/shm` while it builds.
    pub shm_size: Option<i64>,
    /// Limits of the build's commands.
    pub ulimits: Vec<api::ResourcesUlimits>,
    /// The isolation of Windows containers.
    pub isolation: Option<String>,
    /// Further contexts by name. BuildKit only.
    pub contexts: BTreeMap<String, String>,
    /// Agents and keys that the build may use, `default` or `name=path`. BuildKit only.
    pub ssh: Vec<String>,
    /// Secrets that the build may use. BuildKit only.
    pub secrets: Vec<BuildSecret>,
    /// Rights beyond the usual: `network.host`, `security.insecure`. BuildKit only.
    pub entitlements: Vec<String>,
    /// What BuildKit writes down of the build.
    pub provenance: Option<String>,
    /// What BuildKit writes down of what is in the image.
    pub sbom: Option<String>,
}

/// A secret that a build may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSecret {
    /// Its name in the Dockerfile.
    pub id: String,
    /// Where it comes from.
    pub source: BuildSecretSource,
}

/// Where a secret of a build comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildSecretSource {
    /// A file.
    File(String),
    /// A variable of devctl's environment.
    Variable(String),
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
    /// Services of the project that it is linked to: `db`, `db:database`.
    pub links: Vec<String>,
    /// Containers outside the project that it is linked to.
    pub external_links: Vec<String>,
    /// What its config hash is made of, where it is not known before the containers are that it shares things with.
    /// Those are named in `body` as `service:NAME`.
    pub hash: Option<ConfigHash>,
}

/// A config hash that depends on containers: Compose hashes the identity of the container where a service is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigHash {
    /// The text that is hashed, in pieces, with a service behind each but the last.
    pub pieces: Vec<(String, ServiceName)>,
    /// The last piece.
    pub last: String,
}

impl ConfigHash {
    /// The hash, where each service's first container has the identity that `id_of` tells. A service that has none
    /// stands for itself, which is the hash of no container.
    pub fn of<'a>(&self, id_of: impl Fn(&str) -> Option<&'a str>) -> String {
        let mut hash = Sha256::new();
        for (piece, service) in &self.pieces {
            hash.update(piece);
            hash.update(id_of(service.as_str()).unwrap_or(service.as_str()));
        }
        hash.update(&self.last);
        hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
            hex
        })
    }
}

impl ContainerSpec {
    /// Its number among the containers of its service, from 1.
    pub fn number(&self) -> u32 {
        self.label("com.docker.compose.container-number").and_then(|number| number.parse().ok()).unwrap_or(1)
    }

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
    /// Files that are written into it before its start.
    pub files: Vec<File>,
    /// What is run in it after its start.
    pub post_start: Vec<Hook>,
    /// What is run in it before its stop.
    pub pre_stop: Vec<Hook>,
}

/// A file that is written into a container: a secret or a config.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in the container.
    pub path: String,
    /// What it holds.
    pub content: String,
    /// The user and the group that it belongs to, where that is said.
    pub owner: Option<(u64, u64)>,
    /// Its rights.
    pub mode: u32,
}

impl std::fmt::Debug for File {
    /// Without the content, which is likely secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A command that is run in a container when it starts or stops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hook {
    /// The command.
    pub argv: Vec<String>,
    /// The user that runs it; the container's own where `None`.
    pub user: Option<String>,
    /// Whether it has all of the host's rights.
    pub privileged: bool,
    /// Where it is run; the container's own folder where `None`.
    pub working_dir: Option<String>,
    /// Variables on top of the container's: `NAME=value`.
    pub env: Vec<String>,
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
