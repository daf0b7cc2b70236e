//! The command line: what can be typed, and one match from a command to what it does.
//!
//! clap stays in here. Each command has a file with its arguments, whose doc comments are the help, and a `run` that
//! gets plain settings.

mod attach;
mod by_hand;
mod change;
mod columns;
mod completions;
mod config;
mod containers;
mod cp;
mod db;
mod down;
mod drift;
mod duration;
mod events;
mod exec;
mod follow;
mod guard;
mod images;
mod kill;
mod last_run;
mod logs;
mod ls;
mod output;
mod pause;
mod port;
mod ps;
mod pull;
mod reload;
mod restart;
mod rm;
mod run;
mod scale;
mod start;
mod stats;
mod stop;
mod template;
#[cfg(test)]
mod tests;
mod top;
mod up;
mod usage;
mod version;
mod volumes;
mod wait;
mod why;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{Parser, Subcommand, ValueEnum};

use crate::advice::Blame;
use crate::error::Error;
use crate::manifest::{Manifest, Request};
use crate::os::launcher::{self, Link, Role};
use crate::os::{env, files};
use crate::state::StateDir;

/// Brings up a whole development stack from one command, knows when it is really ready, and leaves nothing behind.
///
/// devctl reads `devctl.toml` and the Compose files it names, starts containers (or the same services embedded, where
/// there is no Docker) and the project's own programs, and waits until each answers its own protocol. Ctrl+C stops
/// everything that was started.
#[derive(Debug, Parser)]
#[command(name = "devctl", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_long_help = "\
Examples:
  devctl up                    everything, in the foreground
  devctl up --driver embedded  the same without Docker
  devctl up api                one service and what it needs
  devctl db shell              psql on the stack's database

Exit codes:
  0          done
  1          a service or a command failed
  2          usage or configuration
  3          the machine is not fit: engine unreachable, port taken, tool missing
  4          not ready in time
  130, 143   interrupted before everything was ready")]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// Run as if started in this folder
    #[arg(short = 'C', long, global = true, value_name = "DIR", help_heading = "Global options")]
    directory: Option<PathBuf>,

    /// Read this Compose file instead of the project's own; can be repeated, `-` is standard input. Before the command
    /// also `-f`
    #[arg(long = "file", global = true, value_name = "FILE", help_heading = "Global options")]
    files: Vec<String>,

    // Several commands have a `-f` or a `-p` of their own, as they have with Compose.
    #[arg(short = 'f', value_name = "FILE", hide = true)]
    files_before: Vec<String>,

    /// The project's name, instead of what its files or folder say. Before the command also `-p`
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    project_name: Option<String>,

    #[arg(short = 'p', value_name = "NAME", hide = true)]
    project_name_before: Option<String>,

    /// Take in the services of this Compose profile too, `*` for all; can be repeated
    #[arg(long = "profile", global = true, value_name = "NAME", help_heading = "Global options")]
    profiles: Vec<String>,

    /// Take variables from this file instead of `.env`; can be repeated
    #[arg(long = "env-file", global = true, value_name = "FILE", help_heading = "Global options")]
    env_files: Vec<String>,

    /// Where relative paths of Compose files begin, instead of the folder of the first one
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    project_directory: Option<PathBuf>,

    // For a supervisor in the background, whose standard input is taken.
    #[arg(long, global = true, hide = true)]
    standard_input: Option<PathBuf>,

    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    /// Runs the stack in the background; `devctl up -d` starts it
    #[command(hide = true)]
    Supervise,
    Attach(attach::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Kill(kill::Args),
    Rm(rm::Args),
    Scale(scale::Args),
    Reload(reload::Args),
    Wait(wait::Args),
    Down(down::Args),
    Ps(ps::Args),
    Why(why::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Run(run::Args),
    Cp(cp::Args),
    Pause(pause::Args),
    Unpause(pause::UnpauseArgs),
    Port(port::Args),
    Top(top::Args),
    Images(images::Args),
    Pull(pull::Args),
    #[command(hide = true)]
    Push(pull::PushArgs),
    Volumes(volumes::Args),
    Stats(usage::Args),
    Events(events::Args),
    Ls(ls::Args),
    Db(db::Args),
    Config(config::Args),
    Completions(completions::Args),
    Version(version::Args),
    #[command(name = crate::driver::guardian::COMMAND, hide = true)]
    Guard(guard::Args),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// What the user asked for: by the option, else by `FORCE_COLOR`. `NO_COLOR`, `CLICOLOR_FORCE` and the terminal are
    /// looked at by whoever prints.
    fn choice(self, env: &BTreeMap<String, String>) -> ColorChoice {
        let is_set = |name| env.get(name).is_some_and(|value: &String| !value.is_empty());
        match self {
            Self::Never => ColorChoice::Never,
            Self::Auto if is_set("NO_COLOR") || !is_set("FORCE_COLOR") => ColorChoice::Auto,
            Self::Auto if env.get("FORCE_COLOR").is_some_and(|value| matches!(value.as_str(), "0" | "false")) => {
                ColorChoice::Never
            }
            Self::Auto | Self::Always => ColorChoice::Always,
        }
    }
}

/// What every command gets besides its own settings.
#[derive(Clone, Debug)]
struct Context {
    /// Which project is meant.
    request: Request,
    /// The environment devctl was started with.
    env: BTreeMap<String, String>,
    /// Whether there are colours.
    color: ColorChoice,
}

impl Context {
    fn new(global: Global) -> Result<Self, Error> {
        let current = || env::current_dir().map_err(|error| Error::io("cannot tell which folder this is", error));
        let start = match global.directory {
            None => current()?,
            Some(folder) if !files::is_dir(&folder) => {
                return Err(Error::new(Blame::Configuration, format!("there is no folder `{}`", folder.display())));
            }
            Some(folder) if folder.is_absolute() => folder,
            Some(folder) => current()?.join(folder),
        };
        let env = env::all();
        let color = global.color.choice(&env);
        let compose_files: Vec<String> = global.files_before.into_iter().chain(global.files).collect();
        let standard_input = if compose_files.iter().any(|file| file == "-") {
            let text = match global.standard_input {
                Some(kept) => files::read(&kept),
                None => io::read_to_string(io::stdin()),
            };
            Some(text.map_err(|error| Error::io("cannot read standard input, which `--file -` names", error))?)
        } else {
            None
        };
        let request = Request {
            start,
            files: compose_files,
            project_name: global.project_name.or(global.project_name_before),
            profiles: global.profiles,
            env_files: global.env_files,
            project_directory: global.project_directory,
            standard_input,
        };
        Ok(Self { request, env, color })
    }

    /// Reads the project's files.
    fn manifest(&self) -> Result<Manifest, Error> {
        self.request.load(&self.env).map_err(Error::problems)
    }
}

/// Parses the arguments, runs the command, prints its error, and answers with the exit code. The one place where a
/// runtime is made, and only once the arguments are known to be right.
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Cli { global, command } = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads to its end (`devctl --help | head`) is no error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut link = None;
    if let Command::Up(args) = &command
        && args.in_foreground()
    {
        // Here, where there is one thread and nothing is open yet.
        match launcher::split() {
            Role::Alone => {}
            Role::Supervisor(to_launcher) => link = Some(to_launcher),
            Role::Launcher(code) => return code,
        }
    }
    let color = global.color.choice(&env::all());
    let code = Context::new(global).and_then(|context| run(command, context, link));
    ExitCode::from(code.unwrap_or_else(|error| {
        error.print(color);
        error.exit_code()
    }))
}

fn run(command: Command, context: Context, link: Option<Link>) -> Result<u8, Error> {
    match command {
        Command::Completions(args) => completions::run(args.settings()),
        Command::Guard(guard::Args {}) => guard::run(),
        Command::Config(args) => config::run(&args.settings(), &context),
        Command::Up(args) => block_on(up::run(args.invocation(), context, link)),
        Command::Supervise => block_on(up::run_in_background(context)),
        Command::Attach(args) => block_on(attach::run(args.settings(), context)),
        Command::Start(args) => block_on(start::run(args.settings(), context)),
        Command::Stop(args) => block_on(stop::run(args.settings(), context)),
        Command::Restart(args) => block_on(restart::run(args.settings(), context)),
        Command::Kill(args) => block_on(kill::run(args.settings(), context)),
        Command::Rm(args) => block_on(rm::run(args.settings(), context)),
        Command::Scale(args) => block_on(scale::run(args.settings(), context)),
        Command::Reload(args) => block_on(reload::run(args.settings(), context)),
        Command::Wait(args) => block_on(wait::run(args.settings(), context)),
        Command::Down(args) => block_on(down::run(args.settings(), context)),
        Command::Ps(args) => block_on(ps::run(args.settings(), context)),
        Command::Why(args) => block_on(why::run(args.settings(), context)),
        Command::Logs(args) => block_on(logs::run(args.settings(), context)),
        Command::Version(args) => version::run(args.settings(), &context),
        Command::Run(args) => block_on(run::run(args.settings(), context)),
        Command::Exec(args) => block_on(exec::run(args.settings(), context)),
        Command::Cp(args) => block_on(cp::run(args.settings(), context)),
        Command::Pause(args) => block_on(pause::run(args.settings(), context)),
        Command::Unpause(args) => block_on(pause::run(args.settings(), context)),
        Command::Port(args) => block_on(port::run(args.settings(), context)),
        Command::Top(args) => block_on(top::run(args.settings(), context)),
        Command::Pull(args) => block_on(pull::run(args.settings(), context)),
        Command::Push(_) => Err(pull::refuse_to_push()),
        Command::Images(args) => block_on(images::run(args.settings(), context)),
        Command::Volumes(args) => block_on(volumes::run(args.settings(), context)),
        Command::Stats(args) => block_on(usage::run(args.settings(), context)),
        Command::Events(args) => block_on(events::run(args.settings(), context)),
        Command::Ls(args) => block_on(ls::run(args.settings(), context)),
        Command::Db(args) => block_on(db::run(args.settings(), context)),
    }
}

fn block_on(work: impl Future<Output = Result<u8, Error>>) -> Result<u8, Error> {
    // Two threads: one may be busy with a flood of logs while the other answers a signal. More would only cost memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start devctl's threads", error))?;
    let code = runtime.block_on(work);
    // A read of standard input that never comes back must not keep devctl from ending.
    runtime.shutdown_background();
    code
}

/// The project's folder: that of its files, or where these are gone, the one in which a run is under way.
fn project_folder(context: &Context) -> Result<PathBuf, Error> {
    context.request.root(&context.env).or_else(|problems| {
        let around = StateDir::around(&env::current_dir().unwrap_or_default().join(&context.request.start));
        around.map(|state| state.root().to_owned()).ok_or_else(|| Error::problems(problems))
    })
}
