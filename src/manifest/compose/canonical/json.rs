//! JSON as Go writes it: what means something to HTML is escaped, floats are short.

use std::fmt::Write;

use super::Value;

pub(super) fn compact(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, None);
    out
}

pub(super) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, Some(0));
    out
}

/// Writes a value. `level` is how far it is indented, `None` for no line ends at all.
fn write(out: &mut String, value: &Value, level: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(n) => write!(out, "{n}").expect("writing to a string cannot fail"),
        Value::Single(n) => float(out, &n.to_string(), &format!("{n:e}"), f64::from(*n).abs()),
        Value::Double(n) => float(out, &n.to_string(), &format!("{n:e}"), n.abs()),
        Value::Text(text) => string(out, text),
        Value::List(items) => {
            brackets(out, ['[', ']'], items, level, write);
        }
        Value::Map(entries) => {
            brackets(out, ['{', '}'], entries, level, |out, (key, value), level| {
                string(out, key);
                out.push_str(if level.is_some() { ": " } else { ":" });
                write(out, value, level);
            });
        }
    }
}

fn brackets<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    level: Option<usize>,
    mut item: impl FnMut(&mut String, &T, Option<usize>),
) {
    let new_line = |out: &mut String, level: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", level));
    };
    let inner = level.map(|level| level + 1);
    out.push(open);
    for (i, each) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if let Some(inner) = inner {
            new_line(out, inner);
        }
        item(out, each, inner);
    }
    if let (Some(level), false) = (level, items.is_empty()) {
        new_line(out, level);
    }
    out.push(close);
}

fn float(out: &mut String, shortest: &str, scientific: &str, magnitude: f64) {
    if !magnitude.is_finite() {
        // Go refuses these; no key of Compose takes one.
        out.push_str("null");
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        write!(out, "{digits}e{sign}{exponent}").expect("writing to a string cannot fail");
    } else {
        out.push_str(shortest);
    }
}

/// A string as Go writes it: safe within HTML.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_writes_them() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, expected) in [
            (Value::Null, "null"),
            (Value::Int(-5), "-5"),
            (Value::Single(0.1), "0.1"),
            (Value::Single(1.0), "1"),
            (Value::Double(1e21), "1e+21"),
            (Value::Double(1.5e-7), "1.5e-7"),
            (Value::Double(123_456_789.0), "123456789"),
            (text("<a&b>\u{2028}\u{1}\"\\\n"), r#""\u003ca\u0026b\u003e\u2028\u0001\"\\\n""#),
            (Value::List(vec![]), "[]"),
            (
                Value::Map(vec![("b".into(), Value::Bool(true)), ("a".into(), Value::List(vec![text("x")]))]),
                r#"{"b":true,"a":["x"]}"#,
            ),
        ] {
            assert_eq!(compact(&value), expected);
        }
        let value = Value::Map(vec![("a".into(), Value::List(vec![Value::Int(1), Value::Map(vec![])]))]);
        assert_eq!(pretty(&value), "{\n  \"a\": [\n    1,\n    {}\n  ]\n}");
    }
}
