//! One watched path and all below it: which files there are, what they held when they were last looked at, and which of
//! them changed since.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::folders::Folders;
use super::print::{self, Print};
use super::rules::{self, Rules};

/// A watched path; it need not exist.
#[derive(Debug)]
pub(super) struct Root {
    /// As it was named.
    given: PathBuf,
    /// Where that name is: the same, or a link to it. The system tells events by real names.
    entry: PathBuf,
    /// Where it really is.
    path: PathBuf,
    rules: Rules,
    known: BTreeMap<PathBuf, Print>,
}

impl Root {
    /// Prepares to watch a path with the patterns of its service.
    pub(super) fn new(given: &Path, dir: &Path, ignore: &[String]) -> (Self, Vec<ignore::Error>) {
        let path = real(given);
        let (rules, errors) = Rules::new(&path, &real(dir), ignore);
        (Self { given: given.to_owned(), entry: entry(given), path, rules, known: BTreeMap::new() }, errors)
    }

    /// Reads again what is ignored, and takes the files as they are that come to be watched by it.
    pub(super) fn reload(&mut self, dir: &Path, ignore: &[String], folders: &mut Folders) -> Vec<notify::Error> {
        self.rules = Rules::new(&self.path, &real(dir), ignore).0;
        let mut known = std::mem::take(&mut self.known);
        let mut found = Vec::new();
        let errors = self.scan(&self.path.clone(), folders, &mut |path, metadata| {
            let print = known.remove(&path).or_else(|| Print::read(&path)).unwrap_or_else(|| Print::unread(metadata));
            found.push((path, print));
        });
        self.known.extend(found);
        // What is gone is told later, by its own event; what is ignored now, never.
        for (path, print) in known {
            if !self.rules.ignored(&path, false) {
                self.known.insert(path, print);
            }
        }
        errors
    }

    /// Watches all folders, and takes the files as they are, unread.
    pub(super) fn arm(&mut self, folders: &mut Folders) -> Vec<notify::Error> {
        let mut found = Vec::new();
        let errors = self.scan(&self.path.clone(), folders, &mut |path, metadata| {
            found.push((path, Print::unread(metadata)));
        });
        self.known.extend(found);
        errors
    }

    /// Reads what the files hold, as far as `budget` bytes reach. Those beyond are compared by size and time at first.
    pub(super) fn read(&mut self, budget: &mut u64) {
        for (path, known) in &mut self.known {
            let Ok(metadata) = fs::symlink_metadata(path) else { continue };
            let cost = Print::cost(&metadata);
            // What no longer looks as it did is a change that was not told yet.
            if cost <= *budget && known.looks_same(&metadata) {
                *budget -= cost;
                if let Some(print) = Print::read(path).filter(|print| print.looks_same(&metadata)) {
                    *known = print;
                }
            }
        }
    }

    /// Something happened to the file while it was first read: whatever was read may be what came of it.
    pub(super) fn distrust(&mut self, path: &Path) {
        if let Some(known) = self.known.get_mut(path) {
            *known = Print::unknown();
        }
    }

    /// The folders and links that lead to the path, each by both of its names.
    pub(super) fn leads_through(&self, path: &Path) -> bool {
        self.path.starts_with(path) || self.entry.starts_with(path)
    }

    /// Whether the path is below this one.
    pub(super) fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.path)
    }

    /// Whether a folder is one to watch.
    pub(super) fn wants(&mut self, folder: &Path) -> bool {
        self.holds(folder) && !self.rules.ignored(folder, true)
    }

    /// The two names of the watched path.
    pub(super) fn names(&self) -> [&Path; 2] {
        [&self.entry, &self.path]
    }

    /// Whether `path` is a file that says what is ignored here.
    pub(super) fn is_ruled_by(&mut self, path: &Path) -> bool {
        let Some(folder) = path.parent() else { return false };
        rules::is_rule(path) && (self.path.starts_with(folder) || self.wants(folder))
    }

    /// Whether the path is there and was not there when it was last looked at.
    pub(super) fn has_appeared(&self, folders: &Folders) -> bool {
        match fs::metadata(&self.entry) {
            Ok(metadata) if metadata.is_dir() => folders.tells() && !folders.has(&self.path),
            Ok(_) => !self.known.contains_key(&self.path),
            Err(_) => false,
        }
    }

    /// The path may be another place now, or be there again: watches it anew.
    pub(super) fn find_again(&mut self, dir: &Path, ignore: &[String], folders: &mut Folders) -> Vec<notify::Error> {
        let path = real(&self.given);
        if path != self.path {
            (*self, _) = Self::new(&self.given.clone(), dir, ignore);
        }
        self.scan(&self.path.clone(), folders, &mut |_, _| {})
    }

    /// The files that may have changed with an event of `path`: the file itself, or all of a folder that came or went.
    pub(super) fn touched(&mut self, path: &Path, folders: &mut Folders) -> (Vec<PathBuf>, Vec<notify::Error>) {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let mut files = self.below(path);
                if self.rules.ignored(path, true) {
                    return (files, Vec::new());
                }
                let errors = self.scan(path, folders, &mut |path, _| files.push(path));
                (files, errors)
            }
            Ok(metadata) if print::counts(&metadata) && !self.rules.ignored(path, false) => {
                (vec![path.to_owned()], Vec::new())
            }
            // A pipe, an ignored file.
            Ok(_) => (Vec::new(), Vec::new()),
            // What was never known and is gone already was of no interest: an editor's temporary file, most often.
            Err(_) => (self.below(path), Vec::new()),
        }
    }

    /// The known files at and below a path.
    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let range = self.known.range(path.to_owned()..).map(|(known, _)| known);
        range.take_while(|known| known.starts_with(path)).cloned().collect()
    }

    /// Whether the file holds something else than when it was last looked at.
    pub(super) fn changed(&mut self, path: &Path) -> bool {
        let now = if self.rules.ignored(path, false) { None } else { Print::read(path) };
        match (self.known.get(path), now) {
            (None, None) => false,
            (Some(_), None) => {
                self.known.remove(path);
                true
            }
            (before, Some(now)) => {
                let changed = before.is_none_or(|before| !before.same(&now));
                self.known.insert(path.to_owned(), now);
                changed
            }
        }
    }

    /// Looks at everything, and gives back what changed. Files are read only where size or time differ.
    pub(super) fn all_changed(&mut self, folders: &mut Folders) -> (Vec<PathBuf>, Vec<notify::Error>) {
        let (suspects, errors) = self.differing(folders);
        (suspects.into_iter().filter(|path| self.changed(path)).collect(), errors)
    }

    /// The files that look as if they had changed, and those that say what is ignored, where nothing tells of changes.
    pub(super) fn suspects(
        &mut self,
        dir: &Path,
        ignore: &[String],
        folders: &mut Folders,
    ) -> (Vec<PathBuf>, Vec<notify::Error>) {
        // Ignore files are read again each time: that costs less than to keep track of all of them.
        self.path = real(&self.given);
        self.rules = Rules::new(&self.path, &real(dir), ignore).0;
        self.differing(folders)
    }

    /// The files that are new, gone, or differ in size or time.
    fn differing(&mut self, folders: &mut Folders) -> (Vec<PathBuf>, Vec<notify::Error>) {
        let known = std::mem::take(&mut self.known);
        let (mut seen, mut suspects) = (HashSet::new(), Vec::new());
        let errors = self.scan(&self.path.clone(), folders, &mut |path, metadata| match known.get_key_value(&path) {
            Some((path, print)) => {
                seen.insert(path.as_path());
                if !print.looks_same(metadata) {
                    suspects.push(path.clone());
                }
            }
            None => suspects.push(path),
        });
        let unseen = known.keys().filter(|path| !seen.contains(path.as_path()));
        suspects.extend(unseen.filter(|path| fs::symlink_metadata(path).is_err()).cloned());
        self.known = known;
        (suspects, errors)
    }

    /// The name of a file as the user would write it.
    pub(super) fn as_given(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.path) {
            Ok(rest) if rest.as_os_str().is_empty() => self.given.clone(),
            Ok(rest) => self.given.join(rest),
            Err(_) => path.to_owned(),
        }
    }

    /// Visits all files at and below `from` that are not ignored, in order, and watches the folders on the way. A folder
    /// is watched before it is read, so that what comes into it meanwhile is seen by one of the two.
    fn scan(
        &mut self,
        from: &Path,
        folders: &mut Folders,
        file: &mut dyn FnMut(PathBuf, &Metadata),
    ) -> Vec<notify::Error> {
        let mut errors = Vec::new();
        // The named path itself may be a link; those below are not followed.
        if let Ok(metadata) = fs::symlink_metadata(from) {
            self.visit(from.to_owned(), &metadata, folders, file, &mut errors);
        }
        errors
    }

    fn visit(
        &mut self,
        path: PathBuf,
        metadata: &Metadata,
        folders: &mut Folders,
        file: &mut dyn FnMut(PathBuf, &Metadata),
        errors: &mut Vec<notify::Error>,
    ) {
        if !metadata.is_dir() {
            if print::counts(metadata) && !rules::is_rule(&path) {
                file(path, metadata);
            }
            return;
        }
        let watched = if path == self.path { folders.watch_tree(&path) } else { Ok(()) };
        errors.extend(watched.and_then(|()| folders.watch_inner(&path)).err());
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return errors.push(notify::Error::io(error).add_path(path)),
        };
        let mut entries: Vec<(PathBuf, Metadata)> =
            entries.flatten().filter_map(|entry| Some((entry.path(), entry.metadata().ok()?))).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (path, metadata) in entries {
            if !self.rules.ignored(&path, metadata.is_dir()) {
                self.visit(path, &metadata, folders, file, errors);
            }
        }
    }
}

/// Where a path really is: links are followed as far as it exists.
pub(super) fn real(path: &Path) -> PathBuf {
    for (folder, depth) in path.ancestors().zip(0..) {
        if let Ok(mut real) = fs::canonicalize(folder) {
            let rest: Vec<_> = path.components().collect();
            real.extend(&rest[rest.len() - depth..]);
            return real;
        }
    }
    path.to_owned()
}

/// The name of a path itself, by its real folder: a link is not followed.
pub(super) fn entry(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => real(folder).join(name),
        (_, None) | (None, _) => real(path),
    }
}

/// The nearest folder above a path that is there.
pub(super) fn anchor(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|folder| folder.is_dir()).and_then(|folder| fs::canonicalize(folder).ok())
}
