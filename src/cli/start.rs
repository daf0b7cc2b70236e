//! `devctl start`.

use super::by_hand::{self, Runner};
use super::{Context, change};
use crate::error::Error;
use crate::name::ServiceName;

/// Start services that do not run, and what they need
///
/// Where a devctl runs the stack, it starts them and this waits until they are ready. Where none does, containers that
/// are there are started, whoever made them.
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
    let Settings { services, format } = settings;
    match by_hand::runner(&context, format).await? {
        Runner::Supervisor(client, before) => {
            let reply = client.start(&services).await?;
            change::see_through(&client, &before, reply, None, format, &context).await
        }
        Runner::Hand(hand) => hand.start(&by_hand::names(&services)).await,
    }
}
