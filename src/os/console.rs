//! The terminal that a foreground run is shown on, from the supervisor's side: keys, Ctrl+Z, and leaving it for good.

#[cfg(unix)]
pub use unix::Console;

#[cfg(not(unix))]
pub use other::Console;

/// What happens at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A key that means something.
    Key(Key),
    /// Ctrl+Z: the shell gets its prompt once [`Console::may_stop`] is said.
    Stopping,
    /// The run can be seen again, in the foreground or in the background of the terminal.
    Shown {
        /// Whether it has the terminal to itself.
        foreground: bool,
    },
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `d`: leave the terminal, stop nothing.
    Detach,
    /// `?` or `h`: show the keys.
    Help,
    /// `q`: the same as Ctrl+C.
    Quit,
}

impl Key {
    /// The key of what was read at once. More than one byte is an arrow key, or a text that was pasted by mistake.
    #[cfg(any(unix, test))]
    fn of(read: &[u8]) -> Option<Self> {
        match read {
            b"d" => Some(Self::Detach),
            b"?" | b"h" => Some(Self::Help),
            b"q" => Some(Self::Quit),
            _ => None,
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::time::Duration;

    use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::{Happening, Key};
    use crate::os::keys::{KeyMode, in_foreground};
    use crate::os::launcher::{Heard, Job, Launcher};
    use crate::os::terminal::Input;

    /// How often a run in the background looks whether it is in the foreground: shells say nothing when a job that runs
    /// is only moved.
    const LOOK_EVERY: Duration = Duration::from_millis(500);

    /// The terminal of a foreground run.
    pub struct Console {
        /// Gone once the run has left the terminal.
        launcher: Option<Launcher>,
        /// Gone with the launcher.
        jobs: Option<UnboundedReceiver<Job>>,
        wants_keys: bool,
        stopped: bool,
        keys: Option<(KeyMode, Input)>,
    }

    impl Console {
        /// The terminal behind a launcher, and the signals that it passes on.
        pub fn new(heard: Heard) -> (Self, crate::os::signals::Passed) {
            let Heard { passed, jobs, launcher } = heard;
            (Self { launcher: Some(launcher), jobs: Some(jobs), wants_keys: false, stopped: false, keys: None }, passed)
        }

        /// Reads keys from now on, whenever the run is in the foreground. Answers whether it is.
        pub fn read_keys(&mut self) -> bool {
            self.wants_keys = true;
            self.enter();
            self.keys.is_some()
        }

        /// Whether the run is in the terminal's background.
        pub fn in_background(&self) -> bool {
            in_foreground() == Some(false)
        }

        fn enter(&mut self) {
            let Some(launcher) = &mut self.launcher else { return };
            if self.wants_keys && !self.stopped && self.keys.is_none() {
                self.keys = KeyMode::enter(|before| launcher.keys(before)).map(|mode| (mode, Input::open()));
            }
        }

        fn leave(&mut self) {
            if self.keys.take().is_some()
                && let Some(launcher) = &mut self.launcher
            {
                launcher.no_keys();
            }
        }

        /// What happens next. Cancelling loses nothing.
        pub async fn next(&mut self) -> Happening {
            loop {
                let looks = self.wants_keys && !self.stopped && self.keys.is_none() && in_foreground().is_some();
                tokio::select! {
                    biased;
                    job = told(&mut self.jobs) => match job {
                        Some(Job::Stops) => {
                            self.stopped = true;
                            self.leave();
                            return Happening::Stopping;
                        }
                        Some(Job::Continues) => {
                            self.stopped = false;
                            // It may be told twice, and the shell may have changed the mode in between. Whoever reads
                            // goes on reading: a key that was pressed already would go down with the reader.
                            if !self.keys.as_ref().is_some_and(|(mode, _)| mode.again()) {
                                self.leave();
                                self.enter();
                            }
                            return Happening::Shown { foreground: in_foreground() != Some(false) };
                        }
                        // The shell has its prompt back, and the end of the run is under way.
                        None => {
                            self.jobs = None;
                            self.leave();
                            return Happening::Shown { foreground: false };
                        }
                    },
                    read = pressed(&mut self.keys) => match read {
                        Some(read) => if let Some(key) = Key::of(&read) {
                            return Happening::Key(key);
                        },
                        // The terminal is gone, or the shell has taken it back.
                        None => self.leave(),
                    },
                    () = tokio::time::sleep(LOOK_EVERY), if looks => {
                        self.enter();
                        if self.keys.is_some() {
                            return Happening::Shown { foreground: true };
                        }
                    }
                }
            }
        }

        /// The screen is in order: the shell may have the terminal.
        pub fn may_stop(&mut self) {
            if let Some(launcher) = &mut self.launcher {
                launcher.may_stop();
            }
        }

        /// Leaves the terminal: a session of our own, nothing to read, nobody to print to, errors into `errors`. The
        /// launcher ends, and the shell has its prompt back.
        pub fn detach(&mut self, errors: &File) -> io::Result<()> {
            let nothing = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            self.leave();
            setsid()?;
            dup2_stdin(&nothing)?;
            dup2_stdout(&nothing)?;
            dup2_stderr(errors)?;
            if let Some(launcher) = self.launcher.take() {
                launcher.detached();
            }
            Ok(())
        }
    }

    impl Drop for Console {
        fn drop(&mut self) {
            self.leave();
        }
    }

    async fn told(jobs: &mut Option<UnboundedReceiver<Job>>) -> Option<Job> {
        match jobs {
            Some(jobs) => jobs.recv().await,
            None => std::future::pending().await,
        }
    }

    async fn pressed(keys: &mut Option<(KeyMode, Input)>) -> Option<Vec<u8>> {
        match keys {
            Some((_, input)) => input.next().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::fs::File;
    use std::io;

    use super::Happening;
    use crate::os::launcher::Heard;
    use crate::os::signals::Passed;

    /// There is never one: it takes a launcher.
    pub struct Console(Heard);

    impl Console {
        /// Never called.
        pub fn new(heard: Heard) -> (Self, Passed) {
            let (_, passed) = tokio::sync::mpsc::unbounded_channel();
            (Self(heard), passed)
        }

        /// Never called.
        pub fn read_keys(&mut self) -> bool {
            false
        }

        /// Never called.
        pub fn in_background(&self) -> bool {
            false
        }

        /// Never called.
        pub async fn next(&mut self) -> Happening {
            std::future::pending().await
        }

        /// Never called.
        pub fn may_stop(&mut self) {
            self.0.launcher.may_stop();
        }

        /// Never called.
        pub fn detach(&mut self, _: &File) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn only_a_single_key_is_a_key() {
        for (read, key) in [
            (&b"d"[..], Some(Key::Detach)),
            (b"?", Some(Key::Help)),
            (b"h", Some(Key::Help)),
            (b"q", Some(Key::Quit)),
            (b"D", None),
            (b"\r", None),
            (b"\x1b[D", None),
            (b"docker ps\n", None),
            (b"", None),
        ] {
            assert_eq!(Key::of(read), key, "{read:?}");
        }
    }
}
