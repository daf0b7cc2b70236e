//! How a workload ended, in words that need no table of signals.

use serde::Serialize;

use crate::event::Exit;
use crate::os::signal_name::signal_name;

/// How a workload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExitFacts {
    /// The exit code, where it ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The number of the signal that ended it, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// That signal's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal_name: Option<&'static str>,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// All of it in words.
    pub text: String,
}

impl ExitFacts {
    /// Words an exit.
    pub fn of(exit: &Exit) -> Self {
        let signal_name = signal_of(exit).and_then(signal_name);
        let mut text = match (exit.code, exit.signal, signal_name) {
            (Some(code), _, Some(name)) => format!("exit code {code}: {name}"),
            (None, Some(signal), Some(name)) => format!("{name} (signal {signal})"),
            _ => Exit { out_of_memory: false, ..exit.clone() }.to_string(),
        };
        if exit.out_of_memory {
            text.push_str(", out of memory");
        }
        Self { code: exit.code, signal: exit.signal, signal_name, out_of_memory: exit.out_of_memory, text }
    }
}

/// The signal that ended it. A shell and a container tell of one by a code of 128 and more.
pub(super) fn signal_of(exit: &Exit) -> Option<i32> {
    exit.signal.or_else(|| exit.code.filter(|code| (129..160).contains(code)).map(|code| code - 128))
}
