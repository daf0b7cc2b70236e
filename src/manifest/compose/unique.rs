//! What counts once in a list, by which part of it: the last of its kind stands in the place of the first, as in Compose
//! (`override/uncity.go` of compose-go).

use std::collections::HashMap;

use super::super::node::{Kind, Node};
use super::mounts;

/// Drops what a list says again, in the lists where that means something.
pub(super) fn enforce(tree: &mut Node) {
    for section in tree.map_mut() {
        for entry in section.value.map_mut() {
            match section.key.as_str() {
                "services" => service(&mut entry.value),
                "networks" => {
                    list(entry.value.get_mut("labels"), pair);
                    list(entry.value.get_mut("ipam").and_then(|ipam| ipam.get_mut("options")), pair);
                }
                _ => {}
            }
        }
    }
}

/// Drops what the lists of a service say again.
fn service(service: &mut Node) {
    for entry in service.map_mut() {
        let value = &mut entry.value;
        match entry.key.as_str() {
            "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "environment" | "labels"
            | "links" | "profiles" | "sysctls" | "tmpfs" => list(value, pair),
            "build" => {
                for key in ["args", "additional_contexts", "tags", "labels"] {
                    list(value.get_mut(key), pair);
                }
            }
            "deploy" => list(value.get_mut("labels"), pair),
            "networks" => {
                for network in value.map_mut() {
                    list(network.value.get_mut("aliases"), pair);
                    list(network.value.get_mut("link_local_ips"), pair);
                }
            }
            "devices" => list(value, device),
            "volumes" => list(value, volume),
            "secrets" => list(value, |item| file_mount(item, "/run/secrets")),
            "configs" => list(value, |item| file_mount(item, "")),
            "env_file" => list(value, |item| item.get("path").unwrap_or(item).scalar_text()),
            "expose" => list(value, Node::scalar_text),
            "ports" => list(value, port),
            _ => {}
        }
    }
}

/// Where one item has no key, the list has a mistake, and stays as it is for the readers to tell.
fn list<'n>(node: impl Into<Option<&'n mut Node>>, key: impl Fn(&Node) -> Option<String>) {
    let Some(Node { kind: Kind::List(items), .. }) = node.into() else { return };
    let Some(keys) = items.iter().map(key).collect::<Option<Vec<_>>>() else { return };
    let mut places: HashMap<String, usize> = HashMap::with_capacity(keys.len());
    let mut unique: Vec<Node> = Vec::with_capacity(items.len());
    for (item, key) in std::mem::take(items).into_iter().zip(keys) {
        if let Some(place) = places.get(&key) {
            unique[*place] = item;
        } else {
            places.insert(key, unique.len());
            unique.push(item);
        }
    }
    *items = unique;
}

fn pair(item: &Node) -> Option<String> {
    let text = item.as_str()?;
    Some(text.split_once('=').map_or(text, |(key, _)| key).to_owned())
}

fn device(item: &Node) -> Option<String> {
    match item.as_str() {
        Some(text) => Some(text.split(':').nth(1).unwrap_or(text).to_owned()),
        None => item.get("target")?.scalar_text(),
    }
}

fn volume(item: &Node) -> Option<String> {
    match item.as_str() {
        Some(text) => mounts::target_of(text),
        None => item.get("target")?.scalar_text(),
    }
}

fn file_mount(item: &Node, folder: &str) -> Option<String> {
    if let Some(name) = item.as_str() {
        return Some(format!("{folder}/{name}"));
    }
    match item.get("target") {
        Some(target) => target.scalar_text(),
        None => Some(format!("{folder}/{}", item.get("source")?.scalar_text()?)),
    }
}

/// Short and long form of the same port have the same key. A range is several ports, and is compared with others where
/// it is taken apart.
fn port(item: &Node) -> Option<String> {
    let text = |key: &str| item.get(key).and_then(Node::scalar_text);
    if let Kind::Map(_) = item.kind {
        let ip = text("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
        let published = text("published").unwrap_or_default();
        let protocol = text("protocol").unwrap_or_else(|| "tcp".to_owned());
        return Some(format!("{ip}:{published}:{}/{protocol}", text("target")?));
    }
    let said = item.scalar_text()?;
    let (spec, protocol) = said.rsplit_once('/').unwrap_or((&said, "tcp"));
    let (front, target) = spec.rsplit_once(':').map_or((None, spec), |(front, target)| (Some(front), target));
    let (ip, published) =
        front.map_or((None, ""), |front| front.rsplit_once(':').map_or((None, front), |(ip, p)| (Some(ip), p)));
    if target.contains('-') || published.contains('-') {
        return Some(said);
    }
    let ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']')).filter(|ip| !ip.is_empty());
    Some(format!("{}:{published}:{target}/{}", ip.unwrap_or("0.0.0.0"), protocol.to_ascii_lowercase()))
}
