//! What the workloads print: cut into lines, stamped, kept, fanned out.
//!
//! What travels is a chunk of whole lines, not a line: a program that prints 200 MB must cost devctl a copy and a
//! write, no more. Lines become text only for those who look at them.

mod chunk;
mod error_line;
mod file;
mod frame;
mod hub;
pub mod level;
mod lines;
mod mark;
mod mask;
mod pinned;
mod queue;
pub mod read;
mod ring;
mod stored;

pub(crate) use chunk::{text, without_escapes};
pub use file::Rotation;
pub use hub::{Hub, LogSink, Subscription};
pub use lines::Lines;
pub use mask::Secrets;

use crate::name::ServiceName;

/// Which of a workload's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line that a workload printed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// Who printed it.
    pub service: ServiceName,
    /// Where.
    pub stream: Stream,
    /// When it was read.
    pub at: jiff::Timestamp,
    /// The line, without its end; invalid UTF-8 is shown as `\xNN`.
    pub text: String,
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Lines, oldest first.
    Lines(Lines),
    /// The subscriber was too slow: so many lines are not for it. The files have them.
    Dropped(u64),
}
