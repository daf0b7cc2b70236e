//! The one error type of the command line: what failed, why, what to do about it, and the exit code that goes with it.
//!
//! Rooms write their errors beside the code that fails and sort them by who must act ([`Advice`]); here they are all
//! printed alike. No backtrace is ever printed: whoever reads this did not write devctl.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::advice::{Advice, Blame};
use crate::manifest::{Problem, Problems};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Yellow.on_default();
const PLACE: Style = AnsiColor::Blue.on_default().bold();
const BOLD: Style = Style::new().bold();

/// Why a command ended badly.
#[derive(Debug)]
pub struct Error {
    what: What,
    blame: Blame,
    notes: Vec<String>,
    hints: Vec<String>,
}

#[derive(Debug)]
enum What {
    Source(Box<dyn StdError + Send + Sync>),
    Problems(Vec<Problem>),
}

/// A message with the error it came from.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Message {
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl<E: Advice + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let (blame, hints) = (error.blame(), error.hints());
        // Mistakes in files are many in one and have a form of their own.
        if let Some(problems) = (&error as &dyn Any).downcast_ref::<Problems>() {
            return Self { what: What::Problems(problems.0.clone()), blame, notes: Vec::new(), hints };
        }
        Self { what: What::Source(Box::new(error)), blame, notes: Vec::new(), hints }
    }
}

impl Error {
    /// Makes an error of the command line itself.
    pub fn new(blame: Blame, message: impl Into<String>) -> Self {
        let message = Message { message: message.into(), source: None };
        Self { what: What::Source(Box::new(message)), blame, notes: Vec::new(), hints: Vec::new() }
    }

    /// Makes an error of an operation of the system; `what` says what was tried and on what: ``cannot read `x` ``.
    pub fn io(what: impl Into<String>, error: io::Error) -> Self {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let message = Message { message: what.into(), source: Some(Box::new(error)) };
        let hints =
            if is_full { vec!["free some space: `df -h` shows which disk is full".to_owned()] } else { Vec::new() };
        Self { what: What::Source(Box::new(message)), blame: Blame::Environment, notes: Vec::new(), hints }
    }

    /// Makes an error of the mistakes in the project's files.
    pub fn problems(problems: Problems) -> Self {
        Self { what: What::Problems(problems.0), blame: Blame::Configuration, notes: Vec::new(), hints: Vec::new() }
    }

    /// Adds a circumstance that is no cause and without which the error cannot be understood.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds a hint after those there are.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The message with its causes and notes, without colours and without the word `error` before it, and the hints:
    /// for those who print it elsewhere.
    pub(crate) fn parts(&self) -> (String, Vec<String>) {
        let text = anstream::adapter::strip_str(&self.body()).to_string();
        let text = text.trim_end();
        let message = text.strip_prefix("error: ").unwrap_or(text).to_owned();
        (message, self.all_hints().map(str::to_owned).collect())
    }

    /// The exit code of devctl.
    pub fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::Service | Blame::Bug => 1,
            Blame::Configuration => 2,
            Blame::Environment => 3,
            Blame::Timeout => 4,
        }
    }

    /// Prints the error on standard error, in colours where these are wanted.
    pub fn print(&self, color: ColorChoice) {
        let mut stderr = AutoStream::new(io::stderr(), color);
        // Standard error is the last place there is to complain at.
        let _ = stderr.write_all(self.render().as_bytes()).and_then(|()| stderr.flush());
    }

    /// The error as it is printed, with colours.
    pub(crate) fn render(&self) -> String {
        let mut text = self.body();
        for hint in self.all_hints() {
            let _ = writeln!(text, "  {HINT}hint:{HINT:#} {}", indented(hint));
        }
        text
    }

    /// What went wrong, with its causes and notes.
    fn body(&self) -> String {
        let mut text = match &self.what {
            What::Source(error) => chain(error.as_ref()),
            What::Problems(problems) => all_problems(problems),
        };
        for note in &self.notes {
            let _ = writeln!(text, "  {PLACE}note:{PLACE:#} {}", indented(note));
        }
        text
    }

    fn all_hints(&self) -> impl Iterator<Item = &str> {
        let bug = (self.blame == Blame::Bug).then_some("this is a bug in devctl, please report it with this text");
        self.hints.iter().map(String::as_str).chain(bug)
    }
}

/// The message, and each cause on a line of its own unless the line above has it in it already.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut above = error.to_string();
    let mut text = format!("{ERROR}error:{ERROR:#} {}\n", indented(&above));
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !above.ends_with(&said) {
            let _ = writeln!(text, "  caused by: {}", indented(&said));
            above = said;
        }
        next = cause.source();
    }
    text
}

/// Lines after the first stay within the block they belong to.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

fn all_problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&one_problem(problem));
        if problems.len() > 1 {
            text.push('\n');
        }
    }
    // One can be counted by whoever reads it.
    if problems.len() > 1 {
        let _ = writeln!(text, "{ERROR}error:{ERROR:#} {} problems in the project's files", problems.len());
    }
    text
}

/// The block that the manifest makes of a mistake, in colours.
fn one_problem(problem: &Problem) -> String {
    let mut text = String::new();
    for line in problem.render("error").lines() {
        if let Some(message) = line.strip_prefix("error: ") {
            let _ = writeln!(text, "{ERROR}error:{ERROR:#} {BOLD}{message}{BOLD:#}");
        } else if let Some((margin, help)) = line.split_once("= help: ") {
            let _ = writeln!(text, "{margin}{PLACE}={PLACE:#} {HINT}help:{HINT:#} {help}");
        } else if let Some((margin, place)) = line.split_once("--> ") {
            let _ = writeln!(text, "{margin}{PLACE}-->{PLACE:#} {place}");
        } else if let Some((margin, marks)) = line.split_once(" | ").filter(|(_, rest)| rest.trim().starts_with('^')) {
            let _ = writeln!(text, "{margin} {PLACE}|{PLACE:#} {ERROR}{marks}{ERROR:#}");
        } else {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("port 5432 is taken by pid 4242 (postgres -D /data)")]
    struct PortTaken(#[source] io::Error);

    impl Advice for PortTaken {
        fn blame(&self) -> Blame {
            Blame::Environment
        }

        fn hints(&self) -> Vec<String> {
            vec!["stop it with `kill 4242`".to_owned(), "or set another port in compose/docker-compose.yml".to_owned()]
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start: {0}")]
    struct Wrapper(#[source] PortTaken);

    impl Advice for Wrapper {
        fn blame(&self) -> Blame {
            Blame::Bug
        }
    }

    fn plain(error: &Error) -> String {
        anstream::adapter::strip_str(&error.render()).to_string()
    }

    fn port_taken() -> PortTaken {
        PortTaken(io::Error::other("Address already in use\n(os error 98)"))
    }

    #[test]
    fn an_error_shows_its_causes_and_its_hints() {
        let error = Error::from(port_taken());
        insta::assert_snapshot!(plain(&error), @r"
        error: port 5432 is taken by pid 4242 (postgres -D /data)
          caused by: Address already in use
            (os error 98)
          hint: stop it with `kill 4242`
          hint: or set another port in compose/docker-compose.yml
        ");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let error = Error::from(Wrapper(port_taken())).hint("run `devctl ps`");
        insta::assert_snapshot!(plain(&error), @r"
        error: cannot start: port 5432 is taken by pid 4242 (postgres -D /data)
          caused by: Address already in use
            (os error 98)
          hint: run `devctl ps`
          hint: this is a bug in devctl, please report it with this text
        ");
    }

    #[test]
    fn an_io_error_says_what_was_tried() {
        let error = Error::io("cannot read `backend/.env`", io::ErrorKind::PermissionDenied.into());
        insta::assert_snapshot!(plain(&error), @r"
        error: cannot read `backend/.env`
          caused by: permission denied
        ");
    }

    #[test]
    fn mistakes_in_files_are_shown_in_place() {
        let problem = |at, message: &str, excerpt, help: Option<&str>| Problem {
            file: PathBuf::from("devctl.toml"),
            at,
            message: message.to_owned(),
            excerpt,
            help: help.map(str::to_owned),
        };
        let error = Error::problems(Problems(vec![
            problem(
                Some((12, 2)),
                "unknown key `prot`",
                Some(("\tprot = 8000".to_owned(), 4)),
                Some("did you mean `port`?"),
            ),
            problem(Some((3, 9)), "project name `A B` is not valid", None, None),
            problem(None, "the file is empty", None, None),
        ]));
        insta::assert_snapshot!(plain(&error));
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn every_blame_has_its_exit_code() {
        for (blame, code) in [
            (Blame::Service, 1),
            (Blame::Bug, 1),
            (Blame::Configuration, 2),
            (Blame::Environment, 3),
            (Blame::Timeout, 4),
        ] {
            assert_eq!(Error::new(blame, "x").exit_code(), code);
        }
    }

    #[test]
    fn colours_are_there_to_be_stripped() {
        assert!(Error::new(Blame::Service, "x").render().contains("\x1b["));
    }
}
