//! The root file system of an image, as a list of entries that becomes one layer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::packages::Debian;
use crate::repo;

/// A root file system in the making. Sorted by path, so that a folder comes before what is in it.
#[derive(Default)]
pub(super) struct Rootfs {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    kind: Kind,
    mode: u32,
    owner: (u64, u64),
}

enum Kind {
    File(Vec<u8>),
    Folder,
    Link(String),
}

impl Rootfs {
    /// Adds a file of root's, and the folders above it.
    pub(super) fn file(&mut self, path: &str, content: Vec<u8>, mode: u32) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry { kind: Kind::File(content), mode, owner: (0, 0) });
    }

    /// Adds a folder.
    pub(super) fn folder(&mut self, path: &str, mode: u32, user: u64, group: u64) {
        // /var/run is a link, and a layer must not hold a path through one.
        let path = path.strip_prefix("var/").filter(|rest| rest.starts_with("run/")).unwrap_or(path);
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry { kind: Kind::Folder, mode, owner: (user, group) });
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry { kind: Kind::Link(target.to_owned()), mode: 0o777, owner: (0, 0) });
    }

    /// Adds a program of this machine.
    pub(super) fn program(&mut self, path: &str, source: &Path) -> anyhow::Result<()> {
        let content = std::fs::read(source).with_context(|| format!("cannot read `{}`", source.display()))?;
        self.file(path, content, 0o755);
        Ok(())
    }

    /// Appends to a file that was added before.
    pub(super) fn append(&mut self, path: &str, more: &[u8]) -> anyhow::Result<()> {
        match self.entries.get_mut(path) {
            Some(Entry { kind: Kind::File(content), .. }) => content.extend_from_slice(more),
            _ => bail!("there is no file `{path}` to append to"),
        }
        Ok(())
    }

    /// Adds busybox and a link for each tool in it.
    pub(super) fn shell(&mut self, busybox: &Path) -> anyhow::Result<()> {
        self.program("usr/bin/busybox", busybox)?;
        for tool in repo::output(Command::new(busybox).arg("--list"))?.lines() {
            if tool != "busybox" {
                self.link(&format!("usr/bin/{tool}"), "busybox");
            }
        }
        Ok(())
    }

    /// Adds this machine's C.UTF-8 locale.
    pub(super) fn locale(&mut self) -> anyhow::Result<()> {
        let folder = Path::new("/usr/lib/locale/C.utf8");
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            let entries = std::fs::read_dir(&folder)
                .with_context(|| format!("this machine has no locale C.UTF-8: cannot read `{}`", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let name = path.to_string_lossy();
                    self.file(name.trim_start_matches('/'), std::fs::read(&path)?, 0o644);
                }
            }
        }
        Ok(())
    }

    /// Adds the shared libraries that `program` needs, but for those in a folder named `own`, which it brings along.
    pub(super) fn libraries_of(&mut self, program: &Path, debian: &Debian, own: Option<&str>) -> anyhow::Result<()> {
        for library in libraries(program, &debian.library_folders())? {
            let Library { name, path } = library;
            let Some(path) = path else { bail!("`{}` needs `{name}`, which this machine lacks", program.display()) };
            if own.is_some_and(|own| path.components().any(|part| part.as_os_str() == own)) {
                continue;
            }
            // The loader is named by its full path in every program, the others are found by name.
            let place = if name.starts_with('/') {
                format!("usr{name}")
            } else {
                format!("usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH)
            };
            self.program(&place, &path)?;
        }
        Ok(())
    }

    /// The layer: a tar archive with fixed times and owners.
    pub(super) fn into_layer(self) -> anyhow::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner.0);
            header.set_gid(entry.owner.1);
            header.set_mtime(0);
            header.set_size(0);
            match entry.kind {
                Kind::File(content) => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, &path, content.as_slice())?;
                }
                Kind::Folder => {
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Kind::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, &path, &target)?;
                }
            }
        }
        Ok(archive.into_inner()?)
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry {
                kind: Kind::Folder,
                mode: 0o755,
                owner: (0, 0),
            });
        }
    }
}

/// A shared library that a program asks for.
pub(super) struct Library {
    /// The name it is asked for by.
    pub(super) name: String,
    /// Where it is, `None` where it is not.
    pub(super) path: Option<PathBuf>,
}

/// The shared libraries of a program, as this machine's loader finds them, `folders` first.
pub(super) fn libraries(program: &Path, folders: &str) -> anyhow::Result<Vec<Library>> {
    let listed = repo::output(Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", folders))?;
    Ok(listed.lines().filter_map(|line| library(line.trim())).collect())
}

/// One line of `ldd`: `libm.so.6 => /lib/libm.so.6 (0x…)`, `libx.so => not found` or `/lib64/ld-linux.so.2 (0x…)`.
fn library(line: &str) -> Option<Library> {
    match line.split_once(" => ") {
        Some((name, "not found")) => Some(Library { name: name.to_owned(), path: None }),
        Some((name, found)) => {
            let path = found.split(" (").next()?;
            Some(Library { name: name.to_owned(), path: Some(path.into()) })
        }
        None => {
            let name = line.split(" (").next()?;
            name.starts_with('/').then(|| Library { name: name.to_owned(), path: Some(name.into()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd_are_understood() {
        let read = |line| library(line).map(|l| (l.name, l.path.map(|p| p.to_string_lossy().into_owned())));
        let some = |name: &str, path: Option<&str>| Some((name.to_owned(), path.map(str::to_owned)));
        assert_eq!(read("linux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(read("libm.so.6 => /lib/libm.so.6 (0x0000)"), some("libm.so.6", Some("/lib/libm.so.6")));
        assert_eq!(read("liblzf.so.1 => not found"), some("liblzf.so.1", None));
        let loader = "/lib64/ld-linux-x86-64.so.2";
        assert_eq!(read(&format!("{loader} (0x0000)")), some(loader, Some(loader)));
    }

    #[test]
    fn a_layer_is_the_same_every_time_and_folders_come_first() {
        let layer = || {
            let mut root = Rootfs::default();
            root.file("usr/bin/x", b"x".to_vec(), 0o755);
            root.folder("var/run/server", 0o700, 5, 6);
            root.link("bin", "usr/bin");
            root.into_layer().unwrap()
        };
        assert_eq!(layer(), layer());
        let layer = layer();
        let mut archive = tar::Archive::new(layer.as_slice());
        let paths: Vec<_> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(paths, ["bin", "run/", "run/server/", "usr/", "usr/bin/", "usr/bin/x"]);
    }
}
