//! `include`: other projects' files, each read on its own, with its own folder and its own `.env`, and laid beside what
//! the file itself says. Two descriptions of one thing are a mistake here, and not one on top of the other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::dotenv::{self, Format, Vars};
use super::super::node::{Entry, Kind, Node};
use super::super::reader::Reader;
use super::super::source::Mark;
use super::environment::Env;
use super::load::{File, Layer, Loader, Named, Scope};
use super::mounts::lexical;
use crate::os::files;

/// How deep files may include each other.
const MAX_DEPTH: usize = 64;

/// What an included file adds to.
const SECTIONS: &[(&str, &str)] = &[
    ("services", "service"),
    ("volumes", "volume"),
    ("networks", "network"),
    ("secrets", "secret"),
    ("configs", "config"),
    ("models", "model"),
];

/// Carries out `include`. `inside` are the files that include each other down to this one, itself the last.
pub(super) fn apply(loader: &Loader<'_>, tree: &mut Node, scope: Scope<'_>, inside: &[PathBuf]) {
    let Some(include) = tree.remove("include") else { return };
    if let Kind::Null = include.value.kind {
        return;
    }
    let Some(items) = loader.reader.list("include", &include.value) else { return };
    if inside.len() > MAX_DEPTH {
        loader
            .reader
            .fail(include.key_mark, format!("more than {MAX_DEPTH} files include each other one inside the other"));
        return;
    }
    for item in items {
        let Some(wanted) = wanted(loader, item, scope) else { continue };
        if let Some(included) = wanted.model(loader, scope, inside) {
            import(loader, included, tree);
        }
    }
}

/// What an item of `include` says.
struct Wanted {
    files: Vec<File>,
    folder: PathBuf,
    env_files: Vec<(PathBuf, Mark)>,
    mark: Mark,
}

fn wanted(loader: &Loader<'_>, item: &Node, scope: Scope<'_>) -> Option<Wanted> {
    let reader = loader.reader;
    let (path, table) = match &item.kind {
        Kind::Str(_) => (item, None),
        Kind::Map(_) => {
            let table = reader.table("include", item, &["path", "project_directory", "env_file"], &[])?;
            let Some(path) = table.get("path") else {
                reader.fail_with(item.mark, "an `include` does not say what", "add `path: FILE`");
                return None;
            };
            (path, Some(table))
        }
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) => {
            reader.wrong("include", item, "a string or a mapping");
            return None;
        }
    };
    let here = |said: &str| lexical(&scope.folder.join(said));
    let files: Vec<File> = strings(reader, "path", path)?
        .into_iter()
        .map(|(said, mark)| File { path: here(&said), said, named: Named::Here(reader.place(mark)) })
        .collect();
    let Some(first) = files.first() else {
        reader.fail_with(path.mark, "an `include` does not say what", "name a file");
        return None;
    };
    let folder = match table.and_then(|table| table.read("project_directory", Reader::string)) {
        Some(folder) if !folder.is_empty() => here(&folder),
        Some(_) | None => first.path.parent().unwrap_or(scope.folder).to_owned(),
    };
    let env_files = match table.and_then(|table| table.get("env_file")) {
        Some(node) => {
            let said = strings(reader, "env_file", node)?;
            said.into_iter().map(|(said, mark)| (here(&said), mark)).collect()
        }
        None => Vec::new(),
    };
    Some(Wanted { files, folder, env_files, mark: item.mark })
}

/// A string or a list of them.
fn strings(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<(String, Mark)>> {
    match &node.kind {
        Kind::Str(text) => Some(vec![(text.clone(), node.mark)]),
        Kind::List(items) => {
            let items = items.iter().filter_map(|item| Some((reader.string(key, item)?, item.mark)));
            Some(items.collect())
        }
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::Map(_) => {
            reader.wrong(key, node, "a string or a list of strings");
            None
        }
    }
}

impl Wanted {
    fn model(&self, loader: &Loader<'_>, scope: Scope<'_>, inside: &[PathBuf]) -> Option<Node> {
        for file in &self.files {
            if let Some(first) = inside.iter().position(|path| *path == file.path) {
                let names = inside[first..].iter().chain([&file.path]);
                let names: Vec<String> = names.map(|path| loader.shown(path).display().to_string()).collect();
                let message = format!("files include each other in a circle: {}", names.join(" -> "));
                loader.reader.fail_with(self.mark, message, "take one of these `include`s out");
                return None;
            }
        }
        let env = self.env(loader, scope);
        let layers: Vec<Layer> = self.files.iter().filter_map(|file| loader.read(file)).collect();
        loader.model(layers, Scope { folder: &self.folder, env: &env }, inside)
    }

    /// The variables of the including project, and behind them those of the included one.
    fn env(&self, loader: &Loader<'_>, scope: Scope<'_>) -> Env {
        let mut vars = Vars::new();
        let mut read = |path: &Path, named: Option<Mark>| {
            loader.see(path);
            let shown = loader.shown(path);
            match dotenv::read_text(path) {
                Ok(text) => {
                    let lookup = |name: &str| scope.lookup(name);
                    dotenv::parse(&text, &shown, Format::Dotenv, &lookup, &mut vars, loader.reader.sink);
                }
                Err(error) => {
                    if let Some(mark) = named {
                        let message = format!("`{}` cannot be read: {error}", shown.display());
                        loader.reader.fail(mark, message);
                    }
                }
            }
        };
        for (path, mark) in &self.env_files {
            read(path, Some(*mark));
        }
        let beside = self.folder.join(".env");
        if self.env_files.is_empty() && files::is_file(&beside) {
            read(&beside, None);
        }
        let mut env = scope.env.clone();
        for (name, value) in vars {
            env.entry(name).or_insert(value);
        }
        env
    }
}

/// Puts what an included model describes beside what the file does.
fn import(loader: &Loader<'_>, mut included: Node, tree: &mut Node) {
    for (section, kind) in SECTIONS {
        let Some(Entry { key, key_mark, value }) = included.remove(section) else { continue };
        let Kind::Map(entries) = value.kind else { continue };
        if !tree.get(section).is_some_and(|node| matches!(node.kind, Kind::Map(_))) {
            tree.remove(section);
            if let Kind::Map(top) = &mut tree.kind {
                top.push(Entry { key, key_mark, value: Node { kind: Kind::Map(Vec::new()), mark: value.mark } });
            }
        }
        let Some(Node { kind: Kind::Map(ours), .. }) = tree.get_mut(section) else { continue };
        let places: HashMap<String, usize> = ours.iter().enumerate().map(|(i, own)| (own.key.clone(), i)).collect();
        for entry in entries {
            match places.get(&entry.key).map(|place| &ours[*place]) {
                None => ours.push(entry),
                Some(other) if other.value.same(&entry.value) => {}
                Some(other) => {
                    let there = loader.reader.place(entry.key_mark).short();
                    loader.reader.fail_with(
                        other.key_mark,
                        format!("the {kind} `{}` is included already, from {there}", entry.key),
                        "give it another name; to change what is included, say it in a further file (`--file`)",
                    );
                }
            }
        }
    }
}
