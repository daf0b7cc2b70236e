//! One JSON object a line, for programs. The field `event` names each.

use std::io::{self, Write};

use serde::Serialize;

use super::Reporter;
use crate::event::Event;
use crate::logs::{Delivery, LogLine, Stream};
use crate::name::ServiceName;

/// Prints events and log lines as JSON.
pub(super) struct Json<W> {
    out: W,
    buffer: Vec<u8>,
}

/// What is printed beside events, in their form.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Extra<'a> {
    Log { service: &'a ServiceName, stream: Stream, at: jiff::Timestamp, line: &'a str },
    LogsDropped { count: u64 },
}

impl<W: Write> Json<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, buffer: Vec::new() }
    }

    fn add(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, object)?;
        self.buffer.push(b'\n');
        Ok(())
    }

    /// A whole batch in one write: a reader never sees half a line, and a flood of logs is not a flood of system calls.
    fn print(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.out.flush()
    }
}

impl<W: Write> Reporter for Json<W> {
    fn event(&mut self, event: &Event, _now_ms: u64) -> io::Result<()> {
        self.add(event)?;
        self.print()
    }

    fn logs(&mut self, delivery: &Delivery) -> io::Result<()> {
        match delivery {
            Delivery::Lines(lines) => {
                for LogLine { service, stream, at, text } in lines {
                    self.add(&Extra::Log { service: &service, stream, at, line: &text })?;
                }
            }
            Delivery::Dropped(count) => self.add(&Extra::LogsDropped { count: *count })?,
        }
        self.print()
    }
}
