//! A container that takes the place of another, in Compose's steps: the new one is created beside the old one under a name
//! of its own, the old one is stopped and removed, and the new one gets its name.
//!
//! After each step the engine holds all there is to know, so that whoever comes after a `kill -9` can tell how far it got:
//! see [`super::Interrupted`]. Volumes without a name are handed on, as the data in them may be all there is.

use std::collections::HashSet;

use bollard::models::{ContainerInspectResponse, HostConfig, Mount, MountPoint, MountType};
use bollard::query_parameters::RenameContainerOptionsBuilder;
use futures_util::future::try_join_all;

use super::container::{self, Unnamed};
use super::error::{self, Error};
use super::observed::{Interrupted, Takeover};
use super::spec::ContainerSpec;
use super::{Docker, image};

/// The label by which Compose says whose place a container takes.
pub(super) const REPLACE: &str = "com.docker.compose.replace";

/// The name that a container has until the one it replaces is gone.
pub(super) fn temporary_name(old: &str, name: &str) -> String {
    format!("{}_{name}", old.get(..12).unwrap_or(old))
}

/// What is said in [`REPLACE`].
pub(super) fn replaces(spec: &ContainerSpec) -> String {
    match &spec.service {
        Some(service) if !spec.is_named => format!("{}-{}", service.base(), spec.number()),
        Some(_) | None => spec.name.clone(),
    }
}

/// Whether a container was made of another image than the one that its reference means now.
pub(super) async fn is_of_another_image(docker: &Docker, spec: &ContainerSpec, old: &str) -> Result<bool, Error> {
    let (now, there) = (image::id(docker, spec.image()).await?, container::inspect(docker, old).await?);
    Ok(there.is_some_and(|there| now.is_some() && there.image != now))
}

/// Hands the volumes without a name on to a container that is about to be created.
pub(super) async fn inherit(
    docker: &Docker,
    spec: &ContainerSpec,
    takeover: &Takeover,
    host: &mut HostConfig,
) -> Result<(), Error> {
    if takeover.renew_volumes {
        return Ok(());
    }
    let Some(old) = container::inspect(docker, &takeover.old).await? else { return Ok(()) };
    let image = image::volumes(docker, spec.image()).await?;
    hand_on(&old, &image, host);
    Ok(())
}

fn hand_on(old: &ContainerInspectResponse, image: &HashSet<String>, host: &mut HostConfig) {
    let volumes = old.mounts.iter().flatten().filter(|mount| mount.typ.as_deref() == Some("volume"));
    for MountPoint { name, destination, rw, .. } in volumes {
        let (Some(name), Some(target)) = (name, destination) else { continue };
        let mounts = host.mounts.get_or_insert_default();
        let asked = mounts.iter_mut().find(|mount| mount.target.as_ref() == Some(target));
        let bound = host.binds.iter().flatten().any(|bind| bind_target(bind) == Some(target.as_str()));
        let in_memory = host.tmpfs.as_ref().is_some_and(|tmpfs| tmpfs.contains_key(target));
        let is_unnamed = |mount: &&mut Mount| {
            mount.typ == Some(MountType::VOLUME) && mount.source.as_ref().is_none_or(String::is_empty)
        };
        if asked.is_some() {
            if let Some(mount) = asked.filter(is_unnamed) {
                mount.source = Some(name.clone());
            }
        } else if !bound && !in_memory && image.contains(target) {
            mounts.push(Mount {
                typ: Some(MountType::VOLUME),
                source: Some(name.clone()),
                target: Some(target.clone()),
                read_only: Some(*rw == Some(false)),
                ..Mount::default()
            });
        }
    }
    if host.mounts.as_ref().is_some_and(Vec::is_empty) {
        host.mounts = None;
    }
}

/// The volumes that a container was handed by the one it replaced, and whose names say that nobody named them.
pub(super) fn inherited(container: &ContainerInspectResponse) -> Vec<String> {
    let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
    if labels.is_none_or(|labels| !labels.contains_key(REPLACE)) {
        return Vec::new();
    }
    let is_id = |name: &&String| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mounts = container.mounts.iter().flatten().filter(|mount| mount.typ.as_deref() == Some("volume"));
    mounts.filter_map(|mount| mount.name.as_ref()).filter(is_id).cloned().collect()
}

/// The path in the container of `/host/path:/path:ro`.
fn bind_target(bind: &str) -> Option<&str> {
    bind.split(':').skip(1).find(|part| part.starts_with('/'))
}

/// Stops and removes the old container and gives the new one, `created`, its name.
pub(super) async fn take_over(docker: &Docker, takeover: &Takeover, created: &str, name: &str) -> Result<(), Error> {
    let stop = |id: &str| {
        let id = id.to_owned();
        async move { container::stop_in(docker, &id, takeover.stop_timeout).await }
    };
    let stopped = async {
        try_join_all(takeover.stop_first.iter().map(|id| stop(id))).await?;
        stop(&takeover.old).await
    };
    if let Err(error) = stopped.await {
        // Nothing of the old one is lost yet, and it stays what it is.
        container::remove(docker, created, Unnamed::Remove).await?;
        return Err(error);
    }
    container::remove(docker, &takeover.old, Unnamed::Keep).await?;
    rename(docker, created, name).await
}

async fn rename(docker: &Docker, id: &str, name: &str) -> Result<(), Error> {
    let options = RenameContainerOptionsBuilder::default().name(name).build();
    match docker.client().rename_container(id, options).await {
        Ok(()) => Ok(()),
        Err(error) if error::status(&error) == Some(409) => match container::inspect(docker, name).await? {
            // By whoever was faster in mending the same thing.
            Some(there) if there.id.as_deref() == Some(id) => Ok(()),
            Some(there) => {
                let labels = there.config.and_then(|config| config.labels);
                Err(Error::NameTaken { name: name.to_owned(), owner: error::owner(labels.as_ref()) })
            }
            None => Err(Error::from_call(format!("name the container `{name}`"), error)),
        },
        Err(error) => Err(Error::from_call(format!("name the container `{name}`"), error)),
    }
}

/// See [`Docker::heal`].
pub(super) async fn heal(docker: &Docker, interrupted: &Interrupted) -> Result<(), Error> {
    match &interrupted.becomes {
        Some(name) => rename(docker, &interrupted.id, name).await,
        // The volumes it was handed have names, as far as the engine knows, and stay.
        None => container::remove(docker, &interrupted.id, Unnamed::Remove).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, target: &str) -> MountPoint {
        MountPoint {
            typ: Some("volume".to_owned()),
            name: Some(name.to_owned()),
            destination: Some(target.to_owned()),
            rw: Some(true),
            ..MountPoint::default()
        }
    }

    fn mount(source: Option<&str>, target: &str) -> Mount {
        Mount {
            typ: Some(MountType::VOLUME),
            source: source.map(str::to_owned),
            target: Some(target.to_owned()),
            ..Mount::default()
        }
    }

    #[test]
    fn volumes_without_a_name_are_handed_on_and_no_others() {
        let old = ContainerInspectResponse {
            mounts: Some(vec![
                volume("a1", "/of-the-file"),
                volume("a2", "/of-the-image"),
                volume("shop_data", "/named-now"),
                volume("a3", "/bound-now"),
                volume("a4", "/memory-now"),
                volume("a5", "/gone-from-the-file"),
                MountPoint { typ: Some("bind".to_owned()), ..volume("", "/of-the-image-too") },
            ]),
            ..ContainerInspectResponse::default()
        };
        let image = ["/of-the-image", "/of-the-image-too", "/bound-now", "/memory-now"];
        let image = image.into_iter().map(str::to_owned).collect();
        let mut host = HostConfig {
            mounts: Some(vec![mount(None, "/of-the-file"), mount(Some("other"), "/named-now")]),
            binds: Some(vec!["/srv/x:/bound-now:ro".to_owned()]),
            tmpfs: Some([("/memory-now".to_owned(), String::new())].into_iter().collect()),
            ..HostConfig::default()
        };
        hand_on(&old, &image, &mut host);
        let mounts: Vec<(String, String)> =
            host.mounts.unwrap().into_iter().map(|m| (m.source.unwrap(), m.target.unwrap())).collect();
        let expected = [("a1", "/of-the-file"), ("other", "/named-now"), ("a2", "/of-the-image")];
        assert_eq!(mounts, expected.map(|(source, target)| (source.to_owned(), target.to_owned())));
    }

    #[test]
    fn names_and_labels_are_those_of_compose() {
        assert_eq!(temporary_name("0123456789abcdef", "shop-db-1"), "0123456789ab_shop-db-1");
        let mut spec = ContainerSpec {
            service: Some("db#2".parse().unwrap()),
            name: "shop-db-1".to_owned(),
            ..ContainerSpec::default()
        };
        spec.renumber(2);
        assert_eq!((spec.name.as_str(), replaces(&spec).as_str()), ("shop-db-2", "db-2"));
        let mut spec = ContainerSpec { is_named: true, ..spec };
        spec.renumber(3);
        assert_eq!((spec.name.as_str(), replaces(&spec).as_str()), ("shop-db-2", "shop-db-2"));
    }

    #[test]
    fn the_target_of_a_bind_is_found() {
        for (bind, target) in [
            ("/a:/b:ro", Some("/b")),
            ("/a:/b", Some("/b")),
            ("data:/b:rw,nocopy", Some("/b")),
            ("C:\\x:/b:rw", Some("/b")),
            ("/a", None),
        ] {
            assert_eq!(bind_target(bind), target, "{bind}");
        }
    }
}
