//! One running child and its tree, from the fork to the moment when nothing of it is left.
//!
//! A service ends as a whole: when its leader has ended, by itself or because it was asked to, what remains of the tree
//! is asked, given time and killed, and only then the service counts as ended. So a restart never meets its
//! predecessor.

use std::collections::HashSet;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Error;
use super::pump::{ToLogs, pump};
use crate::event::Exit;
use crate::logs::{LogSink, Stream};
use crate::os::census::{Census, Lookout};
use crate::os::process::{self, Identity, Kill, PipeEnd, Process};
use crate::os::pty::Terminal;
use crate::os::spawn::{Spawned, Spawner};
use crate::os::tree::{self, Tree};

/// How long those who outlive a leader that ended by itself have before they are killed.
const AFTER_LEADER: Duration = Duration::from_secs(1);

/// How long killed processes may take to disappear.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// How often a dying tree is looked at: soon at first, as most end at once.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// What the child's control and its supervising task share.
pub(super) struct Supervised {
    tree: Mutex<Tree>,
    lookout: Arc<Lookout>,
    /// Whom a signal has asked to end. Nobody is asked twice: to many programs that means "at once".
    asked: Mutex<HashSet<Identity>>,
    stopping: watch::Sender<Stopping>,
    /// Whether the leader has ended and was reaped.
    leader_ended: watch::Sender<bool>,
}

/// How far a stop is.
#[derive(Clone, Copy, Debug, Default)]
struct Stopping {
    /// When whoever is left is killed.
    deadline: Option<Instant>,
    /// When SIGINT is followed by SIGTERM.
    escalate: Option<Instant>,
    /// No more patience.
    kill: bool,
}

/// How a stop is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) signal: Kill,
    pub(super) leader_only: bool,
    pub(super) grace: Duration,
}

/// Watches over a child that was just made. The receiver hears how it ended, once nothing of it is left.
pub(super) fn supervise(
    spawned: Spawned,
    tree: Tree,
    logs: LogSink,
    spawner: Spawner,
    lookout: Arc<Lookout>,
) -> (Arc<Supervised>, oneshot::Receiver<Exit>) {
    let shared = Arc::new(Supervised {
        tree: Mutex::new(tree),
        lookout,
        asked: Mutex::default(),
        stopping: watch::Sender::new(Stopping::default()),
        leader_ended: watch::Sender::new(false),
    });
    let (told, exit) = oneshot::channel();
    let task = Arc::clone(&shared);
    tokio::spawn(async move {
        let end = task.run(spawned.child, spawned.terminal, logs).await;
        // The engine may have let go of the service: then it was killed and nobody asks.
        let _ = told.send(end);
        // The thread that forked must outlive the child: its end would be told to the child as devctl's death.
        drop(spawner);
    });
    (shared, exit)
}

impl Supervised {
    /// Asks the tree to end. Nothing happens where the leader has ended already: then it is being done.
    pub(super) async fn stop(&self, ask: Ask) {
        if *self.leader_ended.borrow() {
            return;
        }
        let now = Instant::now();
        self.stopping.send_modify(|stopping| {
            stopping.deadline = Some(now + ask.grace);
            // A shell starts its background jobs with SIGINT ignored, so SIGINT alone never reaches them.
            stopping.escalate = (ask.signal == Kill::Int && !ask.leader_only).then(|| now + ask.grace / 2);
        });
        // Looked at before the first signal: whoever loses its parent by it stays known.
        let (census, members) = self.members().await;
        let reached = if ask.leader_only {
            let leader = lock(&self.tree).leader();
            if process::signal(leader, ask.signal) { vec![leader] } else { Vec::new() }
        } else {
            tree::signal_in(&census, &members, ask.signal)
        };
        lock(&self.asked).extend(reached);
    }

    /// Kills the tree and sees it gone.
    pub(super) async fn kill(&self) -> Result<(), Error> {
        self.stopping.send_modify(|stopping| stopping.kill = true);
        self.kill_all().await.map_err(|left| Error::Unkillable { left: left.iter().map(tree::describe).collect() })
    }

    /// Kills the tree without waiting: whoever lets go of a service may be about to end devctl.
    fn kill_now(&self) {
        self.stopping.send_modify(|stopping| stopping.kill = true);
        let census = Census::now();
        let members = lock(&self.tree).members_in(&census);
        tree::signal_in(&census, &members, Kill::Kill);
    }

    /// Who the leader is.
    pub(super) fn leader(&self) -> Identity {
        lock(&self.tree).leader()
    }

    /// Whether a process is of this tree.
    pub(super) fn contains(&self, pid: u32) -> bool {
        let tree = lock(&self.tree).clone();
        tree.contains(pid)
    }

    async fn members(&self) -> (Arc<Census>, Vec<Process>) {
        let census = self.lookout.look().await;
        let members = lock(&self.tree).members_in(&census);
        (census, members)
    }

    async fn run(&self, mut child: Child, terminal: Option<Terminal>, logs: LogSink) -> Exit {
        let (swept, quiet) = watch::channel(false);
        let mut pumps = JoinSet::new();
        if let Some(pipe) = child.stdout.take() {
            let to = ToLogs { logs: logs.clone(), stream: Stream::Stdout };
            let quiet = quiet.clone();
            pumps.spawn(async move { pump(pipe, to, quiet).await.map(|pipe| holders(&pipe, "stdout")) });
        }
        if let Some(terminal) = terminal {
            // Both outputs in one: a terminal does not tell them apart.
            let to = ToLogs { logs: logs.clone(), stream: Stream::Stdout };
            let quiet = quiet.clone();
            let held = |terminal: Terminal| held_by(terminal.holders(), "its terminal");
            pumps.spawn(async move { pump(terminal, to, quiet).await.map(held) });
        }
        if let Some(pipe) = child.stderr.take() {
            let to = ToLogs { logs: logs.clone(), stream: Stream::Stderr };
            pumps.spawn(async move { pump(pipe, to, quiet).await.map(|pipe| holders(&pipe, "stderr")) });
        }
        let status = self.leader_end(&mut child).await;
        self.leader_ended.send_replace(true);
        let left = self.sweep().await;
        swept.send_replace(true);
        let mut notes: Vec<String> = left.iter().map(|p| format!("{} cannot be killed", tree::describe(p))).collect();
        while let Some(held) = pumps.join_next().await {
            notes.extend(held.ok().flatten());
        }
        notes.sort();
        for note in notes {
            logs.write(Stream::Stderr, format!("devctl: {note}\n").as_bytes()).await;
        }
        exit(status.ok())
    }

    /// Waits for the leader, and follows SIGINT by SIGTERM when it is time.
    async fn leader_end(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let mut stopping = self.stopping.subscribe();
        loop {
            let escalate = stopping.borrow_and_update().escalate;
            tokio::select! {
                status = child.wait() => return status,
                () = sleep_until(escalate.unwrap_or_else(Instant::now)), if escalate.is_some() => self.escalate().await,
                // The sender is ours: this never fails.
                _ = stopping.changed() => {}
            }
        }
    }

    async fn escalate(&self) {
        self.stopping.send_modify(|stopping| stopping.escalate = None);
        let (census, members) = self.members().await;
        let reached = tree::signal_in(&census, &members, Kill::Term);
        lock(&self.asked).extend(reached);
    }

    /// Ends what the leader left behind: asks those whom nobody asked yet, waits until the stop's own deadline, or a
    /// second where there was no stop, and kills. Gives back who is left all the same.
    async fn sweep(&self) -> Vec<Process> {
        let mut stopping = self.stopping.subscribe();
        let no_stop = Instant::now() + AFTER_LEADER;
        let mut pause = LOOK.0;
        loop {
            let (census, members) = self.members().await;
            if members.is_empty() {
                return members;
            }
            let now = Instant::now();
            let Stopping { deadline, escalate, kill } = *stopping.borrow_and_update();
            let deadline = deadline.unwrap_or(no_stop);
            if kill || now >= deadline {
                return self.kill_all().await.err().unwrap_or_default();
            }
            if escalate.is_some_and(|at| now >= at) {
                self.escalate().await;
            }
            let unasked: Vec<Process> = {
                let asked = lock(&self.asked);
                members.into_iter().filter(|p| !asked.contains(&p.id)).collect()
            };
            if !unasked.is_empty() {
                let reached = tree::signal_in(&census, &unasked, Kill::Term);
                lock(&self.asked).extend(reached);
            }
            // A kill cuts the pause short; that nothing changed is no news.
            let _ = timeout_at(deadline.min(now + pause), stopping.changed()).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    /// Kills until nobody is left; a tree that forks while it is killed needs several rounds.
    async fn kill_all(&self) -> Result<(), Vec<Process>> {
        let give_up = Instant::now() + AFTER_KILL;
        let mut pause = LOOK.0;
        loop {
            let (census, members) = self.members().await;
            if members.is_empty() {
                return Ok(());
            }
            if Instant::now() >= give_up {
                return Err(members);
            }
            tree::signal_in(&census, &members, Kill::Kill);
            drop(census);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }
}

/// The end of a service as the engine waits for it. Dropped before that end it kills the service: nothing that devctl
/// started may live on without somebody who watches it.
pub(super) fn ended(shared: Arc<Supervised>, exit: oneshot::Receiver<Exit>) -> impl Future<Output = Exit> + Send {
    // Made here and not at the first poll: a future that was never polled has to kill as well.
    let mut guard = Guard(Some(shared));
    async move {
        // The task ends without a word only with the whole runtime.
        let exit = exit.await.unwrap_or_default();
        guard.disarm();
        exit
    }
}

struct Guard(Option<Arc<Supervised>>);

impl Guard {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.kill_now();
        }
    }
}

/// Who still holds a pipe after the tree is gone, in words.
fn holders(pipe: &impl PipeEnd, name: &str) -> String {
    held_by(process::pipe_holders(pipe), name)
}

fn held_by(pids: Vec<u32>, name: &str) -> String {
    let held: Vec<String> = pids.into_iter().map(|pid| format!("pid {pid}, {}", process::command(pid))).collect();
    if held.is_empty() {
        format!("background child still holds {name}")
    } else {
        format!("background child still holds {name} ({})", held.join("; "))
    }
}

fn exit(status: Option<ExitStatus>) -> Exit {
    #[cfg(unix)]
    let signal = status.and_then(|s| std::os::unix::process::ExitStatusExt::signal(&s));
    #[cfg(not(unix))]
    let signal = None;
    Exit { code: status.and_then(|s| s.code()), signal, ..Exit::default() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept here stays whole if a holder panics: each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
