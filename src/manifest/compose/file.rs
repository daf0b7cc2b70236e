//! Several files as one project.

use std::path::{Path, PathBuf};

use super::super::interpolate::{Lookup, interpolate_tree};
use super::super::node::Node;
use super::super::problem::{Problem, Sink};
use super::super::reader::Reader;
use super::super::source::{Language, Sources};
use super::super::yaml;
use super::model::Compose;
use super::{merge, project};

/// What the files are read with.
pub(in crate::manifest) struct Files<'a> {
    /// The files: where they were named, absolute path, path as shown, text.
    pub(in crate::manifest) texts: Vec<(PathBuf, PathBuf, String)>,
    /// Where variables come from.
    pub(in crate::manifest) lookup: &'a Lookup<'a>,
    /// The user's home folder, for `~` in bind mounts.
    pub(in crate::manifest) home: Option<&'a str>,
}

/// Reads all files of a project into one model. Warnings are what Compose warns of, too.
pub(in crate::manifest) fn load(
    files: Files<'_>,
    sources: &Sources,
    sink: &Sink,
    warnings: &mut Vec<Problem>,
) -> Compose {
    let mut compose = Compose {
        working_dir: files.texts.first().and_then(|(path, ..)| path.parent()).map(Path::to_owned).unwrap_or_default(),
        ..Compose::default()
    };
    let reader = Reader { sources, language: Language::Yaml, sink };
    let mut merged: Option<Node> = None;
    let notes = Sink::default();
    for (path, shown, text) in files.texts {
        let source = sources.add(shown, text);
        compose.files.push(path);
        let mut problems = Vec::new();
        let tree = yaml::parse(&source, &mut problems);
        sink.extend(problems);
        let Some(mut tree) = tree else {
            compose.unread = true;
            continue;
        };
        interpolate(reader, &mut tree, files.lookup, warnings);
        match &mut merged {
            Some(merged) => merge::merge(merged, tree),
            None => merged = Some(tree),
        }
    }
    if let Some(tree) = merged {
        let context = Context { lookup: files.lookup, home: files.home, notes: &notes };
        project::read(reader, &tree, &mut compose, &context);
    }
    project::check_references(&compose, sink);
    warnings.extend(notes.into_problems());
    compose
}

/// What reading a service needs besides its text.
pub(super) struct Context<'a> {
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) home: Option<&'a str>,
    /// Takes what is no mistake and still worth a look.
    pub(super) notes: &'a Sink,
}

fn interpolate(reader: Reader<'_>, tree: &mut Node, lookup: &Lookup<'_>, warnings: &mut Vec<Problem>) {
    let super::super::node::Kind::Map(entries) = &mut tree.kind else { return };
    let mut warn = |problem: Problem| {
        if !warnings.contains(&problem) {
            warnings.push(problem);
        }
    };
    for entry in entries {
        // Extensions hold whatever they hold; where an alias uses one, the copy is interpolated in its place.
        if !entry.key.starts_with("x-") {
            interpolate_tree(reader, &mut entry.value, lookup, &mut warn);
        }
    }
}
