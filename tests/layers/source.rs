//! The files under src/ as the layer test reads them: their code without comments, texts and tests.

use std::path::Path;
use std::sync::OnceLock;

/// One file under src/.
pub(crate) struct Source {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// Its code; comments and texts are blanks, so that lines and columns stay where they were.
    code: String,
}

/// Every file under src/ that is not a test.
pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let mut files = Vec::new();
        walk("src", &mut files);
        assert!(files.len() > 10, "src/ is not where it was");
        files.sort();
        let made = files.into_iter().map(|path| Source { code: code(&read(&path)), path });
        made.filter(|source| !source.path.ends_with("/tests.rs") && !source.path.contains("/tests/")).collect()
    })
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn walk(folder: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("the folder exists") {
        let entry = entry.expect("the folder can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&path, files);
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// The room: the folder or file right under src/. `None` for `main.rs` and `lib.rs`, which are the map.
    pub(crate) fn room(&self) -> Option<String> {
        let room = self.path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
        (!matches!(room, "main" | "lib")).then(|| room.to_owned())
    }

    /// The rooms that the file uses by `crate::…` or by enough `super::…`, each with its line.
    pub(crate) fn uses(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for (at, _) in self.words("crate::") {
            let named = names(&self.code[at + "crate::".len()..]);
            found.extend(named.into_iter().map(|name| (name, self.line(at))));
        }
        let up_to_the_root = "super::".repeat(self.depth());
        for (at, _) in self.words(&up_to_the_root) {
            let named = names(&self.code[at + up_to_the_root.len()..]);
            found.extend(named.into_iter().map(|name| (name, self.line(at))));
        }
        found.retain(|(name, _)| !matches!(name.as_str(), "super" | "self"));
        found
    }

    /// The lines on which `text` stands, as a word of its own.
    pub(crate) fn find(&self, text: &str) -> Vec<usize> {
        self.words(text).map(|(at, _)| self.line(at)).collect()
    }

    /// The places where `text` stands and no identifier goes on before it.
    fn words<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        let goes_on = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        self.code
            .match_indices(text)
            .filter(move |(at, _)| text.starts_with(':') || !self.code[..*at].ends_with(goes_on))
    }

    /// How many modules lie between the root of the crate and this file's contents.
    fn depth(&self) -> usize {
        let path = self.path.trim_start_matches("src/").trim_end_matches("/mod.rs");
        path.split('/').count()
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// The first name of each path that follows `crate::`: one, or those of a group in braces. Items of the crate's root,
/// such as functions and macros in lib.rs, are names too.
fn names(after: &str) -> Vec<String> {
    let identifier = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = after.strip_prefix('{') else { return vec![identifier(after)] };
    let (mut found, mut depth, mut fresh) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && !c.is_whitespace() => {
                found.push(identifier(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

/// The code of a file up to its tests, with comments and texts blanked out.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
        } else if c == '"' {
            end_of_text(rest)
        } else if let Some(length) = quoted_character(rest) {
            length
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = &rest[skipped..];
    }
    code
}

/// The number of `#` of the raw text that begins here, where one does.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.chars().take_while(|c| *c == '#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the character literal that begins here; a lifetime is none.
fn quoted_character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return Some(inner[2..].find('\'')? + 4);
    }
    let first = inner.chars().next()?.len_utf8();
    inner[first..].starts_with('\'').then_some(first + 2)
}

#[test]
fn code_is_told_from_comments_texts_and_tests() {
    let source = Source {
        path: "src/probe/http.rs".to_owned(),
        code: code(
            "//! crate::cli\nuse crate::{driver::{self, Control}, logs};\nlet x = \"crate::engine\"; /* crate::plan */\n\
             let y = r#\"a \" crate::stack\"#; let q = '\"'; fn f<'a>(z: &'a u8) { crate::os::x() }\n\
             use super::super::state;\npub(in crate::probe) x;\n#[cfg(test)]\nmod tests { use crate::report; }",
        ),
    };
    let used = [("driver", 2), ("logs", 2), ("os", 4), ("probe", 6), ("state", 5)];
    assert_eq!(source.uses(), used.map(|(room, line)| (room.to_owned(), line)));
    assert_eq!(source.room().as_deref(), Some("probe"));
    assert_eq!(source.depth(), 2);
}
