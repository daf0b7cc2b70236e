//! The `networks` of a Compose service.

use std::collections::BTreeMap;

use super::super::node::{Kind, Node};
use super::super::reader::Reader;
use super::model::{Attachment, Endpoint};
use super::values::{extensions, unique};

const KEYS: &[&str] = &[
    "aliases",
    "driver_opts",
    "gw_priority",
    "interface_name",
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "priority",
];

pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node) -> Option<BTreeMap<String, Attachment>> {
    let mut networks = BTreeMap::new();
    if let Kind::List(_) = node.kind {
        for network in reader.strings_at(key, node)? {
            let attachment = Attachment { place: Some(network.place), endpoint: None };
            networks.entry(network.value).or_insert(attachment);
        }
        return Some(networks);
    }
    for entry in reader.entries(key, node)? {
        let endpoint = match entry.value.kind {
            Kind::Null => None,
            Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Float(_)
            | Kind::Str(_)
            | Kind::Datetime
            | Kind::List(_)
            | Kind::Map(_) => {
                let table = reader.table(&entry.key, &entry.value, KEYS, &[])?;
                Some(Endpoint {
                    aliases: unique(table.read("aliases", Reader::strings)),
                    driver_opts: table.options("driver_opts"),
                    gw_priority: table.number("gw_priority"),
                    interface_name: table.text("interface_name"),
                    ipv4_address: table.text("ipv4_address"),
                    ipv6_address: table.text("ipv6_address"),
                    link_local_ips: unique(table.read("link_local_ips", Reader::strings)),
                    mac_address: table.text("mac_address"),
                    priority: table.number("priority"),
                    extensions: extensions(table),
                })
            }
        };
        networks.insert(entry.key.clone(), Attachment { place: Some(reader.place(entry.key_mark)), endpoint });
    }
    Some(networks)
}
