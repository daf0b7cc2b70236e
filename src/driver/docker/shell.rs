//! A command in a container with devctl's own terminal or pipes: `exec`, `db shell`.
//!
//! With a terminal, every key goes to the command and its screen is as large as ours; the terminal is given back as it
//! was, however this ends. With pipes, the end of our input is the end of the command's.

use std::convert::Infallible;
use std::io;

use bollard::container::LogOutput;
use bollard::errors::Error as Call;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::Docker;
use super::error::Error;
use super::running::{exec_code, explain_exec};
use crate::os::terminal::{self, Ending, Input, RawMode, WindowChanges};

/// What the shell of a program dies of when nobody reads its output any more: 128 + SIGPIPE.
pub(super) const BROKEN_PIPE: i32 = 141;

/// Keys that leave the command running behind one's back. The engine's own (Ctrl+P, Ctrl+Q) hold back every Ctrl+P,
/// which line editors use, and end a command that is left; nobody types these.
const DETACH_KEYS: &str = "ctrl-^,ctrl-@,ctrl-^";

/// A command to run interactively in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables on top of the container's. Secrets belong here rather than into `argv`.
    pub env: Vec<(String, String)>,
    /// The user to run as; the container's own where `None`.
    pub user: Option<String>,
    /// Whether the command gets a terminal: only where devctl's input and output are one.
    pub tty: bool,
    /// Whether devctl's input goes to the command. Without it nothing is read, so that a loop's input stays whole.
    pub input: bool,
    /// The folder to run it in; the container's own where `None`.
    pub workdir: Option<String>,
    /// Whether it gets all rights over the machine.
    pub privileged: bool,
    /// Whether Ctrl+P Ctrl+Q leaves the command running and gives the terminal back.
    pub can_detach: bool,
}

/// How a command in a container ended, for whoever started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code, or its terminal was taken away by a signal: 128 and its number.
    Code(i32),
    /// It runs on: its user left it.
    Left,
}

/// What the engine is told of a command.
fn config(spec: ShellSpec, attached: bool) -> ExecConfig {
    let ShellSpec { argv, env, user, tty, input, workdir, privileged, can_detach: _ } = spec;
    ExecConfig {
        attach_stdin: Some(attached && input),
        attach_stdout: Some(attached),
        attach_stderr: Some(attached),
        detach_keys: attached.then(|| DETACH_KEYS.to_owned()),
        tty: Some(tty),
        env: Some(env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: Some(argv),
        user,
        working_dir: workdir,
        privileged: Some(privileged),
        console_size: None,
    }
}

/// Starts a command in a container and leaves it to itself.
pub(super) async fn run_detached(docker: &Docker, container: &str, spec: ShellSpec) -> Result<(), Error> {
    let client = docker.client();
    let tty = spec.tty;
    let made = client.create_exec(container, config(spec, false)).await.map_err(|e| explain_exec(container, e))?;
    let options = StartExecOptions { detach: true, tty, output_capacity: None };
    client.start_exec(&made.id, Some(options)).await.map_err(|e| explain_exec(container, e))?;
    Ok(())
}

pub(super) async fn run(docker: &Docker, container: &str, spec: ShellSpec) -> Result<Ended, Error> {
    let client = docker.client();
    let ShellSpec { tty, input, can_detach, .. } = spec;
    let made = client.create_exec(container, config(spec, true)).await.map_err(|e| explain_exec(container, e))?;

    // Held to the end of this function, whichever way it is left.
    let _raw = if tty { Some(RawMode::enter().map_err(|source| Error::Terminal { source })?) } else { None };
    let watch = |source| Error::Terminal { source };
    let mut ending = if tty { Some(Ending::watch().map_err(watch)?) } else { None };
    let changes = if tty { Some(WindowChanges::watch().map_err(watch)?) } else { None };

    let options = StartExecOptions { detach: false, tty, output_capacity: Some(64 * 1024) };
    let started = client.start_exec(&made.id, Some(options)).await.map_err(|e| explain_exec(container, e))?;
    let StartExecResults::Attached { output, input: sink } = started else {
        return Ok(Ended::Code(exec_code(docker, container, &made.id).await?));
    };

    let (typed, mut has_left) = watch::channel(false);
    let typed = (tty && can_detach).then_some(typed);
    let resize = async |width, height| client.resize_exec(&made.id, ResizeExecOptions { height, width }).await.is_ok();
    let shown = tokio::select! {
        shown = show(output) => shown,
        never = feed(input, sink, typed.as_ref().map(|typed| (typed, Keys::HeldBack))) => match never {},
        never = follow_size(changes, resize) => match never {},
        () = has_typed(&mut has_left) => return Ok(Ended::Left),
        signal = next_ending(ending.as_mut()) => return Ok(Ended::Code(128 + signal)),
    };
    match shown {
        Ok(()) if *has_left.borrow() => Ok(Ended::Left),
        Ok(()) => Ok(Ended::Code(exec_code(docker, container, &made.id).await?)),
        Err(Shown::Engine(error)) => Err(explain_exec(container, error)),
        Err(Shown::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ended::Code(BROKEN_PIPE)),
        Err(Shown::Output(source)) => Err(Error::Terminal { source }),
    }
}

/// Why showing the output ended early.
pub(super) enum Shown {
    Engine(Call),
    Output(io::Error),
}

pub(super) async fn show(mut output: impl Stream<Item = Result<LogOutput, Call>> + Unpin) -> Result<(), Shown> {
    let mut stdout = tokio::io::stdout();
    let mut stderr = tokio::io::stderr();
    while let Some(chunk) = output.next().await {
        match chunk.map_err(Shown::Engine)? {
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                write(&mut stdout, &message).await
            }
            LogOutput::StdErr { message } => write(&mut stderr, &message).await,
        }
        .map_err(Shown::Output)?;
    }
    Ok(())
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Copies our input, and ends the command's where ours ends. Runs beside [`show`] and never instead of it: a command
/// that waits for its output to be read does not read its input.
///
/// Looks out for the keys that leave a command to itself, where somebody wants to know.
pub(super) async fn feed(
    wanted: bool,
    mut sink: impl AsyncWrite + Unpin,
    left: Option<(&watch::Sender<bool>, Keys)>,
) -> Infallible {
    if wanted {
        let mut input = Input::open();
        let mut keys = LeaveKeys::default();
        while let Some(mut bytes) = input.next().await {
            let has_left = match left {
                Some((_, Keys::HeldBack)) => keys.filter(&mut bytes),
                Some((_, Keys::PassedOn)) => keys.filter(&mut bytes.clone()),
                None => false,
            };
            if let Some((left, what)) = left.filter(|_| has_left) {
                // Told before the engine hears of it, which may end the output at once.
                left.send_replace(true);
                match what {
                    Keys::HeldBack => return std::future::pending().await,
                    Keys::PassedOn => {}
                }
            }
            if write(&mut sink, &bytes).await.is_err() {
                // The command has closed its input; its output goes on.
                break;
            }
        }
        // Fails where the command is gone already, which its output tells.
        let _ = sink.shutdown().await;
    }
    std::future::pending().await
}

/// Waits until the keys were typed that leave a command to itself.
async fn has_typed(left: &mut watch::Receiver<bool>) {
    if left.wait_for(|left| *left).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What becomes of the keys that leave a command to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// The engine does not get them: those before 25 end a command that is left by them.
    HeldBack,
    /// The engine gets them, and lets go: a container whose input somebody else closes would end with it.
    PassedOn,
}

/// Ctrl+P Ctrl+Q, which may come in two reads. A Ctrl+P is held back until it is known what follows, as Docker does.
#[derive(Default)]
struct LeaveKeys {
    half: bool,
}

impl LeaveKeys {
    /// Takes out of what was typed what the command is not to get, and tells whether it is left.
    fn filter(&mut self, bytes: &mut Vec<u8>) -> bool {
        const CTRL_P: u8 = 0x10;
        const CTRL_Q: u8 = 0x11;
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes.iter().copied() {
            if std::mem::take(&mut self.half) {
                if byte == CTRL_Q {
                    return true;
                }
                passed.push(CTRL_P);
            }
            if byte == CTRL_P {
                self.half = true;
            } else {
                passed.push(byte);
            }
        }
        *bytes = passed;
        false
    }
}

/// Gives a screen in a container the size of ours, now and whenever it changes.
pub(super) async fn follow_size(
    changes: Option<WindowChanges>,
    mut resize: impl AsyncFnMut(u16, u16) -> bool,
) -> Infallible {
    if let Some(mut changes) = changes {
        loop {
            if let Some((width, height)) = terminal::size() {
                // The engine refuses until the command's process is there, so the first sizes are sent again.
                for _ in 0..5 {
                    if resize(width, height).await {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            changes.next().await;
        }
    }
    std::future::pending().await
}

async fn next_ending(ending: Option<&mut Ending>) -> i32 {
    match ending {
        Some(ending) => ending.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::LeaveKeys;

    #[test]
    fn the_keys_that_leave_are_seen_across_reads_and_all_else_is_passed_on() {
        for (reads, passed, expected) in [
            (&[&b"\x10\x11"[..]][..], &b""[..], true),
            (&[b"ls\x10", b"\x11"], b"ls", true),
            (&[b"\x10\x10\x11"], b"", true),
            (&[b"\x10", b"x\x11"], b"\x10x\x11", false),
            (&[b"\x10\x10", b"x"], b"\x10\x10x", false),
            (&[b"\x11\x10", b"\r"], b"\x11\x10\r", false),
            (&[b""], b"", false),
        ] {
            let (mut keys, mut got) = (LeaveKeys::default(), Vec::new());
            let left = reads.iter().any(|read| {
                let mut bytes = read.to_vec();
                let left = keys.filter(&mut bytes);
                if !left {
                    got.extend(bytes);
                }
                left
            });
            assert_eq!(left, expected, "{reads:?}");
            if !left || reads.len() > 1 {
                assert_eq!(got, passed, "{reads:?}");
            }
        }
    }
}
