//! One plain line per event, without escapes: for files, pipes and CI.

use std::collections::HashMap;
use std::io::{self, Write};

use memchr::memchr;

use super::board::Board;
use super::gauge::Gauge;
use super::{Reporter, ServiceRow, clean, phrase, trace};
use crate::event::{Event, EventKind};
use crate::logs::Delivery;
use crate::name::NodeId;

/// At most one line in so many milliseconds about one pull or build: a CI log is not a progress bar.
const PROGRESS_EVERY_MS: u64 = 2000;

/// Prints events and log lines as plain text.
pub(super) struct Plain<W> {
    out: W,
    rows: Vec<ServiceRow>,
    trace: trace::Trace,
    board: Board,
    width: usize,
    gauges: HashMap<NodeId, (Gauge, Option<u64>)>,
    /// Log lines on their way out.
    buffer: Vec<u8>,
}

impl<W: Write> Plain<W> {
    pub(super) fn new(out: W, rows: Vec<ServiceRow>, trace: trace::Trace) -> Self {
        let width = rows.iter().map(|row| row.name.as_str().len()).max().unwrap_or(0).max(8);
        Self { out, rows, trace, board: Board::default(), width, gauges: HashMap::new(), buffer: Vec::new() }
    }

    fn stamped(&self, at_ms: u64, subject: &str, text: &str) -> String {
        let stamp = format!("{}.{:03}s", at_ms / 1000, at_ms % 1000);
        format!("{stamp:>10}  {subject:<width$}  {text}\n", width = self.width)
    }

    /// A pull or a build: the first step, and then one now and again.
    fn progress(&mut self, event: &Event) -> Option<String> {
        let EventKind::Progress { node, progress } = &event.kind else { return None };
        let (gauge, last) = self.gauges.entry(node.clone()).or_default();
        gauge.on(progress);
        if last.is_some_and(|last| event.at_ms < last + PROGRESS_EVERY_MS) {
            return None;
        }
        *last = Some(event.at_ms);
        let text = gauge.text();
        Some(self.stamped(event.at_ms, &node.to_string(), &text))
    }
}

impl<W: Write> Reporter for Plain<W> {
    fn event(&mut self, event: &Event, _now_ms: u64) -> io::Result<()> {
        self.trace.on(event);
        self.board.on(event);
        let mut text = self.progress(event).unwrap_or_default();
        if let Some(phrase) = phrase::of(event, &self.board) {
            text.push_str(&self.stamped(event.at_ms, &phrase.subject, &phrase.text));
            for line in phrase.more {
                text.push_str(&self.stamped(event.at_ms, &phrase.subject, &format!("  {line}")));
            }
        }
        if let EventKind::StackReady { .. } = event.kind {
            for row in &self.rows {
                for address in &row.addresses {
                    text.push_str(&self.stamped(event.at_ms, row.name.as_str(), &format!("at {address}")));
                }
            }
            if let Some(path) = self.trace.critical_path() {
                text.push_str(&self.stamped(event.at_ms, "", &path));
            }
        }
        if let EventKind::Finished { outcome, .. } = event.kind
            && let Some(reason) = self.board.failed().filter(|_| outcome.is_failure())
        {
            text.push_str(&self.stamped(event.at_ms, "", &format!("error: {reason}")));
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn logs(&mut self, delivery: &Delivery) -> io::Result<()> {
        self.buffer.clear();
        match delivery {
            Delivery::Lines(lines) => {
                let prefix = format!("[{}] ", lines.service());
                if let Some(bytes) = lines.simple() {
                    // A flood is copied, not decoded.
                    self.buffer.reserve(bytes.len() + lines.len() * prefix.len());
                    let mut rest = bytes;
                    while let Some(end) = memchr(b'\n', rest) {
                        self.buffer.extend_from_slice(prefix.as_bytes());
                        self.buffer.extend_from_slice(&rest[..=end]);
                        rest = &rest[end + 1..];
                    }
                } else {
                    for line in lines {
                        self.buffer.extend_from_slice(prefix.as_bytes());
                        self.buffer.extend_from_slice(clean::line(&line.text, false).as_bytes());
                        self.buffer.push(b'\n');
                    }
                }
            }
            Delivery::Dropped(count) => self.buffer.extend_from_slice(super::dropped(*count).as_bytes()),
        }
        self.out.write_all(&self.buffer)?;
        self.out.flush()
    }
}
