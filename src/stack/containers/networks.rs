//! Networks and volumes: what the engine is asked for, and which networks a container joins under which names.

use std::collections::{BTreeMap, HashMap};

use super::{COMPOSE_VERSION, Project, compose_label};
use crate::driver::docker::{NetworkSpec, VolumeSpec, api};
use crate::manifest::compose::Container;
use crate::stack::hash;

impl Project<'_> {
    pub(super) fn network(&self, key: &str) -> NetworkSpec {
        let said = self.compose.networks.get(key);
        let external = said.is_some_and(|network| network.external);
        let name = self.resource_name(key, said.and_then(|network| network.name.as_deref()), external);
        let mut body = api::NetworkCreateRequest {
            name: name.clone(),
            driver: said.and_then(|network| network.driver.clone()),
            options: said.and_then(|network| map(&network.driver_opts)),
            internal: Some(said.is_some_and(|network| network.internal)),
            attachable: Some(said.is_some_and(|network| network.attachable)),
            ..api::NetworkCreateRequest::default()
        };
        if !external {
            let mut labels = said.and_then(|network| map(&network.labels)).unwrap_or_default();
            compose_label(&mut labels, "network", key);
            self.resource_labels(&mut labels, hash::network(&name, said));
            body.labels = Some(labels);
        }
        NetworkSpec { name, body, external }
    }

    pub(super) fn volume(&self, key: &str) -> VolumeSpec {
        let said = self.compose.volumes.get(key);
        let external = said.is_some_and(|volume| volume.external);
        let name = self.resource_name(key, said.and_then(|volume| volume.name.as_deref()), external);
        let mut body = api::VolumeCreateRequest {
            name: Some(name.clone()),
            driver: said.and_then(|volume| volume.driver.clone()),
            driver_opts: said.and_then(|volume| map(&volume.driver_opts)),
            ..api::VolumeCreateRequest::default()
        };
        if !external {
            let mut labels = said.and_then(|volume| map(&volume.labels)).unwrap_or_default();
            compose_label(&mut labels, "volume", key);
            self.resource_labels(&mut labels, hash::volume(&name, said));
            body.labels = Some(labels);
        }
        VolumeSpec { name, body, external }
    }

    fn resource_labels(&self, labels: &mut HashMap<String, String>, hash: String) {
        compose_label(labels, "project", self.name.as_str());
        compose_label(labels, "version", COMPOSE_VERSION);
        compose_label(labels, "config-hash", hash);
    }

    fn resource_name(&self, key: &str, said: Option<&str>, external: bool) -> String {
        match said {
            Some(name) => name.to_owned(),
            None if external => key.to_owned(),
            None => format!("{}_{key}", self.name),
        }
    }

    /// The networks that a container joins, the primary one first.
    pub(super) fn endpoints(&self, container: &Container, name: &str) -> Vec<(String, api::EndpointSettings)> {
        let endpoint = |key| {
            let aliases = Some(aliases(container, key, name));
            (self.network(key).name, api::EndpointSettings { aliases, ..api::EndpointSettings::default() })
        };
        keys(container).into_iter().map(endpoint).collect()
    }
}

/// A map that is sent only where there is something in it.
fn map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

/// The networks of a container by key. The first is the primary one: Compose takes them by name.
pub(super) fn keys(container: &Container) -> Vec<&str> {
    if container.network_mode.is_some() {
        return Vec::new();
    }
    let mut keys: Vec<&str> = container.networks.iter().map(|network| network.key.as_str()).collect();
    if keys.is_empty() {
        keys.push("default");
    }
    keys.sort_unstable();
    keys
}

/// The names by which others reach a container there: its own, its service's and those that the file gives.
fn aliases(container: &Container, key: &str, name: &str) -> Vec<String> {
    let mut aliases = vec![name.to_owned(), container.name.to_string()];
    let said = container.networks.iter().find(|network| network.key == key).and_then(|n| n.aliases.as_ref());
    for alias in said.into_iter().flatten() {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    aliases
}
