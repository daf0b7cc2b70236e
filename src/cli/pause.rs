//! `devctl pause` and `devctl unpause`.

use futures_util::future::join_all;

use super::containers::{Here, tell};
use super::{Context, output};
use crate::driver::docker::Pick;
use crate::error::Error;

/// Hold all processes of the containers where they are
///
/// `devctl unpause` lets them go on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl pause           everything
  devctl pause db        one service: what does the rest do when it hangs?")]
pub(super) struct Args {
    /// Services to pause; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// Let paused containers go on
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl unpause
  devctl unpause db")]
pub(super) struct UnpauseArgs {
    /// Services to let go on; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<String>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) services: Vec<String>,
    pub(super) what: What,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Pause,
    Unpause,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services } = self;
        Settings { services, what: What::Pause }
    }
}

impl UnpauseArgs {
    pub(super) fn settings(self) -> Settings {
        let Self { services } = self;
        Settings { services, what: What::Unpause }
    }
}

/// Pauses, or lets go on.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, what } = settings;
    let here = Here::find(&context).await?;
    let containers = here.picked(&Pick::running(&services)).await?;
    if what == What::Pause && here.supervisor().await?.is_some() {
        output::note(
            "a devctl runs this stack: it takes a paused service that it checks for unhealthy\n",
            context.color,
        )?;
    }
    let acts = containers.iter().map(async |container| match what {
        What::Pause => (here.engine.pause(container).await, container),
        What::Unpause => (here.engine.unpause(container).await, container),
    });
    let mut code = 0;
    for (done, container) in join_all(acts).await {
        match (done, what) {
            (Ok(()), What::Pause) => tell(&context, "paused", container)?,
            (Ok(()), What::Unpause) => tell(&context, "unpaused", container)?,
            (Err(error), _) => {
                let error = Error::from(error);
                error.print(context.color);
                code = code.max(error.exit_code());
            }
        }
    }
    Ok(code)
}
