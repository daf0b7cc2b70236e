//! `devctl config`.

use anstream::ColorChoice;
use clap::ValueEnum;

use super::{Context, output};
use crate::advice::Blame;
use crate::error::Error;
use crate::stack::{self, Infra, Selection};

/// Show the stack as devctl understands it
///
/// Everything is resolved: variables, defaults, what each service needs, how its readiness is decided. Secrets are
/// masked. Where a file has a mistake, all mistakes are shown instead.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl config
  devctl config --format json | jq '.nodes[] | select(.node == \"api\")'")]
pub(super) struct Args {
    /// How to show it
    #[arg(long, value_name = "FORMAT", default_value = "toml")]
    format: Format,

    /// Show the services of this Compose profile too; can be repeated
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,
}

/// How `devctl config` shows the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// TOML, as in `devctl.toml`
    Toml,
    /// JSON
    Json,
}

/// What `devctl config` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `--format`.
    pub(super) format: Format,
    /// `--profile`.
    pub(super) profiles: Vec<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { format, profiles } = self;
        Settings { format, profiles }
    }
}

/// Prints the stack.
pub(super) fn run(settings: &Settings, context: &Context) -> Result<u8, Error> {
    let description = describe(settings, context)?;
    let failed =
        |error: &dyn std::fmt::Display| Error::new(Blame::Bug, format!("the stack cannot be written: {error}"));
    let text = match settings.format {
        Format::Toml => toml::to_string_pretty(&description).map_err(|error| failed(&error))?,
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&description).map_err(|error| failed(&error))?;
            text.push('\n');
            text
        }
    };
    output::print(&text, ColorChoice::Never)?;
    Ok(0)
}

/// The resolved stack, secrets masked, as a value that can be written in any format.
fn describe(settings: &Settings, context: &Context) -> Result<serde_json::Value, Error> {
    let manifest = crate::manifest::load(&context.start, &context.env).map_err(Error::problems)?;
    let selection = Selection { profiles: settings.profiles.clone(), ..Selection::default() };
    let stack = stack::resolve(&manifest, &selection, Infra::Docker, &context.env)?;
    Ok(stack::describe(&stack))
}
