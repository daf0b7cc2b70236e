//! A command in a container with devctl's own terminal or pipes: `db shell`.
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

use super::Docker;
use super::error::Error;
use super::running::{exec_code, explain_exec};
use crate::os::terminal::{self, Ending, Input, RawMode, WindowChanges};

/// What the shell of a program dies of when nobody reads its output any more: 128 + SIGPIPE.
const BROKEN_PIPE: i32 = 141;

/// Keys that leave the command running behind one's back. The engine's own (Ctrl+P, Ctrl+Q) hold back every Ctrl+P,
/// which line editors use; nobody types these.
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
}

pub(super) async fn run(docker: &Docker, container: &str, spec: ShellSpec) -> Result<i32, Error> {
    let ShellSpec { argv, env, user, tty, input } = spec;
    let client = docker.client();
    let config = ExecConfig {
        attach_stdin: Some(input),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        detach_keys: Some(DETACH_KEYS.to_owned()),
        tty: Some(tty),
        env: Some(env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: Some(argv),
        user,
        ..ExecConfig::default()
    };
    let made = client.create_exec(container, config).await.map_err(|e| explain_exec(container, e))?;

    // Held to the end of this function, whichever way it is left.
    let _raw = if tty { Some(RawMode::enter().map_err(|source| Error::Terminal { source })?) } else { None };
    let watch = |source| Error::Terminal { source };
    let mut ending = if tty { Some(Ending::watch().map_err(watch)?) } else { None };
    let changes = if tty { Some(WindowChanges::watch().map_err(watch)?) } else { None };

    let options = StartExecOptions { detach: false, tty, output_capacity: Some(64 * 1024) };
    let started = client.start_exec(&made.id, Some(options)).await.map_err(|e| explain_exec(container, e))?;
    let StartExecResults::Attached { output, input: sink } = started else {
        return exec_code(docker, container, &made.id).await;
    };

    let shown = tokio::select! {
        shown = show(output) => shown,
        never = feed(input, sink) => match never {},
        never = resize(client, &made.id, changes) => match never {},
        signal = next_ending(ending.as_mut()) => return Ok(128 + signal),
    };
    match shown {
        Ok(()) => exec_code(docker, container, &made.id).await,
        Err(Shown::Engine(error)) => Err(explain_exec(container, error)),
        Err(Shown::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
        Err(Shown::Output(source)) => Err(Error::Terminal { source }),
    }
}

/// Why showing the output ended early.
enum Shown {
    Engine(Call),
    Output(io::Error),
}

async fn show(mut output: impl Stream<Item = Result<LogOutput, Call>> + Unpin) -> Result<(), Shown> {
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
async fn feed(wanted: bool, mut sink: impl AsyncWrite + Unpin) -> Infallible {
    if wanted {
        let mut input = Input::open();
        while let Some(bytes) = input.next().await {
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

/// Gives the command's screen the size of ours, now and whenever it changes.
async fn resize(client: &bollard::Docker, exec: &str, changes: Option<WindowChanges>) -> Infallible {
    if let Some(mut changes) = changes {
        loop {
            if let Some((width, height)) = terminal::size() {
                // The engine refuses until the command's process is there, so the first sizes are sent again.
                for _ in 0..5 {
                    if client.resize_exec(exec, ResizeExecOptions { height, width }).await.is_ok() {
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
