//! What of each start outlives the rotation of the files: its first lines and its first error, which are what a person
//! looks for after a flood.
//!
//! `<service>.pinned` beside the log has lines in the form of the log, those of a start behind its `S` mark, the oldest
//! of the last [`STARTS`] starts first. It is written when a file is set aside, as until then the log has all of it; so
//! a run that never rotates pays nothing. A line is in it *and* in the log for as long as the log has it: a reader takes
//! from it only what is older than the oldest line of the log. Stamps of one service never repeat, so that nothing is
//! read twice and nothing missed.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::LogLine;
use super::chunk::{Chunk, raw_lines, text, without_escapes};
use super::error_line::ErrorLines;
use super::file::current;
use super::mark::{self, Kind, Mark};
use super::stored::{Parsed, letter, prefix};
use crate::name::ServiceName;
use crate::os::files;

/// How many starts are kept.
const STARTS: usize = 5;

/// How many lines of the beginning of a start are kept.
pub(super) const FIRST_LINES: usize = 20;

/// How many bytes of one start are kept, as lines may be long.
const MAX_BYTES: usize = 32 * 1024;

/// Where the pinned lines of a service are.
pub(super) fn path(folder: &Path, service: &ServiceName) -> PathBuf {
    folder.join(format!("{service}.pinned"))
}

/// The pinned lines of a service.
#[derive(Default)]
pub(super) struct Pins {
    starts: VecDeque<Start>,
    last_mark: Option<Kind>,
    /// Whether there is something that the file does not have.
    changed: bool,
    /// Whether what earlier runs left was taken in.
    loaded: bool,
}

/// One start.
#[derive(Default)]
struct Start {
    /// As it stands in the file.
    bytes: Vec<u8>,
    first_lines: usize,
    has_error: bool,
}

impl Start {
    fn add(&mut self, prefix: &str, text: &str) -> bool {
        let fits = self.bytes.len() + prefix.len() + text.len() < MAX_BYTES;
        if fits {
            self.bytes.extend_from_slice(prefix.as_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(b'\n');
        }
        fits
    }
}

impl Pins {
    /// Takes a mark in.
    pub(super) fn mark(&mut self, mark: &Mark) {
        let begins = mark::begins(mark.kind, self.last_mark);
        if !matches!(mark.kind, Kind::Pid(_)) {
            self.last_mark = Some(mark.kind);
        }
        if begins {
            self.begin();
        }
        self.start().add(&prefix(mark.at, mark::LETTER), &mark.kind.to_string());
        self.changed = true;
    }

    /// Takes lines in; `first_error` is the first error of the start, where it is among them.
    pub(super) fn lines(&mut self, chunk: &Chunk, first_error: Option<&LogLine>) {
        let start = self.start();
        if start.first_lines >= FIRST_LINES && first_error.is_none() {
            return;
        }
        let prefix = prefix(chunk.at, letter(chunk.stream));
        let mut error = first_error.map(|line| line.text.as_str());
        for line in chunk.raw_lines().take(FIRST_LINES - start.first_lines) {
            let line = text(line);
            error = error.filter(|error| *error != line);
            start.add(&prefix, &without_escapes(&line));
            start.first_lines += 1;
        }
        if let Some(error) = error {
            start.add(&prefix, &without_escapes(error));
        }
        start.has_error |= first_error.is_some();
        self.changed = true;
    }

    fn start(&mut self) -> &mut Start {
        if self.starts.is_empty() {
            self.begin();
        }
        self.starts.back_mut().expect("one was begun above")
    }

    fn begin(&mut self) {
        self.starts.push_back(Start::default());
        while self.starts.len() > STARTS {
            self.starts.pop_front();
        }
    }

    /// Writes the file, where it has changed. `inherited`: how much of the current log is of earlier runs.
    pub(super) fn save(&mut self, folder: &Path, service: &ServiceName, inherited: u64) -> io::Result<()> {
        if !std::mem::replace(&mut self.loaded, true) {
            self.load(folder, service, inherited)?;
        }
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        let bytes: Vec<u8> = self.starts.iter().flat_map(|start| start.bytes.iter().copied()).collect();
        files::write_atomic(&path(folder, service), &text(&bytes), false)
    }

    /// Takes in what earlier runs pinned, and what they left in the log that is now set aside: they pinned only what
    /// they set aside themselves.
    fn load(&mut self, folder: &Path, service: &ServiceName, inherited: u64) -> io::Result<()> {
        let mut old = Self::default();
        let errors = ErrorLines::new();
        match fs::read(path(folder, service)) {
            Ok(bytes) => old.scan(&bytes, &errors),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        if inherited > 0 {
            let mut bytes = Vec::new();
            fs::File::open(current(folder, service))?.take(inherited).read_to_end(&mut bytes)?;
            old.scan(&bytes, &errors);
        }
        let own = std::mem::take(&mut self.starts);
        self.changed |= old.changed;
        self.starts = old.starts;
        self.starts.extend(own);
        let surplus = self.starts.len().saturating_sub(STARTS);
        self.starts.drain(..surplus);
        Ok(())
    }

    /// Finds what there is to pin in the bytes of a log, or of a file of pinned lines.
    fn scan(&mut self, bytes: &[u8], errors: &ErrorLines) {
        for raw in raw_lines(bytes) {
            let Some(Parsed { stamp, letter, text: rest }) = Parsed::of(raw) else { continue };
            let prefix = format!("{stamp} {} ", char::from(letter));
            if let (mark::LETTER, Some(kind)) = (letter, Kind::parse(rest)) {
                if mark::begins(kind, self.last_mark) {
                    self.begin();
                }
                if !matches!(kind, Kind::Pid(_)) {
                    self.last_mark = Some(kind);
                }
                self.start().add(&prefix, &kind.to_string());
                self.changed = true;
                continue;
            }
            let start = self.start();
            let is_error = !start.has_error && errors.is_error(rest);
            if start.first_lines < FIRST_LINES || is_error {
                start.add(&prefix, &text(rest));
                start.first_lines += 1;
                start.has_error |= is_error;
                self.changed = true;
            }
        }
    }
}
