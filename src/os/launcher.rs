//! Two processes for one `devctl up` at a terminal: the launcher, which the shell waits for, and the supervisor, which
//! has the stack. So the supervisor can leave the terminal and give the prompt back without being started anew.
//!
//! The launcher alone is told what the user wants: it passes signals on through a socket pair, stops for Ctrl+Z, and
//! ends as the supervisor ended. Neither outlives the other by accident: the supervisor reads the end of the socket as a
//! hang-up, and the launcher tidies the terminal up where the supervisor could not.

use std::process::ExitCode;

use tokio::sync::mpsc::UnboundedReceiver;

use super::signals::Passed;

#[cfg(unix)]
pub use unix::{Launcher, Link, split};

#[cfg(not(unix))]
pub use other::{Launcher, Link, split};

/// Which of the two this process is.
pub enum Role {
    /// There is no terminal, so there is one process.
    Alone,
    /// The process that does the work; it listens to the launcher.
    Supervisor(Link),
    /// The process that the shell waits for. Its work is done, this is its exit code.
    Launcher(ExitCode),
}

/// What the shell does with the job that this run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Ctrl+Z: the launcher will stop once `Launcher::may_stop` is said.
    Stops,
    /// `fg` or `bg`.
    Continues,
}

/// The two streams that come from a launcher.
pub struct Heard {
    /// The signals, for [`super::signals::Signals`].
    pub passed: Passed,
    /// What the shell does.
    pub jobs: UnboundedReceiver<Job>,
    /// The way back.
    pub launcher: Launcher,
}

#[cfg(unix)]
mod unix {
    #![expect(unsafe_code, reason = "fork and signal handlers")]

    use std::io::{self, IsTerminal as _, Read as _, Write as _};
    use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
    use std::os::unix::net::UnixStream;
    use std::process::ExitCode;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::time::{Duration, Instant};

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, raise, sigaction, sigprocmask};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::{ForkResult, Pid, fork};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::{Heard, Job, Role};
    use crate::event;
    use crate::os::keys::Before;
    use crate::os::signals::Pass;

    /// What the launcher reacts to; all but the last is passed on.
    const WATCHED: [Signal; 7] = [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGCONT,
        Signal::SIGCHLD,
    ];

    /// How long the supervisor may take to put the terminal in order before the launcher stops. It takes a millisecond,
    /// unless the terminal itself is stopped (Ctrl+S).
    const PATIENCE: Duration = Duration::from_secs(1);

    /// What the supervisor says: four bytes, the first of which is one of these.
    const SIZE: usize = 4;
    const KEYS: u8 = b'k';
    const NO_KEYS: u8 = b'n';
    const MAY_STOP: u8 = b's';
    const DETACHED: u8 = b'd';

    /// Where the signal handler writes. A handler is given nothing but a number, so this is the one global there is.
    static NOTES: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn note(signal: libc::c_int) {
        let errno = Errno::last_raw();
        let byte = u8::try_from(signal).unwrap_or_default();
        // SAFETY: `write` is async-signal-safe, and the pointer is to one byte on the stack. The pipe never blocks; were
        // it full, the launcher would have thousands of signals to read already.
        let _ = unsafe { libc::write(NOTES.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
        Errno::set_raw(errno);
    }

    extern "C" fn shrug(_: libc::c_int) {}

    /// Makes two processes of this one where there is a terminal. Must be called while there is one thread.
    ///
    /// Where the system cannot make another process there is one that does without keys.
    pub fn split() -> Role {
        let seen = io::stdout().is_terminal() || io::stderr().is_terminal();
        if !io::stdin().is_terminal() || !seen {
            return Role::Alone;
        }
        fork_off().unwrap_or(Role::Alone)
    }

    fn fork_off() -> io::Result<Role> {
        let (ours, theirs) = UnixStream::pair()?;
        let (notes, noting) = quiet_pipe()?;
        // Where whoever started us ignores the ends of children, the kernel would not tell us either.
        handle(Signal::SIGCHLD, SigHandler::SigDfl)?;
        // Until each of the two has its handlers nothing may arrive.
        let held: SigSet = WATCHED.into_iter().collect();
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before))?;
        let unblock = || sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        // SAFETY: there is one thread, so the child may do whatever its parent may.
        match unsafe { fork() } {
            Err(error) => {
                unblock()?;
                Err(error.into())
            }
            Ok(ForkResult::Child) => {
                drop((ours, notes, noting));
                leave_to_the_launcher()?;
                unblock()?;
                Ok(Role::Supervisor(Link { socket: theirs }))
            }
            Ok(ForkResult::Parent { child }) => {
                drop(theirs);
                NOTES.store(noting.as_raw_fd(), Ordering::Relaxed);
                for signal in WATCHED {
                    handle(signal, SigHandler::Handler(note))?;
                }
                unblock()?;
                let code = Launch { child, link: Some(ours), notes, keys: None }.run();
                drop(noting);
                Ok(Role::Launcher(code))
            }
        }
    }

    /// A pipe whose ends no child inherits and nobody waits at.
    fn quiet_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let (read, write) = nix::unistd::pipe()?;
        for end in [&read, &write] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok((read, write))
    }

    fn handle(signal: Signal, handler: SigHandler) -> nix::Result<()> {
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handlers of this file make async-signal-safe calls only, and others are not given.
        unsafe { sigaction(signal, &action) }.map(drop)
    }

    /// What the keyboard sends to both is for the launcher. The signals that end a run are left to
    /// [`crate::os::signals`], which counts those that reach both once.
    fn leave_to_the_launcher() -> nix::Result<()> {
        // A handler, not `SIG_IGN`, which every program we start would inherit.
        handle(Signal::SIGQUIT, SigHandler::Handler(shrug))?;
        handle(Signal::SIGTSTP, SigHandler::Handler(shrug))?;
        // Here a handler would not do: with one, a write in the background is begun again for ever. The spawner gives
        // programs the default action back.
        handle(Signal::SIGTTOU, SigHandler::SigIgn)?;
        handle(Signal::SIGTTIN, SigHandler::SigIgn)
    }

    /// The launcher. It allocates nothing while it waits: each page that it touched would be a page of its own.
    struct Launch {
        child: Pid,
        /// Gone once the supervisor has closed its end.
        link: Option<UnixStream>,
        notes: OwnedFd,
        /// What the terminal was before the supervisor began to read keys.
        keys: Option<Before>,
    }

    /// How the supervisor is gone, as far as the launcher cares.
    enum Over {
        Detached,
        Ended(WaitStatus),
    }

    /// What the supervisor said, where it calls for something.
    enum Said {
        Nothing,
        MayStop,
        Detached,
    }

    impl Launch {
        fn run(mut self) -> ExitCode {
            loop {
                let (noted, said) = self.wait();
                // What was said before the end comes before the end.
                if said && matches!(self.listen(), Said::Detached) {
                    return ExitCode::SUCCESS;
                }
                match if noted { self.pass_on() } else { None } {
                    None => {}
                    Some(Over::Detached) => return ExitCode::SUCCESS,
                    Some(Over::Ended(status)) => return self.finish(status),
                }
            }
        }

        /// Waits for a signal and for the supervisor; answers which of them has something to say.
        fn wait(&self) -> (bool, bool) {
            // Where the link is gone, the notes stand in for it.
            let link = self.link.as_ref().map_or(self.notes.as_fd(), AsFd::as_fd);
            let mut fds = [PollFd::new(self.notes.as_fd(), PollFlags::POLLIN), PollFd::new(link, PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::NONE).is_err() {
                // A signal has interrupted it; its note is found the next time.
                return (false, false);
            }
            let [noted, said] = fds.map(|fd| fd.any().unwrap_or(true));
            (noted, said && self.link.is_some())
        }

        /// Takes one message of the supervisor's.
        fn listen(&mut self) -> Said {
            let mut said = [0; SIZE];
            let Some(Ok(())) = self.link.as_mut().map(|link| link.read_exact(&mut said)) else {
                // Its end is told by SIGCHLD.
                self.link = None;
                return Said::Nothing;
            };
            match said {
                [KEYS, before @ ..] => self.keys = Some(Before::from_bytes(before)),
                [NO_KEYS, ..] => self.keys = None,
                [MAY_STOP, ..] => return Said::MayStop,
                [DETACHED, ..] => return Said::Detached,
                _ => {}
            }
            Said::Nothing
        }

        /// Reacts to the signals that were noted.
        fn pass_on(&mut self) -> Option<Over> {
            let mut noted = [0; 64];
            let count = nix::unistd::read(&self.notes, &mut noted).unwrap_or(0);
            for &byte in &noted[..count] {
                match Signal::try_from(i32::from(byte)) {
                    Ok(Signal::SIGCHLD) => match waitpid(self.child, Some(WaitPidFlag::WNOHANG)) {
                        Ok(WaitStatus::StillAlive) => {}
                        Ok(status) => return self.last_words().or(Some(Over::Ended(status))),
                        // Never: it is our child, and nobody else waits for it.
                        Err(_) => return self.last_words().or(Some(Over::Ended(WaitStatus::Exited(self.child, 1)))),
                    },
                    Ok(Signal::SIGTSTP) => {
                        if let Some(over) = self.stop() {
                            return Some(over);
                        }
                    }
                    Ok(_) => self.tell(byte),
                    Err(_) => {}
                }
            }
            None
        }

        /// What the supervisor said before it ended and was not read yet.
        fn last_words(&mut self) -> Option<Over> {
            while self.link.is_some() {
                if matches!(self.listen(), Said::Detached) {
                    return Some(Over::Detached);
                }
            }
            None
        }

        fn tell(&mut self, byte: u8) {
            if let Some(link) = &mut self.link {
                // A supervisor that is gone is told of by SIGCHLD.
                let _ = link.write_all(&[byte]);
            }
        }

        /// Ctrl+Z: lets the supervisor put the terminal in order, then stops. Answers where the supervisor went away.
        fn stop(&mut self) -> Option<Over> {
            self.tell(number(Signal::SIGTSTP));
            let end = Instant::now() + PATIENCE;
            while let Some(link) = &self.link {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let mut fds = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
                let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                if !matches!(poll(&mut fds, patience), Ok(1..)) {
                    continue;
                }
                match self.listen() {
                    Said::Nothing => {}
                    Said::MayStop => break,
                    Said::Detached => return Some(Over::Detached),
                }
            }
            // Where the stop is refused (nobody could ever continue us: an orphaned group), this comes back at once.
            let stopped = handle(Signal::SIGTSTP, SigHandler::SigDfl).and_then(|()| raise(Signal::SIGTSTP));
            let _ = handle(Signal::SIGTSTP, SigHandler::Handler(note)).and(stopped);
            self.tell(number(Signal::SIGCONT));
            None
        }

        /// Ends as the supervisor ended.
        fn finish(&self, status: WaitStatus) -> ExitCode {
            if let Some(before) = self.keys {
                before.restore();
            }
            match status {
                WaitStatus::Exited(_, code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
                WaitStatus::Signaled(
                    _,
                    signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT),
                    _,
                ) => {
                    // It died before it could listen; whoever started us shall see what happened.
                    let _ = handle(signal, SigHandler::SigDfl).and_then(|()| raise(signal));
                    ExitCode::from(128 + number(signal))
                }
                WaitStatus::Signaled(pid, signal, _) => {
                    let text = format!("devctl (pid {pid}) was killed; its guardian stops what it started\n");
                    say(&text);
                    ExitCode::from(128 + number(signal))
                }
                _ => ExitCode::FAILURE,
            }
        }
    }

    /// Says something in place of a supervisor that cannot any more: live lines may be on the screen, and the cursor
    /// may be hidden.
    fn say(text: &str) {
        let terminal = |text: &str| format!("\r\u{1b}[K\u{1b}[0m\u{1b}[?25h{text}");
        // Standard error first: it is what errors are read from.
        let _ = if io::stderr().is_terminal() {
            io::stderr().write_all(terminal(text).as_bytes())
        } else {
            let _ = io::stderr().write_all(text.as_bytes());
            io::stdout().write_all(terminal("").as_bytes())
        };
    }

    fn number(signal: Signal) -> u8 {
        u8::try_from(signal as i32).expect("signals have small numbers")
    }

    /// The supervisor's end of the socket.
    pub struct Link {
        socket: UnixStream,
    }

    impl Link {
        /// Begins to listen; inside the runtime.
        pub fn listen(self) -> io::Result<Heard> {
            self.socket.set_nonblocking(true)?;
            let voice = self.socket.try_clone()?;
            let ear = tokio::net::UnixStream::from_std(self.socket)?;
            let (pass, passed) = unbounded_channel();
            let (tell, jobs) = unbounded_channel();
            tokio::spawn(hear(ear, pass.clone(), tell));
            Ok(Heard { passed, jobs, launcher: Launcher { voice, pass } })
        }
    }

    async fn hear(ear: tokio::net::UnixStream, pass: UnboundedSender<Pass>, jobs: UnboundedSender<Job>) {
        let mut heard = [0; 64];
        loop {
            let count = match ear.readable().await {
                Ok(()) => match ear.try_read(&mut heard) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    read => read.unwrap_or(0),
                },
                Err(_) => 0,
            };
            // Where nobody listens any more, the run is over.
            if count == 0 {
                let _ = pass.send(Pass::Gone);
                return;
            }
            for &byte in &heard[..count] {
                let _ = match Signal::try_from(i32::from(byte)) {
                    Ok(Signal::SIGTSTP) => jobs.send(Job::Stops).map_err(drop),
                    Ok(Signal::SIGCONT) => jobs.send(Job::Continues).map_err(drop),
                    Ok(Signal::SIGINT) => pass.send(Pass::Signal(event::Signal::Int)).map_err(drop),
                    Ok(Signal::SIGTERM) => pass.send(Pass::Signal(event::Signal::Term)).map_err(drop),
                    Ok(Signal::SIGHUP) => pass.send(Pass::Signal(event::Signal::Hup)).map_err(drop),
                    Ok(Signal::SIGQUIT) => pass.send(Pass::Quit).map_err(drop),
                    Ok(_) | Err(_) => Ok(()),
                };
            }
        }
    }

    /// What the supervisor can tell its launcher.
    pub struct Launcher {
        voice: UnixStream,
        pass: UnboundedSender<Pass>,
    }

    impl Launcher {
        /// Keys will be read from now on; this is what the terminal was before.
        pub(in crate::os) fn keys(&mut self, before: Before) {
            let [a, b, c] = before.to_bytes();
            self.tell([KEYS, a, b, c]);
        }

        /// The terminal is as it was.
        pub(in crate::os) fn no_keys(&mut self) {
            self.tell([NO_KEYS, 0, 0, 0]);
        }

        /// The terminal is in order: the shell may have it.
        pub(in crate::os) fn may_stop(&mut self) {
            self.tell([MAY_STOP, 0, 0, 0]);
        }

        /// The supervisor has left the terminal: the launcher's work is done. Signals are the supervisor's own from now
        /// on.
        pub(in crate::os) fn detached(mut self) {
            let _ = self.pass.send(Pass::Detached);
            self.tell([DETACHED, 0, 0, 0]);
        }

        fn tell(&mut self, message: [u8; SIZE]) {
            // A launcher that is gone is told of by the end of the socket.
            let _ = self.voice.write_all(&message);
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::convert::Infallible;
    use std::io;

    use super::{Heard, Role};

    /// One process: this platform has no job control.
    pub fn split() -> Role {
        Role::Alone
    }

    /// There is none here.
    pub struct Link(Infallible);

    impl Link {
        /// Never called.
        pub fn listen(self) -> io::Result<Heard> {
            match self.0 {}
        }
    }

    /// There is none here.
    pub struct Launcher(Infallible);

    impl Launcher {
        /// Never called.
        pub(in crate::os) fn may_stop(&mut self) {
            match self.0 {}
        }
    }
}
