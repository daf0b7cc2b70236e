//! A pseudo-terminal with devctl in it, and the screen that a person would see.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::Termios;
use pty_process::blocking::{Command, Pty};

use super::{DEADLINE, Project, until};

/// A terminal in which devctl runs.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    /// Dropped, it ends the reader.
    closing: Option<PipeWriter>,
}

struct Shared {
    screen: Mutex<Screen>,
    changed: Condvar,
}

struct Screen {
    parser: vt100::Parser,
    /// Everything that was ever written, escapes and all.
    raw: Vec<u8>,
    ended: bool,
}

impl Terminal {
    /// Starts devctl in a terminal of 120 columns and 40 rows.
    pub(crate) fn start(project: &Project, args: &[&str]) -> Self {
        Self::start_sized(project, args, 120, 40)
    }

    /// Starts devctl in a terminal of that size.
    pub(crate) fn start_sized(project: &Project, args: &[&str], columns: u16, rows: u16) -> Self {
        Self::start_with(project, args, &[], (columns, rows))
    }

    /// Starts devctl in a terminal of that many columns and rows, with more variables in its environment.
    pub(crate) fn start_with(
        project: &Project,
        args: &[&str],
        env: &[(&str, &str)],
        (columns, rows): (u16, u16),
    ) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_devctl")).args(args).env_clear().envs(project.environment());
        Self::spawn(command.current_dir(project.root()).envs(env.iter().copied()), (columns, rows))
    }

    /// Starts an interactive shell with job control, in which `devctl` is found. Its prompt is `$ `.
    pub(crate) fn shell(project: &Project, shell: &str) -> Self {
        let devctl = Path::new(env!("CARGO_BIN_EXE_devctl")).parent().expect("the binary is in a folder");
        let path = super::variable("PATH").unwrap_or_default();
        let command = Command::new(shell)
            // The settings of whoever runs the tests are none of theirs.
            .args(if shell == "bash" { &["--noprofile", "--norc", "-i"][..] } else { &["-i"] })
            .current_dir(project.root())
            .env_clear()
            .envs(project.environment())
            .env("PATH", format!("{}:{path}", devctl.display()))
            .env("PS1", "$ ")
            .env("HISTFILE", "/dev/null");
        let terminal = Self::spawn(command, (120, 40));
        terminal.wait_prompt();
        terminal
    }

    fn spawn(command: Command, (columns, rows): (u16, u16)) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("the system has pseudo-terminals");
        pty.resize(pty_process::Size::new(rows, columns)).expect("the terminal is open");
        let child = command.env("TERM", "xterm-256color").spawn(pts).expect("cargo built the binary");
        let size = |cells| NonZeroU16::new(cells).expect("a terminal has cells");
        let parser = vt100::Parser::new(size(rows), size(columns), 10_000);
        let screen = Mutex::new(Screen { parser, raw: Vec::new(), ended: false });
        let shared = Arc::new(Shared { screen, changed: Condvar::new() });
        let pty = Arc::new(pty);
        let (closed, closing) = std::io::pipe().expect("the system has pipes");
        let reader = std::thread::spawn({
            let (pty, shared) = (Arc::clone(&pty), Arc::clone(&shared));
            move || read(&pty, &closed, &shared)
        });
        Self { pty, child, shared, reader: Some(reader), closing: Some(closing) }
    }

    /// Types.
    pub(crate) fn type_in(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Presses Ctrl+C: the terminal makes it a signal for whoever is in its foreground.
    pub(crate) fn interrupt(&self) {
        self.type_in("\x03");
    }

    /// Presses Ctrl+Z.
    pub(crate) fn suspend(&self) {
        self.type_in("\x1a");
    }

    /// Waits for the shell's prompt with nothing typed after it.
    #[track_caller]
    pub(crate) fn wait_prompt(&self) -> String {
        self.wait_screen("the prompt", |screen| screen.lines().last().is_some_and(|line| line.trim_end() == "$"))
    }

    /// What the terminal does with keys and output at the moment.
    pub(crate) fn modes(&self) -> Termios {
        nix::sys::termios::tcgetattr(&*self.pty).expect("the terminal is open")
    }

    /// The process that was started in the terminal.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are positive")
    }

    /// Closes the window and waits for the shell's end: it has no terminal any more.
    #[track_caller]
    pub(crate) fn close(mut self) {
        drop(self.closing.take());
        let reader = self.reader.take().expect("it is closed once");
        reader.join().expect("the reader does not panic");
        // The last of the two that hold it open.
        let (pty, _) = pty_process::blocking::open().expect("the system has pseudo-terminals");
        drop(std::mem::replace(&mut self.pty, Arc::new(pty)));
        until("the end of the shell", || match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Changes the size of the window.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.pty.resize(pty_process::Size::new(rows, columns)).expect("the terminal is open");
        let size = |cells| NonZeroU16::new(cells).expect("a terminal has cells");
        self.locked().parser.screen_mut().set_size(size(rows), size(columns));
    }

    /// What is on the screen now.
    pub(crate) fn screen(&self) -> String {
        self.locked().parser.screen().contents()
    }

    /// Everything that was written since the start, escapes and all.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.locked().raw).into_owned()
    }

    /// Waits until the screen satisfies `wanted`, and gives it.
    #[track_caller]
    pub(crate) fn wait_screen(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        let mut screen = self.locked();
        loop {
            let contents = screen.parser.screen().contents();
            if wanted(&contents) {
                return contents;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!screen.ended, "devctl ended before the screen showed {what}:\n{contents}");
            assert!(!left.is_zero(), "the screen did not show {what} within {DEADLINE:?}:\n{contents}");
            screen = self.shared.changed.wait_timeout(screen, left).expect("no reader panicked").0;
        }
    }

    /// Waits until a text is on the screen.
    #[track_caller]
    pub(crate) fn wait_text(&self, text: &str) -> String {
        self.wait_screen(&format!("`{text}`"), |screen| screen.contains(text))
    }

    /// Waits until devctl has ended and gives its exit code; `None` where a signal ended it.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let screen = self.screen();
        until("the end of devctl in the terminal", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            Ok(None) => Err(format!("it still runs; the screen was:\n{screen}")),
            Err(error) => Err(error.to_string()),
        })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Screen> {
        self.shared.screen.lock().expect("no reader panicked")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Feeds the screen until the terminal is closed, which Linux tells by an error and macOS by an empty read.
fn read(pty: &Pty, closed: &PipeReader, shared: &Shared) {
    let mut chunk = [0; 8192];
    loop {
        let mut fds = [PollFd::new(pty.as_fd(), PollFlags::POLLIN), PollFd::new(closed.as_fd(), PollFlags::POLLIN)];
        // Interrupted, it says that there is something: the read waits for it then.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any() == Some(true) {
            return;
        }
        let count = (&*pty).read(&mut chunk).unwrap_or(0);
        let mut screen = shared.screen.lock().expect("no test panics while it looks");
        screen.parser.process(&chunk[..count]);
        screen.raw.extend_from_slice(&chunk[..count]);
        screen.ended = count == 0;
        shared.changed.notify_all();
        if count == 0 {
            return;
        }
    }
}
