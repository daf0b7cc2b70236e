//! A file's text, and where in it a thing was said. Lets a check that comes long after parsing still point at the line.

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
    /// `KEY=value` lines.
    Dotenv,
}

/// A file that was read.
pub(super) struct Source {
    /// The path as it is shown: relative to the project's root where it can be.
    shown: PathBuf,
    text: String,
    language: Language,
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
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) len: usize,
}

impl Source {
    pub(super) fn new(shown: PathBuf, text: String, language: Language) -> Arc<Self> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Arc::new(Self { shown, text, language, lines })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn language(&self) -> Language {
        self.language
    }

    /// The mark of a range of bytes.
    pub(super) fn mark(&self, span: Range<usize>) -> Mark {
        let start = floor_char_boundary(&self.text, span.start);
        let end = floor_char_boundary(&self.text, span.end).max(start);
        let line = self.lines.partition_point(|begin| *begin <= start);
        let column = self.text[self.lines[line - 1]..start].chars().count() + 1;
        Mark { line, column, len: self.text[start..end].chars().count() }
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
        let source = Source::new("f".into(), "ä = 1\nöü = [\n  2 ]\n".to_owned(), Language::Toml);
        for (span, line, column, len) in [(0..2, 1, 1, 1), (5..6, 1, 5, 1), (7..11, 2, 1, 2), (14..21, 2, 6, 7)] {
            assert_eq!(source.mark(span), Mark { line, column, len });
        }
        let problem = source.problem(Some(source.mark(14..21)), "x");
        assert_eq!(problem.excerpt, Some(("öü = [".to_owned(), 1)));
    }

    #[test]
    fn marks_outside_the_text_are_clipped() {
        let source = Source::new("f".into(), "a".to_owned(), Language::Toml);
        assert_eq!(source.mark(50..90), Mark { line: 1, column: 2, len: 0 });
        let empty = Source::new("f".into(), String::new(), Language::Toml);
        assert_eq!(empty.problem(Some(empty.mark(0..0)), "x").at, Some((1, 1)));
    }
}
