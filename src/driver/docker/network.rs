//! Networks and volumes: made when absent, checked when they are not ours to make, removed by name.

use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest, NetworkInspect};
use bollard::query_parameters::RemoveVolumeOptions;
use futures_util::future::try_join_all;

use super::Docker;
use super::container::{self, Unnamed};
use super::error::{self, Error};
use super::observe::{self, PROJECT, RUN, found};
use super::spec::{NetworkSpec, VolumeSpec};
use crate::driver::StartContext;
use crate::event::Action;

async fn inspect(docker: &Docker, name: &str) -> Result<Option<NetworkInspect>, Error> {
    let network = found(docker.client().inspect_network(name, None).await)
        .map_err(|e| Error::from_call(format!("look at the network `{name}`"), e))?;
    // The engine takes the beginning of an id for a name.
    Ok(network.filter(|network| network.name.as_deref() == Some(name)))
}

/// Takes a network that exists already, unless it is another project's.
fn accept(spec: &NetworkSpec, network: &NetworkInspect) -> Result<(), Error> {
    let theirs = network.labels.as_ref().and_then(|labels| labels.get(PROJECT));
    if theirs.map(String::as_str) == spec.label(PROJECT) {
        return Ok(());
    }
    Err(Error::ForeignNetwork { name: spec.name.clone(), owner: error::owner(network.labels.as_ref()) })
}

pub(super) async fn ensure_network(docker: &Docker, spec: &NetworkSpec, cx: &StartContext) -> Result<(), Error> {
    match cx.action {
        Action::Keep | Action::Adopt => return Ok(()),
        Action::Replace => return renew_network(docker, spec, cx).await,
        Action::Create | Action::Start | Action::Expect => {}
    }
    // Engines before 25 make a second network of the same name without a word, so it is looked for first.
    match inspect(docker, &spec.name).await? {
        Some(_) if spec.external => return Ok(()),
        None if spec.external => return Err(Error::ExternalMissing { kind: "network", name: spec.name.clone() }),
        Some(network) => return accept(spec, &network),
        None => {}
    }
    match create_network(docker, spec, cx).await {
        // Somebody was faster.
        Err(error) if error::status(&error) == Some(409) => match inspect(docker, &spec.name).await? {
            Some(network) => accept(spec, &network),
            None => Err(Error::from_call(format!("create the network `{}`", spec.name), error)),
        },
        Err(error) => Err(Error::from_call(format!("create the network `{}`", spec.name), error)),
        Ok(()) => Ok(()),
    }
}

async fn create_network(docker: &Docker, spec: &NetworkSpec, cx: &StartContext) -> Result<(), bollard::errors::Error> {
    let mut request = spec.body.clone();
    request.labels.get_or_insert_default().insert(RUN.to_owned(), cx.run.to_string());
    docker.client().create_network(request).await.map(|_| ())
}

/// Makes a network anew that is not as it should be. Containers of the project are stopped and taken off it, and put on
/// the new one with the names they had on the old one; whoever planned this starts them again. A container of somebody
/// else keeps the network from being touched.
async fn renew_network(docker: &Docker, spec: &NetworkSpec, cx: &StartContext) -> Result<(), Error> {
    let doing = |what: &str| format!("{what} the network `{}`", spec.name);
    let Some(old) = inspect(docker, &spec.name).await? else {
        return create_network(docker, spec, cx).await.map_err(|e| Error::from_call(doing("create"), e));
    };
    let users = observe::users_of_network(docker, old.id.as_deref().unwrap_or(&spec.name), spec.label(PROJECT)).await?;
    if !users.others.is_empty() {
        return Err(Error::NetworkInUse { name: spec.name.clone(), users: users.others });
    }
    let endpoints = try_join_all(users.ours.iter().map(async |id| {
        let container = container::inspect(docker, id).await?;
        let networks = container.and_then(|container| container.network_settings).and_then(|n| n.networks);
        Ok::<_, Error>(networks.and_then(|mut networks| networks.remove(&spec.name)).unwrap_or_default())
    }))
    .await?;
    try_join_all(users.ours.iter().map(|id| container::stop(docker, id))).await?;
    for id in &users.ours {
        let request = NetworkDisconnectRequest { container: id.clone(), force: Some(true) };
        match docker.client().disconnect_network(&spec.name, request).await {
            Ok(()) => {}
            Err(error) if error::is_absent(&error) => {}
            Err(error) => return Err(Error::from_call(doing("take a container off"), error)),
        }
    }
    remove_network(docker, &spec.name).await?;
    create_network(docker, spec, cx).await.map_err(|e| Error::from_call(doing("create"), e))?;
    for (id, endpoint) in users.ours.iter().zip(endpoints) {
        // What the engine chose on the old network says nothing about the new one.
        let endpoint = EndpointSettings {
            aliases: endpoint.aliases.map(|names| names.into_iter().filter(|name| !id.starts_with(name)).collect()),
            links: endpoint.links,
            driver_opts: endpoint.driver_opts,
            ipam_config: endpoint.ipam_config,
            ..EndpointSettings::default()
        };
        let request = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint) };
        match docker.client().connect_network(&spec.name, request).await {
            Ok(()) => {}
            Err(error) if error::is_absent(&error) => {}
            Err(error) => return Err(Error::from_call(doing("put a container on"), error)),
        }
    }
    Ok(())
}

pub(super) async fn ensure_volume(docker: &Docker, spec: &VolumeSpec, cx: &StartContext) -> Result<(), Error> {
    match cx.action {
        Action::Keep | Action::Adopt => return Ok(()),
        Action::Replace => clear_volume(docker, spec).await?,
        Action::Create | Action::Start | Action::Expect => {}
    }
    if spec.external {
        return match found(docker.client().inspect_volume(&spec.name).await) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::ExternalMissing { kind: "volume", name: spec.name.clone() }),
            Err(error) => Err(Error::from_call(format!("look at the volume `{}`", spec.name), error)),
        };
    }
    // Creating a volume that exists gives back the one there is, with its data and its labels.
    match docker.client().create_volume(spec.body.clone()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::from_call(format!("create the volume `{}`", spec.name), error)),
    }
}

/// Removes a volume and the project's containers that mount it: somebody agreed to the loss of what is in it.
async fn clear_volume(docker: &Docker, spec: &VolumeSpec) -> Result<(), Error> {
    let users = observe::users_of_volume_in(docker, &spec.name, spec.label(PROJECT)).await?;
    if !users.others.is_empty() {
        return Err(Error::VolumeInUse { name: spec.name.clone(), users: users.others });
    }
    try_join_all(users.ours.iter().map(async |id| {
        container::stop(docker, id).await?;
        container::remove(docker, id, Unnamed::Keep).await
    }))
    .await?;
    remove_volume(docker, &spec.name).await
}

pub(super) async fn remove_network(docker: &Docker, name: &str) -> Result<(), Error> {
    let Err(error) = docker.client().remove_network(name).await else { return Ok(()) };
    if error::is_absent(&error) {
        return Ok(());
    }
    let users = match inspect(docker, name).await? {
        None => return Ok(()),
        Some(network) => network.containers.unwrap_or_default(),
    };
    let mut users: Vec<String> = users.into_iter().map(|(id, user)| user.name.unwrap_or(id)).collect();
    users.sort();
    if users.is_empty() {
        return Err(Error::from_call(format!("remove the network `{name}`"), error));
    }
    Err(Error::NetworkInUse { name: name.to_owned(), users })
}

pub(super) async fn remove_volume(docker: &Docker, name: &str) -> Result<(), Error> {
    match docker.client().remove_volume(name, None::<RemoveVolumeOptions>).await {
        Ok(()) => Ok(()),
        Err(error) if error::is_absent(&error) => Ok(()),
        Err(error) if error::status(&error) == Some(409) => {
            let users = observe::users_of_volume(docker, name).await;
            if users.is_empty() {
                return Err(Error::from_call(format!("remove the volume `{name}`"), error));
            }
            Err(Error::VolumeInUse { name: name.to_owned(), users })
        }
        Err(error) => Err(Error::from_call(format!("remove the volume `{name}`"), error)),
    }
}
