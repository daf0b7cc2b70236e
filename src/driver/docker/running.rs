//! A container that runs: started, stopped and examined. Its end is watched in `fate.rs`.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as Call;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerInspectResponse, ContainerState, ExecConfig, HealthStatusEnum};
use bollard::query_parameters::KillContainerOptionsBuilder;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::container::{bound, explain_start, inspect, published, stop_within, whole_seconds};
use super::error::{self, Error};
use super::fate::{self, Fate};
use super::output::{Cursor, end_of_log, follow};
use super::spec::{Hook, StartSpec};
use super::{Docker, connect, files, hooks};
use crate::driver::{Control, DriverError, ExecOutput, Health, Listener, Running, StartContext};
use crate::event::{Exit, Handle};
use crate::logs::{LogSink, Stream};
use crate::os::process::Kill;

/// How long an engine that does not answer may stay away before it is taken for gone. A restart of an engine that
/// keeps its containers takes a second or two.
const ABSENCE: Duration = Duration::from_secs(3);

/// The pause between two looks at an engine that is away, or at a container that the engine is about to restart.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How much of a command's output is kept.
const OUTPUT: usize = 4096;

pub(super) async fn start(docker: &Docker, spec: &StartSpec, cx: &StartContext) -> Result<Running, Error> {
    let absent = || Error::NoSuchContainer { container: spec.name.clone() };
    let before = inspect(docker, &spec.name).await?.ok_or_else(absent)?;
    let id = before.id.clone().ok_or_else(absent)?;
    let runs = before.state.as_ref().is_some_and(is_alive);
    let (wanted, picked) = published(&before);
    let stop_signal = before.config.as_ref().and_then(|config| config.stop_signal.clone());

    // A container that never ran is read from its first line.
    let cursor = if ever_ran(&before) { end_of_log(docker, &id).await } else { Cursor::default() };
    let ports = if runs {
        bound(&before)
    } else {
        files::write(docker, &id, &spec.files).await?;
        if let Err(error) = docker.client().start_container(&id, None).await {
            return Err(explain_start(docker, &spec.name, &wanted, error).await);
        }
        // Ports that the engine picks are known only now.
        if picked { inspect(docker, &id).await?.as_ref().map(bound).unwrap_or_default() } else { wanted }
    };

    // A start by hand, which this was, makes the engine count from 0.
    let restarts = if runs { before.restart_count.unwrap_or_default() } else { 0 };
    let (tell, fate) = watch::channel(Fate::default());
    let (asked, is_asked) = watch::channel(false);
    // Nobody owns these tasks: they end with the container, or with the engine.
    tokio::spawn(fate::watch(docker.clone(), id.clone(), cx.logs.clone(), tell, is_asked, restarts));
    tokio::spawn(follow(docker.clone(), id.clone(), cx.logs.clone(), cursor, fate.clone()));
    if !runs {
        hooks::run(docker, &spec.name, "post_start", &spec.post_start, &cx.logs).await?;
    }
    let (handle, name) = (Handle::Container { id: id.clone(), name: spec.name.clone() }, spec.name.clone());
    Ok(Running {
        handle,
        exit: end(fate.clone()).boxed(),
        control: Arc::new(Container {
            docker: docker.clone(),
            id,
            name,
            stop_signal,
            ports,
            asked,
            fate,
            pre_stop: spec.pre_stop.clone(),
            logs: cx.logs.clone(),
        }),
    })
}

async fn end(mut fate: watch::Receiver<Fate>) -> Exit {
    let end = fate.wait_for(|fate| fate.end.is_some()).await.ok().and_then(|fate| fate.end.clone());
    end.unwrap_or_else(|| Exit { lost: Some("devctl watches it no more".to_owned()), ..Exit::default() })
}

/// What a look at a container says.
pub(super) enum Look {
    /// It is gone, or stopped.
    Ended {
        /// How.
        exit: Exit,
        /// When the life that ended began, in the engine's words; `None` where it is gone.
        began: Option<String>,
    },
    /// It runs, or is about to.
    Lives {
        /// How often the engine has restarted it by itself.
        restarts: i64,
    },
    /// The engine is not there any more.
    EngineGone(String),
}

/// Looks at a container that seems to have ended. `code` is what is known of its end.
pub(super) async fn look(docker: &Docker, id: &str, code: Option<i32>) -> Look {
    let gone = |reason: String| match code {
        Some(_) => Look::Ended { exit: Exit { code, ..Exit::default() }, began: None },
        None => Look::EngineGone(reason),
    };
    let mut reason = format!("nothing came back within {} s", ABSENCE.as_secs());
    let asking = async {
        loop {
            match docker.client().inspect_container(id, None).await {
                Err(error) if error::is_connection(&error) => reason = connect::reason(&error),
                answer => return answer,
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(ABSENCE, asking).await {
        Ok(Ok(container)) => {
            let state = container.state.unwrap_or_default();
            if is_alive(&state) {
                Look::Lives { restarts: container.restart_count.unwrap_or_default() }
            } else {
                Look::Ended { exit: exit(code, &state), began: state.started_at }
            }
        }
        Ok(Err(error)) if error::is_absent(&error) => {
            Look::Ended { exit: Exit { code, ..Exit::default() }, began: None }
        }
        Ok(Err(error)) => gone(connect::reason(&error)),
        Err(_) => gone(reason),
    }
}

pub(super) fn is_alive(state: &ContainerState) -> bool {
    state.running == Some(true) || state.restarting == Some(true)
}

fn ever_ran(container: &ContainerInspectResponse) -> bool {
    let started = container.state.as_ref().and_then(|state| state.started_at.as_deref());
    // Before its first start, a container says the year 1.
    started.is_some_and(|time| !time.is_empty() && !time.starts_with("0001-"))
}

/// How a container ended. The engine tells an exit code alone: 137 is what a killed container shows.
fn exit(code: Option<i32>, state: &ContainerState) -> Exit {
    let told = || state.exit_code.and_then(|code| i32::try_from(code).ok());
    Exit { code: code.or_else(told), out_of_memory: state.oom_killed == Some(true), ..Exit::default() }
}

/// See [`Control`].
struct Container {
    docker: Docker,
    id: String,
    name: String,
    /// The signal that asks it to stop, where it is not SIGTERM.
    stop_signal: Option<String>,
    ports: Vec<u16>,
    /// Whether devctl wants it to end.
    asked: watch::Sender<bool>,
    fate: watch::Receiver<Fate>,
    /// What is run in it before it is stopped, and where that prints.
    pre_stop: Vec<Hook>,
    logs: LogSink,
}

impl Container {
    /// Sends a signal that is meant to end it.
    fn end(&self, signal: &str) -> BoxFuture<'static, Result<(), DriverError>> {
        self.asked.send_replace(true);
        self.send(signal)
    }

    fn send(&self, signal: &str) -> BoxFuture<'static, Result<(), DriverError>> {
        let (docker, id, name) = (self.docker.clone(), self.id.clone(), self.name.clone());
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        async move {
            match docker.client().kill_container(&id, Some(options)).await {
                Ok(()) => Ok(()),
                // Gone, or not running: it has ended, which is what was asked for.
                Err(error) if matches!(error::status(&error), Some(404 | 409)) => Ok(()),
                Err(error) => Err(Error::from_call(format!("kill the container `{name}`"), error).into()),
            }
        }
        .boxed()
    }
}

impl Control for Container {
    fn stop(&self, grace: Duration) -> BoxFuture<'static, Result<(), DriverError>> {
        self.asked.send_replace(true);
        let (docker, id, name) = (self.docker.clone(), self.id.clone(), self.name.clone());
        let (pre_stop, logs) = (self.pre_stop.clone(), self.logs.clone());
        async move {
            // Compose gives up the stop where a hook fails, and the container stays. Here it goes: whoever stops a
            // stack wants it stopped.
            if let Err(error) = hooks::run(&docker, &name, "pre_stop", &pre_stop, &logs).await {
                logs.write(Stream::Stderr, format!("devctl: {error}\n").as_bytes()).await;
            }
            let seconds = i32::try_from(whole_seconds(grace)).unwrap_or(i32::MAX);
            Ok(stop_within(&docker, &id, Some(seconds), grace).await?)
        }
        .boxed()
    }

    /// The kernel drops a signal for the first process of a container that has no handler for it yet, and the engine's
    /// own stop sends it once.
    fn stop_again(&self) -> BoxFuture<'static, Result<(), DriverError>> {
        self.end(self.stop_signal.as_deref().filter(|signal| !signal.is_empty()).unwrap_or("SIGTERM"))
    }

    fn kill(&self) -> BoxFuture<'static, Result<(), DriverError>> {
        self.end("SIGKILL")
    }

    fn signal(&self, signal: Kill) -> BoxFuture<'static, Result<(), DriverError>> {
        self.send(signal.name())
    }

    fn listener(&self, port: u16) -> Listener {
        // The engine listens for the container, or its proxy does: no process of this machine can be asked.
        if self.ports.contains(&port) && self.fate.borrow().end.is_none() { Listener::Ours } else { Listener::Unknown }
    }

    fn exec(&self, argv: Vec<String>) -> BoxFuture<'static, Result<ExecOutput, DriverError>> {
        let (docker, id, name) = (self.docker.clone(), self.id.clone(), self.name.clone());
        async move { Ok(exec(&docker, &id, &name, argv).await?) }.boxed()
    }

    fn health(&self) -> BoxFuture<'static, Result<Health, DriverError>> {
        let (docker, id, name) = (self.docker.clone(), self.id.clone(), self.name.clone());
        async move {
            let container = inspect(&docker, &id).await?.ok_or(Error::NoSuchContainer { container: name })?;
            Ok(verdict(container.state.and_then(|state| state.health)))
        }
        .boxed()
    }
}

fn verdict(health: Option<bollard::models::Health>) -> Health {
    let Some(health) = health else { return Health::None };
    match health.status {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => {
            let last = health.log.unwrap_or_default().pop().unwrap_or_default();
            let output = last.output.unwrap_or_default().trim().to_owned();
            Health::Unhealthy(match (output.is_empty(), last.exit_code) {
                (true, Some(code)) => format!("exit code {code}"),
                (true, None) => "the engine keeps no output of the check".to_owned(),
                (false, _) => output,
            })
        }
    }
}

/// Words why a command could not be run in a container.
pub(super) fn explain_exec(name: &str, error: Call) -> Error {
    match error::status(&error) {
        Some(404) => Error::NoSuchContainer { container: name.to_owned() },
        Some(409) => Error::NotUp { container: name.to_owned() },
        _ => Error::from_call(format!("run a command in the container `{name}`"), error),
    }
}

async fn exec(docker: &Docker, id: &str, name: &str, argv: Vec<String>) -> Result<ExecOutput, Error> {
    let client = docker.client();
    let config =
        ExecConfig { attach_stdout: Some(true), attach_stderr: Some(true), cmd: Some(argv), ..ExecConfig::default() };
    let made = client.create_exec(id, config).await.map_err(|e| explain_exec(name, e))?;
    let mut kept = Vec::new();
    match client.start_exec(&made.id, None).await.map_err(|e| explain_exec(name, e))? {
        StartExecResults::Attached { mut output, .. } => {
            while let Some(chunk) = output.next().await {
                let chunk = chunk.map_err(|e| explain_exec(name, e))?;
                kept.extend_from_slice(chunk.as_ref());
                if kept.len() > 2 * OUTPUT {
                    kept.drain(..kept.len() - OUTPUT);
                }
            }
        }
        StartExecResults::Detached => {}
    }
    let code = exec_code(docker, name, &made.id).await?;
    let end = &kept[kept.len().saturating_sub(OUTPUT)..];
    Ok(ExecOutput { code, output: String::from_utf8_lossy(end).into_owned() })
}

/// The exit code of a command whose output has ended. The engine may need a moment more to know it.
pub(super) async fn exec_code(docker: &Docker, name: &str, exec: &str) -> Result<i32, Error> {
    let asking = async {
        loop {
            let seen = docker.client().inspect_exec(exec).await.map_err(|e| explain_exec(name, e))?;
            if let (Some(false), Some(code)) = (seen.running, seen.exit_code) {
                return Ok(i32::try_from(code).unwrap_or(i32::MAX));
            }
            tokio::time::sleep(PAUSE / 10).await;
        }
    };
    // A command may close its output and run on; then nobody waits for it.
    match tokio::time::timeout(ABSENCE, asking).await {
        Ok(code) => code,
        Err(_) => Err(Error::TimedOut { doing: format!("learn how a command in the container `{name}` ended") }),
    }
}
