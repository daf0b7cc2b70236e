//! Shows a run of another process at this terminal, as if it ran here.

use std::collections::HashMap;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::Context;
use super::up::{self, StopRequests};
use crate::advice::Blame;
use crate::control::client::{Client, Logs};
use crate::control::wire::{Down, EventLine, LogEntry, Phase, ServiceStatus, State, Status};
use crate::error::Error;
use crate::event::{Event, EventKind, Handle, Outcome, Signal, StopCause};
use crate::logs::{Hub, LogSink};
use crate::manifest::Manifest;
use crate::name::{NodeId, ServiceName};
use crate::os::clock;
use crate::report::{self, Format, Kind, ServiceRow, Steer, WayOut};
use crate::stack::Selection;

/// How many chunks of log may wait for a slow terminal before lines are dropped.
const LOG_CHUNKS: usize = 1024;

/// More lines of a service than a supervisor keeps in memory.
const ALL_LINES: usize = 10_000;

/// What to show, and until when.
pub(super) struct Follow<'a> {
    /// What the shape of the run is taken from, where the files can be read.
    pub(super) manifest: Option<&'a Manifest>,
    pub(super) selection: &'a Selection,
    pub(super) format: Format,
    pub(super) until: Until,
    /// The number of the first event to show; what led to it is told by the status.
    pub(super) from: u64,
    /// Whether nothing is about to change: a run that is up stays as it is.
    pub(super) settled: bool,
    /// Whether we have begun the run, so that Ctrl+C before it is up ends it.
    pub(super) ours: bool,
}

/// Until when a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until everything is up.
    Up,
    /// Until Ctrl+C, which leaves the run alone.
    Left,
}

/// Shows the run until `stop` or its end; answers with the exit code that says how it went.
pub(super) async fn run(
    client: &Client,
    status: &Status,
    follow: Follow<'_>,
    mut stop: StopRequests,
    context: &Context,
) -> Result<u8, Error> {
    let Follow { manifest, selection, format, until, from, settled, ours } = follow;
    let logs = Hub::new(None);
    let (tell, told) = unbounded_channel();
    let (steer, steering) = report::steering();
    let shape = manifest.map(|manifest| up::shape(manifest, selection, &status.driver, &context.env));
    let (mut rows, needs) = shape.unwrap_or_default();
    if settled {
        rows = rows_of(status, &rows);
    }
    let way_out = match until {
        Until::Up => WayOut::Background,
        Until::Left => WayOut::Leave,
    };
    let options = report::Options { rows, needs, verbose: false, color: context.color, way_out };
    let subscription = logs.subscribe(LOG_CHUNKS);
    let mut reporter = tokio::spawn(report::run_steered(format, told, subscription, steering, options));
    if from > 1 && format != Format::Json {
        so_far(status, settled, &tell);
    }
    let mut shown = Shown { client, until, ours, tell: Some(tell), asked: 0, by: None, code: None };
    // Each in a task of its own: a request that is dropped half-way, as another branch of the loop was faster, has been
    // answered to nobody, and a run that is about to end answers once.
    let mut events = client.events(&status.run, from);
    let (heard, mut hear) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let event = events.next().await;
            let over = !matches!(event, Ok(Some(_)));
            if heard.send(event).is_err() || over {
                return;
            }
        }
    });
    // What was printed before we came belongs to what we show only where that is all of the run.
    let tail = if from == 1 { ALL_LINES } else { 0 };
    let lines = Lines { logs: client.logs(&status.run, &[], tail), hub: logs, sinks: HashMap::new() };
    tokio::spawn(lines.pass_on());
    let mut lost = false;
    loop {
        tokio::select! {
            biased;
            Some(signal) = stop.asked.recv() => {
                if shown.signal(signal).await {
                    let (done, left) = oneshot::channel();
                    let _ = steer.send(Steer::Leave(format!("left; devctl (pid {}) runs on", status.pid), done));
                    // A reporter that has ended has nothing to put in order.
                    let _ = left.await;
                    break;
                }
            }
            ended = &mut reporter => {
                // Its last event is shown, or nobody reads any more.
                let _ = ended;
                break;
            }
            Some(event) = hear.recv(), if shown.tell.is_some() => match event? {
                Some(EventLine::Event(numbered)) => shown.event(numbered.event),
                // What is missing is in the status, and shows with the next event of each service.
                Some(EventLine::Gap { .. }) => {}
                // Its last event never came.
                None => {
                    shown.tell = None;
                    lost = true;
                }
            },
        }
    }
    if lost {
        let message = format!("devctl (pid {}), which ran the stack, ended without a word", status.pid);
        return Err(Error::new(Blame::Service, message)
            .hint("see what is left with `devctl ps`")
            .hint("`.devctl/supervisor.log` may tell why"));
    }
    Ok(shown.code.unwrap_or(0))
}

/// What is shown and how it ends.
struct Shown<'a> {
    client: &'a Client,
    until: Until,
    ours: bool,
    /// The way to the reporter; it ends where this is dropped.
    tell: Option<UnboundedSender<Event>>,
    /// How often somebody pressed Ctrl+C.
    asked: u32,
    /// The signal by which we had the run ended.
    by: Option<Signal>,
    code: Option<u8>,
}

impl Shown<'_> {
    fn event(&mut self, mut event: Event) {
        if let (EventKind::Finished { outcome, exit_code }, Some(signal)) = (&mut event.kind, self.by)
            && matches!(outcome, Outcome::Interrupted(_))
        {
            // The supervisor was told over its socket, by which no signal travels.
            *outcome = Outcome::Interrupted(signal);
            *exit_code = outcome.exit_code();
        }
        // Who presses Ctrl+C has not typed `devctl down`.
        if let (EventKind::StackStopping { cause: cause @ StopCause::Command }, Some(signal)) =
            (&mut event.kind, self.by)
        {
            *cause = StopCause::Signal(signal);
        }
        let over = match &event.kind {
            EventKind::StackReady { unready, .. } => {
                self.code = Some(if unready.is_empty() { 0 } else { 4 });
                self.until == Until::Up
            }
            EventKind::Finished { exit_code, .. } => {
                self.code = Some(*exit_code);
                true
            }
            _ => false,
        };
        if let Some(tell) = &self.tell {
            // Where the reporter is gone, so is whoever would see it.
            let _ = tell.send(event);
        }
        if over {
            self.tell = None;
        }
    }

    /// A signal: leaves the run alone, unless it is ours and not up yet. Answers whether that is all.
    async fn signal(&mut self, signal: Signal) -> bool {
        self.asked += 1;
        if !self.ours || self.asked > 2 || signal == Signal::Hup {
            if self.until == Until::Up {
                self.code = Some(signal.exit_code());
            }
            return true;
        }
        self.by.get_or_insert(signal);
        // A supervisor that cannot be asked any more is about to end.
        let _ = self.client.down(&Down { kill: self.asked > 1, keep: false }).await;
        false
    }
}

/// What services print, on its way to the reporter.
struct Lines {
    logs: Logs,
    hub: Hub,
    sinks: HashMap<ServiceName, LogSink>,
}

impl Lines {
    async fn pass_on(mut self) {
        // Without lines the run is shown all the same.
        while let Ok(Some(entry)) = self.logs.next().await {
            match entry {
                LogEntry::Line { service, stream, line, .. } => {
                    let sink = self.sinks.entry(service.clone()).or_insert_with(|| self.hub.sink(&service));
                    sink.write(stream, format!("{line}\n").as_bytes()).await;
                }
                // The files have them.
                LogEntry::Dropped { .. } => {}
            }
        }
    }
}

/// The services of a run as it tells them itself: replicas among them that no file knows, and none that it does not run.
fn rows_of(status: &Status, known: &[ServiceRow]) -> Vec<ServiceRow> {
    let row = |service: &ServiceStatus| {
        let name: ServiceName = service.service.parse().ok()?;
        let kind = known.iter().find(|row| row.name == name).map(|row| row.kind);
        let kind = kind.unwrap_or(if service.container.is_some() { Kind::Container } else { Kind::Process });
        Some(ServiceRow { name, kind, addresses: service.addresses.clone() })
    };
    status.services.iter().filter_map(row).collect()
}

/// Tells the reporter what happened before it came.
fn so_far(status: &Status, settled: bool, tell: &UnboundedSender<Event>) {
    let say = |kind| {
        let _ = tell.send(Event { at_ms: 0, kind });
    };
    let (Ok(project), Ok(run)) = (status.project.parse(), status.run.parse()) else { return };
    let names = status.services.iter().filter_map(|service| service.service.parse().ok());
    let driver = match status.driver.as_str() {
        "docker" => "docker",
        "embedded" => "embedded",
        _ => "none",
    };
    let up = status.began.parse::<jiff::Timestamp>().ok().map(|began| clock::timestamp().duration_since(began));
    let up = up
        .and_then(|up| u64::try_from(up.as_millis()).ok())
        .map_or_else(String::new, |ms| format!(", for {}", report::duration(ms)));
    let why = format!("run by devctl (pid {}){up}", status.pid);
    say(EventKind::RunStarted { project, run, driver, why, services: names.collect() });
    for service in &status.services {
        let Ok(name) = service.service.parse::<ServiceName>() else { continue };
        let node = NodeId::Service(name);
        if let Some(handle) = handle(service) {
            say(EventKind::Started { node: node.clone(), handle });
        }
        match service.state {
            State::Ready | State::Unhealthy => {
                say(EventKind::Ready { node, elapsed_ms: service.ready_ms.unwrap_or_default(), probe: "" });
            }
            State::Done => say(EventKind::Completed { node, elapsed_ms: 0 }),
            State::Waiting
            | State::Starting
            | State::Probing
            | State::Late
            | State::Restarting
            | State::Failed
            | State::Stopping
            | State::Killing
            | State::Stopped => {}
        }
    }
    if settled && status.phase == Phase::Up {
        let late = |service: &&ServiceStatus| !matches!(service.state, State::Ready | State::Done | State::Unhealthy);
        let unready = status.services.iter().filter(late).filter_map(|service| service.service.parse().ok()).collect();
        say(EventKind::StackReady { elapsed_ms: status.ready_ms.unwrap_or_default(), unready });
    }
}

fn handle(service: &ServiceStatus) -> Option<Handle> {
    match (&service.container, service.pid) {
        (Some(name), _) => Some(Handle::Container { id: String::new(), name: name.clone() }),
        (None, Some(pid)) => Some(Handle::Process { pid }),
        (None, None) => None,
    }
}
