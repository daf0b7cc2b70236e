//! One supervisor for each project: a lock that the system gives back when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StateDir;

/// Who holds a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id of the devctl that holds it.
    pub pid: u32,
    /// Its run.
    pub run: String,
}

/// The lock of a project, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

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
        state.make()?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(state.file("lock"))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                let text = serde_json::to_string(holder).expect("a holder is plain data");
                writeln!(file, "{text}")?;
                Ok(Attempt::Held(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(Attempt::Taken(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
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
        while Self::holder(state)?.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        assert_eq!(Lock::holder(&state).unwrap(), None);
        let first = Holder { pid: 7, run: "00000000000a".to_owned() };
        let Attempt::Held(lock) = Lock::take(&state, &first).unwrap() else { panic!("nobody else is there") };
        let Attempt::Taken(who) = Lock::take(&state, &Holder::default()).unwrap() else { panic!("it is taken") };
        assert_eq!(who, Some(first.clone()));
        assert_eq!(Lock::holder(&state).unwrap(), Some(first));
        drop(lock);
        assert_eq!(Lock::holder(&state).unwrap(), None);
    }
}
