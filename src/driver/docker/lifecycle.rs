//! Containers that are there, started, stopped, paused and removed by hand: one call of the engine for each, as the verbs
//! on containers need them. In which order is decided by whoever calls.

use std::time::Duration;

use bollard::models::HealthStatusEnum;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, RestartContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::container::{self, explain_start, published};
use super::error::{self, Error};
use super::{Docker, ProjectContainer};

/// What the engine waits before it kills, where a container says nothing.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// Longer than anybody waits for the end of a container.
pub(super) const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How a container is, looked at by itself: what a list says may be a moment old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it runs, paused or not.
    pub running: bool,
    /// Its exit code, where it has ended.
    pub exit_code: Option<i64>,
    /// What its healthcheck says; `None` where it has none.
    pub health: Option<bool>,
    /// Whether its healthcheck has not come to a verdict yet.
    pub health_starting: bool,
    /// Whether it is removed by the engine once it ends.
    pub auto_remove: bool,
}

impl Docker {
    /// Starts a container that does not run.
    pub async fn start_existing(&self, container: &ProjectContainer) -> Result<(), Error> {
        let Err(error) = self.client().start_container(&container.id, None).await else { return Ok(()) };
        let wanted = match container::inspect(self, &container.id).await {
            Ok(Some(inspected)) => published(&inspected).0,
            Ok(None) | Err(_) => Vec::new(),
        };
        Err(explain_start(self, &container.name, &wanted, error).await)
    }

    /// Stops a container: its own stop signal, and `timeout` or its own grace. A negative time waits for ever.
    pub async fn stop_existing(&self, container: &ProjectContainer, timeout: Option<i32>) -> Result<(), Error> {
        let grace = match timeout {
            None => return container::stop(self, &container.id).await,
            Some(seconds) => u64::try_from(seconds).map_or(FOR_EVER, Duration::from_secs),
        };
        container::stop_within(self, &container.id, timeout, grace).await
    }

    /// Stops a container and starts it again, in one call of the engine.
    pub async fn restart_existing(&self, container: &ProjectContainer, timeout: Option<i32>) -> Result<(), Error> {
        let grace = match timeout.map(u64::try_from) {
            Some(Ok(seconds)) => Duration::from_secs(seconds),
            Some(Err(_)) => FOR_EVER,
            None => own_grace(self, &container.id).await?,
        };
        let options = timeout.map(|t| RestartContainerOptionsBuilder::default().t(t).build());
        let Err(error) = self.patient(grace).restart_container(&container.id, options).await else { return Ok(()) };
        let wanted: Vec<u16> = container.ports.iter().map(|port| port.host_port).filter(|port| *port > 0).collect();
        Err(explain_start(self, &container.name, &wanted, error).await)
    }

    /// Sends a signal to a container, by its name or number.
    pub async fn signal_existing(&self, container: &ProjectContainer, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.client().kill_container(&container.id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(not_up(container, error, || format!("send {signal} to `{}`", container.name))),
        }
    }

    /// Holds all processes of a container where they are.
    pub async fn pause(&self, container: &ProjectContainer) -> Result<(), Error> {
        let paused = self.client().pause_container(&container.id).await;
        paused.map_err(|error| not_up(container, error, || format!("pause `{}`", container.name)))
    }

    /// Lets them go on.
    pub async fn unpause(&self, container: &ProjectContainer) -> Result<(), Error> {
        let unpaused = self.client().unpause_container(&container.id).await;
        unpaused.map_err(|error| not_up(container, error, || format!("unpause `{}`", container.name)))
    }

    /// Removes a container that does not run; success where it is gone already. `volumes`: its volumes without a name
    /// too.
    pub async fn remove_existing(&self, container: &ProjectContainer, volumes: bool) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default().v(volumes).build();
        match self.client().remove_container(&container.id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if error::is_absent(&error) => Ok(()),
            Err(error) => Err(Error::from_call(format!("remove the container `{}`", container.name), error)),
        }
    }

    /// Removes a container whether it runs or not, with its volumes without a name.
    pub async fn remove_by_force(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
        match self.client().remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if error::is_absent(&error) => Ok(()),
            Err(error) => Err(Error::from_call(format!("remove the container `{id}`"), error)),
        }
    }

    /// How a container is; `None` where it is gone.
    pub async fn condition(&self, id: &str) -> Result<Option<Condition>, Error> {
        let Some(found) = container::inspect(self, id).await? else { return Ok(None) };
        let state = found.state.unwrap_or_default();
        let running = state.running == Some(true);
        let (health, health_starting) = match state.health.and_then(|health| health.status) {
            None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => (None, false),
            Some(HealthStatusEnum::STARTING) => (Some(false), true),
            Some(HealthStatusEnum::HEALTHY) => (Some(true), false),
            Some(HealthStatusEnum::UNHEALTHY) => (Some(false), false),
        };
        let auto_remove = found.host_config.and_then(|host| host.auto_remove) == Some(true);
        let exit_code = state.exit_code.filter(|_| !running);
        Ok(Some(Condition { running, exit_code, health, health_starting, auto_remove }))
    }

    /// Waits until a container does not run, and answers with its exit code. One that has ended already is not waited
    /// for.
    pub async fn wait_for_end(&self, id: &str) -> Result<i64, Error> {
        let failed = |e| Error::from_call(format!("wait for the end of `{id}`"), e);
        let client = self.patient(FOR_EVER);
        let mut ends =
            std::pin::pin!(client.wait_container(id, None::<bollard::query_parameters::WaitContainerOptions>));
        match ends.next().await {
            Some(Ok(end)) => Ok(end.status_code),
            // The client makes an error of every exit code but 0.
            Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) if error::is_absent(&error) => Err(Error::NoSuchContainer { container: id.to_owned() }),
            Some(Err(error)) => Err(failed(error)),
            None => Err(Error::NoSuchContainer { container: id.to_owned() }),
        }
    }

    /// Waits until a container is gone, as one that removes itself soon is.
    pub async fn wait_for_removal(&self, id: &str) -> Result<(), Error> {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let client = self.patient(FOR_EVER);
        let mut gone = std::pin::pin!(client.wait_container(id, Some(options)));
        match gone.next().await {
            None | Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
            Some(Err(error)) if error::is_absent(&error) => Ok(()),
            Some(Err(error)) => Err(Error::from_call(format!("wait until `{id}` is removed"), error)),
        }
    }
}

/// The time that a container has to stop before it is killed.
async fn own_grace(docker: &Docker, id: &str) -> Result<Duration, Error> {
    let found = container::inspect(docker, id).await?;
    let own = found.and_then(|found| found.config?.stop_timeout).and_then(|seconds| u64::try_from(seconds).ok());
    Ok(own.map_or(ENGINE_GRACE, Duration::from_secs))
}

/// Words a refusal of the engine that mostly means that the container does not run.
fn not_up(container: &ProjectContainer, error: bollard::errors::Error, doing: impl Fn() -> String) -> Error {
    let error = match error::status(&error) {
        Some(404) => return Error::NoSuchContainer { container: container.name.clone() },
        _ => Error::from_call(doing(), error),
    };
    match &error {
        Error::Refused { message, .. } if message.contains("is not running") => {
            Error::NotUp { container: container.name.clone() }
        }
        _ => error,
    }
}
