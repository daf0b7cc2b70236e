//! `extends`: a service that begins as another one, of the same file or of another.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::interpolate::Lookup;
use super::super::node::{Kind, Node};
use super::super::source::Mark;
use super::super::suggest::{choices, closest};
use super::super::yaml::Document;
use super::load::{File, Loader, Named, Scope, canonical};
use super::paths::{self, Base};
use super::{merge, unique};

/// How long a chain of services that extend each other may be.
const MAX_CHAIN: usize = 100;

/// Carries out every `extends` of a file.
pub(super) fn apply(loader: &Loader<'_>, tree: &mut Node, resets: &[Vec<String>], path: &Path, scope: Scope<'_>) {
    let Some(services) = tree.get("services") else { return };
    if services.map().iter().all(|service| service.value.get("extends").is_none()) {
        return;
    }
    let before = Rc::new(Origin { path: path.to_owned(), services: services.clone(), resets: resets.to_vec() });
    let mut extends = Extends { loader, scope, files: HashMap::new(), told: HashSet::new() };
    for service in tree.get_mut("services").map_or(&mut [][..], Node::map_mut) {
        if service.value.get("extends").is_some() {
            match extends.service(&service.key, &before, &mut Vec::new()) {
                Some(whole) => service.value = whole,
                None => {
                    service.value.remove("extends");
                }
            }
        }
    }
}

/// A file whose services are extended.
struct Origin {
    path: PathBuf,
    services: Node,
    resets: Vec<Vec<String>>,
}

struct Extends<'a, 'l> {
    loader: &'a Loader<'l>,
    scope: Scope<'a>,
    /// Other files, which are read once.
    files: HashMap<PathBuf, Option<Rc<Origin>>>,
    /// Services whose circle was told: each of them finds it again.
    told: HashSet<(PathBuf, String)>,
}

/// What `extends` says.
struct Wanted<'n> {
    service: &'n str,
    service_mark: Mark,
    file: Option<(&'n str, Mark)>,
}

impl Extends<'_, '_> {
    /// The service as it is with everything it extends. `None` where there is a mistake, which is told.
    fn service(&mut self, name: &str, origin: &Rc<Origin>, chain: &mut Vec<(PathBuf, String)>) -> Option<Node> {
        let reader = self.loader.reader;
        let said = origin.services.get(name)?;
        let Some(extends) = said.get("extends") else { return self.loader.copy(said, said.mark) };
        let wanted = self.wanted(extends)?;
        let here = (origin.path.clone(), name.to_owned());
        if let Some(first) = chain.iter().position(|link| *link == here) {
            let mut names: Vec<String> = chain[first..].iter().map(|link| self.shown(link, origin)).collect();
            names.push(self.shown(&here, origin));
            if chain[first..].iter().all(|link| !self.told.contains(link)) {
                let message = format!("services extend each other in a circle: {}", names.join(" -> "));
                reader.fail_with(wanted.service_mark, message, "take one of these `extends` out");
            }
            self.told.extend(chain[first..].iter().cloned());
            return None;
        }
        if chain.len() >= MAX_CHAIN {
            reader.fail(wanted.service_mark, format!("`extends` goes over more than {MAX_CHAIN} services"));
            return None;
        }
        let target = match wanted.file {
            None => Rc::clone(origin),
            Some((file, mark)) => self.file(file, mark)?,
        };
        if target.services.get(wanted.service).is_none() {
            self.tell_missing(&wanted, &target);
            return None;
        }
        chain.push(here);
        let base = self.service(wanted.service, &target, chain);
        chain.pop();
        let mut base = base?;
        let mut over = self.loader.copy(said, said.mark)?;
        over.remove("extends");
        if let Kind::Null = base.kind {
            return Some(over);
        }
        let resets: Vec<Vec<String>> = origin
            .resets
            .iter()
            .filter_map(|path| match path.as_slice() {
                [section, service, rest @ ..] if section == "services" && service == name => Some(rest.to_vec()),
                _ => None,
            })
            .collect();
        merge::reset(&mut base, &resets);
        merge::merge_service(reader, name, &mut base, over);
        base.remove("extends");
        Some(base)
    }

    /// A service as a message names it.
    fn shown(&self, (path, service): &(PathBuf, String), origin: &Origin) -> String {
        if *path == origin.path {
            format!("`{service}`")
        } else {
            format!("`{service}` of {}", self.loader.shown(path).display())
        }
    }

    fn wanted<'n>(&self, extends: &'n Node) -> Option<Wanted<'n>> {
        let reader = self.loader.reader;
        if let Kind::Str(service) = &extends.kind {
            return Some(Wanted { service, service_mark: extends.mark, file: None });
        }
        let Kind::Map(_) = extends.kind else {
            reader.wrong("extends", extends, "a string or a mapping");
            return None;
        };
        let table = reader.table("extends", extends, &["service", "file"], &[])?;
        let Some(service) = table.get("service") else {
            reader.fail_with(extends.mark, "`extends` does not say which service", "add `service: NAME`");
            return None;
        };
        let text = |key: &str, node: &'n Node| {
            if node.as_str().is_none() {
                reader.wrong(key, node, "a string");
            }
            node.as_str()
        };
        let file = match table.get("file") {
            Some(file) => Some((text("file", file)?, file.mark)),
            None => None,
        };
        Some(Wanted { service: text("service", service)?, service_mark: service.mark, file })
    }

    fn tell_missing(&self, wanted: &Wanted<'_>, target: &Origin) {
        let names = || target.services.map().iter().map(|entry| entry.key.as_str());
        let shown = self.loader.shown(&target.path);
        let message = format!("there is no service `{}` in {}", wanted.service, shown.display());
        let help = match closest(wanted.service, names()) {
            Some(right) => format!("did you mean `{right}`?"),
            None => choices(names()),
        };
        self.loader.reader.fail_with(wanted.service_mark, message, help);
    }

    /// Reads another file, in which relative paths begin at its own folder.
    fn file(&mut self, said: &str, mark: Mark) -> Option<Rc<Origin>> {
        let path = Base { folder: self.scope.folder, home: self.loader.home }.absolute(said);
        let path = PathBuf::from(path);
        if let Some(known) = self.files.get(&path) {
            return known.clone();
        }
        let origin = self.read(&path, said, mark).map(Rc::new);
        self.files.insert(path, origin.clone());
        origin
    }

    fn read(&self, path: &Path, said: &str, mark: Mark) -> Option<Origin> {
        let loader = self.loader;
        let named = Named::Here(loader.reader.place(mark));
        let layer = loader.read(&File { path: path.to_owned(), said: said.to_owned(), named })?;
        let scope = self.scope;
        let lookup: &Lookup<'_> = &|name| scope.lookup(name);
        let mut all: Option<Node> = None;
        let mut taken_back = Vec::new();
        for Document { mut tree, resets } in layer.documents {
            loader.interpolation.tree(&mut tree, lookup);
            match &mut all {
                Some(all) => {
                    merge::reset(all, &resets);
                    merge::merge(loader.reader, all, tree);
                }
                None => all = Some(tree),
            }
            taken_back.extend(resets);
        }
        let mut tree = all?;
        unique::enforce(&mut tree);
        canonical(loader.reader, &mut tree);
        let folder = path.parent().unwrap_or(path);
        paths::resolve(&mut tree, Base { folder, home: loader.home }, false);
        let Some(services) = tree.remove("services").filter(|entry| matches!(entry.value.kind, Kind::Map(_))) else {
            let shown = loader.shown(path);
            loader.reader.fail(mark, format!("there are no `services` in {}", shown.display()));
            return None;
        };
        Some(Origin { path: path.to_owned(), services: services.value, resets: taken_back })
    }
}
