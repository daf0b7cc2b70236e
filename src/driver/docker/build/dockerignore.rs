//! `.dockerignore`: which files of a folder are not part of a build's context. The rules are Docker's own, which differ
//! from Git's: every pattern begins at the context, the last one that matches decides, and `!` takes files back in.

use std::path::{Component, Path};

use regex::Regex;

/// The patterns of one file, in their order.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// Whether it takes back in what an earlier one left out.
    keeps: bool,
    /// The path it is about, cleaned: `target`, `src/**/*.tmp`.
    text: String,
    matching: Regex,
}

impl Ignore {
    /// Reads the text of a file. A line that is no pattern is told, as Docker refuses it too.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (keeps, path) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if path.is_empty() {
                if keeps {
                    return Err("`!` stands alone".to_owned());
                }
                continue;
            }
            let text = clean(path);
            let matching = Regex::new(&expression(&text)).map_err(|_| format!("`{line}` is no pattern"))?;
            patterns.push(Pattern { keeps, text, matching });
        }
        Ok(Self { patterns })
    }

    /// Whether a path of the context, with `/` between its parts, is left out: by itself or with a folder above it.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let mut out = false;
        for pattern in &self.patterns {
            // A pattern that could only say what holds already need not be asked.
            if pattern.keeps == out && pattern.matches(path) {
                out = !pattern.keeps;
            }
        }
        out
    }

    /// Whether anything below a folder that is left out may be taken back in.
    pub(super) fn may_keep_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        let reaches = |text: &str| text.starts_with(&below) || text.contains("**") || has_magic_before(text, &below);
        self.patterns.iter().any(|pattern| pattern.keeps && reaches(&pattern.text))
    }
}

/// Whether a pattern has a wildcard so early that it may lead below `folder/`.
fn has_magic_before(text: &str, folder: &str) -> bool {
    let depth = folder.matches('/').count();
    text.split('/').take(depth).any(|part| part.contains(['*', '?', '[', '\\'])) && text.split('/').count() > depth
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.matching.is_match(path) || above.into_iter().any(|folder| self.matching.is_match(folder))
    }
}

/// `./a//b/../c/` is `a/c`, and a leading slash means nothing.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// The pattern as a regular expression: `*` and `?` stay within a part of the path, `**` is any number of parts.
fn expression(pattern: &str) -> String {
    let mut out = "^".to_owned();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.peek() == Some(&'*') => {
                rest.next();
                if rest.peek() == Some(&'/') {
                    rest.next();
                }
                out.push_str(if rest.peek().is_none() { ".*" } else { "(.*/)?" });
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '\\' => out.push_str(&regex::escape(&rest.next().unwrap_or('\\').to_string())),
            '[' | ']' | '-' | '^' => out.push(c),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push('$');
    out
}

/// A path below a context, as patterns and archives have it.
pub(super) fn slashed(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_leave_out_what_docker_leaves_out() {
        for (text, out, kept) in [
            ("target", &["target", "target/a/b"][..], &["a/target", "targets"][..]),
            ("/target/", &["target"], &["a/target"]),
            ("*.log", &["a.log"], &["b/a.log"]),
            ("**/*.log", &["a.log", "b/c/a.log"], &["a.logs"]),
            ("a/**", &["a/b", "a/b/c"], &["ab"]),
            ("**/node_modules", &["node_modules/x", "a/node_modules/x"], &["node_modules2"]),
            ("*", &["a", "a/b"], &[]),
            ("*\n!src\n!a/b", &["x", "a/c"], &["src", "src/x", "a/b"]),
            ("src\n!src/keep\nsrc/keep/not", &["src/x", "src/keep/not"], &["src/keep", "src/keep/this"]),
            ("# a comment\n\n  spaced  ", &["spaced"], &["# a comment"]),
            ("a?c", &["abc"], &["ac", "a/c"]),
            ("[a-c]x", &["ax", "cx"], &["dx"]),
            ("a\\*c", &["a*c"], &["abc"]),
            ("./a/../b", &["b/x"], &["a"]),
            ("a.b", &["a.b"], &["axb"]),
        ] {
            let ignore = Ignore::parse(text).unwrap();
            for path in out {
                assert!(ignore.leaves_out(path), "{text:?} leaves {path} in");
            }
            for path in kept {
                assert!(!ignore.leaves_out(path), "{text:?} leaves {path} out");
            }
        }
    }

    #[test]
    fn a_folder_is_entered_where_something_in_it_may_be_kept() {
        let ignore = Ignore::parse("*\n!src/deep/file\n!*/x.txt").unwrap();
        for (folder, expected) in [("src", true), ("src/deep", true), ("src/other", false), ("else", true)] {
            assert_eq!(ignore.may_keep_below(folder), expected, "{folder}");
        }
        assert!(!Ignore::parse("target").unwrap().may_keep_below("target"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["!", "a[b", "[z-a]"] {
            Ignore::parse(text).unwrap_err();
        }
    }
}
