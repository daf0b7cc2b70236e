//! Standard Compose files: parsed, interpolated, read into the canonical model. What devctl does not support is an error
//! that names it; nothing is dropped in silence.

mod build;
pub mod canonical;
mod deploy;
mod devices;
mod discover;
mod environment;
mod extends;
mod file;
mod files;
mod hooks;
mod include;
mod lifecycle;
mod load;
mod merge;
pub mod model;
mod mounts;
mod networks;
mod paths;
mod ports;
mod project;
mod service;
#[cfg(test)]
mod tests;
mod unique;
mod values;

pub use canonical::{Form, HashDialect, Value};
pub use model::{
    Attachment, Bytes, Compose, Container, ContainerDependency, Endpoint, Healthcheck, Hook, Mount, MountKind, Network,
    Port, Published, PullPolicy, Ulimit, Volume,
};

pub(super) use discover::{Found, Variables, files_of, find, of_programs, profiles};
pub(super) use file::read;
pub(super) use load::{Loader, Scope};
pub(super) use mounts::lexical;
