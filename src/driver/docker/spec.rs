//! What the engine is asked for, as plain data: the bodies of its own API, and what devctl has to know beside them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Duration;

use bollard::models as api;
use sha2::{Digest, Sha256};

use crate::name::ServiceName;

/// The label that carries Compose's hash of what was asked for.
pub(super) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The label that tells the containers of one service apart.
pub(super) const NUMBER: &str = "com.docker.compose.container-number";

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
    /// Whether the file gives that name (`container_name`), so that it says no number.
    pub is_named: bool,
    /// Hashes of the same configuration that other versions of Compose write.
    pub other_hashes: Vec<String>,
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
    /// The image's reference.
    pub fn image(&self) -> &str {
        self.body.image.as_deref().unwrap_or_default()
    }

    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        label(self.body.labels.as_ref(), name)
    }

    /// The hashes of configuration that a container may carry and still be what this asks for: one for each way in which
    /// Compose forms them. The first is the one a new container gets.
    pub fn config_hashes(&self) -> impl Iterator<Item = &str> {
        self.label(CONFIG_HASH).into_iter().chain(self.other_hashes.iter().map(String::as_str))
    }

    /// The names on the engine of the networks that it joins.
    pub fn network_names(&self) -> impl Iterator<Item = &str> {
        self.networks.iter().map(|(name, _)| name.as_str())
    }

    /// The names on the engine of the volumes that it mounts, but for those without a name.
    pub fn volume_names(&self) -> impl Iterator<Item = &str> {
        let host = self.body.host_config.as_ref();
        let binds = host.and_then(|host| host.binds.as_ref()).into_iter().flatten();
        let bound = binds.filter_map(|bind| bind.split(':').next());
        let mounts = host.and_then(|host| host.mounts.as_ref()).into_iter().flatten();
        let mounted = mounts.filter(|mount| mount.typ == Some(api::MountType::VOLUME));
        // A folder of the host is an absolute path, on Windows too: there what stands before the first `:` is a letter.
        let is_name = |name: &&str| name.len() > 1 && !name.starts_with('/');
        bound.chain(mounted.filter_map(|mount| mount.source.as_deref())).filter(is_name)
    }

    /// Its number among the containers of its service, from 1.
    pub fn number(&self) -> u32 {
        self.label(NUMBER).and_then(|number| number.parse().ok()).unwrap_or(1)
    }

    /// Makes it the container of another number, and gives it the name of that one where its own says the number.
    pub fn renumber(&mut self, number: u32) {
        let before = self.number();
        if before == number {
            return;
        }
        self.body.labels.get_or_insert_default().insert(NUMBER.to_owned(), number.to_string());
        let numbered = self.name.strip_suffix(&format!("-{before}")).map(|base| format!("{base}-{number}"));
        let Some(name) = numbered.filter(|_| !self.is_named) else { return };
        for alias in self.networks.iter_mut().flat_map(|(_, endpoint)| endpoint.aliases.iter_mut().flatten()) {
            if *alias == self.name {
                alias.clone_from(&name);
            }
        }
        self.name = name;
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
    /// Whether the file gives the name (`container_name`), so that it says no number.
    pub is_named: bool,
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

impl StartSpec {
    /// Makes it the start of the container of another number, where its name says the number.
    pub fn renumber(&mut self, number: u32) {
        if let Some(base) = self.name.rsplit_once('-').map(|(base, _)| base).filter(|_| !self.is_named) {
            self.name = format!("{base}-{number}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_with_a_service_is_hashed_with_its_container() {
        let hash = ConfigHash {
            pieces: vec![("{\"network_mode\":\"container:".to_owned(), "db".parse().unwrap())],
            last: "\"}".to_owned(),
        };
        // What `sha256sum` says of `{"network_mode":"container:12ab"}`.
        let expected = "91cd9d2833092a5bd7418424c0e58fb9e30329fd8758d6d7a52f7d06a74c085a";
        assert_eq!(hash.of(|service| (service == "db").then_some("12ab")), expected);
        assert_ne!(hash.of(|_| None), expected);
    }
}
