//! The tree that TOML and YAML are read into: values, each with its place. What the values mean is for the readers.

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
