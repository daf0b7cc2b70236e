//! Everything that a run left when its supervisor died: the trees of all its services, found in one look at the process
//! table.
//!
//! The nets are those of [`super::tree`]. What is known of a dead run are the leaders it wrote down and its cookie; what
//! was seen once is remembered, so that whoever loses its parent by a signal stays known.

use std::collections::{HashMap, HashSet};

use super::process::{self, Identity, Process, Table};
use super::tree::Cookie;

/// The processes of a run that nobody supervises.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    /// The leaders that were written down, by process id.
    leaders: HashMap<u32, Identity>,
    cookies: Vec<Cookie>,
    seen: HashSet<Identity>,
}

impl Forest {
    /// What grew from these leaders, or carries one of these cookies.
    pub fn new(leaders: impl IntoIterator<Item = Identity>, cookies: Vec<Cookie>) -> Self {
        let leaders = leaders.into_iter().map(|id| (id.pid, id)).collect();
        Self { leaders, cookies, seen: HashSet::new() }
    }

    /// Its living processes now, by id.
    pub fn members(&mut self) -> Vec<Process> {
        let table = Table::snapshot();
        let members = self.members_in(&table, process::environment);
        self.seen.extend(members.iter().map(|process| process.id));
        members
    }

    fn members_in(&self, table: &Table, environment: impl Fn(u32) -> Vec<u8>) -> Vec<Process> {
        let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
        for process in table.iter() {
            children.entry(process.parent).or_default().push(process);
        }
        let carries = |process: &Process| {
            let environment = environment(process.id.pid);
            self.cookies.iter().any(|cookie| cookie.is_in(&environment))
        };
        let mut waiting: Vec<&Process> =
            table.iter().filter(|p| self.is_root(p, table) || (!p.ended && carries(p))).collect();
        let mut found: HashSet<u32> = HashSet::new();
        let own = process::own_id();
        while let Some(process) = waiting.pop() {
            if process.id.pid != own && process.id.pid > 1 && found.insert(process.id.pid) {
                waiting.extend(children.get(&process.id.pid).into_iter().flatten());
            }
        }
        let mut members: Vec<Process> =
            found.iter().filter_map(|pid| table.get(*pid)).filter(|p| !p.ended).cloned().collect();
        members.sort_by_key(|p| p.id);
        members
    }

    fn is_root(&self, process: &Process, table: &Table) -> bool {
        if self.seen.contains(&process.id) || self.leaders.get(&process.id.pid) == Some(&process.id) {
            return true;
        }
        // A session keeps its leader's id from being used again while it has members. Where another process has the id
        // now, that session is over, and one of its number is a stranger's.
        let Some(leader) = self.leaders.get(&process.session) else { return false };
        process.id.start >= leader.start && table.get(leader.pid).is_none_or(|now| now.id == *leader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, start: u64, parent: u32, session: u32) -> Process {
        let pid = pid + 1_000_000;
        let parent = if parent > 1 { parent + 1_000_000 } else { parent };
        Process { id: Identity { pid, start }, parent, group: pid, session: session + 1_000_000, ended: false }
    }

    fn forest() -> Forest {
        let leaders = [(100, 50), (200, 60)].map(|(pid, start)| Identity { pid: 1_000_000 + pid, start });
        Forest::new(leaders, vec![Cookie::of_run("0123456789ab"), Cookie::of_run("ba9876543210")])
    }

    fn pids(forest: &Forest, table: &Table, carriers: &[(u32, &str)]) -> Vec<u32> {
        let environment = |pid| {
            let run = carriers.iter().find(|(carrier, _)| carrier + 1_000_000 == pid).map_or("", |(_, run)| run);
            format!("A=1\0DEVCTL_RUN={run}\0").into_bytes()
        };
        forest.members_in(table, environment).iter().map(|p| p.id.pid - 1_000_000).collect()
    }

    #[test]
    fn leaders_sessions_descendants_and_carriers_of_any_of_the_runs_are_found() {
        let table = Table::of([
            process(100, 50, 1, 100),
            process(101, 51, 100, 101),
            process(102, 52, 101, 102),
            // The session of a leader that is gone.
            process(201, 61, 1, 200),
            // Of the run, and of one that it had taken over.
            process(300, 70, 1, 300),
            process(301, 71, 1, 301),
            // A stranger, and another run's.
            process(400, 80, 1, 400),
            process(401, 81, 1, 401),
        ]);
        let carriers = [(300, "0123456789ab"), (301, "ba9876543210"), (401, "0123456789ac")];
        assert_eq!(pids(&forest(), &table, &carriers), [100, 101, 102, 201, 300, 301]);
    }

    #[test]
    fn ids_that_were_used_again_bring_no_strangers() {
        // The leader's id is another's, who leads a session; and a session from before the leader.
        let table = Table::of([process(100, 99, 1, 100), process(101, 100, 100, 100), process(201, 59, 1, 200)]);
        assert!(pids(&forest(), &table, &[]).is_empty());
    }

    #[test]
    fn what_was_seen_is_remembered() {
        let mut forest = forest();
        forest.seen.insert(process(500, 90, 1, 500).id);
        let table = Table::of([process(500, 90, 1, 500), process(501, 91, 1, 501)]);
        assert_eq!(pids(&forest, &table, &[]), [500]);
    }
}
