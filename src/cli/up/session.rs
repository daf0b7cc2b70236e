//! A run from its first event to its last: engine, reporter, record and signals, wired together.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::poll;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Settings;
use super::attached::Terminal;
use super::outlet::Outlet;
use super::prepare::Prepared;
use super::supervisor::{Current, Guarded, Shared, Supervisor};
use super::watching;
use crate::advice::Advice as _;
use crate::cli::Context;
use crate::control::server::Server;
use crate::control::socket::Socket;
use crate::driver::Work;
use crate::driver::guardian::{Guardian, RunText, Watch};
use crate::engine::runtime::{self, Runtime};
use crate::error::Error;
use crate::event::{Event, EventKind, Outcome, Signal};
use crate::logs::Hub;
use crate::manifest::Manifest;
use crate::name::{NodeId, RunId};
use crate::os::signals::{Pass, Passed, Signals};
use crate::os::{boot, clock};
use crate::plan::Policy;
use crate::report::{self, Ended, Kind, ServiceRow, WayOut};
use crate::stack::{self, Infra, Node, Selection, Stack, mask};
use crate::state::StateDir;
use crate::state::lock::Lock;
use crate::state::record::{Record, ServiceRecord, StopBy};

/// How many chunks of log may wait for a slow terminal before lines are dropped.
const LOG_CHUNKS: usize = 1024;

/// How long a run in the background that failed waits for somebody to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Whatever asks a run to end: signals, and a reader of standard output that went away.
pub(in crate::cli) struct StopRequests {
    pub(super) ask: UnboundedSender<Signal>,
    pub(in crate::cli) asked: UnboundedReceiver<Signal>,
}

impl StopRequests {
    /// Installs the signal handlers of a run without a terminal: nobody hangs up on it.
    pub(super) fn install_in_background() -> Result<Self, Error> {
        let (detached, passed) = unbounded_channel();
        let _ = detached.send(Pass::Detached);
        Self::install(Some(passed))
    }

    /// Installs the signal handlers. A launcher's signals are `passed` on.
    pub(in crate::cli) fn install(passed: Option<Passed>) -> Result<Self, Error> {
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

/// What a session is made of, besides what was prepared.
pub(super) struct Session<'a> {
    pub(super) run: RunId,
    pub(super) state: StateDir,
    pub(super) lock: &'a Lock,
    pub(super) settings: Settings,
    /// The files that the plan was made of.
    pub(super) files: Vec<PathBuf>,
    /// Where the run is shown; one that was started in the background is shown to clients of the control socket alone.
    pub(super) terminal: Option<Terminal>,
    pub(super) context: &'a Context,
    pub(super) began: Instant,
}

/// Runs what was prepared until it is over; answers with the exit code.
pub(super) async fn run(prepared: Prepared, session: Session<'_>, stop: &mut StopRequests) -> Result<u8, Error> {
    let Prepared { stack, plan, drivers, driver, why, adopted, notes } = prepared;
    let Session { run, state, lock, settings, files, mut terminal, context, began } = session;
    let engine = drivers.docker.as_ref().map(|engine| engine.host().to_owned());
    let watch = Watch {
        root: state.root().to_owned(),
        run: RunText(run.clone()),
        adopted: adopted.iter().cloned().map(RunText).collect(),
        engine: engine.clone(),
        keep: plan.keep,
        // A run that nobody sees is meant to outlast accidents, and what is to be kept is kept.
        spare: plan.keep && terminal.is_none(),
    };
    // Asked for before the first workload, so it is made before it; nothing waits until it has begun.
    let processes = drivers.process.clone();
    let mut guardian = Box::pin(async move { Guardian::start(&processes, watch).await });
    let early = poll!(guardian.as_mut());
    let log_folder = state.logs();
    let logs = Hub::new(Some(log_folder.clone()));
    logs.mask(stack.secrets());
    let is_seen = terminal.is_some();
    let (tell, reporter) = match &mut terminal {
        None => (None, None),
        Some(terminal) => {
            let (tell, told) = unbounded_channel();
            let (rows, needs) = shape_of(&stack);
            let way_out = if terminal.read_keys() { WayOut::Keys } else { WayOut::Stop };
            let options = report::Options { rows, needs, verbose: false, color: context.color, way_out };
            let (steering, logs) = (terminal.steering(), logs.subscribe(LOG_CHUNKS));
            (Some(tell), Some(tokio::spawn(report::run_steered(terminal.format, told, logs, steering, options))))
        }
    };
    let ask = stop.ask.clone();
    let reporter = async move {
        let Some(reporter) = reporter else { return };
        let ended = reporter.await;
        if !matches!(ended, Ok(Ok(Ended::Finished | Ended::Left))) {
            // Nobody sees what happens any more: the same as a terminal that was closed.
            let _ = ask.send(Signal::Hup);
        }
    };

    let record = Record { engine, ..record(&stack, &run, driver, &adopted, began) };
    let outlet = Outlet::new(began, state.clone(), record, tell);
    outlet.say(EventKind::RunStarted {
        project: stack.project().clone(),
        run: run.clone(),
        driver,
        why,
        services: stack.services().cloned().collect(),
    });
    for remark in notes {
        outlet.say(remark.into_event());
    }
    outlet.amend(|_| ());
    let (requests, requested) = unbounded_channel();
    let supervisor = Arc::new(Supervisor {
        outlet: outlet.clone(),
        logs: logs.clone(),
        log_folder,
        root: stack.root().to_owned(),
        request: context.request.clone(),
        detached: AtomicBool::new(!is_seen),
        guardian: Guarded::default(),
        requests,
        current: Mutex::new(Current {
            // What was wanted of containers that were there before was wanted once.
            settings: Settings { policy: Policy::default(), ..settings },
            plan: plan.clone(),
            drivers: Arc::clone(&drivers),
            driver,
            env: context.env.clone(),
            files,
        }),
    });
    let server = serve(&supervisor, lock, context, &outlet);
    let sink = |event: Event| outlet.event(event);
    let runtime = Runtime { drivers, logs: logs.clone(), run, adopted, began, sink };
    let trouble = tell_of_trouble(logs, &outlet);
    let ask = stop.ask.clone();
    let at_terminal = async {
        match &mut terminal {
            Some(terminal) => terminal.serve(&state, &ask, &supervisor).await,
            None => std::future::pending().await,
        }
    };
    let guarded = async {
        let guardian = match early {
            Poll::Ready(guardian) => guardian,
            Poll::Pending => guardian.await,
        };
        if let Err(error) = supervisor.guardian.take(guardian) {
            let message = format!("cannot start the guardian of this run: {error}");
            let hints = vec!["should devctl be killed, `devctl down` stops what it leaves".to_owned()];
            outlet.say(EventKind::Warning { node: None, message, hints });
        }
        std::future::pending::<Infallible>().await
    };
    // Before the first build: what is written while it runs is news. Without a watched service there is nothing to miss.
    let watcher = if watching::is_wanted(&supervisor).await { watching::begin(&supervisor).await } else { None };
    let run = async { tokio::join!(runtime::run(plan, runtime, &mut stop.asked, requested), reporter) };
    let (outcome, ()) = tokio::select! {
        ended = run => ended,
        never = trouble => match never {},
        never = at_terminal => match never {},
        never = guarded => match never {},
        never = watching::watch(Arc::clone(&supervisor), watcher) => match never {},
    };
    outlet.finish(outcome);
    supervisor.guardian.goodbye().await;
    if !is_seen && matches!(outcome, Outcome::Failed | Outcome::Environment | Outcome::NotReady) {
        // What fails at once has failed before whoever started this could listen, and nobody else would say it.
        let _ = tokio::time::timeout(LAST_WORDS, outlet.log().followed()).await;
    }
    if let Some(server) = server {
        server.close().await;
    }
    Ok(outcome.exit_code())
}

/// Opens the control socket. A run that other terminals cannot reach is worth a warning and no more.
fn serve(supervisor: &Arc<Supervisor>, lock: &Lock, context: &Context, outlet: &Outlet) -> Option<Server> {
    let opened = Socket::bind(&supervisor.root, &context.env, lock)
        .map(|socket| Server::start(socket, Arc::new(Shared(Arc::clone(supervisor)))));
    match opened {
        Ok(server) => Some(server),
        Err(error) => {
            let (message, hints) = (error.to_string(), error.hints());
            outlet.say(EventKind::Warning { node: None, message, hints });
            None
        }
    }
}

/// Says once that log files cannot be written; the run itself does not need them.
async fn tell_of_trouble(logs: Hub, outlet: &Outlet) -> Infallible {
    let message = logs.troubled().await;
    let hints = vec!["free some space, or nothing of it will be in `devctl logs`".to_owned()];
    outlet.say(EventKind::Warning { node: None, message, hints });
    std::future::pending().await
}

fn record(stack: &Stack, run: &RunId, driver: &str, adopted: &[RunId], began: Instant) -> Record {
    let services = stack.services().filter_map(|name| {
        let node = stack.node(&NodeId::Service(name.clone()))?;
        Some((name.to_string(), service_record(node)))
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
        failures: indexmap::IndexMap::new(),
        services: services.collect(),
    }
}

/// What is recorded of a service before anything happened to it.
pub(super) fn service_record(node: &Node) -> ServiceRecord {
    ServiceRecord {
        phase: "waiting".to_owned(),
        stop: node.work.stop_by().map(|(signal, leader_only)| StopBy { signal, leader_only }),
        ports: node.ports.iter().map(|claim| claim.port).collect(),
        addresses: masked(node),
        ..ServiceRecord::default()
    }
}

/// The services of a run and what each node needs.
type Shape = (Vec<ServiceRow>, Vec<(NodeId, Vec<NodeId>)>);

/// The shape of a run of another process, as far as it can be told from here: what cannot is shown without.
pub(in crate::cli) fn shape(
    manifest: &Manifest,
    selection: &Selection,
    driver: &str,
    env: &BTreeMap<String, String>,
) -> Shape {
    let infra = match driver {
        "embedded" => Infra::Embedded,
        _ => Infra::Docker,
    };
    stack::resolve(manifest, selection, infra, env).map(|stack| shape_of(&stack)).unwrap_or_default()
}

fn shape_of(stack: &Stack) -> Shape {
    let needs = stack.nodes().map(|node| (node.id.clone(), node.needs.iter().map(|n| n.on.clone()).collect()));
    (rows(stack), needs.collect())
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
