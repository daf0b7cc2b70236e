//! The tree that TOML and YAML are read into: values, each with its place. What the values mean is for the readers.

use std::collections::HashMap;

use super::source::Mark;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mark: Mark,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Nothing: `key:` of YAML.
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    /// A date or time of TOML, which no key of ours takes.
    Datetime,
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_mark: Mark,
    pub(super) value: Node,
}

impl Kind {
    /// The kind's name in a sentence: "expected a string, found …".
    pub(super) fn name(&self, language: super::source::Language) -> &'static str {
        use super::source::Language;
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a decimal number",
            Self::Str(_) => "a string",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Map(_) if language == Language::Toml => "a table",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The scalar as text, as Compose prints it where it takes any scalar. `None` for lists and tables.
    pub(super) fn scalar_text(&self) -> Option<String> {
        match &self.kind {
            Kind::Str(text) => Some(text.clone()),
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Int(value) => Some(value.to_string()),
            Kind::Float(value) => Some(go_float(*value)),
            Kind::Null | Kind::Datetime | Kind::List(_) | Kind::Map(_) => None,
        }
    }
}

impl Node {
    /// A node that nobody wrote as it is, with the place of what it was made of.
    pub(super) fn text(text: impl Into<String>, mark: Mark) -> Self {
        Self { kind: Kind::Str(text.into()), mark }
    }

    /// The text of a string.
    pub(super) fn as_str(&self) -> Option<&str> {
        if let Kind::Str(text) = &self.kind { Some(text) } else { None }
    }

    /// The entries of a mapping; none where it is something else.
    pub(super) fn map(&self) -> &[Entry] {
        if let Kind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// The entries of a mapping; none where it is something else.
    pub(super) fn map_mut(&mut self) -> &mut [Entry] {
        if let Kind::Map(entries) = &mut self.kind { entries } else { &mut [] }
    }

    /// The items of a list; none where it is something else.
    pub(super) fn items(&self) -> &[Self] {
        if let Kind::List(items) = &self.kind { items } else { &[] }
    }

    /// The items of a list; none where it is something else.
    pub(super) fn items_mut(&mut self) -> &mut [Self] {
        if let Kind::List(items) = &mut self.kind { items } else { &mut [] }
    }

    /// The entry of a key, even one without a value.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.map().iter().find(|entry| entry.key == key)
    }

    /// The value of a key, even an empty one.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The value of a key, even an empty one.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.map_mut().iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    /// Takes a key out of a mapping.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let Kind::Map(entries) = &mut self.kind else { return None };
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at))
    }

    /// Gives a key of a mapping this value, whether it is there or not.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        let Kind::Map(entries) = &mut self.kind else { return };
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry { key: key.to_owned(), key_mark: value.mark, value }),
        }
    }

    /// Whether both say the same, wherever they say it.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::List(ours), Kind::List(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.same(b))
            }
            (Kind::Map(ours), Kind::Map(theirs)) => {
                let theirs: HashMap<&str, &Self> = theirs.iter().map(|b| (b.key.as_str(), &b.value)).collect();
                ours.len() == theirs.len()
                    && ours.iter().all(|a| theirs.get(a.key.as_str()).is_some_and(|value| a.value.same(value)))
            }
            (ours, theirs) => ours == theirs,
        }
    }

    /// How many values it is made of.
    pub(super) fn size(&self) -> usize {
        match &self.kind {
            Kind::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>(),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Datetime => 1,
        }
    }
}

/// Prints a float as Go's `%v` does: shortest digits, an exponent from a million on and below 1e-4.
fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    if value != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').expect("`{:e}` always writes an exponent");
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_compose_prints_them() {
        for (value, expected) in [
            (1.0, "1"),
            (1.10, "1.1"),
            (1e3, "1000"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (1e-7, "1e-07"),
            (1.5e22, "1.5e+22"),
            (-0.5, "-0.5"),
        ] {
            assert_eq!(go_float(value), expected);
        }
    }
}
