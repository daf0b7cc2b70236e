//! `devctl wait`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::containers::{Here, exit_code};
use super::{Context, duration, output};
use crate::advice::Blame;
use crate::control::client::{Client, Events};
use crate::control::wire::{ServiceStatus, State, Status};
use crate::driver::docker::Pick;
use crate::error::Error;
use crate::manifest::suggest;
use crate::name::ServiceName;

/// How often to look where nothing is heard: for a devctl that is not there yet, and for what no event tells.
const LOOK: Duration = Duration::from_millis(200);

/// Wait until services are ready, stopped or failed
///
/// May begin before `devctl up` does. Exit code 0 when all are as wanted, 1 when they never will be, 4 when the time is
/// over.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl wait api                          until the API is ready
  devctl wait --timeout 2m                 until everything is ready
  devctl wait migrate --for stopped        until it has ended
  devctl wait job --for exit               until its container has ended, with its exit code")]
pub(super) struct Args {
    /// Services to wait for; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// What to wait for
    #[arg(
        long = "for",
        value_name = "STATE",
        default_value = "ready",
        default_value_if("down_project", "true", "exit")
    )]
    wanted: Wanted,

    /// How long to wait; 1m where it is not given, and for ever for `exit`
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// Wait for `exit`, then take the project down
    #[arg(long)]
    down_project: bool,
}

/// How long is waited where nothing else is said.
const LIMIT: Duration = Duration::from_mins(1);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// It does what it is for, or has done its work
    Ready,
    /// It does not run
    Stopped,
    /// It failed
    Failed,
    /// Its containers have ended, whoever started them; their exit code is passed on
    Exit,
}

/// What `devctl wait` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The services; all where empty.
    pub(super) services: Vec<ServiceName>,
    /// `--for`.
    pub(super) wanted: Wanted,
    /// `--timeout`.
    pub(super) timeout: Option<Duration>,
    /// `--down-project`.
    pub(super) down_project: bool,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, wanted, timeout, down_project } = self;
        Settings { services, wanted, timeout, down_project }
    }
}

/// Waits.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    if settings.down_project && settings.wanted != Wanted::Exit {
        return Err(Error::new(Blame::Configuration, "`--down-project` waits for the end of containers: `--for exit`"));
    }
    if settings.wanted == Wanted::Exit {
        return until_the_end(&settings, context).await;
    }
    let root = super::project_folder(&context)?;
    let mut seen = None;
    let waited = tokio::time::timeout(settings.timeout.unwrap_or(LIMIT), until(&root, &settings, &mut seen)).await;
    match waited {
        Ok(Ok(told)) => {
            output::print(&told, context.color)?;
            Ok(0)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(too_late(&settings, seen.as_ref())),
    }
}

/// Waits until the containers have ended, as `docker compose wait` does: the exit code is that of the last one.
async fn until_the_end(settings: &Settings, context: Context) -> Result<u8, Error> {
    let here = Here::find(&context).await?;
    let services: Vec<String> = settings.services.iter().map(|service| service.as_str().to_owned()).collect();
    let containers = here.picked(&Pick::running(&services).with_oneoffs()).await?;
    if containers.is_empty() {
        let which = if services.is_empty() { "this project".to_owned() } else { services.join(", ") };
        return Err(Error::new(Blame::Service, format!("no container of {which} runs")));
    }
    let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    output::note(&format!("waiting for the end of {}\n", names.join(", ")), context.color)?;
    let waits = containers.iter().map(async |container| (here.engine.wait_for_end(&container.id).await, container));
    let mut waits: FuturesUnordered<_> = waits.collect();
    let all = async {
        let mut code = 0;
        while let Some((ended, container)) = waits.next().await {
            code = ended?;
            let text = format!("container \"{}\" exited with status code {code}\n", container.id);
            output::print(&text, context.color)?;
        }
        Ok::<i64, Error>(code)
    };
    let code = match settings.timeout {
        None => all.await?,
        Some(limit) => {
            let Ok(code) = tokio::time::timeout(limit, all).await else {
                let limit = crate::report::duration(crate::event::millis(limit));
                return Err(Error::new(Blame::Timeout, format!("not every container ended within {limit}")));
            };
            code?
        }
    };
    drop(waits);
    if settings.down_project {
        super::down::run(super::down::Settings::default(), context).await?;
    }
    Ok(exit_code(code))
}

async fn until(root: &std::path::Path, settings: &Settings, seen: &mut Option<Status>) -> Result<String, Error> {
    let Settings { services, wanted, .. } = settings;
    loop {
        let (client, status) = match Client::connect(root).await {
            Ok(connected) => connected,
            // What nobody runs is stopped. Anything else may come.
            Err(error) if error.is_nobody() && *wanted == Wanted::Stopped => {
                return Ok("nothing of this project runs\n".to_owned());
            }
            Err(error) if error.is_nobody() => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut events = client.events(&status.run, status.next_event);
        *seen = Some(status);
        loop {
            let status = seen.as_ref().expect("it was just set");
            if let Some(told) = verdict(services, *wanted, status)? {
                return Ok(told);
            }
            match news(&client, &mut events).await {
                Ok(Some(status)) => *seen = Some(status),
                // The run is over; another may begin.
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
    }
}

/// How everything is once something happened; `None` where the run is over.
async fn news(client: &Client, events: &mut Events) -> Result<Option<Status>, Error> {
    tokio::select! {
        line = events.next() => if line?.is_none() {
            return Ok(None);
        },
        () = tokio::time::sleep(LOOK) => {}
    }
    match client.status().await {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.is_nobody() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What there is to print once everything is as wanted; an error once it never will be.
fn verdict(services: &[ServiceName], wanted: Wanted, status: &Status) -> Result<Option<String>, Error> {
    let mut told = String::new();
    let mut all = true;
    for service in looked_at(services, status)? {
        let name = &service.service;
        match (wanted, service.state) {
            (Wanted::Ready, State::Ready | State::Done)
            | (Wanted::Stopped, State::Stopped | State::Failed | State::Done)
            | (Wanted::Failed, State::Failed) => {
                let _ = writeln!(told, "{name} is {}", service.state);
            }
            (Wanted::Ready, State::Failed) => return Err(never(service, "failed")),
            (Wanted::Failed, State::Done) => return Err(never(service, "ended well")),
            (Wanted::Ready | Wanted::Stopped | Wanted::Failed | Wanted::Exit, _) => all = false,
        }
    }
    Ok(all.then_some(told))
}

fn never(service: &ServiceStatus, how: &str) -> Error {
    let name = &service.service;
    let detail = service.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    Error::new(Blame::Service, format!("{name} {how}{detail}"))
        .hint(format!("`devctl logs {name}` shows what it printed"))
}

/// The services that are waited for. One that is not there is a typing error, and nothing that may come.
fn looked_at<'a>(services: &[ServiceName], status: &'a Status) -> Result<Vec<&'a ServiceStatus>, Error> {
    if services.is_empty() {
        return Ok(status.services.iter().collect());
    }
    let find = |name: &ServiceName| {
        status.service(name.as_str()).ok_or_else(|| {
            let known = || status.services.iter().map(|service| service.service.as_str());
            let error = Error::new(Blame::Configuration, format!("there is no service `{name}` in this run"));
            match suggest::closest(name.as_str(), known()) {
                Some(close) => error.hint(format!("did you mean `{close}`?")),
                None => error.hint(suggest::choices(known())),
            }
        })
    };
    services.iter().map(find).collect()
}

fn too_late(settings: &Settings, seen: Option<&Status>) -> Error {
    let Settings { services, wanted, timeout, down_project: _ } = settings;
    let limit = crate::report::duration(crate::event::millis(timeout.unwrap_or(LIMIT)));
    let Some(status) = seen else {
        return Error::new(Blame::Timeout, format!("nothing of this project ran within {limit}"))
            .hint("start it with `devctl up -d`, or with `devctl up` in a terminal");
    };
    let did_not = match wanted {
        Wanted::Ready => "was not ready",
        Wanted::Stopped => "did not stop",
        Wanted::Failed => "did not fail",
        Wanted::Exit => "did not end",
    };
    let who = match services.as_slice() {
        [one] => format!("`{one}`"),
        _ => "at least one service".to_owned(),
    };
    let mut error = Error::new(Blame::Timeout, format!("{who} {did_not} within {limit}"));
    for service in looked_at(services, status).unwrap_or_default() {
        let ServiceStatus { service: name, state, detail, .. } = service;
        let is_as_wanted = verdict(&[], settings.wanted, &Status { services: vec![service.clone()], ..status.clone() });
        if !matches!(is_as_wanted, Ok(Some(_))) {
            let detail = detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            error = error.note(format!("{name} is {state}{detail}"));
        }
    }
    error
}
