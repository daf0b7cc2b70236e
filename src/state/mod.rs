//! `.devctl/`: who holds the project, what a run started, where logs and data live.

pub mod guardian_log;
pub mod last_run;
pub mod lock;
pub mod record;
pub mod record_writer;

use std::path::{Path, PathBuf};

/// The folder of a project in which devctl keeps its state.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The state folder of the project in `root`. Nothing is made yet.
    pub fn of(root: &Path) -> Self {
        Self(root.join(".devctl"))
    }

    /// That of the nearest folder, from `start` upwards, in which a run wrote down what it started.
    pub fn around(start: &Path) -> Option<Self> {
        start.ancestors().map(Self::of).find(|state| state.file("run.json").is_file())
    }

    /// Makes the folder, with a `.gitignore` that keeps it out of the project's history.
    pub fn make(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        let ignore = self.0.join(".gitignore");
        // It is empty where the disk was full.
        if !ignore.metadata().is_ok_and(|meta| meta.len() > 0) {
            std::fs::write(ignore, "*\n")?;
        }
        Ok(())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The project it belongs to.
    pub fn root(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }

    /// Where the logs of the services are.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Where embedded servers keep their data.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
