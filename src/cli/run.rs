//! `devctl run`.

mod oneoff;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::process::Stdio;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::io::AsyncWriteExt as _;

use super::by_hand::until_holds;
use super::containers::{Here, exit_code};
use super::exec::variables;
use super::{Context, output};
use crate::advice::Blame;
use crate::control::wire::State;
use crate::driver::docker::{Attached, ContainerSpec, Ended, NeedUntil, Pick, ProjectContainer};
use crate::driver::embedded::Embedded;
use crate::driver::process::Processes;
use crate::driver::{Drivers, StartContext, Work};
use crate::error::Error;
use crate::event::Action;
use crate::logs::Hub;
use crate::manifest::{Manifest, Until};
use crate::name::{NodeId, RunId, ServiceName};
use crate::os::env;
use crate::plan::{self, Now, Policy, Step};
use crate::stack::{self, Infra, Selection, Stack};
use oneoff::{Mapping, Oneoff};

/// Run a command in a new container of a service
///
/// The container is made as the service's, without its ports. What the service needs is started first. The command gets a
/// terminal where devctl has one; its exit code is passed on. Ctrl+P Ctrl+Q leaves it running.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl run --rm web rails db:migrate
  devctl run --rm --no-deps web sh
  devctl run -d --name seed web ./seed.sh    in the background; prints the container's id
  devctl run --rm -P web                     the service itself, at its ports")]
pub(super) struct Args {
    /// Build the image first, where it is one that is built
    #[arg(long)]
    build: bool,

    /// Add a capability; can be repeated
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Take a capability away; can be repeated
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,

    /// Run in the background, and print the container's id
    #[arg(short, long)]
    detach: bool,

    /// Another entrypoint than the image's, with its arguments
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,

    /// Set a variable: `KEY=VALUE`, or `KEY` for the value it has here; can be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,

    /// Keep the container's input open (it is so anyway)
    #[arg(short, long)]
    interactive: bool,

    /// Set a label; can be repeated
    #[arg(short, long, value_name = "KEY=VALUE", alias = "labels", value_parser = oneoff::label)]
    label: Vec<(String, String)>,

    /// The container's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// No terminal for the command
    #[arg(short = 'T', long = "no-TTY", alias = "no-tty")]
    no_tty: bool,

    /// Do not start what the service needs
    #[arg(long)]
    no_deps: bool,

    /// Publish a port: `[[IP:]HOST:]PORT[/udp]`; can be repeated
    #[arg(short, long, value_name = "PORT", conflicts_with = "service_ports", value_parser = oneoff::mapping)]
    publish: Vec<Mapping>,

    /// Say nothing while an image is pulled
    #[arg(long)]
    quiet_pull: bool,

    /// Remove containers of services that the files do not have any more
    #[arg(long)]
    remove_orphans: bool,

    /// Remove the container once it has ended
    #[arg(long)]
    rm: bool,

    /// Publish the ports of the service
    #[arg(short = 'P', long)]
    service_ports: bool,

    /// As with Docker's command line: it is so anyway
    #[arg(short, long, hide = true, conflicts_with = "no_tty")]
    tty: bool,

    /// Let other containers reach it by the names of the service
    #[arg(long)]
    use_aliases: bool,

    /// The user to run as, by name or id, and perhaps a group: `USER[:GROUP]`
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,

    /// Mount a folder or a volume: `SOURCE:TARGET[:ro]`; can be repeated
    #[arg(short, long, value_name = "VOLUME", alias = "volumes")]
    volume: Vec<String>,

    /// The folder to run in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// The service, and the command with its arguments; the service's own where there is none
    #[arg(value_names = ["SERVICE", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    command: Vec<String>,
}

/// What `devctl run` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    service: String,
    env: Vec<String>,
    build: bool,
    detach: bool,
    no_deps: bool,
    quiet_pull: bool,
    remove_orphans: bool,
    no_tty: bool,
    /// How the container differs from the service's own.
    oneoff: Oneoff,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { build, cap_add, cap_drop, detach, entrypoint, env, interactive: _, label, name, no_tty, .. } = self;
        let Self { no_deps, publish, quiet_pull, remove_orphans, rm, service_ports, tty: _, use_aliases, .. } = self;
        let Self { user, volume, workdir, mut command, .. } = self;
        let service = command.remove(0);
        let oneoff = Oneoff {
            command,
            entrypoint,
            environment: Vec::new(),
            labels: label,
            name,
            publish,
            service_ports,
            use_aliases,
            user,
            volumes: volume,
            workdir,
            cap_add,
            cap_drop,
            remove: rm,
            tty: false,
            input: !detach,
        };
        Settings { service, env, build, detach, no_deps, quiet_pull, remove_orphans, no_tty, oneoff }
    }
}

/// Runs the command.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let here = Here::find(&context).await?;
    here.check(&settings.service).await?;
    let Some(manifest) = &here.project.manifest else {
        return Err(Error::new(Blame::Configuration, "there is no Compose file that says how to make the container")
            .hint(format!("`devctl exec {}` runs a command in a container that is there", settings.service)));
    };
    let service: ServiceName =
        settings.service.parse().map_err(|error| Error::new(Blame::Configuration, format!("{error}")))?;
    let selection = Selection { services: vec![service.clone()], no_deps: settings.no_deps, ..Selection::default() };
    let stack = stack::resolve(manifest, &selection, Infra::Docker, &context.env)?;
    let Settings { env, build, detach, no_deps, quiet_pull, remove_orphans, no_tty, mut oneoff, .. } = settings;
    oneoff.environment = variables(&env, &context);
    oneoff.tty = !no_tty && io::stdout().is_terminal() && (detach || io::stdin().is_terminal());

    if remove_orphans {
        remove_what_is_not_declared(&here, &context).await?;
    }
    if !no_deps {
        let code = start_what_is_needed(&here, manifest, &stack, &service, &context).await?;
        if code != 0 {
            return Ok(code);
        }
    }
    let container =
        Making { here: &here, stack: &stack, service: &service, context: &context, build, quiet: quiet_pull }
            .make(&oneoff, manifest)
            .await?;
    if detach {
        here.engine.start_existing(&container).await?;
        output::print(&format!("{}\n", container.id), context.color)?;
        return Ok(0);
    }
    let attached = Attached { tty: oneoff.tty, input: oneoff.input };
    let ended = here.engine.run_attached(&container, attached).await;
    match ended {
        Ok(Ended::Left) => {
            output::note(&format!("\nthe command runs on in {}\n", container.name), context.color)?;
            Ok(0)
        }
        Ok(Ended::Code(code)) => {
            if oneoff.remove {
                // The engine does it by itself, and whoever looks next must not see it any more.
                let gone = here.engine.wait_for_removal(&container.id).await;
                gone.or_else(|_| Ok::<(), Error>(()))?;
            }
            Ok(exit_code(code.into()))
        }
        Err(error) => {
            if oneoff.remove {
                here.engine.remove_by_force(&container.id).await?;
            }
            Err(error.into())
        }
    }
}

async fn remove_what_is_not_declared(here: &Here, context: &Context) -> Result<(), Error> {
    for container in here.containers(&Pick::all(&[])).await? {
        if !here.project.declares(&container.service) {
            here.engine.stop_existing(&container, None).await?;
            here.engine.remove_existing(&container, true).await?;
            output::note(&format!("removed {}\n", container.name), context.color)?;
        }
    }
    Ok(())
}

/// Starts what the service needs and waits for it. A devctl that runs the stack does it; containers that are there are
/// started as `devctl start` does it; for anything else there has to be a devctl, which `devctl up -d` begins. Answers
/// with the exit code of whatever failed, which has been told then.
async fn start_what_is_needed(
    here: &Here,
    manifest: &Manifest,
    stack: &Stack,
    service: &ServiceName,
    context: &Context,
) -> Result<u8, Error> {
    let needed: Vec<&str> = stack.services().filter(|name| *name != service).map(ServiceName::as_str).collect();
    if needed.is_empty() {
        return Ok(0);
    }
    if let Some(client) = here.supervisor().await? {
        let status = client.status().await?;
        let is_there = |name: &&str| {
            status.service(name).is_some_and(|service| matches!(service.state, State::Ready | State::Done))
        };
        if needed.iter().all(is_there) {
            return Ok(0);
        }
        return again(context, &["up", "-d"], &needed).await;
    }
    let containers = here.containers(&Pick::all(&[])).await?;
    let of = |name: &str| containers.iter().filter(|container| container.service == name).collect::<Vec<_>>();
    let is_program = |name: &&str| manifest.services.keys().any(|service| service.as_str() == *name);
    let code = if needed.iter().any(|name| is_program(name) || of(name).is_empty()) {
        again(context, &["up", "-d"], &needed).await?
    } else if needed.iter().any(|name| of(name).iter().any(|container| container.state != "running")) {
        again(context, &["start"], &needed).await?
    } else {
        0
    };
    if code != 0 {
        return Ok(code);
    }
    let containers = here.containers(&Pick::all(&[])).await?;
    let needs = stack.node(&NodeId::Service(service.clone())).map(|node| node.needs.as_slice()).unwrap_or_default();
    let waits = needs.iter().filter_map(|need| {
        let NodeId::Service(name) = &need.on else { return None };
        let until = match need.until {
            Until::Started => NeedUntil::Started,
            Until::Ready => NeedUntil::Up,
            Until::Completed => NeedUntil::Completed,
        };
        let needed: Vec<ProjectContainer> =
            containers.iter().filter(|container| container.service == name.as_str()).cloned().collect();
        Some(async move { until_holds(&here.engine, &needed, until).await })
    });
    try_join_all(waits).await.map_err(|why| {
        Error::new(Blame::Service, format!("`{service}` cannot run: {why}"))
            .hint("`--no-deps` runs it without what it needs")
    })?;
    Ok(0)
}

/// Runs devctl once more. What it prints goes to standard error: standard output is the command's.
async fn again(context: &Context, command: &[&str], services: &[&str]) -> Result<u8, Error> {
    let program = env::current_exe().map_err(|error| Error::io("cannot tell where devctl itself is", error))?;
    let mut again = tokio::process::Command::new(program);
    again.args(context.request.args()).args(command).args(services);
    again.stdin(Stdio::piped()).stdout(io::stderr()).stderr(Stdio::inherit());
    let failed = |error| Error::io("cannot start devctl once more", error);
    let mut child = again.spawn().map_err(failed)?;
    if let (Some(mut input), Some(text)) = (child.stdin.take(), &context.request.standard_input) {
        // Whoever ends before it has read all of it says why by itself.
        drop(input.write_all(text.as_bytes()).await);
    }
    let ended = child.wait().await.map_err(failed)?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A container that is being made.
struct Making<'a> {
    here: &'a Here,
    stack: &'a Stack,
    service: &'a ServiceName,
    context: &'a Context,
    build: bool,
    quiet: bool,
}

impl Making<'_> {
    /// Makes what the container needs, and the container.
    async fn make(&self, oneoff: &Oneoff, manifest: &Manifest) -> Result<ProjectContainer, Error> {
        let create = NodeId::Create(self.service.clone());
        let mut wanted = BTreeSet::new();
        self.needed(&create, &mut wanted);
        let run = RunId::from_random(rand::random());
        let processes = || Processes::new(run.clone(), self.context.env.clone());
        let drivers = Drivers {
            docker: Some(self.here.engine.clone()),
            embedded: Embedded::new(processes(), self.context.env.clone()),
            process: processes(),
        };
        let logs = Hub::new(None);
        let mut name = None;
        for Step { node, mut action, existing, .. } in self.steps().await? {
            if !wanted.contains(&node.id.to_string()) {
                continue;
            }
            let is_image = matches!(node.id, NodeId::Image(_));
            if is_image && self.build {
                action = Action::Create;
            }
            if is_image && action == Action::Create && !self.quiet {
                output::note(&format!("{}\n", node.id), self.context.color)?;
            }
            let mut work = node.work;
            if let Work::Create(spec) = &mut work {
                action = Action::Create;
                **spec = self.changed(spec, oneoff, manifest)?;
                name = Some(spec.name.clone());
            }
            let cx = StartContext {
                node: node.id,
                run: run.clone(),
                action,
                existing: existing.filter(|_| action != Action::Create),
                logs: logs.null(),
                progress: Arc::new(|_| {}),
                takeover: None,
            };
            drivers.start(&work, cx).await?;
        }
        let name = name.ok_or_else(|| {
            Error::new(Blame::Configuration, format!("the service `{}` is not run as a container", self.service))
        })?;
        let pick = Pick::all(&[self.service.as_str().to_owned()]).with_oneoffs();
        let found = self.here.containers(&pick).await?.into_iter().find(|container| container.name == name);
        found.ok_or_else(|| Error::new(Blame::Service, format!("the container `{name}` was removed by somebody else")))
    }

    /// The container of the service, as it was asked for.
    fn changed(&self, spec: &ContainerSpec, oneoff: &Oneoff, manifest: &Manifest) -> Result<ContainerSpec, Error> {
        let slug = rand::random::<[u8; 32]>();
        let volumes: Vec<&str> = self
            .stack
            .nodes()
            .filter_map(|node| match &node.work {
                Work::Volume(spec) => Some(spec.name.as_str()),
                _ => None,
            })
            .collect();
        let project = self.here.project.name.as_str();
        let place = oneoff::Place { project, folder: &manifest.root, home: self.context.env.get("HOME"), volumes };
        oneoff.of(spec, &place, slug).map_err(|message| Error::new(Blame::Configuration, message))
    }

    /// What has to be there before a node; no services, which were started or not on purpose.
    fn needed(&self, id: &NodeId, wanted: &mut BTreeSet<String>) {
        if wanted.insert(id.to_string())
            && let Some(node) = self.stack.node(id)
        {
            for need in &node.needs {
                if !matches!(need.on, NodeId::Service(_)) {
                    self.needed(&need.on, wanted);
                }
            }
        }
    }

    /// What is to be done for the whole stack, as `up` would.
    async fn steps(&self) -> Result<Vec<Step>, Error> {
        let (mut networks, mut volumes, mut images) = (Vec::new(), Vec::new(), Vec::new());
        for node in self.stack.nodes() {
            match &node.work {
                Work::Network(spec) => networks.push(spec.name.clone()),
                Work::Volume(spec) => volumes.push(spec.name.clone()),
                Work::Image(spec) => images.push(spec.reference.clone()),
                _ => {}
            }
        }
        let engine = &self.here.engine;
        let engine = engine.observe(&self.here.project.name, &networks, &volumes, &images).await?;
        Ok(plan::diff(self.stack, &Now { engine, ..Now::default() }, &Policy::default()).steps)
    }
}
