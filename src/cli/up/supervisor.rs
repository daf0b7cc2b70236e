//! The run as other terminals see it: how it is, what they may want of it, and how that becomes a request to the
//! engine.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, oneshot};

use super::outlet::Outlet;
use super::{Settings, prepare};
use crate::control::wire::{self, Change, Mode, Phase, Refusal, Reply, State, Status, What};
use crate::control::{self, EventLog};
use crate::driver::guardian::{Guardian, Watch};
use crate::driver::{Drivers, Work};
use crate::engine::command::Command;
use crate::engine::runtime::Request;
use crate::error::Error;
use crate::event::{Action, EventKind};
use crate::logs::Hub;
use crate::manifest;
use crate::name::{NodeId, ServiceName};
use crate::os::process::Kill;
use crate::plan::{self, Plan, Policy, Renewal};
use crate::state::record::ServiceRecord;

/// A run that other terminals can reach.
pub(super) struct Supervisor {
    pub(super) outlet: Outlet,
    pub(super) logs: Hub,
    pub(super) log_folder: PathBuf,
    pub(super) root: PathBuf,
    /// What the project's files are found by.
    pub(super) request: manifest::Request,
    pub(super) detached: AtomicBool,
    pub(super) guardian: Guarded,
    pub(super) requests: UnboundedSender<Request>,
    /// Held while another plan is made and applied: two at once would each miss what the other did.
    pub(super) current: Mutex<Current>,
}

/// How far to go over to another plan.
struct How {
    /// Only tell what would change.
    rehearse: bool,
    /// Bring up what was stopped or failed, as `up` does.
    all: bool,
}

/// The guardian of a run, once it has one.
#[derive(Default)]
pub(super) struct Guarded(std::sync::Mutex<Option<Guardian>>);

impl Guarded {
    /// It has begun, or could not be started.
    pub(super) fn take(&self, guardian: io::Result<Guardian>) -> io::Result<()> {
        *self.lock() = Some(guardian?);
        Ok(())
    }

    /// Tells it what to know from now on.
    fn update(&self, change: impl FnOnce(&mut Watch)) {
        if let Some(guardian) = &*self.lock() {
            guardian.update(change);
        }
    }

    /// Lets it go: the run has ended by itself.
    pub(super) async fn goodbye(&self) {
        let guardian = self.lock().take();
        if let Some(guardian) = guardian {
            guardian.goodbye().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Guardian>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What is being carried out.
pub(super) struct Current {
    pub(super) settings: Settings,
    pub(super) plan: Plan,
    pub(super) drivers: Arc<Drivers>,
    /// What runs the containers: `docker`, `embedded` or `none`.
    pub(super) driver: &'static str,
    pub(super) env: BTreeMap<String, String>,
    /// The files that the plan was made of.
    pub(super) files: Vec<PathBuf>,
}

impl control::Supervisor for Shared {
    fn status(&self) -> Status {
        // The number first: what is told twice does no harm, what is left out does.
        let next_event = self.0.outlet.log().next_seq();
        let (record, phase) = self.0.outlet.now();
        let mode = if self.0.detached.load(Ordering::Relaxed) { Mode::Detached } else { Mode::Foreground };
        let (root, logs) = (self.0.root.clone(), self.0.log_folder.clone());
        Status::of_record(
            &record,
            wire::Circumstances { root, logs, mode, phase, ready_ms: self.0.outlet.ready_ms(), next_event },
        )
    }

    fn events(&self) -> EventLog {
        self.0.outlet.log()
    }

    fn logs(&self) -> Hub {
        self.0.logs.clone()
    }

    fn command(&self, command: wire::Command) -> BoxFuture<'static, Result<Reply, Refusal>> {
        let supervisor = Arc::clone(&self.0);
        async move { supervisor.carry_out(command).await }.boxed()
    }
}

/// The supervisor as the control socket holds it.
#[derive(Clone)]
pub(super) struct Shared(pub(super) Arc<Supervisor>);

impl Supervisor {
    /// The run has left its terminal.
    pub(super) async fn has_left(&self) {
        self.detached.store(true, Ordering::Relaxed);
        let keep = self.current.lock().await.settings.keep;
        self.guardian.update(|watch| watch.spare = keep);
    }

    /// Whether the run is being taken down.
    pub(super) fn is_stopping(&self) -> bool {
        self.outlet.now().1 == Phase::Stopping
    }

    /// Whether somebody stopped a service on purpose.
    pub(super) fn is_stopped(&self, name: &ServiceName) -> bool {
        let (record, _) = self.outlet.now();
        record.services.get(name.as_str()).is_some_and(|service| state_of(service) == State::Stopped)
    }

    async fn carry_out(&self, command: wire::Command) -> Result<Reply, Refusal> {
        let seq = self.outlet.log().next_seq();
        let (_, phase) = self.outlet.now();
        if phase == Phase::Stopping && !matches!(command, wire::Command::Down(_)) {
            return Err(conflict("the stack is being taken down", "`devctl up` brings it up again"));
        }
        // What is going to happen follows from how things are before: once the engine has the command, they move.
        let changes = match command {
            wire::Command::Start { services } => {
                let nodes = self.nodes(&services).await?;
                let changes = self.told(&nodes, |state| if runs(state) { What::Nothing } else { What::Start });
                self.send(Command::Start(nodes));
                changes
            }
            wire::Command::Stop { services } => {
                let nodes = self.nodes(&services).await?;
                let changes = self.told(&nodes, |state| if is_still(state) { What::Nothing } else { What::Stop });
                self.send(Command::Stop { nodes, kill: false });
                changes
            }
            wire::Command::Restart { services, build } => {
                let nodes = self.nodes(&services).await?;
                let changes = self.told(&nodes, |state| if runs(state) { What::Restart } else { What::Start });
                self.send(Command::Restart { nodes, build, cause: "asked for".to_owned() });
                changes
            }
            wire::Command::Kill { services, signal } => self.kill(&services, signal.as_str()).await?,
            wire::Command::Scale { service, replicas } => return self.scale(seq, service, replicas).await,
            wire::Command::Apply(apply) => return self.apply(seq, Some(apply)).await,
            wire::Command::Reload => return self.apply(seq, None).await,
            wire::Command::Down(wire::Down { kill, keep }) => {
                self.send(Command::Down { kill, keep });
                let nodes: Vec<NodeId> = self.names().into_iter().map(NodeId::Service).collect();
                self.told(&nodes, |_| What::Stop)
            }
        };
        Ok(Reply { seq, changes, notes: Vec::new() })
    }

    fn send(&self, command: Command) {
        // Where the engine is gone, the run is over, and the client sees its last event.
        let _ = self.requests.send(Request::Command(command));
    }

    fn names(&self) -> Vec<ServiceName> {
        self.outlet.now().0.services.keys().filter_map(|name| name.parse().ok()).collect()
    }

    /// The nodes of services; all where none is named. A service is named with all its replicas.
    async fn nodes(&self, services: &[ServiceName]) -> Result<Vec<NodeId>, Refusal> {
        let known = self.names();
        let mut nodes = Vec::new();
        for name in services {
            let before = nodes.len();
            let mine = |other: &&ServiceName| *other == name || other.base() == *name;
            nodes.extend(known.iter().filter(mine).cloned().map(NodeId::Service));
            if nodes.len() == before {
                let known = known.iter().map(ToString::to_string).collect();
                return Err(Refusal::NoService { name: name.to_string(), known });
            }
        }
        let current = self.current.lock().await;
        let theirs =
            |id: &NodeId| current.plan.steps.iter().any(|step| step.node.id == *id && step.action == Action::Expect);
        if services.is_empty() {
            nodes = known.into_iter().map(NodeId::Service).filter(|id| !theirs(id)).collect();
        } else if let Some(id) = nodes.iter().find(|id| theirs(id)) {
            return Err(conflict(
                &format!("`{id}` is not run by devctl: this run began with `--skip-docker`"),
                "use what started it",
            ));
        }
        Ok(nodes)
    }

    /// What happens to each of `nodes`, by the state it is in now.
    fn told(&self, nodes: &[NodeId], what: impl Fn(State) -> What) -> Vec<Change> {
        let (record, _) = self.outlet.now();
        nodes
            .iter()
            .filter_map(NodeId::service)
            .map(|service| {
                let state = record.services.get(service.as_str()).map_or(State::Waiting, state_of);
                Change { service: service.clone(), what: what(state), why: None }
            })
            .collect()
    }

    /// SIGKILL is a stop without patience, and the service stays stopped; any other signal is the service's business.
    async fn kill(&self, services: &[ServiceName], signal: &str) -> Result<Vec<Change>, Refusal> {
        let nodes = self.nodes(services).await?;
        let Some(signal) = Kill::named(signal) else {
            return Err(Refusal::Invalid { message: format!("devctl cannot send `{signal}`"), hints: Vec::new() });
        };
        let changes = self.told(&nodes, |state| if is_still(state) { What::Nothing } else { What::Signal });
        if signal == Kill::Kill {
            self.send(Command::Stop { nodes, kill: true });
            return Ok(changes);
        }
        for node in nodes {
            let (sent, answer) = oneshot::channel();
            let _ = self.requests.send(Request::Signal { node, signal, sent });
            // Without an answer the run is over, which the client sees.
            if let Ok(Err(message)) = answer.await {
                return Err(conflict(&message, "see `devctl ps`"));
            }
        }
        Ok(changes)
    }

    async fn scale(&self, seq: u64, service: ServiceName, replicas: u32) -> Result<Reply, Refusal> {
        let mut current = self.current.lock().await;
        if service.number() > 1 {
            let base = service.base();
            return Err(Refusal::Invalid {
                message: format!("`{service}` is a replica of `{base}`"),
                hints: vec![format!("`devctl scale {base}={replicas}` says how many of it run")],
            });
        }
        let service = service.base();
        let known = self.names();
        if !known.iter().any(|name| name.base() == service) {
            let known = known.iter().map(ToString::to_string).collect();
            return Err(Refusal::NoService { name: service.to_string(), known });
        }
        let is_container = |step: &plan::Step| matches!((&step.node.id, &step.node.work), (NodeId::Service(name), Work::Container(_)) if name.base() == service);
        if replicas == 0 && !current.plan.steps.iter().any(is_container) {
            return Err(Refusal::Invalid {
                message: format!("`{service}` cannot run 0 times"),
                hints: vec![format!("`devctl stop {service}` stops it")],
            });
        }
        let mut settings = current.settings.clone();
        settings.selection.scale.insert(service, replicas);
        let env = current.env.clone();
        self.go_over(seq, &mut current, settings, env, How { rehearse: false, all: false }).await
    }

    /// Goes over to what the files say now. Without `asked` for the services that run.
    async fn apply(&self, seq: u64, asked: Option<wire::Apply>) -> Result<Reply, Refusal> {
        let mut current = self.current.lock().await;
        let mut settings = current.settings.clone();
        let mut env = current.env.clone();
        let (mut build, mut rehearse) = (false, false);
        let all = asked.is_some();
        if let Some(asked) = asked {
            let wire::Apply {
                services,
                groups,
                profiles,
                no_deps,
                env: theirs,
                build: wants_build,
                dry_run,
                policy,
                scale,
            } = asked;
            settings.policy = policy;
            settings.selection.scale.extend(scale);
            build = wants_build && !dry_run;
            rehearse = dry_run;
            if !theirs.is_empty() {
                env = theirs;
            }
            settings.selection.add(services, groups, profiles, no_deps);
        }
        let reply = self.go_over(seq, &mut current, settings, env, How { rehearse, all }).await?;
        if build {
            let nodes = self.names().into_iter().map(NodeId::Service).collect();
            self.send(Command::Restart { nodes, build: true, cause: "asked for".to_owned() });
        }
        Ok(reply)
    }

    /// Whether a reload would change nothing.
    pub(super) async fn is_as_the_files_say(&self) -> bool {
        let mut current = self.current.lock().await;
        let (settings, env) = (current.settings.clone(), current.env.clone());
        let reply = self.go_over(0, &mut current, settings, env, How { rehearse: true, all: false }).await;
        reply.is_ok_and(|reply| reply.changes.is_empty())
    }

    /// What both plans have and what does not run, of those that are to be tried again.
    fn idle(&self, plan: &Plan, renewal: &Renewal, again: &HashSet<NodeId>) -> Vec<Change> {
        let (record, _) = self.outlet.now();
        let is_idle = |name: &&ServiceName| {
            let service = record.services.get(name.as_str());
            service.is_some_and(|service| matches!(state_of(service), State::Failed | State::Stopped))
        };
        plan.steps
            .iter()
            .filter(|step| again.contains(&step.node.id))
            .filter_map(|step| if let NodeId::Service(name) = &step.node.id { Some(name) } else { None })
            .filter(|name| !renewal.added.contains(name) && !renewal.changed.contains(name))
            .filter(is_idle)
            .map(|name| Change { service: name.clone(), what: What::Start, why: Some("it did not run".to_owned()) })
            .collect()
    }

    /// Makes a plan of what the files say now, lays it against the one that is being carried out, and has the engine go
    /// over to it.
    async fn go_over(
        &self,
        seq: u64,
        current: &mut Current,
        mut settings: Settings,
        env: BTreeMap<String, String>,
        How { rehearse, all }: How,
    ) -> Result<Reply, Refusal> {
        // A replica that runs keeps its port.
        settings.selection.ports = replica_ports(&current.plan);
        let manifest = self.request.load(&env).map_err(|problems| refused(&Error::problems(problems)))?;
        let survey =
            prepare::survey_again(&manifest, &settings, current.driver, &env).await.map_err(|e| refused(&e))?;
        // What was wanted of containers that were there was wanted once.
        let Policy { stop_timeout, .. } = std::mem::take(&mut settings.policy);
        let renewal = plan::renew(&current.plan, survey.plan());
        prepare::check_new_ports(&survey, &current.plan, &renewal, &env).await.map_err(|e| refused(&e))?;
        let mut changes = changes(&renewal);
        // Who was stopped stays so, unless what is new cannot do without it.
        let again = if all {
            survey.plan().steps.iter().map(|step| step.node.id.clone()).collect()
        } else {
            let new = renewal.added.iter().cloned().map(NodeId::Service).chain(renewal.nodes.keys().cloned());
            plan::with_needs(survey.plan(), new)
        };
        changes.extend(self.idle(survey.plan(), &renewal, &again));
        if rehearse {
            return Ok(Reply { seq, changes, notes: Vec::new() });
        }
        self.logs.mask(survey.secrets());
        // Those of the present plan leave with it.
        for remark in survey.clear(&containers(&current.plan), stop_timeout).await {
            self.outlet.say(remark.into_event());
        }
        let (rows, drivers, driver, plan) = survey.into_parts(&current.drivers, current.driver);
        let is_nothing = renewal.is_nothing();
        let Renewal { added, changed, removed, nodes } = renewal;
        self.outlet.amend(|record| {
            for (name, row) in rows {
                let service = record.services.entry(name.to_string()).or_insert_with(|| row.clone());
                let ServiceRecord { addresses, ports, stop, .. } = row;
                (service.addresses, service.ports, service.stop) = (addresses, ports, stop);
            }
        });
        let files = manifest.files.clone();
        *current = Current { settings, plan: plan.clone(), drivers: Arc::clone(&drivers), driver, env, files };
        if !is_nothing {
            self.outlet.say(EventKind::Applied { added, changed, removed });
        }
        let engine = drivers.docker.as_ref().map(|engine| engine.host().to_owned());
        self.guardian.update(|watch| watch.engine = engine);
        let _ = self.requests.send(Request::Apply { plan, changed: nodes, again, drivers });
        Ok(Reply { seq, changes, notes: Vec::new() })
    }
}

/// The names of the containers that a plan has.
fn containers(plan: &Plan) -> Vec<String> {
    let name = |step: &plan::Step| match &step.node.work {
        Work::Create(spec) => Some(spec.name.clone()),
        _ => None,
    };
    plan.steps.iter().filter_map(name).collect()
}

/// The ports of the replicas that run, but for the first ones, whose ports are declared.
fn replica_ports(plan: &Plan) -> BTreeMap<ServiceName, u16> {
    let port = |step: &plan::Step| match (&step.node.id, &step.node.work) {
        (NodeId::Service(name), Work::Process(spec)) if name.number() > 1 => Some((name.clone(), spec.port?)),
        (_, _) => None,
    };
    plan.steps.iter().filter_map(port).collect()
}

fn changes(renewal: &Renewal) -> Vec<Change> {
    let of = |names: &[ServiceName], what: What| {
        names
            .iter()
            .map(|service| {
                let why = renewal.nodes.get(&NodeId::Service(service.clone())).cloned();
                Change { service: service.clone(), what, why }
            })
            .collect::<Vec<_>>()
    };
    let mut changes = of(&renewal.added, What::Start);
    changes.extend(of(&renewal.changed, What::Restart));
    changes.extend(of(&renewal.removed, What::Remove));
    changes
}

fn state_of(record: &ServiceRecord) -> State {
    wire::ServiceStatus::of_record("", record).state
}

/// Whether a start would find it running.
fn runs(state: State) -> bool {
    match state {
        State::Starting | State::Probing | State::Ready | State::Unhealthy | State::Late => true,
        State::Waiting
        | State::Restarting
        | State::Failed
        | State::Done
        | State::Stopping
        | State::Killing
        | State::Stopped => false,
    }
}

/// Whether a stop would find nothing to do.
fn is_still(state: State) -> bool {
    matches!(state, State::Failed | State::Done | State::Stopped)
}

fn conflict(message: &str, hint: &str) -> Refusal {
    Refusal::Conflict { message: message.to_owned(), hints: vec![hint.to_owned()] }
}

/// An error of the project's files, or of the machine, as the other terminal is told.
fn refused(error: &Error) -> Refusal {
    let (message, hints) = error.parts();
    Refusal::Invalid { message, hints }
}
