//! `devctl attach`.

use super::follow::{self, Follow, Until};
use super::up::StopRequests;
use super::{Context, change};
use crate::error::Error;
use crate::report;
use crate::stack::Selection;

/// Show a stack that runs in the background, as `up` would show it
///
/// Ctrl+C leaves it running.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: super::up::Format,
}

impl Args {
    pub(super) fn settings(self) -> report::Format {
        self.format.into()
    }
}

/// Shows the run until Ctrl+C, or until it ends.
pub(super) async fn run(format: report::Format, context: Context) -> Result<u8, Error> {
    let (client, status) = change::connect(&context).await?;
    // Files that somebody is editing do not keep anybody from looking.
    let manifest = context.request.load(&context.env).ok();
    let selection = Selection::default();
    let (until, from) = (Until::Left, status.next_event);
    let follow =
        Follow { manifest: manifest.as_ref(), selection: &selection, format, until, from, settled: true, ours: false };
    follow::run(&client, &status, follow, StopRequests::install(None)?, &context).await
}
