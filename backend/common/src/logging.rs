//! Log lines on standard output, one JSON object each unless `LOG_FORMAT=text`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What to log and in which form.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The directives of `RUST_LOG`, known to be valid.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, for programs.
    Json,
    /// Plain text, for people.
    Text,
}

impl LogFormat {
    /// Reads `LOG_FORMAT`.
    pub fn parse(value: &str) -> Result<Self, String> {
        match value {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => Err(format!("`{other}` is unknown; use `json` or `text`")),
        }
    }
}

impl LogSettings {
    /// Reads `RUST_LOG`, strictly: a directive that would be ignored is a mistake.
    pub fn parse_filter(value: &str) -> Result<String, String> {
        match EnvFilter::builder().parse(value) {
            Ok(_) => Ok(value.to_owned()),
            Err(error) => Err(format!("`{value}` is not a list of log levels such as `info,backend=debug`: {error}")),
        }
    }

    /// Sends the log lines of this process to standard output from now on. Only the first call has an effect, so that
    /// tests in one process may all call it.
    pub fn install(&self) {
        let filter = EnvFilter::new(&self.filter);
        // A closed pipe must not turn a log line into a panic, so write errors stay silent.
        let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
        let _ = match self.format {
            LogFormat::Json => {
                let json = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
                tracing::subscriber::set_global_default(json.finish())
            }
            LogFormat::Text => {
                let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                tracing::subscriber::set_global_default(lines.with_ansi(colour).finish())
            }
        };
    }
}
