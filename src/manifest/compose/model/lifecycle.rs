//! When a container is made and started, and how it is seen that it works.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Extensions;
use super::scalar::duration;
use crate::manifest::Until;
use crate::manifest::source::Place;

/// What a container needs of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerDependency {
    /// Where it is said.
    #[serde(skip)]
    pub place: Place,
    /// What must be true of the service.
    #[serde(rename = "condition", serialize_with = "condition")]
    pub until: Until,
    /// Whether this one restarts with it.
    pub restart: bool,
    /// Whether it must be there at all.
    #[serde(rename = "required!")]
    pub required: bool,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field over as it is")]
fn condition<S: Serializer>(until: &Until, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(ContainerDependency::condition(*until))
}

impl ContainerDependency {
    /// Compose's word for what must be true.
    pub fn condition(until: Until) -> &'static str {
        match until {
            Until::Started => "service_started",
            Until::Ready => "service_healthy",
            Until::Completed => "service_completed_successfully",
        }
    }
}

/// A healthcheck.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]` or `["NONE"]`; what the image says where empty.
    pub test: Vec<String>,
    /// How long one check may take.
    #[serde(serialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// The time between two checks.
    #[serde(serialize_with = "duration")]
    pub interval: Option<Duration>,
    /// How many failures in a row make the container unhealthy.
    pub retries: Option<u64>,
    /// How long failures do not count.
    #[serde(serialize_with = "duration")]
    pub start_period: Option<Duration>,
    /// The time between two checks in the start period.
    #[serde(serialize_with = "duration")]
    pub start_interval: Option<Duration>,
    /// Whether the image's own check is switched off.
    pub disable: bool,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// When an image is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the engine does not have it.
    Missing,
    /// On every `up`.
    Always,
    /// Never.
    Never,
    /// Never: it is built, on every `up`.
    Build,
    /// When what the engine has was pulled longer ago than that.
    Refresh {
        /// As it is written: `daily`, `weekly`, `every_12h`.
        text: String,
        /// The time. `None` for `refresh`, which Compose takes as `missing`.
        after: Option<Duration>,
    },
}

impl Serialize for PullPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Missing => "missing",
            Self::Always => "always",
            Self::Never => "never",
            Self::Build => "build",
            Self::Refresh { text, .. } => text,
        })
    }
}
