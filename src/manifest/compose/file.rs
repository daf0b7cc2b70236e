//! What all files of a project make, read into one model.

use std::path::Path;

use super::super::interpolate::Lookup;
use super::super::node::Node;
use super::super::problem::{Problem, Sink};
use super::super::reader::Reader;
use super::environment::Env;
use super::model::Compose;
use super::project;

/// Reads the tree that all files make. `env` are the project's variables; `warn` is told what is no mistake and still
/// worth a look.
pub(in crate::manifest) fn read(
    reader: Reader<'_>,
    tree: &Node,
    env: &Env,
    working_dir: &Path,
    warn: &dyn Fn(Problem),
) -> Compose {
    let mut compose = Compose { working_dir: working_dir.to_owned(), ..Compose::default() };
    let lookup = |name: &str| env.get(name).cloned();
    let notes = Sink::default();
    let context = Context { lookup: &lookup, home: env.get("HOME").map(String::as_str), notes: &notes };
    project::read(reader, tree, &mut compose, &context);
    project::check_references(&compose, reader.sink);
    notes.into_problems().into_iter().for_each(warn);
    compose
}

/// What reading a service needs besides its text.
pub(super) struct Context<'a> {
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) home: Option<&'a str>,
    /// Takes what is no mistake and still worth a look.
    pub(super) notes: &'a Sink,
}
