//! A Compose file's top level, and several files as one project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::super::devctl_toml::name;
use super::super::interpolate::{Lookup, interpolate_tree};
use super::super::node::Node;
use super::super::problem::{Problem, Sink};
use super::super::reader::Reader;
use super::super::source::{Language, Mark, Sources};
use super::super::suggest::{closest, listed};
use super::super::yaml;
use super::model::{Compose, Network, Source as MountSource, Volume};
use super::{merge, service};
use crate::name::ServiceName;

const FILE_KEYS: &[&str] = &["version", "name", "services", "networks", "volumes"];
const FILE_KEYS_LATER: &[&str] = &["include", "secrets", "configs", "models"];
const NETWORK_KEYS: &[&str] = &["name", "driver", "driver_opts", "internal", "attachable", "labels", "external"];
const NETWORK_KEYS_LATER: &[&str] = &["ipam", "enable_ipv4", "enable_ipv6"];
const VOLUME_KEYS: &[&str] = &["name", "driver", "driver_opts", "labels", "external"];

/// What the files are read with.
pub(in crate::manifest) struct Files<'a> {
    /// The files: where they were named, absolute path, path as shown, text.
    pub(in crate::manifest) texts: Vec<(PathBuf, PathBuf, String)>,
    /// Where variables come from.
    pub(in crate::manifest) lookup: &'a Lookup<'a>,
    /// The user's home folder, for `~` in bind mounts.
    pub(in crate::manifest) home: Option<&'a str>,
}

/// Reads all files of a project into one model. Warnings are what Compose warns of, too.
pub(in crate::manifest) fn load(
    files: Files<'_>,
    sources: &Sources,
    sink: &Sink,
    warnings: &mut Vec<Problem>,
) -> Compose {
    let mut compose = Compose {
        working_dir: files.texts.first().and_then(|(path, ..)| path.parent()).map(Path::to_owned).unwrap_or_default(),
        ..Compose::default()
    };
    let reader = Reader { sources, language: Language::Yaml, sink };
    let mut merged: Option<Node> = None;
    for (path, shown, text) in files.texts {
        let source = sources.add(shown, text);
        compose.files.push(path);
        let mut problems = Vec::new();
        let tree = yaml::parse(&source, &mut problems);
        sink.extend(problems);
        let Some(mut tree) = tree else {
            compose.unread = true;
            continue;
        };
        interpolate(reader, &mut tree, files.lookup, warnings);
        match &mut merged {
            Some(merged) => merge::merge(merged, tree),
            None => merged = Some(tree),
        }
    }
    if let Some(tree) = merged {
        read_project(reader, &tree, &mut compose, &Context { lookup: files.lookup, home: files.home });
    }
    check_references(&compose, sink);
    compose
}

/// What reading a service needs besides its text.
pub(super) struct Context<'a> {
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) home: Option<&'a str>,
}

fn interpolate(reader: Reader<'_>, tree: &mut Node, lookup: &Lookup<'_>, warnings: &mut Vec<Problem>) {
    let super::super::node::Kind::Map(entries) = &mut tree.kind else { return };
    let mut warn = |problem: Problem| {
        if !warnings.contains(&problem) {
            warnings.push(problem);
        }
    };
    for entry in entries {
        // Extensions hold whatever they hold; where an alias uses one, the copy is interpolated in its place.
        if !entry.key.starts_with("x-") {
            interpolate_tree(reader, &mut entry.value, lookup, &mut warn);
        }
    }
}

/// Reads the one tree that all files make.
fn read_project(reader: Reader<'_>, tree: &Node, compose: &mut Compose, context: &Context<'_>) {
    let Some(top) = reader.table("the file", tree, FILE_KEYS, FILE_KEYS_LATER) else { return };
    if let Some(name) = top.read("name", Reader::string_at) {
        compose.name = Some(name);
    }
    for entry in top.read("networks", Reader::entries).unwrap_or_default() {
        if entry.key.starts_with("x-") {
            continue;
        }
        if let Some(network) = read_network(reader, &entry.key, &entry.value, entry.key_mark) {
            compose.networks.insert(entry.key.clone(), network);
        }
    }
    for entry in top.read("volumes", Reader::entries).unwrap_or_default() {
        if entry.key.starts_with("x-") {
            continue;
        }
        if let Some(volume) = read_volume(reader, &entry.key, &entry.value, entry.key_mark) {
            compose.volumes.insert(entry.key.clone(), volume);
        }
    }
    for entry in top.read("services", Reader::entries).unwrap_or_default() {
        if entry.key.starts_with("x-") {
            continue;
        }
        let name = name::<ServiceName>(reader, entry.key_mark, &entry.key);
        let working_dir = compose.working_dir.clone();
        let container = service::read(reader, entry, name.as_ref(), &working_dir, context);
        compose.declared.extend(name.clone());
        let (Some(name), Some(container)) = (name, container) else { continue };
        compose.services.insert(name, container);
    }
}

fn read_network(reader: Reader<'_>, key: &str, node: &Node, mark: Mark) -> Option<Network> {
    let table = reader.table(key, node, NETWORK_KEYS, NETWORK_KEYS_LATER)?;
    Some(Network {
        place: reader.place(mark),
        name: table.read("name", Reader::string),
        driver: table.read("driver", Reader::string),
        driver_opts: table.read("driver_opts", string_map).unwrap_or_default(),
        internal: table.read("internal", Reader::boolean).unwrap_or_default(),
        attachable: table.read("attachable", Reader::boolean).unwrap_or_default(),
        labels: table.read("labels", string_map).unwrap_or_default(),
        external: table.read("external", Reader::boolean).unwrap_or_default(),
    })
}

fn read_volume(reader: Reader<'_>, key: &str, node: &Node, mark: Mark) -> Option<Volume> {
    let table = reader.table(key, node, VOLUME_KEYS, &[])?;
    Some(Volume {
        place: reader.place(mark),
        name: table.read("name", Reader::string),
        driver: table.read("driver", Reader::string),
        driver_opts: table.read("driver_opts", string_map).unwrap_or_default(),
        labels: table.read("labels", string_map).unwrap_or_default(),
        external: table.read("external", Reader::boolean).unwrap_or_default(),
    })
}

/// Pairs where no value means the empty one.
pub(super) fn string_map(reader: Reader<'_>, key: &str, node: &Node) -> Option<BTreeMap<String, String>> {
    Some(reader.pairs(key, node)?.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// Checks that networks and volumes that services name are there.
fn check_references(compose: &Compose, sink: &Sink) {
    for container in compose.services.values() {
        for attachment in &container.networks {
            if attachment.key != "default" && !compose.networks.contains_key(&attachment.key) {
                let message = format!("there is no network `{}`", attachment.key);
                sink.push(missing(attachment.place.problem(message), "networks", &attachment.key, &compose.networks));
            }
        }
        for mount in &container.mounts {
            if let MountSource::Volume(key) = &mount.source
                && !compose.volumes.contains_key(key)
            {
                let problem = mount.place.problem(format!("there is no volume `{key}`"));
                sink.push(missing(problem, "volumes", key, &compose.volumes));
            }
        }
    }
}

fn missing<T>(problem: Problem, section: &str, key: &str, all: &IndexMap<String, T>) -> Problem {
    match closest(key, all.keys().map(String::as_str)) {
        Some(right) => problem.with_help(format!("did you mean `{right}`?")),
        None if all.is_empty() => problem.with_help(format!("add `{key}:` under `{section}:` at the file's top level")),
        None => problem.with_help(format!(
            "the file has {}; add `{key}:` under `{section}:` for a new one",
            listed(all.keys().map(String::as_str))
        )),
    }
}
