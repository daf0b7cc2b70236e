//! Networks and volumes: what the engine is asked for, and which networks a container joins under which names.

use std::collections::HashMap;

use super::body::{map, some};
use super::{COMPOSE_VERSION, Project, compose_label};
use crate::driver::docker::{NetworkSpec, VolumeSpec, api};
use crate::manifest::compose::HashDialect;
use crate::manifest::compose::model::{Container, Ipam, IpamPool};
use crate::stack::hash;

/// The driver's option by which an interface is given its name.
const INTERFACE: &str = "com.docker.network.endpoint.ifname";

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
            ipam: ipam(&said.ipam),
            enable_ipv4: said.enable_ipv4,
            enable_ipv6: said.enable_ipv6,
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
        let mut endpoints: Vec<_> =
            keys(container).into_iter().map(|key| (self.network(key).name, endpoint(container, key, name))).collect();
        if let Some((_, primary)) = endpoints.first_mut()
            && primary.mac_address.is_none()
        {
            primary.mac_address.clone_from(&container.mac_address);
        }
        endpoints
    }
}

/// How a container joins a network.
fn endpoint(container: &Container, key: &str, name: &str) -> api::EndpointSettings {
    let mut aliases = vec![name.to_owned(), container.name.to_string()];
    let said = container.networks.get(key).and_then(|attachment| attachment.endpoint.as_ref());
    let Some(said) = said else {
        return api::EndpointSettings { aliases: Some(aliases), ..api::EndpointSettings::default() };
    };
    for alias in &said.aliases {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    let mut driver_opts = map(&said.driver_opts);
    if let Some(interface) = &said.interface_name {
        driver_opts.get_or_insert_default().insert(INTERFACE.to_owned(), interface.clone());
    }
    api::EndpointSettings {
        aliases: Some(aliases),
        ipam_config: Some(api::EndpointIpamConfig {
            ipv4_address: said.ipv4_address.clone(),
            ipv6_address: said.ipv6_address.clone(),
            link_local_ips: some(said.link_local_ips.clone()),
        }),
        // Compose sends the addresses twice, and the engine shows them until the container is started.
        ip_address: said.ipv4_address.clone(),
        ipv6_gateway: said.ipv6_address.clone(),
        mac_address: said.mac_address.clone(),
        driver_opts,
        gw_priority: (said.gw_priority != 0).then_some(said.gw_priority),
        ..api::EndpointSettings::default()
    }
}

/// The addresses of a network, where anything is said of them.
fn ipam(said: &Ipam) -> Option<api::Ipam> {
    let pool = |pool: &IpamPool| api::IpamConfig {
        subnet: pool.subnet.clone(),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: map(&pool.aux_addresses),
    };
    let is_said = said.driver.is_some() || !said.config.is_empty() || !said.options.is_empty();
    is_said.then(|| api::Ipam {
        driver: said.driver.clone(),
        config: some(said.config.iter().map(pool).collect()),
        options: map(&said.options),
    })
}

/// The networks of a container by key. The first is the primary one.
pub(super) fn keys(container: &Container) -> Vec<&str> {
    if container.network_mode.is_some() { Vec::new() } else { container.networks_by_priority() }
}
