//! `devctl restart`.

use super::{Context, change};
use crate::error::Error;
use crate::name::ServiceName;

/// Stop services and start them again
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl restart api             restart the API, and come back when it is ready
  devctl restart --build api     build it first; where it does not build, the old one runs on
  devctl restart                 restart everything")]
pub(super) struct Args {
    /// Services to restart; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// Build first, and restart only what was built
    #[arg(short, long)]
    build: bool,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

/// What `devctl restart` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The services; all where empty.
    pub(super) services: Vec<ServiceName>,
    /// `--build`.
    pub(super) build: bool,
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, build, format } = self;
        Settings { services, build, format }
    }
}

/// Restarts services and waits until they are ready.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let (client, before) = change::connect(&context).await?;
    let reply = client.restart(&settings.services, settings.build).await?;
    change::see_through(&client, &before, reply, None, settings.format, &context).await
}
