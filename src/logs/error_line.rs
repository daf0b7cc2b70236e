//! Tells whether a line looks like an error, so that the first one can be shown when a service fails: the cause is
//! usually in the first, not in the last. Knows the habits of loggers, not what any line means.

use regex::Regex;
use regex::bytes::Regex as BytesRegex;

use super::chunk::{raw_lines, text, without_escapes};

/// Finds lines that look like errors. Built once for each hub: the patterns are compiled.
pub(super) struct ErrorLines {
    /// Words without which no line can be an error; plain literals, so that a chunk without any costs one fast search.
    suspects: BytesRegex,
    /// Surely an error, whatever else the line says.
    certain: Regex,
    /// A level that says error.
    loud: Regex,
    /// A level that says otherwise: words after it are part of a message.
    calm: Regex,
    /// The level of a line in JSON.
    json_level: Regex,
    /// Said at every start of a database that somebody probes: true, loud, and never the cause of anything.
    harmless: Regex,
}

impl ErrorLines {
    pub(super) fn new() -> Self {
        let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constants and tested");
        Self {
            suspects: BytesRegex::new(
                "error|Error|ERROR|ERR!|eror|fatal|Fatal|FATAL|panic|PANIC|Panic|Traceback|crit|CRIT|Crit|alert|ALERT\
                 |emerg|EMERG|SEVERE|xception|ncaught|nhandled|:50,|:60,",
            )
            .expect("the pattern is a constant and tested"),
            certain: regex(
                r"panicked at |^panic: |^fatal error: |Traceback \(most recent call last\)|^\s*(?:Uncaught|Unhandled)\b|^Exception in thread |^npm ERR! |^npm error ",
            ),
            loud: regex(concat!(
                // `ERROR`, `[FATAL]`, `CRITICAL:` in capitals, as a word of its own.
                r"(?:^|[\s\[(|<])(?:ERROR|FATAL|CRITICAL|CRIT|PANIC|SEVERE|EMERG|ALERT)(?:[\s\]):|>]|$)",
                // `[error]`, `|error|`.
                r"|[\[(|<](?i:error|fatal|critical|crit|panic|emerg|alert)[\]):|>]",
                // `error: …`, `error[E0308]: …`, `Error: …`, `fatal: …` at the start or behind a `name: `.
                r"|(?:^|[:\]]\s)\s*(?i:fatal error|error|fatal|critical)(?:\[\w+\])?: ",
                // `ModuleNotFoundError: …`, `java.lang.IllegalStateException: …`.
                r"|(?:^|[\s(])[\w.]*[a-z](?:Error|Exception): ",
                // logfmt: `level=error`, `lvl=eror`.
                r#"|\b(?i:level|lvl|severity)="?(?i:error|eror|err|fatal|crit|critical|panic|alert|emerg)\b"#,
                // `# Fatal error, can't open config file`, as Redis has it.
                r"|(?:^|\s)Fatal error\b",
            )),
            calm: regex(concat!(
                r"(?:^|[\s\[(|<])(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|LOG|HINT|DETAIL|STATEMENT|CONTEXT)(?:[\s\]):|>]|$)",
                r"|[\[(|<](?i:trace|debug|info|notice|warn|warning)[\]):|>]",
                r#"|\b(?i:level|lvl|severity)="?(?i:trace|debug|dbug|info|notice|warn|warning)\b"#,
            )),
            harmless: regex(
                r"FATAL:  (?:the database system is (?:starting up|shutting down|not yet accepting connections)|sorry, too many clients)",
            ),
            json_level: regex(r#""(?:level|severity|lvl|log\.level|levelname)"\s*:\s*(?:"([A-Za-z]+)"|(\d+))"#),
        }
    }

    /// The first line of a chunk that looks like an error.
    pub(super) fn first<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let suspect = self.suspects.find(bytes)?.start();
        let start = memchr::memrchr(b'\n', &bytes[..suspect]).map_or(0, |i| i + 1);
        raw_lines(&bytes[start..]).find(|line| self.is_error(line))
    }

    /// Whether a line looks like an error.
    pub(super) fn is_error(&self, raw: &[u8]) -> bool {
        if !self.suspects.is_match(raw) {
            return false;
        }
        // A level stands at the beginning; a long line is mostly data.
        let text = text(&raw[..raw.len().min(4096)]);
        let line = without_escapes(&text);
        if line.trim_start().starts_with('{')
            && let Some(level) = self.json_level.captures(&line)
        {
            return match (level.get(1), level.get(2)) {
                (Some(word), _) => is_loud_word(word.as_str()),
                // Numbers as bunyan and pino write them: 50 is error, 60 is fatal.
                (None, Some(number)) => number.as_str().parse::<u32>().is_ok_and(|n| n >= 50),
                (None, None) => false,
            };
        }
        // PostgreSQL turns early clients away by FATAL, devctl's own probe among them: that is the cause of nothing.
        if line.contains("FATAL:  the database system is ") {
            return false;
        }
        if self.certain.is_match(&line) {
            return true;
        }
        if self.harmless.is_match(&line) {
            return false;
        }
        let Some(loud) = self.loud.find(&line) else { return false };
        self.calm.find(&line).is_none_or(|calm| loud.start() < calm.start())
    }
}

fn is_loud_word(level: &str) -> bool {
    matches!(
        level.to_ascii_lowercase().as_str(),
        "error"
            | "err"
            | "eror"
            | "fatal"
            | "critical"
            | "crit"
            | "panic"
            | "dpanic"
            | "alert"
            | "emerg"
            | "emergency"
            | "severe"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_errors() {
        let lines = ErrorLines::new();
        for line in [
            "2026-11-20T08:00:00.1Z ERROR api::db: connection refused",
            "\u{1b}[2m2026-11-20T08:00:00Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m \u{1b}[2mapi\u{1b}[0m: no database",
            "[ERROR] cannot bind",
            "ERROR:    [Errno 98] Address already in use",
            "2026-11-20 08:00:00.123 UTC [42] FATAL:  password authentication failed for user \"postgres\"",
            "2026-11-20 08:00:00.123 UTC [42] PANIC:  could not locate a valid checkpoint record",
            "2026/11/20 08:00:00 [error] 12#12: connect() failed",
            "thread 'main' panicked at src/main.rs:3:5:",
            "thread 'main' (4242) panicked at src/main.rs:3:5:",
            "panic: runtime error: index out of range [5] with length 3",
            "Traceback (most recent call last):",
            "ModuleNotFoundError: No module named 'fastapi'",
            "java.lang.IllegalStateException: closed",
            "Exception in thread \"main\" java.lang.NullPointerException",
            "TypeError: Cannot read properties of undefined (reading 'x')",
            "Uncaught Error: boom",
            "error: could not compile `api` (lib) due to 1 previous error",
            "error[E0308]: mismatched types",
            "Error: DATABASE_URL is not set",
            "fatal: not a git repository",
            "sh: 1: fatal: no such thing",
            r#"{"timestamp":"2026-11-20T08:00:00Z","level":"ERROR","fields":{"message":"no database"}}"#,
            r#"{"level": "error", "msg": "boom"}"#,
            r#"{"level":50,"time":1,"msg":"boom"}"#,
            r#"{"severity":"CRITICAL","message":"x"}"#,
            "time=2026-11-20T08:00:00Z level=error msg=\"no\"",
            "t=1 lvl=eror msg=no",
            "npm ERR! code ENOENT",
            "# Fatal error, can't open config file '/etc/redis.conf'",
            "CRITICAL: giving up",
        ] {
            assert!(lines.first(format!("{line}\n").as_bytes()).is_some(), "{line}");
        }
    }

    #[test]
    fn lines_that_only_speak_of_errors() {
        let lines = ErrorLines::new();
        for line in [
            "listening on 0.0.0.0:8000",
            "0 errors, 0 warnings",
            "compiled without errors in 3 s",
            "2026-11-20T08:00:00Z  INFO api: error handler registered",
            "INFO request done error=null",
            "2026-11-20T08:00:00Z  WARN api: retrying after ERROR from upstream",
            "[info] error pages enabled",
            "level=info msg=\"error: false\"",
            "level=warn msg=\"Error: x\" ",
            r#"{"level":"info","msg":"ERROR is only a word","error":"x"}"#,
            r#"{"level":30,"msg":"x","y":50}"#,
            "ErrorBoundary loaded",
            "GET /errors/fatal.css 200",
            "panic button installed",
            "2026-11-20 08:00:00 UTC [42] LOG:  database system is ready; ERROR: none",
            "2026-11-20 08:00:00 UTC [42] FATAL:  the database system is starting up",
            "   Compiling thiserror v2.0.21",
            "2026-11-20 08:00:00 UTC [42] FATAL:  the database system is starting up",
            "",
        ] {
            assert!(lines.first(format!("{line}\n").as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn the_first_of_a_chunk_is_found_among_suspects() {
        let lines = ErrorLines::new();
        let chunk = b"start\n0 errors\nINFO error handler\r\nERROR: one\r\nERROR: two\n";
        assert_eq!(lines.first(chunk), Some(&b"ERROR: one"[..]));
    }
}
