//! The end of processes that a run left when it died: no supervisor knows them any more, their environment and what the
//! run wrote down still tell whose they are.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::name::RunId;
use crate::os::clock;
use crate::os::forest::Forest;
use crate::os::process::{self, Identity, Kill, Process};
use crate::os::tree::{self, Cookie};

/// How often to look. Nobody tells of the end of a process that is not one's child.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// What is known of the processes of a run that died.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// The run, and those it had taken over.
    pub runs: Vec<RunId>,
    /// The leaders that it wrote down.
    pub leaders: Vec<Leader>,
}

/// The leader of a service.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Who it is.
    pub id: Identity,
    /// The service.
    pub service: String,
    /// What asks it to stop.
    pub signal: Kill,
    /// Whether that is for the leader alone, which tells its own children.
    pub leader_only: bool,
}

/// How much time the processes of a dead run get.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long they have to end by themselves before they are killed.
    pub grace: Duration,
    /// How long the killed may take to be gone.
    pub after_kill: Duration,
    /// Whether the system has asked the leaders a moment ago, because devctl died: to many programs a second request
    /// means "at once". Half the grace later they are asked all the same: a program that changed its user was not told.
    pub leaders_know: bool,
}

impl Patience {
    /// For those who find leftovers later: a database server needs a moment to write its data.
    pub const LATER: Self =
        Self { grace: Duration::from_secs(10), after_kill: Duration::from_secs(2), leaders_know: false };

    /// For the guardian: all are gone within 2 s. Only Linux tells children of their parent's death.
    pub const GUARDIAN: Self = Self {
        grace: Duration::from_millis(1200),
        after_kill: Duration::from_secs(5),
        leaders_know: cfg!(target_os = "linux"),
    };
}

/// What came of a sweep, each process in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Who is gone.
    pub stopped: Vec<String>,
    /// Who is left, although killed.
    pub left: Vec<String>,
}

impl Lost {
    /// Who is left of the run now.
    pub fn processes(&self) -> Vec<Process> {
        self.forest().members()
    }

    /// The service that a process belongs to, where that can be told.
    pub fn service_of(&self, process: &Process) -> Option<String> {
        let leader = self.leaders.iter().find(|leader| leader.id.pid == process.session);
        leader.map(|leader| leader.service.clone()).or_else(|| tree::service_of(process.id.pid))
    }

    fn forest(&self) -> Forest {
        let cookies = self.runs.iter().map(|run| Cookie::of_run(run.as_str())).collect();
        Forest::new(self.leaders.iter().map(|leader| leader.id), cookies)
    }

    /// The leader of the service that a process belongs to.
    fn leader_of(&self, process: &Process) -> Option<&Leader> {
        let by_session = self.leaders.iter().find(|leader| leader.id.pid == process.session);
        by_session.or_else(|| {
            let service = tree::service_of(process.id.pid)?;
            self.leaders.iter().find(|leader| leader.service == service)
        })
    }
}

/// Ends all processes of a run that died and waits until they are gone.
pub async fn sweep(lost: &Lost, patience: Patience) -> Swept {
    let mut sweep = Sweep { lost, forest: lost.forest(), asked: HashMap::new(), named: HashMap::new() };
    if patience.leaders_know {
        sweep.name_the_quick();
    }
    let began = clock::now();
    let kill_at = began + patience.grace;
    let hurry_at = began + patience.grace / 2;
    let mut pause = LOOK / 4;
    loop {
        let members = sweep.look();
        let now = clock::now();
        if members.is_empty() || now >= kill_at {
            break;
        }
        sweep.ask(&members, patience.leaders_know && now < hurry_at, now >= hurry_at);
        tokio::time::sleep(pause.min(kill_at - now)).await;
        pause = (pause * 2).min(LOOK);
    }
    let give_up: Instant = clock::now() + patience.after_kill;
    let left = loop {
        let members = sweep.look();
        if members.is_empty() || clock::now() >= give_up {
            break members;
        }
        // In rounds: a tree that forks while it is killed needs several.
        tree::signal(&members, Kill::Kill);
        tokio::time::sleep(LOOK / 4).await;
    };
    let left_ids: HashSet<Identity> = left.iter().map(|process| process.id).collect();
    let mut stopped: Vec<(Identity, String)> =
        sweep.named.into_iter().filter(|(id, _)| !left_ids.contains(id)).collect();
    stopped.sort();
    Swept {
        stopped: stopped.into_iter().map(|(_, name)| name).collect(),
        left: left.iter().map(tree::describe).collect(),
    }
}

struct Sweep<'a> {
    lost: &'a Lost,
    forest: Forest,
    /// Who was asked, and by which signal.
    asked: HashMap<Identity, Kill>,
    /// Everybody who was there, in words.
    named: HashMap<Identity, String>,
}

impl Sweep<'_> {
    fn look(&mut self) -> Vec<Process> {
        let members = self.forest.members();
        for process in &members {
            self.named.entry(process.id).or_insert_with(|| tree::describe(process));
        }
        members
    }

    /// Those who heard of devctl's death from the system and are gone before the first look were stopped too.
    fn name_the_quick(&mut self) {
        for leader in self.lost.leaders.iter().filter(|leader| !process::lives(leader.id)) {
            self.named.insert(leader.id, format!("process {} ({})", leader.id.pid, leader.service));
        }
    }

    /// Asks everybody by the signal of its service, and nobody twice by the same. `leaders_know`: leaders were asked
    /// already; `hurry`: SIGINT is followed by SIGTERM, as a shell starts its background jobs with SIGINT ignored.
    fn ask(&mut self, members: &[Process], leaders_know: bool, hurry: bool) {
        let mut by_signal: Vec<(Kill, Vec<Process>)> = Vec::new();
        for process in members {
            let leader = self.lost.leader_of(process);
            let is_leader = leader.is_some_and(|leader| leader.id == process.id);
            let mut signal = leader.map_or(Kill::Term, |leader| leader.signal);
            if let Some(leader) = leader.filter(|leader| leader.leader_only) {
                // The children of a database server are told by it, while it is there.
                if !is_leader && process::lives(leader.id) {
                    continue;
                }
            } else if hurry && self.asked.get(&process.id) == Some(&Kill::Int) {
                signal = Kill::Term;
            }
            if (is_leader && leaders_know) || self.asked.get(&process.id) == Some(&signal) {
                continue;
            }
            self.asked.insert(process.id, signal);
            match by_signal.iter_mut().find(|(of, _)| *of == signal) {
                Some((_, processes)) => processes.push(process.clone()),
                None => by_signal.push((signal, vec![process.clone()])),
            }
        }
        for (signal, processes) in by_signal {
            tree::signal(&processes, signal);
        }
    }
}
