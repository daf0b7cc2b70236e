//! A container that runs one command for somebody who watches: attached before it starts, with devctl's own terminal or
//! pipes, to its end. Making it is not this file's business.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;

use bollard::query_parameters::{
    AttachContainerOptionsBuilder, EventsOptionsBuilder, KillContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::sync::watch;

use super::container::explain_start;
use super::error::Error;
use super::shell::{BROKEN_PIPE, Ended, Keys, Shown, feed, follow_size, show};
use super::{Docker, ProjectContainer};
use crate::os::clock;
use crate::os::terminal::{Ending, RawMode, WindowChanges};

/// How a container is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Whether it has a terminal, which is devctl's own.
    pub tty: bool,
    /// Whether it reads devctl's input.
    pub input: bool,
}

impl Docker {
    /// Starts a container and stays with it to its end: its output is shown, its input fed, and signals for devctl go to
    /// it.
    pub async fn run_attached(&self, container: &ProjectContainer, how: Attached) -> Result<Ended, Error> {
        let Attached { tty, input } = how;
        let (id, name) = (container.id.as_str(), container.name.as_str());
        let options =
            AttachContainerOptionsBuilder::default().stdin(input).stdout(true).stderr(true).stream(true).build();
        let attached = self.client().attach_container(id, Some(options)).await;
        let attached = attached.map_err(|e| Error::from_call(format!("attach to `{name}`"), e))?;

        let broken = |source| Error::Terminal { source };
        // From here on, a signal is the container's.
        let mut ending = Ending::watch().map_err(broken)?;
        let before = clock::timestamp();
        // One that removes itself is gone with its exit code once it has ended.
        let end = tokio::spawn(next_exit(self.clone(), id.to_owned()));
        if let Err(error) = self.client().start_container(id, None).await {
            end.abort();
            return Err(explain_start(self, name, &[], error).await);
        }
        // Held to the end of this function, whichever way it is left.
        let _raw = if tty { Some(RawMode::enter().map_err(broken)?) } else { None };
        let changes = if tty { Some(WindowChanges::watch().map_err(broken)?) } else { None };

        let (typed, has_left) = watch::channel(false);
        let typed = tty.then_some(typed);
        let resize = async |width: u16, height: u16| {
            let size = ResizeContainerTTYOptionsBuilder::default().w(width.into()).h(height.into()).build();
            self.client().resize_container_tty(id, size).await.is_ok()
        };
        let shown = tokio::select! {
            shown = show(attached.output) => shown,
            never = feed(input, attached.input, typed.as_ref().map(|typed| (typed, Keys::PassedOn))) => match never {},
            never = follow_size(changes, resize) => match never {},
            never = self.pass_on(id, &mut ending) => match never {},
        };
        match shown {
            Ok(()) if *has_left.borrow() => return Ok(Ended::Left),
            Ok(()) => {}
            Err(Shown::Engine(error)) => return Err(Error::from_call(format!("read the output of `{name}`"), error)),
            Err(Shown::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Ended::Code(BROKEN_PIPE));
            }
            Err(Shown::Output(source)) => return Err(broken(source)),
        }
        // Its output may end before it does, and a signal must reach it all the same.
        let end = async { end.await.ok().flatten() };
        let code = tokio::select! {
            code = end => code,
            never = self.pass_on(id, &mut ending) => match never {},
        };
        let code = match code {
            Some(code) => code,
            None => self.how_it_died(id, before).await?,
        };
        Ok(Ended::Code(i32::try_from(code).unwrap_or(i32::MAX)))
    }

    /// Hands signals for devctl on to a container.
    async fn pass_on(&self, id: &str, ending: &mut Ending) -> Infallible {
        loop {
            let signal = ending.next().await.to_string();
            let options = KillContainerOptionsBuilder::default().signal(&signal).build();
            // It has ended meanwhile, or does not want to hear of it: either way its output tells.
            let _ = self.client().kill_container(id, Some(options)).await;
        }
    }

    /// The exit code of a container that is gone, as the engine's events tell it.
    async fn how_it_died(&self, id: &str, since: jiff::Timestamp) -> Result<i64, Error> {
        if let Some(now) = self.condition(id).await?
            && let Some(code) = now.exit_code
        {
            return Ok(code);
        }
        let filters = HashMap::from([
            ("container".to_owned(), vec![id.to_owned()]),
            ("event".to_owned(), vec!["die".to_owned()]),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&since.as_second().to_string())
            .until(&(clock::timestamp().as_second() + 1).to_string())
            .filters(&filters)
            .build();
        let mut events = std::pin::pin!(self.client().events(Some(options)));
        while let Some(event) = events.next().await {
            let event = event.map_err(|e| Error::from_call(format!("learn how `{id}` ended"), e))?;
            let code = event.actor.and_then(|actor| actor.attributes?.get("exitCode")?.parse().ok());
            if let Some(code) = code {
                return Ok(code);
            }
        }
        Err(Error::NoSuchContainer { container: id.to_owned() })
    }
}

/// The exit code of a container's next end; `None` where it was gone before it could be asked for.
async fn next_exit(docker: Docker, id: String) -> Option<i64> {
    let options = WaitContainerOptionsBuilder::default().condition("next-exit").build();
    let client = docker.patient(super::lifecycle::FOR_EVER);
    let mut ends = std::pin::pin!(client.wait_container(&id, Some(options)));
    match ends.next().await? {
        Ok(end) => Some(end.status_code),
        Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => Some(code),
        Err(_) => None,
    }
}
