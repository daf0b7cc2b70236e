//! What a file holds, in a few bytes: enough to tell a change from a file that was only touched, or written again as it
//! was.

use std::fs::{self, File, Metadata};
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

/// Larger files are compared by size and time alone.
const LARGEST: u64 = 4 << 20;

/// What is remembered of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Print {
    len: u64,
    modified: Option<SystemTime>,
    /// The hash of what it holds, where it was read.
    content: Option<u64>,
}

impl Print {
    /// What the metadata alone tell.
    pub(super) fn unread(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok(), content: None }
    }

    /// Reads the file. `None` where there is nothing to read: no file, a folder, a pipe.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok().filter(counts)?;
        let mut print = Self::unread(&metadata);
        if metadata.is_symlink() {
            // Where it points to is what it holds. What is there is not followed: it is watched by its own name, if at
            // all.
            let target = fs::read_link(path).ok()?;
            print.content = Some(hash(target.as_os_str().as_encoded_bytes()).ok()?);
        } else if metadata.len() <= LARGEST {
            // A file that may not be read is still compared by its size and time.
            print.content = File::open(path).and_then(hash).ok();
        }
        Some(print)
    }

    /// What is remembered of a file that changed while it was read: it differs from everything.
    pub(super) fn unknown() -> Self {
        Self { len: u64::MAX, modified: None, content: None }
    }

    /// How many bytes are read to know what the file holds.
    pub(super) fn cost(metadata: &Metadata) -> u64 {
        if metadata.len() <= LARGEST { metadata.len() } else { 0 }
    }

    /// Whether both are of the same content, as far as is known.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.len == other.len
            && match (self.content, other.content) {
                (Some(one), Some(other)) => one == other,
                _ => self.modified == other.modified,
            }
    }

    /// Whether the metadata give no reason to read the file again.
    pub(super) fn looks_same(&self, metadata: &Metadata) -> bool {
        self.len == metadata.len() && self.modified == metadata.modified().ok()
    }
}

/// Whether something of that kind can change: a file, or a link.
pub(super) fn counts(metadata: &Metadata) -> bool {
    metadata.is_file() || metadata.is_symlink()
}

fn hash(mut from: impl Read) -> io::Result<u64> {
    // Not a secure hash: nobody gains by a rebuild that does not happen.
    let mut hasher = std::hash::DefaultHasher::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.write(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_and_time_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(Print::read(&path).is_none());
        assert!(Print::read(folder.path()).is_none());
        fs::write(&path, "one").unwrap();
        let one = Print::read(&path).unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(!one.looks_same(&fs::metadata(&path).unwrap()));
        assert!(one.same(&Print::read(&path).unwrap()));
        fs::write(&path, "two").unwrap();
        assert!(!one.same(&Print::read(&path).unwrap()));
    }

    #[test]
    fn a_large_file_is_told_by_its_size_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        let file = File::create(&path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        let one = Print::read(&path).unwrap();
        assert!(one.content.is_none() && one.same(&Print::read(&path).unwrap()));
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(!one.same(&Print::read(&path).unwrap()));
    }
}
