//! Whole lines that were read together: one allocation, one stamp, decoded into text only for those who look.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use memchr::memchr;

use super::{LogLine, Stream};
use crate::name::ServiceName;

/// Lines of one stream of one service, each ending with a newline, as they came from the program.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) service: ServiceName,
    pub(super) stream: Stream,
    pub(super) at: Timestamp,
    pub(super) bytes: Box<[u8]>,
    pub(super) count: usize,
    /// Whether there is nothing but printable ASCII, tabs and newlines.
    pub(super) is_simple: bool,
}

impl Chunk {
    pub(super) fn new(service: ServiceName, stream: Stream, at: Timestamp, bytes: Box<[u8]>) -> Self {
        let count = memchr::memchr_iter(b'\n', &bytes).count();
        let is_simple = is_simple(&bytes);
        Self { service, stream, at, bytes, count, is_simple }
    }

    /// The lines as they came, without `\n` or `\r\n`.
    pub(super) fn raw_lines(&self) -> impl Iterator<Item = &[u8]> {
        raw_lines(&self.bytes)
    }

    /// The lines from number `first` on, as text.
    pub(super) fn lines_from(&self, first: usize) -> impl Iterator<Item = LogLine> {
        self.raw_lines().skip(first).map(|line| self.line(line))
    }

    /// A line of this chunk, as text.
    pub(super) fn line(&self, raw: &[u8]) -> LogLine {
        LogLine { service: self.service.clone(), stream: self.stream, at: self.at, text: text(raw).into_owned() }
    }
}

/// Whether bytes are printable ASCII, tabs and newlines. Eight at a time: this is asked of everything that is printed.
fn is_simple(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let simple = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    let (words, rest) = bytes.as_chunks::<8>();
    let word = |bytes: &[u8; 8]| {
        let word = u64::from_ne_bytes(*bytes);
        // A carry or a borrow comes only out of a byte that is found by itself.
        let above = word | word.wrapping_add(ONES);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        (above | below) & HIGH == 0 || bytes.iter().all(simple)
    };
    words.iter().all(word) && rest.iter().all(simple)
}

/// Cuts bytes that end with a newline into lines, without `\n` or `\r\n`.
pub(super) fn raw_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// Bytes as text; those that are not UTF-8 are shown as `\xNN`, so that nothing is lost and nothing is guessed.
pub(crate) fn text(raw: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(raw.len() + 16);
    for part in raw.utf8_chunks() {
        out.push_str(part.valid());
        for byte in part.invalid() {
            write!(out, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    Cow::Owned(out)
}

/// Text without the escape sequences that colour it or move the cursor: files are read by `grep` and by editors.
pub(crate) fn without_escapes(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr(0x1b, text.as_bytes()) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = text[first..].chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match rest.clone().next() {
            // CSI: parameters and intermediates up to a final byte (ECMA-48, 5.4).
            Some('[') => {
                rest.next();
                rest.find(|c| matches!(c, '\u{40}'..='\u{7e}'));
            }
            // OSC, DCS, SOS, PM, APC: a string up to BEL or ST. Window titles and hyperlinks.
            Some(']' | 'P' | 'X' | '^' | '_') => {
                rest.next();
                while let Some(c) = rest.next() {
                    if c == '\u{7}' {
                        break;
                    }
                    if c == '\u{1b}' {
                        rest.next();
                        break;
                    }
                }
            }
            // Two-character sequences with an intermediate: character sets.
            Some('(' | ')' | '*' | '+' | '#' | ' ' | '%') => {
                rest.next();
                rest.next();
            }
            Some('\u{30}'..='\u{7e}') => {
                rest.next();
            }
            Some(_) | None => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_stay_readable() {
        for (raw, shown) in [
            (&b"plain"[..], "plain"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"a\xffb\xfe\xfd", "a\\xffb\\xfe\\xfd"),
            (b"torn \xc3", "torn \\xc3"),
            (b"", ""),
        ] {
            assert_eq!(text(raw), shown);
        }
    }

    #[test]
    fn escapes_go_and_the_words_stay() {
        for (with, without) in [
            ("no escape", "no escape"),
            ("\u{1b}[1;31mred\u{1b}[0m end", "red end"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bcharset", "charset"),
            ("\u{1b}[2K\u{1b}[1Gline", "line"),
            ("unfinished \u{1b}[3", "unfinished "),
            ("lone \u{1b}", "lone "),
            ("\u{1b}äö", "äö"),
        ] {
            assert_eq!(without_escapes(with), without);
        }
    }

    #[test]
    fn simple_is_printable_ascii_at_every_place() {
        for byte in 0..=255 {
            let expected = matches!(byte, b'\t' | b'\n' | 0x20..=0x7e);
            for place in 0..20 {
                let mut bytes = [b'x'; 20];
                bytes[place] = byte;
                assert_eq!(is_simple(&bytes), expected, "{byte:#x} at {place}");
            }
        }
        assert!(is_simple(b""));
    }

    #[test]
    fn both_line_ends_are_dropped() {
        let lines: Vec<&[u8]> = raw_lines(b"unix\nwindows\r\n\n\r\nprogress\r100%\n").collect();
        assert_eq!(lines, [&b"unix"[..], b"windows", b"", b"", b"progress\r100%"]);
    }
}
