//! A line as the files have it: when it was read, the letter of its stream or of a mark, the text.
//!
//! `2026-11-20T08:00:00.123456Z O listening on 8000`

use jiff::Timestamp;

use super::{Stream, mark};

/// The length of a stamp: `2026-11-20T08:00:00.123456Z`. All have the same, so that they compare as text.
pub(super) const STAMP: usize = 27;

/// How a stream is named in the files.
pub(super) fn letter(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => b'O',
        Stream::Stderr => b'E',
    }
}

/// A moment as the files have it.
pub(super) fn stamp(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// What stands before the text of a line: when it was read, and the letter of its stream.
pub(super) fn prefix(at: Timestamp, letter: u8) -> String {
    format!("{} {} ", stamp(at), char::from(letter))
}

/// A line of a file, in its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parsed<'a> {
    pub(super) stamp: &'a str,
    pub(super) letter: u8,
    pub(super) text: &'a [u8],
}

impl<'a> Parsed<'a> {
    /// `None` for what is no line of ours, such as one that a full disk tore.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        let space = memchr::memchr(b' ', line)?;
        let stamp = std::str::from_utf8(&line[..space]).ok().filter(|stamp| stamp.len() == STAMP)?;
        match line.get(space + 1..)? {
            [letter @ (b'O' | b'E' | mark::LETTER), b' ', text @ ..] => Some(Self { stamp, letter: *letter, text }),
            _ => None,
        }
    }

    /// The stream; `None` for a mark.
    pub(super) fn stream(self) -> Option<Stream> {
        match self.letter {
            b'O' => Some(Stream::Stdout),
            b'E' => Some(Stream::Stderr),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let at: Timestamp = "2026-11-20T08:00:00Z".parse().unwrap();
        for (letter, stream) in [(letter(Stream::Stdout), Some(Stream::Stdout)), (mark::LETTER, None)] {
            let line = format!("{}two words", prefix(at, letter));
            let parsed = Parsed::of(line.as_bytes()).unwrap();
            assert_eq!((parsed.stamp.len(), parsed.stream(), parsed.text), (STAMP, stream, &b"two words"[..]));
            assert_eq!(parsed.stamp.parse::<Timestamp>().unwrap(), at);
        }
    }

    #[test]
    fn what_is_no_line_of_ours_is_none() {
        let stamp = "2026-11-20T08:00:00.123456Z";
        for bad in
            ["", "x", stamp, &format!("{stamp} X a"), &format!("{stamp} Oa"), "no O a", "2026-11-20T08:00:00Z O a"]
        {
            assert!(Parsed::of(bad.as_bytes()).is_none(), "{bad}");
        }
        assert_eq!(Parsed::of(format!("{stamp} O ").as_bytes()).unwrap().text, b"");
    }
}
