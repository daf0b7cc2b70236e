//! Those that are measured: devctl and Docker Compose, each as a person would call it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::project::{LIMIT, Project};
use super::trace::Trace;
use crate::repo;

/// One way to bring the stack up and down.
pub(super) enum Contender {
    /// `devctl up db redis`, or `devctl up` with all that the project has, ended with Ctrl+C.
    Devctl { binary: PathBuf, services: &'static [&'static str] },
    /// `docker compose up -d --wait`, then `docker compose down`.
    Compose,
    /// `docker compose up -d` without `--wait`, and asking every 5 ms from outside until both servers answer: what is left
    /// of Compose's time without its waiting.
    ComposeAsked,
}

/// A stack that is up.
pub(super) enum Stack {
    /// Held by a devctl in the foreground.
    Devctl { child: Child, output: Receiver<String>, start: Start },
    /// Left running by Compose.
    Compose,
}

/// A start as devctl told it.
pub(super) struct Start {
    /// What waited for what, and how long it took.
    pub(super) trace: Trace,
    /// From the start of the command until devctl said that the stack is ready.
    pub(super) ready: Duration,
}

impl Contender {
    /// Brings the stack up; the time is from the start of the command until both servers have answered from the host.
    pub(super) fn up(&self, project: &Project) -> anyhow::Result<(Stack, Duration)> {
        let start = Instant::now();
        let stack = match self {
            Self::Devctl { binary, services } => devctl_up(binary, services, project)?,
            Self::Compose => compose(project, &["up", "--detach", "--wait"])?,
            Self::ComposeAsked => compose(project, &["up", "--detach"])?,
        };
        project.answered()?;
        Ok((stack, start.elapsed()))
    }
}

impl Stack {
    /// Takes the stack down, volumes excepted; the time is until the command has ended.
    pub(super) fn down(self, project: &Project) -> anyhow::Result<Duration> {
        let start = Instant::now();
        match self {
            Self::Compose => {
                compose(project, &["down"])?;
            }
            Self::Devctl { mut child, output, start: _ } => {
                repo::output(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
                wait_for(&output, None, &mut Trace::default())?;
                let status = child.wait()?;
                if !status.success() {
                    bail!("devctl ended with {status}");
                }
            }
        }
        Ok(start.elapsed())
    }
}

fn compose(project: &Project, args: &[&str]) -> anyhow::Result<Stack> {
    let mut command = Command::new("docker");
    command.args(["compose", "--file"]).arg(project.compose_file()).args(args);
    repo::output(&mut command)?;
    Ok(Stack::Compose)
}

fn devctl_up(binary: &PathBuf, services: &[&str], project: &Project) -> anyhow::Result<Stack> {
    let mut command = Command::new(binary);
    command.arg("up").args(services).args(["--driver", "docker", "--format", "json"]).current_dir(project.folder());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run `{}`", repo::shown(&command)))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let mut stderr = child.stderr.take().context("standard error is piped")?;
    let (sender, output) = channel();
    // The pipe is read to its end, whatever happens: a full one would stop devctl.
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        drop(stderr.read_to_string(&mut text));
        text
    });
    let mut trace = Trace::default();
    if let Err(error) = wait_for(&output, Some("stack_ready"), &mut trace) {
        drop(child.kill());
        drop(child.wait());
        let said = errors.join().unwrap_or_default();
        return Err(error.context(format!("devctl said: {}", said.trim_end())));
    }
    let start = Start { trace, ready: began.elapsed() };
    Ok(Stack::Devctl { child, output, start })
}

/// Reads events until the one of that name; until the end of the output where none is named.
fn wait_for(output: &Receiver<String>, name: Option<&str>, trace: &mut Trace) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    let mut last = String::new();
    loop {
        match output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                trace.add(&event);
                if name.is_some_and(|name| event["event"] == name) {
                    return Ok(());
                }
                last = line;
            }
            Err(RecvTimeoutError::Disconnected) if name.is_none() => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("devctl ended early; its last line: {last}"),
            Err(RecvTimeoutError::Timeout) => bail!("nothing within {LIMIT:?}; the last line: {last}"),
        }
    }
}
