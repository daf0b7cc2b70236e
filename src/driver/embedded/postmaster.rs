//! A PostgreSQL that already runs on a data folder: found by its pid file, believed only when the process agrees.

use std::path::Path;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use super::Error;
use crate::name::RunId;

/// How long a server that an older run left has to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked at meanwhile.
const STOP_LOOK: Duration = Duration::from_millis(20);

/// What the pid file of a data folder stands for.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    /// Nobody: no file, or its process is dead. PostgreSQL clears that up itself.
    Nobody,
    /// A process that is no server of this folder; the number was given anew. PostgreSQL would refuse to start.
    Unrelated,
    /// A server of this folder, which another devctl run started and left.
    Leftover(u32),
    /// A server of this folder that is somebody's.
    Somebody(u32),
}

/// Makes sure that no server runs on a data folder. One that an older run of devctl left is stopped, the way that
/// keeps data safe; anybody else's is an error.
pub(super) async fn clear(folder: &Path, run: &RunId) -> Result<Option<u32>, Error> {
    match holder(folder, Some(run)) {
        Holder::Nobody => Ok(None),
        Holder::Unrelated => {
            let file = folder.join("postmaster.pid");
            std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            Ok(None)
        }
        Holder::Somebody(pid) => Err(Error::InUse { folder: folder.to_owned(), pid }),
        Holder::Leftover(pid) => {
            if !stop(pid) {
                return Err(Error::InUse { folder: folder.to_owned(), pid });
            }
            let gone = async {
                while matches!(holder(folder, Some(run)), Holder::Leftover(now) if now == pid) {
                    tokio::time::sleep(STOP_LOOK).await;
                }
            };
            match tokio::time::timeout(STOP_LIMIT, gone).await {
                Ok(()) => Ok(Some(pid)),
                Err(_) => Err(Error::InUse { folder: folder.to_owned(), pid }),
            }
        }
    }
}

/// The server that runs on a data folder, whoever started it.
pub(super) fn running_on(folder: &Path) -> Option<u32> {
    match holder(folder, None) {
        Holder::Nobody | Holder::Unrelated => None,
        Holder::Leftover(pid) | Holder::Somebody(pid) => Some(pid),
    }
}

/// Asks for PostgreSQL's fast shutdown: clients are cut off, data are written. Answers whether that can be asked.
#[cfg(unix)]
fn stop(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    // Gone already is what is wanted.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT);
    true
}

/// Without signals the server could only be killed, which would leave its data to a recovery: it is left alone.
#[cfg(not(unix))]
fn stop(_: u32) -> bool {
    false
}

/// Tells what the pid file stands for, as seen from a run, or from none.
fn holder(folder: &Path, run: Option<&RunId>) -> Holder {
    let Ok(file) = std::fs::read_to_string(folder.join("postmaster.pid")) else { return Holder::Nobody };
    let Some(pid) = file.lines().next().and_then(|line| line.trim().parse::<u32>().ok()) else {
        return Holder::Nobody;
    };
    // Where processes cannot be seen, PostgreSQL's own check has to do.
    let Ok(mut system) = System::new() else { return Holder::Nobody };
    let what = ProcessRefreshKind::nothing()
        .with_cwd(UpdateKind::Always)
        .with_cmd(UpdateKind::Always)
        .with_environ(UpdateKind::Always);
    let process = Pid::from_u32(pid);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[process]), true, what);
    let Some(process) = system.process(process) else { return Holder::Nobody };
    if matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead) {
        return Holder::Nobody;
    }
    // A postmaster works in its data folder. Where that cannot be seen, its command line names the folder.
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let named = || process.cmd().iter().any(|arg| Path::new(arg) == folder || Path::new(arg) == real);
    let serves = match process.cwd() {
        Some(cwd) => cwd == real,
        None if process.cmd().is_empty() => return Holder::Somebody(pid),
        None => named(),
    };
    if !serves {
        return Holder::Unrelated;
    }
    let of_run = process.environ().iter().find_map(|var| var.to_str()?.strip_prefix("DEVCTL_RUN=").map(str::to_owned));
    match of_run {
        Some(of_run) if run.is_some_and(|run| run.as_str() != of_run) => Holder::Leftover(pid),
        Some(_) | None => Holder::Somebody(pid),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn run(id: &str) -> RunId {
        id.parse().unwrap()
    }

    fn folder_with_pid(pid: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("postmaster.pid"), format!("{pid}\n/x\n")).unwrap();
        folder
    }

    fn sleeper(dir: &Path, run: Option<&str>) -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000").current_dir(dir).env_remove("DEVCTL_RUN");
        if let Some(run) = run {
            command.env("DEVCTL_RUN", run);
        }
        command.spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_dead_pid_and_no_file_are_nobody() {
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        assert_eq!(holder(folder_with_pid(dead.id()).path(), None), Holder::Nobody);
        assert_eq!(holder(Path::new("/nowhere"), None), Holder::Nobody);
    }

    #[tokio::test]
    async fn a_number_given_anew_is_cleared_away() {
        let elsewhere = tempfile::tempdir().unwrap();
        let child = sleeper(elsewhere.path(), None);
        let folder = folder_with_pid(child.id());
        assert_eq!(holder(folder.path(), Some(&run("0123456789ab"))), Holder::Unrelated);
        assert_eq!(clear(folder.path(), &run("0123456789ab")).await.unwrap(), None);
        assert!(!folder.path().join("postmaster.pid").exists());
        end(child);
    }

    #[tokio::test]
    async fn somebodys_server_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let child = sleeper(folder.path(), None);
        let pid = child.id();
        std::fs::write(folder.path().join("postmaster.pid"), pid.to_string()).unwrap();
        let error = clear(folder.path(), &run("0123456789ab")).await.unwrap_err();
        assert!(error.to_string().contains(&format!("pid {pid}")), "{error}");
        end(child);
    }

    #[tokio::test]
    async fn what_an_older_run_left_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = sleeper(folder.path(), Some("ba9876543210"));
        let pid = child.id();
        std::fs::write(folder.path().join("postmaster.pid"), pid.to_string()).unwrap();
        assert_eq!(
            holder(folder.path(), Some(&run("ba9876543210"))),
            Holder::Somebody(pid),
            "the same run's is no leftover"
        );
        assert_eq!(clear(folder.path(), &run("0123456789ab")).await.unwrap(), Some(pid));
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT));
    }
}
