//! Makes a log line that a program wrote as JSON readable for a person: level, message, and what else it says as
//! `key=value`. Knows the forms of tracing, bunyan, pino and their like; any other line is none of its business. Pure.

use indexmap::IndexMap;
use serde_json::Value;

use super::clean;
use super::paint::{BAD, DIM, GOOD, Paint, WARN};

/// What the line's own prefix and order say already, or what is the same on each line of a service.
const NOISE: [&str; 22] = [
    "timestamp",
    "@timestamp",
    "time",
    "ts",
    "asctime",
    "target",
    "logger",
    "logger_name",
    "module",
    "module_path",
    "filename",
    "lineno",
    "line_number",
    "hostname",
    "pid",
    "process",
    "threadId",
    "threadName",
    "thread",
    "v",
    "@version",
    "spans",
];

/// The keys of objects whose fields belong to the line itself.
const NESTED: [&str; 2] = ["fields", "span"];

type Object = IndexMap<String, Value>;

/// How bad it is, in the words of most loggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// Words a line of JSON for a person; `None` where it is no object with a level and a message. A message of several
/// lines stays one of several lines.
pub(super) fn readable(line: &str, paint: Paint) -> Option<String> {
    let line = line.trim();
    // Most lines are none, and need not be parsed to be told so.
    if !(line.starts_with('{') && line.ends_with('}')) {
        return None;
    }
    let mut object: Object = serde_json::from_str(line).ok()?;
    let level = take(&mut object, &["level", "lvl", "severity", "levelname"]).as_ref().and_then(level)?;
    // Bunyan and pino say their own name on each line; elsewhere `name` is a field like others.
    if object.contains_key("pid") && object.contains_key("hostname") {
        object.shift_remove("name");
    }
    let mut fields = flattened(object);
    let Some(Value::String(message)) = take(&mut fields, &["message", "msg"]) else { return None };
    let request = request(&mut fields);
    let (first, rest) = message.split_once('\n').unwrap_or((&message, ""));
    let mut text = format!("{} {}", level.word(paint), clean::line(first, false));
    let more: Vec<String> = fields.iter().filter_map(|(key, value)| field(key, value)).chain(request).collect();
    if !more.is_empty() {
        text.push_str("  ");
        text.push_str(&paint.paint(DIM, &more.join(" ")));
    }
    for line in rest.lines() {
        text.push('\n');
        text.push_str(&clean::line(line, false));
    }
    Some(text)
}

/// The first of these keys that is there.
fn take(object: &mut Object, keys: &[&str]) -> Option<Value> {
    keys.iter().find_map(|key| object.shift_remove(*key))
}

/// Brings nested fields up, and leaves the noise out. What the line says itself counts more than what its span says.
fn flattened(object: Object) -> Object {
    let mut fields = Object::new();
    let mut nested = Vec::new();
    for (key, value) in object {
        match value {
            Value::Object(inner) if NESTED.contains(&key.as_str()) => {
                nested.extend(inner.into_iter().filter(|(inner, _)| key != "span" || inner != "name"));
            }
            value if !NOISE.contains(&key.as_str()) => {
                fields.insert(key, value);
            }
            _ => {}
        }
    }
    for (key, value) in nested {
        fields.entry(key).or_insert(value);
    }
    fields
}

/// `GET /api/products`: a method and a path are read as one.
fn request(fields: &mut Object) -> Option<String> {
    let path = ["path", "uri", "url"].into_iter().find(|key| fields.get(*key).is_some_and(Value::is_string))?;
    if !fields.get("method").is_some_and(Value::is_string) {
        return None;
    }
    let (method, path) = (fields.shift_remove("method")?, fields.shift_remove(path)?);
    Some(clean::line(&format!("{} {}", method.as_str()?, path.as_str()?), false))
}

fn field(key: &str, value: &Value) -> Option<String> {
    let value = match value {
        Value::Null => return None,
        Value::String(text) if needs_quotes(text) => format!("{text:?}"),
        Value::String(text) => text.clone(),
        // Errors are objects with a message of their own; the rest of one is a trace of the stack.
        Value::Object(object) => match object.get("message") {
            Some(Value::String(message)) => format!("{message:?}"),
            _ => value.to_string(),
        },
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    };
    Some(clean::line(&format!("{key}={value}"), false))
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='))
}

/// Words, or the numbers of bunyan and pino.
fn level(value: &Value) -> Option<Level> {
    match value {
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "trace" => Some(Level::Trace),
            "debug" => Some(Level::Debug),
            "info" | "information" | "notice" => Some(Level::Info),
            "warn" | "warning" => Some(Level::Warn),
            "error" | "err" => Some(Level::Error),
            "fatal" | "critical" | "crit" | "alert" | "emergency" | "panic" => Some(Level::Fatal),
            _ => None,
        },
        Value::Number(number) => match number.as_u64()? {
            10 => Some(Level::Trace),
            20 => Some(Level::Debug),
            30 => Some(Level::Info),
            40 => Some(Level::Warn),
            50 => Some(Level::Error),
            60 => Some(Level::Fatal),
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Level {
    /// The level as wide as any other.
    fn word(self, paint: Paint) -> String {
        let (style, word) = match self {
            Self::Trace => (DIM, "TRACE"),
            Self::Debug => (DIM, "DEBUG"),
            Self::Info => (GOOD, "INFO "),
            Self::Warn => (WARN, "WARN "),
            Self::Error => (BAD, "ERROR"),
            Self::Fatal => (BAD, "FATAL"),
        };
        paint.paint(style, word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> Option<String> {
        readable(line, Paint::new(false))
    }

    #[test]
    fn lines_of_known_loggers_become_readable() {
        for (line, text) in [
            // tracing, flattened, in a span.
            (
                r#"{"timestamp":"2026-11-20T09:00:00Z","level":"INFO","message":"answered","status":200,"elapsed_ms":138.6,"target":"backend::server","span":{"method":"GET","path":"/api/products","name":"request"}}"#,
                "INFO  answered  status=200 elapsed_ms=138.6 GET /api/products",
            ),
            // tracing as it comes.
            (
                r#"{"timestamp":"t","level":"WARN","fields":{"message":"slow","took":"3 s"},"target":"x","spans":[{"name":"a"}]}"#,
                r#"WARN  slow  took="3 s""#,
            ),
            // pino.
            (
                r#"{"level":50,"time":1700000000,"pid":1,"hostname":"h","name":"app","msg":"no","err":{"type":"Error","message":"out of paper","stack":"…"}}"#,
                r#"ERROR no  err="out of paper""#,
            ),
            // bunyan.
            (
                r#"{"name":"app","hostname":"h","pid":1,"level":30,"msg":"up","time":"t","v":0,"port":8000}"#,
                "INFO  up  port=8000",
            ),
            // zap, structlog, python-json-logger.
            (
                r#"{"level":"debug","ts":1.5,"logger":"main","msg":"x","ok":true,"none":null,"empty":""}"#,
                r#"DEBUG x  ok=true empty="""#,
            ),
            (r#"{"levelname": "CRITICAL", "message": "x", "name": "kept"}"#, "FATAL x  name=kept"),
            (
                r#"{"severity":"NOTICE","message":"x","tags":["a","b"],"at":{"b":1}}"#,
                r#"INFO  x  tags=["a","b"] at={"b":1}"#,
            ),
            // A span does not overrule its line, and a path alone is a field.
            (r#"{"level":"info","msg":"x","id":1,"span":{"id":2,"path":"/p"}}"#, "INFO  x  id=1 path=/p"),
            (r#" {"level":"trace","msg":""} "#, "TRACE "),
        ] {
            assert_eq!(plain(line).as_deref(), Some(text), "{line}");
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "",
            "listening on 8000",
            "{}",
            "{not json}",
            r#"{"level":"info"}"#,
            r#"{"message":"x"}"#,
            r#"{"level":"blue","message":"x"}"#,
            r#"{"level":3,"message":"x"}"#,
            r#"{"level":"info","message":{"a":1}}"#,
            r#"[{"level":"info","message":"x"}]"#,
            r#"{"level":"info","message":"x"} and more"#,
            r#"{"level":"info","message":"x"} {"level":"info","message":"y"}"#,
        ] {
            assert_eq!(plain(line), None, "{line}");
        }
    }

    #[test]
    fn the_level_has_a_colour_and_fields_are_dim() {
        let text = readable(r#"{"level":"error","msg":"x","a":1}"#, Paint::new(true)).unwrap();
        assert_eq!(text, "\x1b[1m\x1b[31mERROR\x1b[0m x  \x1b[2ma=1\x1b[0m");
    }

    #[test]
    fn a_message_of_several_lines_keeps_them() {
        let text = plain(r#"{"level":"error","msg":"panicked\n  at main.rs:7\n","a":1}"#);
        assert_eq!(text.as_deref(), Some("ERROR panicked  a=1\n  at main.rs:7"));
    }

    #[test]
    fn what_would_control_the_terminal_is_left_out() {
        let text = plain(
            "{\"level\":\"info\",\"msg\":\"a\\u001b[2Jb\",\"k\\u001b[1m\":\"\\u001b[31mred\",\"path\":\"/\\u0007\",\"method\":\"\\u009b\"}",
        );
        let text = text.unwrap();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }

    proptest::proptest! {
        #[test]
        fn nothing_controls_the_terminal(message in "\\PC*|[\\x00-\\x7f]*", key in "\\PC*|[\\x00-\\x7f]*", value in "\\PC*|[\\x00-\\x7f]*") {
            let line = serde_json::json!({ "level": "info", "message": message, "k": { &key: &value }, key: value }).to_string();
            if let Some(text) = plain(&line) {
                proptest::prop_assert!(!text.chars().any(|c| c.is_control() && c != '\t' && c != '\n'), "{text:?}");
            }
        }
    }
}
