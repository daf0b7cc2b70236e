//! The handle by which the engine stops a process and the probes examine it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::supervise::{Ask, Supervised};
use super::{Launch, once, program};
use crate::driver::{Control, DriverError, ExecOutput, Health, Listener};
use crate::os::handover::Socket;
use crate::os::ports;
use crate::os::process::{self, Kill};
use crate::os::spawn::{Order, Spawner};

/// The control of one process.
pub(super) struct ProcessControl {
    pub(super) shared: Arc<Supervised>,
    pub(super) spawner: Spawner,
    pub(super) launch: Launch,
    /// The child's whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// The socket that it was given. Not held: whoever closes it has the last word.
    pub(super) socket: Option<Weak<Socket>>,
}

impl Control for ProcessControl {
    fn stop(&self, grace: Duration) -> BoxFuture<'static, Result<(), DriverError>> {
        let shared = Arc::clone(&self.shared);
        let ask = Ask { signal: self.launch.stop_signal.into(), leader_only: self.launch.leader_only, grace };
        async move {
            shared.stop(ask).await;
            Ok(())
        }
        .boxed()
    }

    fn kill(&self) -> BoxFuture<'static, Result<(), DriverError>> {
        let shared = Arc::clone(&self.shared);
        async move { Ok(shared.kill().await?) }.boxed()
    }

    fn signal(&self, signal: Kill) -> BoxFuture<'static, Result<(), DriverError>> {
        let shared = Arc::clone(&self.shared);
        async move {
            // Where it has ended meanwhile, there is nobody who could mind.
            process::signal(shared.leader(), signal);
            Ok(())
        }
        .boxed()
    }

    fn listener(&self, port: u16) -> Listener {
        let owners = ports::owners(port);
        if owners.is_empty() {
            return Listener::Nobody;
        }
        let leader = self.shared.leader().pid;
        if owners.iter().filter_map(|o| o.pid).any(|pid| pid == leader || self.shared.contains(pid)) {
            return Listener::Ours;
        }
        owners
            .iter()
            .find(|o| o.pid.is_some() || o.uid.is_some())
            .map_or(Listener::Unknown, |owner| Listener::Stranger(owner.to_string()))
    }

    fn is_waiting(&self, port: u16) -> bool {
        let socket = self.socket.as_ref().and_then(Weak::upgrade);
        socket.is_some_and(|socket| socket.port() == port && socket.is_waiting())
    }

    fn exec(&self, argv: Vec<String>) -> BoxFuture<'static, Result<ExecOutput, DriverError>> {
        let (spawner, env, dir, user) =
            (self.spawner.clone(), self.env.clone(), self.launch.dir.clone(), self.launch.user);
        async move { Ok(exec(&spawner, argv, dir, env, user).await?) }.boxed()
    }

    fn health(&self) -> BoxFuture<'static, Result<Health, DriverError>> {
        async { Ok(Health::None) }.boxed()
    }
}

async fn exec(
    spawner: &Spawner,
    argv: Vec<String>,
    dir: PathBuf,
    env: BTreeMap<String, String>,
    user: Option<(u32, u32)>,
) -> Result<ExecOutput, super::Error> {
    let mut args = argv.into_iter();
    let name = args.next().ok_or_else(|| super::Error::Empty { service: "probe".to_owned() })?;
    let path = program::find(&name, &dir, &env)?;
    let order = Order {
        program: path.clone(),
        args: args.collect(),
        dir,
        env,
        user,
        on_our_death: Kill::Kill,
        terminal: false,
        socket: None,
    };
    once::output(spawner, order).await.map_err(|source| program::refused(path, source))
}
