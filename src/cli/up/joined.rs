//! `devctl up` while the stack is up already: the difference is applied through the supervisor that runs it.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Settings, StopRequests, prepare};
use crate::advice::Blame;
use crate::cli::follow::{self, Follow, Until};
use crate::cli::{Context, output};
use crate::control::client::{Client, ClientError};
use crate::control::wire::{Apply, Change, Phase, State, Status, What};
use crate::error::Error;
use crate::manifest::{DriverChoice, Manifest};
use crate::os::clock;
use crate::report::Format;
use crate::stack::Selection;
use crate::state::StateDir;
use crate::state::lock::Holder;

/// How much of it is wanted here.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// How it is shown.
    pub(super) format: Format,
    /// Whether the run is shown until Ctrl+C, which leaves it running.
    pub(super) stay: bool,
    /// Whether to wait until everything is up.
    pub(super) wait: bool,
}

/// A supervisor that answers, and how it is.
type There = (Client, Status);

/// How long a supervisor that holds the project may take to answer: one that has just begun opens its socket once it
/// has looked around, and one that was killed holds the project until the kernel is done with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is asked.
const ASK: Duration = Duration::from_millis(20);

/// The supervisor that runs the project; `None` where nobody does.
pub(super) async fn reach(state: &StateDir) -> Result<Option<There>, Error> {
    let began = clock::now();
    loop {
        let Some(holder) = prepare::holder(state)? else { return Ok(None) };
        match Client::connect(state.root()).await {
            Ok(there) => return Ok(Some(there)),
            Err(error) if error.is_stranger() => return Err(error.into()),
            Err(error) if clock::now().duration_since(began) > PATIENCE => return Err(unreachable(error, &holder)),
            Err(_) => tokio::time::sleep(ASK).await,
        }
    }
}

/// Applies the difference, and shows what comes of it.
pub(super) async fn run(
    manifest: &Manifest,
    settings: &Settings,
    (client, status): There,
    how: How,
    context: &Context,
) -> Result<u8, Error> {
    check(settings, &status)?;
    let selection = &settings.selection;
    let reply = client.apply(&wish(settings, context, false)).await?;
    let settled = reply.changes.is_empty();
    if settled {
        let text = format!("devctl (pid {}) runs it already, and nothing changed\n", status.pid);
        output::note(&text, context.color)?;
        if !how.stay && status.phase == Phase::Up {
            return as_it_is(&status);
        }
    }
    if !how.wait {
        return Ok(0);
    }
    let until = if how.stay { Until::Left } else { Until::Up };
    let follow = Follow {
        manifest: Some(manifest),
        selection,
        format: how.format,
        until,
        from: reply.seq,
        settled,
        ours: false,
    };
    follow::run(&client, &status, follow, StopRequests::install(None)?, context).await
}

/// How a stack is that is up and that nobody changed: asking again makes nobody ready.
fn as_it_is(status: &Status) -> Result<u8, Error> {
    let late: Vec<_> = status.services.iter().filter(|service| service.state == State::Late).collect();
    let [first, ..] = late.as_slice() else { return Ok(0) };
    let names: Vec<&str> = late.iter().map(|service| service.service.as_str()).collect();
    let mut error = Error::new(Blame::Timeout, format!("not ready: {}", names.join(", ")));
    for detail in late.iter().filter_map(|service| service.detail.as_ref()) {
        error = error.note(detail.clone());
    }
    Err(error.hint(format!("`devctl why {}`", first.service)))
}

/// Says what another `up` would change, without a change.
pub(super) async fn rehearse(
    manifest: &Manifest,
    settings: &Settings,
    (client, status): There,
    context: &Context,
) -> Result<String, Error> {
    check(settings, &status)?;
    let reply = client.apply(&wish(settings, context, true)).await?;
    let mut text = format!("{} is up (devctl, pid {})\n", manifest.project, status.pid);
    if reply.changes.is_empty() {
        text.push_str("`devctl up` would change nothing\n");
        return Ok(text);
    }
    text.push_str("`devctl up` would\n");
    for Change { service, what, why } in reply.changes {
        let verb = match what {
            What::Start => "start",
            What::Stop => "stop",
            What::Restart => "restart",
            What::Remove => "remove",
            What::Signal => "signal",
            What::Nothing => continue,
        };
        let _ = match why {
            Some(why) => writeln!(text, "  {verb:<8} {service}  {why}"),
            None => writeln!(text, "  {verb:<8} {service}"),
        };
    }
    Ok(text)
}

/// What runs the containers is decided once. Who wants none to be started (`--skip-docker`) gets those that run.
fn check(settings: &Settings, status: &Status) -> Result<(), Error> {
    let asked = match settings.driver {
        None | Some(DriverChoice::Auto) => return Ok(()),
        Some(DriverChoice::Docker) => "docker",
        Some(DriverChoice::Embedded) => "embedded",
    };
    if asked == status.driver || status.driver == "none" {
        return Ok(());
    }
    let message = format!("the stack is up with the driver {} (pid {}), not {asked}", status.driver, status.pid);
    Err(Error::new(Blame::Configuration, message).hint("`devctl down` first, or leave `--driver` away"))
}

fn wish(settings: &Settings, context: &Context, dry_run: bool) -> Apply {
    let Selection { services, groups, no_deps, profiles, scale, ports: _ } = settings.selection.clone();
    Apply {
        services,
        groups,
        profiles,
        no_deps,
        env: context.env.clone(),
        build: false,
        dry_run,
        policy: settings.policy.clone(),
        scale,
    }
}

/// A project that somebody holds and who does not answer: it is about to begin, or to end, or has no socket.
fn unreachable(error: ClientError, holder: &Holder) -> Error {
    let message = format!("this project is already up (devctl, pid {}), and cannot be reached", holder.pid);
    let (reason, _) = Error::from(error).parts();
    Error::new(Blame::Environment, message)
        .note(reason)
        .hint("see it with `devctl ps` and `devctl logs -f`")
        .hint("stop it with `devctl down`")
}
