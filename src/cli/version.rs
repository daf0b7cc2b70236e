//! `devctl version`.

use clap::ValueEnum;

use super::{Context, output};
use crate::error::Error;

/// Show devctl's version
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl version
  devctl version --short")]
pub(super) struct Args {
    /// The number alone
    #[arg(long)]
    short: bool,

    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    format: Format,
}

/// How the version is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line for people
    Pretty,
    /// A JSON object
    Json,
}

/// What `devctl version` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) short: bool,
    pub(super) format: Format,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { short, format } = self;
        Settings { short, format }
    }
}

/// Shows the version.
pub(super) fn run(settings: Settings, context: &Context) -> Result<u8, Error> {
    let version = env!("CARGO_PKG_VERSION");
    let text = match settings {
        Settings { short: true, .. } => format!("{version}\n"),
        Settings { format: Format::Json, .. } => format!("{}\n", serde_json::json!({ "version": version })),
        Settings { format: Format::Pretty, .. } => format!("devctl {version}\n"),
    };
    output::print(&text, context.color)?;
    Ok(0)
}
