//! A log line with the name of its service before it, in the service's own colour. On a terminal, lines of JSON are
//! made readable; whoever reads a pipe gets them as they are. And the same as JSON, for programs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use anstream::ColorChoice;
use anstyle::Style;
use jiff::tz::TimeZone;

use super::paint::{DIM, Paint, prefix_styles};
use super::{clean, json_line};
use crate::logs::level::{Fields, Formats, Found, Level, fields};
use crate::logs::{LogLine, Stream, without_escapes};
use crate::name::ServiceName;

/// Gives log lines their prefix: `api     | listening on 8000`.
pub struct LogPrinter {
    styles: BTreeMap<ServiceName, Style>,
    pad: usize,
    paint: Paint,
    /// Whether a person reads this.
    for_eyes: bool,
    prefixed: bool,
    /// Where people are who read the times, where these are shown.
    zone: Option<TimeZone>,
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
        Self { styles: prefix_styles(services), pad, paint, for_eyes, prefixed: true, zone: None }
    }

    /// Leaves the name of the service out.
    #[must_use]
    pub fn without_prefix(mut self) -> Self {
        self.prefixed = false;
        self
    }

    /// Shows when each line was read, in the time of that zone.
    #[must_use]
    pub fn with_times(mut self, zone: TimeZone) -> Self {
        self.zone = Some(zone);
        self
    }

    /// The line as it is printed, without its end. Where it holds a message of several lines, each has the prefix.
    pub fn line(&self, line: &LogLine) -> String {
        let mut prefix = String::new();
        if self.prefixed {
            prefix = self.prefix(&line.service) + " ";
        }
        if let Some(zone) = &self.zone {
            let at = line.at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string();
            prefix = prefix + &self.paint.paint(DIM, &at) + " ";
        }
        let mut text = String::new();
        let shown = self.readable(&line.text).unwrap_or_else(|| clean::line(&line.text, self.paint.is_on()));
        for (number, line) in shown.split('\n').enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.push_str(&prefix);
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

/// Log lines as JSON: one object each.
pub struct LogObjects {
    formats: Formats,
}

#[derive(serde::Serialize)]
struct Object<'a> {
    service: &'a ServiceName,
    stream: Stream,
    at: jiff::Timestamp,
    level: Option<Level>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Fields>,
}

impl Default for LogObjects {
    fn default() -> Self {
        Self::new()
    }
}

impl LogObjects {
    /// Gets ready to read levels.
    pub fn new() -> Self {
        Self { formats: Formats::new() }
    }

    /// The object of a line, on one line, without its end.
    pub fn line(&self, line: &LogLine) -> String {
        let LogLine { service, stream, at, text } = line;
        let text = &*without_escapes(text);
        let level = match self.formats.find(text) {
            Found::Level(level) => Some(level),
            Found::Continues | Found::Nothing => None,
        };
        let object = Object { service, stream: *stream, at: *at, level, text, fields: fields(text) };
        serde_json::to_string(&object).expect("a line is plain data, and its keys are texts")
    }
}
