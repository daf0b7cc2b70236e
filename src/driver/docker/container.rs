//! Containers: created from a [`ContainerSpec`] without a change, stopped, removed.
//!
//! What is sent here is what `docker compose` sends for the same file, so that either tool takes the other's containers
//! for its own.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, MountType, NetworkConnectRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::error::{self, Error};
use super::observe::{CONFIG_HASH, IMAGE, RUN, found};
use super::recreate::{self, REPLACE};
use super::running::is_alive;
use super::spec::ContainerSpec;
use super::{Docker, image, references};
use crate::driver::StartContext;
use crate::event::Action;

/// How long a removal that somebody else began may take.
const REMOVAL: Duration = Duration::from_secs(30);

/// What the engine waits before it kills, where a container says nothing.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// What becomes of volumes without a name when their container is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// They go with it: nothing could ever find them again.
    Remove,
    /// They stay: the container is replaced, and the data in them may be all there is.
    Keep,
}

pub(super) async fn inspect(docker: &Docker, name: &str) -> Result<Option<ContainerInspectResponse>, Error> {
    found(docker.client().inspect_container(name, None).await)
        .map_err(|e| Error::from_call(format!("look at the container `{name}`"), e))
}

pub(super) async fn create(docker: &Docker, spec: &ContainerSpec, cx: &StartContext) -> Result<(), Error> {
    let takeover = match (cx.action, &cx.takeover) {
        (Action::Keep | Action::Adopt | Action::Start, _) | (Action::Expect, None) => return Ok(()),
        (Action::Expect, Some(takeover)) => {
            if !recreate::is_of_another_image(docker, spec, &takeover.old).await? {
                return Ok(());
            }
            Some(takeover)
        }
        (Action::Create, _) => None,
        (Action::Replace, takeover) => takeover.as_ref(),
    };
    let Some(image) = image::id(docker, spec.image()).await? else {
        return Err(Error::ImageMissing { image: spec.image().to_owned(), may_pull: true });
    };
    let several = docker.speaks(1, 44);
    let mut body = body_for(docker, spec)?;
    let mut networks = spec.networks.clone();
    let hash = references::resolve(docker, spec, &mut body, &mut networks).await?;
    let labels = body.labels.get_or_insert_default();
    labels.insert(IMAGE.to_owned(), image);
    labels.insert(RUN.to_owned(), cx.run.to_string());
    labels.extend(hash.map(|hash| (CONFIG_HASH.to_owned(), hash)));
    let mut name = spec.name.clone();
    if let Some(takeover) = takeover {
        labels.insert(REPLACE.to_owned(), recreate::replaces(spec));
        name = recreate::temporary_name(&takeover.old, &name);
        recreate::inherit(docker, spec, takeover, body.host_config.get_or_insert_default()).await?;
        // What an earlier attempt left under that name.
        remove(docker, &name, Unnamed::Remove).await?;
    }
    // Engines before 25 take one network here; the others are joined before the start.
    let (at_once, later) = networks.split_at(if several { networks.len() } else { networks.len().min(1) });
    if !at_once.is_empty() {
        let endpoints_config = Some(at_once.iter().cloned().collect());
        body.networking_config = Some(NetworkingConfig { endpoints_config });
    }
    let options = CreateContainerOptionsBuilder::default()
        .name(&name)
        .platform(spec.platform.as_deref().unwrap_or_default())
        .build();
    let created = match docker.client().create_container(Some(options), body).await {
        Ok(created) => created,
        Err(error) => return Err(explain_create(docker, spec, error).await),
    };
    for (network, endpoint) in later {
        let request = NetworkConnectRequest { container: created.id.clone(), endpoint_config: Some(endpoint.clone()) };
        if let Err(error) = docker.client().connect_network(network, request).await {
            // A container that lacks a network must not be found and started by the next run.
            remove(docker, &created.id, Unnamed::Remove).await?;
            return Err(Error::from_call(format!("join `{}` to the network `{network}`", spec.name), error));
        }
    }
    match takeover {
        Some(takeover) => recreate::take_over(docker, takeover, &created.id, &spec.name).await,
        None => Ok(()),
    }
}

async fn explain_create(docker: &Docker, spec: &ContainerSpec, error: bollard::errors::Error) -> Error {
    let container = spec.name.clone();
    let message = error_message(&error);
    match error::status(&error) {
        Some(409) => match inspect(docker, &spec.name).await {
            Ok(Some(theirs)) => {
                let labels = theirs.config.and_then(|config| config.labels);
                Error::NameTaken { name: container, owner: error::owner(labels.as_ref()) }
            }
            Ok(None) => Error::from_call(format!("create the container `{container}`"), error),
            Err(other) => other,
        },
        Some(404) if message.to_lowercase().contains("no such image") => {
            Error::ImageMissing { image: spec.image().to_owned(), may_pull: true }
        }
        Some(400) => Error::BadContainer { container, message },
        _ => Error::from_call(format!("create the container `{container}`"), error),
    }
}

fn error_message(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    }
}

/// What is sent to this engine: what the spec says, without what its API does not know.
fn body_for(docker: &Docker, spec: &ContainerSpec) -> Result<ContainerCreateBody, Error> {
    let too_old = |what, engine, api| Error::EngineTooOld { container: spec.name.clone(), what, engine, api };
    let mut mounts = spec.body.host_config.iter().flat_map(|host| host.mounts.iter().flatten());
    if !docker.speaks(1, 48) && mounts.any(|mount| mount.typ == Some(MountType::IMAGE)) {
        return Err(too_old("a volume of `type: image`", "28", "1.48"));
    }
    if !docker.speaks(1, 49) && spec.networks.iter().any(|(_, endpoint)| named_interface(endpoint)) {
        return Err(too_old("`interface_name`", "28.1", "1.49"));
    }
    if !docker.speaks(1, 44) && spec.networks.iter().any(|(_, endpoint)| endpoint.mac_address.is_some()) {
        return Err(too_old("`mac_address`", "25", "1.44"));
    }
    let mut body = spec.body.clone();
    // devctl honours it itself, by asking as often.
    if let Some(check) = body.healthcheck.as_mut().filter(|_| !docker.speaks(1, 44)) {
        check.start_interval = None;
    }
    let options = body.host_config.iter_mut().flat_map(|host| host.security_opt.iter_mut().flatten());
    for option in options {
        if let Some(path) = option.strip_prefix("seccomp=").filter(|path| !matches!(*path, "unconfined" | "builtin")) {
            *option = format!("seccomp={}", seccomp_profile(spec, path)?);
        }
    }
    Ok(body)
}

/// The text of a seccomp profile, which is what the engine wants in the place of its path.
fn seccomp_profile(spec: &ContainerSpec, path: &str) -> Result<String, Error> {
    let bad = |reason: String| Error::BadContainer {
        container: spec.name.clone(),
        message: format!("the seccomp profile `{path}` cannot be used: {reason}"),
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let profile: serde_json::Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    Ok(profile.to_string())
}

fn named_interface(endpoint: &EndpointSettings) -> bool {
    endpoint.driver_opts.as_ref().is_some_and(|options| options.contains_key("com.docker.network.endpoint.ifname"))
}

/// Rounded up: a grace of half a second must not become none.
pub(super) fn whole_seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(super) async fn stop(docker: &Docker, name: &str) -> Result<(), Error> {
    match inspect(docker, name).await? {
        Some(container) => stop_seen(docker, name, &container).await,
        None => Ok(()),
    }
}

/// [`stop`], within so many seconds where that is not the container's to say.
pub(super) async fn stop_in(docker: &Docker, name: &str, seconds: Option<u32>) -> Result<(), Error> {
    match seconds {
        None => stop(docker, name).await,
        Some(seconds) => {
            let told = i32::try_from(seconds).unwrap_or(i32::MAX);
            stop_within(docker, name, Some(told), Duration::from_secs(seconds.into())).await
        }
    }
}

/// Stops a container as it wants to be stopped.
async fn stop_seen(docker: &Docker, name: &str, container: &ContainerInspectResponse) -> Result<(), Error> {
    let own = container.config.as_ref().and_then(|config| config.stop_timeout).and_then(|s| u64::try_from(s).ok());
    let grace = own.map_or(ENGINE_GRACE, Duration::from_secs);
    stop_within(docker, name, None, grace).await
}

/// Asks the engine to stop a container; `grace` is told to it where `seconds` is given, and waited for either way.
pub(super) async fn stop_within(
    docker: &Docker,
    name: &str,
    seconds: Option<i32>,
    grace: Duration,
) -> Result<(), Error> {
    let options = seconds.map(|t| StopContainerOptionsBuilder::default().t(t).build());
    match docker.patient(grace).stop_container(name, options).await {
        Ok(()) => Ok(()),
        Err(error) if error::is_absent(&error) => Ok(()),
        Err(error) => Err(Error::from_call(format!("stop the container `{name}`"), error)),
    }
}

/// [`remove`], with the volumes without a name that were handed on to it: to the engine these have names by now, and
/// nothing would ever find them again.
pub(super) async fn remove_with_inherited(docker: &Docker, name: &str) -> Result<(), Error> {
    // Where it cannot be looked at, the removal itself says what is wrong.
    let container = inspect(docker, name).await.ok().flatten();
    let inherited = container.map(|container| recreate::inherited(&container)).unwrap_or_default();
    remove(docker, name, Unnamed::Remove).await?;
    for volume in inherited {
        // Another container may have it by now.
        let _ = super::network::remove_volume(docker, &volume).await;
    }
    Ok(())
}

/// Removes a container. Never by force, which kills what runs: a database would have to recover at its next start.
pub(super) async fn remove(docker: &Docker, name: &str, unnamed: Unnamed) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default().v(unnamed == Unnamed::Remove).build();
    let doing = || format!("remove the container `{name}`");
    let mut may_stop = true;
    loop {
        let error = match docker.client().remove_container(name, Some(options.clone())).await {
            Ok(()) => return Ok(()),
            Err(error) if error::is_absent(&error) => return Ok(()),
            Err(error) if error::status(&error) != Some(409) => return Err(Error::from_call(doing(), error)),
            Err(error) => error,
        };
        // It runs, or "removal of container … is already in progress".
        let Some(container) = inspect(docker, name).await? else { return Ok(()) };
        if may_stop && container.state.as_ref().is_some_and(is_alive) {
            stop_seen(docker, name, &container).await?;
            // Once: whoever starts it again and again wants to keep it.
            may_stop = false;
            continue;
        }
        // Somebody else's removal, or our own before a lost connection.
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let mut gone = Box::pin(docker.client().wait_container(name, Some(options)));
        let _ = tokio::time::timeout(REMOVAL, gone.next()).await;
        return match inspect(docker, name).await? {
            None => Ok(()),
            Some(_) => Err(Error::from_call(doing(), error)),
        };
    }
}

/// The ports of the host that a container is to publish, and whether the engine picks any of them.
pub(super) fn published(container: &ContainerInspectResponse) -> (Vec<u16>, bool) {
    let bindings = container.host_config.as_ref().and_then(|host| host.port_bindings.as_ref());
    let mut ports = Vec::new();
    let mut picked = false;
    for binding in bindings.into_iter().flat_map(HashMap::values).flatten().flatten() {
        match binding.host_port.as_deref().unwrap_or_default().parse() {
            Ok(port) if port != 0 => ports.push(port),
            _ => picked = true,
        }
    }
    (ports, picked)
}

/// The ports of the host that a running container does publish.
pub(super) fn bound(container: &ContainerInspectResponse) -> Vec<u16> {
    let ports = container.network_settings.as_ref().and_then(|network| network.ports.as_ref());
    ports
        .into_iter()
        .flat_map(HashMap::values)
        .flatten()
        .flatten()
        .filter_map(|binding| binding.host_port.as_deref()?.parse::<u16>().ok())
        .collect()
}

/// Says why a start failed.
pub(super) async fn explain_start(
    docker: &Docker,
    name: &str,
    published: &[u16],
    error: bollard::errors::Error,
) -> Error {
    let message = error_message(&error);
    let container = name.to_owned();
    match error::status(&error) {
        Some(404) if message.to_lowercase().contains("no such container") => Error::NoSuchContainer { container },
        Some(_) if error::is_port_taken(&message) => {
            let port = error::port_in(&message, published);
            let owner = match port {
                Some(port) => docker.publisher(port).await,
                None => None,
            };
            let owner = owner.map(|owner| match owner.project {
                Some(project) => format!("the container `{}` of the project `{project}`", owner.container),
                None => format!("the container `{}`", owner.container),
            });
            Error::PortTaken { container, port, owner, message }
        }
        Some(_) => Error::StartFailed { container, message },
        None => Error::from_call(format!("start the container `{name}`"), error),
    }
}
