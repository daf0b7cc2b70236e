//! What a subscriber is given: lines as they were read together, decoded only by who looks at them.

use std::sync::Arc;

use jiff::Timestamp;

use super::chunk::Chunk;
use super::{LogLine, Stream};
use crate::name::ServiceName;

/// Lines of one stream of one service that were read together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lines {
    chunk: Arc<Chunk>,
}

impl Lines {
    pub(super) fn new(chunk: Arc<Chunk>) -> Self {
        Self { chunk }
    }

    /// Who printed them.
    pub fn service(&self) -> &ServiceName {
        &self.chunk.service
    }

    /// Where.
    pub fn stream(&self) -> Stream {
        self.chunk.stream
    }

    /// When they were read.
    pub fn at(&self) -> Timestamp {
        self.chunk.at
    }

    /// How many there are; never none.
    #[expect(clippy::len_without_is_empty, reason = "there are no empty deliveries")]
    pub fn len(&self) -> usize {
        self.chunk.count
    }

    /// The lines as text, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = LogLine> {
        self.chunk.lines_from(0)
    }

    /// The bytes of the lines, each with its newline, where they are printable ASCII and tabs: then they need no
    /// cleaning, and a flood of them can be copied as it is.
    pub fn simple(&self) -> Option<&[u8]> {
        self.chunk.is_simple.then_some(&self.chunk.bytes)
    }
}

impl From<LogLine> for Lines {
    fn from(line: LogLine) -> Self {
        let LogLine { service, stream, at, text } = line;
        let bytes = [text.as_bytes(), b"\n"].concat();
        Self { chunk: Arc::new(Chunk::new(service, stream, at, bytes.into())) }
    }
}

impl IntoIterator for Lines {
    type Item = LogLine;
    type IntoIter = std::vec::IntoIter<LogLine>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().collect::<Vec<_>>().into_iter()
    }
}

impl IntoIterator for &Lines {
    type Item = LogLine;
    type IntoIter = std::vec::IntoIter<LogLine>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter().collect::<Vec<_>>().into_iter()
    }
}
