//! Files with secrets in them: made once, readable by their owner alone, never written over. On Windows who reads
//! them is inherited from the folder; a folder below the user's own is theirs alone.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

/// Who can read such a file, for messages: its mode, or nothing where there are no modes and the folder decides.
pub const RIGHTS: &str = if cfg!(unix) { " (0600)" } else { "" };

/// Makes a file of mode 0600 with `text` in it. Answers `false` where there is something of that name already, a
/// dangling link among them, and leaves that alone.
///
/// The text is complete before the name exists: of two that make the file at once, one wins and nobody reads half of it.
pub fn create(path: &Path, text: &str) -> io::Result<bool> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // `tempfile` makes its files 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => plain(path, text, error.error),
    }
}

/// Some file systems know neither hard links nor a rename that refuses: there the name is taken first and filled after.
fn plain(path: &Path, text: &str, first: io::Error) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => Err(first),
    }
}

/// Whether there is anything of that name, a dangling link among them.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
