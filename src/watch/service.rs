//! One watched service: what may have changed, what did, and whether it may be told now.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::debounce::{Burst, Debounce, Noticed};
use super::flap::{Flap, Verdict};
use super::folders::Folders;
use super::root::{self, Root};
use super::{Change, NAMED, Watched, trouble};

/// How many changed files are kept by name until they are told.
const KEPT: usize = 4096;

/// A watched service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) watched: Watched,
    roots: Vec<Root>,
    debounce: Debounce,
    flap: Flap,
    /// What changed and was not told yet, as the user would write it, and since when.
    changed: BTreeSet<PathBuf>,
    since: Option<Instant>,
    /// Changes beyond those that are kept by name.
    beyond: usize,
    paused: bool,
    /// When the last pause ended.
    resumed: Option<Instant>,
    held: Option<Instant>,
}

/// What a look at the files was good for.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) changes: Vec<Change>,
    pub(super) errors: Vec<notify::Error>,
    /// Folders that were watched may have come to be ignored.
    pub(super) ruled: bool,
}

impl Service {
    /// Prepares to watch; nothing is looked at yet.
    pub(super) fn new(watched: Watched) -> (Self, Vec<Change>) {
        let mut wrong = Vec::new();
        let paths: BTreeSet<PathBuf> =
            watched.paths.iter().chain(&watched.written_by_build).map(|path| watched.dir.join(path)).collect();
        let roots = paths.iter().map(|path| {
            let (root, errors) = Root::new(path, &watched.dir, &watched.ignore);
            // The same patterns go to each of them.
            wrong = errors;
            root
        });
        let roots = roots.collect();
        let wrong = wrong.iter().map(|error| trouble::pattern(&watched.service, error)).collect();
        let service = Self {
            debounce: Debounce::new(watched.debounce),
            watched,
            roots,
            flap: Flap::default(),
            changed: BTreeSet::new(),
            since: None,
            beyond: 0,
            paused: false,
            resumed: None,
            held: None,
        };
        (service, wrong)
    }

    /// Watches all folders and takes the files as they are.
    pub(super) fn arm(&mut self, folders: &mut Folders) -> Vec<notify::Error> {
        self.roots.iter_mut().flat_map(|root| root.arm(folders)).collect()
    }

    /// Reads what the files hold.
    pub(super) fn read(&mut self, budget: &mut u64) {
        for root in &mut self.roots {
            root.read(budget);
        }
    }

    /// Something happened to the file before it was first read.
    pub(super) fn distrust(&mut self, path: &Path) {
        for root in &mut self.roots {
            root.distrust(path);
        }
    }

    /// The folders from which one sees the watched paths come and go.
    pub(super) fn anchors(&self) -> impl Iterator<Item = PathBuf> {
        self.roots.iter().flat_map(|root| root.names().map(root::anchor)).flatten()
    }

    /// Whether a folder has to be watched.
    pub(super) fn wants(&mut self, folder: &Path) -> bool {
        self.roots.iter_mut().any(|root| root.wants(folder))
    }

    /// The system told of a path.
    pub(super) fn on_path(&mut self, path: &Path, folders: &mut Folders, now: Instant) -> Vec<notify::Error> {
        let mut errors = Vec::new();
        for root in &mut self.roots {
            if root.is_ruled_by(path) {
                self.debounce.on(Noticed::Rules, now);
            } else if root.leads_through(path) {
                errors.extend(root.find_again(&self.watched.dir, &self.watched.ignore, folders));
                self.debounce.on(Noticed::Anything, now);
            } else if root.holds(path) {
                let (files, wrong) = root.touched(path, folders);
                errors.extend(wrong);
                for file in files {
                    self.debounce.on(Noticed::File(file), now);
                }
            }
        }
        errors
    }

    /// Nobody knows what happened.
    pub(super) fn on_anything(&mut self, now: Instant) {
        self.debounce.on(Noticed::Anything, now);
    }

    /// Watched paths may have appeared unseen, before the folder they are in was watched.
    pub(super) fn find_appeared(&mut self, folders: &mut Folders, now: Instant) -> Vec<notify::Error> {
        let Watched { dir, ignore, .. } = &self.watched;
        let mut errors = Vec::new();
        for root in &mut self.roots {
            if root.has_appeared(folders) {
                errors.extend(root.find_again(dir, ignore, folders));
                self.debounce.on(Noticed::Anything, now);
            }
        }
        errors
    }

    /// The system tells nothing of the folders watched so far: watches all of them anew.
    pub(super) fn find_again(&mut self, folders: &mut Folders) -> Vec<notify::Error> {
        let Watched { dir, ignore, .. } = &self.watched;
        self.roots.iter_mut().flat_map(|root| root.find_again(dir, ignore, folders)).collect()
    }

    /// Looks for changes without having been told of any.
    pub(super) fn poll(&mut self, folders: &mut Folders, now: Instant) -> Vec<notify::Error> {
        let mut errors = Vec::new();
        for root in &mut self.roots {
            let (files, wrong) = root.suspects(&self.watched.dir, &self.watched.ignore, folders);
            errors.extend(wrong);
            for file in files {
                self.debounce.on(Noticed::File(file), now);
            }
        }
        errors
    }

    /// A restart begins: changes are gathered and not told.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.flap.on_restarting();
    }

    /// The restart is over.
    pub(super) fn resume(&mut self, now: Instant) {
        if self.paused {
            self.paused = false;
            self.resumed = Some(now);
            self.flap.on_restarted(now);
        }
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        // A pause of the guard ends in the midst of a burst: with that.
        self.debounce.due().or(self.held.filter(|_| !self.paused && self.since.is_some()))
    }

    /// Looks at what may have changed, once it is quiet, and tells what did, unless it has to wait.
    pub(super) fn settle(&mut self, folders: &mut Folders, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let mut fresh = false;
        if let Some(burst) = self.debounce.take(now) {
            outcome.ruled = burst.rules;
            fresh = self.look(&burst, folders, &mut outcome.errors);
        }
        // What goes on right now is told with the rest: one restart instead of two.
        let Some(since) = self.since.filter(|_| !self.paused && self.debounce.due().is_none()) else { return outcome };
        if !fresh && self.held.is_some_and(|until| now < until) {
            return outcome;
        }
        match self.flap.on_change(&self.changed, since, now) {
            Verdict::Tell => {
                self.held = None;
                self.since = None;
                let changed = std::mem::take(&mut self.changed);
                let more = changed.len().saturating_sub(NAMED) + std::mem::take(&mut self.beyond);
                let paths = changed.into_iter().take(NAMED).collect();
                outcome.changes.push(Change::Service { service: self.watched.service.clone(), paths, more });
            }
            Verdict::Hold { until, restarts, news } => {
                self.held = Some(until);
                if news {
                    outcome.changes.push(trouble::flapping(&self.watched, &self.changed, restarts, until - now));
                }
            }
        }
        outcome
    }

    /// Compares the files of a burst with what they held; answers whether any changed.
    fn look(&mut self, burst: &Burst, folders: &mut Folders, errors: &mut Vec<notify::Error>) -> bool {
        let during_restart = self.paused || self.resumed.is_some_and(|at| burst.first <= at);
        let by_build: Vec<PathBuf> = if during_restart {
            self.watched.written_by_build.iter().map(|path| self.watched.dir.join(path)).collect()
        } else {
            Vec::new()
        };
        let mut any = false;
        for root in &mut self.roots {
            if burst.rules {
                errors.extend(root.reload(&self.watched.dir, &self.watched.ignore, folders));
            }
            let changed = if burst.anything {
                let (changed, wrong) = root.all_changed(folders);
                errors.extend(wrong);
                changed
            } else {
                burst.files.iter().filter(|path| root.holds(path) && root.changed(path)).cloned().collect()
            };
            for path in changed.iter().map(|path| root.as_given(path)).filter(|path| !by_build.contains(path)) {
                any = true;
                if self.changed.len() < KEPT {
                    self.changed.insert(path);
                } else if !self.changed.contains(&path) {
                    self.beyond += 1;
                }
            }
        }
        if any {
            self.since.get_or_insert(burst.first);
        }
        any
    }
}
