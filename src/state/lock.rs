//! One supervisor for each project: a lock that the system gives back when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StateDir;
use crate::os::boot;
use crate::os::process::{self, Identity, Kill};

/// Who holds a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id of the devctl that holds it.
    pub pid: u32,
    /// Its run.
    pub run: String,
    /// When that process started, in the kernel's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// The start of the machine that both numbers belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Whether it is the guardian of a run that was killed, which takes down what that run left and then lets go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guardian: bool,
}

impl Holder {
    /// This process, on behalf of a run.
    pub fn this(run: &str) -> Self {
        Self {
            pid: process::own_id(),
            run: run.to_owned(),
            start: process::own().map(|id| id.start),
            boot: boot::id(),
            guardian: false,
        }
    }

    /// The process, where the one of that id is still the one that took the lock.
    pub fn process(&self) -> Option<Identity> {
        let found = process::look(self.pid).filter(|found| !found.ended && boot::is_this_one(self.boot.as_deref()))?;
        self.start.is_none_or(|start| start == found.id.start).then_some(found.id)
    }
}

/// The lock of a project, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// How often and how long to wait for somebody who only looks at the lock.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(2);

/// What came of asking for the lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Held(Lock),
    /// Another devctl has it. `None` where it has not written its name yet.
    Taken(Option<Holder>),
}

impl Lock {
    /// Asks for the lock of a project and writes `holder` into it.
    pub fn take(state: &StateDir, holder: &Holder) -> io::Result<Attempt> {
        Self::take_as(state, holder, true)
    }

    /// [`Lock::take`], for whoever tidies up and lets go: that works on a disk without room for a name.
    pub fn take_to_tidy_up(state: &StateDir, holder: &Holder) -> io::Result<Attempt> {
        Self::take_as(state, holder, false)
    }

    fn take_as(state: &StateDir, holder: &Holder, must_be_named: bool) -> io::Result<Attempt> {
        let made = state.make();
        if must_be_named || !state.path().is_dir() {
            made?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(state.file("lock"))?;
        for _ in 0..LOOKS {
            match file.try_lock() {
                Ok(()) => {
                    let named = write_holder(&mut file, holder);
                    if must_be_named {
                        named?;
                    }
                    return Ok(Attempt::Held(Self { _file: file }));
                }
                Err(TryLockError::WouldBlock) => {
                    let taken = read_holder(&mut file);
                    if taken.as_ref().is_some_and(|taken| taken.process().is_some()) {
                        return Ok(Attempt::Taken(taken));
                    }
                    // Whoever wrote its name is dead: somebody just looks whether the project is held, for which the
                    // lock is taken for a moment, or has only now taken it.
                    std::thread::sleep(LOOK);
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(Attempt::Taken(read_holder(&mut file)))
    }

    /// Who holds a project now; `Ok(None)` where nobody does.
    pub fn holder(state: &StateDir) -> io::Result<Option<Holder>> {
        let mut file = match File::open(state.file("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file).unwrap_or_default())),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits until nobody holds the project any more; looks every 20 ms, since the system tells nobody of a lock that
    /// is given back.
    pub async fn wait_until_free(state: &StateDir) -> io::Result<()> {
        while let Some(holder) = Self::holder(state)? {
            // A guardian that somebody has stopped (SIGSTOP) would be waited for for ever.
            if let Some(guardian) = holder.process().filter(|_| holder.guardian) {
                process::signal(guardian, Kill::Cont);
            }
            Self::look_again(state).await;
        }
        Ok(())
    }

    /// Waits for the next look at a project that somebody holds.
    pub async fn look_again(state: &StateDir) {
        // One that was stopped before it could write its name is found by the file that it has open.
        if Self::holder(state).is_ok_and(|holder| holder.is_some_and(|holder| holder.process().is_none())) {
            process::resume_holders(&state.file("lock"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes over the name of the last holder, in one step: whoever reads it sees one of them, and a disk that is full has
/// room for it.
fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    let mut text = serde_json::to_string(holder).expect("a holder is plain data");
    text.push('\n');
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    // What stands behind the first line was the end of a longer name.
    serde_json::from_str(text.lines().next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        assert_eq!(Lock::holder(&state).unwrap(), None);
        let first = Holder::this("00000000000a");
        let Attempt::Held(lock) = Lock::take(&state, &first).unwrap() else { panic!("nobody else is there") };
        let Attempt::Taken(who) = Lock::take(&state, &Holder::default()).unwrap() else { panic!("it is taken") };
        assert_eq!(who, Some(first.clone()));
        assert_eq!(Lock::holder(&state).unwrap(), Some(first));
        drop(lock);
        assert_eq!(Lock::holder(&state).unwrap(), None);
    }

    #[test]
    fn a_name_is_written_over_a_longer_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        let long = Holder { run: "x".repeat(500), ..Holder::this("") };
        drop(Lock::take(&state, &long).unwrap());
        let short = Holder::this("00000000000a");
        let Attempt::Held(_lock) = Lock::take(&state, &short).unwrap() else { panic!("nobody else is there") };
        assert_eq!(Lock::holder(&state).unwrap(), Some(short.clone()));
        // Seen in the middle of it.
        let text = format!("{}\n{}", serde_json::to_string(&short).unwrap(), "x\"}\n");
        std::fs::write(state.file("lock"), text).unwrap();
        assert_eq!(read_holder(&mut File::open(state.file("lock")).unwrap()), Some(short));
    }

    #[test]
    fn somebody_who_only_looks_is_no_holder() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        drop(Lock::take(&state, &Holder { pid: 0, ..Holder::default() }).unwrap());
        let looker = File::open(state.file("lock")).unwrap();
        looker.lock_shared().unwrap();
        let done = std::thread::spawn(move || {
            std::thread::sleep(LOOK);
            drop(looker);
        });
        assert!(matches!(Lock::take(&state, &Holder::this("00000000000a")).unwrap(), Attempt::Held(_)));
        done.join().unwrap();
    }

    #[test]
    fn a_holder_is_nobody_once_its_process_is_another_or_the_machine_was_restarted() {
        let me = Holder::this("00000000000a");
        assert_eq!(me.process(), process::own());
        assert_eq!(Holder { start: Some(1), ..me.clone() }.process(), None);
        assert_eq!(Holder { boot: Some("another".to_owned()), ..me }.process(), None);
        let old: Holder = serde_json::from_str(r#"{"pid":0,"run":"00000000000a"}"#).unwrap();
        assert!(!old.guardian && old.boot.is_none());
    }
}
