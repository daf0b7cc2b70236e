//! What a container shares with other containers of its project, named by service until those are there: namespaces,
//! volumes, links. The names become the identities of containers just before one is created.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{ContainerCreateBody, ContainerSummary, EndpointSettings, HostConfig};

use super::Docker;
use super::error::Error;
use super::observe::{self, PROJECT};
use super::spec::{ConfigHash, ContainerSpec};

/// Puts containers in for the services that a body names; tells the config hash of the result, where there is one.
pub(super) async fn resolve(
    docker: &Docker,
    spec: &ContainerSpec,
    body: &mut ContainerCreateBody,
    networks: &mut [(String, EndpointSettings)],
) -> Result<Option<String>, Error> {
    let host = body.host_config.get_or_insert_default();
    let services = named(host, spec);
    if services.is_empty() {
        add_links(spec, &BTreeMap::new(), host, networks);
        return Ok(spec.hash.as_ref().map(|hash| hash.with(&BTreeMap::new())));
    }
    let project = spec.label(PROJECT).unwrap_or_default();
    let mut containers = BTreeMap::new();
    for service in services {
        let found = observe::of_service(docker, project, &service).await?;
        containers.insert(service, found);
    }
    // The first by name, as Compose takes it.
    let mut ids = BTreeMap::new();
    for (service, found) in &containers {
        let first = found.iter().min_by_key(|container| name(container)).and_then(|container| container.id.clone());
        ids.extend(first.map(|id| (service.clone(), id)));
    }
    let missing =
        |what, service: &str| Error::NothingToShare { container: spec.name.clone(), what, service: service.to_owned() };
    for (mode, what) in [
        (&mut host.network_mode, "the network"),
        (&mut host.ipc_mode, "inter-process communication"),
        (&mut host.pid_mode, "processes"),
    ] {
        if let Some(service) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:")) {
            let id = ids.get(service).ok_or_else(|| missing(what, service))?;
            *mode = Some(format!("container:{id}"));
        }
    }
    for from in host.volumes_from.iter_mut().flatten() {
        if let Some(service) = service_of(from) {
            *from = ids.get(service).ok_or_else(|| missing("volumes", service))?.clone();
        } else {
            *from = from.split(':').nth(1).unwrap_or_default().to_owned();
        }
    }
    add_links(spec, &containers, host, networks);
    Ok(spec.hash.as_ref().map(|hash| hash.with(&ids)))
}

/// The services whose containers a container refers to.
fn named(host: &HostConfig, spec: &ContainerSpec) -> BTreeSet<String> {
    let modes = [&host.network_mode, &host.ipc_mode, &host.pid_mode];
    let shared = modes.into_iter().filter_map(|mode| mode.as_deref()?.strip_prefix("service:"));
    let volumes = host.volumes_from.iter().flatten().filter_map(|from| service_of(from));
    let links = spec.links.iter().map(|link| link.split(':').next().unwrap_or_default());
    shared.chain(volumes).chain(links).map(str::to_owned).collect()
}

/// The service of an entry of `volumes_from`: `db`, `db:ro`; none for `container:name`.
fn service_of(from: &str) -> Option<&str> {
    let first = from.split(':').next().unwrap_or_default();
    (first != "container").then_some(first)
}

/// Adds links as Compose does: under the alias, under `service-n` and under `project-service-n`.
fn add_links(
    spec: &ContainerSpec,
    containers: &BTreeMap<String, Vec<ContainerSummary>>,
    host: &mut HostConfig,
    networks: &mut [(String, EndpointSettings)],
) {
    let project = spec.label(PROJECT).unwrap_or_default();
    let number = spec.number();
    let mut links = Vec::new();
    for link in &spec.links {
        let (service, alias) = link.split_once(':').unwrap_or((link, link));
        for container in containers.get(service).into_iter().flatten() {
            let name = name(container).unwrap_or_default();
            links.extend([
                format!("{name}:{alias}"),
                format!("{name}:{service}-{number}"),
                format!("{name}:{project}-{service}-{number}"),
            ]);
        }
    }
    for link in &spec.external_links {
        let (container, alias) = link.split_once(':').unwrap_or((link, link));
        links.push(format!("{container}:{alias}"));
    }
    if links.is_empty() {
        return;
    }
    for (_, endpoint) in networks {
        endpoint.links = Some(links.clone());
    }
    host.links = Some(links);
}

/// The name of a container, without the slash.
fn name(container: &ContainerSummary) -> Option<&str> {
    container.names.as_ref()?.iter().map(|name| name.trim_start_matches('/')).find(|name| !name.contains('/'))
}

impl ConfigHash {
    /// The hash with the containers put in that stand for services.
    fn with(&self, ids: &BTreeMap<String, String>) -> String {
        self.of(|service| ids.get(service).map(String::as_str))
    }
}
