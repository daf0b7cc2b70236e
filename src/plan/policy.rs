//! What somebody wants of containers that are there already, besides what the files say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::driver::docker::PullPolicy;
use crate::name::ServiceName;

/// What somebody wants of what is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The services that were named; all where none is.
    pub named: Vec<ServiceName>,
    /// When the containers of those are made anew.
    pub recreate: Recreate,
    /// When the containers are made anew of services that those need.
    pub recreate_others: Recreate,
    /// Whether volumes without a name begin empty in a container that is made anew.
    pub renew_volumes: bool,
    /// Whether a volume that is not as the file says may be made anew, with the loss of what is in it.
    pub lose_data: bool,
    /// How many seconds containers have to stop that are made anew or taken away; what they say themselves where `None`.
    pub stop_timeout: Option<u32>,
    /// What becomes of containers of services that no file has.
    pub orphans: Orphans,
    /// When images are pulled, where that is not what the files say.
    pub pull: Option<Pull>,
    /// When images are built that the files describe; where the engine has none where `None`.
    pub build: Option<Builds>,
}

/// When images are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Builds {
    /// On this `up`, whatever the engine has.
    Always,
    /// Never: what the engine does not have is missing.
    Never,
}

/// When images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pull {
    /// On every `up`.
    Always,
    /// When the engine does not have them.
    Missing,
    /// Never.
    Never,
}

impl From<Pull> for PullPolicy {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Always => Self::Always,
            Pull::Missing => Self::Missing,
            Pull::Never => Self::Never,
        }
    }
}

/// When a container is made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recreate {
    /// When it is not as the files say.
    #[default]
    Diverged,
    /// Whatever it is like.
    Force,
    /// Never.
    Never,
}

/// What becomes of containers of services that no file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    /// They are told of.
    #[default]
    Warn,
    /// Nothing, without a word.
    Ignore,
    /// They are removed.
    Remove,
}

impl Policy {
    /// What becomes of orphans: what was asked for, else what Compose's variables say.
    pub fn orphans(&self, env: &BTreeMap<String, String>) -> Orphans {
        let is_set = |name: &str| {
            let value = env.get(name).map(|value| value.to_ascii_lowercase());
            value.is_some_and(|value| ["1", "t", "true", "y", "yes", "on"].contains(&value.as_str()))
        };
        match self.orphans {
            Orphans::Warn if is_set("COMPOSE_REMOVE_ORPHANS") => Orphans::Remove,
            Orphans::Warn if is_set("COMPOSE_IGNORE_ORPHANS") => Orphans::Ignore,
            asked => asked,
        }
    }

    /// When the containers of a service are made anew.
    pub(super) fn of(&self, service: &ServiceName) -> Recreate {
        if self.named.is_empty() || self.named.contains(service) { self.recreate } else { self.recreate_others }
    }
}
