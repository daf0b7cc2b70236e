//! `devctl completions`.

use anstream::ColorChoice;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, output};
use crate::error::Error;

/// Print a script that completes devctl's commands in a shell
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl completions bash > ~/.local/share/bash-completion/completions/devctl
  devctl completions zsh > \"${fpath[1]}/_devctl\"
  devctl completions fish > ~/.config/fish/completions/devctl.fish")]
pub(super) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// What `devctl completions` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    shell: Shell,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { shell } = self;
        Settings { shell }
    }
}

/// Prints the script.
pub(super) fn run(settings: Settings) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(settings.shell, &mut Cli::command(), "devctl", &mut script);
    // The script goes out as it is: the escapes in it, if any, are for the shell that reads it.
    output::print(&String::from_utf8_lossy(&script), ColorChoice::AlwaysAnsi)?;
    Ok(0)
}
