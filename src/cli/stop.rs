//! `devctl stop`.

use super::{Context, change};
use crate::error::Error;
use crate::name::ServiceName;

/// Stop services and leave them stopped, while the rest of the stack runs on
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl stop api        stop the API; `devctl start api` brings it back
  devctl stop            stop every service, and keep the supervisor (`devctl down` ends that too)")]
pub(super) struct Args {
    /// Services to stop; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

/// What `devctl stop` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The services; all where empty.
    pub(super) services: Vec<ServiceName>,
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, format } = self;
        Settings { services, format }
    }
}

/// Stops services and waits until they are gone.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let (client, before) = change::connect(&context).await?;
    let reply = client.stop(&settings.services).await?;
    change::see_through(&client, &before, reply, None, settings.format, &context).await
}
