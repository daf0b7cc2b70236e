//! The terminal of devctl itself, for commands that take it over: raw mode, size, input, and the signals about it.

#[cfg(unix)]
pub use unix::{Ending, RawMode, WindowChanges, size};

#[cfg(not(unix))]
pub use other::{Ending, RawMode, WindowChanges, size};

use tokio::sync::mpsc;

/// Standard input, read by a thread of its own. A read by the runtime could not be taken back: it would keep devctl
/// from ending until somebody presses a key.
pub struct Input {
    chunks: mpsc::Receiver<Vec<u8>>,
    #[cfg(unix)]
    _alive: Option<std::os::fd::OwnedFd>,
}

impl Input {
    /// The next bytes; `None` at the end of the input.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.chunks.recv().await
    }
}

#[cfg(unix)]
mod unix {
    #![expect(unsafe_code, reason = "the size of a terminal is known to an ioctl alone")]

    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::sync::mpsc;

    use super::Input;

    /// The terminal in raw mode: keys go through as they are, Ctrl+C among them. Dropping it restores what was.
    pub struct RawMode {
        before: Termios,
    }

    impl RawMode {
        /// Puts the terminal on standard input into raw mode.
        pub fn enter() -> io::Result<Self> {
            let before = tcgetattr(io::stdin())?;
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
            Ok(Self { before })
        }
    }

    impl Drop for RawMode {
        fn drop(&mut self) {
            // Fails only where the terminal is gone.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
        }
    }

    /// Columns and rows of the terminal on standard output.
    pub fn size() -> Option<(u16, u16)> {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCGWINSZ writes one `winsize` through the pointer, which points to one that outlives the call.
        let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
        (done == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Tells when the terminal's size changes.
    pub struct WindowChanges(Signal);

    impl WindowChanges {
        /// Begins to watch.
        pub fn watch() -> io::Result<Self> {
            Ok(Self(signal(SignalKind::window_change())?))
        }

        /// Waits for the next change.
        pub async fn next(&mut self) {
            if self.0.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells when a signal asks devctl to end. A terminal in raw mode must not be left by the default action, which
    /// runs no guard.
    pub struct Ending {
        interrupt: Signal,
        terminate: Signal,
        hangup: Signal,
    }

    impl Ending {
        /// Begins to watch; from here on these signals do not end the process by themselves.
        pub fn watch() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
            })
        }

        /// Waits for the next signal and answers with its number.
        pub async fn next(&mut self) -> i32 {
            tokio::select! {
                _ = self.interrupt.recv() => libc::SIGINT,
                _ = self.terminate.recv() => libc::SIGTERM,
                _ = self.hangup.recv() => libc::SIGHUP,
            }
        }
    }

    impl Input {
        /// Begins to read. Dropping it ends the thread; what was not read stays for the next reader.
        pub fn open() -> Self {
            let (sender, chunks) = mpsc::channel(4);
            let alive = nix::unistd::pipe().ok().map(|(wake, alive)| {
                std::thread::spawn(move || read(&wake, &sender));
                alive
            });
            Self { chunks, _alive: alive }
        }
    }

    fn read(wake: &OwnedFd, sender: &mpsc::Sender<Vec<u8>>) {
        let stdin = io::stdin();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mut watched =
                [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            if watched[1].any() == Some(true) {
                return;
            }
            match nix::unistd::read(stdin.as_fd(), &mut buffer) {
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::io::{self, Read};

    use tokio::sync::mpsc;

    use super::Input;

    /// The terminal as it is: this platform's stays in line mode.
    pub struct RawMode;

    impl RawMode {
        /// Does nothing here.
        pub fn enter() -> io::Result<Self> {
            Ok(Self)
        }
    }

    /// The size is not known here.
    pub fn size() -> Option<(u16, u16)> {
        None
    }

    /// Changes of the size are not told here.
    pub struct WindowChanges;

    impl WindowChanges {
        /// Begins to watch.
        pub fn watch() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for ever.
        pub async fn next(&mut self) {
            std::future::pending::<()>().await;
        }
    }

    /// The default action of signals is right here: there is nothing to restore.
    pub struct Ending;

    impl Ending {
        /// Begins to watch.
        pub fn watch() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for ever.
        pub async fn next(&mut self) -> i32 {
            std::future::pending().await
        }
    }

    impl Input {
        /// Begins to read. The thread ends with the input, or with the process.
        pub fn open() -> Self {
            let (sender, chunks) = mpsc::channel(4);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 16 * 1024];
                while let Ok(count) = io::stdin().read(&mut buffer) {
                    if count == 0 || sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
            Self { chunks }
        }
    }
}
