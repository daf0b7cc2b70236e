//! What is mounted into a container: as binds where Compose says it so, else as mounts. Binds make a folder of the host
//! that does not exist; mounts know more options.

use indexmap::IndexMap;

use super::Project;
use super::body::map;
use crate::driver::docker::api;
use crate::manifest::compose::model::{BindOptions, Container, Mount, MountKind, VolumeOptions};
use crate::stack::ResolveError;

/// What a container's file system is made of, as the engine's API divides it.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<String>,
    pub(super) others: Vec<api::Mount>,
}

/// One of them.
enum One {
    Bind(String),
    Other(Box<api::Mount>),
}

impl Project<'_> {
    pub(super) fn mounts(&self, container: &Container) -> Result<Mounts, ResolveError> {
        // One for each path: what is said last counts, and files only where nothing else is mounted.
        let mut by_target: IndexMap<String, One> = IndexMap::new();
        for mount in &container.mounts {
            by_target.insert(mount.target.clone(), self.mount(mount));
        }
        for file in self.mounted_files(container)? {
            let target = file.target.clone().unwrap_or_default();
            by_target.entry(target).or_insert_with(|| One::Other(Box::new(file)));
        }
        let mut out = Mounts::default();
        for one in by_target.into_values() {
            match one {
                One::Bind(bind) => out.binds.push(bind),
                One::Other(mount) => out.others.push(*mount),
            }
        }
        Ok(out)
    }

    fn mount(&self, mount: &Mount) -> One {
        let source = match (mount.kind, &mount.source) {
            (MountKind::Volume, Some(key)) => Some(self.volume(key).name),
            (_, source) => source.clone(),
        };
        let as_bind = match mount.kind {
            MountKind::Bind => !mount.bind.as_ref().is_some_and(needs_mount),
            MountKind::Volume => source.is_some() && !mount.volume.as_ref().is_some_and(volume_needs_mount),
            MountKind::Tmpfs | MountKind::Image => false,
        };
        if let (true, Some(source)) = (as_bind, &source) {
            return One::Bind(bind(source, mount));
        }
        One::Other(Box::new(api::Mount {
            target: Some(mount.target.clone()),
            source,
            typ: Some(match mount.kind {
                MountKind::Bind => api::MountType::BIND,
                MountKind::Volume => api::MountType::VOLUME,
                MountKind::Tmpfs => api::MountType::TMPFS,
                MountKind::Image => api::MountType::IMAGE,
            }),
            read_only: mount.read_only.then_some(true),
            consistency: mount.consistency.clone(),
            bind_options: mount.bind.as_ref().filter(|_| mount.kind == MountKind::Bind).map(bind_options),
            volume_options: mount.volume.as_ref().filter(|_| mount.kind == MountKind::Volume).map(|options| {
                api::MountVolumeOptions {
                    no_copy: options.nocopy.then_some(true),
                    labels: map(&options.labels),
                    subpath: options.subpath.clone(),
                    ..api::MountVolumeOptions::default()
                }
            }),
            tmpfs_options: mount.tmpfs.as_ref().filter(|_| mount.kind == MountKind::Tmpfs).map(|options| {
                api::MountTmpfsOptions {
                    size_bytes: options.size.get(),
                    mode: Some(i64::from(options.mode)).filter(|mode| *mode != 0),
                    ..api::MountTmpfsOptions::default()
                }
            }),
            image_options: mount
                .image
                .as_ref()
                .filter(|_| mount.kind == MountKind::Image)
                .map(|options| api::MountImageOptions { subpath: options.subpath.clone() }),
        }))
    }
}

/// Whether a path of the host can only be mounted by the engine's newer way. Of a `bind` that says nothing of it, Compose
/// takes that the path is there.
fn needs_mount(options: &BindOptions) -> bool {
    options.create_host_path != Some(true) || options.propagation.is_some() || options.recursive.is_some()
}

fn volume_needs_mount(options: &VolumeOptions) -> bool {
    !options.labels.is_empty() || options.subpath.is_some() || options.nocopy
}

/// `source:target:rw,z`.
fn bind(source: &str, mount: &Mount) -> String {
    let selinux = mount.bind.as_ref().and_then(|bind| bind.selinux.as_deref());
    let access = if mount.read_only { "ro" } else { "rw" };
    let options: Vec<&str> = std::iter::once(access).chain(selinux).collect();
    format!("{source}:{}:{}", mount.target, options.join(","))
}

fn bind_options(options: &BindOptions) -> api::MountBindOptions {
    use api::MountBindOptionsPropagationEnum as Propagation;
    let recursive = options.recursive.as_deref();
    api::MountBindOptions {
        propagation: options.propagation.as_deref().map(|said| match said {
            "private" => Propagation::PRIVATE,
            "shared" => Propagation::SHARED,
            "rshared" => Propagation::RSHARED,
            "slave" => Propagation::SLAVE,
            "rslave" => Propagation::RSLAVE,
            // The manifest has let nothing else through.
            _ => Propagation::RPRIVATE,
        }),
        create_mountpoint: options.create_host_path.filter(|create| *create),
        non_recursive: (recursive == Some("disabled")).then_some(true),
        read_only_non_recursive: (recursive == Some("writable")).then_some(true),
        read_only_force_recursive: (recursive == Some("readonly")).then_some(true),
    }
}
