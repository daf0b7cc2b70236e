//! `devctl stop`.

use super::by_hand::{self, Runner};
use super::{Context, change, output};
use crate::error::Error;
use crate::name::ServiceName;

/// Stop services and leave them stopped, while the rest of the stack runs on
///
/// Where no devctl runs the stack, its containers are stopped, whoever made them: those that need others first.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl stop api        stop the API; `devctl start api` brings it back
  devctl stop            stop every service, and keep the supervisor (`devctl down` ends that too)")]
pub(super) struct Args {
    /// Services to stop; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// Seconds that a container has before it is killed, instead of its own time; where a devctl runs the stack, each
    /// service has its own
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i32>,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

/// What `devctl stop` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The services; all where empty.
    pub(super) services: Vec<ServiceName>,
    /// `--timeout`.
    pub(super) timeout: Option<i32>,
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, timeout, format } = self;
        Settings { services, timeout, format }
    }
}

/// Stops services and waits until they are gone.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, timeout, format } = settings;
    match by_hand::runner(&context, format).await? {
        Runner::Supervisor(client, before) => {
            if timeout.is_some() {
                output::note(by_hand::OWN_GRACE, context.color)?;
            }
            let reply = client.stop(&services).await?;
            change::see_through(&client, &before, reply, None, format, &context).await
        }
        Runner::Hand(hand) => hand.stop(&by_hand::names(&services), timeout).await,
    }
}
