//! Standard Compose files: parsed, interpolated, read into a typed model. What devctl does not support yet is an error
//! that names it; nothing is dropped in silence.

mod file;
mod merge;
mod model;
mod mounts;
mod ports;
mod service;

pub use model::{
    Attachment, Compose, Container, ContainerDependency, Healthcheck, Mount, Network, Port, PullPolicy, Source, Ulimit,
    Volume,
};

pub(super) use file::{Files, load};
pub(super) use mounts::lexical;
