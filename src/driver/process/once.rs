//! Runs a command to its end: a build, an `exec` probe. Dropping the future kills all of it.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::pump::{Take, pump};
use crate::driver::ExecOutput;
use crate::os::process::Kill;
use crate::os::spawn::{Order, Spawned, Spawner};
use crate::os::tree::{self, Tree};

/// How much of a command's output is kept.
const TAIL: usize = 4096;

/// Runs a command; its outputs go to `stdout` and `stderr`. What it leaves running in its session is killed.
pub(super) async fn run(
    spawner: &Spawner,
    order: Order,
    stdout: impl Take + 'static,
    stderr: impl Take + 'static,
) -> io::Result<ExitStatus> {
    let Spawned { mut child, id, terminal: _ } = spawner.spawn(order).await?;
    // Without a cookie: the command carries that of its service, which must not die with it.
    let all = KillOnDrop(Tree::new(id, None));
    let (end, ended) = watch::channel(false);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (for_out, for_err) = (ended.clone(), ended);
    let out = async move {
        if let Some(pipe) = out {
            drop(pump(pipe, stdout, for_out).await);
        }
    };
    let err = async move {
        if let Some(pipe) = err {
            drop(pump(pipe, stderr, for_err).await);
        }
    };
    let wait = async {
        let status = child.wait().await;
        drop(all);
        // Without receivers both pipes have ended already.
        let _ = end.send(true);
        status
    };
    let (status, (), ()) = tokio::join!(wait, out, err);
    status
}

/// Runs a command and keeps the end of its output.
pub(super) async fn output(spawner: &Spawner, order: Order) -> io::Result<ExecOutput> {
    let tail = Tail::default();
    let status = run(spawner, order, tail.clone(), tail.clone()).await?;
    Ok(ExecOutput { code: code(status), output: tail.text() })
}

/// The exit code as a shell would tell it: 128 + the signal where one ended the command.
fn code(status: ExitStatus) -> i32 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    status.code().or(signal.map(|s| 128 + s)).unwrap_or(-1)
}

/// Kills a tree when it is dropped, at once: whoever drops it may be about to end devctl.
struct KillOnDrop(Tree);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let members = self.0.members();
        if !members.is_empty() {
            tree::signal(&members, Kill::Kill);
        }
    }
}

/// The end of what a command printed, both outputs together.
#[derive(Clone, Default)]
struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Take for Tail {
    async fn take(&mut self, piece: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(piece);
        let surplus = kept.len().saturating_sub(TAIL);
        kept.drain(..surplus);
    }

    async fn end(&mut self) {}
}
