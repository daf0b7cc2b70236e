//! `devctl up` while the stack is up already: the difference is applied through the supervisor that runs it.

use super::Settings;
use crate::advice::Blame;
use crate::cli::follow::{self, Follow, Until};
use crate::cli::{Context, output};
use crate::control::client::{Client, ClientError};
use crate::control::wire::Apply;
use crate::error::Error;
use crate::manifest::Manifest;
use crate::report::Format;
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

/// Applies the difference, and shows what comes of it.
pub(super) async fn run(
    manifest: &Manifest,
    settings: &Settings,
    holder: &Holder,
    how: How,
    context: &Context,
) -> Result<u8, Error> {
    let (client, status) = Client::connect(&manifest.root).await.map_err(|error| unreachable(error, holder))?;
    if settings.driver.is_some() || settings.skip_docker || settings.timeout.is_some() {
        return Err(Error::new(
            Blame::Configuration,
            format!("the stack is up (pid {}), and what runs it cannot be changed meanwhile", status.pid),
        )
        .hint("`devctl down` first, or leave `--driver`, `--skip-docker` and `--timeout` away"));
    }
    let selection = &settings.selection;
    let reply = client
        .apply(&Apply {
            services: selection.services.clone(),
            groups: selection.groups.clone(),
            profiles: selection.profiles.clone(),
            no_deps: selection.no_deps,
            env: context.env.clone(),
            build: false,
        })
        .await?;
    if reply.changes.is_empty() {
        let text = format!("devctl (pid {}) runs it already, and nothing changed\n", status.pid);
        output::note(&text, context.color)?;
    }
    if !how.wait {
        return Ok(0);
    }
    let until = if how.stay { Until::Left } else { Until::Up };
    let follow = Follow { manifest, selection, format: how.format, until, from: reply.seq, ours: false };
    follow::run(&client, &status, follow, context).await
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
