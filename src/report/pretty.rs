//! Output for a person at a terminal: live lines while the stack comes up and goes down, a table of what runs where,
//! and the merged logs between the two.
//!
//! All text goes through one place that takes the live lines off the screen first. indicatif's own `println` is not
//! used: it prints nothing when the output is no terminal.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::Board;
use super::paint::{BAD, BOLD, DIM, GOOD, Paint, WARN};
use super::phrase::DetailKind;
use super::trace::Trace;
use super::{Kind, LogPrinter, Options, Reporter, ServiceRow, WayOut, clean, phrase, table, words};
use crate::event::{Event, EventKind, Failure, Outcome, StopCause};
use crate::logs::{Delivery, LogLine};
use crate::name::{NodeId, ServiceName};

/// How often times on the screen move.
const TICK: Duration = Duration::from_millis(100);

/// How many lines of a service are held back, and shown where it does not get ready or does not stop.
const HELD_LINES: usize = 10;

/// Where a [`Pretty`] draws.
pub(super) struct Screen {
    /// Where live lines are drawn.
    pub(super) live: ProgressDrawTarget,
    /// Whether it is one that a person looks at.
    pub(super) is_terminal: bool,
    /// Where everything else goes: the same terminal.
    pub(super) out: Box<dyn Write + Send>,
    /// The terminal's width now, where it is one.
    pub(super) width: Box<dyn Fn() -> Option<u16> + Send>,
}

/// Prints events and log lines for a person.
pub(super) struct Pretty {
    lines: MultiProgress,
    bars: Vec<(ProgressBar, String)>,
    out: Box<dyn Write + Send>,
    width: Box<dyn Fn() -> Option<u16> + Send>,
    paint: Paint,
    is_terminal: bool,
    rows: Vec<ServiceRow>,
    verbose: bool,
    way_out: WayOut,
    /// Whether live lines are shown.
    live: bool,
    board: Board,
    trace: Trace,
    stage: Stage,
    printer: LogPrinter,
    held: HashMap<ServiceName, VecDeque<LogLine>>,
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Running,
    Stopping,
    Over,
}

impl Pretty {
    pub(super) fn new(screen: Screen, options: Options, paint: Paint) -> Self {
        let Options { rows, needs, verbose, color: _, way_out } = options;
        Self {
            lines: MultiProgress::with_draw_target(screen.live),
            bars: Vec::new(),
            out: screen.out,
            width: screen.width,
            paint,
            printer: LogPrinter::with(rows.iter().map(|row| &row.name), paint, screen.is_terminal),
            is_terminal: screen.is_terminal,
            rows,
            verbose,
            way_out,
            live: true,
            board: Board::default(),
            trace: Trace::new(needs),
            stage: Stage::Starting,
            held: HashMap::new(),
        }
    }

    /// Prints text above the live lines.
    fn print(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let Self { lines, out, .. } = self;
        lines.suspend(|| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    /// Makes the live lines these.
    fn show(&mut self, lines: Vec<String>) {
        while self.bars.len() > lines.len() {
            if let Some((bar, _)) = self.bars.pop() {
                bar.finish_and_clear();
                self.lines.remove(&bar);
            }
        }
        for (i, line) in lines.into_iter().enumerate() {
            match self.bars.get_mut(i) {
                Some((_, shown)) if *shown == line => {}
                Some((bar, shown)) => {
                    bar.set_message(line.clone());
                    *shown = line;
                }
                None => {
                    let bar = self.lines.add(ProgressBar::new_spinner().with_style(line_style()));
                    bar.set_message(line.clone());
                    self.bars.push((bar, line));
                }
            }
        }
    }

    fn hint(&self, text: &str) -> String {
        format!("  {} {}\n", self.paint.paint(WARN, "hint:"), clean::first_line(text))
    }

    /// A line of a log within another text.
    fn quoted(&self, line: &str, style: Option<Style>) -> String {
        match (self.printer.readable(line), style) {
            (Some(readable), _) => readable.replace('\n', "\n      "),
            (None, Some(style)) => self.paint.paint(style, &clean::line(line, false)),
            (None, None) => clean::line(line, false),
        }
    }

    /// The block about a failure: everything that is known of it.
    fn failure(&self, node: &NodeId, failure: &Failure) -> String {
        let title = format!("{} {}", self.paint.paint(BAD, "error:"), phrase::reason(node, failure));
        let mut text = format!("{title}\n");
        for detail in phrase::failure_details(node, failure, &self.board) {
            let line = match detail.kind {
                DetailKind::Fact => format!("  {}\n", detail.text),
                DetailKind::FirstError => format!("  first error: {}\n", self.quoted(&detail.text, None)),
                DetailKind::Log => format!("    {}\n", self.quoted(&detail.text, Some(DIM))),
                DetailKind::Hint => self.hint(&detail.text),
            };
            text.push_str(&line);
        }
        text
    }

    fn ready(&self, elapsed_ms: u64, unready: &[ServiceName]) -> String {
        let mut text = String::from("\n");
        text.push_str(&table::render(&self.rows, &self.board, (self.width)(), self.paint));
        text.push('\n');
        if let Some(path) = self.trace.critical_path() {
            let _ = writeln!(text, "{}", self.paint.paint(DIM, &path));
        }
        let took = words::took(elapsed_ms);
        let headline = if unready.is_empty() {
            self.paint.paint(GOOD, &format!("Ready{took}"))
        } else {
            self.paint.paint(WARN, &format!("Up{took}, not ready: {}", words::comma(unready)))
        };
        let way_out = match self.way_out {
            WayOut::Stop => "Ctrl+C stops everything",
            WayOut::Keys => "Ctrl+C stops everything, d detaches, ? shows the keys",
            WayOut::Leave => "Ctrl+C leaves it running",
            WayOut::Background => "`devctl attach` shows it, `devctl down` stops it",
        };
        let _ = writeln!(text, "{headline} · {way_out}\n");
        for service in unready {
            text.push_str(&self.held_back(service));
        }
        text
    }

    /// What a service printed last while nobody wanted to see it.
    fn held_back(&self, service: &ServiceName) -> String {
        let mut text = String::new();
        for line in self.held.get(service).into_iter().flatten() {
            let _ = writeln!(text, "{}", self.printer.line(line));
        }
        text
    }

    /// Whether what a service prints now is worth a place on the screen. While the stack comes up the live lines tell,
    /// and while it goes down the reason must not scroll away: databases say a dozen lines each about their end, which
    /// matter only where it does not come.
    fn shows_lines_of(&self, service: &ServiceName) -> bool {
        let is_program = || self.rows.iter().any(|row| row.name == *service && row.kind == Kind::Process);
        let is_overdue = || self.board.service(service).is_some_and(|node| node.overdue_ms.is_some());
        match self.board.stopping() {
            None => self.verbose || self.stage != Stage::Starting,
            Some(StopCause::Failure) => self.verbose || is_overdue(),
            Some(StopCause::Signal(_) | StopCause::Command | StopCause::AllExited) => {
                self.verbose || is_program() || is_overdue()
            }
        }
    }

    fn hold(&mut self, line: LogLine) {
        let held = self.held.entry(line.service.clone()).or_default();
        if held.len() == HELD_LINES {
            held.pop_front();
        }
        held.push_back(line);
    }

    /// A line about a service among the logs, in the place where its own lines are.
    fn among_logs(&self, node: &NodeId, style: Style, text: &str) -> String {
        let prefix = match node.service() {
            Some(service) => self.printer.prefix(service),
            None => self.paint.paint(DIM, &format!("{node} |")),
        };
        format!("{prefix} {}\n", self.paint.paint(style, text))
    }

    fn text_of(&self, event: &Event) -> String {
        match &event.kind {
            EventKind::RunStarted { project, driver, why, .. } => {
                let more = self.paint.paint(DIM, &phrase::headline(driver, why));
                format!("{}{more}\n", self.paint.paint(BOLD, project.as_str()))
            }
            EventKind::Note { message } => format!("{}\n", clean::first_line(message)),
            EventKind::Warning { node, message, hints } => {
                let node = node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
                let mut text = format!("{} {node}{}\n", self.paint.paint(WARN, "warning:"), clean::first_line(message));
                for hint in hints {
                    text.push_str(&self.hint(hint));
                }
                text
            }
            EventKind::Failed { node, failure } => self.failure(node, failure),
            EventKind::StackReady { elapsed_ms, unready } => self.ready(*elapsed_ms, unready),
            EventKind::StackStopping { cause } => {
                format!("\n{}\n", self.paint.paint(BOLD, &format!("Stopping: {}", phrase::stop_cause(*cause))))
            }
            EventKind::Killing { node } => {
                let text = format!("{node} {}", phrase::killing(node, &self.board));
                let held = match (node, self.board.get(node).and_then(|node| node.overdue_ms)) {
                    (NodeId::Service(service), Some(_)) => self.held_back(service),
                    (_, _) => String::new(),
                };
                format!("{}\n{held}", self.paint.paint(WARN, &text))
            }
            EventKind::Receipt(receipt) => {
                let mut text = phrase::receipt_lines(receipt, &self.board).join("\n");
                text.push('\n');
                for line in phrase::left_lines(receipt) {
                    let _ = writeln!(text, "{}", self.paint.paint(BAD, &line));
                }
                text
            }
            EventKind::Finished { outcome, .. } => match (outcome, self.board.failed()) {
                (Outcome::Interrupted(_), _) => "Interrupted before everything was ready\n".to_owned(),
                (Outcome::Failed | Outcome::Environment | Outcome::NotReady, Some(reason)) => {
                    format!("{} {reason}\n", self.paint.paint(BAD, "error:"))
                }
                (Outcome::Failed | Outcome::Environment | Outcome::NotReady, None) | (Outcome::Done, _) => {
                    String::new()
                }
            },
            EventKind::Restarting { node, attempt, delay_ms, exit } => {
                self.among_logs(node, WARN, &phrase::restarting(*attempt, *delay_ms, exit))
            }
            EventKind::Renewing { node, cause } => self.among_logs(node, WARN, &phrase::renewing(cause)),
            EventKind::Unhealthy { node, answer, failures } => {
                self.among_logs(node, WARN, &phrase::unhealthy(answer, *failures))
            }
            EventKind::BuildFailed { node, failure } => {
                let reason = clean::first_line(&failure.message);
                self.among_logs(node, BAD, &format!("failed, and what was built before runs on: {reason}"))
            }
            EventKind::Healthy { node } => self.among_logs(node, GOOD, "healthy again"),
            EventKind::Applied { added, changed, removed } => {
                format!("{}\n", self.paint.paint(BOLD, &phrase::applied(added, changed, removed)))
            }
            // While everything is up, a service that comes back or goes is news; before and after, the live lines tell.
            EventKind::Ready { node, elapsed_ms, .. } if self.stage == Stage::Running => {
                self.among_logs(node, GOOD, &format!("ready in {}", words::duration(*elapsed_ms)))
            }
            EventKind::Stopped { node, exit } if self.stage == Stage::Running => {
                self.among_logs(node, WARN, &format!("ended ({exit})"))
            }
            EventKind::Waiting { .. }
            | EventKind::Starting { .. }
            | EventKind::Progress { .. }
            | EventKind::Started { .. }
            | EventKind::Probing { .. }
            | EventKind::Ready { .. }
            | EventKind::Completed { .. }
            | EventKind::Stopping { .. }
            | EventKind::Stopped { .. }
            | EventKind::Removed { .. } => String::new(),
        }
    }
}

impl Reporter for Pretty {
    fn event(&mut self, event: &Event, _now_ms: u64) -> io::Result<()> {
        self.board.on(event);
        self.trace.on(event);
        match &event.kind {
            EventKind::RunStarted { services, .. } => {
                self.printer = LogPrinter::with(services, self.paint, self.is_terminal);
            }
            EventKind::StackReady { .. } => {
                self.stage = Stage::Running;
                self.show(Vec::new());
            }
            EventKind::StackStopping { .. } => {
                // What did not come up stays readable above the stopping.
                self.held.clear();
                self.stage = Stage::Stopping;
                self.show(Vec::new());
            }
            EventKind::Receipt(_) | EventKind::Finished { .. } => {
                self.stage = Stage::Over;
                self.show(Vec::new());
            }
            EventKind::Note { .. }
            | EventKind::Warning { .. }
            | EventKind::Waiting { .. }
            | EventKind::Starting { .. }
            | EventKind::Progress { .. }
            | EventKind::Started { .. }
            | EventKind::Probing { .. }
            | EventKind::Ready { .. }
            | EventKind::Completed { .. }
            | EventKind::Failed { .. }
            | EventKind::Restarting { .. }
            | EventKind::Renewing { .. }
            | EventKind::BuildFailed { .. }
            | EventKind::Unhealthy { .. }
            | EventKind::Healthy { .. }
            | EventKind::Applied { .. }
            | EventKind::Stopping { .. }
            | EventKind::Killing { .. }
            | EventKind::Stopped { .. }
            | EventKind::Removed { .. } => {}
        }
        let text = self.text_of(event);
        if matches!(event.kind, EventKind::StackReady { .. }) {
            self.held.clear();
        }
        self.print(&text)
    }

    fn logs(&mut self, delivery: &Delivery) -> io::Result<()> {
        let mut text = String::new();
        match delivery {
            Delivery::Lines(lines) => {
                for line in lines {
                    if self.shows_lines_of(&line.service) {
                        let _ = writeln!(text, "{}", self.printer.line(&line));
                    } else {
                        self.hold(line);
                    }
                }
            }
            // Where most lines are held back, it is no news that some are not shown.
            Delivery::Dropped(count) if self.verbose || self.stage == Stage::Running => {
                text = self.paint.paint(DIM, &super::dropped(*count));
            }
            Delivery::Dropped(_) => {}
        }
        self.print(&text)
    }

    fn refresh(&mut self, now_ms: u64) {
        let lines = match self.stage {
            _ if !self.live => Vec::new(),
            Stage::Starting => self.board.starting_lines(now_ms, (self.width)().unwrap_or(u16::MAX), self.paint),
            Stage::Stopping => self.board.stopping_lines(now_ms, &self.trace, self.paint),
            Stage::Running | Stage::Over => Vec::new(),
        };
        self.show(lines);
    }

    fn live(&mut self, on: bool) {
        self.live = on;
        if !on {
            self.show(Vec::new());
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint.paint(DIM, text);
        self.print(&format!("{text}\n"))
    }

    fn tick(&self) -> Option<Duration> {
        match self.stage {
            Stage::Starting | Stage::Stopping => self.live.then_some(TICK),
            // Nothing moves by itself while everything runs: devctl sleeps.
            Stage::Running | Stage::Over => None,
        }
    }
}

impl Drop for Pretty {
    /// Takes the live lines off the screen on every way out, an error or a panic among them.
    fn drop(&mut self) {
        self.show(Vec::new());
    }
}

/// A live line is one line: cut at the terminal's edge, whatever its width becomes.
fn line_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").expect("the template is constant and valid")
}
