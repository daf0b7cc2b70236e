//! What is mounted into a container.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Bytes, Extensions};
use crate::manifest::source::Place;

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mount {
    /// Where it is said.
    #[serde(skip)]
    pub place: Place,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// The key of a volume, an absolute path of the host or an image. A volume without one has no name.
    pub source: Option<String>,
    /// The path in the container.
    pub target: String,
    /// Whether the container may not write there.
    pub read_only: bool,
    /// A hint for a file sharing that Docker Desktop no longer has.
    pub consistency: Option<String>,
    /// What is said of a path of the host.
    pub bind: Option<BindOptions>,
    /// What is said of a volume. There, and empty, for every volume of the short form.
    pub volume: Option<VolumeOptions>,
    /// What is said of memory.
    pub tmpfs: Option<TmpfsOptions>,
    /// What is said of an image.
    pub image: Option<ImageOptions>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A volume, with a name or without.
    Volume,
    /// A path of the host.
    Bind,
    /// Memory.
    Tmpfs,
    /// The files of an image.
    Image,
}

/// How a path of the host is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BindOptions {
    /// `z` or `Z`.
    pub selinux: Option<String>,
    /// `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`.
    pub propagation: Option<String>,
    /// Whether the path is made where it does not exist. `None` where the long form does not say.
    #[serde(rename = "create_host_path~")]
    pub create_host_path: Option<bool>,
    /// `enabled`, `disabled`, `writable` or `readonly`.
    pub recursive: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How a volume is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VolumeOptions {
    /// Labels of a volume without a name.
    pub labels: BTreeMap<String, String>,
    /// Whether what the image has at that path is not copied into a new volume.
    pub nocopy: bool,
    /// The folder of the volume that is mounted.
    pub subpath: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How memory is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TmpfsOptions {
    /// How much it may hold.
    pub size: Bytes,
    /// The rights of its folder.
    pub mode: u32,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// How an image is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ImageOptions {
    /// The folder of the image that is mounted.
    pub subpath: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

impl Mount {
    /// The key of the named volume that is mounted.
    pub fn volume_key(&self) -> Option<&str> {
        match self.kind {
            MountKind::Volume => self.source.as_deref(),
            MountKind::Bind | MountKind::Tmpfs | MountKind::Image => None,
        }
    }
}
