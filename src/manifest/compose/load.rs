//! From the files of a project to one tree: each file is read, interpolated, has its `extends` and `include` carried
//! out, and is laid on those before it. What the keys mean is for the readers of that tree.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};

use super::super::dotenv;
use super::super::interpolate::Interpolation;
use super::super::node::{Kind, Node};
use super::super::problem::{Problem, Sink};
use super::super::reader::Reader;
use super::super::source::{Language, Mark, Place, Sources};
use super::super::yaml::{self, Document};
use super::environment::{self, Env};
use super::{extends, include, merge, paths, unique};

/// How many files a project may be made of. Files that include each other twice double with each step.
const MAX_FILES: usize = 1000;

/// How many values `extends` may copy.
const MAX_COPIED: usize = 1_000_000;

/// Where a Compose file is named, for when it is not there.
#[derive(Clone, Debug)]
pub(in crate::manifest) enum Named {
    /// In one of the project's files.
    Here(Place),
    /// By a flag or a variable.
    By(&'static str),
}

/// A Compose file of a project.
#[derive(Clone, Debug)]
pub(in crate::manifest) struct File {
    /// Its path, absolute; `-` is the standard input.
    pub(in crate::manifest) path: PathBuf,
    /// As it was written.
    pub(in crate::manifest) said: String,
    pub(in crate::manifest) named: Named,
}

/// A file that was read.
pub(in crate::manifest) struct Layer {
    pub(in crate::manifest) path: PathBuf,
    pub(in crate::manifest) documents: Vec<Document>,
}

/// Where a model's relative paths begin, and where its variables come from.
#[derive(Clone, Copy)]
pub(in crate::manifest) struct Scope<'a> {
    pub(in crate::manifest) folder: &'a Path,
    pub(in crate::manifest) env: &'a Env,
}

impl Scope<'_> {
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }
}

/// Loads the files of one project.
pub(in crate::manifest) struct Loader<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) interpolation: Interpolation<'a>,
    /// The user's home folder.
    pub(super) home: Option<&'a str>,
    /// The project's folder, below which paths are shown as relative ones.
    root: &'a Path,
    /// What there is to read on the standard input.
    standard_input: Option<&'a str>,
    /// Every file that was read, or would have been.
    seen: RefCell<Vec<PathBuf>>,
    opened: Cell<usize>,
    copied: Cell<usize>,
    /// Whether a file could not be read, so that nobody knows which services there are.
    unread: Cell<bool>,
}

impl<'a> Loader<'a> {
    pub(in crate::manifest) fn new(
        sources: &'a Sources,
        sink: &'a Sink,
        warn: &'a dyn Fn(Problem),
        root: &'a Path,
        home: Option<&'a str>,
        standard_input: Option<&'a str>,
    ) -> Self {
        let reader = Reader { sources, language: Language::Yaml, sink };
        Self {
            reader,
            interpolation: Interpolation { reader, warn, total: Cell::new(0) },
            home,
            root,
            standard_input,
            seen: RefCell::default(),
            opened: Cell::new(0),
            copied: Cell::new(0),
            unread: Cell::new(false),
        }
    }

    /// Every file that was read or would be, in order.
    pub(in crate::manifest) fn seen(&self) -> Vec<PathBuf> {
        self.seen.borrow().clone()
    }

    /// Whether a file could not be read at all.
    pub(in crate::manifest) fn has_unread(&self) -> bool {
        self.unread.get()
    }

    pub(super) fn see(&self, path: &Path) {
        let mut seen = self.seen.borrow_mut();
        if !seen.iter().any(|other| other == path) {
            seen.push(path.to_owned());
        }
    }

    /// A path as problems show it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.root).unwrap_or(path).to_owned()
    }

    /// Reads a file. One that cannot be read is told.
    pub(in crate::manifest) fn read(&self, file: &File) -> Option<Layer> {
        let layer = self.try_read(file);
        if layer.is_none() {
            self.unread.set(true);
        }
        layer
    }

    fn try_read(&self, file: &File) -> Option<Layer> {
        let fail = |message: String| self.reader.sink.push(file.problem(message));
        if paths::is_elsewhere(&file.said) || file.said.starts_with("oci:") {
            fail(format!("devctl reads Compose files of this machine only, and `{}` is somewhere else", file.said));
            return None;
        }
        self.opened.set(self.opened.get() + 1);
        if self.opened.get() > MAX_FILES {
            if self.opened.get() == MAX_FILES + 1 {
                fail(format!("the project is made of more than {MAX_FILES} files"));
            }
            return None;
        }
        let is_standard_input = file.path == Path::new("-");
        let text = if is_standard_input {
            self.standard_input.unwrap_or_default().to_owned()
        } else {
            self.see(&file.path);
            match dotenv::read_text(&file.path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fail(format!("there is no file `{}`", file.said));
                    return None;
                }
                Err(error) => {
                    fail(format!("`{}` cannot be read: {error}", file.said));
                    return None;
                }
            }
        };
        let shown = if is_standard_input { "standard input".into() } else { self.shown(&file.path) };
        let source = self.reader.sources.add(shown, text);
        let mut problems = Vec::new();
        let documents = yaml::parse(&source, &mut problems);
        self.reader.sink.extend(problems);
        Some(Layer { path: file.path.clone(), documents: documents? })
    }

    /// The name that the files give the project: the last one counts.
    pub(in crate::manifest) fn name(&self, layers: &[Layer], scope: Scope<'_>) -> Option<(String, Place)> {
        let mut names =
            layers.iter().flat_map(|layer| &layer.documents).filter_map(|document| document.tree.get("name"));
        let node = names.rfind(|node| node.as_str().is_some_and(|name| !name.is_empty()))?;
        let name = self.interpolation.text(node.as_str()?, node.mark, &|name| scope.lookup(name))?;
        Some((name, self.reader.place(node.mark)))
    }

    /// Makes one tree of files. `inside` are the files that include these.
    pub(in crate::manifest) fn model(&self, layers: Vec<Layer>, scope: Scope<'_>, inside: &[PathBuf]) -> Option<Node> {
        let mut all: Option<Node> = None;
        for Layer { path, documents } in layers {
            let inside: Vec<PathBuf> = inside.iter().cloned().chain([path.clone()]).collect();
            for Document { mut tree, resets } in documents {
                if let Kind::Null = tree.kind {
                    continue;
                }
                let Kind::Map(_) = tree.kind else {
                    self.reader.wrong("the file", &tree, "a mapping");
                    continue;
                };
                self.interpolation.tree(&mut tree, &|name| scope.lookup(name));
                extends::apply(self, &mut tree, &resets, &path, scope);
                if let Some(all) = &mut all {
                    merge::reset(all, &resets);
                }
                include::apply(self, &mut tree, scope, &inside);
                if let Some(all) = &mut all {
                    merge::merge(self.reader, all, tree);
                    canonical(self.reader, all);
                } else {
                    unique::enforce(&mut tree);
                    canonical(self.reader, &mut tree);
                    all = Some(tree);
                }
            }
        }
        let mut all = all?;
        paths::resolve(&mut all, paths::Base { folder: scope.folder, home: self.home }, true);
        environment::fill(&mut all, scope.env);
        Some(all)
    }

    /// The copy of a value. `None` beyond the bound, which is told once.
    pub(super) fn copy(&self, node: &Node, mark: Mark) -> Option<Node> {
        let before = self.copied.get();
        if before > MAX_COPIED {
            return None;
        }
        self.copied.set(before.saturating_add(node.size()));
        if self.copied.get() > MAX_COPIED {
            self.reader.fail(mark, format!("by `extends`, the files come to more than {MAX_COPIED} values"));
            return None;
        }
        Some(node.clone())
    }

    /// Carries out `env_file` and `label_file`. `takes_part` says of a service whether it runs.
    pub(in crate::manifest) fn env_files(&self, tree: &mut Node, env: &Env, takes_part: impl Fn(&Node) -> bool) {
        let shown = |path: &Path| self.shown(path);
        let seen = |path: &Path| self.see(path);
        let files = environment::Files { reader: self.reader, env, shown: &shown, seen: &seen };
        for service in tree.get_mut("services").map_or(&mut [][..], Node::map_mut) {
            let takes_part = takes_part(&service.value);
            files.read(&mut service.value, takes_part);
        }
    }
}

impl File {
    pub(super) fn problem(&self, message: String) -> Problem {
        match &self.named {
            Named::Here(place) => place.problem(message),
            Named::By(what) => {
                let problem = Problem { file: self.path.clone(), at: None, message, excerpt: None, help: None };
                problem.with_help(format!("{what} names it"))
            }
        }
    }
}

/// What has two ways of saying it, in the one that is left.
pub(super) fn canonical(reader: Reader<'_>, tree: &mut Node) {
    for section in tree.map_mut() {
        if matches!(section.key.as_str(), "networks" | "volumes" | "secrets" | "configs") {
            for entry in section.value.map_mut() {
                external(reader, &mut entry.value);
            }
        }
    }
}

/// `external: {name: x}` is from before `name` was a key of its own.
fn external(reader: Reader<'_>, resource: &mut Node) {
    let Some(external) = resource.get("external") else { return };
    let Kind::Map(_) = external.kind else { return };
    let (inner, mark) = (external.get("name").cloned(), external.mark);
    resource.set("external", Node { kind: Kind::Bool(true), mark });
    let Some(inner) = inner else { return };
    match resource.get("name") {
        Some(name) if !name.same(&inner) => {
            reader.fail_with(inner.mark, "`name` and `external.name` differ", "keep `name` and `external: true`");
        }
        Some(_) => {}
        None => resource.set("name", inner),
    }
}
