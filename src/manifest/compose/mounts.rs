//! The `volumes` of a Compose service, short and long form.

use std::path::{Component, Path, PathBuf};

use super::super::node::{Kind, Node};
use super::super::reader::Reader;
use super::super::source::Mark;
use super::model::{Mount, Source};

const LONG_KEYS: &[&str] = &["type", "source", "target", "read_only", "bind", "volume", "tmpfs"];
const LONG_KEYS_LATER: &[&str] = &["consistency", "image"];
const BIND_KEYS_LATER: &[&str] = &["propagation", "recursive", "selinux"];
const VOLUME_KEYS_LATER: &[&str] = &["labels", "nocopy", "subpath"];
const TMPFS_KEYS_LATER: &[&str] = &["size", "mode"];

/// Where relative paths begin and `~` leads.
#[derive(Clone, Copy)]
pub(super) struct Paths<'a> {
    pub(super) working_dir: &'a Path,
    pub(super) home: Option<&'a str>,
}

pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node, paths: Paths<'_>) -> Option<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    for item in reader.list(key, node)? {
        let mount = match &item.kind {
            Kind::Str(text) => short(reader, item.mark, text, paths),
            Kind::Map(_) => long(reader, item, paths),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime | Kind::List(_) => {
                reader.wrong(key, item, "a string such as `data:/var/lib/data` or a mapping");
                None
            }
        };
        let Some(mount) = mount else { continue };
        // The last mount of a path wins, in the place of the first, as in Compose.
        match mounts.iter_mut().find(|other| other.target == mount.target) {
            Some(other) => *other = mount,
            None => mounts.push(mount),
        }
    }
    Some(mounts)
}

fn short(reader: Reader<'_>, mark: Mark, text: &str, paths: Paths<'_>) -> Option<Mount> {
    let fail = |reason: &str| {
        reader.fail_with(
            mark,
            format!("`{text}` is no mount: {reason}"),
            "write `VOLUME:/path`, `./folder:/path` or `/path`, with `:ro` behind it if need be",
        );
        None
    };
    let parts = split(text);
    if parts.iter().any(String::is_empty) {
        return fail("a part of it is empty");
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options.as_str()),
        _ => return fail("it has too many colons"),
    };
    if !target.starts_with('/') {
        return fail("the path in the container must begin with `/`");
    }
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            // The rest were hints for a file sharing that Docker Desktop no longer has.
            "rw" | "cached" | "delegated" | "consistent" => read_only = false,
            "nocopy" | "z" | "Z" | "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                reader.fail(mark, format!("devctl doesn't support the mount option `{option}` yet"));
            }
            _ => return fail(&format!("`{option}` is no option of it")),
        }
    }
    let source = match source {
        None => Source::Anonymous,
        Some(source) if is_path(source) => Source::Bind { path: bind_path(source, paths), create: Some(true) },
        Some(source) => Source::Volume(source.clone()),
    };
    Some(Mount { place: reader.place(mark), source, target: clean(target), read_only, long: false })
}

/// Splits at colons, but not behind the letter of a Windows drive.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in text.chars() {
        let part = parts.last_mut().expect("there is always a last part");
        let drive = part.len() == 1 && part.starts_with(|c: char| c.is_ascii_alphabetic());
        // `a:/b` on Unix is a volume `a`, and Compose reads it as a drive all the same.
        if c == ':' && !drive {
            parts.push(String::new());
        } else {
            part.push(c);
        }
    }
    parts
}

fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") || source.as_bytes().get(1) == Some(&b':')
}

fn long(reader: Reader<'_>, node: &Node, paths: Paths<'_>) -> Option<Mount> {
    #[derive(Clone, Copy)]
    enum Type {
        Volume,
        Bind,
        Tmpfs,
        Later,
    }
    let table = reader.table("volumes", node, LONG_KEYS, LONG_KEYS_LATER)?;
    let Some(kind) = table.get("type") else {
        reader.fail(node.mark, "a mount needs a `type`: `volume`, `bind` or `tmpfs`");
        return None;
    };
    let words = [
        ("volume", Type::Volume),
        ("bind", Type::Bind),
        ("tmpfs", Type::Tmpfs),
        ("image", Type::Later),
        ("npipe", Type::Later),
        ("cluster", Type::Later),
    ];
    let chosen = reader.one_of("type", kind, &words)?;
    let bind = table.read("bind", |r, key, node| r.table(key, node, &["create_host_path"], BIND_KEYS_LATER));
    table.read("volume", |r, key, node| r.table(key, node, &[], VOLUME_KEYS_LATER));
    table.read("tmpfs", |r, key, node| r.table(key, node, &[], TMPFS_KEYS_LATER));
    let text = table.read("source", Reader::string);
    let source = match (chosen, text) {
        (Type::Volume, Some(key)) => Source::Volume(key),
        (Type::Volume, None) => Source::Anonymous,
        (Type::Bind, Some(path)) => Source::Bind {
            path: bind_path(&path, paths),
            create: bind.map(|bind| bind.read("create_host_path", Reader::boolean).unwrap_or_default()),
        },
        (Type::Bind, None) => {
            reader.fail(node.mark, "a mount of the type `bind` needs a `source`, the path on the host");
            return None;
        }
        (Type::Tmpfs, _) => Source::Tmpfs,
        (Type::Later, _) => {
            let name = kind.scalar_text().unwrap_or_default();
            reader.fail(kind.mark, format!("devctl doesn't support mounts of the type `{name}` yet"));
            return None;
        }
    };
    let Some(target) = table.read("target", Reader::string) else {
        if table.get("target").is_none() {
            reader.fail(node.mark, "a mount needs a `target`, the path in the container");
        }
        return None;
    };
    if !target.starts_with('/') {
        reader.fail(node.mark, format!("the `target` of a mount must begin with `/`, but is `{target}`"));
        return None;
    }
    Some(Mount {
        place: reader.place(node.mark),
        source,
        target: clean(&target),
        read_only: table.read("read_only", Reader::boolean).unwrap_or_default(),
        long: true,
    })
}

fn bind_path(source: &str, paths: Paths<'_>) -> String {
    let path = match (source.strip_prefix('~'), paths.home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => source.to_owned(),
    };
    // Compose cleans the paths it makes and leaves those it finds.
    if path == source && Path::new(source).is_absolute() {
        return path;
    }
    lexical(&paths.working_dir.join(path)).display().to_string()
}

/// A path without `.` and `..`, by its text alone.
pub(in crate::manifest) fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    out.push("..");
                }
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

/// A path of a container, which is a Unix path wherever devctl runs.
fn clean(target: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if target.starts_with('/') { format!("/{joined}") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::super::super::problem::Sink;
    use super::super::super::source::{Language, Sources};
    use super::*;

    fn parsed(text: &str) -> (Option<(Source, String, bool)>, Vec<String>) {
        let (sources, sink) = (Sources::default(), Sink::default());
        let file = sources.add("c.yml".into(), text.to_owned());
        let reader = Reader { sources: &sources, language: Language::Yaml, sink: &sink };
        let paths = Paths { working_dir: Path::new("/w/compose"), home: Some("/home/me") };
        let mount = short(reader, file.mark(0..text.len()), text, paths);
        let problems = sink.into_problems().into_iter().map(|p| p.message).collect();
        (mount.map(|m| (m.source, m.target, m.read_only)), problems)
    }

    #[test]
    fn short_forms() {
        let bind = |path: &str| Source::Bind { path: path.to_owned(), create: Some(true) };
        for (text, source, target, read_only) in [
            ("data:/var/lib/", Source::Volume("data".into()), "/var/lib", false),
            ("/anonymous", Source::Anonymous, "/anonymous", false),
            ("./a/../b:/b:ro", bind("/w/compose/b"), "/b", true),
            ("../x:/x:rw,cached", bind("/w/x"), "/x", false),
            ("~/k:/k", bind("/home/me/k"), "/k", false),
            ("/abs:/abs", bind("/abs"), "/abs", false),
        ] {
            assert_eq!(parsed(text), (Some((source, target.to_owned(), read_only)), vec![]), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_and_unsupported_options_named() {
        for (text, message) in [
            ("aa::b", "empty"),
            ("aa:/b:ro:x", "too many colons"),
            ("v:/data", "must begin with `/`"),
            ("aa:b", "must begin with `/`"),
            ("aa:/b:r0", "`r0` is no option"),
            ("aa:/b:nocopy", "doesn't support the mount option `nocopy` yet"),
        ] {
            let (_, problems) = parsed(text);
            assert!(problems.iter().any(|p| p.contains(message)), "{text}: {problems:?}");
        }
    }
}
