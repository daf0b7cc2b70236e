//! Reads typed values out of the tree and collects what is wrong instead of stopping at it: unknown keys, wrong types,
//! values out of range. What the keys are for is the business of the readers built on it.

use std::time::Duration;

use indexmap::IndexMap;

use super::node::{Entry, Kind, Node};
use super::problem::Sink;
use super::source::{At, Language, Mark, Place, Sources};
use super::suggest::{closest, listed};
use super::{duration, size, words};

/// A reader of one tree, which may have come of several files.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    /// What the tree's files are written in.
    pub(super) language: Language,
    pub(super) sink: &'a Sink,
}

/// A table whose keys are all known.
#[derive(Clone, Copy)]
pub(super) struct Table<'a, 'n> {
    reader: Reader<'a>,
    entries: &'n [Entry],
    pub(super) mark: Mark,
}

impl<'a> Reader<'a> {
    pub(super) fn place(self, mark: Mark) -> Place {
        Place { source: self.sources.of(mark), mark }
    }

    pub(super) fn fail(self, mark: Mark, message: impl Into<String>) {
        self.sink.push(self.sources.of(mark).problem(Some(mark), message));
    }

    pub(super) fn fail_with(self, mark: Mark, message: impl Into<String>, help: impl Into<String>) {
        self.sink.push(self.sources.of(mark).problem(Some(mark), message).with_help(help));
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong(self, key: &str, node: &Node, expected: &str) {
        let message = format!("`{key}` must be {expected}, but is {}", node.kind.name(self.language));
        let text =
            node.scalar_text().filter(|_| expected.starts_with("a string") && !matches!(node.kind, Kind::Str(_)));
        match text {
            Some(text) => self.fail_with(node.mark, message, format!("write it in quotes: `\"{text}\"`")),
            None => self.fail(node.mark, message),
        }
    }

    /// The entries of a table, whatever their keys.
    pub(super) fn entries<'n>(self, key: &str, node: &'n Node) -> Option<&'n [Entry]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            // `services:` with nothing under it is an empty mapping for Compose too.
            Kind::Null => Some(&[]),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Datetime | Kind::List(_) => {
                let expected = if self.language == Language::Toml { "a table" } else { "a mapping" };
                self.wrong(key, node, expected);
                None
            }
        }
    }

    /// A table that may hold only `known` keys. `later` are keys that the format has and devctl has not, yet.
    pub(super) fn table<'n>(self, key: &str, node: &'n Node, known: &[&str], later: &[&str]) -> Option<Table<'a, 'n>> {
        let entries = self.entries(key, node)?;
        let yaml = self.language == Language::Yaml;
        for entry in entries {
            let name = entry.key.as_str();
            if known.contains(&name) || (yaml && name.starts_with("x-")) {
                continue;
            }
            if later.contains(&name) {
                self.fail(entry.key_mark, format!("devctl doesn't support the key `{name}` yet"));
                continue;
            }
            let help = match closest(name, known.iter().chain(later).copied()) {
                Some(right) => format!("did you mean `{right}`?"),
                None => format!("the keys here are {}", listed(known.iter().copied())),
            };
            self.fail_with(entry.key_mark, format!("unknown key `{name}`"), help);
        }
        Some(Table { reader: self, entries, mark: node.mark })
    }

    pub(super) fn list<'n>(self, key: &str, node: &'n Node) -> Option<&'n [Node]> {
        if let Kind::List(items) = &node.kind {
            return Some(items);
        }
        self.wrong(key, node, "a list");
        None
    }

    pub(super) fn string(self, key: &str, node: &Node) -> Option<String> {
        if let Kind::Str(text) = &node.kind {
            return Some(text.clone());
        }
        self.wrong(key, node, "a string");
        None
    }

    pub(super) fn string_at(self, key: &str, node: &Node) -> Option<At<String>> {
        Some(At { value: self.string(key, node)?, place: self.place(node.mark) })
    }

    /// A list of strings.
    pub(super) fn strings(self, key: &str, node: &Node) -> Option<Vec<String>> {
        let items = self.list(key, node)?;
        Some(items.iter().filter_map(|item| self.string(key, item)).collect())
    }

    /// A list of strings, each with its place.
    pub(super) fn strings_at(self, key: &str, node: &Node) -> Option<Vec<At<String>>> {
        let items = self.list(key, node)?;
        Some(items.iter().filter_map(|item| self.string_at(key, item)).collect())
    }

    pub(super) fn boolean(self, key: &str, node: &Node) -> Option<bool> {
        match &node.kind {
            Kind::Bool(value) => return Some(*value),
            // An interpolated value is text until here.
            Kind::Str(text) if self.language == Language::Yaml => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" => return Some(true),
                "false" | "n" | "no" | "off" => return Some(false),
                _ => {}
            },
            Kind::Null
            | Kind::Int(_)
            | Kind::Float(_)
            | Kind::Str(_)
            | Kind::Datetime
            | Kind::List(_)
            | Kind::Map(_) => {}
        }
        self.wrong(key, node, "true or false");
        None
    }

    /// A whole number within bounds.
    pub(super) fn integer<T: TryFrom<i128>>(self, key: &str, node: &Node, expected: &str) -> Option<T> {
        let value = match &node.kind {
            Kind::Int(value) => Some(*value),
            Kind::Str(text) if self.language == Language::Yaml => text.parse().ok(),
            Kind::Null
            | Kind::Bool(_)
            | Kind::Float(_)
            | Kind::Str(_)
            | Kind::Datetime
            | Kind::List(_)
            | Kind::Map(_) => None,
        };
        let Some(value) = value else {
            self.wrong(key, node, expected);
            return None;
        };
        let typed = T::try_from(value).ok();
        if typed.is_none() {
            self.fail(node.mark, format!("`{key}` must be {expected}, but is {value}"));
        }
        typed
    }

    /// A TCP port that can be listened on.
    pub(super) fn port(self, key: &str, node: &Node) -> Option<u16> {
        const EXPECTED: &str = "a port between 1 and 65535";
        if let Kind::Str(text) = &node.kind
            && self.language == Language::Toml
            && let Ok(number) = text.trim().parse::<u16>()
        {
            let message = format!("`{key}` must be {EXPECTED}, but is the text `{text}`");
            self.fail_with(node.mark, message, format!("without quotes: `{key} = {number}`"));
            return None;
        }
        let port = self.integer::<u16>(key, node, EXPECTED)?;
        if port == 0 {
            self.fail(node.mark, format!("`{key}` must be {EXPECTED}, but is 0"));
            return None;
        }
        Some(port)
    }

    /// A span of time: `30s`, `1m30s`.
    pub(super) fn duration(self, key: &str, node: &Node) -> Option<Duration> {
        const EXPECTED: &str = "a duration such as \"30s\" or \"1m30s\"";
        let text = match &node.kind {
            Kind::Str(text) => text,
            Kind::Int(value) => {
                let message = format!("`{key}` must be {EXPECTED}, but is the number {value}");
                self.fail_with(node.mark, message, format!("did you mean `\"{value}s\"`?"));
                return None;
            }
            Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => {
                self.wrong(key, node, EXPECTED);
                return None;
            }
        };
        let parsed = match self.language {
            Language::Yaml => duration::parse_compose(text),
            Language::Toml => duration::parse(text),
        };
        if parsed.is_none() {
            let message = format!("`{key}` must be {EXPECTED}, but is `{text}`");
            if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
                self.fail_with(node.mark, message, format!("did you mean `{text}s`?"));
            } else {
                self.fail(node.mark, message);
            }
        }
        parsed
    }

    /// A number of bytes: `64m`, `1gb`, `1024`.
    pub(super) fn size(self, key: &str, node: &Node) -> Option<i64> {
        const EXPECTED: &str = "a size such as `64m` or `1gb`";
        let parsed = match &node.kind {
            Kind::Int(value) => i64::try_from(*value).ok().filter(|value| *value >= 0),
            Kind::Str(text) => size::parse(text),
            Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) | Kind::Map(_) => None,
        };
        if parsed.is_none() {
            match node.scalar_text() {
                Some(text) => self.fail(node.mark, format!("`{key}` must be {EXPECTED}, but is `{text}`")),
                None => self.wrong(key, node, EXPECTED),
            }
        }
        parsed
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(self, key: &str, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key, node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        self.not_one_of(key, node.mark, &text, words.iter().map(|(word, _)| *word));
        None
    }

    /// Reports a word that is none of those that `key` takes.
    pub(super) fn not_one_of<'w>(
        self,
        key: &str,
        mark: Mark,
        text: &str,
        words: impl Iterator<Item = &'w str> + Clone,
    ) {
        let message = format!("`{key}` must be one of {}, but is `{text}`", listed(words.clone()));
        match closest(text, words) {
            Some(right) => self.fail_with(mark, message, format!("did you mean `{right}`?")),
            None => self.fail(mark, message),
        }
    }

    /// A command: a list of words, or a string that is split as a shell splits it.
    pub(super) fn command(self, key: &str, node: &Node) -> Option<Vec<String>> {
        match &node.kind {
            Kind::List(_) => self.strings(key, node),
            Kind::Str(text) => match (words::split(text), self.language) {
                (Ok(words), Language::Yaml) => Some(words),
                // The same words, but for the finer points of quoting, in which this one is a shell's equal.
                (Ok(words), Language::Toml) => Some(shell_words::split(text).unwrap_or(words)),
                (Err(words::Error::Unclosed), _) => {
                    self.fail(node.mark, format!("`{key}` has a quote that is never closed"));
                    None
                }
                (Err(words::Error::Operator(operator)), _) => {
                    self.fail_with(
                        node.mark,
                        format!("`{key}` has a `{operator}` that only a shell understands, and no shell runs it"),
                        "put the word in quotes, or run a shell: `[\"sh\", \"-c\", \"…\"]`",
                    );
                    None
                }
            },
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::Map(_) => {
                self.wrong(key, node, "a string or a list of strings");
                None
            }
        }
    }

    /// `KEY: value` pairs, from a table of scalars or (YAML) a list of `KEY=value`.
    pub(super) fn pairs(self, key: &str, node: &Node) -> Option<IndexMap<String, Option<String>>> {
        let mut pairs = IndexMap::new();
        if let (Kind::List(items), Language::Yaml) = (&node.kind, self.language) {
            for item in items {
                let Some(text) = self.string(key, item) else { continue };
                match text.split_once('=') {
                    Some((name, value)) => pairs.insert(name.to_owned(), Some(value.to_owned())),
                    None => pairs.insert(text, None),
                };
            }
            return Some(pairs);
        }
        for entry in self.entries(key, node)? {
            match (&entry.value.kind, entry.value.scalar_text()) {
                (_, Some(text)) => {
                    pairs.insert(entry.key.clone(), Some(text));
                }
                (Kind::Null, None) => {
                    pairs.insert(entry.key.clone(), None);
                }
                (
                    Kind::Bool(_)
                    | Kind::Int(_)
                    | Kind::Float(_)
                    | Kind::Str(_)
                    | Kind::Datetime
                    | Kind::List(_)
                    | Kind::Map(_),
                    None,
                ) => self.wrong(&entry.key, &entry.value, "a string, a number or a boolean"),
            }
        }
        Some(pairs)
    }
}

impl<'a, 'n> Table<'a, 'n> {
    pub(super) fn reader(self) -> Reader<'a> {
        self.reader
    }

    /// All entries, those without a value and extensions among them.
    pub(super) fn entries(self) -> &'n [Entry] {
        self.entries
    }

    /// The entry of a key that has a value.
    pub(super) fn entry(self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key && entry.value.kind != Kind::Null)
    }

    /// Whether an unknown key is likely meant to be this one; then its absence needs no second complaint.
    pub(super) fn misspelt(self, key: &str, known: &[&str]) -> bool {
        let strangers = self.entries.iter().map(|entry| entry.key.as_str()).filter(|name| !known.contains(name));
        strangers.into_iter().any(|name| closest(name, known.iter().copied()) == Some(key))
    }

    /// The value of a key.
    pub(super) fn get(self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Reads the value of a key, where it is there.
    pub(super) fn read<T>(self, key: &str, read: impl FnOnce(Reader<'a>, &str, &'n Node) -> Option<T>) -> Option<T> {
        read(self.reader, key, self.get(key)?)
    }
}
