//! The door to the system's own notifications. Where it watches folder by folder (Linux), only folders that count are
//! watched: one watch for each folder of `node_modules` would use up what the system allows to a user. Where it watches
//! whole trees (macOS, Windows), the trees are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind, Flag, ModifyKind, RenameMode};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher, WatcherKind};

use super::inbox::Inbox;

/// The folders that are watched.
pub(super) struct Folders {
    /// `None` where the files are looked at now and then instead.
    system: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
}

impl Folders {
    /// Opens the door; events go to the inbox.
    pub(super) fn open<O: Send + 'static>(inbox: Arc<Inbox<O>>) -> notify::Result<Self> {
        let told = move |event| deliver(&inbox, event);
        let system = RecommendedWatcher::new(told, Config::default().with_follow_symlinks(false))?;
        Ok(Self { system: Some(system), watched: HashSet::new() })
    }

    /// No door: nothing is ever told.
    pub(super) fn none() -> Self {
        Self { system: None, watched: HashSet::new() }
    }

    /// Whether the system tells anything at all.
    pub(super) fn tells(&self) -> bool {
        self.system.is_some()
    }

    /// Whether a folder is watched.
    pub(super) fn has(&self, folder: &Path) -> bool {
        self.watched.contains(folder)
    }

    /// Watches what is right inside a folder. One that is gone again is no error: its parent tells.
    pub(super) fn watch(&mut self, folder: &Path) -> notify::Result<()> {
        self.add(folder, RecursiveMode::NonRecursive)
    }

    /// Watches a folder of a tree, where folders are watched one by one.
    pub(super) fn watch_inner(&mut self, folder: &Path) -> notify::Result<()> {
        if one_by_one() { self.add(folder, RecursiveMode::NonRecursive) } else { Ok(()) }
    }

    /// Watches a whole tree, where that can be done at once.
    pub(super) fn watch_tree(&mut self, root: &Path) -> notify::Result<()> {
        if one_by_one() { Ok(()) } else { self.add(root, RecursiveMode::Recursive) }
    }

    fn add(&mut self, path: &Path, mode: RecursiveMode) -> notify::Result<()> {
        let Some(system) = &mut self.system else { return Ok(()) };
        if self.watched.contains(path) {
            return Ok(());
        }
        match system.watch(path, mode) {
            Ok(()) => {
                self.watched.insert(path.to_owned());
                Ok(())
            }
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A folder is gone, with all in it; one of the same name is another.
    pub(super) fn forget(&mut self, gone: &Path) {
        // Nearly all that goes away are files.
        if self.watched.contains(gone) {
            self.retain(|folder| !folder.starts_with(gone));
        }
    }

    /// Watches no more what `wanted` refuses.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&Path) -> bool) {
        let Some(system) = &mut self.system else { return };
        self.watched.retain(|folder| {
            let keep = wanted(folder);
            if !keep {
                // Most often the system has dropped the watch already. After a rename it has not, and would go on under
                // the old name.
                let _ = system.unwatch(folder);
            }
            keep
        });
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Whether this system watches folders one by one.
pub(super) fn one_by_one() -> bool {
    RecommendedWatcher::kind() == WatcherKind::Inotify
}

/// Runs in the system's own thread: leaves out what changes no content, and keeps the rest for ours.
fn deliver<O>(inbox: &Inbox<O>, event: notify::Result<Event>) {
    let event = match event {
        Ok(event) => event,
        Err(error) => return inbox.error(error),
    };
    if event.flag() == Some(Flag::Rescan) {
        return inbox.lost();
    }
    let gone = match event.kind {
        // A file that was mapped into memory and written there tells by its close alone.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => return,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From | RenameMode::Any)) => true,
        // Both paths came before, each by itself, where the system tells of both.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => {
            for (n, path) in event.paths.into_iter().enumerate() {
                inbox.path(path, n == 0);
            }
            return;
        }
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => false,
    };
    for path in event.paths {
        inbox.path(path, gone);
    }
}
