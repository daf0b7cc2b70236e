//! How an image is built.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{Bytes, Extensions, FileReference, Hosts, Ulimit};

/// How an image is built.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Build {
    /// The folder, absolute, or the address of one that the engine fetches.
    pub context: Option<String>,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The Dockerfile's text.
    pub dockerfile_inline: Option<String>,
    /// Rights beyond the usual: `network.host`, `security.insecure`.
    pub entitlements: Vec<String>,
    /// Arguments. `None` is one that is named and set nowhere.
    pub args: BTreeMap<String, Option<String>>,
    /// What `BuildKit` writes down of the build.
    pub provenance: Option<String>,
    /// What `BuildKit` writes down of what is in the image.
    pub sbom: Option<String>,
    /// Agents and keys that the build may use.
    pub ssh: Vec<SshKey>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Where layers are looked for.
    pub cache_from: Vec<String>,
    /// Where layers are kept.
    pub cache_to: Vec<String>,
    /// Whether nothing is taken from the cache.
    pub no_cache: bool,
    /// Further contexts by name.
    pub additional_contexts: BTreeMap<String, String>,
    /// Whether the images it builds on are pulled.
    pub pull: bool,
    /// Further entries of `/etc/hosts` while it builds.
    pub extra_hosts: Hosts,
    /// The isolation of Windows containers.
    pub isolation: Option<String>,
    /// The network of the build's commands.
    pub network: Option<String>,
    /// The stage to build.
    pub target: Option<String>,
    /// Secrets that the build may use.
    pub secrets: Vec<FileReference>,
    /// Size of `/dev/shm` while it builds.
    pub shm_size: Bytes,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Limits of the build's commands.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The platforms to build for.
    pub platforms: Vec<String>,
    /// Whether the build's commands have all rights.
    pub privileged: bool,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// An agent or key that a build may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    /// Its name in the Dockerfile.
    pub id: String,
    /// The key or the agent's socket; the agent of the environment where `None`.
    pub path: Option<String>,
}

impl Serialize for SshKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.path {
            Some(path) => serializer.collect_str(&format_args!("{}: {path}", self.id)),
            None => serializer.serialize_str(&self.id),
        }
    }
}
