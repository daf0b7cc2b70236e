//! Standard Compose files: parsed, interpolated, read into the canonical model. What devctl does not support is an error
//! that names it; nothing is dropped in silence.

mod build;
pub mod canonical;
mod deploy;
mod devices;
mod file;
mod files;
mod hooks;
mod lifecycle;
mod merge;
pub mod model;
mod mounts;
mod networks;
mod ports;
mod project;
mod service;
mod values;

pub use canonical::{Form, HashDialect, Value};
pub use model::{
    Attachment, Bytes, Compose, Container, ContainerDependency, Endpoint, Healthcheck, Hook, Mount, MountKind, Network,
    Port, Published, PullPolicy, Ulimit, Volume,
};

pub(super) use file::{Files, load};
pub(super) use mounts::lexical;
