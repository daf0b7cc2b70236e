//! A run from its first event to its last: engine, reporter, record and signals, wired together.

use std::convert::Infallible;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::prepare::{Prepared, Remark};
use crate::cli::Context;
use crate::driver::Work;
use crate::engine::runtime::{self, Runtime};
use crate::error::Error;
use crate::event::{Event, EventKind, Signal, millis};
use crate::logs::Hub;
use crate::name::{NodeId, RunId};
use crate::os::signals::{Passed, Signals};
use crate::os::{boot, clock};
use crate::report::{self, Ended, Format, Kind, ServiceRow};
use crate::stack::{Node, Stack, mask};
use crate::state::StateDir;
use crate::state::record::{Record, ServiceRecord, StopBy};

/// How many chunks of log may wait for a slow terminal before lines are dropped.
const LOG_CHUNKS: usize = 1024;

/// Whatever asks a run to end: signals, and a reader of standard output that went away.
pub(super) struct StopRequests {
    pub(super) ask: UnboundedSender<Signal>,
    pub(super) asked: UnboundedReceiver<Signal>,
}

impl StopRequests {
    /// Installs the signal handlers. A launcher's signals are `passed` on.
    pub(super) fn install(passed: Option<Passed>) -> Result<Self, Error> {
        let mut signals =
            Signals::install_with(passed).map_err(|error| Error::io("cannot install signal handlers", error))?;
        let (ask, asked) = unbounded_channel();
        let sender = ask.clone();
        tokio::spawn(async move {
            loop {
                // The run is over when nobody listens any more.
                if sender.send(signals.recv().await).is_err() {
                    return;
                }
            }
        });
        Ok(Self { ask, asked })
    }
}

/// Runs what was prepared until it is over; answers with the exit code.
pub(super) async fn run(
    prepared: Prepared,
    run: RunId,
    state: StateDir,
    format: Format,
    context: &Context,
    began: Instant,
    stop: &mut StopRequests,
) -> Result<u8, Error> {
    let Prepared { stack, plan, drivers, driver, why, adopted, notes } = prepared;
    let logs = Hub::new(Some(state.logs()));
    let (tell, told) = unbounded_channel();
    let options = report::Options {
        rows: rows(&stack),
        needs: stack.nodes().map(|node| (node.id.clone(), node.needs.iter().map(|n| n.on.clone()).collect())).collect(),
        verbose: false,
        color: context.color,
    };
    let reporter = tokio::spawn(report::run(format, told, logs.subscribe(LOG_CHUNKS), options));
    let ask = stop.ask.clone();
    let reporter = async move {
        let ended = reporter.await;
        if !matches!(ended, Ok(Ok(Ended::Finished))) {
            // Nobody sees what happens any more: the same as a terminal that was closed.
            let _ = ask.send(Signal::Hup);
        }
    };

    let engine = drivers.docker.as_ref().map(|engine| engine.host().to_owned());
    let record = Record { engine, ..record(&stack, &run, driver, &adopted, began) };
    let mut recorder = Recorder { record, state, began, trouble: false, clean: false };
    let first = EventKind::RunStarted {
        project: stack.project().clone(),
        run: run.clone(),
        driver,
        why,
        services: stack.services().cloned().collect(),
    };
    let notes = notes.into_iter().map(|remark| match remark {
        Remark::Note(message) => EventKind::Note { message },
        Remark::Warning(message, hints) => EventKind::Warning { node: None, message, hints },
    });
    for kind in std::iter::once(first).chain(notes) {
        let _ = tell.send(Event { at_ms: millis(clock::now().duration_since(began)), kind });
    }
    recorder.write(&tell);
    let sink = |event: Event| {
        if let EventKind::Receipt(receipt) = &event.kind {
            recorder.clean = receipt.left.is_empty();
        }
        if recorder.record.apply(&event) {
            recorder.write(&tell);
        }
        // A reporter that is gone has asked for the end of the run already.
        let _ = tell.send(event);
    };
    let trouble = tell_of_trouble(logs.clone(), tell.clone(), began);
    let runtime = Runtime { drivers, logs, run, adopted, began, sink };
    let (_requests, requested) = unbounded_channel();
    let run = async { tokio::join!(runtime::run(plan, runtime, &mut stop.asked, requested), reporter) };
    let (outcome, ()) = tokio::select! {
        ended = run => ended,
        never = trouble => match never {},
    };
    recorder.finish();
    Ok(outcome.exit_code())
}

/// Says once that log files cannot be written; the run itself does not need them.
async fn tell_of_trouble(logs: Hub, tell: UnboundedSender<Event>, began: Instant) -> Infallible {
    let message = logs.troubled().await;
    let hints = vec!["free some space, or nothing of it will be in `devctl logs`".to_owned()];
    let at_ms = millis(clock::now().duration_since(began));
    // A reporter that is gone has asked for the end of the run already.
    let _ = tell.send(Event { at_ms, kind: EventKind::Warning { node: None, message, hints } });
    std::future::pending().await
}

/// Keeps the record on disk up to date.
struct Recorder {
    record: Record,
    state: StateDir,
    began: Instant,
    /// Whether a failure to write was told already.
    trouble: bool,
    /// Whether the last check found nothing left.
    clean: bool,
}

impl Recorder {
    /// Writes the record; where that fails, says so once, since the run itself does not need it.
    fn write(&mut self, tell: &UnboundedSender<Event>) {
        if let Err(error) = self.record.write(&self.state)
            && !self.trouble
        {
            self.trouble = true;
            let message = format!("cannot write `{}`: {error}", self.state.path().join("run.json").display());
            let hints = vec!["`devctl ps` will not know of this run".to_owned()];
            let at_ms = millis(clock::now().duration_since(self.began));
            let _ = tell.send(Event { at_ms, kind: EventKind::Warning { node: None, message, hints } });
        }
    }

    /// The run is over. Where something of it is left, the record stays, and the next `up` looks after that.
    fn finish(self) {
        if self.clean {
            // A record that cannot be removed costs the next `up` one look for what is not there.
            let _ = Record::clear(&self.state);
        }
    }
}

fn record(stack: &Stack, run: &RunId, driver: &str, adopted: &[RunId], began: Instant) -> Record {
    let services = stack.services().filter_map(|name| {
        let node = stack.node(&NodeId::Service(name.clone()))?;
        let stop = node.work.stop_by().map(|(signal, leader_only)| StopBy { signal, leader_only });
        let service = ServiceRecord {
            phase: "waiting".to_owned(),
            stop,
            ports: node.ports.iter().map(|claim| claim.port).collect(),
            addresses: masked(node),
            ..ServiceRecord::default()
        };
        Some((name.to_string(), service))
    });
    // By the wall clock when the command began, which is what events count from.
    let began = clock::timestamp() - clock::now().duration_since(began);
    Record {
        run: run.to_string(),
        pid: std::process::id(),
        boot: boot::id(),
        project: stack.project().to_string(),
        driver: driver.to_owned(),
        engine: None,
        began: began.to_string(),
        adopted: adopted.iter().map(ToString::to_string).collect(),
        services: services.collect(),
    }
}

fn rows(stack: &Stack) -> Vec<ServiceRow> {
    let row = |node: &Node| {
        let NodeId::Service(name) = &node.id else { return None };
        let kind = match node.work {
            Work::Container(_) => Kind::Container,
            Work::Embedded(_) => Kind::Embedded,
            Work::Process(_) => Kind::Process,
            Work::Expected => Kind::Expected,
            Work::Network(_)
            | Work::Volume(_)
            | Work::Image(_)
            | Work::Create(_)
            | Work::Install(_)
            | Work::Build(_) => return None,
        };
        Some(ServiceRow { name: name.clone(), kind, addresses: masked(node) })
    };
    stack.nodes().filter_map(row).collect()
}

fn masked(node: &Node) -> Vec<String> {
    node.addresses.iter().map(|address| mask(address)).collect()
}
