//! What is written after a reader began. Files are followed by looking, which works on every file system and disturbs
//! nobody who writes.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memchr;

use super::part::{BLOCK, Part};
use super::source::{MAX_FILES, line};
use crate::logs::LogLine;
use crate::logs::file::{current, set_aside};
use crate::name::ServiceName;
use crate::os::file_id::FileId;

/// How much of one service is read at a look, so that a reader who was stopped for an hour does not get all of it at
/// once.
const AT_ONCE: usize = 1024 * 1024;

/// Where a reader is in the files of a service.
#[derive(Default)]
pub(super) struct Position {
    open: Option<Open>,
}

struct Open {
    file: File,
    identity: FileId,
    /// Everything before this was given.
    offset: u64,
}

impl Open {
    fn at(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let identity = FileId::of(&file.metadata()?);
                Ok(Some(Self { file, identity, offset: 0 }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads whole lines from the offset on, until the end of the file or until `budget` is used up. A line whose end
    /// is not written yet waits.
    fn read(&mut self, service: &ServiceName, budget: &mut usize, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let mut buffer = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset))?;
        while *budget > 0 {
            let n = Read::by_ref(&mut self.file).take(BLOCK as u64).read_to_end(&mut buffer)?;
            if n == 0 {
                break;
            }
            *budget = budget.saturating_sub(n);
            let mut given = 0;
            while let Some(end) = memchr(b'\n', &buffer[given..]).map(|i| given + i) {
                lines.extend(line(service, &buffer[given..end]));
                given = end + 1;
            }
            self.offset += given as u64;
            buffer.drain(..given);
        }
        Ok(())
    }
}

impl Position {
    /// The end of a file that was opened as a part, before anything else is written to it.
    pub(super) fn at(path: &Path, part: &Part) -> io::Result<Self> {
        let mut open = Open::at(path)?;
        if let Some(open) = &mut open {
            // Another file by now: all of it is new.
            open.offset = if Some(open.identity) == part.identity { whole(&mut open.file, part.len)? } else { 0 };
        }
        Ok(Self { open })
    }

    /// Reads what is new. Tells whether there is more.
    pub(super) fn advance(
        &mut self,
        folder: &Path,
        service: &ServiceName,
        lines: &mut Vec<LogLine>,
    ) -> io::Result<bool> {
        let path = current(folder, service);
        let mut budget = AT_ONCE;
        loop {
            let Some(open) = &mut self.open else {
                self.open = Open::at(&path)?;
                if self.open.is_none() {
                    return Ok(false);
                }
                continue;
            };
            // Look at the name before reading: then all that was written before a rotation is read from the old file.
            let now = fs::metadata(&path).ok().map(|m| (FileId::of(&m), m.len()));
            if let Some((identity, size)) = now
                && identity == open.identity
            {
                if size == open.offset {
                    return Ok(false);
                }
                if size < open.offset {
                    // Emptied in place.
                    open.offset = 0;
                }
            }
            open.read(service, &mut budget, lines)?;
            if budget == 0 {
                return Ok(true);
            }
            match now {
                Some((identity, _)) if identity != open.identity => self.open = next(folder, service, open.identity)?,
                // The same, or removed between two files of a rotation.
                Some(_) | None => return Ok(false),
            }
        }
    }
}

/// The file that came after one that was set aside; the oldest where that one is gone.
fn next(folder: &Path, service: &ServiceName, ours: FileId) -> io::Result<Option<Open>> {
    let mut newer = Open::at(&current(folder, service))?;
    for n in 1..MAX_FILES {
        let Some(file) = Open::at(&set_aside(folder, service, n))? else { break };
        if file.identity == ours {
            break;
        }
        newer = Some(file);
    }
    Ok(newer)
}

/// The end of the last whole line among the first `len` bytes.
fn whole(file: &mut File, len: u64) -> io::Result<u64> {
    let mut end = len;
    while end > 0 {
        let step = end.min(BLOCK as u64);
        file.seek(SeekFrom::Start(end - step))?;
        let mut block = Vec::new();
        Read::by_ref(file).take(step).read_to_end(&mut block)?;
        if let Some(newline) = memchr::memrchr(b'\n', &block) {
            return Ok(end - step + newline as u64 + 1);
        }
        end -= step;
    }
    Ok(0)
}
