//! Helper programs that run to their end: pip, `initdb`, PostgreSQL in single-user mode.
//!
//! Each has a process group of its own, which is killed as a whole when the caller loses interest: Ctrl+C in the middle
//! of a download or of `initdb` leaves no process behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Error;
use crate::os::user::User;

/// How many lines of a failed program's output an error keeps.
const TAIL: usize = 12;

/// A helper program to run.
pub(super) struct Tool {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) dir: PathBuf,
    /// Its whole environment.
    pub(super) env: BTreeMap<String, String>,
    pub(super) user: Option<User>,
    /// What it reads on standard input.
    pub(super) input: String,
}

/// What a helper program printed and how it ended.
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Outcome {
    /// The last lines that it printed, those on standard error last.
    pub(super) fn tail(&self) -> String {
        let lines: Vec<&str> =
            self.stdout.lines().chain(self.stderr.lines()).filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// How it ended, in words.
    pub(super) fn status(&self) -> String {
        describe(self.status)
    }
}

/// How a program ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

/// Kills a process group when dropped, unless its leader has been waited for: then the number may be another's. Windows
/// has no such groups; there only the program itself is killed, by the runtime.
struct Group {
    #[cfg(unix)]
    leader: Option<nix::unistd::Pid>,
}

impl Group {
    #[cfg(unix)]
    fn of(child: &tokio::process::Child) -> Self {
        Self { leader: child.id().and_then(|pid| i32::try_from(pid).ok()).map(nix::unistd::Pid::from_raw) }
    }

    #[cfg(not(unix))]
    fn of(_: &tokio::process::Child) -> Self {
        Self {}
    }

    #[cfg(unix)]
    fn is_done(&mut self) {
        self.leader = None;
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "the Unix twin forgets its leader")]
    fn is_done(&mut self) {}
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // Gone already is what is wanted.
            let _ = nix::sys::signal::killpg(leader, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Tool {
    /// Runs it to its end. Dropping the future kills it and what it started.
    pub(super) async fn run(self) -> Result<Outcome, Error> {
        let fail = |source| Error::Spawn { program: self.program.clone(), source };
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).env_clear().envs(&self.env);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        {
            command.process_group(0);
            if let Some(user) = &self.user {
                // With a user id set by root, the standard library also drops all supplementary groups.
                command.uid(user.uid).gid(user.gid);
            }
        }
        #[cfg(not(unix))]
        debug_assert!(self.user.is_none(), "only root's servers run as somebody else");
        let mut child = command.spawn().map_err(fail)?;
        let mut group = Group::of(&child);
        let mut stdin = child.stdin.take();
        let feed = async {
            if let Some(pipe) = stdin.as_mut() {
                // A program that ends without reading shows why by its exit code.
                let _ = pipe.write_all(self.input.as_bytes()).await;
            }
            drop(stdin);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        group.is_done();
        let output = output.map_err(fail)?;
        Ok(Outcome {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it to its end, and any end but exit code 0 is an error with the last lines that it printed.
    pub(super) async fn run_well(self) -> Result<Outcome, Error> {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned();
        let folder = self.dir.clone();
        let outcome = self.run().await?;
        if outcome.status.success() {
            return Ok(outcome);
        }
        if [&outcome.stdout, &outcome.stderr].iter().any(|output| output.contains("No space left on device")) {
            return Err(Error::NoRoom { program, folder });
        }
        Err(Error::Tool { program, status: outcome.status(), output: outcome.tail() })
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str) -> Tool {
        Tool {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            dir: "/".into(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            user: None,
            input: input.to_owned(),
        }
    }

    #[tokio::test]
    async fn input_goes_in_and_output_comes_out() {
        let outcome = shell("cat; echo warned >&2", "hello").run_well().await.unwrap();
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("hello", "warned\n"));
    }

    #[tokio::test]
    async fn a_failure_keeps_the_last_lines() {
        let error = shell("seq 1 100; echo why >&2; exit 3", "").run_well().await.err().unwrap().to_string();
        assert!(error.starts_with("`sh` ended with exit code 3\n"), "{error}");
        assert!(error.ends_with("100\nwhy") && !error.contains("\n50\n"), "{error}");
    }

    #[tokio::test]
    async fn dropping_it_kills_the_whole_group() {
        use tokio::io::AsyncReadExt;
        // The grandchild holds the pipe's other end: end of file proves that it is gone.
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("(exec 3>'{}'; echo up >&3; exec sleep 1000) & wait", fifo.display());
        let run = tokio::spawn(shell(&script, "").run());
        let path = fifo.clone();
        let file = tokio::task::spawn_blocking(move || std::fs::File::open(path)).await.unwrap().unwrap();
        let mut reader = tokio::fs::File::from_std(file);
        let mut greeting = [0; 3];
        reader.read_exact(&mut greeting).await.unwrap();
        run.abort();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
