//! Names that are parsed once and valid ever after: projects, services, nodes, runs.
//!
//! Nothing here reads a file or talks to an engine. A value of one of these types never needs to be checked again,
//! and none of them can carry a character that means something to a shell, a path or an engine.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that a file or the command line gave and that breaks the rules for its kind.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} `{name}` {rule}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        as_parsed_text!($name);
    };
}

/// What is written as text is read by parsing it, so that no other program can hand in a name that breaks the rules.
macro_rules! as_parsed_text {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string" })
            }
        }
    };
}

/// The name of a service: a key under `services:` in a Compose file or under `[services]` in `devctl.toml`.
///
/// The rule is Compose's: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit. Of a program that runs
/// several times at once, the first replica has the service's own name, and the others `#2`, `#3` behind it; files
/// cannot name those.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

text_newtype!(ServiceName);

impl ServiceName {
    /// The name of a replica of this service, counted from 1.
    #[must_use]
    pub fn replica(&self, number: u32) -> Self {
        if number <= 1 { self.base() } else { Self(format!("{}#{number}", self.split().0).into()) }
    }

    /// The name of the service, for a replica as well.
    #[must_use]
    pub fn base(&self) -> Self {
        match self.split() {
            (_, 1) => self.clone(),
            (base, _) => Self(base.into()),
        }
    }

    /// Which replica of the service it is, counted from 1.
    pub fn number(&self) -> u32 {
        self.split().1
    }

    fn split(&self) -> (&str, u32) {
        let split = self.0.split_once('#').and_then(|(base, number)| Some((base, number.parse().ok()?)));
        split.unwrap_or((&self.0, 1))
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |rule| Err(NameError { kind: "service name", name: text.to_owned(), rule });
        let (name, replica) = text.split_once('#').map_or((text, None), |(name, number)| (name, Some(number)));
        let is_number = |text: &str| text.parse::<u32>().is_ok_and(|number| number > 1 && number.to_string() == text);
        if replica.is_some_and(|number| !is_number(number)) {
            return fail("must have the number of a replica behind its `#`, from 2 on");
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return fail("must begin with a letter or a digit");
        }
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return fail("may hold only letters, digits, `.`, `_` and `-`");
        }
        if name.len() > 63 {
            return fail("is longer than 63 characters");
        }
        Ok(Self(text.into()))
    }
}

/// The name of a project; it prefixes the names of containers, networks and volumes.
///
/// The rule is Compose's: lowercase letters, digits, `_` and `-`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectName(Arc<str>);

text_newtype!(ProjectName);

impl ProjectName {
    /// Makes a project name from a folder's name as Compose does: lowercase, other characters dropped, `_` and `-`
    /// trimmed from the front. `None` where nothing is left.
    pub fn from_folder(folder: &str) -> Option<Self> {
        let kept: String = folder
            .to_lowercase()
            .chars()
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
            .collect();
        kept.trim_start_matches(['_', '-']).parse().ok()
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let fail = |rule| Err(NameError { kind: "project name", name: name.to_owned(), rule });
        if !name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            return fail("must begin with a lowercase letter or a digit");
        }
        if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-')) {
            return fail("may hold only lowercase letters, digits, `_` and `-`");
        }
        Ok(Self(name.into()))
    }
}

/// The identity of one `devctl up`: 12 hexadecimal digits, in the environment of every process of the run as
/// `DEVCTL_RUN` and on every container as a label, so that whatever belongs to a run can be found again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunId(Arc<str>);

text_newtype!(RunId);

impl RunId {
    /// Makes a run id from random bits.
    pub fn from_random(bits: u64) -> Self {
        Self(format!("{:012x}", bits & 0xffff_ffff_ffff).into())
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() == 12 && text.chars().all(|c| c.is_ascii_hexdigit()) {
            Ok(Self(text.into()))
        } else {
            Err(NameError { kind: "run id", name: text.to_owned(), rule: "must be 12 hexadecimal digits" })
        }
    }
}

/// One thing to bring about. The graph, the plan, the engine and every event speak of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeId {
    /// A container network, by its name on the engine.
    Network(Arc<str>),
    /// A volume, by its name on the engine.
    Volume(Arc<str>),
    /// An image, by its reference.
    Image(Arc<str>),
    /// The container of a service, created and not yet started.
    Create(ServiceName),
    /// The binaries of an embedded server, unpacked and ready to run.
    Install(Arc<str>),
    /// The build of a host program.
    Build(ServiceName),
    /// A service that runs: container, embedded server or host program.
    Service(ServiceName),
}

impl NodeId {
    /// Returns the service this node works for, where it works for exactly one.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Create(name) | Self::Build(name) | Self::Service(name) => Some(name),
            Self::Network(_) | Self::Volume(_) | Self::Image(_) | Self::Install(_) => None,
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(name) => f.pad(&format!("network {name}")),
            Self::Volume(name) => f.pad(&format!("volume {name}")),
            Self::Image(name) => f.pad(&format!("image {name}")),
            Self::Create(name) => f.pad(&format!("container {name}")),
            Self::Install(name) => f.pad(&format!("install {name}")),
            Self::Build(name) => f.pad(&format!("build {name}")),
            Self::Service(name) => f.pad(name.as_str()),
        }
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    /// Reads what [`Display`](fmt::Display) writes. No name of a service has a space in it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once(' ') {
            None => Self::Service(text.parse()?),
            Some(("network", name)) => Self::Network(name.into()),
            Some(("volume", name)) => Self::Volume(name.into()),
            Some(("image", name)) => Self::Image(name.into()),
            Some(("container", name)) => Self::Create(name.parse()?),
            Some(("install", name)) => Self::Install(name.into()),
            Some(("build", name)) => Self::Build(name.parse()?),
            Some(_) => {
                return Err(NameError { kind: "node", name: text.to_owned(), rule: "is of a kind nobody knows" });
            }
        })
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

as_parsed_text!(NodeId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_follow_composes_rule() {
        for good in ["db", "postgres-files", "a.b_c", "0day"] {
            assert_eq!(good.parse::<ServiceName>().unwrap().as_str(), good);
        }
        for bad in ["", "-db", "a b", "a/b", "$(x)", "ä"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_node_is_read_as_it_was_written() {
        for text in
            ["network n_default", "volume v", "image a/b:1", "container db", "install redis", "build api", "api"]
        {
            assert_eq!(text.parse::<NodeId>().unwrap().to_string(), text);
        }
        for bad in ["", "planet mars", "container ../x", "build "] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn replicas_are_named_after_their_service_and_counted_from_one() {
        let api: ServiceName = "api".parse().unwrap();
        let names: Vec<_> = (0..=3).map(|number| api.replica(number).to_string()).collect();
        assert_eq!(names, ["api", "api", "api#2", "api#3"]);
        let third: ServiceName = "api#3".parse().unwrap();
        assert_eq!((third.base(), third.number(), third.replica(2)), (api.clone(), 3, api.replica(2)));
        assert_eq!((api.base(), api.number()), (api.clone(), 1));
        for bad in ["api#", "api#1", "api#0", "api#02", "api#x", "api#2#3", "#2", "api#+2", "api#4294967296"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_becomes_a_project_name_as_compose_makes_it() {
        let name = |folder| ProjectName::from_folder(folder).map(|p| p.to_string());
        assert_eq!(name("My App"), Some("myapp".to_owned()));
        assert_eq!(name("_-Chat_2"), Some("chat_2".to_owned()));
        assert_eq!(name("…"), None);
    }
}
