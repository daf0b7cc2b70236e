//! `devctl restart`.

use super::by_hand::{self, Runner};
use super::{Context, change, output};
use crate::advice::Blame;
use crate::error::Error;
use crate::name::ServiceName;

/// Stop services and start them again
///
/// Where no devctl runs the stack, its containers are restarted, whoever made them, and those that need them with
/// `restart: true`. A restart applies no change of the configuration, and says where there is one.
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

    /// Leave those alone that need what is restarted
    #[arg(long)]
    no_deps: bool,

    /// Seconds that a container has before it is killed, instead of its own time; where a devctl runs the stack, each
    /// service has its own
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i32>,

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
    /// `--no-deps`.
    pub(super) no_deps: bool,
    /// `--timeout`.
    pub(super) timeout: Option<i32>,
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, build, no_deps, timeout, format } = self;
        Settings { services, build, no_deps, timeout, format }
    }
}

/// Restarts services and waits until they are ready.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, build, no_deps, timeout, format } = settings;
    match by_hand::runner(&context, format).await? {
        Runner::Supervisor(_, before) if no_deps => {
            let message =
                format!("a devctl (pid {}) runs this stack and restarts what needs a service with it", before.pid);
            Err(Error::new(Blame::Configuration, message).hint("`--no-deps` is for containers that no devctl runs"))
        }
        Runner::Supervisor(client, before) => {
            if timeout.is_some() {
                output::note(by_hand::OWN_GRACE, context.color)?;
            }
            let reply = client.restart(&services, build).await?;
            change::see_through(&client, &before, reply, None, format, &context).await
        }
        Runner::Hand(_) if build => {
            let message = "no devctl runs this stack, and `--build` is for the programs of one that does";
            Err(Error::new(Blame::Configuration, message).hint("`devctl up -d` builds and starts"))
        }
        Runner::Hand(hand) => hand.restart(&by_hand::names(&services), timeout, no_deps).await,
    }
}
