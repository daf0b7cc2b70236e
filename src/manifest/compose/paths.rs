//! Relative paths of a tree, made absolute as Compose makes them: which keys are paths, where they begin, and what is
//! left alone because it is no path of this machine.

use std::path::Path;

use super::super::node::{Entry, Kind, Node};
use super::super::source::Mark;
use super::mounts::{self, lexical};
use crate::os::files;

/// Where relative paths begin and `~` leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'a> {
    pub(super) folder: &'a Path,
    pub(super) home: Option<&'a str>,
}

impl Base<'_> {
    /// A path of this machine. The empty one stays, and what is absolute stays as it is written.
    pub(super) fn absolute(self, path: &str) -> String {
        if path.is_empty() {
            return String::new();
        }
        let expanded = self.expanded(path);
        let path = expanded.as_deref().unwrap_or(path);
        if Path::new(path).is_absolute() { path.to_owned() } else { self.joined(path) }
    }

    /// A path for the engine's machine, which may be of the other kind: `C:\` is absolute on Linux as well.
    fn absolute_anywhere(self, path: &str) -> String {
        let expanded = self.expanded(path);
        let path = expanded.as_deref().unwrap_or(path);
        let is_absolute = path.starts_with('/') || is_windows_absolute(path) || Path::new(path).is_absolute();
        if is_absolute { path.to_owned() } else { self.joined(path) }
    }

    fn joined(self, path: &str) -> String {
        lexical(&self.folder.join(path)).display().to_string()
    }

    /// `None` where there is no `~`.
    fn expanded(self, path: &str) -> Option<String> {
        let rest = path.strip_prefix('~')?;
        Some(lexical(Path::new(&format!("{}/{rest}", self.home?))).display().to_string())
    }
}

/// Makes the paths of a tree absolute. `defaults` gives a build without a context the folder itself.
pub(super) fn resolve(tree: &mut Node, base: Base<'_>, defaults: bool) {
    for section in tree.map_mut() {
        for entry in section.value.map_mut() {
            match section.key.as_str() {
                "services" => service(&mut entry.value, base, defaults),
                "secrets" | "configs" => text(entry.value.get_mut("file"), |path| base.absolute_anywhere(path)),
                "volumes" => volume(&mut entry.value, base),
                _ => {}
            }
        }
    }
}

fn service(service: &mut Node, base: Base<'_>, defaults: bool) {
    for entry in service.map_mut() {
        let value = &mut entry.value;
        match entry.key.as_str() {
            "build" => build(value, base, defaults),
            "env_file" => each(value, |item| match item.kind {
                Kind::Map(_) => text(item.get_mut("path"), |path| base.absolute(path)),
                _ => text(item, |path| base.absolute(path)),
            }),
            "label_file" => each(value, |item| text(item, |path| base.absolute(path))),
            "extends" => {
                let file = |path: &str| if is_elsewhere(path) { path.to_owned() } else { base.absolute(path) };
                text(value.get_mut("file"), file);
            }
            "develop" => {
                for rule in value.get_mut("watch").map_or(&mut [][..], Node::items_mut) {
                    text(rule.get_mut("path"), |path| {
                        let path = base.absolute(path);
                        let followed = files::follow_first_link(Path::new(&path));
                        followed.map_or(path, |followed| followed.display().to_string())
                    });
                }
            }
            "volumes" => value.items_mut().iter_mut().for_each(|item| mount(item, base)),
            _ => {}
        }
    }
}

fn build(value: &mut Node, base: Base<'_>, defaults: bool) {
    let context = |path: &str| if is_elsewhere(path) { path.to_owned() } else { base.absolute(path) };
    if let Kind::Str(_) = value.kind {
        text(value, context);
        return;
    }
    if let (Kind::Map(entries), true) = (&mut value.kind, defaults)
        && entries.iter().all(|entry| entry.key != "context")
    {
        let here = Node::text(".", value.mark);
        entries.push(Entry { key: "context".to_owned(), key_mark: value.mark, value: here });
    }
    text(value.get_mut("context"), context);
    behind_keys(value.get_mut("additional_contexts"), context);
    behind_keys(value.get_mut("ssh"), |path| base.absolute_anywhere(path));
}

/// A volume that is a bind mount in disguise.
fn volume(volume: &mut Node, base: Base<'_>) {
    let is_local = volume.get("driver").and_then(Node::as_str) == Some("local");
    let Some(options) = volume.get_mut("driver_opts").filter(|_| is_local) else { return };
    if options.get("o").and_then(Node::as_str) == Some("bind") {
        text(options.get_mut("device"), |path| base.absolute_anywhere(path));
    }
}

fn mount(item: &mut Node, base: Base<'_>) {
    if let Kind::Map(_) = item.kind {
        if item.get("type").and_then(Node::as_str) == Some("bind") {
            text(item.get_mut("source"), |path| base.absolute_anywhere(path));
        }
        return;
    }
    let Some((source, rest)) = item.as_str().and_then(mounts::host_path) else { return };
    let path = base.absolute_anywhere(&source);
    // The short form would be taken apart in the wrong place.
    let has_colon = path.get(2..).is_some_and(|path| path.contains(':'));
    item.kind = if has_colon { long_bind(&path, rest, item.mark) } else { Kind::Str(format!("{path}{rest}")) };
}

/// The long form of a short bind mount. `rest` is `:/target` and perhaps `:options`.
fn long_bind(path: &str, rest: &str, mark: Mark) -> Kind {
    let mut parts = rest.split(':').skip(1);
    let entry = |key: &str, kind| Entry { key: key.to_owned(), key_mark: mark, value: Node { kind, mark } };
    let string = |text: &str| Kind::Str(text.to_owned());
    let mut entries = vec![entry("type", string("bind")), entry("source", string(path))];
    entries.push(entry("target", string(parts.next().unwrap_or_default())));
    let mut bind = vec![entry("create_host_path", Kind::Bool(true))];
    for option in parts.flat_map(|options| options.split(',')) {
        match option {
            "ro" => entries.push(entry("read_only", Kind::Bool(true))),
            "z" | "Z" => bind.push(entry("selinux", string(option))),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                bind.push(entry("propagation", string(option)));
            }
            _ => {}
        }
    }
    entries.push(entry("bind", Kind::Map(bind)));
    Kind::Map(entries)
}

/// Changes a string.
fn text<'n>(node: impl Into<Option<&'n mut Node>>, change: impl Fn(&str) -> String) {
    if let Some(Node { kind: Kind::Str(text), .. }) = node.into() {
        *text = change(text);
    }
}

/// Changes one value, or each of a list.
fn each(node: &mut Node, change: impl Fn(&mut Node)) {
    if let Kind::List(items) = &mut node.kind { items.iter_mut().for_each(change) } else { change(node) }
}

/// Changes the values of a mapping, or what is behind `=` in a list.
fn behind_keys(node: Option<&mut Node>, change: impl Fn(&str) -> String) {
    let Some(node) = node else { return };
    for entry in node.map_mut() {
        text(&mut entry.value, &change);
    }
    for item in node.items_mut() {
        text(item, |pair| match pair.split_once('=') {
            Some((key, path)) => format!("{key}={}", change(path)),
            None => pair.to_owned(),
        });
    }
}

/// Whether a context or a file is fetched, or made by another service, and so has no path here.
pub(super) fn is_elsewhere(path: &str) -> bool {
    path.contains("://") || ["service:", "github.com/", "git@"].iter().any(|prefix| path.starts_with(prefix))
}

fn is_windows_absolute(path: &str) -> bool {
    let is_separator = |b: Option<&u8>| matches!(b, Some(b'/' | b'\\'));
    let bytes = path.as_bytes();
    let has_drive = bytes.get(1) == Some(&b':') && is_separator(bytes.get(2));
    has_drive || (bytes.first() == Some(&b'\\') && is_separator(bytes.get(1)))
}

#[cfg(test)]
mod tests {
    use super::super::super::source::Source;
    use super::*;

    fn base(folder: &str) -> Base<'_> {
        Base { folder: Path::new(folder), home: Some("/home/me") }
    }

    #[test]
    fn paths_begin_at_the_folder() {
        for (path, expected) in [
            ("a", "/w/p/a"),
            ("./a/../b/", "/w/p/b"),
            ("../../..", "/"),
            ("/x/../y", "/x/../y"),
            ("~", "/home/me"),
            ("~/x/../y", "/home/me/y"),
            ("", ""),
        ] {
            assert_eq!(base("/w/p").absolute(path), expected, "{path}");
        }
        assert_eq!(base("/w/p").absolute_anywhere(r"C:\x"), r"C:\x");
        assert_eq!(base("/w/p").absolute_anywhere("C:x"), "/w/p/C:x");
    }

    #[test]
    fn short_mounts_keep_their_form() {
        let source = Source::alone("c".into(), String::new());
        let mark = source.mark_at(1, 1, 1);
        for (text, folder, expected) in [
            ("./a:/x:ro", "/w", Some("/w/a:/x:ro")),
            (".:/x", "/w", Some("/w:/x")),
            ("~/a:/x", "/w", Some("/home/me/a:/x")),
            ("v:/x", "/w", Some("v:/x")),
            ("/x", "/w", Some("/x")),
            ("/a:/b", "/w", Some("/a:/b")),
            ("./a:/x:ro,z", "/w:1", None),
        ] {
            let mut node = Node::text(text, mark);
            mount(&mut node, base(folder));
            assert_eq!(node.as_str(), expected, "{text}");
            if expected.is_none() {
                let said = |key: &str| node.get(key).and_then(Node::scalar_text);
                assert_eq!(said("source").as_deref(), Some("/w:1/a"));
                assert_eq!((said("target").as_deref(), said("read_only").as_deref()), (Some("/x"), Some("true")));
                let bind = node.get("bind").unwrap();
                assert_eq!(bind.get("selinux").and_then(Node::as_str), Some("z"));
            }
        }
    }
}
