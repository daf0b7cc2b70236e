//! Notices changes of files: of the sources that a service is watched for, and of the files that describe the project.
//! Knows nothing of builds and restarts; whoever is told of a change decides what follows.
//!
//! What counts as a change, and what does not:
//!
//! - Content counts. A file that is touched, gets other rights, or is written again as it was, is no change; to build
//!   again without a change there is `devctl restart`. So a `git checkout` there and back, or a formatter that finds
//!   nothing to do, restarts nothing.
//! - A burst is told once, after 300 ms of quiet ([`Watched::debounce`]), and 2 s after its first change at the latest.
//! - What is ignored does not count: the patterns of the service, `.gitignore`, `.ignore`, `.devctlignore`, build output,
//!   caches, and what editors write beside a file (rules.rs). A path that is named in `watch` is watched though an
//!   ignore file names it.
//! - Paths need not exist: they are found when they appear, and found again after they were removed or replaced. A link
//!   that is named in `watch` is followed. Links below a watched path are not: that they point elsewhere is a change,
//!   what happens there is none.
//! - A program that Cargo builds is made of more than its `src`: [`Watched::cargo`] adds `Cargo.toml`, `build.rs`, the
//!   toolchain, and `Cargo.lock`, where a change during the build is the build's own.
//! - While a service is paused ([`Watcher::pause`]), its changes are gathered, and told after.
//! - A service that changes its own files is caught and paused for a growing while (flap.rs).

mod debounce;
mod flap;
mod folders;
mod inbox;
mod named;
mod print;
mod root;
mod rules;
mod service;
mod trouble;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::inbox::Inbox;
use self::watching::{Order, Watching};
use crate::advice::{Advice, Blame};
use crate::name::ServiceName;

/// How long it is quiet before a change is told, where nothing else is said.
pub const DEBOUNCE: Duration = Duration::from_millis(300);

/// How many files a change names.
const NAMED: usize = 20;

/// What one service is watched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The service.
    pub service: ServiceName,
    /// Its folder: paths are relative to it, and so are patterns that begin with `/`.
    pub dir: PathBuf,
    /// Files and folders, with all below them.
    pub paths: Vec<PathBuf>,
    /// What of them does not count, as in a `.gitignore`.
    pub ignore: Vec<String>,
    /// How long it is quiet before a change is told.
    pub debounce: Duration,
    /// Files that are watched too, and that the service's own build writes: what happens to them while the service is
    /// paused is no change.
    pub written_by_build: Vec<PathBuf>,
}

impl Watched {
    /// Watches paths of a service, relative to its folder.
    pub fn new(service: ServiceName, dir: impl Into<PathBuf>, paths: Vec<PathBuf>) -> Self {
        let (dir, ignore, written_by_build) = (dir.into(), Vec::new(), Vec::new());
        Self { service, dir, paths, ignore, debounce: DEBOUNCE, written_by_build }
    }

    /// Adds what decides about the build of a Rust program beside its sources. Whoever watches `src` means the program,
    /// and a new dependency changes it as much as a new line.
    ///
    /// Sources of other packages that the program is made of are not found: they are named in `watch`.
    #[must_use]
    pub fn cargo(mut self) -> Self {
        if self.paths.is_empty() {
            return self;
        }
        // The lock file is at the top of the workspace.
        let locked = self.dir.ancestors().take(8).find(|folder| folder.join("Cargo.lock").is_file());
        let mut folders = vec![self.dir.clone()];
        folders.extend(locked.filter(|top| *top != self.dir).map(Path::to_owned));
        for folder in folders {
            for file in ["Cargo.toml", "build.rs", ".cargo/config.toml", "rust-toolchain.toml", "rust-toolchain"] {
                self.paths.push(folder.join(file));
            }
            self.written_by_build.push(folder.join("Cargo.lock"));
        }
        self
    }
}

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The system tells; where it does not, files are looked at now and then.
    Notified,
    /// Files are looked at now and then: for file systems whose changes are made by another machine.
    Polling {
        /// How often.
        every: Duration,
    },
}

/// What the watcher has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Files of a service changed, were made or removed.
    Service {
        /// The service.
        service: ServiceName,
        /// Some of the files, as the paths were given.
        paths: Vec<PathBuf>,
        /// How many more there are.
        more: usize,
    },
    /// Files that describe the project changed, were made or removed.
    Manifest {
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// Watching does not go as it should. It goes on as well as it can.
    Trouble {
        /// The service, where it is about one.
        service: Option<ServiceName>,
        /// What is wrong, in one line.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
}

/// Why watching did not even begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread that watches files")]
pub struct Error {
    #[source]
    source: std::io::Error,
}

impl Advice for Error {
    fn blame(&self) -> Blame {
        Blame::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec!["the system has no thread left: look at `ulimit -u`".to_owned()]
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    inbox: Arc<Inbox<Order>>,
    changes: mpsc::Receiver<Change>,
    ended: bool,
}

impl Watcher {
    /// Watches services, and the files that describe the project. Every change after the return is noticed; so this comes
    /// before the first build.
    pub async fn start(watched: Vec<Watched>, manifest_files: Vec<PathBuf>, how: How) -> Result<Self, Error> {
        let inbox = Arc::new(Inbox::default());
        // Changes that nobody takes are gathered by the thread: it waits, and its own memory is bounded.
        let (tell, changes) = mpsc::channel(16);
        let watching = Watching::new(Arc::clone(&inbox), tell, how);
        std::thread::Builder::new()
            .name("devctl-watch".to_owned())
            .spawn(move || watching.run())
            .map_err(|source| Error { source })?;
        let watcher = Self { inbox, changes, ended: false };
        watcher.watch(watched, manifest_files).await;
        Ok(watcher)
    }

    /// Watches these from now on. Services that are watched already, and in the same way, lose nothing.
    pub async fn watch(&self, watched: Vec<Watched>, manifest_files: Vec<PathBuf>) {
        let (armed, is_armed) = oneshot::channel();
        self.inbox.order(Order::Watch { watched, files: manifest_files, armed });
        // Without an answer the thread has ended, and `next` says so.
        let _ = is_armed.await;
    }

    /// The next change. Nothing is lost where the future is dropped.
    pub async fn next(&mut self) -> Change {
        if !self.ended {
            if let Some(change) = self.changes.recv().await {
                return change;
            }
            self.ended = true;
            return trouble::ended();
        }
        std::future::pending().await
    }

    /// A build or restart of the service begins: its changes are gathered until [`Watcher::resume`].
    pub fn pause(&self, service: &ServiceName) {
        self.inbox.order(Order::Pause(service.clone()));
    }

    /// The restart of the service is over, or it will not come.
    pub fn resume(&self, service: &ServiceName) {
        self.inbox.order(Order::Resume(service.clone()));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
