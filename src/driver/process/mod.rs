//! Host programs: built by a runtime, run in a session of their own, stopped as a whole tree.

mod control;
mod error;
mod inherit;
mod once;
mod program;
mod pump;
mod runtime;
mod sockets;
mod spec;
mod supervise;
mod sweep;

pub use error::Error;
pub use spec::{BuildSpec, EnvSource, EnvVar, Program, Runtime, Spec, StopSignal};
pub use sweep::{Leader, Lost, Patience, Swept, sweep};

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

use self::control::ProcessControl;
use self::sockets::Sockets;
use super::{Running, StartContext};
use crate::event::Handle;
use crate::name::{RunId, ServiceName};
use crate::os::apart::Apart;
use crate::os::census::Lookout;
use crate::os::handover::Socket;
use crate::os::process::{Kill, Table};
use crate::os::spawn::{Order, Spawner};
use crate::os::tree::{self, Cookie, Tree};

/// How long what was just killed may take to be gone.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Builds and runs host programs. Cheap to clone.
#[derive(Clone)]
pub struct Processes {
    inner: Arc<Inner>,
    /// Whether somebody sees the colours of what programs print.
    colours: bool,
}

struct Inner {
    run: RunId,
    /// What children inherit.
    env: BTreeMap<String, String>,
    spawner: Spawner,
    lookout: Arc<Lookout>,
    /// What the builds of this run made.
    built: Mutex<HashMap<ServiceName, PathBuf>>,
    sockets: Sockets,
}

/// The kind of terminal that programs are told they have, where nobody says otherwise.
const TERMINAL: &str = "xterm-256color";

/// What few programs get.
#[derive(Default)]
struct Extras {
    /// A terminal for its standard files.
    terminal: bool,
    /// A socket to listen on, and its name.
    socket: Option<(Arc<Socket>, String)>,
}

/// A child to run as it is: what [`Processes::start`] makes of a [`Spec`], and what embedded servers use directly.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The folder it runs in.
    pub dir: PathBuf,
    /// Variables on top of devctl's own environment.
    pub env: Vec<(String, String)>,
    /// The signal that asks it to stop.
    pub stop_signal: StopSignal,
    /// Whether the signal goes to the leader alone (a database server that tells its own children) or to every
    /// process group of the session.
    pub leader_only: bool,
    /// The user and group to run as, where devctl is root and the program must not be.
    pub user: Option<(u32, u32)>,
}

impl From<StopSignal> for Kill {
    fn from(signal: StopSignal) -> Self {
        match signal {
            StopSignal::Term => Self::Term,
            StopSignal::Int => Self::Int,
            StopSignal::Quit => Self::Quit,
            StopSignal::Hup => Self::Hup,
        }
    }
}

impl Processes {
    /// Starts the thread that makes all children of this run. `env` is devctl's own environment; what `cargo run` added
    /// to it for devctl alone is not handed on.
    pub fn new(run: RunId, env: BTreeMap<String, String>) -> Self {
        let inner = Inner {
            run,
            env: inherit::inherited(env),
            spawner: Spawner::new(),
            lookout: Arc::default(),
            built: Mutex::default(),
            sockets: Sockets::default(),
        };
        Self { inner: Arc::new(inner), colours: false }
    }

    /// Tells programs, which print into a pipe and cannot see it, that their colours are shown; unless the user or the
    /// manifest said something about colours.
    #[must_use]
    pub fn with_colours(mut self, shown: bool) -> Self {
        self.colours = shown;
        self
    }

    /// Builds a host program with its runtime. Dropping the future kills the whole build.
    ///
    /// A build carries no cookie: what it leaves running on purpose, such as a compiler cache's server, is shared with
    /// the user's other builds and not ours to end.
    pub async fn build(&self, spec: &BuildSpec, cx: &StartContext) -> Result<(), Error> {
        let env = self.env(spec.env.iter().map(|(name, var)| (name.clone(), var.value.clone())));
        if let Some(program) = runtime::build(spec, env, &self.inner.spawner, cx).await? {
            self.built().insert(spec.service.clone(), program);
        }
        Ok(())
    }

    /// Runs a host program.
    pub async fn start(&self, spec: &Spec, cx: &StartContext) -> Result<Running, Error> {
        let mut argv = match &spec.program {
            Program::Argv(argv) => argv.clone(),
            Program::Built => {
                let built = self.built().get(&spec.service.base()).cloned();
                let path = built.ok_or_else(|| Error::NotBuilt { service: spec.service.to_string() })?;
                vec![path.to_string_lossy().into_owned()]
            }
        };
        argv.extend_from_slice(&spec.args);
        let launch = Launch {
            argv,
            dir: spec.dir.clone(),
            env: spec.env.iter().map(|(name, var)| (name.clone(), var.value.clone())).collect(),
            stop_signal: spec.stop_signal,
            leader_only: false,
            user: None,
        };
        let socket = match spec.port.filter(|_| spec.listen) {
            Some(_) if cfg!(not(unix)) => {
                return Err(Error::Unsupported { service: spec.service.to_string(), what: "listen" });
            }
            Some(port) => Some((self.inner.sockets.of(&spec.service, port)?, spec.service.base().to_string())),
            None => None,
        };
        self.run(launch, Extras { terminal: spec.pty, socket }, cx).await
    }

    /// Runs a child in a session of its own, its output into `cx.logs`.
    ///
    /// Its end is told once its leader was reaped and nothing of its tree is left. Dropping [`Running::exit`] before
    /// that kills the tree.
    pub async fn launch(&self, launch: Launch, cx: &StartContext) -> Result<Running, Error> {
        self.run(launch, Extras::default(), cx).await
    }

    async fn run(&self, launch: Launch, extras: Extras, cx: &StartContext) -> Result<Running, Error> {
        let service = cx.node.to_string();
        if extras.terminal && cfg!(not(unix)) {
            return Err(Error::Unsupported { service, what: "pty" });
        }
        let cookie = Cookie::of_service(self.inner.run.as_str(), &service);
        let mut env = self.env(launch.env.iter().cloned().chain(cookie.variables()));
        if extras.terminal && env.get("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            // devctl itself may have no terminal; this program has one all the same.
            env.insert("TERM".to_owned(), TERMINAL.to_owned());
        }
        let socket = extras.socket.as_ref().map(|(socket, _)| Arc::downgrade(socket));
        if self.colours {
            colour(&mut env);
        }
        let Some((name, args)) = launch.argv.split_first() else { return Err(Error::Empty { service }) };
        let path = program::find(name, &launch.dir, &env)?;
        let order = Order {
            program: path.clone(),
            args: args.to_vec(),
            dir: launch.dir.clone(),
            env: env.clone(),
            user: launch.user,
            on_our_death: launch.stop_signal.into(),
            terminal: extras.terminal,
            socket: extras.socket,
        };
        let spawner = self.inner.spawner.clone();
        let spawned = spawner.spawn(order).await.map_err(|source| program::refused(path, source))?;
        let leader = spawned.id;
        cx.logs.started(leader.pid);
        let tree = Tree::new(leader, Some(cookie));
        let (shared, exit) =
            supervise::supervise(spawned, tree, cx.logs.clone(), spawner.clone(), Arc::clone(&self.inner.lookout));
        let exit = supervise::ended(Arc::clone(&shared), exit);
        let control = ProcessControl { shared, spawner, launch, env, socket };
        Ok(Running { handle: Handle::Process { pid: leader.pid }, control: Arc::new(control), exit: exit.boxed() })
    }

    /// Closes the socket that is held for a service, where one is. For services that are stopped for good, and not for
    /// those that start again: until this is called connections wait for the next start, and the port is taken.
    pub fn release(&self, service: &ServiceName) {
        self.inner.sockets.close(service);
    }

    /// Looks for processes of a run by their environment: `process 4242 (sleep 100)`.
    pub fn leftovers(&self, run: &RunId) -> Vec<String> {
        Cookie::of_run(run.as_str()).carriers(&Table::snapshot()).iter().map(tree::describe).collect()
    }

    /// The last look of a run. A start or a tool that was dropped a moment ago has been killed and may not be gone yet, or
    /// may not even be made yet: that is waited for, so that only what stays is left.
    pub async fn left(&self, run: &RunId) -> Vec<String> {
        let gone = async {
            self.inner.spawner.idle().await;
            while !self.leftovers(run).is_empty() {
                tokio::time::sleep(sweep::LOOK).await;
            }
        };
        match tokio::time::timeout(LAST_LOOK, gone).await {
            Ok(()) => Vec::new(),
            Err(_) => self.leftovers(run),
        }
    }

    /// Starts devctl once more, apart from this one; see [`crate::os::apart`].
    pub(super) async fn apart(&self, args: &'static [&'static str]) -> std::io::Result<Apart> {
        self.inner.spawner.apart(args).await
    }

    fn env(&self, more: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
        let mut env = self.inner.env.clone();
        env.extend(more);
        env
    }

    fn built(&self) -> std::sync::MutexGuard<'_, HashMap<ServiceName, PathBuf>> {
        self.inner.built.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for colours in the two ways that programs understand, where nothing is said about them.
fn colour(env: &mut BTreeMap<String, String>) {
    if !["NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"].iter().any(|name| env.contains_key(*name)) {
        env.extend(["FORCE_COLOR", "CLICOLOR_FORCE"].map(|name| (name.to_owned(), "1".to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_asked_for_where_nobody_said_anything() {
        for (said, expected) in [
            (None, &["CLICOLOR_FORCE=1", "FORCE_COLOR=1"][..]),
            (Some(("NO_COLOR", "1")), &["NO_COLOR=1"]),
            (Some(("FORCE_COLOR", "0")), &["FORCE_COLOR=0"]),
            (Some(("CLICOLOR_FORCE", "1")), &["CLICOLOR_FORCE=1"]),
        ] {
            let mut env =
                said.map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned())).into_iter().collect();
            colour(&mut env);
            assert_eq!(env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(), expected);
        }
    }
}
