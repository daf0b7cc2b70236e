//! What the user has to hear of watching that does not go as it should, in words.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::rules::OWN_FILE;
use super::{Change, Watched, folders};
use crate::name::ServiceName;

/// How many files a message names.
const NAMED: usize = 3;

/// A service that changes what it is watched for.
pub(super) fn flapping(watched: &Watched, files: &BTreeSet<PathBuf>, restarts: u32, pause: Duration) -> Change {
    let short = |path: &PathBuf| path.strip_prefix(&watched.dir).unwrap_or(path).display().to_string();
    let mut names: Vec<String> = files.iter().take(NAMED).map(|path| format!("`{}`", short(path))).collect();
    if files.len() > NAMED {
        names.push(format!("{} more", files.len() - NAMED));
    }
    let patterns: Vec<String> = files.iter().take(NAMED).map(|path| format!("\"/{}\"", short(path))).collect();
    let seconds = pause.as_secs();
    Change::Trouble {
        service: Some(watched.service.clone()),
        message: format!(
            "{} changed right after each of the last {restarts} restarts of `{}`: it is watched again in {seconds} s",
            names.join(", "),
            watched.service
        ),
        hints: vec![
            format!("where the service or its build writes them, ignore them: ignore = [{}]", patterns.join(", ")),
            format!("or name them in {}", watched.dir.join(OWN_FILE).display()),
        ],
    }
}

/// A pattern of `ignore` that is none.
pub(super) fn pattern(service: &ServiceName, error: &ignore::Error) -> Change {
    Change::Trouble {
        service: Some(service.clone()),
        message: format!("a pattern in `ignore` of `{service}` is not used: {error}"),
        hints: vec!["patterns are written as in a .gitignore".to_owned()],
    }
}

/// The system tells nothing, or nothing more: files are looked at instead.
pub(super) fn polling(error: &notify::Error, every: Duration) -> Change {
    let exhausted = folders::one_by_one() && is_exhausted(error);
    let why = if exhausted {
        "the system's limit of file watches is reached".to_owned()
    } else {
        format!("the system does not tell of changed files: {}", reason(error))
    };
    let hints = if exhausted {
        vec![
            "sudo sysctl fs.inotify.max_user_watches=1048576 fs.inotify.max_user_instances=1024".to_owned(),
            "to keep it, write the same two settings to /etc/sysctl.d/60-inotify.conf; then start devctl again"
                .to_owned(),
        ]
    } else {
        Vec::new()
    };
    Change::Trouble {
        service: None,
        message: format!("{why}; watched files are looked at every {} s instead", every.as_secs_f32()),
        hints,
    }
}

/// A folder that cannot be watched, among others that can.
pub(super) fn folder(error: &notify::Error) -> Change {
    let path = error.paths.first().map_or_else(|| Path::new("?").display().to_string(), |p| p.display().to_string());
    Change::Trouble {
        service: None,
        message: format!("cannot watch `{path}`: {}", reason(error)),
        hints: vec![format!("name it in a {OWN_FILE} where it does not matter")],
    }
}

/// The thread that watches has ended.
pub(super) fn ended() -> Change {
    Change::Trouble {
        service: None,
        message: "watching files has ended by a bug of devctl".to_owned(),
        hints: vec!["changes are not noticed any more: stop devctl and start it again".to_owned()],
    }
}

/// Whether an error means that no more can be watched.
pub(super) fn is_exhausted(error: &notify::Error) -> bool {
    // EMFILE, which is what Linux answers beyond max_user_instances.
    const TOO_MANY: i32 = 24;
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => error.raw_os_error() == Some(TOO_MANY),
        _ => false,
    }
}

fn reason(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::Io(error) => error.to_string(),
        notify::ErrorKind::Generic(text) => text.clone(),
        _ => error.to_string(),
    }
}
