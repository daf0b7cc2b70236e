//! The secrets and configs that a service or a build is given.

use super::super::node::{Kind, Node};
use super::super::reader::Reader;
use super::model::{Extensions, FileMode, FileReference};
use super::values::extensions;

const KEYS: &[&str] = &["source", "target", "uid", "gid", "mode"];

/// Reads a list of references. `folder` is where those land that do not say where.
pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node, folder: Option<&str>) -> Option<Vec<FileReference>> {
    let mut references: Vec<FileReference> = Vec::new();
    for item in reader.list(key, node)? {
        let mut reference = match &item.kind {
            Kind::Str(source) => FileReference {
                place: reader.place(item.mark),
                source: Some(source.clone()),
                target: None,
                uid: None,
                gid: None,
                mode: None,
                extensions: Extensions::default(),
            },
            Kind::Map(_) => {
                let Some(table) = reader.table(key, item, KEYS, &[]) else { continue };
                if table.get("source").is_none() && !table.misspelt("source", KEYS) {
                    reader.fail(item.mark, format!("an entry of `{key}` needs a `source`"));
                }
                FileReference {
                    place: reader.place(item.mark),
                    source: table.text("source"),
                    target: table.text("target"),
                    uid: table.text("uid"),
                    gid: table.text("gid"),
                    mode: table.read("mode", read_mode),
                    extensions: extensions(table),
                }
            }
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) => {
                reader.wrong(key, item, "a name or a mapping");
                continue;
            }
        };
        if let (None, Some(folder), Some(source)) = (&reference.target, folder, &reference.source) {
            reference.target = Some(format!("{folder}/{source}"));
        }
        // Of what lands in one file the last counts, in the place of the first, as in Compose.
        let lands = |one: &FileReference| one.target.clone().or_else(|| one.source.clone());
        match references.iter_mut().find(|other| lands(other) == lands(&reference)) {
            Some(other) => *other = reference,
            None => references.push(reference),
        }
    }
    Some(references)
}

/// The rights of a file: a number, or the same in octal as a text.
fn read_mode(reader: Reader<'_>, key: &str, node: &Node) -> Option<FileMode> {
    let mode = match &node.kind {
        Kind::Int(mode) => i64::try_from(*mode).ok(),
        Kind::Str(text) => i64::from_str_radix(text, 8).ok(),
        Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => None,
    };
    let mode = mode.filter(|mode| (0..=0o7777).contains(mode));
    if mode.is_none() {
        reader.wrong(key, node, "the rights of a file, such as `0440`");
    }
    mode.map(FileMode)
}
