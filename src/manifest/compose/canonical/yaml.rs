//! YAML as the library writes it that Docker Compose prints its model with: block style, two spaces, and quotes only
//! where the text would be read as something else.

use std::cmp::Ordering;
use std::fmt::Write;

use super::{Value, exponent_form};

pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    node(&mut out, value, 0, Position::Top);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Where a node stands, which decides what comes before it.
#[derive(Clone, Copy, PartialEq)]
enum Position {
    Top,
    /// Behind `key:`.
    Value,
    /// Behind `- `.
    Item,
}

/// Writes a node and its line end. `indent` is the column of its entries.
fn node(out: &mut String, value: &Value, indent: usize, position: Position) {
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            if position == Position::Value {
                out.push('\n');
            }
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 || position != Position::Item {
                    spaces(out, indent);
                }
                key_scalar(out, key);
                out.push(':');
                node(out, value, indent + 2, Position::Value);
            }
        }
        Value::List(items) if !items.is_empty() => {
            if position == Position::Value {
                out.push('\n');
            }
            for (i, item) in items.iter().enumerate() {
                if i > 0 || position != Position::Item {
                    spaces(out, indent);
                }
                out.push('-');
                if matches!(item, Value::Map(entries) if !entries.is_empty())
                    || matches!(item, Value::List(items) if !items.is_empty())
                {
                    out.push(' ');
                }
                node(out, item, indent + 2, Position::Item);
            }
        }
        scalar => {
            if position != Position::Top {
                out.push(' ');
            }
            match scalar {
                Value::Map(_) => out.push_str("{}"),
                Value::List(_) => out.push_str("[]"),
                Value::Null => out.push_str("null"),
                Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
                Value::Int(n) => write!(out, "{n}").expect("writing to a string cannot fail"),
                Value::Single(n) => {
                    float(out, &n.to_string(), &format!("{n:e}"), f64::from(*n));
                }
                Value::Double(n) => float(out, &n.to_string(), &format!("{n:e}"), *n),
                Value::Text(text) => text_scalar(out, text, indent),
            }
            if !out.ends_with('\n') || !matches!(scalar, Value::Text(_)) {
                out.push('\n');
            }
        }
    }
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

fn float(out: &mut String, shortest: &str, scientific: &str, n: f64) {
    if n.is_nan() {
        out.push_str(".nan");
    } else if n.is_infinite() {
        out.push_str(if n > 0.0 { ".inf" } else { "-.inf" });
    } else {
        out.push_str(&exponent_form(shortest, scientific, n.abs(), 1e6));
    }
}

fn key_scalar(out: &mut String, key: &str) {
    if key.contains('\n') {
        double_quoted(out, key);
    } else {
        text_scalar(out, key, 0);
    }
}

fn text_scalar(out: &mut String, text: &str, indent: usize) {
    let shape = Shape::of(text);
    if text.contains('\n') {
        if shape.block_allowed { literal(out, text, indent) } else { double_quoted(out, text) }
    } else if reads_as_something_else(text) {
        double_quoted(out, text);
    } else if shape.plain_allowed {
        out.push_str(text);
    } else if shape.single_quoted_allowed {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        double_quoted(out, text);
    }
}

/// Which styles can hold a text.
struct Shape {
    plain_allowed: bool,
    single_quoted_allowed: bool,
    block_allowed: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut tabs, mut break_space, mut space_break) = (false, false, false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        let mut preceded_by_white = true;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let followed_by_white = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t') || is_break(*next));
            // Only blanks count as white space behind a `:` or `-`; a line end is no plain text anyway.
            match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                    if first =>
                {
                    indicators = true;
                }
                '?' | '-' if first => indicators |= followed_by_white,
                ':' => indicators |= followed_by_white,
                '#' => indicators |= preceded_by_white,
                _ => {}
            }
            tabs |= c == '\t';
            special |= c != '\t' && !is_printable(c);
            if c == ' ' {
                break_space |= previous_break;
                (previous_space, previous_break) = (true, false);
            } else if is_break(c) {
                space_break |= previous_space;
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
            preceded_by_white = matches!(c, ' ' | '\t') || is_break(c);
            first = false;
        }
        let edge = |c: Option<char>| c.is_some_and(|c| c == ' ' || is_break(c));
        let edges = edge(text.chars().next()) || edge(text.chars().next_back());
        let breaks = text.chars().any(is_break);
        let quoted = break_space || space_break || tabs || special;
        Self {
            plain_allowed: !(indicators || edges || breaks || quoted),
            single_quoted_allowed: !quoted,
            block_allowed: !(text.ends_with(' ') || space_break || special),
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    match c {
        '\n' | '\u{20}'..='\u{7e}' => true,
        '\u{a0}'..='\u{fffd}' => c != '\u{feff}',
        // The library looks at the first bytes of a character only, and knows none beyond the basic plane.
        _ => false,
    }
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
        out.push('2');
    }
    if !text.ends_with(is_break) {
        out.push('-');
    } else if text.chars().count() == 1 || text.chars().rev().nth(1).is_some_and(is_break) {
        out.push('+');
    }
    out.push('\n');
    let mut at_start = true;
    for c in text.chars() {
        if is_break(c) {
            out.push(c);
            at_start = true;
        } else {
            if at_start {
                spaces(out, indent);
            }
            out.push(c);
            at_start = false;
        }
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if is_printable(c) && !is_break(c) && !matches!(c, '"' | '\\') {
            out.push(c);
            continue;
        }
        out.push('\\');
        match c {
            '\0' => out.push('0'),
            '\u{7}' => out.push('a'),
            '\u{8}' => out.push('b'),
            '\t' => out.push('t'),
            '\n' => out.push('n'),
            '\u{b}' => out.push('v'),
            '\u{c}' => out.push('f'),
            '\r' => out.push('r'),
            '\u{1b}' => out.push('e'),
            '"' => out.push('"'),
            '\\' => out.push('\\'),
            '\u{85}' => out.push('N'),
            '\u{a0}' => out.push('_'),
            '\u{2028}' => out.push('L'),
            '\u{2029}' => out.push('P'),
            c => {
                let code = u32::from(c);
                match code {
                    0..=0xff => write!(out, "x{code:02X}"),
                    0x100..=0xffff => write!(out, "u{code:04X}"),
                    _ => write!(out, "U{code:08X}"),
                }
                .expect("writing to a string cannot fail");
            }
        }
    }
    out.push('"');
}

/// Whether a plain text would be read as a number, a boolean, a date or nothing, by an old reader or a new one.
fn reads_as_something_else(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", "y", "Y", "yes", "Yes",
        "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF", ".nan", ".NaN", ".NAN", ".inf",
        ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
    ];
    if WORDS.contains(&text) {
        return true;
    }
    match text.as_bytes().first() {
        Some(b'.') => is_go_float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => is_date(text) || is_number(text) || is_base60(text),
        Some(_) | None => false,
    }
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    is_go_integer(&plain) || is_decimal(&plain)
}

/// What Go's `ParseInt` takes with base 0, and a few more prefixes that YAML has.
fn is_go_integer(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let lower = unsigned.to_ascii_lowercase();
    let (digits, radix) = if let Some(rest) = lower.strip_prefix("0x") {
        (rest, 16)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (rest, 2)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (rest, 8)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return false;
    }
    let limit = if negative { u64::MAX / 2 + 1 } else { u64::MAX };
    u64::from_str_radix(digits, radix).is_ok_and(|n| n <= limit)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` of a size that a float can have.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number_fits = match number.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(number),
    };
    number_fits && exponent.is_none_or(digits) && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What Go's `ParseFloat` takes of a text that begins with a point.
fn is_go_float(text: &str) -> bool {
    is_decimal(text)
}

fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let first = parts.next().is_some_and(|part| {
        part.starts_with(|c: char| c.is_ascii_digit()) && part.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    });
    let mut rest = parts.peekable();
    first
        && rest.peek().is_some()
        && rest.all(|part| {
            let bytes = part.as_bytes();
            match bytes {
                [one] => one.is_ascii_digit(),
                [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
                _ => false,
            }
        })
        && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// Dates and times that YAML would read as such: `2001-2-3`, `2001-02-03T04:05:06Z`, `2001-02-03 04:05:06`.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    };
    let number = |text: &str, range: std::ops::RangeInclusive<u8>| {
        (1..=2).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|n| range.contains(&n))
    };
    let mut parts = date.split('-').skip(1);
    let (Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let leap = |year: u16| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match (month.parse::<u8>(), text[..4].parse::<u16>()) {
        (Ok(4 | 6 | 9 | 11), _) => 30,
        (Ok(2), Ok(year)) => 28 + u8::from(leap(year)),
        _ => 31,
    };
    if !number(month, 1..=12) || !number(day, 1..=days) {
        return false;
    }
    let Some((separator, time)) = time else { return true };
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let mut parts = clock.split(':');
    let (Some(hour), Some(minute), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (second, fraction) = second.split_once('.').map_or((second, None), |(s, f)| (s, Some(f)));
    let clock_fits = number(hour, 0..=23)
        && number(minute, 0..=59)
        && number(second, 0..=59)
        && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    let zone_fits = match (separator, zone) {
        (b' ', zone) => zone.is_empty(),
        (_, "Z") => true,
        (_, zone) => zone
            .strip_prefix(['+', '-'])
            .and_then(|zone| zone.split_once(':'))
            .is_some_and(|(h, m)| h.len() == 2 && m.len() == 2 && number(h, 0..=24) && number(m, 0..=60)),
    };
    clock_fits && zone_fits
}

/// The order of keys: letters by their codes, numbers by their value, anything else before letters.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for i in 0..left.len().min(right.len()) {
        let (x, y) = (left[i], right[i]);
        if x == y {
            digits = x.is_numeric();
            continue;
        }
        match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => return x.cmp(&y),
            // Behind a number, its end comes first; elsewhere letters come last.
            (true, false) => return if digits { Ordering::Less } else { Ordering::Greater },
            (false, true) => return if digits { Ordering::Greater } else { Ordering::Less },
            (false, false) => {}
        }
        let continues =
            (x == '0' || y == '0') && left[..i].iter().rev().take_while(|c| c.is_numeric()).any(|c| *c != '0');
        let number = |chars: &[char]| {
            let run = chars[i..].iter().take_while(|c| c.is_numeric());
            run.fold((i64::from(continues), i), |(n, end), c| {
                let digit = i64::from(u32::from(*c)) - i64::from(u32::from('0'));
                (n.wrapping_mul(10).wrapping_add(digit), end + 1)
            })
        };
        let (first, second) = (number(&left), number(&right));
        return first.cmp(&second).then(x.cmp(&y));
    }
    left.len().cmp(&right.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        document(&Value::Map(vec![("k".to_owned(), Value::Text(text.to_owned()))]))
    }

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        for (text, expected) in [
            ("plain text", "plain text"),
            ("", "\"\""),
            ("true", "\"true\""),
            ("yes", "\"yes\""),
            ("1.5", "\"1.5\""),
            ("0755", "\"0755\""),
            ("0x1f", "\"0x1f\""),
            ("0899", "\"0899\""),
            ("1_000", "\"1_000\""),
            ("12:30", "\"12:30\""),
            ("80:80", "80:80"),
            ("1e3", "\"1e3\""),
            ("2001-02-03", "\"2001-02-03\""),
            ("2001-02-30", "2001-02-30"),
            ("1.2.3", "1.2.3"),
            ("- x", "'- x'"),
            ("-x", "-x"),
            ("a: b", "'a: b'"),
            ("a:b", "a:b"),
            ("a #b", "'a #b'"),
            ("a#b", "a#b"),
            ("it's", "it's"),
            ("'it's", "'''it''s'"),
            ("*", "'*'"),
            ("[x]", "'[x]'"),
            (" x", "' x'"),
            ("tab\tx", "\"tab\\tx\""),
            ("ü", "ü"),
            ("🙂", "\"\\U0001F642\""),
            ("a\nb", "|-\n    a\n    b"),
            ("a\nb\n", "|\n    a\n    b"),
            ("a\n\n", "|+\n    a\n"),
            ("a \nb", "\"a \\nb\""),
            ("a\n  b\n", "|\n    a\n      b"),
        ] {
            assert_eq!(written(text), format!("k: {}\n", expected.replace("\n    ", "\n  ")), "{text:?}");
        }
    }

    #[test]
    fn lists_and_maps_are_indented() {
        let text = |text: &str| Value::Text(text.to_owned());
        let map =
            |entries: &[(&str, Value)]| Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect());
        let value = map(&[
            ("a", Value::List(vec![text("x"), map(&[("b", Value::Null), ("c", Value::List(vec![]))])])),
            (
                "d",
                map(&[
                    ("e", Value::Map(vec![])),
                    ("f", Value::List(vec![Value::List(vec![Value::Int(1), Value::Int(2)])])),
                ]),
            ),
        ]);
        assert_eq!(document(&value), "a:\n  - x\n  - b: null\n    c: []\nd:\n  e: {}\n  f:\n    - - 1\n      - 2\n");
    }

    #[test]
    fn keys_are_sorted_as_people_count() {
        let mut keys = vec!["b", "a10", "a9", "A", "a", "a_b", "aa", "1", "a1b", "a01"];
        keys.sort_by(|a, b| natural_order(a, b));
        assert_eq!(keys, ["1", "A", "a", "a_b", "a1b", "a01", "a9", "a10", "aa", "b"]);
    }
}
