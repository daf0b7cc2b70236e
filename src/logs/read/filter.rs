//! Which lines a reader wants to see.

use std::sync::Arc;

use regex::Regex;

use crate::logs::chunk::without_escapes;
use crate::logs::level::{Formats, Found, Level};
use crate::logs::{LogLine, Stream};

/// Which lines are shown. Cheap to clone.
#[derive(Clone, Default)]
pub struct Filter {
    grep: Option<Regex>,
    level: Option<(Level, Arc<Formats>)>,
}

impl Filter {
    /// Lines that match `grep`, and that are as bad as `level` or worse.
    pub fn new(grep: Option<Regex>, level: Option<Level>) -> Self {
        Self { grep, level: level.map(|level| (level, Arc::new(Formats::new()))) }
    }

    /// Whether every line is shown.
    pub fn is_open(&self) -> bool {
        self.grep.is_none() && self.level.is_none()
    }

    /// Whether a line is one by itself, whatever came before it.
    pub(super) fn counts(&self, text: &str) -> bool {
        let text = without_escapes(text);
        let is_bad_enough = |(least, formats): &(Level, Arc<Formats>)| matches!(formats.find(&text), Found::Level(level) if level >= *least);
        self.grep.as_ref().is_none_or(|grep| grep.is_match(&text)) && self.level.as_ref().is_none_or(is_bad_enough)
    }
}

/// A filter on its way through the lines of one service.
#[derive(Clone, Default)]
pub(super) struct Sieve {
    filter: Filter,
    /// Whether the last line of each stream that had a level was bad enough: what continues it goes with it.
    shown: [bool; 2],
}

impl Sieve {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, shown: [false; 2] }
    }

    /// Whether a line is shown.
    pub(super) fn passes(&mut self, line: &LogLine) -> bool {
        if self.filter.is_open() {
            return true;
        }
        let text = without_escapes(&line.text);
        if let Some((least, formats)) = &self.filter.level {
            let shown = &mut self.shown[usize::from(line.stream == Stream::Stderr)];
            match formats.find(&text) {
                Found::Level(level) => *shown = level >= *least,
                Found::Continues => {}
                Found::Nothing => *shown = false,
            }
            if !*shown {
                return false;
            }
        }
        self.filter.grep.as_ref().is_none_or(|grep| grep.is_match(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(filter: Filter, lines: &[&str]) -> Vec<String> {
        let mut sieve = Sieve::new(filter);
        let line = |text: &&str| LogLine {
            service: "api".parse().unwrap(),
            stream: Stream::Stderr,
            at: jiff::Timestamp::UNIX_EPOCH,
            text: (*text).to_owned(),
        };
        lines.iter().map(line).filter(|line| sieve.passes(line)).map(|line| line.text).collect()
    }

    #[test]
    fn what_continues_a_line_goes_with_it() {
        let lines = [
            "INFO up",
            "  detail of it",
            "ERROR down",
            "  at main",
            "Caused by: rain",
            "said without a level",
            "  at nothing",
            "\u{1b}[33mWARN\u{1b}[0m slow",
        ];
        let warn = Filter::new(None, Some(Level::Warn));
        assert_eq!(passed(warn, &lines), ["ERROR down", "  at main", "Caused by: rain", lines[7]]);
        let both = Filter::new(Some(Regex::new("main|slow").unwrap()), Some(Level::Warn));
        assert_eq!(passed(both, &lines), ["  at main", lines[7]]);
        assert_eq!(passed(Filter::new(Some(Regex::new("^WARN slow$").unwrap()), None), &lines), [lines[7]]);
        assert_eq!(passed(Filter::default(), &lines).len(), lines.len());
    }
}
