//! Reads the files back, for `devctl logs`: the last lines of several services merged by time, and what comes after.
//! Works without a running supervisor and never disturbs one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::{memchr_iter, memrchr};

use super::chunk::{raw_lines, text};
use super::file::{current, set_aside};
use super::{LogLine, Stream};
use crate::name::ServiceName;
use crate::os::file_id::FileId;

/// How often [`Follow`] looks for new lines. Files are followed by looking, which works on every file system.
const POLL: Duration = Duration::from_millis(100);

/// How much is read from a file at a time.
const BLOCK: usize = 256 * 1024;

/// How many files of one service are looked for. More than any rotation keeps.
const MAX_FILES: u32 = 64;

/// The services that have files in a folder, by name.
pub fn services(folder: &Path) -> io::Result<Vec<ServiceName>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|n| n.strip_suffix(".log")).and_then(|n| n.parse().ok()));
    }
    names.sort();
    Ok(names)
}

/// The last `n` lines of each service, merged by time. All services of the folder where `services` is empty.
pub fn tail(folder: &Path, services: &[ServiceName], n: usize) -> io::Result<Vec<LogLine>> {
    Ok(start(folder, services, n)?.0)
}

/// Follows the files of `services`, or of all services of the folder, those that appear later included, where it is
/// empty. The first lines that it gives are the last `n` of each service.
pub fn follow(folder: &Path, services: &[ServiceName], n: usize) -> io::Result<Follow> {
    let (tail, positions) = start(folder, services, n)?;
    Ok(Follow { folder: folder.to_owned(), wanted: services.to_vec(), positions, tail: Some(tail) })
}

/// Lines as they are written. See [`follow`].
pub struct Follow {
    folder: PathBuf,
    wanted: Vec<ServiceName>,
    positions: HashMap<ServiceName, Position>,
    tail: Option<Vec<LogLine>>,
}

impl Follow {
    /// Waits for lines and gives them merged by time. Cancelling loses nothing. An error is one of the disk's, and
    /// asking again is allowed.
    pub async fn next(&mut self) -> io::Result<Vec<LogLine>> {
        if let Some(tail) = self.tail.take().filter(|t| !t.is_empty()) {
            return Ok(tail);
        }
        loop {
            let lines = self.poll()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn poll(&mut self) -> io::Result<Vec<LogLine>> {
        let names = if self.wanted.is_empty() { services(&self.folder)? } else { self.wanted.clone() };
        let mut lines = Vec::new();
        for service in names {
            let position = self.positions.entry(service.clone()).or_default();
            position.advance(&self.folder, &service, &mut lines)?;
        }
        // Stable: lines of one moment stay in the order of their file.
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}

fn start(
    folder: &Path,
    wanted: &[ServiceName],
    n: usize,
) -> io::Result<(Vec<LogLine>, HashMap<ServiceName, Position>)> {
    let names = if wanted.is_empty() { services(folder)? } else { wanted.to_vec() };
    let (mut lines, mut positions) = (Vec::new(), HashMap::new());
    for service in names {
        let (tail, position) = tail_of(folder, &service, n)?;
        lines.extend(tail);
        positions.insert(service, position);
    }
    lines.sort_by_key(|line| line.at);
    Ok((lines, positions))
}

/// Where a reader is in the files of a service.
#[derive(Default)]
struct Position {
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

    /// Reads whole lines from the offset to the end of the file. A line whose end is not written yet waits.
    fn read(&mut self, service: &ServiceName, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BLOCK);
        self.file.seek(SeekFrom::Start(self.offset))?;
        loop {
            let had = buffer.len();
            let n = Read::by_ref(&mut self.file).take(BLOCK as u64).read_to_end(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            if let Some(last) = memrchr(b'\n', &buffer[had..]).map(|i| had + i) {
                lines.extend(raw_lines(&buffer[..=last]).filter_map(|line| parse(service, line)));
                self.offset += last as u64 + 1;
                buffer.drain(..=last);
            }
        }
    }
}

impl Position {
    fn advance(&mut self, folder: &Path, service: &ServiceName, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let path = current(folder, service);
        let Some(open) = &mut self.open else {
            self.open = Open::at(&path)?;
            return self.open.as_mut().map_or(Ok(()), |open| open.read(service, lines));
        };
        // Look at the name before reading: what is written between the two stays for the next time, and what was
        // written before a rotation is read from the old file now.
        let now = fs::metadata(&path).ok().map(|m| (FileId::of(&m), m.len()));
        match now {
            Some((identity, size)) if identity == open.identity && size >= open.offset => {
                if size > open.offset {
                    open.read(service, lines)
                } else {
                    Ok(())
                }
            }
            // Emptied in place, or removed between two files of a rotation.
            Some((identity, _)) if identity == open.identity => {
                open.offset = 0;
                open.read(service, lines)
            }
            None => open.read(service, lines),
            Some(_) => {
                open.read(service, lines)?;
                let ours = open.identity;
                // Several rotations may have passed since the last look: read the files between, oldest first.
                let between = (1..MAX_FILES)
                    .map_while(|n| Open::at(&set_aside(folder, service, n)).transpose())
                    .collect::<io::Result<Vec<Open>>>()?;
                let missed = between.iter().position(|file| file.identity == ours).unwrap_or(between.len());
                for mut file in between.into_iter().take(missed).rev() {
                    file.read(service, lines)?;
                }
                self.open = Open::at(&path)?;
                self.open.as_mut().map_or(Ok(()), |open| open.read(service, lines))
            }
        }
    }
}

/// The last `n` lines of a service, and the place right behind them.
fn tail_of(folder: &Path, service: &ServiceName, n: usize) -> io::Result<(Vec<LogLine>, Position)> {
    let Some(mut newest) = Open::at(&current(folder, service))? else { return Ok((Vec::new(), Position::default())) };
    let mut parts = Vec::new();
    let mut have = 0;
    let (bytes, end) = last_lines(&mut newest.file, n)?;
    newest.offset = end;
    have += memchr_iter(b'\n', &bytes).count();
    parts.push(bytes);
    for i in 1..MAX_FILES {
        if have >= n {
            break;
        }
        let Some(mut older) = Open::at(&set_aside(folder, service, i))? else { break };
        // Rotated between the two looks: this one was read already.
        if older.identity == newest.identity {
            continue;
        }
        let (bytes, _) = last_lines(&mut older.file, n - have)?;
        have += memchr_iter(b'\n', &bytes).count();
        parts.push(bytes);
    }
    let lines = parts.iter().rev().flat_map(|bytes| raw_lines(bytes)).filter_map(|line| parse(service, line)).collect();
    Ok((lines, Position { open: Some(newest) }))
}

/// The bytes of the last `n` whole lines of a file, and the offset right behind them.
fn last_lines(file: &mut File, n: usize) -> io::Result<(Vec<u8>, u64)> {
    let size = file.metadata()?.len();
    let mut start = size;
    let mut bytes: Vec<u8> = Vec::new();
    let mut newlines = 0;
    // One newline more than lines: the one before the first.
    while start > 0 && newlines <= n {
        let step = start.min(BLOCK as u64);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        Read::by_ref(file).take(step).read_to_end(&mut block)?;
        newlines += memchr_iter(b'\n', &block).count();
        block.extend_from_slice(&bytes);
        bytes = block;
    }
    let Some(last) = memrchr(b'\n', &bytes) else { return Ok((Vec::new(), start)) };
    let end = start + last as u64 + 1;
    bytes.truncate(last + 1);
    let skip = newlines.saturating_sub(n);
    if skip > 0 {
        let from = memchr_iter(b'\n', &bytes).nth(skip - 1).map_or(0, |i| i + 1);
        bytes.drain(..from);
    }
    Ok((bytes, end))
}

/// Reads one line of a file; `None` for what is no line of ours, such as one that a full disk tore.
fn parse(service: &ServiceName, line: &[u8]) -> Option<LogLine> {
    let space = memchr::memchr(b' ', line)?;
    let at = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    let rest = &line[space + 1..];
    let stream = match rest.first()? {
        b'O' => Stream::Stdout,
        b'E' => Stream::Stderr,
        _ => return None,
    };
    let text = text(rest.get(2..).filter(|_| rest[1] == b' ')?).into_owned();
    Some(LogLine { service: service.clone(), stream, at, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::file::Rotation;
    use crate::logs::{Hub, LogSink};

    fn name(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    fn texts(lines: &[LogLine]) -> Vec<String> {
        lines.iter().map(|l| format!("{} {}", l.service, l.text)).collect()
    }

    async fn say(sink: &LogSink, text: &str) {
        sink.write(Stream::Stdout, text.as_bytes()).await;
    }

    #[tokio::test]
    async fn several_services_are_merged_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(Some(dir.path().to_owned()));
        let (api, db) = (hub.sink(&name("api")), hub.sink(&name("db")));
        say(&api, "a1\n").await;
        say(&db, "d1\n").await;
        say(&api, "a2\na3\n").await;
        say(&db, "d2\n").await;
        hub.flush().await;
        assert_eq!(texts(&tail(dir.path(), &[], 99).unwrap()), ["api a1", "db d1", "api a2", "api a3", "db d2"]);
        assert_eq!(texts(&tail(dir.path(), &[], 1).unwrap()), ["api a3", "db d2"]);
        assert_eq!(texts(&tail(dir.path(), &[name("db")], 9).unwrap()), ["db d1", "db d2"]);
        assert!(tail(dir.path(), &[name("web")], 9).unwrap().is_empty());
        assert!(tail(&dir.path().join("none"), &[], 9).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_follower_misses_nothing_across_rotations_and_sees_new_services() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::with_rotation(Some(dir.path().to_owned()), Rotation { bytes: 2_000, files: 4 });
        let api = hub.sink(&name("api"));
        say(&api, "before 1\nbefore 2\n").await;
        hub.flush().await;
        let mut follow = follow(dir.path(), &[], 1).unwrap();
        assert_eq!(texts(&follow.next().await.unwrap()), ["api before 2"]);
        let mut expected = Vec::new();
        for round in 0..6 {
            // Each round rotates once or twice between two looks of the follower.
            for i in 0..80 {
                say(&api, &format!("line {round} {i}\n")).await;
                expected.push(format!("api line {round} {i}"));
                if i % 20 == 0 {
                    hub.flush().await;
                }
            }
            hub.flush().await;
            let got = texts(&follow.next().await.unwrap());
            assert_eq!(got, expected, "round {round}");
            expected.clear();
        }
        say(&hub.sink(&name("web")), "new\n").await;
        hub.flush().await;
        assert_eq!(texts(&follow.next().await.unwrap()), ["web new"]);
    }

    #[tokio::test]
    async fn the_tail_reaches_back_over_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::with_rotation(Some(dir.path().to_owned()), Rotation { bytes: 1_000, files: 5 });
        let api = hub.sink(&name("api"));
        for i in 0..60 {
            say(&api, &format!("{i}\n")).await;
            hub.flush().await;
        }
        let lines = tail(dir.path(), &[], 50).unwrap();
        assert_eq!(texts(&lines), (10..60).map(|i| format!("api {i}")).collect::<Vec<_>>());
    }

    #[test]
    fn lines_that_are_not_ours_are_passed_over() {
        let api = name("api");
        for bad in ["", "x", "2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z X a", "2026-11-20T08:00:00Z Oa", "no O a"] {
            assert_eq!(parse(&api, bad.as_bytes()), None, "{bad}");
        }
        let line = parse(&api, b"2026-11-20T08:00:00.123456Z E two words").unwrap();
        assert_eq!((line.stream, line.text.as_str()), (Stream::Stderr, "two words"));
        assert_eq!(parse(&api, b"2026-11-20T08:00:00.123456Z O ").unwrap().text, "");
    }
}
