//! What is mounted into a container: as binds where Compose says it so, else as mounts.

use std::collections::HashMap;

use super::Project;
use crate::driver::docker::api;
use crate::manifest::compose::{Container, MountKind};

/// What a container's file system is made of, as the engine's API divides it.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) others: Vec<api::Mount>,
    pub(super) tmpfs: HashMap<String, String>,
}

impl Project<'_> {
    pub(super) fn mounts(&self, container: &Container) -> Mounts {
        let mut out = Mounts::default();
        for mount in &container.mounts {
            let mode = if mount.read_only { "ro" } else { "rw" };
            match (mount.kind, &mount.source) {
                (MountKind::Volume, Some(key)) => {
                    out.binds.push(format!("{}:{}:{mode}", self.volume(key).name, mount.target));
                }
                (MountKind::Bind, Some(path)) => out.binds.push(format!("{path}:{}:{mode}", mount.target)),
                (MountKind::Tmpfs, _) => {
                    out.tmpfs.insert(mount.target.clone(), if mount.read_only { "ro" } else { "" }.to_owned());
                }
                (MountKind::Volume | MountKind::Bind | MountKind::Image, _) => out.others.push(api::Mount {
                    target: Some(mount.target.clone()),
                    typ: Some(api::MountType::VOLUME),
                    read_only: Some(mount.read_only),
                    ..api::Mount::default()
                }),
            }
        }
        out
    }
}
