//! `devctl scale`.

use std::str::FromStr;

use super::{Context, change};
use crate::control::wire::MAX_REPLICAS;
use crate::error::Error;
use crate::name::ServiceName;

/// Run several replicas of a service
///
/// Each replica gets a `PORT` of its own; `devctl ps` shows where it is.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl scale api=3             the API three times: api, api#2 and api#3
  devctl scale api=1 worker=4    two services at once")]
pub(super) struct Args {
    /// Services with how many of each to run
    #[arg(value_name = "SERVICE=N", required = true)]
    wanted: Vec<Wanted>,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

/// How many replicas of a service to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The service.
    pub(super) service: ServiceName,
    /// How many.
    pub(super) replicas: u32,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, replicas) = text.split_once('=').ok_or("expected a service and a number, such as `api=3`")?;
        let service = service.parse().map_err(|error: crate::name::NameError| error.to_string())?;
        match replicas.parse() {
            Ok(replicas) if replicas <= MAX_REPLICAS => Ok(Self { service, replicas }),
            Ok(_) | Err(_) => Err(format!("`{replicas}` is not a number from 1 to {MAX_REPLICAS}")),
        }
    }
}

/// What `devctl scale` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// How many of which.
    pub(super) wanted: Vec<Wanted>,
    /// `--format`.
    pub(super) format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { wanted, format } = self;
        Settings { wanted, format }
    }
}

/// Scales services, one after the other, and waits until each is as it should be.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let (client, mut before) = change::connect(&context).await?;
    let mut code = 0;
    for Wanted { service, replicas } in settings.wanted {
        let reply = client.scale(&service, replicas).await?;
        code = code.max(change::see_through(&client, &before, reply, None, settings.format, &context).await?);
        before = client.status().await?;
    }
    Ok(code)
}
