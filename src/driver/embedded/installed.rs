//! A fitting server that this machine already has: PostgreSQL 16 with pgvector, Redis 6.2 or newer.
//!
//! Looks, asks versions and decides; installs nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Package;
use super::tool::Tool;
use crate::os::user::{self, User};

/// The major version of PostgreSQL whose data everybody in a project shares.
pub(super) const POSTGRES_MAJOR: u32 = 16;

/// The oldest Redis that fits.
const REDIS_OLDEST: (u32, u32) = (6, 2);

/// A server that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The server.
    pub package: Package,
    /// What it is: `PostgreSQL 16.14 + pgvector 0.8.5`.
    pub title: String,
    /// Where its programs are.
    pub bin: PathBuf,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a server came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was installed on this machine.
    Machine,
    /// devctl unpacked it from a wheel.
    Wheel {
        /// The project on the package index.
        project: &'static str,
        /// Its version.
        version: &'static str,
    },
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Machine => write!(f, "{} ({})", self.title, self.bin.display()),
            Origin::Wheel { project, version } => write!(f, "{} (wheel {project} {version})", self.title),
        }
    }
}

impl Installation {
    /// The path of one of its programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }
}

/// Finds a server on this machine that fits and that `runner`, the user it would run as, can reach.
///
/// Dropping the future ends whatever program is being asked.
pub(super) async fn find(
    package: Package,
    env: &BTreeMap<String, String>,
    runner: Option<&User>,
) -> Option<Installation> {
    let folders = match package {
        Package::Postgres => postgres_folders(env),
        Package::Redis => redis_folders(env),
    };
    for bin in folders.into_iter().filter(|bin| is_reachable(bin, runner)) {
        let found = match package {
            Package::Postgres => postgres_in(&bin, env).await,
            Package::Redis => redis_in(&bin, env).await,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Whether the user that a server runs as can get to its binaries.
pub(super) fn is_reachable(bin: &Path, runner: Option<&User>) -> bool {
    runner.is_none_or(|user| matches!(user::barrier(bin, user), Ok(None)))
}

/// The folders in which programs are looked for. Windows writes the variable's name as it likes.
pub(super) fn search_path(env: &BTreeMap<String, String>) -> Option<&str> {
    let same = |name: &str| if cfg!(windows) { name.eq_ignore_ascii_case("PATH") } else { name == "PATH" };
    env.iter().find(|(name, _)| same(name)).map(|(_, value)| value.as_str())
}

/// Where a program stands in PATH, with links followed: distributions put links to the real folder there.
fn in_path(program: &str, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let Some(path) = search_path(env) else { return Vec::new() };
    let Ok(found) = which::which_in_all(program, Some(path), "/") else { return Vec::new() };
    found.filter_map(|program| Some(program.canonicalize().ok()?.parent()?.to_owned())).collect()
}

fn postgres_folders(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut folders = in_path("postgres", env);
    folders.extend(in_path("pg_config", env));
    folders.extend(
        [
            "/usr/lib/postgresql/16/bin",
            "/usr/pgsql-16/bin",
            "/opt/homebrew/opt/postgresql@16/bin",
            "/usr/local/opt/postgresql@16/bin",
            "/home/linuxbrew/.linuxbrew/opt/postgresql@16/bin",
            r"C:\Program Files\PostgreSQL\16\bin",
        ]
        .map(PathBuf::from),
    );
    once_each(folders)
}

fn redis_folders(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut folders = in_path("redis-server", env);
    folders.extend(["/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    once_each(folders)
}

fn once_each(folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::with_capacity(folders.len());
    for folder in folders {
        if folder.is_dir() && !seen.contains(&folder) {
            seen.push(folder);
        }
    }
    seen
}

async fn postgres_in(bin: &Path, env: &BTreeMap<String, String>) -> Option<Installation> {
    let program = |name: &str| bin.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program("initdb").is_file() {
        return None;
    }
    let version = postgres_version(&version_of(&program("postgres"), env).await?)?;
    if version.split('.').next()?.parse() != Ok(POSTGRES_MAJOR) {
        return None;
    }
    let control = share_folders(bin, &program("pg_config"), env)
        .await
        .into_iter()
        .find_map(|share| std::fs::read_to_string(share.join("extension/vector.control")).ok())?;
    let pgvector = control_version(&control).map_or_else(String::new, |version| format!(" {version}"));
    Some(Installation {
        package: Package::Postgres,
        title: format!("PostgreSQL {version} + pgvector{pgvector}"),
        bin: bin.to_owned(),
        origin: Origin::Machine,
    })
}

/// Where extensions of the PostgreSQL in `bin` may be: what its `pg_config` says, or else where packagers put them.
async fn share_folders(bin: &Path, pg_config: &Path, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    if let Some(said) = first_line(pg_config, "--sharedir", env).await {
        return vec![said.into()];
    }
    let mut folders = vec![PathBuf::from(format!("/usr/share/postgresql/{POSTGRES_MAJOR}"))];
    if let Some(prefix) = bin.parent() {
        folders.extend(["share/postgresql@16", "share/postgresql", "share"].map(|share| prefix.join(share)));
    }
    folders
}

async fn redis_in(bin: &Path, env: &BTreeMap<String, String>) -> Option<Installation> {
    let program = bin.join(format!("redis-server{}", std::env::consts::EXE_SUFFIX));
    let version = redis_version(&version_of(&program, env).await?)?;
    redis_fits(&version).then(|| Installation {
        package: Package::Redis,
        title: format!("Redis {version}"),
        bin: bin.to_owned(),
        origin: Origin::Machine,
    })
}

/// What a program answers to `--version`; `None` where it cannot be run.
pub(super) async fn version_of(program: &Path, env: &BTreeMap<String, String>) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    first_line(program, "--version", env).await
}

async fn first_line(program: &Path, arg: &str, env: &BTreeMap<String, String>) -> Option<String> {
    let outcome = asked(program, arg, env).run().await.ok()?;
    if !outcome.status.success() {
        return None;
    }
    Some(outcome.stdout.lines().next()?.trim().to_owned())
}

/// A program that is asked one thing.
fn asked(program: &Path, arg: &str, env: &BTreeMap<String, String>) -> Tool {
    Tool {
        program: program.to_owned(),
        args: vec![arg.into()],
        dir: "/".into(),
        env: env.clone(),
        user: None,
        input: String::new(),
    }
}

/// What a program that does not run says: the dynamic linker's complaint, mostly.
pub(super) async fn why_not(program: &Path, env: &BTreeMap<String, String>) -> String {
    match asked(program, "--version", env).run().await {
        Ok(outcome) => format!("{} ({})", outcome.stderr.trim(), outcome.status()),
        Err(error) => error.to_string(),
    }
}

/// `postgres (PostgreSQL) 16.9 (Debian 16.9-1.pgdg120+1)` → `16.9`.
fn postgres_version(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("(PostgreSQL) ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64` → `7.0.15`.
fn redis_version(line: &str) -> Option<String> {
    line.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

fn redis_fits(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= REDIS_OLDEST
}

/// The `default_version` of an extension's control file.
fn control_version(control: &str) -> Option<&str> {
    let line = control.lines().find(|line| line.trim_start().starts_with("default_version"))?;
    line.split('\'').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_servers_print_them() {
        for (line, version) in [
            ("postgres (PostgreSQL) 16.14", Some("16.14")),
            ("postgres (PostgreSQL) 16.9 (Debian 16.9-1.pgdg120+1)", Some("16.9")),
            ("postgres (PostgreSQL) 17beta1", Some("17beta1")),
            ("something else", None),
        ] {
            assert_eq!(postgres_version(line).as_deref(), version, "{line}");
        }
        let line = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1";
        assert_eq!(redis_version(line).as_deref(), Some("7.0.15"));
        assert_eq!(redis_version("redis-server"), None);
    }

    #[test]
    fn redis_fits_from_6_2() {
        for (version, fits) in [("5.0.14", false), ("6.0.16", false), ("6.2.0", true), ("7.0.15", true), ("10.0", true)]
        {
            assert_eq!(redis_fits(version), fits, "{version}");
        }
    }

    #[test]
    fn the_control_file_tells_pgvectors_version() {
        let control = "comment = 'vector data type'\ndefault_version = '0.8.5'\nrelocatable = true\n";
        assert_eq!(control_version(control), Some("0.8.5"));
        assert_eq!(control_version("comment = 'x'\n"), None);
    }

    #[test]
    fn nothing_is_found_in_an_empty_path() {
        assert!(in_path("sh", &BTreeMap::from([("PATH".to_owned(), String::new())])).is_empty());
        assert!(in_path("sh", &BTreeMap::new()).is_empty());
    }
}
