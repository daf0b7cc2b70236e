//! `devctl logs`.

use std::fmt::Write as _;
use std::path::Path;

use super::Context;
use super::output::{self, Printed};
use crate::advice::Blame;
use crate::error::Error;
use crate::logs::{LogLine, read};
use crate::manifest;
use crate::name::ServiceName;
use crate::report::LogPrinter;
use crate::state::StateDir;

/// Show what services printed
///
/// Reads the files that `devctl up` keeps under `.devctl/logs`, so it works while the stack runs and after. Lines of
/// several services are merged by time.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl logs                  the last 100 lines of every service
  devctl logs -f api           follow one service
  devctl logs --tail 20 db api the last 20 lines of each of two")]
pub(super) struct Args {
    /// Services to show; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// Go on with new lines as they come
    #[arg(short, long)]
    follow: bool,

    /// How many lines of each service to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    tail: usize,
}

/// What `devctl logs` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The services; all where empty.
    pub(super) services: Vec<ServiceName>,
    /// `--follow`.
    pub(super) follow: bool,
    /// `--tail`.
    pub(super) tail: usize,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { services, follow, tail } = self;
        Settings { services, follow, tail }
    }
}

/// Prints logs, and goes on with new lines until Ctrl+C or until nobody reads them.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, follow, tail } = settings;
    let folder = StateDir::of(&manifest::discover(&context.start)?).logs();
    let failed = |error| Error::io(format!("cannot read the logs in `{}`", folder.display()), error);
    let known = read::services(&folder).map_err(failed)?;
    // Who follows may be early; who looks back at what never was has mistyped.
    if !follow {
        check(&services, &known, &folder)?;
    }
    let shown = if services.is_empty() { &known } else { &services };
    let mut printer = LogPrinter::new(shown, context.color);
    if !follow {
        let lines = read::tail(&folder, &services, tail).map_err(failed)?;
        print(&mut printer, &lines, &context)?;
        return Ok(0);
    }
    let mut lines = read::follow(&folder, &services, tail).map_err(failed)?;
    loop {
        let lines = lines.next().await.map_err(failed)?;
        if print(&mut printer, &lines, &context)? == Printed::ReaderGone {
            return Ok(0);
        }
    }
}

fn print(printer: &mut LogPrinter, lines: &[LogLine], context: &Context) -> Result<Printed, Error> {
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "{}", printer.line(line));
    }
    output::print(&text, context.color)
}

fn check(asked: &[ServiceName], known: &[ServiceName], folder: &Path) -> Result<(), Error> {
    if known.is_empty() {
        let message = format!("there are no logs in `{}` yet", folder.display());
        return Err(Error::new(Blame::Configuration, message).hint("`devctl up` writes them"));
    }
    let Some(missing) = asked.iter().find(|name| !known.contains(name)) else { return Ok(()) };
    let known: Vec<&str> = known.iter().map(ServiceName::as_str).collect();
    let near = known.iter().find(|name| strsim::damerau_levenshtein(name, missing.as_str()) <= 2);
    let error = Error::new(Blame::Configuration, format!("there are no logs of `{missing}`"));
    Err(match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("there are logs of {}", known.join(", "))),
    })
}
