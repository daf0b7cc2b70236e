//! The `build` of a Compose service.

use std::collections::BTreeMap;

use super::super::node::{Kind, Node};
use super::super::reader::{Reader, Table};
use super::file::Context;
use super::files;
use super::model::{Build, SshKey};
use super::mounts::Paths;
use super::service::{read_extra_hosts, read_ulimits};
use super::values::{extensions, unique};

const KEYS: &[&str] = &[
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "args",
    "provenance",
    "sbom",
    "ssh",
    "labels",
    "cache_from",
    "cache_to",
    "no_cache",
    "additional_contexts",
    "pull",
    "extra_hosts",
    "isolation",
    "network",
    "target",
    "secrets",
    "shm_size",
    "tags",
    "ulimits",
    "platforms",
    "privileged",
];

pub(super) fn read(
    reader: Reader<'_>,
    key: &str,
    node: &Node,
    paths: Paths<'_>,
    context: &Context<'_>,
) -> Option<Build> {
    if let Kind::Str(folder) = &node.kind {
        let dockerfile = Some("Dockerfile".to_owned());
        return Some(Build { context: Some(paths.context(folder)), dockerfile, ..Build::default() });
    }
    let table = reader.table(key, node, KEYS, &[])?;
    let dockerfile_inline = table.text("dockerfile_inline");
    let mut dockerfile = table.text("dockerfile");
    if let (Some(_), Some(entry)) = (&dockerfile_inline, table.entry("dockerfile")) {
        reader.fail(entry.key_mark, "`dockerfile` and `dockerfile_inline` exclude each other");
    } else if dockerfile_inline.is_none() {
        dockerfile.get_or_insert_with(|| "Dockerfile".to_owned());
    }
    Some(Build {
        context: Some(paths.context(table.text("context").as_deref().unwrap_or("."))),
        dockerfile,
        dockerfile_inline,
        entitlements: table.texts("entitlements"),
        args: args(table, context),
        provenance: table.read("provenance", scalar),
        sbom: table.read("sbom", scalar),
        ssh: table.read("ssh", read_ssh).unwrap_or_default(),
        labels: table.map("labels"),
        cache_from: table.one_or_more("cache_from"),
        cache_to: table.one_or_more("cache_to"),
        no_cache: table.flag("no_cache"),
        additional_contexts: table
            .map("additional_contexts")
            .into_iter()
            .map(|(name, context)| (name, paths.context(&context)))
            .collect(),
        pull: table.flag("pull"),
        extra_hosts: table.read("extra_hosts", read_extra_hosts).unwrap_or_default(),
        isolation: table.text("isolation"),
        network: table.text("network"),
        target: table.text("target"),
        secrets: table.read("secrets", |r, key, node| files::read(r, key, node, None)).unwrap_or_default(),
        shm_size: table.bytes("shm_size"),
        tags: unique(table.read("tags", Reader::strings)),
        ulimits: table.read("ulimits", read_ulimits).unwrap_or_default(),
        platforms: table.texts("platforms"),
        privileged: table.flag("privileged"),
        extensions: extensions(table),
    })
}

/// Arguments, with values of the environment where none is said; those that have none there are left out.
fn args(table: Table<'_, '_>, context: &Context<'_>) -> BTreeMap<String, Option<String>> {
    let pairs = table.read("args", Reader::pairs).unwrap_or_default();
    pairs
        .into_iter()
        .filter_map(|(name, value)| {
            let value = value.or_else(|| (context.lookup)(&name))?;
            Some((name, Some(value)))
        })
        .collect()
}

fn scalar(reader: Reader<'_>, key: &str, node: &Node) -> Option<String> {
    let text = node.scalar_text();
    if text.is_none() {
        reader.wrong(key, node, "true, false or a string");
    }
    text.filter(|text| !text.is_empty())
}

fn read_ssh(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<SshKey>> {
    let mut keys: Vec<SshKey> = Vec::new();
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(text) = reader.string(key, item) else { continue };
            match text.split_once('=') {
                Some((id, path)) => keys.push(SshKey { id: id.to_owned(), path: Some(path.to_owned()) }),
                None if text == "default" => keys.push(SshKey { id: text, path: None }),
                None => reader.fail_with(item.mark, format!("`{text}` is no SSH key"), "write `default` or `ID=PATH`"),
            }
        }
    } else {
        for (id, path) in reader.pairs(key, node)? {
            keys.push(SshKey { id, path: path.filter(|path| !path.is_empty()) });
        }
    }
    // Compose has them in no order at all.
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    keys.dedup_by(|a, b| a.id == b.id);
    Some(keys)
}
