//! `devctl exec`.

use std::io::{self, IsTerminal as _};

use super::containers::{Here, exit_code};
use super::{Context, output};
use crate::driver::docker::{Ended, ShellSpec};
use crate::error::Error;

/// Run a command in a running container
///
/// The command gets a terminal where devctl has one; its exit code is passed on. Ctrl+P Ctrl+Q leaves it running and
/// gives the terminal back.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl exec db psql -U postgres      a shell of the database
  devctl exec -T db psql < dump.sql    without a terminal: a pipe stays a pipe
  devctl exec --index 2 web sh         in the second container of the service")]
pub(super) struct Args {
    /// Run the command in the background
    #[arg(short, long)]
    detach: bool,

    /// Set a variable: `KEY=VALUE`, or `KEY` for the value it has here; can be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,

    /// Which container of a service that has several
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(0..))]
    index: Option<u32>,

    /// No terminal for the command
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,

    /// Give the command all rights over the machine
    #[arg(long)]
    privileged: bool,

    /// The user to run it as, by name or id, and perhaps a group: `USER[:GROUP]`
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,

    /// The folder to run it in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,

    /// As with Docker's command line: it is so anyway
    #[arg(short, long, hide = true)]
    interactive: bool,

    /// As with Docker's command line: it is so anyway
    #[arg(short, long, hide = true, conflicts_with = "no_tty")]
    tty: bool,

    /// The service, and the command with its arguments
    #[arg(value_names = ["SERVICE", "COMMAND"], required = true, num_args = 2.., trailing_var_arg = true)]
    command: Vec<String>,
}

/// What `devctl exec` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The service.
    pub(super) service: String,
    /// The command with its arguments.
    pub(super) command: Vec<String>,
    /// `--detach`.
    pub(super) detach: bool,
    /// `--env`, as written.
    pub(super) env: Vec<String>,
    /// `--index`.
    pub(super) index: Option<u32>,
    /// `--no-tty`.
    pub(super) no_tty: bool,
    /// `--privileged`.
    pub(super) privileged: bool,
    /// `--user`.
    pub(super) user: Option<String>,
    /// `--workdir`.
    pub(super) workdir: Option<String>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { detach, env, index, no_tty, privileged, user, workdir, interactive: _, tty: _, mut command } = self;
        let service = command.remove(0);
        // Compose counts from 1 and takes 0 for no choice.
        let index = index.filter(|index| *index > 0);
        Settings { service, command, detach, env, index, no_tty, privileged, user, workdir }
    }
}

/// Runs the command.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { service, command, detach, env, index, no_tty, privileged, user, workdir } = settings;
    let here = Here::find(&context).await?;
    let container = here.one(&service, index).await?;
    let tty = !no_tty && io::stdout().is_terminal() && (detach || io::stdin().is_terminal());
    let spec = ShellSpec {
        argv: command,
        env: variables(&env, &context),
        user,
        tty,
        input: !detach,
        workdir,
        privileged,
        can_detach: true,
    };
    if detach {
        here.engine.shell_detached(&container.id, spec).await?;
        return Ok(0);
    }
    match here.engine.shell(&container.id, spec).await? {
        Ended::Code(code) => Ok(exit_code(code.into())),
        Ended::Left => {
            output::note(&format!("\nthe command runs on in {}\n", container.name), context.color)?;
            Ok(0)
        }
    }
}

/// Variables as they were given: one without a value has that of devctl's own environment, where it has one.
pub(super) fn variables(given: &[String], context: &Context) -> Vec<(String, String)> {
    let variable = |text: &String| match text.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => Some((text.clone(), context.env.get(text)?.clone())),
    };
    given.iter().filter_map(variable).collect()
}
