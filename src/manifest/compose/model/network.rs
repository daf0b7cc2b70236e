//! Networks, how a service joins them, and volumes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Extensions;
use crate::manifest::source::Place;

/// A network of a Compose file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Network {
    /// Where it is described; nowhere for the default one.
    #[serde(skip)]
    pub place: Option<Place>,
    /// Its name on the engine, where it is said.
    pub name: Option<String>,
    /// The driver.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Its addresses.
    pub ipam: Ipam,
    /// Whether somebody else makes it.
    pub external: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether containers outside the project may join.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has addresses of version 4; what the engine thinks where nothing is said.
    pub enable_ipv4: Option<bool>,
    /// Whether it has addresses of version 6; what the engine thinks where nothing is said.
    pub enable_ipv6: Option<bool>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// The addresses of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ipam {
    /// Who gives them out.
    pub driver: Option<String>,
    /// Where they are taken from.
    pub config: Vec<IpamPool>,
    /// Options of the driver, which Compose reads from 5.0 on.
    #[serde(rename = "options+")]
    pub options: BTreeMap<String, String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A range of addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IpamPool {
    /// All of it.
    pub subnet: Option<String>,
    /// The way out.
    pub gateway: Option<String>,
    /// The part from which containers get theirs.
    pub ip_range: Option<String>,
    /// Addresses that are taken, by host name.
    pub aux_addresses: BTreeMap<String, String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A network that a service joins.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Attachment {
    /// Where it is said; nowhere for the default network that nobody names.
    #[serde(skip)]
    pub place: Option<Place>,
    /// What is said of it, where anything is.
    pub endpoint: Option<Endpoint>,
}

/// How a service joins a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Endpoint {
    /// Further names of the service there.
    pub aliases: Vec<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// The highest decides which network's way out is taken.
    pub gw_priority: i64,
    /// The name of the interface in the container.
    pub interface_name: Option<String>,
    /// Its address of version 4.
    pub ipv4_address: Option<String>,
    /// Its address of version 6.
    pub ipv6_address: Option<String>,
    /// Further addresses that are not routed.
    pub link_local_ips: Vec<String>,
    /// Its MAC address.
    pub mac_address: Option<String>,
    /// The network with the highest is joined first.
    pub priority: i64,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// A volume of a Compose file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Volume {
    /// Where it is described.
    #[serde(skip)]
    pub place: Option<Place>,
    /// Its name on the engine, where it is said.
    pub name: Option<String>,
    /// The driver.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Whether somebody else makes it.
    pub external: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}
