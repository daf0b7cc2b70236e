//! One look at all processes, with what is asked of it at hand, and shared by all who ask at the same time.
//!
//! When a run ends, every service wants to know its processes at once. A look of its own for each would visit all
//! processes of the machine as often as there are services.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::clock;
use super::process::{self, Process, Table};
use super::tree::Cookie;
use crate::env_vars;

/// The processes at one moment, by parent, session, group and cookie.
#[derive(Debug, Default)]
pub struct Census {
    table: Table,
    children: HashMap<u32, Vec<u32>>,
    sessions: HashMap<u32, Vec<u32>>,
    /// The living alone.
    groups: HashMap<u32, HashSet<u32>>,
    /// Every variable that a cookie is made of, and who has it in its environment.
    carriers: HashMap<Vec<u8>, HashSet<u32>>,
}

impl Census {
    /// Looks at all processes now. Of those that are older than this one no environment is read: nothing that it started
    /// is among them.
    pub fn now() -> Self {
        let table = Table::snapshot();
        let born = table.get(process::own_id()).map_or(0, |own| own.id.start);
        Self::of(
            table,
            |process| if process.id.start < born { Vec::new() } else { process::environment(process.id.pid) },
        )
    }

    /// The census of a table.
    pub(super) fn of(table: Table, environment: impl Fn(&Process) -> Vec<u8>) -> Self {
        let mut census = Self::default();
        let names = [env_vars::RUN, env_vars::SERVICE].map(|name| format!("{name}=").into_bytes());
        for process in table.iter() {
            let pid = process.id.pid;
            census.children.entry(process.parent).or_default().push(pid);
            census.sessions.entry(process.session).or_default().push(pid);
            if process.ended {
                continue;
            }
            census.groups.entry(process.group).or_default().insert(pid);
            for variable in environment(process).split(|byte| *byte == 0) {
                if names.iter().any(|name| variable.starts_with(name)) {
                    census.carriers.entry(variable.to_vec()).or_default().insert(pid);
                }
            }
        }
        census.table = table;
        census
    }

    /// The processes themselves.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The children of a process.
    pub(super) fn children(&self, pid: u32) -> impl Iterator<Item = &Process> {
        self.all(self.children.get(&pid).into_iter().flatten())
    }

    /// The processes of a session.
    pub(super) fn session(&self, session: u32) -> impl Iterator<Item = &Process> {
        self.all(self.sessions.get(&session).into_iter().flatten())
    }

    /// The living processes of a group.
    pub(super) fn group(&self, group: u32) -> Option<&HashSet<u32>> {
        self.groups.get(&group)
    }

    /// The living processes that carry the whole cookie.
    pub(super) fn carriers(&self, cookie: &Cookie) -> impl Iterator<Item = &Process> {
        let mut entries = cookie.entries().map(|entry| self.carriers.get(entry));
        let first = entries.next().flatten();
        let others: Option<Vec<_>> = entries.collect();
        let both = first.zip(others);
        let pids = both
            .into_iter()
            .flat_map(|(first, others)| first.iter().filter(move |pid| others.iter().all(|other| other.contains(pid))));
        self.all(pids)
    }

    fn all<'a>(&'a self, pids: impl Iterator<Item = &'a u32>) -> impl Iterator<Item = &'a Process> {
        pids.filter_map(|pid| self.table.get(*pid))
    }
}

/// Where to ask for a census. Those who ask while one is taken share the next.
#[derive(Debug, Default)]
pub struct Lookout {
    /// The last one and when it began, for as long as somebody waits.
    last: tokio::sync::Mutex<Option<(Instant, Arc<Census>)>>,
    waiting: AtomicUsize,
}

impl Lookout {
    /// A census that began after this was called.
    pub async fn look(&self) -> Arc<Census> {
        let asked = clock::now();
        let waiting = Waiting::new(&self.waiting);
        // Those who are about to ask do so now, and get the same one.
        tokio::task::yield_now().await;
        let mut last = self.last.lock().await;
        drop(waiting);
        let taken = last.take().filter(|(began, _)| *began >= asked);
        let (began, census) = taken.unwrap_or_else(|| (clock::now(), Arc::new(Census::now())));
        // It is large, and must not stay when nobody wants it.
        *last = (self.waiting.load(Ordering::Relaxed) > 0).then(|| (began, Arc::clone(&census)));
        census
    }
}

/// Counts who waits, dropped on the way too.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_census_is_never_older_than_its_request_and_is_not_kept() {
        let lookout = Lookout::default();
        let all = futures_util::future::join_all((0..20).map(|_| lookout.look())).await;
        assert!(all.iter().all(|census| Arc::ptr_eq(census, &all[0])), "all had asked before the first began");
        let own = process::own_id();
        assert!(all[0].table().get(own).is_some());
        let weak = Arc::downgrade(&all[0]);
        drop(all);
        assert!(weak.upgrade().is_none());
        let later = lookout.look().await;
        assert!(later.table().get(own).is_some());
        assert!(lookout.last.lock().await.is_none());
    }

    #[test]
    fn cookies_are_matched_as_a_whole() {
        let process = |pid| Process {
            id: process::Identity { pid, start: 1 },
            parent: 1,
            group: pid,
            session: pid,
            ended: pid == 5,
        };
        let environment = |process: &Process| {
            let text = match process.id.pid {
                2 => "A=1\0DEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api\0",
                3 => "DEVCTL_SERVICE=web\0DEVCTL_RUN=0123456789ab",
                4 => "XDEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api\0",
                _ => "DEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api\0",
            };
            text.as_bytes().to_vec()
        };
        let census = Census::of(Table::of((2..=5).map(process)), environment);
        let found = |cookie: &Cookie| {
            let mut pids: Vec<u32> = census.carriers(cookie).map(|process| process.id.pid).collect();
            pids.sort_unstable();
            pids
        };
        assert_eq!(found(&Cookie::of_service("0123456789ab", "api")), [2]);
        assert_eq!(found(&Cookie::of_run("0123456789ab")), [2, 3]);
        assert!(found(&Cookie::of_run("0123456789ac")).is_empty());
    }
}
