//! How much a pipe holds.

/// The reading end of a pipe of ours.
#[cfg(unix)]
pub use std::os::fd::AsFd as ReadEnd;
/// The reading end of a pipe of ours.
#[cfg(windows)]
pub use std::os::windows::io::AsRawHandle as ReadEnd;

/// Lets a pipe hold four times as much as usual, so that its reader may look less often without making the writer wait.
/// Only for pipes that need it: the memory counts against what the user may have in all pipes, and where the kernel
/// refuses, or knows no such thing, the pipe stays as it is.
#[cfg(target_os = "linux")]
pub fn widen(pipe: &impl ReadEnd) {
    let _ = nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(256 * 1024));
}

/// Pipes have the size they have.
#[cfg(not(target_os = "linux"))]
pub fn widen(_: &impl ReadEnd) {}
