//! devctl itself, started once more as a process that outlives this one and has nothing of it but the end of a pipe.
//!
//! It gets a session of its own, so that no terminal and no signal for a group reaches it, ignores the signals by which
//! people end devctl, and holds no file of ours: the end of this process is the end of the pipe.

use std::io::{self, PipeWriter};
use std::process::Stdio;

use tokio::process::Child;

/// A devctl apart. It reads our end of the pipe as its standard input.
#[derive(Debug)]
pub struct Apart {
    /// The process, to be waited for.
    pub child: Child,
    /// The end of the pipe that no other process has.
    pub pipe: PipeWriter,
}

/// Starts it. Called on the thread that makes all children, so that none of them gets the pipe by a race.
pub(super) fn start(args: &[&str]) -> io::Result<Apart> {
    let (theirs, pipe) = io::pipe()?;
    let mut command = platform::command()?;
    command.args(args).current_dir("/").stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Apart { child: command.spawn()?, pipe })
}

/// Gives this process the name that people look for in a list of processes.
pub fn name_this_process(name: &std::ffi::CStr) {
    platform::name(name);
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "the child has to be prepared between fork and exec")]
mod platform {
    use std::io;

    use nix::sys::signal::{SigHandler, Signal, signal};
    use tokio::process::Command;

    pub(super) fn command() -> io::Result<Command> {
        let mut command = Command::new(program()?);
        command.arg0("devctl");
        // SAFETY: the closure runs between fork and exec and makes system calls only.
        unsafe {
            command.pre_exec(in_child);
        }
        Ok(command)
    }

    /// The very program that runs, which may have been replaced on the disk since.
    #[cfg(target_os = "linux")]
    #[expect(clippy::unnecessary_wraps, reason = "the twin of other systems can fail")]
    fn program() -> io::Result<&'static str> {
        Ok("/proc/self/exe")
    }

    #[cfg(not(target_os = "linux"))]
    fn program() -> io::Result<std::path::PathBuf> {
        std::env::current_exe()
    }

    fn in_child() -> io::Result<()> {
        nix::unistd::setsid()?;
        for each in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { signal(each, SigHandler::SigIgn) }?;
        }
        #[cfg(target_os = "linux")]
        // SAFETY: a plain system call with plain numbers. Best effort: kernels before 5.11 don't know it, and what
        // devctl itself opens is close-on-exec anyway.
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn name(name: &std::ffi::CStr) {
        // Of no consequence where it fails.
        let _ = nix::sys::prctl::set_name(name);
    }

    /// Named after its program there.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn name(_: &std::ffi::CStr) {}
}

/// Windows: a group of its own and no console, so that no Ctrl+C reaches it.
#[cfg(windows)]
mod platform {
    use std::io;

    use tokio::process::Command;

    pub(super) fn command() -> io::Result<Command> {
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        const DETACHED_PROCESS: u32 = 0x8;
        let mut command = Command::new(std::env::current_exe()?);
        command.creation_flags(CREATE_NEW_PROCESS_GROUP | DETACHED_PROCESS);
        Ok(command)
    }

    pub(super) fn name(_: &std::ffi::CStr) {}
}
