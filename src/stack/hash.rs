//! Compose's config hashes: SHA-256 over the compact JSON of a service, network or volume. Where the hash on a container
//! is the one that Compose computes, neither tool recreates what the other started.
//!
//! Releases of Compose differ in what they hash ([`HashDialect`]); who compares asks for both. Which keys changed is told
//! by digests of single keys, as the hash says no more than that something did.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::manifest::compose::{Container, Form, HashDialect, Network, Value, Volume};

/// How many hex digits of a key's digest are kept: enough to see a change, too few to find a secret by trying.
const KEY_DIGITS: usize = 8;

/// The hash of a service. What it shares with other services must stand in it as it is on the engine: see [`shared`].
pub fn service(container: &Container, dialect: HashDialect) -> String {
    sha256(&container.hashed(dialect).compact_json())
}

/// The service with the ids of containers in the place of the services whose namespaces and volumes it shares, as Compose
/// hashes it. `id` gives the id of a service's first container; what has none keeps its name.
#[must_use]
pub fn shared(container: &Container, id: impl Fn(&str) -> Option<String>) -> Container {
    let mut container = container.clone();
    let namespace = |mode: &mut Option<String>| {
        if let Some(service) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:"))
            && let Some(id) = id(service)
        {
            *mode = Some(format!("container:{id}"));
        }
    };
    namespace(&mut container.network_mode);
    namespace(&mut container.ipc);
    namespace(&mut container.pid);
    for from in &mut container.volumes_from {
        let mut parts = from.split(':');
        let first = parts.next().unwrap_or_default();
        let replaced = if first == "container" { parts.next().map(str::to_owned) } else { id(first) };
        if let Some(replaced) = replaced {
            *from = replaced;
        }
    }
    container
}

/// The hash of a network, of which the name on the engine is said.
pub fn network(network: &Network, dialect: HashDialect) -> String {
    sha256(&Value::of(network, Form::Json(dialect)).compact_json())
}

/// The hash of a volume, of which the name on the engine is said.
pub fn volume(volume: &Volume, dialect: HashDialect) -> String {
    let mut volume = volume.clone();
    volume.driver.get_or_insert_with(|| "local".to_owned());
    sha256(&Value::of(&volume, Form::Json(dialect)).compact_json())
}

/// A digest of each key that the hash of a service is made of: `command=1a2b3c4d,image=…`. Kept in a label of devctl's
/// own, it lets a later run say which key changed.
///
/// It must not tell secrets, so that a key's digest is short and salted with the hash of everything.
pub fn key_digests(container: &Container) -> String {
    let salt = service(container, HashDialect::V2);
    let digests = digests(container, &salt).into_iter().map(|(key, digest)| format!("{key}={digest}"));
    std::iter::once(format!("#={salt}")).chain(digests).collect::<Vec<_>>().join(",")
}

/// The keys in which a service differs from the one that `label` was made of by [`key_digests`], sorted. `None` where the
/// label is not one that this version understands.
pub fn changed_keys(label: &str, container: &Container) -> Option<Vec<String>> {
    let mut old: BTreeMap<&str, &str> = label.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let salt = old.remove("#")?;
    let new = digests(container, salt);
    let mut changed: Vec<String> = new
        .iter()
        .filter(|(key, digest)| old.get(key.as_str()) != Some(&digest.as_str()))
        .map(|(key, _)| key.clone())
        .chain(old.keys().filter(|key| !new.contains_key(**key)).map(|key| (*key).to_owned()))
        .collect();
    changed.sort();
    Some(changed)
}

fn digests(container: &Container, salt: &str) -> BTreeMap<String, String> {
    let Value::Map(entries) = container.hashed(HashDialect::V2) else { return BTreeMap::new() };
    entries
        .into_iter()
        // These two are there in any case; saying nothing of them is no key.
        .filter(|(_, value)| *value != Value::Null)
        .map(|(key, value)| {
            let mut digest = sha256(&format!("{salt}\n{key}\n{}", value.compact_json()));
            digest.truncate(KEY_DIGITS);
            (key, digest)
        })
        .collect()
}

fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
    }
    hex
}

#[cfg(test)]
mod tests;
