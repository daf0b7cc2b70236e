//! The one thread that makes all child processes.
//!
//! Forking in one place means that no child inherits another's pipe by a race, and that Linux's parent-death signal is
//! safe: it is tied to the *thread* that forked, and a thread of a pool may end while devctl lives.
#![cfg_attr(unix, expect(unsafe_code, reason = "a child has to be prepared between fork and exec"))]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::apart::{self, Apart};
#[cfg(unix)]
use super::handover;
use super::handover::Socket;
use super::process::{self, Identity, Kill};
#[cfg(unix)]
use super::pty;
use super::pty::Terminal;
use super::tree::{self, Tree};

/// A child to make. It gets a session of its own, no standard input and pipes for its outputs, or a terminal for all
/// three, the default action for every signal, and no file of ours but the socket it is given.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program, as a path that exists.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder it runs in.
    pub dir: PathBuf,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// The user and group to run as, without any further group.
    pub user: Option<(u32, u32)>,
    /// The signal that the kernel sends it when devctl dies without stopping it. Linux only.
    ///
    /// The signal that asks it to stop is the right one, not SIGKILL: the kernel signals this one process and none of
    /// its children, so only a process that may still act can take its own along.
    pub on_our_death: Kill,
    /// Whether its standard files are a terminal of its own. Unix only.
    pub terminal: bool,
    /// The socket that it is given to listen on, and the name it has there. Unix only.
    pub socket: Option<(Arc<Socket>, String)>,
}

/// A child that was made.
#[derive(Debug)]
pub struct Spawned {
    /// The child; its outputs are pipes, where it has no terminal.
    pub child: Child,
    /// The other end of its terminal, where it has one.
    pub terminal: Option<Terminal>,
    /// Who it is.
    pub id: Identity,
}

/// The door to the thread. Cheap to clone. The thread ends with the last clone, and its children with it: whoever waits
/// for a child keeps a clone.
#[derive(Clone, Debug)]
pub struct Spawner {
    orders: mpsc::Sender<Request>,
}

enum Request {
    Make {
        order: Box<Order>,
        runtime: Handle,
        answer: oneshot::Sender<io::Result<Unclaimed>>,
    },
    /// A devctl apart from this one: no child, and made here all the same, as its pipe must be nobody else's.
    Apart {
        args: &'static [&'static str],
        runtime: Handle,
        answer: oneshot::Sender<io::Result<Apart>>,
    },
    /// Asked by whoever wants to know that all earlier requests are done with.
    Done(oneshot::Sender<()>),
}

impl Spawner {
    /// Starts the thread. Where the system has no thread left, every order is answered with that error.
    pub fn new() -> Self {
        let (orders, requests) = mpsc::channel::<Request>();
        // Without the thread the receiver is dropped, and `spawn` says so.
        let _ = std::thread::Builder::new().name("devctl-spawn".to_owned()).spawn(move || {
            for request in requests {
                match request {
                    Request::Make { order, runtime, answer } => {
                        let _runtime = runtime.enter();
                        // Whoever ordered it may have gone away: then the child comes back, and is killed.
                        let _ = answer.send(make(&order).map(|spawned| Unclaimed(Some(spawned))));
                    }
                    Request::Apart { args, runtime, answer } => {
                        let _runtime = runtime.enter();
                        // Where nobody listens any more its pipe ends, and it with it.
                        let _ = answer.send(apart::start(args));
                    }
                    Request::Done(answer) => {
                        // Whoever asked may have lost patience.
                        let _ = answer.send(());
                    }
                }
            }
        });
        Self { orders }
    }

    /// Makes a child. If the future is dropped, the child is killed as soon as it is made; [`Spawner::idle`] waits for
    /// that.
    pub async fn spawn(&self, order: Order) -> io::Result<Spawned> {
        let (answer, made) = oneshot::channel();
        let request = Request::Make { order: Box::new(order), runtime: Handle::current(), answer };
        self.orders.send(request).map_err(|_| gone())?;
        made.await.map_err(|_| gone())?.map(Unclaimed::claim)
    }

    /// Starts devctl once more with these arguments, see [`super::apart`]. If the future is dropped, it ends.
    pub async fn apart(&self, args: &'static [&'static str]) -> io::Result<Apart> {
        let (answer, made) = oneshot::channel();
        let request = Request::Apart { args, runtime: Handle::current(), answer };
        self.orders.send(request).map_err(|_| gone())?;
        made.await.map_err(|_| gone())?
    }

    /// Waits until every order so far is carried out. A child whose order was dropped is killed by then.
    pub async fn idle(&self) {
        let (answer, done) = oneshot::channel();
        if self.orders.send(Request::Done(answer)).is_ok() {
            // Without an answer there is no thread, and nothing is being made.
            let _ = done.await;
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that makes processes could not be started")
}

impl Default for Spawner {
    fn default() -> Self {
        Self::new()
    }
}

/// A child on its way to whoever ordered it. Dropped on the way it is killed: the order may be given up after the
/// answer was sent and before it was read.
struct Unclaimed(Option<Spawned>);

impl Unclaimed {
    fn claim(mut self) -> Spawned {
        self.0.take().expect("only `claim` takes it, and only once")
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(spawned) = &self.0 {
            // Dropping the child itself lets the runtime reap it.
            tree::signal(&Tree::new(spawned.id, None).members(), Kill::Kill);
        }
    }
}

fn make(order: &Order) -> io::Result<Spawned> {
    let mut command = Command::new(&order.program);
    command.args(&order.args).current_dir(&order.dir).env_clear().envs(&order.env);
    let terminal = standard_files(&mut command, order)?;
    prepare(&mut command, order);
    #[cfg(unix)]
    let failure = hand_over(&mut command, order)?;
    let mut child = command.spawn()?;
    // It holds our copies of the child's end of a terminal, which would never end while we have it open.
    drop(command);
    #[cfg(unix)]
    if let Some(failure) = failure {
        // Dropping the child lets the runtime reap it.
        failure.wait()?;
    }
    // The child is not reaped before somebody waits for it, so its id is its own for now.
    if let Some(process) = child.id().and_then(process::look) {
        return Ok(Spawned { child, terminal, id: process.id });
    }
    // It is ours to kill; the error of a second failure would say less.
    let _ = child.start_kill();
    Err(io::Error::other("the new process is not in the process table; is /proc mounted?"))
}

/// Says what the child's standard files are.
fn standard_files(command: &mut Command, order: &Order) -> io::Result<Option<Terminal>> {
    if !order.terminal {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        return Ok(None);
    }
    #[cfg(unix)]
    {
        let (terminal, slave) = pty::open()?;
        let [stdin, stdout, stderr] = slave.into_stdio()?;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        Ok(Some(terminal))
    }
    #[cfg(not(unix))]
    Err(io::Error::new(io::ErrorKind::Unsupported, "there are no pseudo-terminals here"))
}

/// Has the child become the program by itself, with a socket of ours. The last thing that happens in it.
#[cfg(unix)]
fn hand_over(command: &mut Command, order: &Order) -> io::Result<Option<handover::Failure>> {
    let Some((socket, name)) = &order.socket else { return Ok(None) };
    let (mut exec, failure) = handover::Exec::prepare(order, socket, name)?;
    // SAFETY: the closure runs between fork and exec; it makes system calls and changes memory that was made for it.
    unsafe {
        command.pre_exec(move || exec.run());
    }
    Ok(Some(failure))
}

#[cfg(unix)]
fn prepare(command: &mut Command, order: &Order) {
    if let Some((uid, gid)) = order.user {
        // `uid` also gives up all further groups when we are root.
        command.uid(uid).gid(gid);
    }
    let devctl = nix::unistd::getpid();
    let (on_our_death, terminal) = (order.on_our_death, order.terminal);
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe calls are allowed: it makes system
    // calls and touches no memory but its own copies.
    unsafe {
        command.pre_exec(move || in_child(devctl, on_our_death, terminal));
    }
}

/// Runs in the child, after it changed its user: changing it would take the parent-death signal away again.
#[cfg(unix)]
fn in_child(devctl: nix::unistd::Pid, on_our_death: Kill, terminal: bool) -> io::Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // A session of its own, not only a group: without a terminal it cannot be stopped by SIGTTIN, and the session is
    // what the whole tree can be found by.
    nix::unistd::setsid()?;
    if terminal {
        pty::become_ours()?;
    }
    // A shell starts background jobs with SIGINT and SIGQUIT ignored, `nohup` ignores SIGHUP, we ourselves ignore SIGTTIN
    // and SIGTTOU at a terminal, and all of that is inherited.
    for each in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGPIPE,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
    ] {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(each, SigHandler::SigDfl) }?;
    }
    #[cfg(target_os = "linux")]
    linux::in_child(devctl, on_our_death)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (devctl, on_our_death);
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;

    use super::Kill;

    pub(super) fn in_child(devctl: nix::unistd::Pid, on_our_death: Kill) -> io::Result<()> {
        let number = crate::os::process::number(on_our_death) as libc::c_int;
        // SAFETY: plain system calls with plain numbers.
        unsafe {
            // Best effort: kernels before 5.11 don't know the call, and std opens everything close-on-exec anyway.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            if libc::prctl(libc::PR_SET_PDEATHSIG, number) == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        // It died before the call above: the signal will not come.
        if nix::unistd::getppid() != devctl {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    }
}

/// Windows: a group of its own, so that our Ctrl+C does not reach it. There is no parent-death signal here.
#[cfg(windows)]
fn prepare(command: &mut Command, _: &Order) {
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    command.creation_flags(CREATE_NEW_PROCESS_GROUP);
}
