//! The `volumes` of a Compose service, short and long form.

use std::path::{Component, Path, PathBuf};

use super::super::node::{Kind, Node};
use super::super::reader::{Reader, Table};
use super::super::source::Mark;
use super::file::Context;
use super::model::{BindOptions, Extensions, ImageOptions, Mount, MountKind, TmpfsOptions, VolumeOptions};
use super::values::extensions;

const LONG_KEYS: &[&str] =
    &["type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image"];
const BIND_KEYS: &[&str] = &["propagation", "create_host_path", "recursive", "selinux"];
const VOLUME_KEYS: &[&str] = &["labels", "nocopy", "subpath"];
const TMPFS_KEYS: &[&str] = &["size", "mode"];
const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];
const RECURSIONS: &[(&str, &str)] =
    &[("enabled", "enabled"), ("disabled", "disabled"), ("writable", "writable"), ("readonly", "readonly")];

/// Where relative paths begin and `~` leads.
#[derive(Clone, Copy)]
pub(super) struct Paths<'a> {
    pub(super) working_dir: &'a Path,
    pub(super) home: Option<&'a str>,
}

impl Paths<'_> {
    /// A path of the host, absolute.
    pub(super) fn file(self, source: &str) -> String {
        let path = match (source.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
            _ => source.to_owned(),
        };
        // Compose cleans the paths it makes and leaves those it finds.
        if path == source && Path::new(source).is_absolute() {
            return path;
        }
        lexical(&self.working_dir.join(path)).display().to_string()
    }

    /// A build context: a path of the host, unless it is the address of one.
    pub(super) fn context(self, source: &str) -> String {
        if is_remote(source) { source.to_owned() } else { self.file(source) }
    }
}

/// Whether a build context is fetched from somewhere, or is a service or an image, and so no path.
fn is_remote(context: &str) -> bool {
    context.contains("://") || ["github.com/", "git@", "service:"].iter().any(|prefix| context.starts_with(prefix))
}

/// A path without `.` and `..`, by its text alone.
pub(in crate::manifest) fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                // Above the root there is the root.
                match out.components().next_back() {
                    Some(Component::Normal(_)) => {
                        out.pop();
                    }
                    Some(Component::RootDir | Component::Prefix(_)) => {}
                    Some(Component::ParentDir | Component::CurDir) | None => out.push(part),
                }
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

/// What the path of a bind mount is read with, and what is worth a note.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) paths: Paths<'a>,
    pub(super) context: &'a Context<'a>,
}

pub(super) fn read(reader: Reader<'_>, key: &str, node: &Node, scene: Scene<'_>) -> Option<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    for item in reader.list(key, node)? {
        let mount = match &item.kind {
            Kind::Str(text) => short(reader, item.mark, text, scene),
            Kind::Map(_) => long(reader, item, scene),
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

fn short(reader: Reader<'_>, mark: Mark, text: &str, scene: Scene<'_>) -> Option<Mount> {
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
    let (mut bind, mut volume) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => volume = Some(VolumeOptions { nocopy: true, ..VolumeOptions::default() }),
            // Hints for a file sharing that Docker Desktop no longer has.
            "cached" | "delegated" | "consistent" => {}
            "z" | "Z" => bind.get_or_insert_with(BindOptions::default).selinux = Some(option.to_owned()),
            option if PROPAGATIONS.contains(&option) => {
                bind.get_or_insert_with(BindOptions::default).propagation = Some(option.to_owned());
            }
            option => {
                let problem = reader.place(mark).problem(format!("`{option}` is no option of a mount"));
                scene.context.notes.push(problem.with_help("it is left out, as Docker Compose does"));
            }
        }
    }
    let (kind, source) = match source {
        Some(source) if is_path(source) => {
            bind.get_or_insert_default().create_host_path = Some(true);
            (MountKind::Bind, Some(scene.paths.file(source)))
        }
        source => {
            volume.get_or_insert_default();
            (MountKind::Volume, source.cloned())
        }
    };
    Some(Mount {
        place: reader.place(mark),
        kind,
        source,
        target: clean(target),
        read_only,
        consistency: None,
        bind,
        volume,
        tmpfs: None,
        image: None,
        extensions: Extensions::default(),
    })
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

/// The path in the container of a mount in its short form.
pub(super) fn target_of(text: &str) -> Option<String> {
    match split(text).as_slice() {
        [target] | [_, target, ..] if !target.is_empty() => Some(clean(target)),
        _ => None,
    }
}

/// The part of a short form that is a path of the host, and what is behind it.
pub(super) fn host_path(text: &str) -> Option<(String, &str)> {
    let parts = split(text);
    let source = parts.first().filter(|source| parts.len() > 1 && is_path(source))?;
    Some((source.clone(), text.get(source.len()..)?))
}

fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") || source.as_bytes().get(1) == Some(&b':')
}

fn long(reader: Reader<'_>, node: &Node, scene: Scene<'_>) -> Option<Mount> {
    let table = reader.table("volumes", node, LONG_KEYS, &[])?;
    let Some(kind) = table.get("type") else {
        reader.fail(node.mark, "a mount needs a `type`: `volume`, `bind`, `tmpfs` or `image`");
        return None;
    };
    let words = [
        ("volume", Some(MountKind::Volume)),
        ("bind", Some(MountKind::Bind)),
        ("tmpfs", Some(MountKind::Tmpfs)),
        ("image", Some(MountKind::Image)),
        ("npipe", None),
        ("cluster", None),
    ];
    let Some(chosen) = reader.one_of("type", kind, &words)? else {
        let reason = match kind.scalar_text().as_deref() {
            Some("npipe") => "only Windows has named pipes",
            _ => "only Swarm has such volumes",
        };
        let name = kind.scalar_text().unwrap_or_default();
        reader.fail(kind.mark, format!("devctl doesn't support mounts of the type `{name}`: {reason}"));
        return None;
    };
    let text = table.text("source");
    if text.is_none() && table.get("source").is_none() {
        let needed = match chosen {
            MountKind::Bind => Some("the path on the host"),
            MountKind::Image => Some("the image"),
            MountKind::Volume | MountKind::Tmpfs => None,
        };
        if let Some(needed) = needed {
            let kind = kind.scalar_text().unwrap_or_default();
            reader.fail(node.mark, format!("a mount of the type `{kind}` needs a `source`, {needed}"));
            return None;
        }
    }
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
        kind: chosen,
        source: if chosen == MountKind::Bind { text.map(|path| scene.paths.file(&path)) } else { text },
        target: clean(&target),
        read_only: table.flag("read_only"),
        consistency: table.text("consistency"),
        bind: options(reader, node, "bind", BIND_KEYS, |table| BindOptions {
            selinux: table
                .read("selinux", |r, key, node| r.one_of(key, node, &[("z", "z"), ("Z", "Z")]))
                .map(str::to_owned),
            propagation: table.text("propagation"),
            create_host_path: table.read("create_host_path", Reader::boolean),
            recursive: table.read("recursive", |r, key, node| r.one_of(key, node, RECURSIONS)).map(str::to_owned),
            extensions: extensions(table),
        }),
        volume: options(reader, node, "volume", VOLUME_KEYS, |table| VolumeOptions {
            labels: table.map("labels"),
            nocopy: table.flag("nocopy"),
            subpath: table.text("subpath"),
            extensions: extensions(table),
        }),
        tmpfs: options(reader, node, "tmpfs", TMPFS_KEYS, |table| TmpfsOptions {
            size: table.bytes("size"),
            mode: table.number("mode"),
            extensions: extensions(table),
        }),
        image: options(reader, node, "image", &["subpath"], |table| ImageOptions {
            subpath: table.text("subpath"),
            extensions: extensions(table),
        }),
        extensions: extensions(table),
    })
}

/// The options of a mount, which are there as soon as their key is.
fn options<T>(
    reader: Reader<'_>,
    node: &Node,
    key: &str,
    keys: &[&str],
    read: impl FnOnce(Table<'_, '_>) -> T,
) -> Option<T> {
    let Kind::Map(entries) = &node.kind else { return None };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    if entry.value.kind == Kind::Null {
        return None;
    }
    reader.table(key, &entry.value, keys, &[]).map(read)
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

    type Short = (MountKind, Option<String>, String, bool);

    /// The mount, and what was complained of or noted.
    fn parsed(text: &str) -> (Option<Short>, Vec<String>) {
        let (sources, sink, notes) = (Sources::default(), Sink::default(), Sink::default());
        let file = sources.add("c.yml".into(), text.to_owned());
        let reader = Reader { sources: &sources, language: Language::Yaml, sink: &sink };
        let paths = Paths { working_dir: Path::new("/w/compose"), home: Some("/home/me") };
        let context = Context { lookup: &|_| None, home: None, notes: &notes };
        let mount = short(reader, file.mark(0..text.len()), text, Scene { paths, context: &context });
        let problems = sink.into_problems().into_iter().chain(notes.into_problems()).map(|p| p.message).collect();
        (mount.map(|m| (m.kind, m.source, m.target, m.read_only)), problems)
    }

    #[test]
    fn short_forms() {
        let bind = |path: &str| (MountKind::Bind, Some(path.to_owned()));
        let volume = |key: Option<&str>| (MountKind::Volume, key.map(str::to_owned));
        for (text, (kind, source), target, read_only) in [
            ("data:/var/lib/", volume(Some("data")), "/var/lib", false),
            ("/anonymous", volume(None), "/anonymous", false),
            ("./a/../b:/b:ro", bind("/w/compose/b"), "/b", true),
            ("../x:/x:rw,cached", bind("/w/x"), "/x", false),
            ("~/k:/k:ro,Z,rshared", bind("/home/me/k"), "/k", true),
            ("/abs:/abs", bind("/abs"), "/abs", false),
            ("data:/d:nocopy", volume(Some("data")), "/d", false),
        ] {
            assert_eq!(parsed(text), (Some((kind, source, target.to_owned(), read_only)), vec![]), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_and_unknown_options_named() {
        for (text, message) in [
            ("aa::b", "empty"),
            ("aa:/b:ro:x", "too many colons"),
            ("v:/data", "must begin with `/`"),
            ("aa:b", "must begin with `/`"),
            ("aa:/b:r0", "`r0` is no option"),
        ] {
            let (_, problems) = parsed(text);
            assert!(problems.iter().any(|p| p.contains(message)), "{text}: {problems:?}");
        }
    }
}
