//! The files of a run's logs: one for each service, rotated by size, written by one thread. Trouble with the disk is
//! remembered and told; it never stops a service.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::{memchr, memchr2};
use tokio::sync::{mpsc, oneshot, watch};

use super::LogLine;
use super::chunk::{Chunk, text, without_escapes};
use super::mark::{self, Mark};
use super::pinned::Pins;
use super::stored::{letter, prefix};
use crate::name::ServiceName;

/// How large the files of one service become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file that would grow beyond this is set aside and a new one begun.
    pub bytes: u64,
    /// How many files there are in all, the current one included.
    pub files: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: 8 * 1024 * 1024, files: 3 }
    }
}

/// What the writing thread is told.
pub(super) enum Message {
    /// Marks that come before, lines to write, and the first error of the start where it is among them.
    Chunk(Arc<Chunk>, Vec<Mark>, Option<LogLine>),
    /// Marks to write.
    Marks(Vec<Mark>),
    /// Tell when everything before this is written.
    Flush(oneshot::Sender<()>),
}

/// What is wrong with the files, where something is.
pub(super) type Trouble = watch::Sender<Option<String>>;

/// How much is gathered for one `write`: small chunks that arrive together cost one system call.
const GATHER: usize = 128 * 1024;

/// How many messages are taken before everything gathered is written, however many more wait.
const BURST: u32 = 32;

/// Writes until every sender is gone.
pub(super) fn run(folder: PathBuf, rotation: Rotation, trouble: Trouble, mut messages: mpsc::Receiver<Message>) {
    let mut store = Store { folder, rotation, trouble, files: HashMap::new() };
    while let Some(first) = messages.blocking_recv() {
        let (mut next, mut taken) = (Some(first), 0);
        while let Some(message) = next {
            taken += 1;
            match message {
                Message::Chunk(chunk, marks, first_error) => {
                    for mark in &marks {
                        store.mark(mark);
                    }
                    store.add(&chunk, first_error.as_ref());
                }
                Message::Marks(marks) => {
                    for mark in &marks {
                        store.mark(mark);
                    }
                }
                Message::Flush(done) => {
                    store.write_all();
                    // Nobody waits any more: fine.
                    let _ = done.send(());
                }
            }
            // A flood of one service must not keep back the few lines of another.
            next = if taken < BURST { messages.try_recv().ok() } else { None };
        }
        store.write_all();
    }
}

/// The current file of a service.
pub(super) fn current(folder: &Path, service: &ServiceName) -> PathBuf {
    folder.join(format!("{service}.log"))
}

/// The `n`th file set aside, 1 the newest.
pub(super) fn set_aside(folder: &Path, service: &ServiceName, n: u32) -> PathBuf {
    folder.join(format!("{service}.log.{n}"))
}

struct Store {
    folder: PathBuf,
    rotation: Rotation,
    trouble: Trouble,
    files: HashMap<ServiceName, ServiceFile>,
}

#[derive(Default)]
struct ServiceFile {
    file: Option<File>,
    size: u64,
    waiting: Vec<u8>,
    waiting_lines: u64,
    /// A write ended in the middle of a line: the next one begins with a newline.
    torn: bool,
    lost: u64,
    pins: Pins,
    /// How much of the file is of earlier runs.
    inherited: u64,
}

impl Store {
    fn add(&mut self, chunk: &Chunk, first_error: Option<&LogLine>) {
        let file = self.file(&chunk.service);
        file.pins.lines(chunk, first_error);
        append(&mut file.waiting, chunk);
        file.waiting_lines += chunk.count as u64;
        if file.waiting.len() >= GATHER {
            self.write(&chunk.service.clone());
        }
    }

    fn mark(&mut self, mark: &Mark) {
        let file = self.file(&mark.service);
        file.pins.mark(mark);
        file.waiting.extend_from_slice(prefix(mark.at, mark::LETTER).as_bytes());
        file.waiting.extend_from_slice(mark.kind.to_string().as_bytes());
        file.waiting.push(b'\n');
    }

    fn file(&mut self, service: &ServiceName) -> &mut ServiceFile {
        if !self.files.contains_key(service) {
            self.files.insert(service.clone(), ServiceFile::default());
        }
        self.files.get_mut(service).expect("it was inserted above")
    }

    fn write_all(&mut self) {
        let waiting: Vec<ServiceName> =
            self.files.iter().filter(|(_, f)| !f.waiting.is_empty()).map(|(name, _)| name.clone()).collect();
        for service in waiting {
            self.write(&service);
        }
    }

    fn write(&mut self, service: &ServiceName) {
        let Some(file) = self.files.get_mut(service) else { return };
        let result = file.write(&self.folder, service, self.rotation);
        let lines = std::mem::take(&mut file.waiting_lines);
        file.waiting.clear();
        // One huge burst must not keep its memory for ever.
        file.waiting.shrink_to(2 * GATHER);
        if let Err(source) = result {
            file.lost += lines;
            let path = current(&self.folder, service);
            let lost = match file.lost {
                // The file could not even be begun.
                0 => String::new(),
                1 => format!("; 1 line of {service} is not in the file so far"),
                lost => format!("; {lost} lines of {service} are not in the file so far"),
            };
            self.trouble.send_replace(Some(format!("cannot write `{}`: {source}{lost}", path.display())));
        }
    }
}

impl ServiceFile {
    fn write(&mut self, folder: &Path, service: &ServiceName, rotation: Rotation) -> io::Result<()> {
        if self.file.is_none() {
            self.open(folder, service)?;
        }
        if self.size > 0 && self.size + self.waiting.len() as u64 > rotation.bytes {
            self.rotate(folder, service, rotation)?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.size += 1;
            self.torn = false;
        }
        let mut rest = self.waiting.as_slice();
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.torn = rest[n - 1] != b'\n';
                    self.size += n as u64;
                    rest = &rest[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn open(&mut self, folder: &Path, service: &ServiceName) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let file = OpenOptions::new().create(true).append(true).open(current(folder, service))?;
        self.size = file.metadata()?.len();
        self.inherited = self.size;
        self.file = Some(file);
        Ok(())
    }

    /// Sets the current file aside. A file that a person removed meanwhile is no reason to stop.
    fn rotate(&mut self, folder: &Path, service: &ServiceName, rotation: Rotation) -> io::Result<()> {
        let allowed = |result: io::Result<()>| match result {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        };
        self.pins.save(folder, service, self.inherited)?;
        self.file = None;
        if rotation.files <= 1 {
            allowed(fs::remove_file(current(folder, service)))?;
        } else {
            for n in (1..rotation.files - 1).rev() {
                allowed(fs::rename(set_aside(folder, service, n), set_aside(folder, service, n + 1)))?;
            }
            allowed(fs::rename(current(folder, service), set_aside(folder, service, 1)))?;
        }
        self.torn = false;
        self.open(folder, service)
    }
}

/// Adds the lines of a chunk as the files have them: stamp, stream, text.
fn append(out: &mut Vec<u8>, chunk: &Chunk) {
    let prefix = prefix(chunk.at, letter(chunk.stream));
    let prefix = prefix.as_bytes();
    out.reserve(chunk.bytes.len() + chunk.count * prefix.len());
    let plain =
        chunk.is_simple || memchr2(0x1b, b'\r', &chunk.bytes).is_none() && std::str::from_utf8(&chunk.bytes).is_ok();
    if plain {
        let mut rest = &*chunk.bytes;
        while let Some(end) = memchr(b'\n', rest) {
            out.extend_from_slice(prefix);
            out.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
        }
    } else {
        for line in chunk.raw_lines() {
            out.extend_from_slice(prefix);
            out.extend_from_slice(without_escapes(&text(line)).as_bytes());
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;

    fn service() -> ServiceName {
        "api".parse().unwrap()
    }

    fn chunk(stream: Stream, text: &[u8]) -> Chunk {
        let at = "2026-11-20T08:00:00.123456789Z".parse().unwrap();
        Chunk::new(service(), stream, at, text.into())
    }

    fn store(folder: &Path, rotation: Rotation) -> Store {
        Store { folder: folder.to_owned(), rotation, trouble: Trouble::default(), files: HashMap::new() }
    }

    #[test]
    fn lines_are_written_with_stamp_and_stream() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(&dir.path().join("not/yet"), Rotation::default());
        store.add(&chunk(Stream::Stdout, b"one\n\x1b[31mtwo\x1b[0m\r\n"), None);
        store.add(&chunk(Stream::Stderr, b"bad \xff\n"), None);
        store.add(&chunk(Stream::Stdout, b"plain\n"), None);
        store.write_all();
        let text = fs::read_to_string(dir.path().join("not/yet/api.log")).unwrap();
        assert_eq!(
            text,
            "2026-11-20T08:00:00.123456Z O one\n\
             2026-11-20T08:00:00.123456Z O two\n\
             2026-11-20T08:00:00.123456Z E bad \\xff\n\
             2026-11-20T08:00:00.123456Z O plain\n"
        );
        assert_eq!(*store.trouble.borrow(), None);
    }

    #[test]
    fn files_rotate_by_size_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), Rotation { bytes: 100, files: 3 });
        for i in 0..10 {
            store.add(&chunk(Stream::Stdout, format!("{i} {}\n", "x".repeat(40)).as_bytes()), None);
            store.write_all();
        }
        let mut names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["api.log", "api.log.1", "api.log.2", "api.pinned"]);
        assert!(fs::read_to_string(dir.path().join("api.log")).unwrap().contains("O 9 x"));
        assert!(fs::read_to_string(dir.path().join("api.log.2")).unwrap().contains("O 7 x"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_and_survived() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("logs");
        fs::write(&blocked, "a file where the folder should be").unwrap();
        let mut store = store(&blocked, Rotation::default());
        store.add(&chunk(Stream::Stdout, b"one\ntwo\n"), None);
        store.write_all();
        let trouble = store.trouble.borrow().clone().unwrap();
        assert!(trouble.contains("api.log") && trouble.contains("2 lines of api are not"), "{trouble}");
        fs::remove_file(&blocked).unwrap();
        store.add(&chunk(Stream::Stdout, b"three\n"), None);
        store.write_all();
        assert!(fs::read_to_string(blocked.join("api.log")).unwrap().ends_with("O three\n"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_and_survived() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("api.log")).unwrap();
        let mut store = store(dir.path(), Rotation::default());
        store.add(&chunk(Stream::Stdout, b"one\n"), None);
        store.write_all();
        let trouble = store.trouble.borrow().clone().unwrap();
        assert!(trouble.contains("No space left on device"), "{trouble}");
    }
}
