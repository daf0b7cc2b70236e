//! Published ports.

use serde::Serialize;

use super::Extensions;
use crate::manifest::source::Place;

/// A published port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    /// Where it is said.
    #[serde(skip)]
    pub place: Place,
    /// A name for people.
    pub name: Option<String>,
    /// `ingress` or `host`, which makes no difference without Swarm.
    pub mode: String,
    /// The address on the host, as it is written.
    pub host_ip: Option<String>,
    /// The port in the container.
    pub target: u16,
    /// The port on the host; the engine picks one where `None`.
    pub published: Option<Published>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// What is spoken there, for people.
    pub app_protocol: Option<String>,
    /// `x-…`.
    #[serde(rename = "#extensions")]
    pub extensions: Extensions,
}

/// The port on the host as it is written: `8080`, or `8080-8090` for the first of them that is free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Published(pub String);

impl Published {
    /// The port, where it is said which one it is.
    pub fn port(&self) -> Option<u16> {
        self.range().filter(|(first, last)| first == last).map(|(first, _)| first)
    }

    /// The first and the last that it may be; `None` where it may be any.
    pub fn range(&self) -> Option<(u16, u16)> {
        let (first, last) = self.0.split_once('-').unwrap_or((&self.0, &self.0));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first > 0 && first <= last).then_some((first, last))
    }
}

impl Port {
    /// The port on the host, where it is said which one it is.
    pub fn fixed(&self) -> Option<u16> {
        self.published.as_ref().and_then(Published::port)
    }
}
