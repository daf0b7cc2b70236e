//! How a run looks: to a person at a terminal, in a file, to a program.
//!
//! Reporters see events and log lines and know nothing of the engine. They run on a thread of their own, so that a
//! terminal that is paused or slow never holds up the run: events wait in an unbounded queue, log lines are dropped with
//! a count.

mod board;
mod clean;
mod gauge;
mod json;
mod json_line;
mod log_printer;
mod paint;
mod phrase;
mod plain;
mod pretty;
mod steer;
mod table;
#[cfg(test)]
mod tests;
mod trace;
mod unpadded;
pub mod why;
mod words;

pub use log_printer::{LogObjects, LogPrinter};
pub use steer::{Steer, Steering, steering};
pub use words::{bytes, duration};

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use console::Term;
use futures_util::FutureExt as _;
use indicatif::ProgressDrawTarget;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use crate::event::{Event, EventKind};
use crate::logs::{Delivery, Subscription};
use crate::name::{NodeId, ProjectName, ServiceName};
use crate::os::{clock, env};

/// More than a person can see, and a slow link can carry.
const REDRAWS_PER_SECOND: u8 = 20;

/// How a run is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Pretty on a terminal, plain elsewhere.
    #[default]
    Auto,
    /// Live progress, a table, coloured logs.
    Pretty,
    /// One plain line per event.
    Plain,
    /// One JSON object per line.
    Json,
}

/// What the reporters are told besides the events.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The services, in the order of the manifest.
    pub rows: Vec<ServiceRow>,
    /// What each node needs; the critical path is found from it. What `Waiting` events tell is added.
    pub needs: Vec<(NodeId, Vec<NodeId>)>,
    /// Whether logs are shown while the stack comes up, too. Plain and JSON always show them.
    pub verbose: bool,
    /// Whether there are colours.
    pub color: ColorChoice,
    /// What to say about leaving.
    pub way_out: WayOut,
}

/// How whoever sits at the terminal gets rid of the run, or of seeing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WayOut {
    /// Ctrl+C stops everything.
    #[default]
    Stop,
    /// The same, and keys are read.
    Keys,
    /// Ctrl+C leaves the run alone.
    Leave,
    /// It runs in the background, and this terminal is free.
    Background,
}

/// What a run is called in its first line: `integrador on Docker Engine 20.10.24 (API 1.41)`.
pub fn headline(project: &ProjectName, driver: &str, why: &str) -> String {
    format!("{project}{}", phrase::headline(driver, why))
}

/// What is known of a service before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its name.
    pub name: ServiceName,
    /// What it is.
    pub kind: Kind,
    /// Where people reach it: URLs and connection strings. Printed as they are, so secrets must be masked already.
    pub addresses: Vec<String>,
}

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container.
    Container,
    /// An embedded server.
    Embedded,
    /// A host program.
    Process,
    /// Something that devctl does not start.
    Expected,
}

/// Why the reporter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a reader that is gone will not see how the run ends"]
pub enum Ended {
    /// The last event was printed.
    Finished,
    /// Whoever read standard output is gone (`devctl up | head`).
    ReaderGone,
    /// It was asked to, and the run goes on unseen.
    Left,
}

/// One way to show a run.
trait Reporter {
    /// Shows an event. `now_ms` counts as [`Event::at_ms`] does.
    fn event(&mut self, event: &Event, now_ms: u64) -> io::Result<()>;

    /// Shows log lines.
    fn logs(&mut self, delivery: &Delivery) -> io::Result<()>;

    /// Brings live lines up to date.
    fn refresh(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// Shows live lines or does without; those on the screen are taken off at once.
    fn live(&mut self, on: bool) {
        let _ = on;
    }

    /// Says something that is no part of the run to whoever pressed a key.
    fn say(&mut self, text: &str) -> io::Result<()> {
        let _ = text;
        Ok(())
    }

    /// How often [`Self::refresh`] is wanted when nothing happens.
    fn tick(&self) -> Option<Duration> {
        None
    }
}

/// Shows a run on standard output until its last event is printed, or until nobody reads it any more.
///
/// An error of standard output ends it early too; the run itself goes on, and whoever called decides what becomes of it.
/// When `events` ends without a last event, so does this.
pub async fn run(
    format: Format,
    events: UnboundedReceiver<Event>,
    logs: Subscription,
    options: Options,
) -> io::Result<Ended> {
    let (_nobody, steering) = steering();
    run_steered(format, events, logs, steering, options).await
}

/// [`run`], with somebody at the terminal who may look away and come back.
pub async fn run_steered(
    format: Format,
    events: UnboundedReceiver<Event>,
    mut logs: Subscription,
    steering: Steering,
    options: Options,
) -> io::Result<Ended> {
    let runtime = tokio::runtime::Handle::current();
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name("report".to_owned()).spawn(move || {
        let mut reporter = reporter(format, options);
        let ended = runtime.block_on(drive(reporter.as_mut(), events, async || logs.recv().await, steering));
        drop(reporter);
        // Nobody waits any more when the caller was cancelled; there is nobody to tell.
        let _ = done.send(ended);
    })?;
    ended.await.unwrap_or_else(|_| Err(io::Error::other("the reporter panicked")))
}

/// Whether a run in this format has live lines on a terminal, at which somebody may press keys.
pub fn is_live(format: Format) -> bool {
    chosen(format) == Format::Pretty && io::stdout().is_terminal()
}

/// The format that is meant by one that leaves it open.
fn chosen(format: Format) -> Format {
    match format {
        Format::Auto if io::stdout().is_terminal() && !is_dumb() => Format::Pretty,
        Format::Auto => Format::Plain,
        Format::Pretty | Format::Plain | Format::Json => format,
    }
}

fn reporter(format: Format, options: Options) -> Box<dyn Reporter> {
    let stdout = io::stdout();
    match chosen(format) {
        Format::Json => Box::new(json::Json::new(stdout)),
        Format::Auto | Format::Plain => {
            Box::new(plain::Plain::new(stdout, options.rows, trace::Trace::new(options.needs)))
        }
        Format::Pretty => {
            let paint = paint::Paint::for_stdout(options.color);
            let choice = if paint.is_on() { ColorChoice::Always } else { ColorChoice::Never };
            let is_terminal = stdout.is_terminal();
            let screen = pretty::Screen {
                live: if is_terminal {
                    let terminal = unpadded::Unpadded::new(Term::buffered_stdout());
                    ProgressDrawTarget::term_like_with_hz(Box::new(terminal), REDRAWS_PER_SECOND)
                } else {
                    ProgressDrawTarget::hidden()
                },
                is_terminal,
                out: Box::new(AutoStream::new(stdout, choice)),
                width: Box::new(|| Term::stdout().size_checked().map(|(_, width)| width)),
            };
            Box::new(pretty::Pretty::new(screen, options, paint))
        }
    }
}

/// Whether standard output will show a run, and what its programs print, in colours.
pub fn shows_colours(format: Format, color: ColorChoice) -> bool {
    let stdout = io::stdout();
    let is_pretty = match format {
        Format::Auto => !is_dumb(),
        Format::Pretty => true,
        Format::Plain | Format::Json => false,
    };
    is_pretty && stdout.is_terminal() && paint::Paint::for_stdout(color).is_on()
}

/// A terminal that cannot move its cursor.
fn is_dumb() -> bool {
    env::all().get("TERM").is_some_and(|term| term == "dumb")
}

/// The one loop of the reporters. `logs` must be cancel-safe, as receiving from a channel is.
async fn drive(
    reporter: &mut dyn Reporter,
    mut events: UnboundedReceiver<Event>,
    mut logs: impl AsyncFnMut() -> Option<Delivery>,
    mut steering: Steering,
) -> io::Result<Ended> {
    let mut clock = Clock { at_ms: 0, seen: clock::now() };
    let mut logs_open = true;
    let mut paused = false;
    // Events that nobody could look at yet.
    let mut kept = VecDeque::new();
    let ended = loop {
        let tick = if paused { None } else { reporter.tick() };
        let step = tokio::select! {
            // What somebody asks for first, then events: they are few, and a flood of logs must not hide that a service
            // failed.
            biased;
            steer = steering.next() => Step::Steer(steer),
            event = events.recv() => Step::Event(event),
            // Nobody takes lines while the shell has the terminal: they are dropped and counted as for a slow one.
            delivery = logs(), if logs_open && !paused => Step::Logs(delivery),
            () = tokio::time::sleep(tick.unwrap_or_default()), if tick.is_some() => Step::Tick,
        };
        let printed = match step {
            Step::Steer(Steer::Pause(done)) => {
                paused = true;
                reporter.live(false);
                // Whoever asked may have lost patience.
                let _ = done.send(());
                Ok(())
            }
            Step::Steer(Steer::Resume { live }) => {
                paused = false;
                reporter.live(live);
                Ok(())
            }
            Step::Steer(Steer::Say(text)) => reporter.say(&text),
            Step::Steer(Steer::Leave(text, done)) => {
                reporter.live(false);
                let said = reporter.say(&text);
                let _ = done.send(());
                break said.map(|()| Ended::Left);
            }
            Step::Event(None) => break Ok(Ended::Finished),
            Step::Event(Some(event)) => {
                // There is nothing to come back to: what is left to say is said into the shell's terminal.
                paused &= !matches!(event.kind, EventKind::Finished { .. });
                kept.push_back(event);
                Ok(())
            }
            Step::Logs(Some(delivery)) => reporter.logs(&delivery),
            Step::Logs(None) => {
                logs_open = false;
                Ok(())
            }
            Step::Tick => Ok(()),
        };
        if let Err(error) = printed {
            break Err(error);
        }
        if paused {
            continue;
        }
        let mut finished = false;
        let mut printed = Ok(());
        while let (Ok(()), Some(event)) = (&printed, kept.pop_front()) {
            clock = Clock { at_ms: event.at_ms, seen: clock::now() };
            // What was printed before the end comes before the end.
            if matches!(event.kind, EventKind::Receipt(_) | EventKind::Finished { .. }) {
                while let (Ok(()), true) = (&printed, logs_open) {
                    match logs().now_or_never() {
                        Some(Some(delivery)) => printed = reporter.logs(&delivery),
                        Some(None) => logs_open = false,
                        None => break,
                    }
                }
            }
            printed = printed.and_then(|()| reporter.event(&event, clock.now_ms()));
            finished = matches!(event.kind, EventKind::Finished { .. });
        }
        match printed {
            Err(error) => break Err(error),
            Ok(()) if finished => break Ok(Ended::Finished),
            Ok(()) => {}
        }
        // A burst of events is drawn once.
        if events.is_empty() {
            reporter.refresh(clock.now_ms());
        }
    };
    match ended {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ended::ReaderGone),
        ended => ended,
    }
}

enum Step {
    Steer(Steer),
    Event(Option<Event>),
    Logs(Option<Delivery>),
    Tick,
}

/// Carries the time of the last event on: the reporter does not know when the command began.
struct Clock {
    at_ms: u64,
    seen: Instant,
}

impl Clock {
    fn now_ms(&self) -> u64 {
        self.at_ms.saturating_add(crate::event::millis(clock::now().duration_since(self.seen)))
    }
}

/// The line that stands for lines that were not shown.
fn dropped(count: u64) -> String {
    format!("… {} not shown, `devctl logs` has them\n", words::count(count, "line", "lines"))
}
