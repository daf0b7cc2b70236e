//! Which processes belong to one thing that devctl started, however they tried to get away.
//!
//! Three nets, because each has a hole: the session misses what called `setsid`; the parents miss what lost its parent;
//! the cookie in the environment misses what cleared its environment. What was seen once is remembered.

use std::collections::{BTreeSet, HashSet};

use super::census::Census;
use super::process::{self, Identity, Kill, Process, Table};
use crate::env_vars;

/// What to look for in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    entries: Vec<Vec<u8>>,
}

impl Cookie {
    /// The cookie of a whole run.
    pub fn of_run(run: &str) -> Self {
        Self { entries: vec![format!("{}={run}", env_vars::RUN).into_bytes()] }
    }

    /// The cookie of one service of a run.
    pub fn of_service(run: &str, service: &str) -> Self {
        let mut cookie = Self::of_run(run);
        cookie.entries.push(format!("{}={service}", env_vars::SERVICE).into_bytes());
        cookie
    }

    /// The variables that carry it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let text = self.entries.iter().map(|e| String::from_utf8_lossy(e).into_owned());
        text.filter_map(|e| e.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect()
    }

    /// The variables as they stand in an environment.
    pub(super) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(Vec::as_slice)
    }

    pub(super) fn is_in(&self, environment: &[u8]) -> bool {
        self.entries.iter().all(|entry| environment.split(|b| *b == 0).any(|variable| variable == entry))
    }

    /// The processes that carry it, this one excepted.
    pub fn carriers(&self, table: &Table) -> Vec<Process> {
        let own = process::own_id();
        let mut found: Vec<Process> = table
            .iter()
            .filter(|p| p.id.pid != own && !p.ended && self.is_in(&process::environment(p.id.pid)))
            .cloned()
            .collect();
        found.sort_by_key(|p| p.id);
        found
    }
}

/// A process that devctl started in a session of its own, and all that came of it.
#[derive(Clone, Debug)]
pub struct Tree {
    leader: Identity,
    cookie: Option<Cookie>,
    seen: HashSet<Identity>,
}

impl Tree {
    /// The tree of a leader. Without a cookie only the session and the parents tell.
    pub fn new(leader: Identity, cookie: Option<Cookie>) -> Self {
        Self { leader, cookie, seen: HashSet::new() }
    }

    /// The process that devctl started.
    pub fn leader(&self) -> Identity {
        self.leader
    }

    /// The living members now, by id. They are remembered, so that a later look finds those who leave session, parent
    /// and environment behind meanwhile.
    pub fn members(&mut self) -> Vec<Process> {
        let census = match self.cookie {
            Some(_) => Census::now(),
            None => Census::of(Table::snapshot(), |_| Vec::new()),
        };
        self.members_in(&census)
    }

    /// The members in a census, remembered as by [`Tree::members`].
    pub fn members_in(&mut self, census: &Census) -> Vec<Process> {
        let members = self.found_in(census);
        self.seen.retain(|id| census.table().get(id.pid).is_some_and(|p| p.id == *id));
        self.seen.extend(members.iter().map(|p| p.id));
        members
    }

    /// Whether a process is a member. Cheaper than [`Tree::members`]: looks only at the process and its ancestors.
    pub fn contains(&self, pid: u32) -> bool {
        let Some(process) = process::look(pid) else { return false };
        if self.is_root(&process, process::look(self.leader.pid).as_ref())
            || self.cookie.as_ref().is_some_and(|c| c.is_in(&process::environment(pid)))
        {
            return true;
        }
        let mut at = process.parent;
        for _ in 0..64 {
            if at == self.leader.pid {
                return process::look(at).is_some_and(|p| p.id == self.leader);
            }
            match process::look(at) {
                Some(parent) if at > 1 => at = parent.parent,
                Some(_) | None => return false,
            }
        }
        false
    }

    fn is_root(&self, process: &Process, leader: Option<&Process>) -> bool {
        // A session keeps its leader's id from being used again while it has members. Where another process has the id
        // now, the session is over, and one of that number is a stranger's.
        let session_is_ours = self.leader.pid != 0 && leader.is_none_or(|p| p.id == self.leader);
        process.id == self.leader
            || self.seen.contains(&process.id)
            || (session_is_ours && process.session == self.leader.pid && process.id.start >= self.leader.start)
    }

    fn found_in(&self, census: &Census) -> Vec<Process> {
        let own = process::own_id();
        let leader = census.table().get(self.leader.pid);
        let known = self.seen.iter().chain([&self.leader]).filter_map(|id| census.table().get(id.pid));
        let roots = known.chain(census.session(self.leader.pid)).filter(|p| self.is_root(p, leader));
        let mut waiting: Vec<&Process> =
            roots.chain(self.cookie.iter().flat_map(|cookie| census.carriers(cookie))).collect();
        let mut found: HashSet<u32> = HashSet::new();
        let mut members = Vec::new();
        while let Some(process) = waiting.pop() {
            if process.id.pid != own && process.id.pid > 1 && found.insert(process.id.pid) {
                waiting.extend(census.children(process.id.pid));
                if !process.ended {
                    members.push(process.clone());
                }
            }
        }
        members.sort_by_key(|p| p.id);
        members
    }
}

/// Signals all of `members`: each process group once, as a second signal means "at once" to many programs. A group that
/// holds others too is not signalled as a whole. Answers who was signalled.
pub fn signal(members: &[Process], kill: Kill) -> Vec<Identity> {
    signal_in(&Census::of(Table::snapshot(), |_| Vec::new()), members, kill)
}

/// Signals all of `members`, who were found in that census a moment ago.
pub fn signal_in(census: &Census, members: &[Process], kill: Kill) -> Vec<Identity> {
    let ids: HashSet<u32> = members.iter().map(|p| p.id.pid).collect();
    let own_group = census.table().get(process::own_id()).map_or(0, |p| p.group);
    let is_ours = |group: u32| {
        // Where there are no groups, each process by itself.
        let groups = cfg!(unix) && group != 0 && group != own_group;
        groups && census.group(group).is_some_and(|all| all.is_subset(&ids))
    };
    // It may have ended or moved since.
    let stayed = |p: &Process| process::look(p.id.pid).is_some_and(|now| now.id == p.id && now.group == p.group);
    let (whole, single): (Vec<&Process>, Vec<&Process>) = members.iter().partition(|p| is_ours(p.group) && stayed(p));
    for group in whole.iter().map(|p| p.group).collect::<BTreeSet<_>>() {
        process::signal_group(group, kill);
    }
    let mut reached: Vec<Identity> = whole.iter().map(|p| p.id).collect();
    reached.extend(single.iter().map(|p| p.id).filter(|id| process::signal(*id, kill)));
    reached
}

/// The service that a process says it belongs to, by its environment.
pub fn service_of(pid: u32) -> Option<String> {
    let environment = process::environment(pid);
    let name = format!("{}=", env_vars::SERVICE);
    let value = environment.split(|b| *b == 0).find_map(|variable| variable.strip_prefix(name.as_bytes()))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// A process as a person is told of it: `process 4242 (sleep 100)`.
pub fn describe(process: &Process) -> String {
    format!("process {} ({})", process.id.pid, process::command(process.id.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, start: u64, parent: u32, group: u32, session: u32) -> Process {
        Process { id: Identity { pid, start }, parent, group, session, ended: false }
    }

    fn tree() -> Tree {
        let cookie = Cookie::of_service("0123456789ab", "api");
        Tree::new(Identity { pid: 1_000_100, start: 50 }, Some(cookie))
    }

    fn pids(tree: &Tree, table: &[Process], cookies: &[u32]) -> Vec<u32> {
        let environment = |process: &Process| {
            if cookies.contains(&process.id.pid) {
                b"A=1\0DEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api\0".to_vec()
            } else {
                b"DEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=web\0".to_vec()
            }
        };
        let census = Census::of(Table::of(table.iter().cloned()), environment);
        tree.found_in(&census).iter().map(|p| p.id.pid - 1_000_000).collect()
    }

    fn at(pid: u32) -> u32 {
        1_000_000 + pid
    }

    #[test]
    fn each_net_catches_what_the_others_miss() {
        let table = [
            process(at(100), 50, 1, at(100), at(100)),
            // Same session, another group, parent gone.
            process(at(101), 51, 1, at(101), at(100)),
            // Own session, parent alive; and its child.
            process(at(102), 52, at(100), at(102), at(102)),
            process(at(103), 53, at(102), at(103), at(103)),
            // Own session, parent gone, cookie.
            process(at(104), 54, 1, at(104), at(104)),
            // A child of that one that cleared its environment.
            process(at(105), 55, at(104), at(105), at(105)),
            // Another service of the run, and a stranger.
            process(at(106), 56, 1, at(106), at(106)),
        ];
        assert_eq!(pids(&tree(), &table, &[at(104)]), [100, 101, 102, 103, 104, 105]);
    }

    #[test]
    fn a_leaders_id_that_was_used_again_brings_no_strangers() {
        let table = [process(at(100), 99, 1, at(100), at(100)), process(at(101), 100, at(100), at(100), at(100))];
        assert!(pids(&tree(), &table, &[]).is_empty());
    }

    #[test]
    fn the_session_outlives_its_leader() {
        let table = [process(at(101), 51, 1, at(100), at(100))];
        assert_eq!(pids(&tree(), &table, &[]), [101]);
    }

    #[test]
    fn what_was_seen_is_remembered_by_id_and_start() {
        let mut tree = tree();
        tree.seen.insert(Identity { pid: at(107), start: 57 });
        tree.seen.insert(Identity { pid: at(108), start: 58 });
        let table = [process(at(107), 57, 1, at(107), at(107)), process(at(108), 9_999, 1, at(108), at(108))];
        assert_eq!(pids(&tree, &table, &[]), [107]);
    }

    #[test]
    fn the_ended_are_not_members_but_lead_to_their_children() {
        let ended = Process { ended: true, ..process(at(100), 50, 1, at(100), at(100)) };
        let table = [ended, process(at(102), 52, at(100), at(102), at(102))];
        assert_eq!(pids(&tree(), &table, &[]), [102]);
    }

    #[test]
    fn a_cookie_must_match_as_a_whole() {
        let cookie = Cookie::of_service("0123456789ab", "api");
        for (environment, found) in [
            (&b"DEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api\0"[..], true),
            (b"DEVCTL_SERVICE=api\0X=1\0DEVCTL_RUN=0123456789ab", true),
            (b"DEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api2\0", false),
            (b"DEVCTL_RUN=0123456789ab\0", false),
            (b"XDEVCTL_RUN=0123456789ab\0DEVCTL_SERVICE=api\0", false),
            (b"", false),
        ] {
            assert_eq!(cookie.is_in(environment), found);
        }
        let variables = cookie.variables();
        assert_eq!(variables[1], ("DEVCTL_SERVICE".to_owned(), "api".to_owned()));
    }
}
