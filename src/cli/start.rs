//! `devctl start`.

use super::{Context, change};
use crate::error::Error;
use crate::name::ServiceName;

/// Start services of the running stack that do not run, and what they need
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl start api       start the API, and come back when it is ready
  devctl start           start everything that does not run")]
pub(super) struct Args {
    /// Services to start; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

/// What `devctl start` was asked for.
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

/// Starts services and waits until they are ready.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let (client, before) = change::connect(&context).await?;
    let reply = client.start(&settings.services).await?;
    change::see_through(&client, &before, reply, None, settings.format, &context).await
}
