//! Values as Docker Compose writes them: the rules of Go's encoders for JSON and YAML, which decide config hashes down to
//! the byte. Knows nothing of services; what is written, and in which order, is said by the types of the model.
//!
//! The model's types derive `serde::Serialize` without a rule for each field, as Go's is nearly always the same: what is
//! empty is left out, unless it is a pointer, here an `Option`. Exceptions are told by a sign behind a field's name:
//!
//! | sign | the field is written |
//! |---|---|
//! | `!` | always |
//! | `?` | to JSON always, to YAML unless there is none |
//! | `^` | to YAML always |
//! | `~` | a boolean: up to Compose 2.40 where it is true, from 5.0 on where it is false |
//! | `+` | from Compose 5.0 on |

mod json;
mod serializer;
mod yaml;

use serde::Serialize;

/// The name of the field that holds extensions (`x-…`). They are part of YAML, in line, and of no JSON.
pub(in crate::manifest) const EXTENSIONS: &str = "#extensions";

/// Which releases of Docker Compose a hash is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashDialect {
    /// Up to 2.40.
    V2,
    /// 5.0 and later, which leave out `create_host_path: true`.
    V5,
}

impl HashDialect {
    /// Both, the one that devctl writes first.
    pub const ALL: [Self; 2] = [Self::V2, Self::V5];
}

/// What a value is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON of a release.
    Json(HashDialect),
    /// YAML for people.
    Yaml,
}

/// A value that can be written. The entries of a map are in the order in which they are written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number of single precision, of which fewer digits are written.
    Single(f32),
    /// A number.
    Double(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map or a struct.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of a part of the model.
    pub fn of<T: Serialize + ?Sized>(part: &T, form: Form) -> Self {
        serializer::value(part, form)
    }

    /// The entry of that key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Single(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::List(_) => None,
        }
    }

    /// Takes an entry out.
    pub(in crate::manifest) fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        let at = entries.iter().position(|(name, _)| name == key)?;
        Some(entries.remove(at).1)
    }

    /// The entry of that key, to change it.
    pub(in crate::manifest) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// JSON on one line, as it is hashed.
    pub fn compact_json(&self) -> String {
        json::compact(self)
    }

    /// JSON for people, with two spaces for each level.
    pub fn pretty_json(&self) -> String {
        json::pretty(self)
    }

    /// YAML, as a document of its own with a line end.
    pub fn yaml(&self) -> String {
        yaml::document(self)
    }
}

/// Prints a float as Go's `%v` and YAML do: shortest digits, an exponent from `upper` on and below 1e-4.
fn exponent_form(shortest: &str, scientific: &str, magnitude: f64, upper: f64) -> String {
    if magnitude == 0.0 || (1e-4..upper).contains(&magnitude) {
        return shortest.to_owned();
    }
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` always writes an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}
