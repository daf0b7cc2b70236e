//! The one loop of a run: inputs in, effects out.
//!
//! Each arm of the `select!` builds a value and hands it to the machine; what the machine wants done is started as a
//! task that reports back. Nothing here decides, and nothing here waits for a task, so a signal is always read at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

use super::command::{Change, Command};
use super::machine::{Effect, Input, Machine, Report};
use super::node::{Epoch, Kind, Life, Liveness, Spec};
use crate::advice::{Advice, Blame};
use crate::driver::claim::Claim;
use crate::driver::{Control, DriverError, Drivers, Running, StartContext, Started, Work, docker};
use crate::event::{Action, Event, EventKind, Failure, Handle, Outcome, Signal, millis};
use crate::logs::Hub;
use crate::name::{NodeId, RunId};
use crate::os::clock;
use crate::os::process::Kill;
use crate::plan::{Plan, Step};
use crate::probe::{self, Attempt, Verdict};

/// How many of the last log lines a failure shows.
const TAIL: usize = 12;

/// How often a workload that was never ready is asked to stop: one that has only just started may not hear it yet.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What a run works with.
pub struct Runtime<Sink> {
    /// The drivers.
    pub drivers: Arc<Drivers>,
    /// The logs.
    pub logs: Hub,
    /// The identity of the run.
    pub run: RunId,
    /// Runs that died and whose leftovers this one took over; the last check looks for theirs too.
    pub adopted: Vec<RunId>,
    /// When the command began.
    pub began: Instant,
    /// Where events go; never blocks.
    pub sink: Sink,
}

/// What somebody wants of a run that is up.
pub enum Request {
    /// Something for the machine to decide.
    Command(Command),
    /// Go over to another plan. `changed`: the nodes to make anew, and why; nodes that the run does not have are new.
    Apply {
        /// The plan.
        plan: Plan,
        /// What is to be made anew.
        changed: HashMap<NodeId, String>,
        /// What is tried again where it does not run.
        again: HashSet<NodeId>,
        /// The drivers from now on: the new plan may need an engine that the old one did not.
        drivers: Arc<Drivers>,
    },
    /// Send a signal to a workload and let it do with it what it likes; answers what was wrong with that.
    Signal {
        /// The service.
        node: NodeId,
        /// The signal.
        signal: Kill,
        /// Told whether it was sent.
        sent: oneshot::Sender<Result<(), String>>,
    },
    /// Told once all earlier requests are taken in.
    Settled(oneshot::Sender<()>),
}

/// Carries a plan out until the run is over: brings it up, keeps it up, takes it down. `signals` are what ends it; its
/// senders must live as long as the run. `requests` come from other terminals.
pub async fn run<Sink: FnMut(Event)>(
    plan: Plan,
    runtime: Runtime<Sink>,
    signals: &mut UnboundedReceiver<Signal>,
    mut requests: UnboundedReceiver<Request>,
) -> Outcome {
    let keep = plan.keep;
    let machine = Machine::new(plan.steps.iter().map(|step| spec_of(step, keep)), runtime.began, rand::random());
    let (tell, told) = unbounded_channel();
    let steps = plan.steps.into_iter().map(|step| (step.node.id.clone(), Arc::new(step))).collect();
    let mut engine = Engine { machine, runtime, steps, keep, live: HashMap::new(), timers: BinaryHeap::new(), tell };
    let outcome = engine.turn(told, signals, &mut requests).await;
    engine.runtime.logs.flush().await;
    outcome
}

/// What the machine has to know of a step. `keep`: whether containers and networks outlive the run.
fn spec_of(step: &Step, keep: bool) -> Spec {
    let node = &step.node;
    let kind = match &node.work {
        Work::Network(spec) => Kind::Task { undo: !spec.external && !keep, cancel: false },
        Work::Volume(_) => Kind::Task { undo: false, cancel: false },
        Work::Create(_) => Kind::Task { undo: !keep, cancel: false },
        Work::Image(_) | Work::Install(_) | Work::Build(_) => Kind::Task { undo: false, cancel: true },
        Work::Container(_) | Work::Process(_) => Kind::Workload { cancel: false },
        // The first start of a database server initialises its data, which takes seconds and may be dropped.
        Work::Embedded(_) | Work::Expected => Kind::Workload { cancel: true },
    };
    Spec {
        id: node.id.clone(),
        kind,
        action: step.action,
        needs: node.needs.clone(),
        probe: node.probe.as_ref().map(probe::Spec::kind),
        ready_timeout: node.ready_timeout,
        on_timeout: node.on_timeout,
        restart: node.restart,
        stop_grace: node.stop_grace,
        health: node.health.as_ref().map(|health| Liveness { retries: health.retries, action: health.action }),
    }
}

/// What a task of ours has to say.
enum Message {
    Report(NodeId, Life, Report),
    Running(NodeId, Life, Running),
    Left(Vec<String>),
}

/// What belongs to the current life of a node.
#[derive(Default)]
struct Live {
    start: Option<JoinHandle<()>>,
    /// When that life began, for probes that read the log.
    since: Option<jiff::Timestamp>,
    control: Option<Arc<dyn Control>>,
    probe: Option<AbortHandle>,
    /// Checks its health, again and again.
    watch: Option<AbortHandle>,
    /// Whether the probe was ever satisfied.
    ready: bool,
    /// Whether it is known to have ended.
    stopped: bool,
    /// Asks it to stop, again and again.
    asking: Option<AbortHandle>,
}

impl Live {
    fn stop_probing(&mut self) {
        for task in [self.probe.take(), self.watch.take()].into_iter().flatten() {
            task.abort();
        }
    }

    fn stop_asking(&mut self) {
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
    }
}

struct Engine<Sink> {
    machine: Machine,
    runtime: Runtime<Sink>,
    steps: HashMap<NodeId, Arc<Step>>,
    /// Whether containers and networks outlive the run.
    keep: bool,
    live: HashMap<NodeId, Live>,
    timers: BinaryHeap<Reverse<(Instant, NodeId, Epoch)>>,
    tell: UnboundedSender<Message>,
}

impl<Sink: FnMut(Event)> Engine<Sink> {
    async fn turn(
        &mut self,
        mut told: UnboundedReceiver<Message>,
        signals: &mut UnboundedReceiver<Signal>,
        requests: &mut UnboundedReceiver<Request>,
    ) -> Outcome {
        let mut input = Input::Begin;
        loop {
            for effect in self.machine.on(input, clock::now()) {
                if let Effect::Finish(outcome) = effect {
                    return outcome;
                }
                self.perform(effect);
            }
            input = loop {
                let due = self.timers.peek().map(|Reverse((at, _, _))| *at);
                tokio::select! {
                    biased;
                    Some(signal) = signals.recv() => break Input::Signal(signal),
                    Some(request) = requests.recv() => {
                        if let Some(input) = self.take_in(request) {
                            break input;
                        }
                    }
                    message = told.recv() => {
                        let message = message.expect("the engine itself holds a sender");
                        break self.hear(message);
                    }
                    () = sleep_until(due), if due.is_some() => {
                        if let Some(Reverse((_, id, epoch))) = self.timers.pop() {
                            break Input::Timer(id, epoch);
                        }
                    }
                }
            };
        }
    }

    /// Turns a request into an input, where the machine has a say in it.
    fn take_in(&mut self, request: Request) -> Option<Input> {
        match request {
            Request::Command(command) => {
                self.keep |= matches!(command, Command::Down { keep: true, .. });
                Some(Input::Command(command))
            }
            Request::Apply { plan, changed, again, drivers } => {
                self.keep = plan.keep;
                self.runtime.drivers = drivers;
                let specs = plan.steps.iter().map(|step| spec_of(step, plan.keep)).collect();
                for step in plan.steps {
                    let id = step.node.id.clone();
                    // What runs unchanged was started by the step there is.
                    if let (Some(there), false) = (self.steps.get_mut(&id), changed.contains_key(&id)) {
                        let there = Arc::make_mut(there);
                        there.node = step.node;
                    } else {
                        self.steps.insert(id, Arc::new(step));
                    }
                }
                // Steps of nodes that leave stay: they are still to be stopped and taken back.
                Some(Input::Command(Command::Apply(Change { specs, changed, again })))
            }
            Request::Signal { node, signal, sent } => {
                let control = self.live.get(&node).and_then(|live| live.control.clone());
                let asked = control.map(|control| control.signal(signal));
                tokio::spawn(async move {
                    let answer = match asked {
                        None => Err(format!("`{node}` does not run")),
                        Some(asked) => asked.await.map_err(|error| describe(&error)),
                    };
                    // Whoever asked may have gone away.
                    let _ = sent.send(answer);
                });
                None
            }
            Request::Settled(done) => {
                // The same.
                let _ = done.send(());
                None
            }
        }
    }

    /// Turns what a task says into an input.
    fn hear(&mut self, message: Message) -> Input {
        match message {
            Message::Report(id, life, report) => {
                let live = self.live.entry(id.clone()).or_default();
                match report {
                    Report::Ready => live.ready = true,
                    Report::Exited(ref exit) => {
                        live.stopped = exit.lost.is_none();
                        live.stop_probing();
                        live.stop_asking();
                        live.control = None;
                    }
                    Report::Started(_)
                    | Report::Done
                    | Report::StartFailed(_)
                    | Report::Canceled
                    | Report::Progress(_)
                    | Report::Answer(_)
                    | Report::Never(_)
                    | Report::Health(_)
                    | Report::StopFailed(_)
                    | Report::Undone
                    | Report::UndoFailed(_) => {}
                }
                Input::Report(id, life, report)
            }
            Message::Running(id, life, running) => {
                let Running { handle, control, exit } = running;
                self.live.entry(id.clone()).or_default().control = Some(control);
                let (tell, watched) = (self.tell.clone(), id.clone());
                tokio::spawn(async move {
                    let exit = exit.await;
                    // The engine may be gone already; then nobody minds.
                    let _ = tell.send(Message::Report(watched, life, Report::Exited(exit)));
                });
                Input::Report(id, life, Report::Started(handle))
            }
            Message::Left(left) => Input::Verified(left),
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start(id, life, action) => self.start(id, life, action),
            Effect::Cancel(id, life) => self.cancel(id, life),
            Effect::Probe(id, life) => self.probe(id, life),
            Effect::Watch(id, life) => self.watch(id, life),
            Effect::Stop(id, life, grace) => {
                self.with_control(id.clone(), life, move |control| control.stop(grace));
                self.ask_again(&id);
            }
            Effect::Kill(id, life) => self.with_control(id, life, |control| control.kill()),
            Effect::Undo(id, life) => self.undo(id, life),
            Effect::Release(id) => self.release(&id),
            Effect::Arm(id, epoch, delay) => self.timers.push(Reverse((clock::now() + delay, id, epoch))),
            Effect::Emit(event) => self.emit(event),
            Effect::Verify => self.verify(),
            Effect::Finish(_) => unreachable!("the loop ends on it"),
        }
    }

    fn step(&self, id: &NodeId) -> Arc<Step> {
        Arc::clone(self.steps.get(id).expect("the machine knows only nodes of the plan"))
    }

    fn start(&mut self, id: NodeId, life: Life, action: Action) {
        let step = self.step(&id);
        let tell = self.tell.clone();
        if matches!(step.node.work, Work::Expected) {
            let _ = tell.send(Message::Report(id, life, Report::Started(Handle::External)));
            return;
        }
        let logs = match id.service() {
            Some(service) => {
                match &id {
                    NodeId::Service(_) => self.runtime.logs.restarted(service),
                    NodeId::Build(_) => self.runtime.logs.building(service),
                    // Prints nothing.
                    NodeId::Create(_)
                    | NodeId::Network(_)
                    | NodeId::Volume(_)
                    | NodeId::Image(_)
                    | NodeId::Install(_) => {}
                }
                self.runtime.logs.sink(service)
            }
            None => self.runtime.logs.null(),
        };
        let progress = {
            let (tell, id) = (tell.clone(), id.clone());
            Arc::new(move |progress| {
                let _ = tell.send(Message::Report(id.clone(), life, Report::Progress(progress)));
            })
        };
        let cx = StartContext {
            node: id.clone(),
            run: self.runtime.run.clone(),
            action,
            existing: step.existing.clone(),
            takeover: step.takeover.clone(),
            logs,
            progress,
        };
        let since = clock::timestamp();
        let drivers = Arc::clone(&self.runtime.drivers);
        let node = id.clone();
        let task = tokio::spawn(async move {
            let message = match drivers.start(&step.node.work, cx).await {
                Ok(Started::Done) => Message::Report(node, life, Report::Done),
                Ok(Started::Running(running)) => Message::Running(node, life, running),
                Err(error) => Message::Report(node, life, Report::StartFailed(failure(&error))),
            };
            let _ = tell.send(message);
        });
        self.live.insert(id, Live { start: Some(task), since: Some(since), ..Live::default() });
    }

    fn cancel(&mut self, id: NodeId, life: Life) {
        let Some(task) = self.live.get_mut(&id).and_then(|live| live.start.take()) else { return };
        let tell = self.tell.clone();
        task.abort();
        tokio::spawn(async move {
            // Where the task was done before it could be dropped, its own message is on the way and comes first.
            if task.await.is_err_and(|error| error.is_cancelled()) {
                let _ = tell.send(Message::Report(id, life, Report::Canceled));
            }
        });
    }

    fn probe(&mut self, id: NodeId, life: Life) {
        let step = self.step(&id);
        let (Some(spec), Some(service)) = (step.node.probe.clone(), id.service().cloned()) else { return };
        let (control, since) = self.live.get(&id).map_or((None, None), |live| (live.control.clone(), live.since));
        let cx = probe::Context { service, control, logs: self.runtime.logs.clone(), since };
        let (tell, node) = (self.tell.clone(), id.clone());
        let task = tokio::spawn(async move {
            let answer = |text: &str| {
                let _ = tell.send(Message::Report(node.clone(), life, Report::Answer(text.to_owned())));
            };
            let report = match probe::until_ready(&spec, &cx, answer).await {
                Verdict::Ready => Report::Ready,
                Verdict::Never { message, hints } => {
                    let message = format!("`{node}` will not be ready: {message}");
                    Report::Never(Failure { message, hints, ..Failure::default() })
                }
            };
            let _ = tell.send(Message::Report(node, life, report));
        });
        self.live.entry(id).or_default().probe = Some(task.abort_handle());
    }

    /// Checks the health of a ready workload until it is stopped or ends.
    fn watch(&mut self, id: NodeId, life: Life) {
        let step = self.step(&id);
        let (Some(health), Some(service)) = (step.node.health.clone(), id.service().cloned()) else { return };
        let live = self.live.entry(id.clone()).or_default();
        let cx = probe::Context {
            service,
            control: live.control.clone(),
            logs: self.runtime.logs.clone(),
            since: live.since,
        };
        let tell = self.tell.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(health.interval).await;
                let answer = match tokio::time::timeout(health.timeout, probe::attempt(&health.probe, &cx)).await {
                    Ok(Attempt::Ready) => None,
                    Ok(Attempt::NotYet(answer) | Attempt::Never { message: answer, .. }) => Some(answer),
                    Err(_) => Some(format!("no answer within {} s", health.timeout.as_secs_f64())),
                };
                let _ = tell.send(Message::Report(id.clone(), life, Report::Health(answer)));
            }
        });
        if let Some(before) = live.watch.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// Stops or kills a workload; a failure to do so is reported, success shows by its end.
    fn with_control<F>(&mut self, id: NodeId, life: Life, ask: F)
    where
        F: FnOnce(&dyn Control) -> futures_util::future::BoxFuture<'static, Result<(), DriverError>>,
    {
        let live = self.live.entry(id.clone()).or_default();
        live.stop_probing();
        let Some(control) = &live.control else { return };
        let asked = ask(control.as_ref());
        let tell = self.tell.clone();
        tokio::spawn(async move {
            if let Err(error) = asked.await {
                let _ = tell.send(Message::Report(id, life, Report::StopFailed(describe(&error))));
            }
        });
    }

    /// Repeats the request to stop to what was not ready yet. What was ready has heard it, and might take the second
    /// request for an order to hurry.
    fn ask_again(&mut self, id: &NodeId) {
        let probed = self.step(id).node.probe.is_some();
        let live = self.live.entry(id.clone()).or_default();
        let Some(control) = live.control.clone().filter(|_| probed && !live.ready) else { return };
        let asking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ASK_AGAIN).await;
                // Where it cannot be asked, the request that counts fails as well, and is reported.
                let _ = control.stop_again().await;
            }
        });
        live.asking = Some(asking.abort_handle());
    }

    fn undo(&mut self, id: NodeId, life: Life) {
        let step = self.step(&id);
        let (drivers, tell) = (Arc::clone(&self.runtime.drivers), self.tell.clone());
        tokio::spawn(async move {
            let report = match drivers.undo(&step.node.work).await {
                Ok(()) => Report::Undone,
                Err(error) => Report::UndoFailed(describe(&error)),
            };
            let _ = tell.send(Message::Report(id, life, report));
        });
    }

    /// Lets go of the socket that is held for a program's next start.
    fn release(&mut self, id: &NodeId) {
        let step = self.step(id);
        if matches!(step.node.work, Work::Process(_)) {
            let drivers = Arc::clone(&self.runtime.drivers);
            tokio::spawn(async move {
                // Nothing of it is left behind, so nothing can fail.
                let _ = drivers.undo(&step.node.work).await;
            });
        }
    }

    fn verify(&mut self) {
        let (drivers, tell) = (Arc::clone(&self.runtime.drivers), self.tell.clone());
        let (mut runs, keep) = (self.runtime.adopted.clone(), self.keep);
        runs.push(self.runtime.run.clone());
        let (claims, spared) = (self.ports(), self.spared());
        tokio::spawn(async move {
            let mut left = Vec::new();
            for run in &runs {
                left.extend(drivers.leftovers(run, keep).await);
            }
            left.retain(|line| !spared.contains(line));
            left.extend(drivers.still_held(claims).await);
            let _ = tell.send(Message::Left(left));
        });
    }

    /// The lines of what is left that stand for what was there before the run: it stays where the run failed.
    fn spared(&self) -> Vec<String> {
        let line = |step: &Arc<Step>| match (&step.node.work, step.action) {
            (Work::Create(spec), Action::Replace) => Some(format!("container {} (exited)", spec.name)),
            (Work::Network(spec), Action::Adopt | Action::Replace) => Some(format!("network {}", spec.name)),
            (_, _) => None,
        };
        let created = |line: String| [line.replace("(exited)", "(created)"), line];
        self.steps.values().filter_map(line).flat_map(created).collect()
    }

    /// The ports that services of this run listened on and that should be free now. One that was never ready may have
    /// found its port taken; one whose end nobody saw is left itself.
    fn ports(&self) -> Vec<Claim> {
        let listened = |id: &NodeId| self.live.get(id).is_some_and(|live| live.ready && live.stopped);
        let mut claims = Vec::new();
        for (id, step) in &self.steps {
            let NodeId::Service(service) = id else { continue };
            match step.action {
                Action::Keep | Action::Expect => continue,
                Action::Create | Action::Start | Action::Replace | Action::Adopt => {}
            }
            let infrastructure = matches!(step.node.work, Work::Container(_) | Work::Embedded(_));
            let ports = step.node.ports.iter().filter(|_| listened(id));
            claims.extend(ports.map(|p| Claim { service: service.clone(), ip: p.ip, port: p.port, infrastructure }));
        }
        claims
    }

    fn emit(&mut self, mut kind: EventKind) {
        match &mut kind {
            EventKind::Failed { node, failure } | EventKind::BuildFailed { node, failure } => {
                self.add_evidence(node, failure);
            }
            EventKind::Receipt(receipt) => receipt.data = self.data(),
            _ => {}
        }
        let at_ms = millis(clock::now().duration_since(self.runtime.began));
        (self.runtime.sink)(Event { at_ms, kind });
    }

    /// Adds what the logs know to a failure.
    fn add_evidence(&self, node: &NodeId, failure: &mut Failure) {
        let Some(service) = node.service() else { return };
        if failure.exit.as_ref().is_some_and(|exit| exit.lost.is_some()) {
            failure.hints = docker::when_gone();
        }
        failure.first_error = self.runtime.logs.first_error(service).map(|line| line.text);
        failure.log_tail = self.runtime.logs.tail(service, TAIL).into_iter().map(|line| line.text).collect();
    }

    /// What lives on after the run.
    fn data(&self) -> Vec<String> {
        let mut data: Vec<String> = self
            .steps
            .values()
            .filter_map(|step| match &step.node.work {
                Work::Volume(spec) => Some(format!("volume {}", spec.name)),
                Work::Embedded(spec) => Some(spec.data.display().to_string()),
                Work::Network(_)
                | Work::Image(_)
                | Work::Create(_)
                | Work::Container(_)
                | Work::Install(_)
                | Work::Build(_)
                | Work::Process(_)
                | Work::Expected => None,
            })
            .collect();
        data.sort();
        data
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// What is known of a failed start.
fn failure(error: &DriverError) -> Failure {
    Failure {
        message: describe(error),
        hints: error.hints(),
        environment: error.blame() == Blame::Environment,
        ..Failure::default()
    }
}

/// An error with its causes, on one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Transparent wrappers say the same thing twice.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
