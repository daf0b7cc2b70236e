//! Networks and volumes: made when absent, checked when they are not ours to make, removed by name.

use bollard::models::NetworkInspect;
use bollard::query_parameters::RemoveVolumeOptions;

use super::Docker;
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
    if matches!(cx.action, Action::Keep | Action::Adopt) {
        return Ok(());
    }
    // Engines before 25 make a second network of the same name without a word, so it is looked for first.
    match inspect(docker, &spec.name).await? {
        Some(_) if spec.external => return Ok(()),
        None if spec.external => return Err(Error::ExternalMissing { kind: "network", name: spec.name.clone() }),
        Some(network) => return accept(spec, &network),
        None => {}
    }
    let mut request = spec.body.clone();
    request.labels.get_or_insert_default().insert(RUN.to_owned(), cx.run.to_string());
    match docker.client().create_network(request).await {
        Ok(_) => Ok(()),
        // Somebody was faster.
        Err(error) if error::status(&error) == Some(409) => match inspect(docker, &spec.name).await? {
            Some(network) => accept(spec, &network),
            None => Err(Error::from_call(format!("create the network `{}`", spec.name), error)),
        },
        Err(error) => Err(Error::from_call(format!("create the network `{}`", spec.name), error)),
    }
}

pub(super) async fn ensure_volume(docker: &Docker, spec: &VolumeSpec, cx: &StartContext) -> Result<(), Error> {
    if matches!(cx.action, Action::Keep | Action::Adopt) {
        return Ok(());
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
