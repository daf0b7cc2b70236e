//! What the variables of services come to: `env_file`, `label_file`, and the values that the shell gives to names
//! without one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::super::dotenv::{self, Format, Vars};
use super::super::node::{Entry, Kind, Node};
use super::super::problem::Sink;
use super::super::reader::Reader;
use super::super::source::Mark;

/// The variables of a project: the shell's, and those of `.env`.
pub(in crate::manifest) type Env = BTreeMap<String, String>;

/// The key that carries the value of a secret or config that comes of a variable. Compose has one of its own for it, and
/// nobody can mean it: an extension that nothing prints.
pub(super) const VALUE_KEY: &str = "x-#value";

/// Gives values to what a model names without one. An included model has variables of its own, which are gone later.
pub(super) fn fill(tree: &mut Node, env: &Env) {
    for section in tree.map_mut() {
        for entry in section.value.map_mut() {
            match section.key.as_str() {
                "services" => {
                    for item in entry.value.get_mut("environment").map_or(&mut [][..], Node::items_mut) {
                        if let Some(value) = item.as_str().and_then(|name| env.get_key_value(name)) {
                            item.kind = Kind::Str(format!("{}={}", value.0, value.1));
                        }
                    }
                }
                "secrets" | "configs" => {
                    let Some(name) = entry.value.get("environment") else { continue };
                    let Some(value) = name.as_str().and_then(|name| env.get(name)) else { continue };
                    let value = Node::text(value.clone(), name.mark);
                    entry.value.set(VALUE_KEY, value);
                }
                _ => {}
            }
        }
    }
}

/// Reads `env_file` and `label_file` of services.
pub(super) struct Files<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) env: &'a Env,
    /// How a path is shown.
    pub(super) shown: &'a dyn Fn(&Path) -> PathBuf,
    /// Is told each file that is read or would be.
    pub(super) seen: &'a dyn Fn(&Path),
}

impl Files<'_> {
    /// Puts the variables of its files into a service, and takes `env_file` out, as nothing of it is left to do.
    /// `takes_part` is whether it runs: the files of others may well be missing.
    pub(super) fn read(&self, service: &mut Node, takes_part: bool) {
        let silent = Sink::default();
        let reader = if takes_part { self.reader } else { Reader { sink: &silent, ..self.reader } };
        let quiet = Files { reader, env: self.env, shown: self.shown, seen: self.seen };
        quiet.env_files(service);
        quiet.label_files(service);
    }

    fn env_files(&self, service: &mut Node) {
        let Some(said) = service.remove("env_file") else { return };
        let files: Vec<&Node> = match &said.value.kind {
            Kind::List(items) => items.iter().collect(),
            Kind::Null => return,
            _ => vec![&said.value],
        };
        let Some(mut own) = pairs(service.get("environment")) else { return };
        for (name, (value, _)) in &mut own {
            if value.is_none() {
                *value = self.env.get(name).cloned();
            }
        }
        let mut vars: Vars = own.iter().filter_map(|(name, (value, _))| Some((name.clone(), value.clone()?))).collect();
        let lookup = |name: &str| {
            let own = || own.get(name).and_then(|(value, _)| value.clone());
            self.env.get(name).cloned().or_else(own)
        };
        for file in files {
            if let Some(EnvFile { path, required, format }) = self.env_file(&said.key, file) {
                self.parse(&path, file.mark, required, format, &lookup, &mut vars);
            }
        }
        for (name, value) in vars {
            own.entry(name).or_insert((Some(value), said.value.mark));
        }
        let mark = service.get("environment").map_or(said.value.mark, |node| node.mark);
        service.set("environment", Node { kind: mapping(own), mark });
    }

    fn env_file(&self, key: &str, node: &Node) -> Option<EnvFile> {
        if let Kind::Map(_) = node.kind {
            let table = self.reader.table(key, node, &["path", "required", "format"], &[])?;
            let required = table.read("required", Reader::boolean).unwrap_or(true);
            let format = match table.get("format") {
                Some(format) => self.reader.one_of("format", format, &[("raw", Format::Raw)])?,
                None => Format::Dotenv,
            };
            let Some(path) = table.read("path", Reader::string) else {
                if table.get("path").is_none() {
                    self.reader.fail(node.mark, "an `env_file` needs a `path`");
                }
                return None;
            };
            return Some(EnvFile { path: path.into(), required, format });
        }
        let path = self.reader.string(key, node)?;
        Some(EnvFile { path: path.into(), required: true, format: Format::Dotenv })
    }

    fn label_files(&self, service: &mut Node) {
        let Some(said) = service.get("label_file").cloned() else { return };
        let files = match said.kind {
            Kind::List(items) => items,
            Kind::Null => return,
            _ => vec![said.clone()],
        };
        let Some(mut own) = pairs(service.get("labels")) else { return };
        let mut labels = Vars::new();
        for file in &files {
            let Some(path) = self.reader.string("label_file", file) else { continue };
            self.parse(Path::new(&path), file.mark, true, Format::Dotenv, &|_| None, &mut labels);
        }
        for (name, value) in labels {
            own.entry(name).or_insert((Some(value), said.mark));
        }
        let mark = service.get("labels").map_or(said.mark, |node| node.mark);
        service.set("labels", Node { kind: mapping(own), mark });
        service.set("label_file", Node { kind: Kind::List(files), mark: said.mark });
    }

    fn parse(
        &self,
        path: &Path,
        mark: Mark,
        required: bool,
        format: Format,
        lookup: &dyn Fn(&str) -> Option<String>,
        vars: &mut Vars,
    ) {
        (self.seen)(path);
        let shown = (self.shown)(path);
        match dotenv::read_text(path) {
            Ok(text) => dotenv::parse(&text, &shown, format, lookup, vars, self.reader.sink),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if required {
                    let message = format!("there is no file `{}`", shown.display());
                    let help = format!("where it may be missing: `{{path: {}, required: false}}`", shown.display());
                    self.reader.fail_with(mark, message, help);
                }
            }
            Err(error) => self.reader.fail(mark, format!("`{}` cannot be read: {error}", shown.display())),
        }
    }
}

struct EnvFile {
    path: PathBuf,
    required: bool,
    format: Format,
}

type Pairs = IndexMap<String, (Option<String>, Mark)>;

/// `environment` or `labels` in either form. `None` where it is neither, which is told by whoever reads it.
fn pairs(node: Option<&Node>) -> Option<Pairs> {
    let mut pairs = Pairs::new();
    match node.map(|node| &node.kind) {
        None | Some(Kind::Null) => {}
        Some(Kind::List(items)) => {
            for item in items {
                let text = item.as_str()?;
                let (name, value) = text.split_once('=').map_or((text, None), |(name, v)| (name, Some(v.to_owned())));
                pairs.insert(name.to_owned(), (value, item.mark));
            }
        }
        Some(Kind::Map(entries)) => {
            for entry in entries {
                let value = match entry.value.kind {
                    Kind::Null => None,
                    _ => Some(entry.value.scalar_text()?),
                };
                pairs.insert(entry.key.clone(), (value, entry.value.mark));
            }
        }
        Some(_) => return None,
    }
    Some(pairs)
}

fn mapping(pairs: Pairs) -> Kind {
    let entry = |(key, (value, mark)): (String, (Option<String>, Mark))| {
        let kind = value.map_or(Kind::Null, Kind::Str);
        Entry { key, key_mark: mark, value: Node { kind, mark } }
    };
    Kind::Map(pairs.into_iter().map(entry).collect())
}
