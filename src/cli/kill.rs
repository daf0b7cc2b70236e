//! `devctl kill`.

use super::{Context, change};
use crate::control::wire::SignalName;
use crate::error::Error;
use crate::name::ServiceName;

/// Send a signal to services
///
/// SIGKILL, which is sent where no other is named, stops a service at once and leaves it stopped. What any other signal
/// does is up to the service and its restart policy.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl kill api                stop the API without asking it
  devctl kill -s SIGUSR1 api     send it a signal
  devctl kill -s HUP api gateway")]
pub(super) struct Args {
    /// Services that get the signal
    #[arg(value_name = "SERVICES", required = true)]
    services: Vec<ServiceName>,

    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    signal: SignalName,

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
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, signal, format } = self;
        Settings { services, signal, format }
    }
}

/// Signals services; waits until they are gone where they are killed.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, signal, format } = settings;
    let (client, before) = change::connect(&context).await?;
    let reply = client.kill(&services, signal).await?;
    change::see_through(&client, &before, reply, Some(signal), format, &context).await
}
