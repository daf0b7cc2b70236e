//! Where the project is, for the commands that need no more of it than that.

use std::path::{Path, PathBuf};

use crate::advice::Blame;
use crate::error::Error;
use crate::os::files;

/// The folder of `devctl.toml`: `start` or the nearest one above it.
pub(super) fn root(start: &Path) -> Result<PathBuf, Error> {
    start.ancestors().find(|folder| files::is_file(&folder.join("devctl.toml"))).map(Path::to_owned).ok_or_else(|| {
        Error::new(
            Blame::Configuration,
            format!("there is no devctl.toml in `{}` or in any folder above", start.display()),
        )
        .hint("change to a folder of the project, or name one with `-C DIR`")
    })
}

/// The folder of a project's log files.
pub(super) fn logs(root: &Path) -> PathBuf {
    root.join(".devctl").join("logs")
}
