//! `devctl reload`.

use super::{Context, change};
use crate::error::Error;

/// Read `devctl.toml`, Compose files and `.env` again, and apply what changed
///
/// What did not change runs on.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: change::Format,
}

impl Args {
    pub(super) fn settings(self) -> change::Format {
        self.format
    }
}

/// Has the files read again and waits until what changed is ready.
pub(super) async fn run(format: change::Format, context: Context) -> Result<u8, Error> {
    let (client, before) = change::connect(&context).await?;
    let reply = client.reload().await?;
    change::see_through(&client, &before, reply, None, format, &context).await
}
