//! A log line with the name of its service before it, in the service's own colour.

use std::collections::BTreeMap;

use anstream::ColorChoice;
use anstyle::Style;

use super::clean;
use super::paint::{DIM, Paint, prefix_styles};
use crate::logs::LogLine;
use crate::name::ServiceName;

/// Gives log lines their prefix: `api     | listening on 8000`.
pub struct LogPrinter {
    styles: BTreeMap<ServiceName, Style>,
    pad: usize,
    paint: Paint,
}

impl LogPrinter {
    /// Makes a printer for standard output. The prefix is as wide as the longest name.
    pub fn new(services: &[ServiceName], color: ColorChoice) -> Self {
        Self::with(services, Paint::for_stdout(color))
    }

    pub(super) fn with<'a>(services: impl IntoIterator<Item = &'a ServiceName> + Clone, paint: Paint) -> Self {
        let pad = services.clone().into_iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        Self { styles: prefix_styles(services), pad, paint }
    }

    /// The line as it is printed, without its end.
    pub fn line(&self, line: &LogLine) -> String {
        format!("{} {}", self.prefix(&line.service), clean::line(&line.text, self.paint.is_on()))
    }

    pub(super) fn prefix(&self, service: &ServiceName) -> String {
        let prefix = format!("{service:pad$} |", pad = self.pad);
        self.paint.paint(self.styles.get(service).copied().unwrap_or(DIM), &prefix)
    }
}
