//! A child that has the user's terminal to itself: devctl steps back while it runs.

use std::io;
use std::process::ExitStatus;

/// Keeps this process from dying of Ctrl+C and Ctrl+\ from now on; a child that shares the terminal gets them alone.
///
/// A handler does it and not `SIG_IGN`: a signal that is ignored stays ignored in the child that is started next. tokio
/// never takes a handler back, so nothing has to be kept alive. Needs a tokio runtime.
#[cfg(unix)]
pub fn leave_interrupts_to_the_child() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    drop(signal(SignalKind::interrupt())?);
    drop(signal(SignalKind::quit())?);
    Ok(())
}

/// Keeps this process from dying of Ctrl+C from now on; a child that shares the console gets it alone.
#[cfg(windows)]
pub fn leave_interrupts_to_the_child() -> io::Result<()> {
    drop(tokio::signal::windows::ctrl_c()?);
    Ok(())
}

/// The signal that ended a process, where one did.
#[cfg(unix)]
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// The signal that ended a process: none, Windows has no signals.
#[cfg(windows)]
pub fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}
