//! The log of one service, from one place to another, line by line. One block of it is in memory at a time.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use memchr::memchr;

use super::Query;
use super::filter::Sieve;
use super::follow::Position;
use super::part::{self, BLOCK, Part, Place};
use crate::logs::chunk::{raw_lines, text};
use crate::logs::file::{current, set_aside};
use crate::logs::stored::{Parsed, stamp};
use crate::logs::{LogLine, pinned};
use crate::name::ServiceName;

/// How many files of one service are looked for. More than any rotation keeps.
pub(super) const MAX_FILES: u32 = 64;

/// The lines of one service that a query asks for.
pub(super) struct Source {
    service: ServiceName,
    sieve: Sieve,
    parts: VecDeque<Part>,
    /// The offset in the first part from which the next block is read.
    offset: u64,
    /// Where the last part ends.
    end: u64,
    buffer: Vec<u8>,
    /// How much of the buffer was given.
    given: usize,
}

impl Source {
    /// Finds the lines, and where to go on with those that are written later.
    pub(super) fn open(folder: &Path, service: &ServiceName, query: &Query) -> io::Result<(Self, Position)> {
        let (mut parts, position) = files(folder, service)?;
        let range = range(&mut parts, query)?;
        let mut source = Self {
            service: service.clone(),
            sieve: Sieve::new(query.filter.clone()),
            parts: VecDeque::new(),
            offset: 0,
            end: 0,
            buffer: Vec::new(),
            given: 0,
        };
        if let Some((begin, end)) = range.filter(|(begin, end)| begin < end) {
            parts.truncate(end.part + 1);
            source.parts = parts.into_iter().skip(begin.part).collect();
            (source.offset, source.end) = (begin.offset, end.offset);
        }
        Ok((source, position))
    }

    /// The next line.
    pub(super) fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            while let Some(end) = memchr(b'\n', &self.buffer[self.given..]).map(|i| self.given + i) {
                let line = line(&self.service, &self.buffer[self.given..end]);
                self.given = end + 1;
                if let Some(line) = line.filter(|line| self.sieve.passes(line)) {
                    return Ok(Some(line));
                }
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads the next block, of the next part where this one is done.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.given);
        self.given = 0;
        let is_last = self.parts.len() == 1;
        let Some(part) = self.parts.front_mut() else { return Ok(false) };
        if is_last {
            part.len = part.len.min(self.end);
        }
        let n = part.block(self.offset, &mut self.buffer)?;
        self.offset += n as u64;
        if n == 0 {
            // A line that was not written to its end goes with its file.
            self.buffer.clear();
            self.parts.pop_front();
            self.offset = 0;
        }
        if self.buffer.capacity() > 4 * BLOCK && self.buffer.len() < BLOCK {
            self.buffer.shrink_to(2 * BLOCK);
        }
        Ok(!self.parts.is_empty())
    }
}

/// Reads a line of a file; `None` for a mark, and for what is no line of ours.
pub(super) fn line(service: &ServiceName, raw: &[u8]) -> Option<LogLine> {
    let parsed = Parsed::of(raw)?;
    let stream = parsed.stream()?;
    let text = text(parsed.text.strip_suffix(b"\r").unwrap_or(parsed.text)).into_owned();
    Some(LogLine { service: service.clone(), stream, at: parsed.stamp.parse().ok()?, text })
}

/// The files of a service, the oldest first, with what was pinned of those that are gone; and where they end now.
fn files(folder: &Path, service: &ServiceName) -> io::Result<(Vec<Part>, Position)> {
    let Some(newest) = Part::open(&current(folder, service))? else { return Ok((Vec::new(), Position::default())) };
    let position = Position::at(&current(folder, service), &newest)?;
    let mut parts = vec![newest];
    for n in 1..MAX_FILES {
        let Some(older) = Part::open(&set_aside(folder, service, n))? else { break };
        // Rotated between the two looks: this one is there already.
        if older.identity != parts[parts.len() - 1].identity {
            parts.push(older);
        }
    }
    parts.reverse();
    let pinned = match fs::read(pinned::path(folder, service)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((parts, position)),
        Err(e) => return Err(e),
    };
    let oldest = part::oldest(&mut parts)?;
    let is_gone = |line: &&[u8]| Parsed::of(line).is_some_and(|line| oldest.as_deref().is_none_or(|o| line.stamp < o));
    let gone: Vec<u8> = raw_lines(&pinned).filter(is_gone).flat_map(|line| [line, b"\n"].concat()).collect();
    if !gone.is_empty() {
        parts.insert(0, Part::of(gone));
    }
    Ok((parts, position))
}

/// Where in the files stands what a query asks for; `None` where nothing does.
fn range(parts: &mut [Part], query: &Query) -> io::Result<Option<(Place, Place)>> {
    let Some(newest) = parts.last() else { return Ok(None) };
    let mut begin = Place { part: 0, offset: 0 };
    let mut end = Place { part: parts.len() - 1, offset: newest.len };
    if query.previous {
        match part::previous(parts, end)? {
            Some(found) => (begin, end) = found,
            None => return Ok(None),
        }
    }
    if query.current
        && let Some((_, last)) = part::previous(parts, end)?
    {
        begin = last;
    }
    if let Some(until) = query.until {
        end = end.min(part::find(parts, &stamp(until), true)?);
    }
    if let Some(since) = query.since {
        begin = begin.max(part::find(parts, &stamp(since), false)?);
    }
    if let Some(n) = query.tail {
        let is_open = query.filter.is_open();
        let counts = |line: Parsed<'_>| line.stream().is_some() && (is_open || query.filter.counts(&text(line.text)));
        begin = part::last(parts, (begin, end), n, counts)?;
    }
    Ok(Some((begin, end)))
}
