//! What `up` does before anything starts: who holds the project, what a dead run left, which driver, what is there,
//! what is to be done, and whether the ports are free.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use super::Settings;
use super::session::service_record;
use crate::advice::{Advice as _, Blame};
use crate::cli::{Context, last_run};
use crate::driver::choice::{self, Choice, Wanted, Wish};
use crate::driver::claim::{self, Claim};
use crate::driver::docker::{Docker, Observed, ObservedContainer, PullPolicy};
use crate::driver::embedded::Embedded;
use crate::driver::process::{self, Patience, Processes, Swept};
use crate::driver::{Drivers, Work};
use crate::error::Error;
use crate::event::{Action, EventKind};
use crate::manifest::{self, DriverChoice, Manifest};
use crate::name::{NodeId, RunId, ServiceName};
use crate::os::{files, ports};
use crate::plan::{self, Dead, Elsewhere, Now, Orphans, Plan, Removal, Renewal};
use crate::report;
use crate::scaffold::env_file;
use crate::stack::{self, Infra, PortClaim, ResolveError, Selection, Stack};
use crate::state::StateDir;
use crate::state::guardian_log::Deed;
use crate::state::lock::{Attempt, Holder, Lock};
use crate::state::record::{Record, ServiceRecord};

/// A run that can begin.
pub(super) struct Prepared {
    pub(super) stack: Stack,
    pub(super) plan: Plan,
    pub(super) drivers: Arc<Drivers>,
    /// `docker`, `embedded` or `none`.
    pub(super) driver: &'static str,
    /// Why that one.
    pub(super) why: String,
    /// Runs that died and whose leftovers this one takes over.
    pub(super) adopted: Vec<RunId>,
    /// What else is worth saying before the run begins.
    pub(super) notes: Vec<Remark>,
}

/// Something to be said before a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// Worth knowing.
    Note(String),
    /// To be mended, with what to do about it.
    Warning(String, Vec<String>),
}

impl Remark {
    /// The remark as an event of the run.
    pub(super) fn into_event(self) -> EventKind {
        match self {
            Self::Note(message) => EventKind::Note { message },
            Self::Warning(message, hints) => EventKind::Warning { node: None, message, hints },
        }
    }
}

/// Takes the project for this run, or says who has it. The guardian of a killed run is waited for: it is about to
/// finish.
pub(super) async fn take_lock(state: &StateDir, run: &RunId) -> Result<Lock, Error> {
    take_lock_by(Lock::take, state, run).await
}

/// [`take_lock`], for `down`: it works where the disk is full.
pub(in crate::cli) async fn take_lock_to_tidy_up(state: &StateDir, run: &RunId) -> Result<Lock, Error> {
    take_lock_by(Lock::take_to_tidy_up, state, run).await
}

async fn take_lock_by(
    take: fn(&StateDir, &Holder) -> io::Result<Attempt>,
    state: &StateDir,
    run: &RunId,
) -> Result<Lock, Error> {
    loop {
        match take(state, &Holder::this(run.as_str())).map_err(|error| cannot_lock(state.path(), error))? {
            Attempt::Held(lock) => return Ok(lock),
            Attempt::Taken(Some(holder)) if holder.guardian => {
                Lock::wait_until_free(state).await.map_err(|error| cannot_lock(state.path(), error))?;
            }
            Attempt::Taken(holder) => return Err(is_up(holder.as_ref())),
        }
    }
}

/// Who has the project now.
pub(super) fn holder(state: &StateDir) -> Result<Option<Holder>, Error> {
    // A guardian that finishes what a killed run left is waited for where the project is taken.
    let holder = Lock::holder(state).map_err(|error| cannot_lock(state.path(), error))?;
    Ok(holder.filter(|holder| !holder.guardian))
}

fn is_up(holder: Option<&Holder>) -> Error {
    let who = holder.map_or_else(|| "another devctl".to_owned(), |holder| format!("devctl (pid {})", holder.pid));
    Error::new(Blame::Environment, format!("this project is already up: {who} runs it"))
        .hint("see it with `devctl ps` and `devctl logs -f`")
        .hint("stop it with `devctl down`")
}

/// What to do depends on why the project's own folder cannot be written to.
fn cannot_lock(folder: &Path, error: io::Error) -> Error {
    cannot_write(folder, format!("cannot lock `{}`", folder.join("lock").display()), error)
}

/// An error of the folder in which devctl keeps everything.
pub(super) fn cannot_write(folder: &Path, what: String, error: io::Error) -> Error {
    let (kind, root) = (error.kind(), folder.parent().unwrap_or(folder).display());
    let error = Error::io(what, error);
    let needs = "devctl keeps its lock, logs and data in the folder `.devctl` of the project";
    match kind {
        io::ErrorKind::PermissionDenied => error.note(needs).hint(format!(
            "see whose it is: `ls -ld '{root}' '{}'`; make it yours, or work on a copy",
            folder.display()
        )),
        io::ErrorKind::ReadOnlyFilesystem => error
            .note(needs)
            .hint(format!("`{root}` is on a disk that is mounted read-only: mount it writable, or work on a copy")),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            error.note(needs).hint(format!("there is a file of that name in the way: `rm '{}'`", folder.display()))
        }
        _ => error,
    }
}

/// Writes the environment files that are not there yet, and reads the manifest again where that changed anything.
/// Answers what is worth saying about the project's files.
pub(super) fn first_run(manifest: &mut Manifest, context: &Context) -> Result<Vec<Remark>, Error> {
    let mut remarks = Vec::new();
    let mut wrote = false;
    for file in &manifest.env_files {
        let path = file.path.strip_prefix(&manifest.root).unwrap_or(&file.path);
        let outcome = env_file::ensure(&manifest.root, path)?;
        wrote |= outcome.note.is_some();
        remarks.extend(outcome.note.map(Remark::Note));
        remarks.extend(outcome.warnings.into_iter().map(|message| Remark::Warning(message, Vec::new())));
    }
    if wrote {
        *manifest = context.manifest()?;
    }
    remarks.extend(manifest.warnings.iter().map(|problem| {
        let place = problem.at.map(|(line, _)| format!("{}:{line}: ", problem.file.display())).unwrap_or_default();
        Remark::Warning(format!("{place}{}", problem.message), problem.help.iter().cloned().collect())
    }));
    Ok(remarks)
}

/// Ends the processes of the last run, where that run died without doing so, and of those it had taken over. Their
/// containers are adopted by the plan.
async fn clean_after_the_dead(state: &StateDir, notes: &mut Vec<Remark>) -> Dead {
    if let Some(deed) = Deed::read(state) {
        notes.push(Remark::Note(deed.to_string()));
        Deed::clear(state);
    }
    // The lock is ours, so whoever wrote the record is gone.
    let Some(record) = Record::read(state) else { return Dead::default() };
    last_run::remember(state, &record);
    let how = last_run::how_it_ended(state, &record);
    let Swept { stopped, left } = process::sweep(&last_run::lost(&record), Patience::LATER).await;
    if !stopped.is_empty() {
        notes.push(Remark::Note(format!("the last run {how}; stopped what it left: {}", stopped.join(", "))));
    } else if !record.is_of_this_boot() {
        notes.push(Remark::Note(format!("the last run {how}")));
    }
    if !left.is_empty() {
        let hints = vec!["it may hold ports and files that the stack needs".to_owned()];
        notes.push(Remark::Warning(format!("cannot end what the last run left: {}", left.join(", ")), hints));
    }
    let runs = record.runs();
    let services = record.services.into_iter().filter(|(_, service)| service.ours).map(|(name, _)| name).collect();
    Dead { runs, services }
}

/// What is to be done, found out without touching anything.
pub(super) struct Survey {
    pub(super) stack: Stack,
    pub(super) plan: Plan,
    /// `docker`, `embedded` or `none`.
    pub(super) driver: &'static str,
    /// Why that one.
    pub(super) why: String,
    engine: Option<Docker>,
    observed: Observed,
    /// Containers that a dead run left and that are not part of this one, by name.
    left: Vec<String>,
    /// Containers that are to go before anything starts.
    removals: Vec<Removal>,
}

/// Looks at what is there and plans. `dead` is what is ours to take over.
pub(super) async fn survey(
    manifest: &Manifest,
    settings: &Settings,
    dead: Dead,
    env: &BTreeMap<String, String>,
) -> Result<Survey, Error> {
    let Infrastructure { kind, name, why, passed_over, engine, observed, stack } =
        infrastructure(manifest, settings, env).await?;
    let stack = match kind {
        Infra::Docker => stack,
        Infra::Embedded | Infra::Expected => resolve(manifest, &settings.selection, kind, env)
            // Whoever did not ask for this driver has to be told how it came to be taken.
            .map_err(|error| {
                Error::from(error).note(match passed_over {
                    Some(reason) => format!("Docker was passed over: {reason}"),
                    None => format!("the driver is {name}: {why}"),
                })
            })?,
    };
    if let Some(engine) = &engine {
        refuse_elsewhere(manifest, engine, observed.all())?;
    }
    let now = Now { engine: observed, dead };
    let left = plan::left_by_the_dead(&stack, &now).into_iter().map(|found| found.name.clone()).collect();
    let mut plan = plan::diff(&stack, &now, &settings.policy);
    plan.keep = settings.keep;
    let mut removals = std::mem::take(&mut plan.removals);
    let is_known = |service: &str| manifest.compose.services.keys().any(|name| name.as_str() == service);
    let orphans = plan::orphans(&now, is_known);
    match settings.policy.orphans(env) {
        Orphans::Ignore => {}
        Orphans::Remove => removals.extend(orphans.iter().map(|found| Removal::orphan(found))),
        Orphans::Warn => plan.warnings.extend(plan::told_of_orphans(&orphans)),
    }
    if let Some(limit) = settings.timeout {
        // Pulls and builds are not services: they take what they take.
        let services = plan.steps.iter_mut().filter(|step| matches!(step.node.id, NodeId::Service(_)));
        for step in services {
            step.node.ready_timeout = limit;
        }
    }
    Ok(Survey { stack, plan, driver: name, why, engine, observed: now.engine, left, removals })
}

/// Refuses to touch a project of this name that is in another folder. The label is somebody's text: a folder that is
/// the same by another way is this one, and one that is no more has been moved, where this machine can tell.
pub(in crate::cli) fn refuse_elsewhere<'a>(
    manifest: &Manifest,
    engine: &Docker,
    containers: impl Iterator<Item = &'a ObservedContainer> + Clone,
) -> Result<(), Error> {
    let here = [manifest.compose.working_dir.as_path(), manifest.root.as_path()];
    let is_here = |folder: &str| {
        let folder = Path::new(folder);
        here.contains(&folder)
            || match files::canonical(folder) {
                Some(folder) => here.iter().any(|here| files::canonical(here).is_some_and(|here| here == folder)),
                None => engine.is_local(),
            }
    };
    let Some(Elsewhere { folder, containers }) = plan::elsewhere(containers, is_here) else { return Ok(()) };
    let project = &manifest.project;
    Err(Error::new(Blame::Environment, format!("there is another project `{project}`, in `{folder}`"))
        .note(format!("it has {}; they were left alone", containers.join(", ")))
        .hint("give this one another name: `devctl -p NAME up`, or `name: NAME` in its file")
        .hint(format!("or take that one down first: `cd '{folder}'` and `devctl down`")))
}

impl Survey {
    /// What is to be done.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes away what is too many, all at once; what cannot be taken away is in the way of nothing and is told of.
    pub(super) async fn clear(&self, spared: &[String], timeout: Option<u32>) -> Vec<Remark> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let removals = self.removals.iter().filter(|removal| !spared.contains(&removal.name));
        let removed = join_all(removals.map(async |removal| {
            let gone = async {
                engine.stop_within(&removal.id, timeout).await?;
                engine.remove_container(&removal.id).await
            };
            match gone.await {
                Ok(()) => Remark::Note(format!("removed the container {}: {}", removal.name, removal.cause)),
                Err(error) => {
                    Remark::Warning(format!("cannot remove the container {}: {error}", removal.name), error.hints())
                }
            }
        }));
        removed.await
    }

    /// What must not be printed.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.stack.secrets()
    }

    /// What a run that is up needs to go over to this plan: the services with their addresses, and its drivers, with
    /// an engine where it had none and needs one now.
    pub(super) fn into_parts(
        self,
        drivers: &Arc<Drivers>,
        driver: &'static str,
    ) -> (Vec<(ServiceName, ServiceRecord)>, Arc<Drivers>, &'static str, Plan) {
        let rows = self
            .stack
            .nodes()
            .filter_map(|node| if let NodeId::Service(name) = &node.id { Some((name.clone(), node)) } else { None })
            .map(|(name, node)| (name, service_record(node)))
            .collect();
        let (drivers, driver) = match (&drivers.docker, self.engine) {
            (None, Some(engine)) => {
                let Drivers { docker: _, embedded, process } = drivers.as_ref();
                let docker = Some(engine);
                (Arc::new(Drivers { docker, embedded: embedded.clone(), process: process.clone() }), self.driver)
            }
            (_, _) if driver == "none" => (Arc::clone(drivers), self.driver),
            (_, _) => (Arc::clone(drivers), driver),
        };
        (rows, drivers, driver, self.plan)
    }
}

/// Looks at what is there and plans, for a run that is up. What runs its containers stays what it is.
pub(super) async fn survey_again(
    manifest: &Manifest,
    settings: &Settings,
    driver: &str,
    env: &BTreeMap<String, String>,
) -> Result<Survey, Error> {
    if manifest.services.is_empty() && manifest.compose.services.is_empty() {
        return Err(nothing_to_run(manifest));
    }
    let driver = match driver {
        "docker" => Some(DriverChoice::Docker),
        "embedded" => Some(DriverChoice::Embedded),
        _ => settings.driver,
    };
    survey(manifest, &Settings { driver, ..settings.clone() }, Dead::default(), env).await
}

/// Makes sure that the ports are free which a plan opens and the one that is being carried out does not.
pub(super) async fn check_new_ports(
    survey: &Survey,
    now: &Plan,
    renewal: &Renewal,
    env: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut new = survey.plan.clone();
    new.steps.retain(|step| match &step.node.id {
        NodeId::Service(name) => renewal.added.contains(name) || renewal.changed.contains(name),
        _ => false,
    });
    for step in &mut new.steps {
        // What it has, or what leaves, gives its ports back before they are needed.
        let ours = now.steps.iter().flat_map(|step| &step.node.ports);
        let ours: Vec<PortClaim> = ours.copied().collect();
        step.node.ports.retain(|claim| !ours.contains(claim));
    }
    check_ports(&new, &survey.observed, survey.engine.as_ref(), env).await
}

/// What a dry run shows: the plan, and what would keep `up` from carrying it out now.
pub(super) async fn rehearsal(
    manifest: &Manifest,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let survey = survey(manifest, settings, Dead::default(), env).await?;
    let mut text = report::headline(&manifest.project, survey.driver, &survey.why);
    text.push_str("\n\n");
    for removal in &survey.removals {
        let _ = writeln!(text, "remove   container {}  {}", removal.name, removal.cause);
    }
    let _ = write!(text, "{}", survey.plan);
    for plan::Warning { message, .. } in &survey.plan.warnings {
        let _ = writeln!(text, "warning: {message}");
    }
    if let Err(obstacle) = check_ports(&survey.plan, &survey.observed, survey.engine.as_ref(), env).await {
        let _ = write!(text, "\n`devctl up` would fail now:\n{}", obstacle.render());
    }
    Ok(text)
}

/// Decides everything that can be decided before the first start, and makes the ground ready for it. The project's lock
/// must be held. `colours`: whether what programs print is shown in colours.
pub(super) async fn prepare(
    manifest: &Manifest,
    settings: &Settings,
    run: &RunId,
    state: &StateDir,
    env: &BTreeMap<String, String>,
    colours: bool,
) -> Result<Prepared, Error> {
    let processes = Processes::new(run.clone(), env.clone()).with_colours(colours);
    let embedded = Embedded::new(processes.clone(), env.clone());
    let mut notes = Vec::new();
    let dead = clean_after_the_dead(state, &mut notes).await;
    let adopted = dead.runs.clone();
    let survey = Box::pin(survey(manifest, settings, dead, env)).await?;
    if let Some(engine) = &survey.engine {
        // Their names are needed, and what is planned counts on them.
        try_join_all(survey.observed.interrupted.iter().map(|one| engine.heal(one))).await?;
        for one in &survey.observed.interrupted {
            notes.push(Remark::Note(match &one.becomes {
                Some(name) => format!("finished making {name} anew, which somebody interrupted"),
                None => {
                    format!("removed {}, left by somebody who was interrupted while making a container anew", one.name)
                }
            }));
        }
        notes.extend(survey.clear(&[], settings.policy.stop_timeout).await);
        for name in &survey.left {
            engine.stop_container(name).await?;
            engine.remove_container(name).await?;
            notes.push(Remark::Note(format!("the last run was killed; removed the container {name}, which it left")));
        }
    }
    check_ports(&survey.plan, &survey.observed, survey.engine.as_ref(), env).await?;
    let Survey { stack, mut plan, driver, why, engine, observed: _, left: _, removals: _ } = survey;
    notes.extend(plan.warnings.drain(..).map(|warning| Remark::Warning(warning.message, warning.hints)));
    let drivers = Arc::new(Drivers { docker: engine, embedded, process: processes });
    Ok(Prepared { stack, plan, drivers, driver, why, adopted, notes })
}

/// A run without a service would be up at once, and a mistake would look like a success.
pub(super) fn nothing_to_run(manifest: &Manifest) -> Error {
    let error = Error::new(Blame::Configuration, "there is nothing to run");
    let mut profiles: Vec<&str> =
        manifest.compose.services.values().flat_map(|container| &container.profiles).map(String::as_str).collect();
    profiles.sort_unstable();
    profiles.dedup();
    if profiles.is_empty() {
        error
            .note(format!("`{}` describes no service", manifest.root.join(manifest::FILE_NAME).display()))
            .hint("name your Compose files in it:\n[containers]\ncompose = [\"docker-compose.yml\"]")
            .hint("and describe your own programs:\n[services.api]\ncommand = \"./serve --port 8000\"\nport = 8000")
    } else {
        error.note("every service belongs to a profile, and none was asked for").hint(format!(
            "ask for one: {}",
            profiles.iter().map(|p| format!("`devctl up --profile {p}`")).collect::<Vec<_>>().join(", ")
        ))
    }
}

/// The stack of this run. Replicas get ports that are free now.
fn resolve(
    manifest: &Manifest,
    selection: &Selection,
    infra: Infra,
    env: &BTreeMap<String, String>,
) -> Result<Stack, ResolveError> {
    let mut selection = selection.clone();
    stack::assign_ports(manifest, &mut selection, |port| ports::is_free(Ipv4Addr::LOCALHOST.into(), port))?;
    stack::resolve(manifest, &selection, infra, env)
}

/// What stands behind the containers of the stack.
struct Infrastructure {
    kind: Infra,
    name: &'static str,
    why: String,
    /// Why Docker was not taken, where it would have been preferred.
    passed_over: Option<String>,
    engine: Option<Docker>,
    observed: Observed,
    /// The stack as Docker would run it; the others resolve it anew.
    stack: Stack,
}

async fn infrastructure(
    manifest: &Manifest,
    settings: &Settings,
    env: &BTreeMap<String, String>,
) -> Result<Infrastructure, Error> {
    let stack = resolve(manifest, &settings.selection, Infra::Docker, env)?;
    if stack.services().next().is_none() {
        return Err(nothing_to_run(manifest));
    }
    let nothing = |kind, name, why: &str, stack| Infrastructure {
        kind,
        name,
        why: why.to_owned(),
        passed_over: None,
        engine: None,
        observed: Observed::default(),
        stack,
    };
    if settings.skip_docker {
        return Ok(nothing(Infra::Expected, "none", "containers run elsewhere (`--skip-docker`)", stack));
    }
    let wanted = wanted(&stack);
    if wanted.images.is_empty() {
        return Ok(nothing(Infra::Docker, "none", "no containers in this run", stack));
    }
    let wish = match settings.driver.unwrap_or(manifest.driver) {
        DriverChoice::Auto => Wish::Auto,
        DriverChoice::Docker => Wish::Docker,
        DriverChoice::Embedded => Wish::Embedded,
    };
    Ok(match choice::choose(wish, &wanted, env).await? {
        Choice::Docker { engine, observed, why } => Infrastructure {
            kind: Infra::Docker,
            name: "docker",
            why,
            passed_over: None,
            engine: Some(engine),
            observed: *observed,
            stack,
        },
        Choice::Embedded { why, passed_over } => {
            Infrastructure { passed_over, ..nothing(Infra::Embedded, "embedded", &why, stack) }
        }
    })
}

/// What a stack wants to know of an engine.
fn wanted(stack: &Stack) -> Wanted {
    let mut wanted =
        Wanted { project: stack.project().clone(), networks: Vec::new(), volumes: Vec::new(), images: Vec::new() };
    for node in stack.nodes() {
        match &node.work {
            Work::Network(spec) => wanted.networks.push(spec.name.clone()),
            Work::Volume(spec) => wanted.volumes.push(spec.name.clone()),
            Work::Image(spec) => {
                let pull = if spec.build.is_some() { PullPolicy::Build } else { spec.pull };
                wanted.images.push((spec.reference.clone(), pull));
            }
            Work::Create(_)
            | Work::Container(_)
            | Work::Install(_)
            | Work::Embedded(_)
            | Work::Build(_)
            | Work::Process(_)
            | Work::Expected => {}
        }
    }
    wanted
}

/// Makes sure that every port that the plan is about to open is free, except for those that a container about to be
/// replaced gives back.
async fn check_ports(
    plan: &Plan,
    observed: &Observed,
    engine: Option<&Docker>,
    env: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut claims = Vec::new();
    for step in &plan.steps {
        let NodeId::Service(service) = &step.node.id else { continue };
        match step.action {
            Action::Keep | Action::Adopt | Action::Expect => continue,
            Action::Create | Action::Start | Action::Replace => {}
        }
        let given_back = |port: u16| {
            let of_it = observed.of_service(service.base().as_str());
            of_it.iter().any(|found| found.running && found.ports.iter().any(|(_, host, _)| *host == port))
        };
        let wants = step.node.ports.iter().filter(|claim| !given_back(claim.port));
        let infrastructure = matches!(step.node.work, Work::Container(_) | Work::Embedded(_));
        let claim_of =
            |claim: &PortClaim| Claim { service: service.clone(), ip: claim.ip, port: claim.port, infrastructure };
        claims.extend(wants.map(claim_of));
    }
    Ok(claim::check(claims, engine, env).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_to_says_what_to_do() {
        for (kind, hint) in [
            (io::ErrorKind::PermissionDenied, "`ls -ld '/p' '/p/.devctl'`; make it yours"),
            (io::ErrorKind::ReadOnlyFilesystem, "`/p` is on a disk that is mounted read-only"),
            (io::ErrorKind::NotADirectory, "`rm '/p/.devctl'`"),
            (io::ErrorKind::StorageFull, "`df -h`"),
        ] {
            let error = cannot_lock(Path::new("/p/.devctl"), kind.into());
            let text = anstream::adapter::strip_str(&error.render()).to_string();
            assert!(text.starts_with("error: cannot lock `/p/.devctl/lock`\n"), "{text}");
            assert!(text.contains(hint), "{kind}: {text}");
            assert_eq!(error.exit_code(), 3);
        }
    }
}
