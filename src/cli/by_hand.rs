//! `start`, `stop`, `restart` and `kill` where no devctl runs the project: they act on its containers themselves, in the
//! order that their labels tell, as Compose does. With a devctl they go to that.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use serde::Serialize;

use super::change::Format;
use super::containers::{Here, Project, not_running};
use super::{Context, drift, output};
use crate::advice::Blame;
use crate::control::client::Client;
use crate::control::wire::{SignalName, Status};
use crate::driver::docker::{Docker, NeedUntil, Pick, ProjectContainer, ServiceNeed, start_levels};
use crate::error::Error;
use crate::name::ServiceName;

/// How often to look at a container that something waits for. The engine tells no client when a healthcheck passes but
/// by events, which may be missed.
const LOOK: Duration = Duration::from_millis(50);

/// What is said where a time to stop is given for what a devctl runs.
pub(super) const OWN_GRACE: &str = "a devctl runs this stack and gives each service its own time to stop; `--timeout` is for containers that none runs\n";

/// Who carries a command out.
pub(super) enum Runner {
    /// The devctl that runs the project.
    Supervisor(Client, Box<Status>),
    /// This one, on the containers.
    Hand(Box<Hand>),
}

/// The project's containers, and what to say where there are none.
pub(super) struct Hand {
    here: Here,
    context: Context,
    format: Format,
}

/// Finds out who carries a command out. Where nobody runs the project and it has no containers either, there is nothing
/// to do it on.
pub(super) async fn runner(context: &Context, format: Format) -> Result<Runner, Error> {
    let project = Project::find(context);
    let nobody = match super::project_folder(context) {
        Ok(root) => match Client::connect(&root).await {
            // Another project may be meant by its name.
            Ok((client, status))
                if project.as_ref().map_or(true, |project| project.name.as_str() == status.project.as_str()) =>
            {
                return Ok(Runner::Supervisor(client, Box::new(status)));
            }
            Ok(_) => None,
            Err(error) if error.is_nobody() => Some(Error::from(error)),
            Err(error) => return Err(error.into()),
        },
        Err(_) => None,
    };
    let project = project?;
    let has_none = |manifest: &crate::manifest::Manifest| manifest.compose.services.is_empty();
    let engine = match (Docker::connect(&context.env).await, nobody) {
        (Ok(engine), nobody) => {
            let here = Here { project, engine };
            if let Some(nobody) = nobody
                && here.containers(&Pick::all(&[]).with_oneoffs()).await?.is_empty()
            {
                return Err(nobody);
            }
            return Ok(Runner::Hand(Box::new(Hand { here, context: context.clone(), format })));
        }
        (Err(_), Some(nobody)) if project.manifest.as_ref().is_some_and(has_none) => return Err(nobody),
        (Err(away), _) => away,
    };
    Err(engine.into())
}

/// What became of a container.
#[derive(Serialize)]
struct Told<'a> {
    service: &'a str,
    container: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Names as text: what is no name of a service is none of the project's either.
pub(super) fn names(services: &[ServiceName]) -> Vec<String> {
    services.iter().map(|service| service.as_str().to_owned()).collect()
}

type Started = Shared<BoxFuture<'static, Result<(), String>>>;

impl Hand {
    /// Starts the containers of services and of what these need, each once what it needs is as it has to be.
    pub(super) async fn start(&self, services: &[String]) -> Result<u8, Error> {
        let all = self.here.picked_among(services).await?;
        for service in services {
            if !all.iter().any(|container| container.service == *service) {
                let message = format!("the service `{service}` has no container to start");
                return Err(Error::new(Blame::Service, message).hint(format!("`devctl up -d {service}` makes one")));
            }
        }
        let wanted = with_needs(&all, services);
        let wanted: Vec<ProjectContainer> =
            all.iter().filter(|container| wanted.contains(container.service.as_str())).cloned().collect();
        let act = async |engine: &Docker, container: &ProjectContainer| {
            if container.state == "running" {
                return Ok("running");
            }
            engine.start_existing(container).await.map(|()| "started")
        };
        self.upwards(&wanted, &all, |_| true, act).await
    }

    /// Stops and starts the containers of services, and of those that need them with `restart: true`.
    pub(super) async fn restart(&self, services: &[String], timeout: Option<i32>, no_deps: bool) -> Result<u8, Error> {
        let all = self.here.picked_among(services).await?;
        for service in services {
            if !all.iter().any(|container| container.service == *service) {
                return Err(not_running(service, None));
            }
        }
        let wanted =
            if no_deps { services.iter().map(String::as_str).collect() } else { with_dependants(&all, services) };
        let wanted: Vec<ProjectContainer> = all
            .iter()
            .filter(|container| services.is_empty() || wanted.contains(container.service.as_str()))
            .cloned()
            .collect();
        let changed = drift::changed(&self.here, &self.context).await;
        let act = async |engine: &Docker, container: &ProjectContainer| {
            engine.restart_existing(container, timeout).await.map(|()| "restarted")
        };
        let code = self.upwards(&wanted, &all, |need| need.restart && !no_deps, act).await?;
        for (service, why) in changed {
            if wanted.iter().any(|container| container.service == service) {
                let text = format!("{service}: {why}; a restart does not apply that, `devctl up -d {service}` does\n");
                output::note(&text, self.context.color)?;
            }
        }
        Ok(code)
    }

    /// Stops the containers of services, those that need others first.
    pub(super) async fn stop(&self, services: &[String], timeout: Option<i32>) -> Result<u8, Error> {
        let all = self.here.picked_among(services).await?;
        let mut levels = start_levels(&all);
        levels.reverse();
        let mut code = 0;
        let mut nothing = true;
        for level in levels {
            let now = all.iter().filter(|container| {
                level.contains(&container.service)
                    && container.is_up()
                    && (services.is_empty() || services.contains(&container.service))
            });
            let stops = now.map(async |container| {
                (self.here.engine.stop_existing(container, timeout).await.map(|()| "stopped"), container)
            });
            for (done, container) in join_all(stops).await {
                nothing = false;
                code = code.max(self.tell(container, done.map_err(Error::from))?);
            }
        }
        self.none(nothing, "nothing of that runs")?;
        Ok(code)
    }

    /// Sends a signal to the containers of services that run, one-offs among them.
    pub(super) async fn kill(
        &self,
        services: &[String],
        signal: SignalName,
        remove_orphans: bool,
    ) -> Result<u8, Error> {
        let mut all = self.here.picked(&Pick::running(services).with_oneoffs()).await?;
        // As with Compose: what the files do not name is left alone, unless that is asked for.
        if services.is_empty() && !remove_orphans {
            all.retain(|container| self.here.project.declares(&container.service));
        }
        let kills = all.iter().map(async |container| {
            let done = self.here.engine.signal_existing(container, signal.as_str()).await;
            (done.map(|()| if signal == SignalName::KILL { "killed" } else { "signalled" }), container)
        });
        let mut code = 0;
        for (done, container) in join_all(kills).await {
            code = code.max(self.tell(container, done.map_err(Error::from))?);
        }
        self.none(all.is_empty(), "no container to kill")?;
        Ok(code)
    }

    fn none(&self, nothing: bool, text: &str) -> Result<(), Error> {
        if nothing && self.format == Format::Text {
            output::note(&format!("{text}\n"), self.context.color)?;
        }
        Ok(())
    }

    /// Acts on containers service by service, each after those it needs. `counts`: whether a need is waited for.
    async fn upwards(
        &self,
        wanted: &[ProjectContainer],
        all: &[ProjectContainer],
        counts: impl Fn(&ServiceNeed) -> bool,
        act: impl AsyncFn(&Docker, &ProjectContainer) -> Result<&'static str, crate::driver::docker::Error>,
    ) -> Result<u8, Error> {
        let mut code = 0;
        let mut failed: BTreeSet<String> = BTreeSet::new();
        // Needs are watched from the moment at which their service was acted on, once for all that need it so.
        let mut held: HashMap<(String, &'static str), Started> = HashMap::new();
        for level in start_levels(wanted) {
            let services = level.iter().map(async |service| {
                let own: Vec<&ProjectContainer> =
                    wanted.iter().filter(|container| container.service == *service).collect();
                let needs = own.first().map(|container| container.needs.as_slice()).unwrap_or_default();
                for need in needs.iter().filter(|need| counts(need)) {
                    if failed.contains(&need.service) {
                        let why = format!("`{service}` cannot start: it needs `{}`, which failed", need.service);
                        return (service, Err(Error::new(Blame::Service, why)));
                    }
                    if let Some(holds) = held.get(&(need.service.clone(), word(need.until)))
                        && let Err(why) = holds.clone().await
                    {
                        let why = format!("`{service}` cannot start: {why}");
                        let error = Error::new(Blame::Service, why).hint(format!("`devctl logs {}`", need.service));
                        return (service, Err(error));
                    }
                }
                let acts = own.into_iter().map(async |container| (act(&self.here.engine, container).await, container));
                (service, Ok(join_all(acts).await))
            });
            let done = join_all(services).await;
            for (service, done) in done {
                match done {
                    Ok(done) => {
                        for (done, container) in done {
                            if done.is_err() {
                                failed.insert(service.clone());
                            }
                            code = code.max(self.tell(container, done.map_err(Error::from))?);
                        }
                    }
                    Err(error) => {
                        failed.insert(service.clone());
                        error.print(self.context.color);
                        code = code.max(error.exit_code());
                    }
                }
            }
            // What is needed of this level, or of containers that are there and nobody acts on.
            for need in wanted.iter().flat_map(|container| &container.needs) {
                let key = (need.service.clone(), word(need.until));
                if held.contains_key(&key) || !(level.contains(&need.service) || is_elsewhere(wanted, &need.service)) {
                    continue;
                }
                let needed: Vec<ProjectContainer> =
                    all.iter().filter(|container| container.service == need.service).cloned().collect();
                let (engine, until) = (self.here.engine.clone(), need.until);
                held.insert(key, async move { until_holds(&engine, &needed, until).await }.boxed().shared());
            }
        }
        if wanted.is_empty() {
            self.none(true, "there are no containers of that")?;
        }
        Ok(code)
    }

    /// Tells what became of a container; answers with the exit code that goes with it.
    fn tell(&self, container: &ProjectContainer, done: Result<&'static str, Error>) -> Result<u8, Error> {
        let code = done.as_ref().err().map_or(0, Error::exit_code);
        match (self.format, done) {
            (Format::Text, Ok("running")) => {
                output::print(&format!("{} is running already\n", container.name), self.context.color)?;
            }
            (Format::Text, Ok(did)) => {
                output::print(&format!("{did} {}\n", container.name), self.context.color)?;
            }
            (Format::Text, Err(error)) => error.print(self.context.color),
            (Format::Json, done) => {
                let (outcome, error) = match done {
                    Ok(did) => (did, None),
                    Err(error) => ("failed", Some(error.parts().0)),
                };
                let (service, container) = (container.service.as_str(), container.name.as_str());
                let line = serde_json::to_string(&Told { service, container, outcome, error });
                let line = line.map_err(|e| Error::new(Blame::Bug, format!("an outcome cannot be written: {e}")))?;
                output::print(&format!("{line}\n"), self.context.color)?;
            }
        }
        Ok(code)
    }
}

fn is_elsewhere(wanted: &[ProjectContainer], service: &str) -> bool {
    !wanted.iter().any(|container| container.service == service)
}

/// A word for each kind of need, to tell them apart by.
fn word(until: NeedUntil) -> &'static str {
    match until {
        NeedUntil::Started => "started",
        NeedUntil::Up => "up",
        NeedUntil::Healthy => "healthy",
        NeedUntil::Completed => "completed",
    }
}

/// The services and all that they need; all services where none is named.
fn with_needs<'a>(all: &'a [ProjectContainer], services: &[String]) -> BTreeSet<&'a str> {
    let mut wanted: BTreeSet<&str> = all
        .iter()
        .map(|container| container.service.as_str())
        .filter(|service| services.is_empty() || services.iter().any(|named| named == service))
        .collect();
    loop {
        let needed: Vec<&str> = all
            .iter()
            .filter(|container| wanted.contains(container.service.as_str()))
            .flat_map(|container| container.needs.iter().map(|need| need.service.as_str()))
            .filter(|service| !wanted.contains(service) && !is_elsewhere(all, service))
            .collect();
        if needed.is_empty() {
            return wanted;
        }
        wanted.extend(needed);
    }
}

/// The services and all that is restarted with them.
fn with_dependants<'a>(all: &'a [ProjectContainer], services: &[String]) -> BTreeSet<&'a str> {
    let mut wanted: BTreeSet<&str> = all
        .iter()
        .map(|c| c.service.as_str())
        .filter(|service| services.iter().any(|named| named == service))
        .collect();
    loop {
        let more: Vec<&str> = all
            .iter()
            .filter(|container| !wanted.contains(container.service.as_str()))
            .filter(|container| {
                container.needs.iter().any(|need| need.restart && wanted.contains(need.service.as_str()))
            })
            .map(|container| container.service.as_str())
            .collect();
        if more.is_empty() {
            return wanted;
        }
        wanted.extend(more);
    }
}

/// Waits until containers are as a need wants them; says why they never will be.
pub(super) async fn until_holds(
    engine: &Docker,
    containers: &[ProjectContainer],
    until: NeedUntil,
) -> Result<(), String> {
    for container in containers {
        loop {
            if until == NeedUntil::Started {
                break;
            }
            let name = &container.name;
            let found = engine.condition(&container.id).await.map_err(|error| error.to_string())?;
            let Some(now) = found else { return Err(format!("the container `{name}` is gone")) };
            match (until, now.running, now.health) {
                (NeedUntil::Started, ..)
                | (NeedUntil::Up, true, None)
                | (NeedUntil::Healthy | NeedUntil::Up, true, Some(true)) => break,
                (NeedUntil::Healthy, true, None) => {
                    return Err(format!("the container `{name}` has no healthcheck that could pass"));
                }
                (NeedUntil::Healthy | NeedUntil::Up, true, Some(false)) if !now.health_starting => {
                    return Err(format!("the container `{name}` is unhealthy"));
                }
                (NeedUntil::Completed, false, _) if now.exit_code == Some(0) => break,
                (NeedUntil::Healthy | NeedUntil::Up | NeedUntil::Completed, false, _) => {
                    let code = now.exit_code.unwrap_or_default();
                    return Err(format!("the container `{name}` has ended with exit code {code}"));
                }
                (NeedUntil::Healthy | NeedUntil::Up | NeedUntil::Completed, true, _) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(service: &str, needs: &[(&str, bool)]) -> ProjectContainer {
        let need = |(service, restart): &(&str, bool)| ServiceNeed {
            service: (*service).to_owned(),
            until: NeedUntil::Started,
            restart: *restart,
        };
        ProjectContainer {
            service: service.to_owned(),
            needs: needs.iter().map(need).collect(),
            ..ProjectContainer::default()
        }
    }

    #[test]
    fn a_start_takes_what_is_needed_along_and_a_restart_what_needs_it() {
        let all = [
            container("web", &[("api", true)]),
            container("api", &[("db", true), ("cache", false), ("gone", true)]),
            container("db", &[]),
            container("cache", &[]),
            container("other", &[]),
        ];
        let set = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let named = |name: &str| vec![name.to_owned()];
        assert_eq!(set(with_needs(&all, &named("web"))), ["api", "cache", "db", "web"]);
        assert_eq!(set(with_needs(&all, &named("db"))), ["db"]);
        assert_eq!(with_needs(&all, &[]).len(), 5);
        assert_eq!(set(with_dependants(&all, &named("db"))), ["api", "db", "web"]);
        assert_eq!(set(with_dependants(&all, &named("cache"))), ["cache"]);
    }
}
