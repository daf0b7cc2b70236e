//! A terminal that only a child sees, for programs that insist on one. devctl reads what the child writes there and
//! never writes to it.
#![cfg_attr(unix, expect(unsafe_code, reason = "a terminal is handed to a child by bare system calls"))]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

pub use platform::Terminal;
#[cfg(unix)]
pub(super) use platform::{become_ours, open};

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.read(cx, buffer)
    }
}

#[cfg(unix)]
mod platform {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::path::PathBuf;
    use std::process::Stdio;
    use std::task::{Context, Poll, ready};

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    use nix::pty::{OpenptyResult, Winsize, openpty};
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    use tokio::io::unix::AsyncFd;
    use tokio::io::{Interest, ReadBuf};

    use crate::os::pipe::Rest;
    use crate::os::process;

    /// What programs lay their output out for. Not the size of devctl's own terminal: that may change, and in a log
    /// file a line is as long as it is.
    const SIZE: Winsize = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };

    nix::ioctl_write_int_bad!(set_controlling_terminal, libc::TIOCSCTTY);

    /// Our end of a child's terminal: what the child prints. Closing it hangs up on the child.
    #[derive(Debug)]
    pub struct Terminal {
        master: AsyncFd<OwnedFd>,
        /// The file that the child's end is.
        name: Option<PathBuf>,
    }

    impl Rest for Terminal {}

    impl AsFd for Terminal {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.master.get_ref().as_fd()
        }
    }

    /// The child's end.
    pub(in crate::os) struct Slave(OwnedFd);

    impl Slave {
        /// The three standard files of the child.
        pub(in crate::os) fn into_stdio(self) -> io::Result<[Stdio; 3]> {
            let (one, other) = (self.0.try_clone()?, self.0.try_clone()?);
            Ok([one.into(), other.into(), self.0.into()])
        }
    }

    /// Makes a terminal. Only within the asynchronous runtime.
    pub(in crate::os) fn open() -> io::Result<(Terminal, Slave)> {
        let OpenptyResult { master, slave } = openpty(&SIZE, None)?;
        for end in [&master, &slave] {
            // Only the thread that makes children gets here, so none is made in between.
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut settings = tcgetattr(&slave)?;
        // Nobody types here; an echo would come back as output.
        settings.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
        let name = process::file_of(slave.as_raw_fd());
        // SAFETY: an `OwnedFd` has the same open file for as long as it lives, and nobody takes it out again.
        let master = unsafe { AsyncFd::register_with_interest(master, Interest::READABLE) }?;
        Ok((Terminal { master, name }, Slave(slave)))
    }

    /// Makes the standard input the controlling terminal. Runs between fork and exec, as the leader of a new session.
    pub(in crate::os) fn become_ours() -> io::Result<()> {
        // SAFETY: a plain system call on a file that is open.
        unsafe { set_controlling_terminal(libc::STDIN_FILENO, 0) }?;
        Ok(())
    }

    impl Terminal {
        pub(super) fn read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            loop {
                let mut guard = ready!(self.master.poll_read_ready(cx))?;
                let free = buffer.initialize_unfilled();
                match guard.try_io(|master| Ok(nix::unistd::read(master.get_ref(), free)?)) {
                    Ok(Ok(read)) => {
                        buffer.advance(read);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                    // Linux's word for the end: nobody has the other end open any more.
                    Ok(Err(e)) if e.raw_os_error() == Some(Errno::EIO as i32) => return Poll::Ready(Ok(())),
                    Ok(Err(e)) => return Poll::Ready(Err(e)),
                    Err(_not_now) => {}
                }
            }
        }

        /// The processes that still have the child's end open, where the system tells.
        pub fn holders(&self) -> Vec<u32> {
            self.name.as_deref().map(process::file_holders).unwrap_or_default()
        }
    }
}

/// Windows: its pseudo-consoles come with a window protocol of their own, which is not spoken here.
#[cfg(not(unix))]
mod platform {
    use std::convert::Infallible;
    use std::io;
    use std::os::windows::io::{AsRawHandle, RawHandle};
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use crate::os::pipe::Rest;

    /// There is none.
    #[derive(Debug)]
    pub struct Terminal(Infallible);

    impl Rest for Terminal {}

    impl AsRawHandle for Terminal {
        fn as_raw_handle(&self) -> RawHandle {
            match self.0 {}
        }
    }

    impl Terminal {
        pub(super) fn read(&self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }

        /// Nobody.
        pub fn holders(&self) -> Vec<u32> {
            match self.0 {}
        }
    }
}
