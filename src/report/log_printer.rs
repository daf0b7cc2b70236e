//! A log line with the name of its service before it, in the service's own colour. On a terminal, lines of JSON are
//! made readable; whoever reads a pipe gets them as they are.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use anstream::ColorChoice;
use anstyle::Style;

use super::paint::{DIM, Paint, prefix_styles};
use super::{clean, json_line};
use crate::logs::LogLine;
use crate::name::ServiceName;

/// Gives log lines their prefix: `api     | listening on 8000`.
pub struct LogPrinter {
    styles: BTreeMap<ServiceName, Style>,
    pad: usize,
    paint: Paint,
    /// Whether a person reads this.
    for_eyes: bool,
}

impl LogPrinter {
    /// Makes a printer for standard output. The prefix is as wide as the longest name.
    pub fn new(services: &[ServiceName], color: ColorChoice) -> Self {
        Self::with(services, Paint::for_stdout(color), io::stdout().is_terminal())
    }

    pub(super) fn with<'a>(
        services: impl IntoIterator<Item = &'a ServiceName> + Clone,
        paint: Paint,
        for_eyes: bool,
    ) -> Self {
        let pad = services.clone().into_iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        Self { styles: prefix_styles(services), pad, paint, for_eyes }
    }

    /// The line as it is printed, without its end. Where it holds a message of several lines, each has the prefix.
    pub fn line(&self, line: &LogLine) -> String {
        let prefix = self.prefix(&line.service);
        let mut text = String::new();
        let shown = self.readable(&line.text).unwrap_or_else(|| clean::line(&line.text, self.paint.is_on()));
        for line in shown.split('\n') {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&prefix);
            text.push(' ');
            text.push_str(line);
        }
        text
    }

    /// What a line of JSON says, where a person reads this.
    pub(super) fn readable(&self, line: &str) -> Option<String> {
        if self.for_eyes { json_line::readable(line, self.paint) } else { None }
    }

    pub(super) fn prefix(&self, service: &ServiceName) -> String {
        let prefix = format!("{service:pad$} |", pad = self.pad);
        self.paint.paint(self.styles.get(service).copied().unwrap_or(DIM), &prefix)
    }
}
