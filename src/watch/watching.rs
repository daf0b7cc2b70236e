//! The one thread that watches: it takes what the system and devctl tell it, looks at files, and tells changes. It
//! sleeps until something happens.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::folders::Folders;
use super::inbox::{Inbox, Mail};
use super::named::NamedFiles;
use super::service::{Outcome, Service};
use super::{Change, DEBOUNCE, How, Watched, trouble};
use crate::name::ServiceName;
use crate::os::clock;

/// How many bytes are read at the start, to tell later what was only written again. What lies beyond is compared by size
/// and time.
const READ: u64 = 64 << 20;

/// How long to wait between looks at all files, where the system does not tell of changes; or so many times as long as a
/// look takes.
const POLL: (Duration, u32) = (Duration::from_secs(1), 50);

/// What the rest of devctl asks for.
#[derive(Debug)]
pub(super) enum Order {
    Pause(ServiceName),
    Resume(ServiceName),
    Watch { watched: Vec<Watched>, files: Vec<PathBuf>, armed: oneshot::Sender<()> },
}

/// The thread's state.
pub(super) struct Watching {
    inbox: Arc<Inbox<Order>>,
    tell: mpsc::Sender<Change>,
    how: How,
    folders: Folders,
    services: Vec<Service>,
    files: NamedFiles,
    /// Where files are looked at now and then: when next, and how often.
    poll: Option<(Instant, Duration)>,
    /// Folders that were complained about.
    said: HashSet<PathBuf>,
}

impl Watching {
    pub(super) fn new(inbox: Arc<Inbox<Order>>, tell: mpsc::Sender<Change>, how: How) -> Self {
        let files = NamedFiles::new(Vec::new(), DEBOUNCE);
        let (folders, poll) = (Folders::none(), None);
        Self { inbox, tell, how, folders, services: Vec::new(), files, poll, said: HashSet::new() }
    }

    /// Watches until nobody listens any more.
    pub(super) fn run(mut self) {
        self.open();
        while let Some(mail) = self.inbox.take(self.due()) {
            if self.on_mail(mail).is_none() {
                return;
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let services = self.services.iter().filter_map(Service::due);
        services.chain(self.files.due()).chain(self.poll.map(|(at, _)| at)).min()
    }

    /// One round. `None` once nobody listens any more.
    fn on_mail(&mut self, mail: Mail<Order>) -> Option<()> {
        let now = clock::now();
        self.on_events(&mail, now)?;
        for order in mail.orders {
            match order {
                Order::Pause(name) => self.of(&name).for_each(Service::pause),
                Order::Resume(name) => self.of(&name).for_each(|service| service.resume(now)),
                Order::Watch { watched, files, armed } => self.watch(watched, files, armed)?,
            }
        }
        if let Some((at, every)) = self.poll.filter(|(at, _)| *at <= now) {
            self.look_at_all(at, every)?;
        }
        for at in 0..self.services.len() {
            let Outcome { changes, errors, ruled } = self.services[at].settle(&mut self.folders, clock::now());
            self.on_errors(errors)?;
            if ruled {
                self.drop_unwanted();
            }
            for change in changes {
                self.say(change)?;
            }
        }
        if let Some(paths) = self.files.settle(clock::now()) {
            // A link may point to another folder now.
            let errors = self.watch_anchors(clock::now());
            self.on_errors(errors)?;
            if !paths.is_empty() {
                self.say(Change::Manifest { paths })?;
            }
        }
        Some(())
    }

    fn of(&mut self, name: &ServiceName) -> impl Iterator<Item = &mut Service> {
        self.services.iter_mut().filter(move |service| service.watched.service == *name)
    }

    fn on_events(&mut self, mail: &Mail<Order>, now: Instant) -> Option<()> {
        let mut errors = Vec::new();
        // First what is gone: a folder that is there again is another, and not watched yet.
        for (path, _) in mail.paths.iter().filter(|(_, gone)| **gone) {
            self.folders.forget(path);
        }
        for path in mail.paths.keys() {
            self.files.on_path(path, now);
            for service in &mut self.services {
                errors.extend(service.on_path(path, &mut self.folders, now));
            }
        }
        if mail.lost {
            // Folders may have come and gone unheard: which watches still hold is anybody's guess.
            if self.folders.tells() {
                self.open();
            }
            for service in &mut self.services {
                service.on_anything(now);
            }
            self.files.on_anything(now);
            for service in &mut self.services {
                errors.extend(service.find_again(&mut self.folders));
            }
        }
        if mail.lost || !mail.paths.is_empty() {
            errors.extend(self.watch_anchors(now));
        }
        for error in &mail.errors {
            if trouble::is_exhausted(error) {
                self.fall_back(error)?;
            }
        }
        self.on_errors(errors)
    }

    /// Opens the door to the system's notifications, or looks at the files instead.
    fn open(&mut self) {
        if let How::Polling { every } = self.how {
            self.poll = Some((clock::now() + every, every));
            return;
        }
        match Folders::open(Arc::clone(&self.inbox)) {
            Ok(folders) => self.folders = folders,
            Err(error) => {
                // Nobody listens any more: the next word will tell.
                let _ = self.fall_back(&error);
            }
        }
    }

    fn fall_back(&mut self, error: &notify::Error) -> Option<()> {
        if self.poll.is_some() {
            return Some(());
        }
        self.folders = Folders::none();
        self.poll = Some((clock::now(), POLL.0));
        self.say(trouble::polling(error, POLL.0))
    }

    fn look_at_all(&mut self, at: Instant, every: Duration) -> Option<()> {
        let start = clock::now();
        let mut errors = Vec::new();
        for service in &mut self.services {
            errors.extend(service.poll(&mut self.folders, at));
        }
        self.files.look(start);
        let took = clock::now() - start;
        self.poll = Some((clock::now() + every.max(took * POLL.1), every));
        self.on_errors(errors)
    }

    /// Watches these from now on. Services that are watched already, and in the same way, lose nothing.
    fn watch(&mut self, watched: Vec<Watched>, files: Vec<PathBuf>, armed: oneshot::Sender<()>) -> Option<()> {
        let mut before: Vec<Service> = std::mem::take(&mut self.services);
        let (mut wrong, mut new) = (Vec::new(), Vec::new());
        for watched in watched {
            if let Some(at) = before.iter().position(|service| service.watched == watched) {
                self.services.push(before.swap_remove(at));
            } else {
                let (service, changes) = Service::new(watched);
                wrong.extend(changes);
                new.push(service);
            }
        }
        let mut errors = Vec::new();
        for service in &mut new {
            errors.extend(service.arm(&mut self.folders));
        }
        let first_new = self.services.len();
        self.services.extend(new);
        let known: HashSet<&Path> = self.files.names().collect();
        if !files.iter().all(|file| known.contains(file.as_path())) || known.len() != files.len() {
            self.files = NamedFiles::new(files, DEBOUNCE);
        }
        errors.extend(self.watch_anchors(clock::now()));
        self.drop_unwanted();
        // Whoever asked may have lost interest; the watching goes on.
        let _ = armed.send(());
        let mut budget = READ;
        for service in &mut self.services[first_new..] {
            service.read(&mut budget);
        }
        // What changed after the folders were watched and before the files were read differs from nothing.
        let mail = self.inbox.peek();
        for path in &mail {
            for service in &mut self.services[first_new..] {
                service.distrust(path);
            }
        }
        for change in wrong {
            self.say(change)?;
        }
        self.on_errors(errors)
    }

    /// Watches the folders from which one sees the watched paths come and go. A folder that is made on the way while
    /// another is being watched tells nothing of itself, so this goes on until nothing new is found.
    fn watch_anchors(&mut self, now: Instant) -> Vec<notify::Error> {
        let mut errors = Vec::new();
        // A path has only so many folders; one that comes and goes all the time is not worth more.
        for _ in 0..64 {
            let mut new = self.anchors();
            new.retain(|folder| !self.folders.has(folder));
            if new.is_empty() {
                return errors;
            }
            for folder in new {
                match self.folders.watch(&folder) {
                    Ok(()) => {}
                    // Asking again would answer the same.
                    Err(error) => {
                        errors.push(error);
                        return errors;
                    }
                }
            }
            for service in &mut self.services {
                errors.extend(service.find_appeared(&mut self.folders, now));
            }
            self.files.look(now);
        }
        errors
    }

    fn anchors(&self) -> HashSet<PathBuf> {
        if self.folders.tells() {
            self.services.iter().flat_map(Service::anchors).chain(self.files.anchors()).collect()
        } else {
            HashSet::new()
        }
    }

    fn drop_unwanted(&mut self) {
        let anchors = self.anchors();
        let services = &mut self.services;
        self.folders.retain(|folder| anchors.contains(folder) || services.iter_mut().any(|s| s.wants(folder)));
    }

    fn on_errors(&mut self, errors: Vec<notify::Error>) -> Option<()> {
        for error in errors {
            if trouble::is_exhausted(&error) {
                self.fall_back(&error)?;
            } else if self.said.insert(error.paths.first().cloned().unwrap_or_default()) {
                self.say(trouble::folder(&error))?;
            }
        }
        Some(())
    }

    fn say(&self, change: Change) -> Option<()> {
        self.tell.blocking_send(change).ok()
    }
}
