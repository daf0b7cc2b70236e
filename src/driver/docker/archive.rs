//! Archives of files: packed from this machine and unpacked onto it, as a stream of chunks in between. Knows no engine.
//!
//! What comes out of a container is not trusted: nothing is written outside of the folder that was asked for.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, EntryType, Header, HeaderMode};
use tokio::sync::mpsc;

/// The size of a chunk.
const CHUNK: usize = 64 * 1024;

/// A first folder, or a file, by another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rename {
    /// Its name in the archive; `.` where the archive has what is in it.
    pub(super) from: String,
    /// Its name once it is unpacked.
    pub(super) to: String,
}

impl Rename {
    /// The path under its new name.
    fn apply(&self, path: &Path) -> PathBuf {
        if matches!(self.from.as_str(), "." | "/") {
            return Path::new(&self.to).join(path);
        }
        match path.strip_prefix(&self.from) {
            Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from(&self.to),
            Ok(rest) => Path::new(&self.to).join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// Writes chunks for somebody else to read. A reader that is gone is a broken pipe.
pub(super) struct Sender {
    chunks: mpsc::Sender<io::Result<Vec<u8>>>,
    waiting: Vec<u8>,
}

impl Sender {
    pub(super) fn new(chunks: mpsc::Sender<io::Result<Vec<u8>>>) -> Self {
        Self { chunks, waiting: Vec::with_capacity(CHUNK) }
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.waiting, Vec::with_capacity(CHUNK));
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads chunks as they come.
pub(super) struct Receiver {
    chunks: mpsc::Receiver<io::Result<Vec<u8>>>,
    waiting: VecDeque<u8>,
}

impl Receiver {
    pub(super) fn new(chunks: mpsc::Receiver<io::Result<Vec<u8>>>) -> Self {
        Self { chunks, waiting: VecDeque::new() }
    }
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.waiting.is_empty() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.waiting = chunk?.into(),
            }
        }
        self.waiting.read(buffer)
    }
}

/// Packs `base` of `folder`, under the name `name`; of `.`, what is in the folder. Links stay links; sockets and devices
/// are left out.
pub(super) fn pack(to: impl Write, folder: &Path, base: &str, name: &str) -> io::Result<()> {
    let mut builder = Builder::new(to);
    let source = if base == "." { folder.to_owned() } else { folder.join(base) };
    let name = if name == "." || name == "/" { Path::new("") } else { Path::new(name) };
    add(&mut builder, &source, name)?;
    let mut to = builder.into_inner()?;
    to.flush()
}

fn add<W: Write>(builder: &mut Builder<W>, source: &Path, name: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(source)?;
    let mut header = header(&found);
    if found.is_dir() {
        if !name.as_os_str().is_empty() {
            header.set_size(0);
            builder.append_data(&mut header, name, io::empty())?;
        }
        let mut children = fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            add(builder, &child.path(), &name.join(child.file_name()))?;
        }
    } else if found.is_symlink() {
        header.set_size(0);
        builder.append_link(&mut header, name, fs::read_link(source)?)?;
    } else if found.is_file() {
        let file = File::open(source)?;
        // One that grows meanwhile is cut: its size is in the archive already.
        let mut content = file.take(found.len());
        builder.append_data(&mut header, name, &mut content)?;
        if content.limit() > 0 {
            return Err(io::Error::other(format!("`{}` shrank while it was read", source.display())));
        }
    } else if header.entry_type() == EntryType::Fifo {
        header.set_size(0);
        builder.append_data(&mut header, name, io::empty())?;
    }
    Ok(())
}

fn header(found: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(found, HeaderMode::Complete);
    header
}

/// Unpacks into `folder`, which is there. The files become those of whoever runs devctl, as with Docker.
pub(super) fn unpack(from: impl Read, folder: &Path, rename: Option<&Rename>) -> io::Result<()> {
    let root = fs::canonicalize(folder)?;
    let mut archive = Archive::new(from);
    archive.set_preserve_permissions(true);
    // A folder that may not be written to gets its mode once all is in it.
    let mut folders: Vec<(PathBuf, Header)> = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = plain(&entry.path()?)?;
        let path = rename.map_or_else(|| path.clone(), |rename| rename.apply(&path));
        if path.as_os_str().is_empty() {
            continue;
        }
        let target = inside(&root, &path)?;
        let there = fs::symlink_metadata(&target).ok();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            match there {
                Some(found) if found.is_dir() => {}
                Some(_) => return Err(refused(&target, "a file cannot be replaced with a folder")),
                None => fs::create_dir(&target)?,
            }
            folders.push((target, entry.header().clone()));
            continue;
        }
        match there {
            Some(found) if found.is_dir() => return Err(refused(&target, "a folder cannot be replaced with a file")),
            Some(_) => fs::remove_file(&target)?,
            None => {}
        }
        if kind == EntryType::Fifo {
            make_pipe(&target, entry.header().mode()?)?;
        } else if kind.is_character_special() || kind.is_block_special() {
            // A device is of no use outside of its container.
        } else if kind == EntryType::Link {
            let link = entry.link_name()?.ok_or_else(|| refused(&target, "a link without a target"))?;
            let link = plain(&link)?;
            let link = rename.map_or_else(|| link.clone(), |rename| rename.apply(&link));
            fs::hard_link(inside(&root, &link)?, &target)?;
        } else {
            entry.unpack(&target)?;
        }
    }
    // The rest of the stream belongs to whoever sends it, who must not wait for a reader.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    for (target, header) in folders.into_iter().rev() {
        settle(&target, &header)?;
    }
    Ok(())
}

/// Gives a folder the mode and time it has in the archive.
fn settle(folder: &Path, header: &Header) -> io::Result<()> {
    if let Ok(at) = header.mtime()
        && let Ok(opened) = File::open(folder)
    {
        // Not every system lets the time of a folder be set, and nothing depends on it.
        let _ = opened.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(at));
    }
    set_mode(folder, header.mode()?)
}

#[cfg(unix)]
fn set_mode(folder: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777))
}

#[cfg(unix)]
fn make_pipe(target: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    nix::unistd::mkfifo(target, nix::sys::stat::Mode::S_IRUSR)?;
    fs::set_permissions(target, fs::Permissions::from_mode(mode & 0o7777))
}

/// There are no such files here.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn make_pipe(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// The path of an entry without what leads elsewhere.
fn plain(path: &Path) -> io::Result<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refused(path, "the archive wants to leave the folder it is unpacked into"));
            }
        }
    }
    Ok(plain)
}

/// The place of an entry, whose folder is made where it is not there. A link in the archive must not lead out of `root`.
fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let target = root.join(path);
    let parent = target.parent().unwrap_or(root);
    if fs::symlink_metadata(parent).is_err() {
        fs::create_dir_all(parent)?;
    }
    if !fs::canonicalize(parent)?.starts_with(root) {
        return Err(refused(path, "a link in the archive leads out of the folder it is unpacked into"));
    }
    Ok(target)
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("`{}`: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(folder: &Path, base: &str, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(&mut bytes, folder, base, name).unwrap();
        bytes
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    fn tree(folder: &Path) {
        fs::create_dir_all(folder.join("d/sub")).unwrap();
        fs::write(folder.join("d/one"), "1").unwrap();
        fs::write(folder.join("d/sub/two"), "2").unwrap();
    }

    #[test]
    fn a_folder_is_packed_by_its_name_by_another_or_by_what_is_in_it() {
        let temp = tempfile::tempdir().unwrap();
        tree(temp.path());
        for (folder, base, name, expected) in [
            (temp.path().to_owned(), "d", "d", ["d", "d/one", "d/sub", "d/sub/two"].as_slice()),
            (temp.path().to_owned(), "d", "e", &["e", "e/one", "e/sub", "e/sub/two"]),
            (temp.path().join("d"), ".", ".", &["one", "sub", "sub/two"]),
            (temp.path().join("d"), ".", "e", &["e", "e/one", "e/sub", "e/sub/two"]),
            (temp.path().join("d"), "one", "uno", &["uno"]),
        ] {
            assert_eq!(names(&packed(&folder, base, name)), expected, "{base} {name}");
        }
    }

    #[test]
    fn what_was_packed_is_unpacked_by_another_name() {
        let temp = tempfile::tempdir().unwrap();
        tree(temp.path());
        let bytes = packed(temp.path(), "d", "d");
        let to = temp.path().join("to");
        fs::create_dir(&to).unwrap();
        unpack(bytes.as_slice(), &to, Some(&Rename { from: "d".to_owned(), to: "e".to_owned() })).unwrap();
        assert_eq!(fs::read_to_string(to.join("e/sub/two")).unwrap(), "2");
        // Twice is as good as once: what is there is replaced.
        fs::write(to.join("e/one"), "changed").unwrap();
        unpack(bytes.as_slice(), &to, Some(&Rename { from: "d".to_owned(), to: "e".to_owned() })).unwrap();
        assert_eq!(fs::read_to_string(to.join("e/one")).unwrap(), "1");
        let contents = packed(&temp.path().join("d"), ".", ".");
        unpack(contents.as_slice(), &to, Some(&Rename { from: ".".to_owned(), to: "f".to_owned() })).unwrap();
        assert_eq!(fs::read_to_string(to.join("f/one")).unwrap(), "1");
    }

    #[test]
    fn an_archive_stays_in_its_folder() {
        let temp = tempfile::tempdir().unwrap();
        let (to, out) = (temp.path().join("to"), temp.path().join("out"));
        fs::create_dir(&to).unwrap();
        fs::create_dir(&out).unwrap();
        let entry = |builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, link: &str| {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(0);
            // By hand: the builder would not write a name that leads elsewhere.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        };
        let archive = |entries: &[(&str, EntryType, &str)]| {
            let mut builder = Builder::new(Vec::new());
            for (name, kind, link) in entries {
                entry(&mut builder, name, *kind, link);
            }
            builder.into_inner().unwrap()
        };
        let outside = out.display().to_string();
        for entries in [
            &[("../evil", EntryType::Regular, "")][..],
            &[("a/../../evil", EntryType::Regular, "")],
            &[("link", EntryType::Symlink, outside.as_str()), ("link/evil", EntryType::Regular, "")],
            &[("hard", EntryType::Link, "../evil")],
        ] {
            unpack(archive(entries).as_slice(), &to, None).expect_err("it leads out");
            assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "{entries:?}");
            assert!(!temp.path().join("evil").exists(), "{entries:?}");
        }
        // An absolute name is one below the folder.
        unpack(archive(&[("/abs", EntryType::Regular, "")]).as_slice(), &to, None).unwrap();
        assert!(to.join("abs").is_file());
    }

    #[test]
    fn a_file_and_a_folder_do_not_replace_each_other() {
        let temp = tempfile::tempdir().unwrap();
        tree(temp.path());
        let to = temp.path().join("to");
        fs::create_dir_all(to.join("one")).unwrap();
        fs::write(to.join("sub"), "").unwrap();
        for base in ["one", "sub"] {
            let bytes = packed(&temp.path().join("d"), base, base);
            unpack(bytes.as_slice(), &to, None).expect_err(base);
        }
    }
}
