//! Cuts a stream of bytes into whole lines, as cheaply as the bytes can be copied: what leaves here is a chunk of lines,
//! each with its newline. Knows nothing of services, text or time.

use memchr::{memchr, memrchr};

/// The longest line that stays in one piece. A program that prints a megabyte without a newline must not make devctl
/// hold it all, so a longer line is cut.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// Ends a piece that goes on in the next line.
const GOES_ON: &[u8] = " …\n".as_bytes();

/// Begins a piece that continues the line before.
const CONTINUED: &[u8] = "… ".as_bytes();

/// The state of one stream: the beginning of a line whose end has not come yet.
#[derive(Default)]
pub(super) struct Framer {
    carry: Vec<u8>,
}

impl Framer {
    /// Takes at most [`MAX_LINE`] bytes and gives back the lines that are whole now.
    pub(super) fn push(&mut self, piece: &[u8]) -> Option<Box<[u8]>> {
        debug_assert!(piece.len() <= MAX_LINE, "only the first line of a piece may be too long, so pieces are short");
        let Some(last) = memrchr(b'\n', piece) else {
            self.carry.extend_from_slice(piece);
            let mut out = Vec::new();
            self.cut(&mut out);
            return (!out.is_empty()).then(|| out.into_boxed_slice());
        };
        let (whole, rest) = piece.split_at(last + 1);
        let first = memchr(b'\n', whole).unwrap_or(last);
        let mut out = Vec::with_capacity(self.carry.len() + whole.len());
        if self.carry.len() + first > MAX_LINE {
            self.carry.extend_from_slice(&whole[..first]);
            self.cut(&mut out);
            out.append(&mut self.carry);
            out.extend_from_slice(&whole[first..]);
        } else {
            out.append(&mut self.carry);
            out.extend_from_slice(whole);
        }
        self.carry.extend_from_slice(rest);
        Some(out.into_boxed_slice())
    }

    /// Ends the stream: what was carried is a line too.
    pub(super) fn end(&mut self) -> Option<Box<[u8]>> {
        if self.carry.is_empty() {
            return None;
        }
        let mut out = std::mem::take(&mut self.carry);
        out.push(b'\n');
        Some(out.into_boxed_slice())
    }

    fn cut(&mut self, out: &mut Vec<u8>) {
        while self.carry.len() > MAX_LINE {
            let at = character_start(&self.carry, MAX_LINE);
            out.extend_from_slice(&self.carry[..at]);
            out.extend_from_slice(GOES_ON);
            let mut rest = CONTINUED.to_vec();
            rest.extend_from_slice(&self.carry[at..]);
            self.carry = rest;
        }
    }
}

/// The last place at or before `at` where a UTF-8 character begins, so that no character is torn.
fn character_start(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|&i| bytes[i] & 0xc0 != 0x80).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push(framer: &mut Framer, piece: &[u8]) -> String {
        framer.push(piece).map(|b| String::from_utf8(b.into_vec()).unwrap()).unwrap_or_default()
    }

    #[test]
    fn a_partial_line_waits_for_its_end() {
        let mut framer = Framer::default();
        assert_eq!(push(&mut framer, b"one\ntw"), "one\n");
        assert_eq!(push(&mut framer, b""), "");
        assert_eq!(push(&mut framer, b"o"), "");
        assert_eq!(push(&mut framer, b"\nthree\n\nfo"), "two\nthree\n\n");
        assert_eq!(framer.end().unwrap().as_ref(), b"fo\n");
        assert!(framer.end().is_none());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_marked() {
        let mut framer = Framer::default();
        assert_eq!(push(&mut framer, &vec![b'x'; MAX_LINE]), "");
        let out = push(&mut framer, b"yz\nshort\n");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], format!("{} …", "x".repeat(MAX_LINE)));
        assert_eq!(lines[1..], ["… yz", "short"]);
    }

    #[test]
    fn memory_stays_bounded_without_any_newline() {
        let mut framer = Framer::default();
        let piece = vec![b'x'; MAX_LINE];
        let count = |bytes: Box<[u8]>| memchr::memchr_iter(b'x', &bytes).count();
        let mut kept = 0;
        for _ in 0..64 {
            kept += framer.push(&piece).map_or(0, count);
            assert!(framer.carry.len() <= MAX_LINE);
        }
        kept += framer.end().map_or(0, count);
        assert_eq!(kept, 64 * MAX_LINE);
    }

    #[test]
    fn a_cut_tears_no_character() {
        let mut framer = Framer::default();
        let mut text = vec![b'x'; MAX_LINE - 1];
        text.push("ä".as_bytes()[0]);
        assert_eq!(push(&mut framer, &text), "");
        let out = framer.push(&[&"ä".as_bytes()[1..], b"\n"].concat()).unwrap();
        assert!(std::str::from_utf8(&out).is_ok());
    }

    proptest! {
        #[test]
        fn however_the_bytes_arrive_the_lines_are_the_same(
            lines in prop::collection::vec("[a-zä]{0,40}", 0..20),
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            let text: String = lines.iter().flat_map(|l| [l.as_str(), "\n"]).collect();
            let mut framer = Framer::default();
            let (mut out, mut rest, mut i) = (Vec::new(), text.as_bytes(), 0);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts[i % cuts.len()].min(rest.len()));
                out.extend(framer.push(piece).into_iter().flatten());
                (rest, i) = (after, i + 1);
            }
            prop_assert_eq!(out, text.into_bytes());
            prop_assert!(framer.end().is_none());
        }
    }
}
