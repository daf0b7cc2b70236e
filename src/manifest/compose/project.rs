//! The top level of a project's tree: services, networks, volumes, secrets, configs, and whether they fit together.

use indexmap::IndexMap;

use super::super::devctl_toml::name;
use super::super::node::{Entry, Kind, Node};
use super::super::problem::{Problem, Sink};
use super::super::reader::{Reader, Table};
use super::super::suggest::{closest, listed};
use super::environment::VALUE_KEY;
use super::file::Context;
use super::model::{Compose, FileObject, Ipam, IpamPool, Network, Volume};
use super::mounts::Paths;
use super::service;
use super::values::extensions;
use crate::name::ServiceName;

const FILE_KEYS: &[&str] = &["version", "name", "services", "networks", "volumes", "secrets", "configs"];
const FILE_KEYS_LATER: &[&str] = &["include", "models"];
const NETWORK_KEYS: &[&str] = &[
    "name",
    "driver",
    "driver_opts",
    "ipam",
    "external",
    "internal",
    "attachable",
    "labels",
    "enable_ipv4",
    "enable_ipv6",
];
const IPAM_KEYS: &[&str] = &["driver", "config", "options"];
const POOL_KEYS: &[&str] = &["subnet", "gateway", "ip_range", "aux_addresses"];
const VOLUME_KEYS: &[&str] = &["name", "driver", "driver_opts", "external", "labels"];
const SECRET_KEYS: &[&str] =
    &["name", "file", "environment", "external", "labels", "driver", "driver_opts", "template_driver"];
const CONFIG_KEYS: &[&str] = &["name", "file", "environment", "content", "external", "labels", "template_driver"];

/// Reads the whole tree.
pub(super) fn read(reader: Reader<'_>, tree: &Node, compose: &mut Compose, context: &Context<'_>) {
    let Some(top) = reader.table("the file", tree, FILE_KEYS, FILE_KEYS_LATER) else { return };
    if let Some(name) = top.read("name", Reader::string_at) {
        compose.name = Some(name);
    }
    compose.extensions.0.extend(extensions(top).0);
    section(top, "networks", |entry| {
        if let Some(network) = read_network(reader, entry, context) {
            compose.networks.insert(entry.key.clone(), network);
        }
    });
    section(top, "volumes", |entry| {
        if let Some(volume) = read_volume(reader, entry, context) {
            compose.volumes.insert(entry.key.clone(), volume);
        }
    });
    let working_dir = compose.working_dir.clone();
    let paths = Paths { working_dir: &working_dir, home: context.home };
    section(top, "secrets", |entry| {
        if let Some(secret) = read_file_object(reader, entry, Object::Secret, paths, context) {
            compose.secrets.insert(entry.key.clone(), secret);
        }
    });
    section(top, "configs", |entry| {
        if let Some(config) = read_file_object(reader, entry, Object::Config, paths, context) {
            compose.configs.insert(entry.key.clone(), config);
        }
    });
    section(top, "services", |entry| {
        let name = name::<ServiceName>(reader, entry.key_mark, &entry.key);
        let container = service::read(reader, entry, name.as_ref(), paths, context);
        compose.declared.extend(name.clone());
        let (Some(name), Some(container)) = (name, container) else { return };
        compose.services.insert(name, container);
    });
}

fn section(top: Table<'_, '_>, key: &str, mut each: impl FnMut(&Entry)) {
    for entry in top.read(key, Reader::entries).unwrap_or_default() {
        if !entry.key.starts_with("x-") {
            each(entry);
        }
    }
}

/// Whether somebody else makes it: a boolean, or by an old way of writing a mapping with a name, which is the second.
fn read_external(table: Table<'_, '_>, name: &mut Option<String>, context: &Context<'_>) -> bool {
    let Some(entry) = table.entry("external") else { return false };
    let reader = table.reader();
    let Kind::Map(_) = entry.value.kind else { return table.flag("external") };
    let Some(inner) = reader.table("external", &entry.value, &["name"], &[]) else { return true };
    if let Some(old) = inner.text("name") {
        let place = reader.place(entry.key_mark);
        context.notes.push(
            place
                .problem("`external.name` is an old way to say it")
                .with_help(format!("write `name: {old}` and `external: true`")),
        );
        match name {
            Some(said) if *said != old => {
                reader.fail(entry.key_mark, format!("`name` is `{said}`, and `external.name` is `{old}`"));
            }
            Some(_) => {}
            None => *name = Some(old),
        }
    }
    true
}

fn read_network(reader: Reader<'_>, entry: &Entry, context: &Context<'_>) -> Option<Network> {
    let table = reader.table(&entry.key, &entry.value, NETWORK_KEYS, &[])?;
    let mut name = table.text("name");
    let external = read_external(table, &mut name, context);
    Some(Network {
        place: Some(reader.place(entry.key_mark)),
        name,
        driver: table.text("driver"),
        driver_opts: table.options("driver_opts"),
        ipam: table.read("ipam", read_ipam).unwrap_or_default(),
        external,
        internal: table.flag("internal"),
        attachable: table.flag("attachable"),
        labels: table.map("labels"),
        enable_ipv4: table.read("enable_ipv4", Reader::boolean),
        enable_ipv6: table.read("enable_ipv6", Reader::boolean),
        extensions: extensions(table),
    })
}

fn read_ipam(reader: Reader<'_>, key: &str, node: &Node) -> Option<Ipam> {
    let table = reader.table(key, node, IPAM_KEYS, &[])?;
    let mut config = Vec::new();
    for node in table.read("config", Reader::list).unwrap_or_default() {
        let Some(pool) = reader.table("config", node, POOL_KEYS, &[]) else { continue };
        config.push(IpamPool {
            subnet: pool.text("subnet"),
            gateway: pool.text("gateway"),
            ip_range: pool.text("ip_range"),
            aux_addresses: pool.options("aux_addresses"),
            extensions: extensions(pool),
        });
    }
    Some(Ipam {
        driver: table.text("driver"),
        config,
        options: table.options("options"),
        extensions: extensions(table),
    })
}

fn read_volume(reader: Reader<'_>, entry: &Entry, context: &Context<'_>) -> Option<Volume> {
    let table = reader.table(&entry.key, &entry.value, VOLUME_KEYS, &[])?;
    let mut name = table.text("name");
    let external = read_external(table, &mut name, context);
    Some(Volume {
        place: Some(reader.place(entry.key_mark)),
        name,
        driver: table.text("driver"),
        driver_opts: table.options("driver_opts"),
        external,
        labels: table.map("labels"),
        extensions: extensions(table),
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Object {
    Secret,
    Config,
}

fn read_file_object(
    reader: Reader<'_>,
    entry: &Entry,
    kind: Object,
    paths: Paths<'_>,
    context: &Context<'_>,
) -> Option<FileObject> {
    let keys = match kind {
        Object::Secret => SECRET_KEYS,
        Object::Config => CONFIG_KEYS,
    };
    let table = reader.table(&entry.key, &entry.value, keys, &[])?;
    let mut name = table.text("name");
    let external = read_external(table, &mut name, context);
    let environment = table.text("environment");
    // What is included has variables of its own, which are gone by now.
    let filled = table.get(VALUE_KEY).and_then(Node::as_str).map(str::to_owned);
    let value = filled.or_else(|| environment.as_deref().and_then(|variable| (context.lookup)(variable)));
    let content = table.text("content");
    let object = FileObject {
        place: reader.place(entry.key_mark),
        name,
        file: table.text("file").map(|file| paths.file(&file)),
        environment,
        content,
        external,
        labels: table.map("labels"),
        driver: table.text("driver"),
        driver_opts: table.options("driver_opts"),
        template_driver: table.text("template_driver"),
        extensions: extensions(table),
        value,
    };
    let sources = [&object.file, &object.environment, &object.content].into_iter().flatten().count();
    let (word, choice) = match kind {
        Object::Secret => ("secret", "`file` or `environment`"),
        Object::Config => ("config", "`file`, `environment` or `content`"),
    };
    let misspelt = table.misspelt("file", keys) || table.misspelt("environment", keys);
    let has_key = ["file", "environment", "content"].iter().any(|key| table.get(key).is_some());
    if !object.external && sources == 0 && kind == Object::Secret && !misspelt {
        reader.fail(entry.key_mark, format!("the {word} `{}` needs {choice}, or `external: true`", entry.key));
    } else if sources > 1 {
        reader.fail(entry.key_mark, format!("the {word} `{}` takes only one of {choice}", entry.key));
    } else if object.external && has_key {
        reader.fail(entry.key_mark, format!("the {word} `{}` is `external`, which excludes {choice}", entry.key));
    }
    Some(object)
}

/// Checks that what services name is there.
pub(super) fn check_references(compose: &Compose, sink: &Sink) {
    for container in compose.services.values() {
        for (key, attachment) in &container.networks {
            if let Some(place) = &attachment.place
                && key != "default"
                && !compose.networks.contains_key(key)
            {
                let message = format!("there is no network `{key}`");
                sink.push(missing(place.problem(message), "networks", key, &compose.networks));
            }
        }
        for mount in &container.mounts {
            if let Some(key) = mount.volume_key()
                && !compose.volumes.contains_key(key)
            {
                let problem = mount.place.problem(format!("there is no volume `{key}`"));
                sink.push(missing(problem, "volumes", key, &compose.volumes));
            }
        }
        let build_secrets = container.build.iter().flat_map(|build| &build.secrets);
        let secrets = container.secrets.iter().chain(build_secrets).map(|one| (one, "secret", &compose.secrets));
        let configs = container.configs.iter().map(|one| (one, "config", &compose.configs));
        for (reference, word, all) in secrets.chain(configs) {
            let Some(key) = &reference.source else { continue };
            if !all.contains_key(key) {
                let problem = reference.place.problem(format!("there is no {word} `{key}`"));
                sink.push(missing(problem, &format!("{word}s"), key, all));
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
