//! How much a pipe holds, and how its reader is left alone for a while.

use std::io;
use std::time::Duration;

use tokio::process::{ChildStderr, ChildStdout};

/// The reading end of a pipe of ours.
#[cfg(unix)]
pub use std::os::fd::AsFd as ReadEnd;
/// The reading end of a pipe of ours.
#[cfg(windows)]
pub use std::os::windows::io::AsRawHandle as ReadEnd;

/// Lets a pipe hold four times as much as usual, so that its reader may look less often without making the writer wait.
/// Only for pipes that need it: the memory counts against what the user may have in all pipes, and where the kernel
/// refuses, or knows no such thing, the pipe stays as it is.
#[cfg(target_os = "linux")]
pub fn widen(pipe: &impl ReadEnd) {
    let _ = nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(256 * 1024));
}

/// Pipes have the size they have.
#[cfg(not(target_os = "linux"))]
pub fn widen(_: &impl ReadEnd) {}

/// An output of a child whose reader can look away.
pub trait Rest: Sized + Send {
    /// Waits, without being woken by what is written meanwhile.
    fn rest(self, time: Duration) -> impl Future<Output = io::Result<Self>> + Send {
        async move {
            tokio::time::sleep(time).await;
            Ok(self)
        }
    }
}

/// The kernel wakes the thread that waits for all files at every single write to any of them, whether somebody is about
/// to read that one or not. So this one is taken off its list for the while.
#[cfg(unix)]
impl Rest for ChildStdout {
    async fn rest(self, time: Duration) -> io::Result<Self> {
        let pipe = self.into_owned_fd()?;
        tokio::time::sleep(time).await;
        Self::from_std(pipe.into())
    }
}

#[cfg(unix)]
impl Rest for ChildStderr {
    async fn rest(self, time: Duration) -> io::Result<Self> {
        let pipe = self.into_owned_fd()?;
        tokio::time::sleep(time).await;
        Self::from_std(pipe.into())
    }
}

#[cfg(not(unix))]
impl Rest for ChildStdout {}

#[cfg(not(unix))]
impl Rest for ChildStderr {}
