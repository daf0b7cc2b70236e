//! `devctl kill`.

use super::by_hand::{self, Runner};
use super::{Context, change};
use crate::control::wire::SignalName;
use crate::error::Error;
use crate::name::ServiceName;

/// Send a signal to services
///
/// SIGKILL, which is sent where no other is named, stops a service at once and leaves it stopped. What any other signal
/// does is up to the service and its restart policy. Where no devctl runs the stack, its containers get the signal,
/// whoever made them.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl kill api                stop the API without asking it
  devctl kill -s SIGUSR1 api     send it a signal
  devctl kill -s HUP api gateway")]
pub(super) struct Args {
    /// Services that get the signal; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    signal: SignalName,

    /// Also containers of services that the files do not have any more
    #[arg(long)]
    remove_orphans: bool,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

/// What `devctl kill` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The services.
    pub(super) services: Vec<ServiceName>,
    /// `--signal`.
    pub(super) signal: SignalName,
    /// `--remove-orphans`.
    pub(super) remove_orphans: bool,
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, signal, remove_orphans, format } = self;
        Settings { services, signal, remove_orphans, format }
    }
}

/// Signals services; waits until they are gone where they are killed.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, signal, remove_orphans, format } = settings;
    match by_hand::runner(&context, format).await? {
        Runner::Supervisor(client, before) => {
            let all = || before.services.iter().filter_map(|service| service.service.parse().ok()).collect();
            let services: Vec<ServiceName> = if services.is_empty() { all() } else { services };
            let reply = client.kill(&services, signal).await?;
            change::see_through(&client, &before, reply, Some(signal), format, &context).await
        }
        Runner::Hand(hand) => hand.kill(&by_hand::names(&services), signal, remove_orphans).await,
    }
}
