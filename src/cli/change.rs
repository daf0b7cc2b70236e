//! What `start`, `stop`, `restart`, `kill`, `scale` and `reload` have in common: a command goes to the devctl that runs
//! the stack, and what comes of it is waited for and told, service by service.

use std::collections::HashMap;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::{Context, output};
use crate::advice::Blame;
use crate::control::client::Client;
use crate::control::wire::{Change, EventLine, Phase, Reply, ServiceStatus, SignalName, State, Status, What};
use crate::error::Error;
use crate::event::{EventKind, Exit, Failure};
use crate::name::{NodeId, ServiceName};
use crate::report;

/// How often to look how everything is while no event tells.
const LOOK: Duration = Duration::from_secs(1);

/// How a command is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One line for each service
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// The devctl that runs the project, and how everything is.
pub(super) async fn connect(context: &Context) -> Result<(Client, Status), Error> {
    let root = super::project_folder(context)?;
    Ok(Client::connect(&root).await?)
}

/// Waits until a command came about, and tells each service as soon as it did. Answers with the exit code: of the worst
/// that happened.
pub(super) async fn see_through(
    client: &Client,
    before: &Status,
    reply: Reply,
    signal: Option<SignalName>,
    format: Format,
    context: &Context,
) -> Result<u8, Error> {
    let mut teller = Teller { format, context, signal, code: 0 };
    for note in &reply.notes {
        teller.note(note)?;
    }
    if reply.changes.is_empty() && format == Format::Text {
        output::print("everything is as it should be\n", context.color)?;
    }
    let mut pending = Pending::new(reply.changes, before, signal);
    teller.tell(pending.settled())?;
    let mut events = client.events(&before.run, reply.seq);
    while !pending.is_empty() {
        let told = tokio::select! {
            line = events.next() => match line? {
                Some(EventLine::Event(numbered)) => pending.on(&numbered.event.kind),
                Some(EventLine::Gap { status, .. }) => pending.look(&status),
                None => pending.over(),
            },
            // For what no event tells, and for what was true before it was asked for.
            () = tokio::time::sleep(LOOK) => match client.status().await {
                Ok(status) => pending.look(&status),
                Err(error) if error.is_nobody() => pending.over(),
                Err(error) => return Err(error.into()),
            },
        };
        teller.tell(told)?;
    }
    Ok(teller.code)
}

/// What became of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    service: ServiceName,
    #[serde(flatten)]
    ended: Ended,
    /// Why, where it is not what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip)]
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Ended {
    Ready {
        ready_ms: u64,
    },
    Done {
        elapsed_ms: u64,
    },
    Stopped {
        exit: Option<Exit>,
    },
    Signalled,
    Unchanged {
        state: Option<State>,
    },
    Late {
        message: String,
    },
    Failed {
        failure: Box<Failure>,
    },
    /// It could not be built, and what was built before runs on.
    NotBuilt {
        failure: Box<Failure>,
    },
    /// What it needs failed.
    Blocked {
        on: String,
    },
    /// The run ended before it came about.
    Gone,
}

/// What is still waited for.
struct Pending {
    left: Vec<(Change, Option<ServiceStatus>)>,
    signal: Option<SignalName>,
    /// What nodes wait for, as far as events told.
    waits: HashMap<NodeId, Vec<NodeId>>,
}

impl Pending {
    fn new(changes: Vec<Change>, before: &Status, signal: Option<SignalName>) -> Self {
        let left = changes.into_iter().map(|change| {
            let before = before.service(change.service.as_str()).cloned();
            (change, before)
        });
        Self { left: left.collect(), signal, waits: HashMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Takes those out of what is waited for to which something happened.
    fn take(&mut self, happened: impl Fn(&Change, Option<&ServiceStatus>) -> Option<Ended>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.left.retain(|(change, before)| {
            let Some(ended) = happened(change, before.as_ref()) else { return true };
            let Change { service, what, why } = change.clone();
            outcomes.push(Outcome { service, ended, why, what });
            false
        });
        outcomes
    }

    /// What is settled as soon as the command is taken in.
    fn settled(&mut self) -> Vec<Outcome> {
        let kills = self.signal == Some(SignalName::KILL);
        self.take(|change, before| match change.what {
            // On its way already: what was wanted is still to come.
            What::Nothing if before.is_some_and(|service| is_coming_up(service.state)) => None,
            What::Nothing => Some(Ended::Unchanged { state: before.map(|service| service.state) }),
            // Whatever else it means to the service is the service's business.
            What::Signal if !kills => Some(Ended::Signalled),
            What::Signal | What::Start | What::Stop | What::Restart | What::Remove => None,
        })
    }

    fn on(&mut self, kind: &EventKind) -> Vec<Outcome> {
        match kind {
            EventKind::Waiting { node, on } => {
                self.waits.insert(node.clone(), on.clone());
                Vec::new()
            }
            EventKind::Ready { node, elapsed_ms, .. } => self.up(node, |_| Ended::Ready { ready_ms: *elapsed_ms }),
            EventKind::Completed { node, elapsed_ms } => self.up(node, |_| Ended::Done { elapsed_ms: *elapsed_ms }),
            EventKind::Warning { node: Some(node), message, .. } => {
                self.up(node, |_| Ended::Late { message: message.clone() })
            }
            EventKind::BuildFailed { node, failure } => self.take(|change, _| {
                let mine = node.service() == Some(&change.service) && !goes_down(change.what);
                mine.then(|| Ended::NotBuilt { failure: Box::new(failure.clone()) })
            }),
            EventKind::Failed { node, failure } => {
                let mut outcomes = self.failed(node, failure);
                outcomes.extend(self.blocked(node));
                outcomes
            }
            EventKind::Stopped { node, exit } => self.take(|change, _| {
                // What leaves the stack has another step to go.
                let is_it = is(node, change) && goes_down(change.what) && change.what != What::Remove;
                is_it.then(|| Ended::Stopped { exit: Some(exit.clone()) })
            }),
            EventKind::Removed { node } => self.take(|change, _| {
                (is(node, change) && change.what == What::Remove).then_some(Ended::Stopped { exit: None })
            }),
            EventKind::Finished { .. } => self.over(),
            _ => Vec::new(),
        }
    }

    fn up(&mut self, node: &NodeId, ended: impl Fn(&Change) -> Ended) -> Vec<Outcome> {
        self.take(|change, _| (is(node, change) && !goes_down(change.what)).then(|| ended(change)))
    }

    /// A failed service does not run: whoever wanted that has it.
    fn failed(&mut self, node: &NodeId, failure: &Failure) -> Vec<Outcome> {
        self.take(|change, _| {
            if node.service() != Some(&change.service) || change.what == What::Remove {
                return None;
            }
            Some(if goes_down(change.what) {
                Ended::Stopped { exit: failure.exit.clone() }
            } else {
                Ended::Failed { failure: Box::new(failure.clone()) }
            })
        })
    }

    /// Those that wait for a node that failed, directly or not.
    fn blocked(&mut self, failed: &NodeId) -> Vec<Outcome> {
        let mut hopeless = vec![failed.clone()];
        let mut at = 0;
        while let Some(needed) = hopeless.get(at).cloned() {
            let waiting = self.waits.iter().filter(|(node, on)| on.contains(&needed) && !hopeless.contains(node));
            let waiting: Vec<NodeId> = waiting.map(|(node, _)| node.clone()).collect();
            hopeless.extend(waiting);
            at += 1;
        }
        self.take(|change, _| {
            let waits = hopeless[1..].iter().any(|node| node.service() == Some(&change.service));
            (waits && !goes_down(change.what)).then(|| Ended::Blocked { on: failed.to_string() })
        })
    }

    /// What can be told from how everything is now, without having seen how it came to it.
    fn look(&mut self, now: &Status) -> Vec<Outcome> {
        let over = now.phase == Phase::Stopping;
        self.take(|change, before| {
            let Some(service) = now.service(change.service.as_str()) else {
                return goes_down(change.what).then_some(Ended::Stopped { exit: None });
            };
            let is_another = before.is_none_or(|before| {
                (&before.since, before.pid, &before.container) != (&service.since, service.pid, &service.container)
            });
            match service.state {
                State::Stopped | State::Failed | State::Done
                    if goes_down(change.what) && change.what != What::Remove =>
                {
                    Some(Ended::Stopped { exit: None })
                }
                State::Ready
                    if matches!(change.what, What::Start | What::Nothing)
                        || (change.what == What::Restart && is_another) =>
                {
                    Some(Ended::Ready { ready_ms: service.ready_ms.unwrap_or_default() })
                }
                // Nothing is started any more.
                State::Waiting if over && !goes_down(change.what) => Some(Ended::Gone),
                _ => None,
            }
        })
    }

    /// The run is over.
    fn over(&mut self) -> Vec<Outcome> {
        self.take(|change, _| Some(if goes_down(change.what) { Ended::Stopped { exit: None } } else { Ended::Gone }))
    }
}

/// Whether an event is about the service itself, and not about its build or its container.
fn is(node: &NodeId, change: &Change) -> bool {
    matches!(node, NodeId::Service(name) if *name == change.service)
}

fn is_coming_up(state: State) -> bool {
    matches!(state, State::Starting | State::Probing)
}

fn goes_down(what: What) -> bool {
    match what {
        What::Stop | What::Remove | What::Signal => true,
        What::Start | What::Restart | What::Nothing => false,
    }
}

/// Prints outcomes as they come.
struct Teller<'a> {
    format: Format,
    context: &'a Context,
    signal: Option<SignalName>,
    code: u8,
}

impl Teller<'_> {
    fn note(&self, note: &str) -> Result<(), Error> {
        if self.format == Format::Text {
            output::print(&format!("{note}\n"), self.context.color)?;
        }
        Ok(())
    }

    fn tell(&mut self, outcomes: Vec<Outcome>) -> Result<(), Error> {
        for outcome in outcomes {
            let error = outcome.error();
            if let Some(error) = &error {
                self.code = self.code.max(error.exit_code());
            }
            match (self.format, error) {
                (Format::Json, _) => {
                    let mut text = serde_json::to_string(&outcome)
                        .map_err(|error| Error::new(Blame::Bug, format!("an outcome cannot be written: {error}")))?;
                    text.push('\n');
                    output::print(&text, self.context.color)?;
                }
                (Format::Text, Some(error)) => error.print(self.context.color),
                (Format::Text, None) => {
                    output::print(&format!("{}\n", outcome.sentence(self.signal)), self.context.color)?;
                }
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// A line about what went well.
    fn sentence(&self, signal: Option<SignalName>) -> String {
        let Self { service, ended, why, what } = self;
        let did = match what {
            What::Restart => "restarted",
            What::Remove => "removed",
            What::Start | What::Stop | What::Signal | What::Nothing => "started",
        };
        let mut text = match ended {
            Ended::Ready { ready_ms } => format!("{service} {did}, ready in {}", report::duration(*ready_ms)),
            Ended::Done { elapsed_ms } => format!("{service} done in {}", report::duration(*elapsed_ms)),
            Ended::Stopped { exit } => {
                let did = if *what == What::Remove { "removed" } else { "stopped" };
                let how = exit.as_ref().map(|exit| format!(" ({exit})")).unwrap_or_default();
                format!("{service} {did}{how}")
            }
            Ended::Signalled => match signal {
                Some(signal) => format!("{service} got {signal}"),
                None => format!("{service} got its signal"),
            },
            Ended::Unchanged { state: Some(state) } => format!("{service} is {state} already"),
            Ended::Unchanged { state: None } => format!("{service} is as it should be"),
            Ended::Late { .. }
            | Ended::Failed { .. }
            | Ended::NotBuilt { .. }
            | Ended::Blocked { .. }
            | Ended::Gone => service.to_string(),
        };
        if let Some(why) = why {
            text = format!("{text}: {why}");
        }
        text
    }

    /// The error it is, where it did not go well.
    fn error(&self) -> Option<Error> {
        let service = &self.service;
        Some(match &self.ended {
            Ended::Ready { .. }
            | Ended::Done { .. }
            | Ended::Stopped { .. }
            | Ended::Signalled
            | Ended::Unchanged { .. } => return None,
            Ended::Late { message } => Error::new(Blame::Timeout, format!("{service} is not ready: {message}"))
                .hint(format!("`devctl why {service}`")),
            Ended::Failed { failure } => failed(service, failure),
            Ended::NotBuilt { failure } => {
                failed(service, failure).note(format!("{service} was not restarted: what was built before runs on"))
            }
            Ended::Blocked { on } => {
                Error::new(Blame::Service, format!("{service} cannot start: it needs {on}, which failed"))
            }
            Ended::Gone => {
                Error::new(Blame::Service, format!("{service} was not waited for: the stack was taken down"))
            }
        })
    }
}

/// A failure with its evidence.
pub(super) fn failed(service: &ServiceName, failure: &Failure) -> Error {
    /// As much as fits a screen; `devctl logs` has the rest.
    const TAIL: usize = 8;
    let blame = match failure {
        Failure { environment: true, .. } => Blame::Environment,
        Failure { timed_out: true, .. } => Blame::Timeout,
        Failure { .. } => Blame::Service,
    };
    let message = failure.message.trim_start_matches(&format!("`{service}` ")).to_owned();
    let message = if message == failure.message {
        format!("{service} failed: {message}")
    } else {
        format!("{service} {message}")
    };
    let mut error = Error::new(blame, message);
    if let Some(exit) = &failure.exit {
        error = error.note(format!("it ended: {exit}"));
    }
    if let Some(answer) = &failure.last_probe {
        error = error.note(format!("the last probe said: {answer}"));
    }
    if let Some(line) = &failure.first_error {
        error = error.note(format!("the first error in its log: {line}"));
    }
    let from = failure.log_tail.len().saturating_sub(TAIL);
    if !failure.log_tail.is_empty() {
        error = error.note(format!("its last lines:\n{}", failure.log_tail[from..].join("\n")));
    }
    for hint in &failure.hints {
        error = error.hint(hint.clone());
    }
    error.hint(format!("`devctl logs {service}` shows all that it printed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    fn node(text: &str) -> NodeId {
        text.parse().unwrap()
    }

    fn service(name: &str, state: State, pid: u32) -> ServiceStatus {
        let json = serde_json::json!({ "service": name, "state": state, "restarts": 0, "pid": pid, "addresses": [] });
        serde_json::from_value(json).unwrap()
    }

    fn status(phase: Phase, services: &[ServiceStatus]) -> Status {
        let json = serde_json::json!({
            "api": 1, "version": "", "project": "p", "root": "/", "run": "00000000000a", "pid": 1, "began": "",
            "driver": "none", "mode": "detached", "phase": phase, "next_event": 1, "logs": "", "services": services,
        });
        serde_json::from_value(json).unwrap()
    }

    fn pending(changes: &[(&str, What)], signal: Option<SignalName>) -> Pending {
        let changes = changes.iter().map(|(service, what)| Change { service: name(service), what: *what, why: None });
        let before = status(Phase::Up, &[service("api", State::Ready, 42), service("db", State::Stopped, 0)]);
        Pending::new(changes.collect(), &before, signal)
    }

    fn sentences(outcomes: &[Outcome]) -> Vec<String> {
        let text = |outcome: &Outcome| match outcome.error() {
            Some(error) => format!("{} [{}]", error.parts().0.lines().next().unwrap_or_default(), error.exit_code()),
            None => outcome.sentence(Some(SignalName::KILL)),
        };
        outcomes.iter().map(text).collect()
    }

    #[test]
    fn each_change_ends_with_the_event_that_it_is_about() {
        let ready = |text: &str| EventKind::Ready { node: node(text), elapsed_ms: 240, probe: "http" };
        let stopped =
            |text: &str| EventKind::Stopped { node: node(text), exit: Exit { code: Some(0), ..Exit::default() } };
        let failure = Failure { message: "`api` ended before it was ready".to_owned(), ..Failure::default() };
        let failed = |text: &str| EventKind::Failed { node: node(text), failure: failure.clone() };
        let not_built = EventKind::BuildFailed { node: node("build api"), failure: failure.clone() };
        let late =
            |text: &str| EventKind::Warning { node: Some(node(text)), message: "slow".to_owned(), hints: vec![] };
        for (what, event, told) in [
            (What::Start, ready("api"), Some("api started, ready in 240 ms")),
            (What::Restart, ready("api"), Some("api restarted, ready in 240 ms")),
            (What::Restart, stopped("api"), None),
            (What::Restart, ready("db"), None),
            (What::Start, EventKind::Completed { node: node("build api"), elapsed_ms: 5 }, None),
            (What::Start, EventKind::Completed { node: node("api"), elapsed_ms: 5 }, Some("api done in 5 ms")),
            (What::Stop, stopped("api"), Some("api stopped (exit code 0)")),
            (What::Signal, stopped("api"), Some("api stopped (exit code 0)")),
            (What::Remove, stopped("api"), None),
            (What::Remove, failed("api"), None),
            (What::Remove, EventKind::Removed { node: node("api") }, Some("api removed")),
            (What::Stop, EventKind::Removed { node: node("container api") }, None),
            (What::Stop, ready("api"), None),
            (What::Start, failed("api"), Some("api ended before it was ready [1]")),
            (What::Restart, failed("build api"), Some("api ended before it was ready [1]")),
            (What::Restart, not_built, Some("api ended before it was ready [1]")),
            (What::Stop, failed("api"), Some("api stopped")),
            (What::Start, late("api"), Some("api is not ready: slow [4]")),
        ] {
            let mut pending = pending(&[("api", what)], Some(SignalName::KILL));
            assert!(pending.settled().is_empty());
            let outcomes = pending.on(&event);
            assert_eq!(sentences(&outcomes).first().map(String::as_str), told, "{what:?} {event:?}");
            assert_eq!(pending.is_empty(), told.is_some());
        }
    }

    #[test]
    fn what_needs_nothing_is_told_at_once() {
        let mut nothing = pending(&[("api", What::Nothing), ("db", What::Nothing), ("new", What::Nothing)], None);
        let told = ["api is ready already", "db is stopped already", "new is as it should be"];
        assert_eq!(sentences(&nothing.settled()), told);
        let usr1 = "USR1".parse().unwrap();
        let mut signalled = pending(&[("api", What::Signal)], Some(usr1));
        assert_eq!(signalled.settled()[0].sentence(Some(usr1)), "api got SIGUSR1");
    }

    #[test]
    fn what_is_on_its_way_already_is_waited_for() {
        let before = status(Phase::Up, &[service("api", State::Probing, 42)]);
        let mut pending =
            Pending::new(vec![Change { service: name("api"), what: What::Nothing, why: None }], &before, None);
        assert!(pending.settled().is_empty());
        let outcomes = pending.on(&EventKind::Ready { node: node("api"), elapsed_ms: 7, probe: "http" });
        assert_eq!(sentences(&outcomes), ["api started, ready in 7 ms"]);
    }

    #[test]
    fn whoever_waits_for_what_failed_waits_in_vain() {
        let mut pending = pending(&[("api", What::Start), ("web", What::Start), ("db", What::Start)], None);
        pending.on(&EventKind::Waiting { node: node("api"), on: vec![node("db")] });
        pending.on(&EventKind::Waiting { node: node("web"), on: vec![node("api")] });
        let outcomes = pending.on(&EventKind::Failed { node: node("db"), failure: Failure::default() });
        let told = sentences(&outcomes);
        assert_eq!(
            told[1..],
            [
                "api cannot start: it needs db, which failed [1]".to_owned(),
                "web cannot start: it needs db, which failed [1]".to_owned(),
            ]
        );
        assert!(pending.is_empty());
    }

    #[test]
    fn a_look_tells_what_events_did_not() {
        let ready = |pid| status(Phase::Up, &[service("api", State::Ready, pid)]);
        let stopped = status(Phase::Up, &[service("api", State::Stopped, 0)]);
        for (what, now, told) in [
            // The same process as before: it has not been restarted yet.
            (What::Restart, ready(42), None),
            (What::Restart, ready(43), Some("api restarted, ready in 0 ms")),
            (What::Start, ready(42), Some("api started, ready in 0 ms")),
            (What::Stop, ready(42), None),
            (What::Stop, stopped, Some("api stopped")),
            (What::Remove, status(Phase::Up, &[]), Some("api removed")),
        ] {
            let mut pending = pending(&[("api", what)], None);
            assert_eq!(sentences(&pending.look(&now)).first().map(String::as_str), told, "{what:?}");
        }
    }

    #[test]
    fn the_end_of_the_run_is_what_a_stop_wanted_and_a_start_did_not() {
        let mut pending = pending(&[("api", What::Start), ("db", What::Stop)], None);
        let told = ["api was not waited for: the stack was taken down [1]", "db stopped"];
        assert_eq!(sentences(&pending.over()), told);
    }
}
