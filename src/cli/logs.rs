//! `devctl logs`.

mod containers;
pub(super) mod moment;

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use regex::Regex;

use super::Context;
use super::output::{self, Printed};
use crate::advice::Blame;
use crate::error::Error;
use crate::logs::LogLine;
use crate::logs::level::Level;
use crate::logs::read::{self, Filter, Query};
use crate::name::ServiceName;
use crate::os::clock;
use crate::report::{LogObjects, LogPrinter};
use crate::state::StateDir;

/// How many lines of each service are shown where nothing else is asked for.
const TAIL: usize = 100;

/// Show what services printed
///
/// Reads the files that `devctl up` keeps under `.devctl/logs`, so it works while the stack runs and after. Lines of
/// several services are merged by time. Containers of the project that run without devctl are asked for on the Docker
/// Engine.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl logs                       the last 100 lines of every service
  devctl logs -f api                follow one service
  devctl logs --tail 20 db api      the last 20 lines of each of two
  devctl logs --since 10m --level warn
                                    what went wrong in the last ten minutes
  devctl logs --previous api        what it printed before its last start
  devctl logs --grep 'timeout|refused' --tail all
  devctl logs --json api | jq 'select(.fields.status >= 500)'")]
pub(super) struct Args {
    /// Services to show; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// One more service to show; can be repeated
    #[arg(long = "service", value_name = "SERVICE")]
    more: Vec<ServiceName>,

    /// Go on with new lines as they come
    #[arg(short, long)]
    follow: bool,

    /// How many of the last lines of each service to begin with, or `all`; 100, and all where another option says which
    #[arg(short = 'n', long, value_name = "N", value_parser = tail)]
    tail: Option<Tail>,

    /// Nothing before this: `10m` (ago), `2026-11-20T08:00:00Z`, `2026-11-20 08:00`, `08:00`
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Timestamp>,

    /// Nothing after this
    #[arg(long, value_name = "TIME", value_parser = moment::parse, conflicts_with = "follow")]
    until: Option<Timestamp>,

    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX", value_parser = regex)]
    grep: Option<Regex>,

    /// Only lines of this level and worse: trace, debug, info, warn, error, fatal
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,

    /// What each service printed before its last start, from the start before that
    #[arg(long, conflicts_with = "follow")]
    previous: bool,

    /// One JSON object per line, with level and fields
    #[arg(long)]
    json: bool,

    /// Leave out the name of the service before each line
    #[arg(long)]
    no_prefix: bool,

    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
}

/// How many lines to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    All,
    Lines(usize),
}

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail::All),
        number => number.parse().map(Tail::Lines).map_err(|_| "expected a number, or `all`".to_owned()),
    }
}

fn level(text: &str) -> Result<Level, String> {
    Level::of_word(text).ok_or_else(|| "expected trace, debug, info, warn, error or fatal".to_owned())
}

fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("{reason}; for the text itself: {}", regex::escape(text))
    })
}

/// What `devctl logs` was asked for.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The services; all where empty.
    pub(super) services: Vec<ServiceName>,
    /// `--follow`.
    pub(super) follow: bool,
    /// `--tail`; `None` for all.
    pub(super) tail: Option<usize>,
    /// `--since`.
    pub(super) since: Option<Timestamp>,
    /// `--until`.
    pub(super) until: Option<Timestamp>,
    /// `--grep`.
    pub(super) grep: Option<Regex>,
    /// `--level`.
    pub(super) level: Option<Level>,
    /// `--previous`.
    pub(super) previous: bool,
    /// How a line is printed.
    pub(super) form: Form,
}

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `--json`.
    Json,
    /// For people, without `--no-prefix` and with `--timestamps`.
    Text { prefix: bool, times: bool },
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { mut services, more, follow, tail, since, until, grep, level, previous, json, no_prefix, timestamps } =
            self;
        for service in more {
            if !services.contains(&service) {
                services.push(service);
            }
        }
        let says_which = since.is_some() || until.is_some() || grep.is_some() || level.is_some() || previous;
        let tail = match tail {
            Some(Tail::Lines(n)) => Some(n),
            Some(Tail::All) => None,
            None => (!says_which).then_some(TAIL),
        };
        let form = if json { Form::Json } else { Form::Text { prefix: !no_prefix, times: timestamps } };
        Settings { services, follow, tail, since, until, grep, level, previous, form }
    }
}

/// Prints logs, and goes on with new lines until Ctrl+C or until nobody reads them.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { services, follow, tail, since, until, grep, level, previous, form } = settings;
    let state = StateDir::of(&context.request.root(&context.env)?);
    let folder = state.logs();
    let failed = |error| Error::io(format!("cannot read the logs in `{}`", folder.display()), error);
    let query =
        Query { services, tail, since, until, previous, filter: Filter::new(grep, level), follow, ..Query::default() };
    let mut known = read::services(&folder).map_err(failed)?;
    let containers = containers::find(&state, &query, &known, &context).await;
    for service in containers.services() {
        if !known.contains(service) {
            known.push(service.clone());
        }
    }
    // Who follows may be early; who looks back at what never was has mistyped.
    if !follow {
        check(&query.services, &known, &folder, containers.away())?;
    }
    let printer = Printer::new(form, if query.services.is_empty() { &known } else { &query.services }, &context);
    let remotes = containers.read(&folder, &query).map_err(failed)?;
    let mut lines = read::open(&folder, &query, remotes).map_err(failed)?;
    while let Some(lines) = lines.next().await.map_err(failed)? {
        if printer.print(&lines, &context)? == Printed::ReaderGone {
            break;
        }
    }
    Ok(0)
}

enum Printer {
    Json(Box<LogObjects>),
    Text(LogPrinter),
}

impl Printer {
    fn new(form: Form, services: &[ServiceName], context: &Context) -> Self {
        let Form::Text { prefix, times } = form else { return Self::Json(Box::default()) };
        let mut printer = LogPrinter::new(services, context.color);
        if !prefix {
            printer = printer.without_prefix();
        }
        if times {
            printer = printer.with_times(clock::local().time_zone().clone());
        }
        Self::Text(printer)
    }

    fn print(&self, lines: &[LogLine], context: &Context) -> Result<Printed, Error> {
        let mut text = String::new();
        for line in lines {
            let _ = match self {
                Self::Json(objects) => writeln!(text, "{}", objects.line(line)),
                Self::Text(printer) => writeln!(text, "{}", printer.line(line)),
            };
        }
        output::print(&text, context.color)
    }
}

fn check(asked: &[ServiceName], known: &[ServiceName], folder: &Path, away: Option<&str>) -> Result<(), Error> {
    let with_away = |error: Error| match away {
        Some(away) => error.note(format!("containers could not be looked for: {away}")),
        None => error,
    };
    if known.is_empty() {
        let message = format!("there are no logs in `{}` yet", folder.display());
        return Err(with_away(Error::new(Blame::Configuration, message).hint("`devctl up` writes them")));
    }
    let Some(missing) = asked.iter().find(|name| !known.contains(name)) else { return Ok(()) };
    let known: Vec<&str> = known.iter().map(ServiceName::as_str).collect();
    let near = known.iter().find(|name| strsim::damerau_levenshtein(name, missing.as_str()) <= 2);
    let error = with_away(Error::new(Blame::Configuration, format!("there are no logs of `{missing}`")));
    Err(match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("there are logs of {}", known.join(", "))),
    })
}
