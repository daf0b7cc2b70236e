//! Networks and volumes: what the engine is asked for, and which networks a container joins under which names.

use std::collections::{BTreeMap, HashMap};

use super::{COMPOSE_VERSION, Project, compose_label};
use crate::driver::docker::{NetworkSpec, VolumeSpec, api};
use crate::manifest::compose::{Container, HashDialect};
use crate::stack::hash;

impl Project<'_> {
    pub(super) fn network(&self, key: &str) -> NetworkSpec {
        let said = self.compose.network(self.name.as_str(), key);
        let (name, external) = (said.name.clone().unwrap_or_default(), said.external);
        let mut body = api::NetworkCreateRequest {
            name: name.clone(),
            driver: said.driver.clone(),
            options: map(&said.driver_opts),
            internal: Some(said.internal),
            attachable: Some(said.attachable),
            ..api::NetworkCreateRequest::default()
        };
        if !external {
            let mut labels = map(&said.labels).unwrap_or_default();
            compose_label(&mut labels, "network", key);
            self.resource_labels(&mut labels, hash::network(&said, HashDialect::V2));
            body.labels = Some(labels);
        }
        NetworkSpec { name, body, external }
    }

    pub(super) fn volume(&self, key: &str) -> VolumeSpec {
        let said = self.compose.volume(self.name.as_str(), key);
        let (name, external) = (said.name.clone().unwrap_or_default(), said.external);
        let mut body = api::VolumeCreateRequest {
            name: Some(name.clone()),
            driver: said.driver.clone(),
            driver_opts: map(&said.driver_opts),
            ..api::VolumeCreateRequest::default()
        };
        if !external {
            let mut labels = map(&said.labels).unwrap_or_default();
            compose_label(&mut labels, "volume", key);
            self.resource_labels(&mut labels, hash::volume(&said, HashDialect::V2));
            body.labels = Some(labels);
        }
        VolumeSpec { name, body, external }
    }

    fn resource_labels(&self, labels: &mut HashMap<String, String>, hash: String) {
        compose_label(labels, "project", self.name.as_str());
        compose_label(labels, "version", COMPOSE_VERSION);
        compose_label(labels, "config-hash", hash);
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

/// The networks of a container by key. The first is the primary one.
pub(super) fn keys(container: &Container) -> Vec<&str> {
    container.networks_by_priority()
}

/// The names by which others reach a container there: its own, its service's and those that the file gives.
fn aliases(container: &Container, key: &str, name: &str) -> Vec<String> {
    let mut aliases = vec![name.to_owned(), container.name.to_string()];
    let said = container.networks.get(key).and_then(|network| network.endpoint.as_ref());
    for alias in said.into_iter().flat_map(|endpoint| &endpoint.aliases) {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    aliases
}
