//! Files that are watched by their names, whatever is ignored: the manifest, Compose files, `.env` files. A file that is
//! not there yet is one of them too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::debounce::{Debounce, Noticed};
use super::print::Print;
use super::root;

/// The named files.
#[derive(Debug)]
pub(super) struct NamedFiles {
    files: Vec<NamedFile>,
    debounce: Debounce,
}

#[derive(Debug)]
struct NamedFile {
    given: PathBuf,
    /// Where that name is, by its real folder.
    entry: PathBuf,
    /// Where the file is, links followed.
    real: PathBuf,
    held: Option<Print>,
}

impl NamedFile {
    fn new(given: PathBuf) -> Self {
        let real = root::real(&given);
        let held = Print::read(&real);
        Self { entry: root::entry(&given), given, real, held }
    }

    fn looks_changed(&self) -> bool {
        match (self.held, fs::metadata(&self.given)) {
            (Some(held), Ok(metadata)) => !held.looks_same(&metadata),
            (None, Err(_)) => false,
            (None, Ok(metadata)) => metadata.is_file(),
            (Some(_), Err(_)) => true,
        }
    }
}

impl NamedFiles {
    /// Reads the files as they are.
    pub(super) fn new(files: Vec<PathBuf>, quiet: Duration) -> Self {
        let files = files.into_iter().collect::<BTreeSet<_>>().into_iter();
        Self { files: files.map(NamedFile::new).collect(), debounce: Debounce::new(quiet) }
    }

    /// The names as they were given.
    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.given.as_path())
    }

    /// The folders from which one sees the files change.
    pub(super) fn anchors(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().flat_map(|file| [root::anchor(&file.entry), root::anchor(&file.real)]).flatten()
    }

    /// The system told of a path: one of the files, or a folder on the way to one.
    pub(super) fn on_path(&mut self, path: &Path, now: Instant) {
        if self.files.iter().any(|file| file.entry.starts_with(path) || file.real.starts_with(path)) {
            self.debounce.on(Noticed::Anything, now);
        }
    }

    /// Nobody knows what happened.
    pub(super) fn on_anything(&mut self, now: Instant) {
        self.debounce.on(Noticed::Anything, now);
    }

    /// Looks for changes without having been told of any.
    pub(super) fn look(&mut self, now: Instant) {
        if self.files.iter().any(NamedFile::looks_changed) {
            self.debounce.on(Noticed::Anything, now);
        }
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.debounce.due()
    }

    /// The files that hold something else than before, once it is quiet.
    pub(super) fn settle(&mut self, now: Instant) -> Option<Vec<PathBuf>> {
        self.debounce.take(now)?;
        let mut changed = Vec::new();
        for file in &mut self.files {
            let before = std::mem::replace(file, NamedFile::new(file.given.clone()));
            let same = match (before.held, file.held) {
                (None, None) => true,
                (Some(before), Some(now)) => before.same(&now),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if !same {
                changed.push(file.given.clone());
            }
        }
        Some(changed)
    }
}
