//! What the workloads say: each is connected to the benchmark, tells when it began, and is gone when its connection is.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::sync::watch;

/// A word of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) name: String,
    pub(super) what: What,
    /// By the workload's own clock; of its end, by the benchmark's.
    pub(super) at: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It runs.
    Start,
    /// It is about to crash.
    Crash,
    /// It has printed everything.
    Done,
    /// It has ended.
    Gone,
}

/// The socket that workloads connect to.
pub(super) struct Watch {
    words: Receiver<Word>,
    go: watch::Sender<u32>,
    path: PathBuf,
    /// How many were heard of and have not ended.
    running: usize,
}

impl Watch {
    /// Listens on a socket in the folder.
    pub(super) fn listen(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("socket");
        let (tell, words) = channel();
        let (go, gone) = watch::channel(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&path)?
        };
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let mut end = gone.clone();
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted,
                        // The benchmark let go of it.
                        () = async { while end.changed().await.is_ok() {} } => return,
                    };
                    let Ok((stream, _)) = stream else { return };
                    let (tell, mut go) = (tell.clone(), gone.clone());
                    go.mark_unchanged();
                    tokio::spawn(async move {
                        let (read, mut write) = stream.into_split();
                        let mut lines = BufReader::new(read).lines();
                        let mut name = None;
                        loop {
                            let line = tokio::select! {
                                line = lines.next_line() => line,
                                changed = go.changed() => {
                                    // One that has just ended cannot be told.
                                    let told = write.write_all(b"!").await;
                                    if changed.is_err() || told.is_err() {
                                        return;
                                    }
                                    continue;
                                }
                            };
                            let Some(word) = line.ok().flatten().as_deref().and_then(parse) else { break };
                            name = Some(word.name.clone());
                            if tell.send(word).is_err() {
                                return;
                            }
                        }
                        if let Some(name) = name {
                            // Whoever listened may have heard enough.
                            let _ = tell.send(Word { name, what: What::Gone, at: SystemTime::now() });
                        }
                    });
                }
            });
        });
        Ok(Self { words, go, path, running: 0 })
    }

    /// Where to connect to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Tells all who run to do what they are there for.
    pub(super) fn go(&self) {
        self.go.send_modify(|count| *count += 1);
    }

    /// The next word; `None` when none came in time.
    pub(super) fn next(&mut self, within: Duration) -> Option<Word> {
        match self.words.recv_timeout(within) {
            Ok(word) => {
                match word.what {
                    What::Start => self.running += 1,
                    What::Gone => self.running = self.running.saturating_sub(1),
                    What::Crash | What::Done => {}
                }
                Some(word)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Waits for so many words of one kind and gives them.
    pub(super) fn all(&mut self, what: What, count: usize, within: Duration) -> anyhow::Result<Vec<Word>> {
        let end = Instant::now() + within;
        let mut words = Vec::new();
        while words.len() < count {
            let word = self.next(end.saturating_duration_since(Instant::now()));
            let word = word.with_context(|| format!("{} of {count} said {what:?} within {within:?}", words.len()))?;
            if word.what == what {
                words.push(word);
            }
        }
        Ok(words)
    }

    /// Waits until all have ended; answers when the last did.
    pub(super) fn gone(&mut self, within: Duration) -> anyhow::Result<SystemTime> {
        let end = Instant::now() + within;
        let mut last = SystemTime::now();
        while self.running > 0 {
            let Some(word) = self.next(end.saturating_duration_since(Instant::now())) else {
                bail!("{} still run after {within:?}", self.running)
            };
            last = word.at;
        }
        Ok(last)
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.running
    }
}

/// `start NAME PID NANOS`
fn parse(line: &str) -> Option<Word> {
    let mut parts = line.split(' ');
    let what = match parts.next()? {
        "start" => What::Start,
        "crash" => What::Crash,
        "done" => What::Done,
        _ => return None,
    };
    let name = parts.next()?.to_owned();
    let nanos = parts.nth(1)?.parse().ok()?;
    Some(Word { name, what, at: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_a_kind_a_name_and_a_moment() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(17);
        let word = Word { name: "w0".to_owned(), what: What::Crash, at };
        assert_eq!(parse("crash w0 4242 17"), Some(word));
        assert_eq!(parse("bless w0 4242 17"), None);
        assert_eq!(parse("start w0"), None);
    }
}
