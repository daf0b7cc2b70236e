//! The newest lines of one service, bounded by lines and by bytes. Keeps chunks and decodes only what is asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use super::LogLine;
use super::chunk::Chunk;

/// How many lines are kept in memory for each service. The files have the rest.
const MAX_LINES: usize = 2_000;

/// How many bytes are kept in memory for each service.
const MAX_BYTES: usize = 256 * 1024;

/// The newest chunks of one service.
#[derive(Default)]
pub(super) struct Ring {
    chunks: VecDeque<Arc<Chunk>>,
    lines: usize,
    bytes: usize,
}

impl Ring {
    /// Adds a chunk and lets go of the oldest ones beyond the bounds; the newest chunk is always kept.
    pub(super) fn push(&mut self, chunk: Arc<Chunk>) {
        self.lines += chunk.count;
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
        while self.chunks.len() > 1 && (self.lines > MAX_LINES || self.bytes > MAX_BYTES) {
            if let Some(old) = self.chunks.pop_front() {
                self.lines -= old.count;
                self.bytes -= old.bytes.len();
            }
        }
    }

    /// The last `n` lines, oldest first.
    pub(super) fn tail(&self, n: usize) -> Vec<LogLine> {
        let mut skip = self.lines.saturating_sub(n);
        let mut lines = Vec::with_capacity(n.min(self.lines));
        for chunk in &self.chunks {
            if skip >= chunk.count {
                skip -= chunk.count;
                continue;
            }
            lines.extend(chunk.lines_from(skip));
            skip = 0;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Stream;

    fn chunk(text: &str) -> Arc<Chunk> {
        let at = jiff::Timestamp::UNIX_EPOCH;
        Arc::new(Chunk::new("api".parse().unwrap(), Stream::Stdout, at, text.as_bytes().into()))
    }

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn the_tail_crosses_chunks() {
        let mut ring = Ring::default();
        assert!(ring.tail(3).is_empty());
        ring.push(chunk("1\n2\n"));
        ring.push(chunk("3\n"));
        ring.push(chunk("4\n5\n"));
        assert_eq!(texts(ring.tail(4)), ["2", "3", "4", "5"]);
        assert_eq!(texts(ring.tail(1)), ["5"]);
        assert_eq!(texts(ring.tail(99)).len(), 5);
        assert!(ring.tail(0).is_empty());
    }

    #[test]
    fn it_is_bounded_by_lines_and_by_bytes() {
        let mut ring = Ring::default();
        for i in 0..10_000 {
            ring.push(chunk(&format!("{i}\n")));
        }
        assert_eq!(ring.tail(usize::MAX).len(), MAX_LINES);
        assert_eq!(texts(ring.tail(1)), ["9999"]);
        for _ in 0..100 {
            ring.push(chunk(&format!("{}\n", "x".repeat(60_000))));
            assert!(ring.bytes <= MAX_BYTES);
        }
    }
}
