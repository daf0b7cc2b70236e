//! How bad a line says it is, and what fields it has: read from JSON, from logfmt, and from the habits of loggers, which
//! are in tables here. Only readers who ask for it pay for it: nothing that is on its way from a program to a file is
//! looked at.

use indexmap::IndexMap;
use regex::Regex;
use serde_json::Value;

/// How bad it is, in the words of most loggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Every step.
    Trace,
    /// For whoever works on the program.
    Debug,
    /// As it should be.
    Info,
    /// Not as it should be.
    Warn,
    /// Something failed.
    Error,
    /// The program, or the whole system, failed.
    Fatal,
}

/// The fields of a line, in its order.
pub type Fields = IndexMap<String, Value>;

/// What a line says of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has one.
    Level(Level),
    /// It belongs to the line before: a frame of a stack, the `DETAIL` of PostgreSQL.
    Continues,
    /// Nothing.
    Nothing,
}

/// The words that loggers use.
const WORDS: [(Level, &[&str]); 6] = [
    (Level::Trace, &["trace", "trce", "trc", "verbose", "silly", "finest", "finer"]),
    (Level::Debug, &["debug", "dbug", "dbg", "fine", "debug1", "debug2", "debug3", "debug4", "debug5"]),
    (Level::Info, &["info", "inf", "information", "informational", "notice", "log", "config", "system", "note"]),
    (Level::Warn, &["warn", "warning", "wrn"]),
    (Level::Error, &["error", "err", "eror", "fail", "failure", "severe", "err!"]),
    (Level::Fatal, &["fatal", "ftl", "critical", "crit", "alert", "emerg", "emergency", "panic", "dpanic"]),
];

/// The keys of a level in JSON, in the order in which they are asked for.
const KEYS: [&str; 8] = ["level", "severity", "lvl", "log.level", "levelname", "@level", "loglevel", "level_name"];

/// How the level stands in what a pattern captured first.
#[derive(Clone, Copy)]
enum As {
    /// As one of [`WORDS`].
    Word,
    /// As a mark of its own.
    Mark(&'static [(&'static str, Level)]),
    /// It does not: whatever matches has this level.
    Always(Level),
    /// It does not: whatever matches belongs to the line before.
    Continues,
}

/// A format: its name, for those who read this table; what its lines look like; where the level is. The first that
/// matches counts, so that the particular stand before the general.
const FORMATS: &[(&str, &str, As)] = &[
    (
        "klog, glog",
        r"^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [^\]]+:\d+\]",
        As::Mark(&[("I", Level::Info), ("W", Level::Warn), ("E", Level::Error), ("F", Level::Fatal)]),
    ),
    (
        "redis",
        r"^\d+:[XCSM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.\-*#]) ",
        As::Mark(&[(".", Level::Trace), ("-", Level::Debug), ("*", Level::Info), ("#", Level::Warn)]),
    ),
    (
        "postgres, more of a message",
        r"^(?:\d{4}-.*? )?(?:DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION):  ",
        As::Continues,
    ),
    ("postgres", r"^(?:\d{4}-.*? )?(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC):  ", As::Word),
    (
        "Ruby",
        r"^([DIWEFA]), \[\d{4}-\d\d-\d\dT[\d:.]+ #\d+\]",
        As::Mark(&[
            ("D", Level::Debug),
            ("I", Level::Info),
            ("W", Level::Warn),
            ("E", Level::Error),
            ("F", Level::Fatal),
            ("A", Level::Info),
        ]),
    ),
    ("logfmt", r#"(?:^|\s)(?:level|lvl|severity)="?([A-Za-z]+)"#, As::Word),
    ("nginx", r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+:", As::Word),
    ("MySQL", r"^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-][\d:]+) \d+ \[(\w+)\]", As::Word),
    ("uvicorn, Python's basicConfig", r"^(TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL):(?:\s|[\w.]+:)", As::Word),
    (".NET", r"^(trce|dbug|info|warn|fail|crit): [\w.]+", As::Word),
    ("npm", r"^npm (ERR!|error|warn|WARN|notice)(?:\s|$)", As::Word),
    ("compilers", r"^(error|warning)(?:\[\w+\])?: ", As::Word),
    ("compilers, with a place", r"^[^\s:]+:\d+(?::\d+)?: (?:fatal )?(error|warning): ", As::Word),
    (
        "in brackets",
        r"^.{0,60}?[\[(|<]\s*((?i:trace|debug|info|notice|warn|warning|error|err|severe|fatal|critical|crit|panic|alert|emerg))\s*[\])|>]",
        As::Word,
    ),
    (
        // tracing, env_logger, log4j, logback, Python's logging, slog, gunicorn: a stamp, a name, the level.
        "a word of its own in capitals near the beginning",
        r"^.{0,100}?(?:^|[\s\[(|<\-])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|FATAL|CRITICAL|CRIT|PANIC|ALERT|EMERG)(?:[\s\]):|>\-]|$)",
        As::Word,
    ),
    (
        "what no logger says and every runtime does",
        r"panicked at |^panic: |^fatal error: |^Traceback \(most recent call last\)|^\s*(?:Uncaught|Unhandled)\b|^Exception in thread |^(?:[\w.]*[a-z])?(?:Error|Exception)(?: \[\w+\])?: |^Fatal error\b",
        As::Always(Level::Error),
    ),
    (
        "a stack",
        r"^\s+\S|^Caused by: |^\s*\.\.\. \d+ more|^[}\])]+[,;]?$|^stack backtrace:$|^note: run with `RUST_BACKTRACE",
        As::Continues,
    ),
];

impl Level {
    /// The level that a word means.
    pub fn of_word(word: &str) -> Option<Self> {
        let named =
            |(level, words): &(Self, &[&str])| words.iter().any(|w| w.eq_ignore_ascii_case(word)).then_some(*level);
        WORDS.iter().find_map(named)
    }

    /// The level that a number means to bunyan and pino.
    pub fn of_number(number: u64) -> Option<Self> {
        match number {
            1..=10 => Some(Self::Trace),
            11..=20 => Some(Self::Debug),
            21..=30 => Some(Self::Info),
            31..=40 => Some(Self::Warn),
            41..=50 => Some(Self::Error),
            51..=60 => Some(Self::Fatal),
            _ => None,
        }
    }

    /// The level that a field of that name means.
    pub fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(word) => Self::of_word(word).or_else(|| Self::of_number(word.parse().ok()?)),
            Value::Number(number) => Self::of_number(number.as_u64()?),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// The formats, ready to be looked for. Made once by each reader that asks for levels, as patterns are compiled.
pub struct Formats {
    formats: Vec<(Regex, As)>,
}

impl Default for Formats {
    fn default() -> Self {
        Self::new()
    }
}

impl Formats {
    /// Compiles the table.
    pub fn new() -> Self {
        let compile = |pattern| Regex::new(pattern).expect("the patterns are constants and tested");
        Self { formats: FORMATS.iter().map(|(_, pattern, level)| (compile(pattern), *level)).collect() }
    }

    /// What a line, without its colours, says of its level.
    pub fn find(&self, line: &str) -> Found {
        if line.trim_start().starts_with('{')
            && let Some(fields) = json(line)
        {
            return match level_of(&fields) {
                Some(level) => Found::Level(level),
                None => Found::Nothing,
            };
        }
        // A level stands at the beginning; a long line is mostly data.
        let head = &line[..line.floor_char_boundary(512)];
        for (regex, level) in &self.formats {
            let Some(captures) = regex.captures(head) else { continue };
            let word = captures.get(1).map(|group| group.as_str()).unwrap_or_default();
            let found = match level {
                As::Word => Level::of_word(word),
                As::Mark(marks) => marks.iter().find(|(mark, _)| *mark == word).map(|(_, level)| *level),
                As::Always(level) => Some(*level),
                As::Continues => return Found::Continues,
            };
            if let Some(level) = found {
                return Found::Level(level);
            }
        }
        Found::Nothing
    }
}

/// The level among the fields of a line.
fn level_of(fields: &Fields) -> Option<Level> {
    let nested = || fields.get("log").and_then(|log| log.get("level"));
    KEYS.iter().filter_map(|key| fields.get(*key)).chain(nested()).find_map(Level::of_value)
}

/// The fields of a line, without its colours, that is JSON or logfmt as a whole.
pub fn fields(line: &str) -> Option<Fields> {
    json(line).or_else(|| logfmt(line))
}

fn json(line: &str) -> Option<Fields> {
    let line = line.trim();
    // Most lines are none, and need not be parsed to be told so.
    if line.starts_with('{') && line.ends_with('}') { serde_json::from_str(line).ok() } else { None }
}

/// Two pairs at least, and nothing but pairs: a single `=` stands in many a sentence.
fn logfmt(line: &str) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '@');
        if key.is_empty()
            || !key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '@')
            || !key.chars().all(is_key)
        {
            return None;
        }
        let (value, after) = if after.starts_with('"') {
            quoted(after)?
        } else {
            let end = after.find(' ').unwrap_or(after.len());
            (after[..end].to_owned(), &after[end..])
        };
        if !after.is_empty() && !after.starts_with(' ') {
            return None;
        }
        fields.insert(key.to_owned(), Value::String(value));
        rest = after.trim_start();
    }
    (fields.len() >= 2).then_some(fields)
}

/// A value in quotes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_real_lines() {
        let formats = Formats::new();
        for (level, lines) in [
            (
                Level::Trace,
                &[
                    r#"{"level":10,"time":1700000000,"msg":"x"}"#,
                    "2026-11-20T08:00:00.1Z TRACE hyper::proto: flushed",
                    "1:M 20 Nov 2026 08:00:00.123 . 0 clients connected",
                    "trce: Microsoft.AspNetCore.Routing[0]",
                ][..],
            ),
            (
                Level::Debug,
                &[
                    r#"{"level":"debug","ts":1.5,"logger":"main","msg":"x"}"#,
                    "2026-11-20 08:00:00,123 - app.db - DEBUG - connecting",
                    "D, [2026-11-20T08:00:00.123456 #12] DEBUG -- : query",
                    "t=2026-11-20T08:00:00Z lvl=dbug msg=x",
                    "2026-11-20 08:00:00.123 UTC [42] DEBUG1:  x",
                    "1:M 20 Nov 2026 08:00:00.123 - Accepted 127.0.0.1:5000",
                ],
            ),
            (
                Level::Info,
                &[
                    "2026-11-20T08:00:00.123456Z  INFO backend::server: listening on 0.0.0.0:8000",
                    "[2026-11-20T08:00:00Z INFO  app::db] ready, no ERROR so far",
                    "2026-11-20 08:00:00,123 INFO  [main] com.example.App - started",
                    "2026-11-20T08:00:00.123Z  INFO 1 --- [           main] c.e.Application : Started in 2 s",
                    "INFO:     Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)",
                    "INFO:     127.0.0.1:52000 - \"GET / HTTP/1.1\" 500 Internal Server Error",
                    "INFO:root:up",
                    "2026-11-20 08:00:00.123 UTC [1] LOG:  database system is ready to accept connections",
                    "2026-11-20 08:00:00.123 UTC [42] postgres@menu LOG:  duration: 3 ms; ERROR:  none",
                    "LOG:  starting PostgreSQL 16.14",
                    "1:M 20 Nov 2026 08:00:00.123 * Ready to accept connections tcp",
                    "2026/11/20 08:00:00 INFO server up port=8000",
                    "2026/11/20 08:00:00 [notice] 1#1: start worker processes",
                    "[2026-11-20 08:00:00 +0000] [12] [INFO] Listening at: http://0.0.0.0:8000 (12)",
                    "I1120 08:00:00.123456       1 server.go:42] Serving",
                    "info: Microsoft.Hosting.Lifetime[14]",
                    "time=2026-11-20T08:00:00Z level=info msg=\"error: false\"",
                    r#"{"timestamp":"t","level":"INFO","fields":{"message":"ERROR is a word"}}"#,
                    r#"{"level":30,"time":1,"pid":1,"hostname":"h","msg":"up"}"#,
                    r#"{"severity":"NOTICE","message":"x"}"#,
                    r#"{"@timestamp":"t","log.level":"info","message":"x"}"#,
                    r#"{"log":{"level":"info"},"message":"x"}"#,
                    "08:00:00.123 [info] Running App.Endpoint",
                    "2026-11-20T08:00:00.123456Z 0 [System] [MY-010931] [Server] ready for connections",
                    "npm notice New major version",
                ],
            ),
            (
                Level::Warn,
                &[
                    "2026-11-20T08:00:00Z  WARN api: retrying after ERROR from upstream",
                    "WARNING:root:careful",
                    "WARNING:  StatReload detected changes",
                    "2026-11-20 08:00:00.123 UTC [42] WARNING:  there is no transaction in progress",
                    "1:M 20 Nov 2026 08:00:00.123 # WARNING Memory overcommit must be enabled!",
                    "W1120 08:00:00.123456       1 reflector.go:1] slow",
                    r#"{"level":40,"msg":"x"}"#,
                    "warning: unused variable: `x`",
                    "main.c:3:5: warning: unused",
                    "npm warn deprecated x@1",
                    "warn: App.Startup[0]",
                    "level=warning msg=x",
                ],
            ),
            (
                Level::Error,
                &[
                    "2026-11-20T08:00:00.1Z ERROR api::db: connection refused",
                    "[2026-11-20T08:00:00Z ERROR app] no",
                    "ERROR:    [Errno 98] Address already in use",
                    "ERROR:app.db:no",
                    "2026-11-20 08:00:00,123 ERROR [pool-1] c.e.Db - lost",
                    "2026-11-20 08:00:00.123 UTC [42] ERROR:  relation \"x\" does not exist at character 15",
                    "2026/11/20 08:00:00 [error] 12#12: *1 connect() failed",
                    "E1120 08:00:00.123456   12345 controller.go:114] failed",
                    "E, [2026-11-20T08:00:00.123456 #12] ERROR -- : no",
                    "t=1 lvl=eror msg=no",
                    r#"{"level":50,"msg":"x"}"#,
                    r#"{"levelname": "ERROR", "message": "x"}"#,
                    "error[E0308]: mismatched types",
                    "src/main.c:3:5: fatal error: x.h: No such file",
                    "npm ERR! code ENOENT",
                    "fail: Microsoft.EntityFrameworkCore.Database.Connection[20004]",
                    "thread 'main' (42) panicked at src/main.rs:3:5:",
                    "panic: runtime error: index out of range",
                    "Traceback (most recent call last):",
                    "ModuleNotFoundError: No module named 'fastapi'",
                    "java.lang.IllegalStateException: closed",
                    "TypeError [ERR_X]: no",
                    "SEVERE: cannot deploy",
                ],
            ),
            (
                Level::Fatal,
                &[
                    "2026-11-20 08:00:00.123 UTC [42] FATAL:  password authentication failed for user \"postgres\"",
                    "2026-11-20 08:00:00.123 UTC [42] PANIC:  could not locate a valid checkpoint record",
                    "CRITICAL:root:gone",
                    "F1120 08:00:00.123456       1 main.go:1] gone",
                    r#"{"level":60,"msg":"x"}"#,
                    r#"{"severity":"EMERGENCY","message":"x"}"#,
                    "2026/11/20 08:00:00 [emerg] 1#1: bind() to 0.0.0.0:80 failed",
                    "crit: Microsoft.AspNetCore.Server.Kestrel[0]",
                ],
            ),
        ] {
            for line in lines {
                assert_eq!(formats.find(line), Found::Level(level), "{line}");
            }
        }
    }

    #[test]
    fn lines_without_a_level_of_their_own() {
        let formats = Formats::new();
        for (found, line) in [
            (Found::Nothing, ""),
            (Found::Nothing, "listening on 0.0.0.0:8000"),
            (Found::Nothing, "0 errors, 0 warnings"),
            (Found::Nothing, "2026/11/20 08:00:00 http: Server closed"),
            (Found::Nothing, "127.0.0.1 - - [20/Nov/2026:08:00:00 +0000] \"GET / HTTP/1.1\" 200 612"),
            (Found::Nothing, "GET /errors/fatal.css 200"),
            (Found::Nothing, "INFORMATION is power"),
            (Found::Nothing, r#"{"msg":"ERROR without a level"}"#),
            (Found::Nothing, r#"{"level":{"a":1},"msg":"x"}"#),
            (Found::Continues, "    at com.example.App.main(App.java:3)"),
            (Found::Continues, "\tat Object.<anonymous> (/app/x.js:1:1)"),
            (Found::Continues, "  File \"/app/main.py\", line 3, in <module>"),
            (Found::Continues, "Caused by: java.io.IOException: closed"),
            (Found::Continues, "2026-11-20 08:00:00.123 UTC [42] STATEMENT:  SELECT 1"),
            (Found::Continues, "DETAIL:  Key (id)=(1) already exists."),
            (Found::Continues, "}"),
        ] {
            assert_eq!(formats.find(line), found, "{line}");
        }
    }

    #[test]
    fn fields_of_json_and_logfmt_and_of_nothing_else() {
        for (line, expected) in [
            (r#" {"b":1,"a":{"c":null}} "#, r#"{"b":1,"a":{"c":null}}"#),
            (
                r#"level=info msg="two words \"x\"\n" n=3 empty="#,
                r#"{"level":"info","msg":"two words \"x\"\n","n":"3","empty":""}"#,
            ),
            ("a.b=1 c-d=x/y?z=1", r#"{"a.b":"1","c-d":"x/y?z=1"}"#),
        ] {
            assert_eq!(serde_json::to_string(&fields(line).unwrap()).unwrap(), expected, "{line}");
        }
        for line in
            ["", "a=1", "a = 1", "x a=1 b=2", "a=1 b", "a=\"open b=2", "a=\"x\"y b=1", "1=2 3=4", "[1]", "{not}", "{}x"]
        {
            assert_eq!(fields(line), None, "{line}");
        }
    }

    #[test]
    fn numbers_between_two_levels_belong_to_the_next() {
        for (number, level) in
            [(10, Some(Level::Trace)), (35, Some(Level::Warn)), (60, Some(Level::Fatal)), (61, None), (0, None)]
        {
            assert_eq!(Level::of_number(number), level);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "\\PC*") {
            static FORMATS: std::sync::LazyLock<Formats> = std::sync::LazyLock::new(Formats::new);
            let _ = (FORMATS.find(&line), fields(&line));
        }
    }
}
