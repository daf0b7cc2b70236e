//! What is not watched, most telling rule first: the service's own `ignore`, the ignore files of the project, and what
//! no project wants to be rebuilt for.
//!
//! Ignore files are `.gitignore` (in a Git or Jujutsu repository; the user's own and `.git/info/exclude` too),
//! `.ignore` and `.devctlignore`, at every level. A `!pattern` brings back what a later rule would leave out. What is
//! named as watched itself is never ignored.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{Match, WalkBuilder};

/// The file in which a project tells devctl alone what to ignore.
pub(super) const OWN_FILE: &str = ".devctlignore";

/// Folders of tools and editors, and what is built or installed: nobody edits it, and it changes with every build.
const FOLDERS: [&str; 26] = [
    ".cache",
    ".devctl",
    ".direnv",
    ".git",
    ".gradle",
    ".hg",
    ".idea",
    ".jj",
    ".mypy_cache",
    ".next",
    ".nox",
    ".nuxt",
    ".parcel-cache",
    ".pytest_cache",
    ".ruff_cache",
    ".svelte-kit",
    ".svn",
    ".terraform",
    ".tox",
    ".turbo",
    ".venv",
    ".vscode",
    "__pycache__",
    "dist",
    "node_modules",
    "venv",
];

/// A folder that holds one of these was made by a tool: Cargo and many others mark their caches, Python its
/// environments, whatever their names are.
const MARKS: [&str; 2] = ["CACHEDIR.TAG", "pyvenv.cfg"];

/// `target` is a common name for a folder of sources too. Beside one of these it is built.
const BUILT_TARGET: [&str; 3] = ["Cargo.toml", "pom.xml", "build.sbt"];

/// How many folders are remembered as judged. Only a storm in ignored folders gets near it.
const JUDGED: usize = 100_000;

/// The rules for what is below one watched path.
#[derive(Debug)]
pub(super) struct Rules {
    root: PathBuf,
    own: Gitignore,
    files: Option<ignore::IncrementalIgnore>,
    /// Folders that were judged, and whether they are ignored.
    judged: HashMap<PathBuf, bool>,
}

impl Rules {
    /// Reads the rules. `ignore` holds the service's own patterns, as in a `.gitignore` in `dir`.
    pub(super) fn new(root: &Path, dir: &Path, ignore: &[String]) -> (Self, Vec<ignore::Error>) {
        let mut own = GitignoreBuilder::new(dir);
        let mut errors: Vec<ignore::Error> =
            ignore.iter().filter_map(|pattern| own.add_line(None, pattern).err()).collect();
        let own = own.build().unwrap_or_else(|error| {
            errors.push(error);
            Gitignore::empty()
        });
        let mut walk = WalkBuilder::new(root);
        walk.hidden(false).add_custom_ignore_filename(OWN_FILE).current_dir(dir);
        let files = walk.build_matchers().pop();
        (Self { root: root.to_owned(), own, files, judged: HashMap::new() }, errors)
    }

    /// Whether a path below the root is ignored, by itself or with a folder that it is in.
    pub(super) fn ignored(&mut self, path: &Path, is_dir: bool) -> bool {
        if !path.starts_with(&self.root) || path == self.root {
            return false;
        }
        if let Some(judged) = self.judged.get(path).filter(|_| is_dir) {
            return *judged;
        }
        let ignored = path.parent().is_some_and(|folder| self.ignored(folder, true)) || self.judge(path, is_dir);
        if is_dir {
            if self.judged.len() >= JUDGED {
                self.judged.clear();
            }
            self.judged.insert(path.to_owned(), ignored);
        }
        ignored
    }

    /// The verdict on a path whose folder is not ignored.
    fn judge(&mut self, path: &Path, is_dir: bool) -> bool {
        match self.own.matched(path, is_dir) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => {}
        }
        if let (Some(files), Ok(relative)) = (&mut self.files, path.strip_prefix(&self.root)) {
            let matched = files.matched(relative, is_dir);
            if matched.is_ignore() || matched.is_whitelist() {
                return matched.is_ignore();
            }
        }
        let name = path.file_name().unwrap_or_default();
        if is_dir { by_default_folder(path, name) } else { by_default_file(name) }
    }
}

fn by_default_folder(path: &Path, name: &OsStr) -> bool {
    FOLDERS.iter().any(|folder| name == *folder)
        || MARKS.iter().any(|mark| path.join(mark).is_file())
        || (name == "target" && BUILT_TARGET.iter().any(|file| path.with_file_name(file).is_file()))
}

/// What editors write beside a file, and what tools of the desktop leave.
fn by_default_file(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let ends = |end: &str| name.ends_with(end.as_bytes());
    // Vim's swap files are .swp, .swo, .swn …; it tests with `4913` whether it may write.
    let swap = name.len() > 4 && name[..name.len() - 1].ends_with(b".sw") && name[name.len() - 1].is_ascii_lowercase();
    swap || ends("~")
        || ends(".pyc")
        || name.starts_with(b".#")
        || (name.starts_with(b"#") && ends("#"))
        || [&b"4913"[..], b".DS_Store", b"Thumbs.db"].contains(&name)
}

/// Whether a file of that name says what is ignored. It is no source itself.
pub(super) fn is_rule(path: &Path) -> bool {
    let names = [".gitignore", ".ignore", OWN_FILE].into_iter().chain(MARKS);
    path.file_name().is_some_and(|name| names.into_iter().any(|rule| name == rule))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn ignored(project: &tempfile::TempDir, root: &str, ignore: &[&str], path: &str) -> bool {
        let root = if root.is_empty() { project.path().to_owned() } else { project.path().join(root) };
        let ignore: Vec<String> = ignore.iter().map(|&pattern| pattern.to_owned()).collect();
        let (mut rules, errors) = Rules::new(&root, project.path(), &ignore);
        assert!(errors.is_empty(), "{errors:?}");
        rules.ignored(&project.path().join(path.trim_end_matches('/')), path.ends_with('/'))
    }

    #[test]
    fn what_is_built_installed_or_temporary_is_ignored_without_any_file() {
        let project = project(&[("Cargo.toml", ""), ("cache/CACHEDIR.TAG", ""), ("py/pyvenv.cfg", ""), ("src/a", "")]);
        for (path, is) in [
            ("src/main.rs", false),
            ("src/", false),
            (".env", false),
            ("target/", true),
            ("target/debug/devctl", true),
            ("src/target/mod.rs", false),
            ("cache/x", true),
            ("py/lib/x.py", true),
            ("web/node_modules/a/b.js", true),
            ("web/dist/app.js", true),
            ("build/main.go", false),
            (".git/index", true),
            (".devctl/logs/api.log", true),
            ("a/__pycache__/b.pyc", true),
            ("src/.main.rs.swp", true),
            ("src/main.rs~", true),
            ("src/.#main.rs", true),
            ("src/#main.rs#", true),
            ("src/4913", true),
            ("src/49130", false),
            ("x.sws", true),
            ("x.sw", false),
        ] {
            assert_eq!(ignored(&project, "", &[], path), is, "{path}");
        }
    }

    #[test]
    fn ignore_files_count_at_every_level() {
        let project = project(&[
            (".git/info/exclude", "excluded\n"),
            (".gitignore", "*.log\n/only-here\n!keep.log\n"),
            ("sub/.gitignore", "*.gen.rs\n"),
            ("sub/.ignore", "by-ignore\n"),
            (".devctlignore", "data/\n!node_modules\n"),
        ]);
        for (path, is) in [
            ("a.log", true),
            ("sub/a.log", true),
            ("keep.log", false),
            ("only-here", true),
            ("sub/only-here", false),
            ("sub/x.gen.rs", true),
            ("x.gen.rs", false),
            ("sub/by-ignore", true),
            ("excluded", true),
            ("sub/data/", true),
            ("sub/data/x", true),
            // Brought back by name.
            ("node_modules/x", false),
        ] {
            assert_eq!(ignored(&project, "", &[], path), is, "{path}");
            if path.starts_with("sub/") {
                assert_eq!(ignored(&project, "sub", &[], path), is, "{path}, watched by its folder");
            }
        }
    }

    #[test]
    fn the_services_own_patterns_come_first() {
        let project = project(&[(".git/HEAD", ""), (".gitignore", "*.log\n")]);
        for (ignore, path, is) in [
            (&["*.sql"][..], "db/a.sql", true),
            (&["/db"], "db/a.sql", true),
            (&["/db"], "src/db/a.sql", false),
            (&["!*.log"], "a.log", false),
            (&["!node_modules"], "node_modules/x", false),
            (&["*", "!*.rs", "!src"], "src/a.rs", false),
            (&["*", "!*.rs", "!src"], "src/a.c", true),
        ] {
            assert_eq!(ignored(&project, "", ignore, path), is, "{ignore:?} {path}");
        }
        let (_, errors) = Rules::new(project.path(), project.path(), &["a[".to_owned(), "{a".to_owned()]);
        assert_eq!(errors.len(), 1, "{errors:?}");
    }

    #[test]
    fn what_is_watched_by_name_is_not_ignored() {
        let project = project(&[(".git/HEAD", ""), (".gitignore", "dist/\n"), ("dist/a.js", "")]);
        assert!(!ignored(&project, "dist", &[], "dist/"));
        assert!(!ignored(&project, "dist", &[], "dist/a.js"));
        assert!(ignored(&project, "", &[], "dist/a.js"));
    }
}
