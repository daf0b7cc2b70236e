//! `watch`: what of a service's files counts, and what is worth a warning about it.

use std::path::Path;

use super::WATCH_KEYS;
use crate::manifest::compose_path;
use crate::manifest::node::{Kind, Node};
use crate::manifest::problem::Problem;
use crate::manifest::reader::Reader;
use crate::manifest::service::{DEFAULT_DEBOUNCE, Watch};
use crate::manifest::source::At;
use crate::os::files;

/// What is watched. Whether there is something to build is the caller's to say.
pub(super) fn read_watch(
    reader: Reader<'_>,
    key: &str,
    node: &Node,
    dir: &Path,
    warnings: &mut Vec<Problem>,
) -> Option<Watch> {
    const TO_ADD: &str = "name files or folders of the service: `paths = [\"src\"]`";
    let (paths, mark, ignore, debounce) = if let Kind::List(_) = &node.kind {
        (reader.strings_at(key, node)?, node.mark, Vec::new(), None)
    } else if let Kind::Map(_) = &node.kind {
        let table = reader.table(key, node, WATCH_KEYS, &[])?;
        let ignore = table.read("ignore", Reader::strings_at).unwrap_or_default();
        check_patterns(reader, &ignore);
        let debounce = table.read("debounce", Reader::duration);
        let Some(paths) = table.entry("paths") else {
            if !table.misspelt("paths", WATCH_KEYS) {
                reader.fail_with(table.mark, format!("`{key}` does not say what to watch"), TO_ADD);
            }
            return None;
        };
        (reader.strings_at("paths", &paths.value)?, paths.value.mark, ignore, debounce)
    } else {
        reader.wrong(key, node, "a list of paths, or a table such as `{ paths = [\"src\"], ignore = [\"*.tmp\"] }`");
        return None;
    };
    let none_written = matches!(&node.kind, Kind::List(items) if items.is_empty());
    if paths.is_empty() && !none_written {
        reader.fail_with(mark, format!("`{key}` does not say what to watch"), TO_ADD);
        return None;
    }
    for path in &paths {
        if path.value.is_empty() {
            reader.fail_with(path.place.mark, "a watched path is empty", "write `.` for the service's folder");
        } else if files::is_dir(dir) && !files::exists(&dir.join(&path.value)) {
            // No mistake: what is watched may be made by a build that is still to come.
            let message = format!("there is nothing to watch at `{}`", path.value);
            let help = format!("paths are relative to the service's folder, {}", dir.display());
            warnings.push(path.place.problem(message).with_help(help));
        }
    }
    // `watch = []` is a way to say: nothing.
    (!paths.is_empty()).then(|| Watch {
        paths: paths.into_iter().map(|path| compose_path(&dir.join(path.value))).collect(),
        ignore: ignore.into_iter().map(|pattern| pattern.value).collect(),
        debounce: debounce.unwrap_or(DEFAULT_DEBOUNCE),
        build: false,
    })
}

fn check_patterns(reader: Reader<'_>, ignore: &[At<String>]) {
    let mut patterns = ignore::gitignore::GitignoreBuilder::new("");
    for pattern in ignore {
        if let Err(error) = patterns.add_line(None, &pattern.value) {
            let reason = match error {
                ignore::Error::Glob { err, .. } => err,
                other => other.to_string(),
            };
            reader.fail_with(
                pattern.place.mark,
                format!("`{}` is no pattern: {reason}", pattern.value),
                "patterns are those of `.gitignore`: `*.tmp`, `/target`, `**/cache/`",
            );
        }
    }
}
