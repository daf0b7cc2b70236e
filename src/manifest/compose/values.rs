//! Shapes that many keys of a Compose file share: maps of texts, one or several texts, numbers that may be texts.

use std::collections::BTreeMap;

use super::super::node::{Kind, Node};
use super::super::reader::{Reader, Table};
use super::canonical::Value;
use super::environment::VALUE_KEY;
use super::model::{Bytes, Extensions};

/// Pairs where no value means the empty one.
pub(super) fn string_map(reader: Reader<'_>, key: &str, node: &Node) -> Option<BTreeMap<String, String>> {
    Some(reader.pairs(key, node)?.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// Options that are passed on: a mapping of scalars, never a list.
pub(super) fn options(reader: Reader<'_>, key: &str, node: &Node) -> Option<BTreeMap<String, String>> {
    if matches!(node.kind, Kind::List(_)) {
        reader.wrong(key, node, "a mapping");
        return None;
    }
    string_map(reader, key, node)
}

/// One text or several.
pub(super) fn one_or_more(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<String>> {
    if let Kind::Str(text) = &node.kind {
        return Some(vec![text.clone()]);
    }
    if !matches!(node.kind, Kind::List(_)) {
        reader.wrong(key, node, "a string or a list of strings");
        return None;
    }
    reader.strings(key, node)
}

/// Texts of which each counts once.
pub(super) fn unique(items: Option<Vec<String>>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for item in items.unwrap_or_default() {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

/// What is said under `x-…`.
pub(super) fn extensions(table: Table<'_, '_>) -> Extensions {
    let entries = table.entries().iter().filter(|entry| entry.key.starts_with("x-") && entry.key != VALUE_KEY);
    Extensions(entries.map(|entry| (entry.key.clone(), value(&entry.value))).collect())
}

fn value(node: &Node) -> Value {
    match &node.kind {
        Kind::Null | Kind::Datetime => Value::Null,
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Int(n) => Value::Int(*n),
        Kind::Float(n) => Value::Double(*n),
        Kind::Str(text) => Value::Text(text.clone()),
        Kind::List(items) => Value::List(items.iter().map(value).collect()),
        Kind::Map(entries) => {
            Value::Map(entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect())
        }
    }
}

/// A number, written as one or as a text.
pub(super) fn float(reader: Reader<'_>, key: &str, node: &Node) -> Option<f32> {
    let number = match &node.kind {
        #[expect(clippy::cast_possible_truncation, reason = "Compose keeps single precision, too")]
        Kind::Float(n) => Some(*n as f32),
        // By way of its text, which is rounded once.
        Kind::Int(n) => n.to_string().parse().ok(),
        Kind::Str(text) => text.parse().ok(),
        Kind::Null | Kind::Bool(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => None,
    };
    let number = number.filter(|n: &f32| n.is_finite());
    if number.is_none() {
        reader.wrong(key, node, "a number such as `0.5`");
    }
    number
}

/// A mapping of keys that are all known, or a report.
impl Table<'_, '_> {
    /// A text; an empty one is none.
    pub(super) fn text(self, key: &str) -> Option<String> {
        self.read(key, Reader::string).filter(|text| !text.is_empty())
    }

    /// A boolean, false where nothing is said.
    pub(super) fn flag(self, key: &str) -> bool {
        self.read(key, Reader::boolean).unwrap_or_default()
    }

    /// A whole number, 0 where nothing is said.
    pub(super) fn number<T: TryFrom<i128> + Default>(self, key: &str) -> T {
        self.read(key, |r, key, node| r.integer(key, node, "a whole number")).unwrap_or_default()
    }

    /// A number, 0 where nothing is said.
    pub(super) fn float(self, key: &str) -> f32 {
        self.read(key, float).unwrap_or_default()
    }

    /// A size, 0 where nothing is said.
    pub(super) fn bytes(self, key: &str) -> Bytes {
        Bytes(self.read(key, Reader::size).unwrap_or_default())
    }

    /// A size or -1, which stands for no limit; 0 where nothing is said.
    pub(super) fn bytes_or_unlimited(self, key: &str) -> Bytes {
        match self.get(key).map(|node| &node.kind) {
            Some(Kind::Int(-1)) => Bytes(-1),
            Some(Kind::Str(text)) if text == "-1" => Bytes(-1),
            Some(_) | None => self.bytes(key),
        }
    }

    /// Texts, none where nothing is said.
    pub(super) fn texts(self, key: &str) -> Vec<String> {
        self.read(key, Reader::strings).unwrap_or_default()
    }

    /// One text or several, none where nothing is said.
    pub(super) fn one_or_more(self, key: &str) -> Vec<String> {
        self.read(key, one_or_more).unwrap_or_default()
    }

    /// Pairs, none where nothing is said.
    pub(super) fn map(self, key: &str) -> BTreeMap<String, String> {
        self.read(key, string_map).unwrap_or_default()
    }

    /// Options that are passed on, none where nothing is said.
    pub(super) fn options(self, key: &str) -> BTreeMap<String, String> {
        self.read(key, options).unwrap_or_default()
    }
}
