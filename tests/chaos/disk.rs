//! A small disk that only one thread of the tests and what it starts can see.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "a thread leaves the mounts of its process")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How large it is: room for the files of a project and some lines of log.
const SIZE: &str = "size=384k";

/// The name of what fills it.
const FILLER: &str = "filler";

/// Gives this thread mounts of its own; whether that worked. They are gone with the thread and all it has started.
pub(crate) fn separate() -> bool {
    // SAFETY: a plain system call. It is about this thread alone, as the mounts of each thread are its own.
    let apart = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    // What is mounted here must not show elsewhere.
    apart && mount(&["--make-rprivate", "/"])
}

fn mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).output().is_ok_and(|output| output.status.success())
}

/// A small disk in the place of a folder. Dropped, it is gone with all that was on it.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Puts it there; `None` where this thread may not.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let path = folder.to_str().expect("temporary folders have plain names");
        mount(&["-t", "tmpfs", "-o", SIZE, "tmpfs", path]).then(|| Self(folder.to_owned()))
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let Ok(mut file) = File::options().create(true).append(true).open(self.0.join(FILLER)) else { return };
        let block = [b'x'; 512];
        while file.write_all(&block).is_ok() {}
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        // There is none where there was no room for it.
        drop(fs::remove_file(self.0.join(FILLER)));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy"]).arg(&self.0).output());
    }
}
