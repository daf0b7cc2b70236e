//! Starts a program that outlives this one and its terminal.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

/// What to start.
#[derive(Debug)]
pub struct Background<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<std::ffi::OsString>,
    /// What it reads from its standard input.
    pub input: &'a [u8],
    /// Where its standard error goes.
    pub errors: File,
}

/// Starts a program in a session of its own: no terminal, and no signal of one. It is ours to wait for as long as we are
/// there, and is not ended with us.
pub fn start(background: Background<'_>) -> io::Result<Child> {
    let Background { program, args, input, errors } = background;
    let (reader, mut writer) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(args).stdin(reader).stdout(Stdio::null()).stderr(errors);
    own_session(&mut command);
    let child = command.spawn()?;
    // Our copy of the reading end: without it a child that is gone already shows as an error here.
    drop(command);
    match writer.write_all(input) {
        // It ended at once, and says why in its own words.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(child),
        written => written.map(|()| child),
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "a session begins between fork and exec")]
fn own_session(command: &mut Command) {
    // SAFETY: `setsid` is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
}

/// Windows: without the console, and in a group of its own, so that Ctrl+C does not reach it.
#[cfg(windows)]
fn own_session(command: &mut Command) {
    const DETACHED_PROCESS: u32 = 0x8;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
}
