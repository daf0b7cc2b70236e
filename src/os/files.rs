//! Files, for the rooms that must not touch them otherwise.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Reads a text file.
pub fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

/// Reads a file.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// The path with the first symbolic link on it followed to its end, as Compose does it with watched paths. `None` where
/// no part of it is a link.
pub fn follow_first_link(path: &Path) -> Option<PathBuf> {
    let mut parts = path.components();
    let mut so_far = PathBuf::new();
    while let Some(part) = parts.next() {
        so_far.push(part);
        if so_far.is_symlink() {
            return Some(fs::canonicalize(&so_far).ok()?.join(parts.as_path()));
        }
    }
    None
}

/// Whether there is a file of that name.
pub fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// Whether there is a folder of that name.
pub fn is_dir(path: &Path) -> bool {
    path.is_dir()
}

/// Whether there is anything of that name.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// The one path of what is there, without links in it; `None` where nothing is.
pub fn canonical(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// Replaces a file in one step: readers see the old text or the new one. `private` files are readable by their owner
/// alone (0600).
pub fn write_atomic(path: &Path, text: &str, private: bool) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temp = tempfile::NamedTempFile::new_in(folder)?;
    temp.write_all(text.as_bytes())?;
    if !private {
        make_shared(temp.as_file())?;
    }
    temp.persist(path)?;
    Ok(())
}

/// Gives a new file the rights that most files have; `tempfile` makes them 0600.
#[cfg(unix)]
fn make_shared(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn make_shared(_: &fs::File) -> io::Result<()> {
    Ok(())
}
