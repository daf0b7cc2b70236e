//! One file of a service's log, and where in several of them something stands. Nothing is read that need not be: a
//! place is found from the end or by halving, never by reading all that comes before it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use memchr::{memchr, memrchr};

use crate::logs::mark::{self, Kind};
use crate::logs::stored::Parsed;
use crate::os::file_id::FileId;

/// How much is read at a time.
pub(super) const BLOCK: usize = 64 * 1024;

/// A file, or lines in memory that stand for one.
pub(super) trait Data: Read + Seek + Send {}
impl<T: Read + Seek + Send> Data for T {}

/// One of the files that make up a log.
pub(super) struct Part {
    pub(super) data: Box<dyn Data>,
    /// Which file it is; `None` for lines in memory.
    pub(super) identity: Option<FileId>,
    /// How long it was when it was opened; what is written later is not read.
    pub(super) len: u64,
}

/// A place between two lines of a log: the number of the part, the oldest being 0, and the offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) part: usize,
    pub(super) offset: u64,
}

impl Part {
    /// Opens a file; `None` where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let metadata = file.metadata()?;
                let (identity, len) = (Some(FileId::of(&metadata)), metadata.len());
                Ok(Some(Self { data: Box::new(file), identity, len }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Takes lines in memory for a file.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { data: Box::new(Cursor::new(bytes)), identity: None, len }
    }

    /// Reads a block at `offset`, at most up to the end; empty there.
    pub(super) fn block(&mut self, offset: u64, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.data.seek(SeekFrom::Start(offset))?;
        let most = self.len.saturating_sub(offset).min(BLOCK as u64);
        self.data.by_ref().take(most).read_to_end(buffer)
    }

    /// Walks back over the whole lines before `end`, and tells where each begins.
    fn back(&mut self, end: u64, mut look: impl FnMut(u64, &[u8]) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
        let mut start = end;
        let mut bytes: Vec<u8> = Vec::new();
        let mut whole = false;
        loop {
            if !whole && let Some(last) = memrchr(b'\n', &bytes) {
                // What stands behind the last newline is not written to its end yet.
                bytes.truncate(last + 1);
                whole = true;
            }
            while whole && let Some(line_end) = bytes.len().checked_sub(1) {
                let Some(newline) = memrchr(b'\n', &bytes[..line_end]) else { break };
                if look(start + newline as u64 + 1, &bytes[newline + 1..line_end]).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                bytes.truncate(newline + 1);
            }
            if start == 0 {
                return Ok(match bytes.split_last() {
                    Some((_, line)) if whole => look(0, line),
                    Some(_) | None => ControlFlow::Continue(()),
                });
            }
            let step = start.min(BLOCK as u64);
            start -= step;
            self.data.seek(SeekFrom::Start(start))?;
            let mut block = Vec::with_capacity(BLOCK + bytes.len());
            self.data.by_ref().take(step).read_to_end(&mut block)?;
            block.extend_from_slice(&bytes);
            bytes = block;
        }
    }

    /// The first line of ours that begins at or after `offset`, where `offset` is 0, and after it elsewhere: where it
    /// begins, and its stamp.
    fn stamp_after(&mut self, offset: u64) -> io::Result<Option<(u64, String)>> {
        let (mut from, mut at, mut bytes, mut skip) = (offset, offset, Vec::new(), offset > 0);
        loop {
            let n = self.block(at, &mut bytes)?;
            at += n as u64;
            let mut rest = 0;
            while let Some(end) = memchr(b'\n', &bytes[rest..]).map(|i| rest + i) {
                if let Some(line) = Parsed::of(&bytes[rest..end]).filter(|_| !skip) {
                    return Ok(Some((from + rest as u64, line.stamp.to_owned())));
                }
                skip = false;
                rest = end + 1;
            }
            bytes.drain(..rest);
            from += rest as u64;
            if n == 0 {
                return Ok(None);
            }
        }
    }

    /// Where the first line begins whose stamp is at or after `stamp`; `after`: whose stamp is after it. Stamps of one
    /// file only grow, unless the clock was set back.
    fn find(&mut self, stamp: &str, after: bool) -> io::Result<u64> {
        let is_before = |found: &str| if after { found <= stamp } else { found < stamp };
        let (mut low, mut high) = (0, self.len);
        while high - low > BLOCK as u64 {
            let middle = low + (high - low) / 2;
            match self.stamp_after(middle)? {
                Some((at, found)) if is_before(&found) && at < high => low = at,
                Some(_) | None => high = middle,
            }
        }
        // `low` is the beginning of a line, or the beginning of the file.
        let mut at = low;
        let mut bytes = Vec::new();
        let mut from = low;
        loop {
            let n = self.block(at, &mut bytes)?;
            at += n as u64;
            let mut rest = 0;
            while let Some(end) = memchr(b'\n', &bytes[rest..]).map(|i| rest + i) {
                if Parsed::of(&bytes[rest..end]).is_some_and(|line| !is_before(line.stamp)) {
                    return Ok(from + rest as u64);
                }
                rest = end + 1;
            }
            bytes.drain(..rest);
            from += rest as u64;
            if n == 0 {
                return Ok(from);
            }
        }
    }
}

/// The stamp of the first line.
pub(super) fn oldest(parts: &mut [Part]) -> io::Result<Option<String>> {
    for part in parts {
        if let Some((_, stamp)) = part.stamp_after(0)? {
            return Ok(Some(stamp));
        }
    }
    Ok(None)
}

/// Where the first line stands whose stamp is at or after `stamp`, or after it where `after` says so.
pub(super) fn find(parts: &mut [Part], stamp: &str, after: bool) -> io::Result<Place> {
    for (number, part) in parts.iter_mut().enumerate().rev() {
        let begins_before =
            part.stamp_after(0)?.is_some_and(|(_, first)| if after { &*first <= stamp } else { &*first < stamp });
        if begins_before {
            return Ok(Place { part: number, offset: part.find(stamp, after)? });
        }
    }
    Ok(Place { part: 0, offset: 0 })
}

/// Where the last `n` lines before `end` begin that `counts` counts; not before `begin`.
pub(super) fn last(
    parts: &mut [Part],
    (begin, end): (Place, Place),
    n: usize,
    mut counts: impl FnMut(Parsed<'_>) -> bool,
) -> io::Result<Place> {
    let (mut left, mut place) = (n, end);
    if left == 0 {
        return Ok(end);
    }
    walk_back(parts, (begin, end), |at, line| {
        if Parsed::of(line).is_some_and(&mut counts) {
            place = at;
            left -= 1;
        }
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(if left == 0 { place } else { begin })
}

/// The lines between the start before the last one and the last one. All before the last start where there is no other;
/// `None` where there is nothing.
pub(super) fn previous(parts: &mut [Part], end: Place) -> io::Result<Option<(Place, Place)>> {
    let (mut starts, mut open) = (Vec::new(), None);
    let origin = Place { part: 0, offset: 0 };
    walk_back(parts, (origin, end), |at, line| {
        let kind = Parsed::of(line).filter(|line| line.letter == mark::LETTER).and_then(|line| Kind::parse(line.text));
        match kind {
            Some(Kind::Build) => {
                open = None;
                starts.push(at);
            }
            // Whether a life begins here is known once the mark before is.
            Some(Kind::Start(_)) => starts.extend(open.replace(at)),
            Some(Kind::Pid(_)) | None => {}
        }
        if starts.len() > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    starts.extend(open);
    Ok(match starts[..] {
        [] => None,
        [last] => Some((origin, last)),
        [last, before, ..] => Some((before, last)),
    })
}

fn walk_back(
    parts: &mut [Part],
    (begin, end): (Place, Place),
    mut look: impl FnMut(Place, &[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    for number in (begin.part..=end.part.min(parts.len().saturating_sub(1))).rev() {
        let Some(part) = parts.get_mut(number) else { continue };
        let from = if number == end.part { end.offset } else { part.len };
        let walked = part.back(from, |offset, line| {
            let at = Place { part: number, offset };
            if at < begin { ControlFlow::Break(()) } else { look(at, line) }
        })?;
        if walked.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, letter: char, text: &str) -> String {
        format!("2026-11-20T08:{:02}:{:02}.000000Z {letter} {text}\n", second / 60, second % 60)
    }

    /// Lines 0 to 999 in three parts, one each second, long enough for several blocks; the last is not written to its end.
    fn parts() -> Vec<Part> {
        let text = |range: std::ops::Range<u32>| {
            range.map(|i| line(i, 'O', &format!("{i} {}", "x".repeat(400)))).collect::<String>().into_bytes()
        };
        let mut last = text(600..1000);
        last.extend_from_slice(b"2026-11-20T08:59:00.000000Z O not whole");
        vec![Part::of(text(0..200)), Part::of(text(200..600)), Part::of(last)]
    }

    fn end(parts: &[Part]) -> Place {
        Place { part: parts.len() - 1, offset: parts.last().unwrap().len }
    }

    fn number_at(parts: &mut [Part], place: Place) -> String {
        let mut bytes = Vec::new();
        parts[place.part].block(place.offset, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        text.split(' ').nth(2).unwrap_or_default().to_owned()
    }

    #[test]
    fn the_last_lines_are_found_over_parts_and_blocks() {
        let mut parts = parts();
        let origin = Place { part: 0, offset: 0 };
        let end = end(&parts);
        for n in [1, 2, 150, 399, 401, 799, 801, 999] {
            let place = last(&mut parts, (origin, end), n, |_| true).unwrap();
            assert_eq!(number_at(&mut parts, place), (1000 - n).to_string());
        }
        assert_eq!(last(&mut parts, (origin, end), 5000, |_| true).unwrap(), origin);
        assert_eq!(last(&mut parts, (origin, end), 0, |_| true).unwrap(), end);
        let even =
            last(&mut parts, (origin, end), 3, |line| line.text.starts_with(b"99") && line.text[2] % 2 == 0).unwrap();
        assert_eq!(number_at(&mut parts, even), "994");
    }

    #[test]
    fn a_moment_is_found_wherever_it_is() {
        let mut parts = parts();
        for (second, after, expected) in
            [(0, false, 0), (1, false, 1), (199, true, 200), (200, false, 200), (777, false, 777), (777, true, 778)]
        {
            let stamp = &line(second, 'O', "")[..27];
            let place = find(&mut parts, stamp, after).unwrap();
            // The end of a part is the beginning of the next.
            let found = match number_at(&mut parts, place) {
                none if none.is_empty() => number_at(&mut parts, Place { part: place.part + 1, offset: 0 }),
                found => found,
            };
            assert_eq!(found, expected.to_string(), "{second} {after}");
        }
        let place = find(&mut parts, "2026-11-21", false).unwrap();
        assert_eq!(parts[2].len - place.offset, b"2026-11-20T08:59:00.000000Z O not whole".len() as u64);
        assert_eq!(oldest(&mut parts).unwrap().unwrap(), "2026-11-20T08:00:00.000000Z");
        assert_eq!(oldest(&mut []).unwrap(), None);
    }

    #[test]
    fn the_previous_life_lies_between_two_starts() {
        for (letters, expected) in [
            ("", None),
            ("ab", None),
            ("S", Some("")),
            ("abS", Some("ab")),
            ("abSc", Some("ab")),
            ("aSbScd", Some("Sb")),
            ("SaSbBcSd", Some("Sb")),
            ("SaBbScBd", Some("BbSc")),
            ("SaSbBcSdSe", Some("BcSd")),
            ("SaPbSPc", Some("SaPb")),
        ] {
            let text: String = letters
                .chars()
                .enumerate()
                .map(|(i, c)| {
                    let second = u32::try_from(i).unwrap();
                    match c {
                        'S' => line(second, 'S', "start 1"),
                        'B' => line(second, 'S', "build"),
                        'P' => line(second, 'S', "pid 7"),
                        c => line(second, 'E', &c.to_string()),
                    }
                })
                .collect();
            let mut parts = vec![Part::of(text.into_bytes())];
            let end = end(&parts);
            let found = previous(&mut parts, end).unwrap().map(|(begin, end)| {
                let mut bytes = Vec::new();
                parts[0].block(begin.offset, &mut bytes).unwrap();
                bytes.truncate(usize::try_from(end.offset - begin.offset).unwrap());
                let short = |l: &str| match &l[30..] {
                    "start 1" => "S".to_owned(),
                    "build" => "B".to_owned(),
                    "pid 7" => "P".to_owned(),
                    text => text.to_owned(),
                };
                String::from_utf8(bytes).unwrap().lines().map(short).collect::<String>()
            });
            assert_eq!(found.as_deref(), expected, "{letters}");
        }
    }
}
