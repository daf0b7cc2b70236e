//! `.env` files: read with `dotenvy`, never put into devctl's own environment.

use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::problem::Sink;
use super::source::Source;
use crate::os::files;

/// A `.env` file of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    /// The file.
    pub path: PathBuf,
    /// Whether it is there; it may be written on the first run.
    pub exists: bool,
    /// What it sets, in its order.
    pub vars: IndexMap<String, String>,
}

/// Reads a `.env` file. One that is missing is no mistake.
pub(super) fn read(path: &Path, shown: &Path, sink: &Sink) -> EnvFile {
    let mut file = EnvFile { path: path.to_owned(), exists: false, vars: IndexMap::new() };
    match files::read(path) {
        Ok(text) => {
            file.exists = true;
            file.vars = parse(&text, shown, sink);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            file.exists = true;
            let source = Source::alone(shown.to_owned(), String::new());
            sink.push(source.problem(None, format!("cannot be read: {error}")));
        }
    }
    file
}

fn parse(text: &str, shown: &Path, sink: &Sink) -> IndexMap<String, String> {
    // Editors on Windows begin a file with a byte order mark, which `dotenvy` takes for a part of the first name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::alone(shown.to_owned(), text.to_owned());
    let mut vars = IndexMap::new();
    let mut searched = 0;
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok((name, value)) => {
                vars.insert(name, value);
            }
            Err(dotenvy::Error::LineParse(line, _)) => {
                // The error holds the line's text and not its number.
                let first = line.lines().next().unwrap_or_default();
                let found = text[searched..].find(first).map_or(searched, |i| searched + i);
                let begin = text[..found].rfind('\n').map_or(0, |i| i + 1);
                let end = text[found..].find('\n').map_or(text.len(), |i| found + i);
                let mark = Some(source.mark(begin..end));
                let problem = if let Some(quote) = open_quote(first) {
                    let other = if quote == '"' { '\'' } else { '"' };
                    source.problem(mark, format!("a quote (`{quote}`) is never closed")).with_help(format!(
                        "close it; a value that holds one goes between quotes of the other kind: {other}…{quote}…{other}"
                    ))
                } else {
                    source
                        .problem(mark, "not a line of the form `NAME=value`")
                        .with_help("put a value with spaces in quotes: `NAME=\"a value\"`")
                };
                searched = end.min(text.len());
                sink.push(problem);
            }
            Err(error) => sink.push(source.problem(None, format!("cannot be read: {error}"))),
        }
    }
    vars
}

/// The quote that a line leaves open.
fn open_quote(line: &str) -> Option<char> {
    let mut open = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, open) {
            // Between single quotes a backslash is a backslash.
            ('\\', None | Some('"')) => {
                chars.next();
            }
            ('"' | '\'', None) => open = Some(c),
            (_, Some(quote)) if c == quote => open = None,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (Vec<(String, String)>, Vec<super::super::Problem>) {
        let sink = Sink::default();
        let vars = parse(text, Path::new(".env"), &sink);
        (vars.into_iter().collect(), sink.into_problems())
    }

    #[test]
    fn values_are_read_whatever_the_editor_wrote() {
        let (vars, problems) = parsed("\u{feff}A=1\r\n# c\r\nexport B='x y'\r\nC=\"l1\nl2\"\n\nD=\n");
        assert_eq!(problems, []);
        let expected = [("A", "1"), ("B", "x y"), ("C", "l1\nl2"), ("D", "")];
        assert_eq!(vars, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let (vars, problems) = parsed("A=1\nB=x y\nC=3\nB=x y\n");
        assert_eq!(problems.iter().filter_map(|p| p.at).collect::<Vec<_>>(), [(2, 1), (4, 1)]);
        assert_eq!(vars.len(), 2);
        insta::assert_snapshot!(problems[0], @r#"
        error: not a line of the form `NAME=value`
         --> .env:2:1
          |
        2 | B=x y
          | ^^^^^
          = help: put a value with spaces in quotes: `NAME="a value"`
        "#);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_as_that() {
        for (text, quote) in [
            ("A=1\nB=\"never closed\nC=3\n", Some('"')),
            ("B='x\n", Some('\'')),
            ("B=it's here\n", Some('\'')),
            ("B=\"x\"y\"\n", Some('"')),
            ("B=x y\n", None),
            ("B=\"a\" b\n", None),
        ] {
            let (_, problems) = parsed(text);
            let message = match quote {
                Some(quote) => format!("a quote (`{quote}`) is never closed"),
                None => "not a line of the form `NAME=value`".to_owned(),
            };
            assert_eq!(problems.first().map(|p| p.message.as_str()), Some(message.as_str()), "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_is_recorded_and_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::default();
        let file = read(&folder.path().join(".env"), Path::new(".env"), &sink);
        assert!(!file.exists && file.vars.is_empty() && sink.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|[\\n\\r=\"'$#]){0,80}") {
            let _ = parsed(&text);
        }

        #[test]
        fn single_quoted_values_come_back(value in "[^'\\n\\r\\\\]*") {
            let (vars, problems) = parsed(&format!("NAME='{value}'\n"));
            prop_assert_eq!(problems, vec![]);
            prop_assert_eq!(&vars[0].1, &value);
        }
    }
}
