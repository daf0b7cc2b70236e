//! The texts of all files, and where in them a thing was said. Lets a check that comes long after parsing, when the
//! trees of several files are one, still point at the file and the line.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::problem::Problem;

/// How a file is written, which decides how its kinds of values are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// Which of the project's files a mark is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId(u32);

/// All files that were read, so that a mark alone is enough to find a text.
#[derive(Debug, Default)]
pub(super) struct Sources(RefCell<Vec<Arc<Source>>>);

impl Sources {
    /// Adds a file. The marks of its tree are looked up here from then on.
    pub(super) fn add(&self, shown: PathBuf, text: String) -> Arc<Source> {
        let mut all = self.0.borrow_mut();
        let id = FileId(u32::try_from(all.len()).expect("nobody has four milliards of files"));
        let source = Source::new(id, shown, text);
        all.push(Arc::clone(&source));
        source
    }

    /// The file of a mark.
    pub(super) fn of(&self, mark: Mark) -> Arc<Source> {
        let all = self.0.borrow();
        let index = usize::try_from(mark.file.0).unwrap_or(usize::MAX);
        Arc::clone(all.get(index).expect("every mark was made by a file that is here"))
    }
}

/// A file that was read.
pub(super) struct Source {
    id: FileId,
    /// The path as it is shown: relative to the project's root where it can be.
    shown: PathBuf,
    text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.shown).finish()
    }
}

/// A part of a file: line and column, counted from 1, and the length, all in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) file: FileId,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) len: usize,
}

impl Source {
    fn new(id: FileId, shown: PathBuf, text: String) -> Arc<Self> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Arc::new(Self { id, shown, text, lines })
    }

    /// A file of which no tree is made, and so no mark that is kept.
    pub(super) fn alone(shown: PathBuf, text: String) -> Arc<Self> {
        Self::new(FileId(u32::MAX), shown, text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The mark of a range of bytes.
    pub(super) fn mark(&self, span: Range<usize>) -> Mark {
        let start = floor_char_boundary(&self.text, span.start);
        let end = floor_char_boundary(&self.text, span.end).max(start);
        let line = self.lines.partition_point(|begin| *begin <= start);
        let column = self.text[self.lines[line - 1]..start].chars().count() + 1;
        Mark { file: self.id, line, column, len: self.text[start..end].chars().count() }
    }

    /// The mark of a line and column, counted from 1.
    pub(super) fn mark_at(&self, line: usize, column: usize, len: usize) -> Mark {
        Mark { file: self.id, line, column, len }
    }

    fn line(&self, number: usize) -> Option<&str> {
        let begin = *self.lines.get(number.checked_sub(1)?)?;
        let rest = &self.text[begin..];
        Some(rest.split('\n').next().unwrap_or(rest).trim_end_matches('\r'))
    }

    /// A problem of this file.
    pub(super) fn problem(&self, mark: Option<Mark>, message: impl Into<String>) -> Problem {
        let excerpt = mark.and_then(|mark| {
            let line = self.line(mark.line)?;
            // A value of several lines is marked to the end of its first.
            let left = line.chars().count().saturating_sub(mark.column - 1);
            Some((line.to_owned(), mark.len.clamp(1, left.max(1))))
        });
        Problem {
            file: self.shown.clone(),
            at: mark.map(|mark| (mark.line, mark.column)),
            message: message.into(),
            excerpt,
            help: None,
        }
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Where a thing of the manifest was said.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) source: Arc<Source>,
    pub(super) mark: Mark,
}

/// Places do not make two values differ.
impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Place {
    /// A problem with what was said here.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        self.source.problem(Some(self.mark), message)
    }

    /// The place as `file:line`.
    pub fn short(&self) -> String {
        format!("{}:{}", self.source.shown.display(), self.mark.line)
    }
}

/// A value, and where it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_characters_not_bytes() {
        let source = Source::alone("f".into(), "ä = 1\nöü = [\n  2 ]\n".to_owned());
        for (span, line, column, len) in [(0..2, 1, 1, 1), (5..6, 1, 5, 1), (7..11, 2, 1, 2), (14..21, 2, 6, 7)] {
            assert_eq!(source.mark(span), source.mark_at(line, column, len));
        }
        let problem = source.problem(Some(source.mark(14..21)), "x");
        assert_eq!(problem.excerpt, Some(("öü = [".to_owned(), 1)));
    }

    #[test]
    fn marks_outside_the_text_are_clipped() {
        let source = Source::alone("f".into(), "a".to_owned());
        assert_eq!(source.mark(50..90), source.mark_at(1, 2, 0));
        let empty = Source::alone("f".into(), String::new());
        assert_eq!(empty.problem(Some(empty.mark(0..0)), "x").at, Some((1, 1)));
    }
}
