//! `.env` files by Compose's rules: quotes, escapes, values over several lines, comments, and variables in values. What
//! they set is never put into devctl's own environment.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::interpolate::{self, Lookup, interpolate};
use super::problem::{Problem, Sink};
use super::source::Source;
use crate::os::files;

/// How much the values of one file may come to. Each line can double what the one before set, so that sixty lines
/// would be more than any memory holds.
const MAX_TOTAL: usize = 16 << 20;

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

/// What a file sets, in its order.
pub(super) type Vars = IndexMap<String, String>;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As Compose reads `.env` files.
    Dotenv,
    /// As `docker run --env-file` reads them: a value is all that is behind `=`.
    Raw,
}

/// Reads a `.env` file. One that is missing is no mistake. `lookup` is asked for the variables in values, before the file
/// itself.
pub(super) fn read(path: &Path, shown: &Path, lookup: &Lookup<'_>, sink: &Sink) -> EnvFile {
    let mut file = EnvFile { path: path.to_owned(), exists: false, vars: IndexMap::new() };
    match read_text(path) {
        Ok(text) => {
            file.exists = true;
            parse(&text, shown, Format::Dotenv, lookup, &mut file.vars, sink);
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

/// Reads a file as text. What is no UTF-8 in a comment is nobody's loss.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    files::read_bytes(path).map(|bytes| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Reads a text and adds what it sets to `vars`, where values find what was set before. Wrong lines are told and left
/// out.
pub(super) fn parse(text: &str, shown: &Path, format: Format, lookup: &Lookup<'_>, vars: &mut Vars, sink: &Sink) {
    // Editors on Windows begin a file with a byte order mark, which is no part of the first name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::alone(shown.to_owned(), text.to_owned());
    let mut reader = Parser { text, at: 0, source: &source, lookup, vars, total: 0, sink };
    match format {
        Format::Dotenv => while reader.statement() {},
        Format::Raw => reader.raw(),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    source: &'a Arc<Source>,
    lookup: &'a Lookup<'a>,
    vars: &'a mut Vars,
    total: usize,
    sink: &'a Sink,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The rest of the line, from here.
    fn line_end(&self) -> usize {
        self.rest().find('\n').map_or(self.text.len(), |i| self.at + i)
    }

    fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        self.source.problem(Some(self.source.mark(span)), message)
    }

    /// Goes on with the next line, as nothing on this one can be trusted.
    fn skip_line(&mut self) {
        self.at = self.line_end();
    }

    /// Reads one `NAME=value`. `false` at the end of the file.
    fn statement(&mut self) -> bool {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with('#') {
                break;
            }
            self.skip_line();
        }
        if self.rest().is_empty() {
            return false;
        }
        let begin = self.at;
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(char::is_whitespace)
        {
            self.at += "export".len();
            self.skip_spaces();
        }
        let Some((name, inherited)) = self.name(begin) else { return true };
        if name.contains(' ') {
            let problem = self.problem(begin..begin + name.len(), format!("the name `{name}` holds a space"));
            self.sink.push(problem.with_help("a name is letters, digits, `_`, `.`, `-`; a value goes behind `=`"));
            if !inherited {
                self.skip_line();
            }
            return true;
        }
        if inherited {
            if let Some(value) = (self.lookup)(&name) {
                self.set(name, value, begin);
            }
            return true;
        }
        self.skip_spaces();
        if let Some(value) = self.value() {
            self.set(name, value, begin);
        }
        true
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
    }

    /// The name before `=` or `:`, or a whole line that has neither, which takes its value from outside.
    fn name(&mut self, begin: usize) -> Option<(String, bool)> {
        let start = self.at;
        for (i, c) in self.rest().char_indices() {
            match c {
                '=' | ':' | '\n' => {
                    let name = self.text[start..start + i].trim_end().to_owned();
                    self.at = start + i + usize::from(c != '\n');
                    if name.is_empty() {
                        let problem = self.problem(begin..self.line_end(), format!("there is no name before `{c}`"));
                        self.sink.push(problem.with_help("write `NAME=value`"));
                        self.skip_line();
                        return None;
                    }
                    return Some((name, c == '\n'));
                }
                '_' | '.' | '-' | '[' | ']' => {}
                c if is_space(c) || c.is_alphabetic() || c.is_numeric() => {}
                c => {
                    let at = start + i;
                    let message = format!("`{}` may not be in a variable's name", c.escape_debug());
                    let problem = self.problem(at..at + c.len_utf8(), message);
                    self.sink.push(problem.with_help("write `NAME=value`; a comment begins with `#`"));
                    self.skip_line();
                    return None;
                }
            }
        }
        let name = self.rest().trim_end().to_owned();
        self.at = self.text.len();
        Some((name, true))
    }

    /// The value that begins here.
    fn value(&mut self) -> Option<String> {
        let begin = self.at;
        let quote = self.rest().chars().next().filter(|c| matches!(c, '"' | '\''));
        let Some(quote) = quote else {
            let end = self.line_end();
            let line = &self.text[begin..end];
            let value = line.split_once(" #").map_or(line, |(value, _)| value).trim_end().to_owned();
            self.at = end;
            return self.expand(&value, begin..begin + value.len());
        };
        let mut value = String::new();
        let mut escaped = false;
        for (i, c) in self.rest().char_indices().skip(1) {
            match (c, escaped) {
                ('\\', false) => escaped = true,
                (c, false) if c == quote => {
                    self.at = begin + i + 1;
                    return if quote == '"' {
                        self.expand(&unescape(&value), begin..begin + i + 1)
                    } else {
                        Some(value)
                    };
                }
                (c, was_escaped) => {
                    if was_escaped && c != quote {
                        value.push('\\');
                    }
                    escaped = false;
                    value.push(c);
                }
            }
        }
        let other = if quote == '"' { '\'' } else { '"' };
        let problem = self.problem(begin..self.line_end(), format!("a quote (`{quote}`) is never closed"));
        self.sink.push(problem.with_help(format!(
            "close it; a value that holds one goes between quotes of the other kind: {other}…{quote}…{other}"
        )));
        self.skip_line();
        None
    }

    fn expand(&self, value: &str, span: Range<usize>) -> Option<String> {
        if !value.contains('$') {
            return Some(value.to_owned());
        }
        let lookup = |name: &str| (self.lookup)(name).or_else(|| self.vars.get(name).cloned());
        match interpolate(value, &lookup, &mut Vec::new()) {
            Ok(value) => Some(value),
            Err(error) => {
                let help = match &error {
                    interpolate::Error::Invalid(_) => "put the value between single quotes, or write `$$` for a dollar",
                    interpolate::Error::Required { .. } => "set it in the shell, or further up in the file",
                    interpolate::Error::TooLong => "see what the variables in it hold",
                };
                self.sink.push(self.problem(span, error.to_string()).with_help(help));
                None
            }
        }
    }

    fn set(&mut self, name: String, value: String, begin: usize) {
        self.total = self.total.saturating_add(value.len());
        if self.total > MAX_TOTAL {
            let message = format!("the values of the file come to more than {} MiB", MAX_TOTAL >> 20);
            self.sink.push(self.problem(begin..self.at.max(begin), message));
            self.at = self.text.len();
            return;
        }
        self.vars.insert(name, value);
    }

    fn raw(&mut self) {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let begin = at;
            at += line.len();
            self.at = at;
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            let said = line.trim_start();
            if said.is_empty() || said.starts_with('#') {
                continue;
            }
            let (name, value) = said.split_once('=').map_or((said, None), |(name, value)| (name, Some(value)));
            let wrong = if name.is_empty() {
                Some("there is no name before `=`".to_owned())
            } else if name.contains(char::is_whitespace) {
                Some(format!("the name `{name}` holds a space"))
            } else {
                None
            };
            if let Some(message) = wrong {
                self.sink.push(self.problem(begin..begin + line.len(), message).with_help("write `NAME=value`"));
                continue;
            }
            if let Some(value) = value.map(str::to_owned).or_else(|| (self.lookup)(name)) {
                self.set(name.to_owned(), value, begin);
            }
            if self.at == self.text.len() {
                return;
            }
        }
    }
}

/// White space within a line.
fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

/// The escapes between double quotes. Those it does not know stay as they are, and `\$` is a dollar that begins no
/// variable.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let simple = match after.chars().next() {
            Some('$') => Some("$$"),
            Some('a') => Some("\u{7}"),
            Some('b') => Some("\u{8}"),
            Some('f') => Some("\u{c}"),
            Some('n') => Some("\n"),
            Some('r') => Some("\r"),
            Some('t') => Some("\t"),
            Some('v') => Some("\u{b}"),
            Some('"') => Some("\""),
            Some('\\') => Some("\\"),
            Some(_) | None => None,
        };
        if let Some(simple) = simple {
            out.push_str(simple);
            rest = &after[1..];
            continue;
        }
        // `\0123` is the character of that octal number.
        let octal = after
            .strip_prefix('0')
            .and_then(|digits| digits.get(..3))
            .filter(|digits| digits.bytes().all(|b| (b'0'..=b'7').contains(&b)));
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(char::from(byte));
            rest = &after[4..];
        } else {
            out.push('\\');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn parsed_as(format: Format, text: &str) -> (Vec<(String, String)>, Vec<Problem>) {
        let sink = Sink::default();
        let mut vars = Vars::new();
        let lookup = |name: &str| (name == "SHELL_VAR").then(|| "of the shell".to_owned());
        parse(text, Path::new(".env"), format, &lookup, &mut vars, &sink);
        (vars.into_iter().collect(), sink.into_problems())
    }

    fn parsed(text: &str) -> (Vec<(String, String)>, Vec<Problem>) {
        parsed_as(Format::Dotenv, text)
    }

    fn owned<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn values_are_read_whatever_the_editor_wrote() {
        let (vars, problems) = parsed("\u{feff}A=1\r\n# c\r\nexport B='x y'\r\nC=\"l1\nl2\"\n\nD=\n");
        assert_eq!(problems, []);
        assert_eq!(vars, owned([("A", "1"), ("B", "x y"), ("C", "l1\nl2"), ("D", "")]));
    }

    #[test]
    fn one_line_is_read_as_compose_reads_it() {
        for (text, expected) in [
            ("A=x y", "x y"),
            ("A: yaml", "yaml"),
            ("A = spaced  ", "spaced"),
            ("A=a#b", "a#b"),
            ("A=a #b", "a"),
            ("A=#b", "#b"),
            ("A='a #b' # c", "a #b"),
            (r#"A="a\"b""#, "a\"b"),
            (r"A='it\'s'", "it's"),
            (r#"A="a\nb\tc\\d""#, "a\nb\tc\\d"),
            (r"A='a\nb'", r"a\nb"),
            (r#"A="\0101\x""#, r"A\x"),
            (r#"A="\$SHELL_VAR""#, "$SHELL_VAR"),
            ("A=$$SHELL_VAR", "$SHELL_VAR"),
            ("A=$SHELL_VAR!", "of the shell!"),
            ("A='$SHELL_VAR'", "$SHELL_VAR"),
            ("A=${NOPE:-d}", "d"),
            ("A=\"${NOPE:-d e}\"", "d e"),
            ("A=$NOPE", ""),
            ("A=a=b", "a=b"),
            ("A.b-c[0]=1", "1"),
            ("SHELL_VAR", "of the shell"),
            ("SHELL_VAR=mine\nA=$SHELL_VAR", "mine"),
        ] {
            let (vars, problems) = parsed(text);
            assert_eq!(problems, [], "{text}");
            assert_eq!(vars.first().map(|(_, value)| value.as_str()), Some(expected), "{text}");
        }
        let (vars, _) = parsed("A=1\nB=${A}2\nNOWHERE\nC=$B\n");
        assert_eq!(vars, owned([("A", "1"), ("B", "12"), ("C", "12")]));
    }

    #[test]
    fn the_raw_format_takes_values_as_they_are() {
        let (vars, problems) = parsed_as(Format::Raw, "A=\"x\" # $B\r\n  # c\nSHELL_VAR\nNOWHERE\n B='\n");
        assert_eq!(problems, []);
        assert_eq!(vars, owned([("A", "\"x\" # $B"), ("SHELL_VAR", "of the shell"), ("B", "'")]));
        let (_, problems) = parsed_as(Format::Raw, "A=1\n=x\na b=1\n");
        assert_eq!(problems.iter().filter_map(|p| p.at).collect::<Vec<_>>(), [(2, 1), (3, 1)]);
    }

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let (vars, problems) = parsed("A=1\nB+=2\nC=3\nx y=4\nD=${\n=5\n");
        assert_eq!(problems.iter().filter_map(|p| p.at).collect::<Vec<_>>(), [(2, 2), (4, 1), (5, 3), (6, 1)]);
        assert_eq!(vars, owned([("A", "1"), ("C", "3")]));
        insta::assert_snapshot!(problems[0], @r"
        error: `+` may not be in a variable's name
         --> .env:2:2
          |
        2 | B+=2
          |  ^
          = help: write `NAME=value`; a comment begins with `#`
        ");
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_as_that() {
        for (text, quote) in [("A=1\nB=\"never closed\nC=3\n", '"'), ("B='x\n", '\'')] {
            let (_, problems) = parsed(text);
            let message = format!("a quote (`{quote}`) is never closed");
            assert_eq!(problems.first().map(|p| p.message.as_str()), Some(message.as_str()), "{text:?}");
        }
    }

    #[test]
    fn values_that_double_each_other_end_as_a_mistake() {
        let mut text = "A0=0123456789\n".to_owned();
        for i in 1..200 {
            let before = i - 1;
            writeln!(text, "A{i}=$A{before}$A{before}").unwrap();
        }
        let (_, problems) = parsed(&text);
        assert!(problems.iter().any(|p| p.message.contains("MiB")), "{problems:?}");
    }

    #[test]
    fn a_missing_file_is_recorded_and_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::default();
        let file = read(&folder.path().join(".env"), Path::new(".env"), &|_| None, &sink);
        assert!(!file.exists && file.vars.is_empty() && sink.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|[\\n\\r=\"'$#{}:\\\\]){0,80}") {
            let _ = parsed(&text);
            let _ = parsed_as(Format::Raw, &text);
        }

        #[test]
        fn single_quoted_values_come_back(value in "[^'\\n\\r\\\\]*") {
            let (vars, problems) = parsed(&format!("NAME='{value}'\n"));
            prop_assert_eq!(problems, vec![]);
            prop_assert_eq!(&vars[0].1, &value);
        }

        #[test]
        fn raw_values_come_back(value in "[^\\n\\r]*") {
            let (vars, problems) = parsed_as(Format::Raw, &format!("NAME={value}\n"));
            prop_assert_eq!(problems, vec![]);
            prop_assert_eq!(&vars[0].1, &value);
        }
    }
}
