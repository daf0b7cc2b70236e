//! The table of all processes, and signals to them. A process is remembered by its id *and* the moment it started, as
//! ids are used again. Knows nothing of services; [`super::tree`] tells which processes belong together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Who a process is: an id alone names another process once the first is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// When it started, in the kernel's own unit: only good for comparing.
    pub start: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Who it is.
    pub id: Identity,
    /// Its parent's id.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Whether it has ended and only waits for its parent to hear of it.
    pub ended: bool,
}

/// The processes at one moment.
#[derive(Clone, Debug, Default)]
pub struct Table {
    processes: HashMap<u32, Process>,
}

impl Table {
    /// Looks at all processes now.
    pub fn snapshot() -> Self {
        Self::of(platform::all())
    }

    /// Makes a table of the given processes.
    pub fn of(processes: impl IntoIterator<Item = Process>) -> Self {
        Self { processes: processes.into_iter().map(|p| (p.id.pid, p)).collect() }
    }

    /// The process of that id.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// All processes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }
}

/// Looks at one process.
pub fn look(pid: u32) -> Option<Process> {
    platform::one(pid)
}

/// Whether a process that was written down is still there and has not ended.
pub fn lives(id: Identity) -> bool {
    look(id.pid).is_some_and(|p| p.id == id && !p.ended)
}

/// The environment a process was started with, as `NAME=value` ended by zero bytes. Empty where it may not be read:
/// another user's, or one that has ended. A program may have written over it.
pub fn environment(pid: u32) -> Vec<u8> {
    platform::environment(pid)
}

/// The command line of a process in one line, at most 80 characters; its name where there is no command line.
pub fn command(pid: u32) -> String {
    let line = platform::command(pid).replace(char::is_control, " ");
    let line = line.trim();
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Who this process is.
pub fn own() -> Option<Identity> {
    look(own_id()).map(|process| process.id)
}

/// The id of this process.
pub fn own_id() -> u32 {
    std::process::id()
}

/// The processes that hold the other end of a pipe of ours, where the system tells.
pub fn pipe_holders(pipe: &impl PipeEnd) -> Vec<u32> {
    platform::pipe_holders(pipe)
}

/// The name that the system gives the open file of that number, where it does.
#[cfg(unix)]
pub(super) fn file_of(fd: std::os::fd::RawFd) -> Option<std::path::PathBuf> {
    platform::file_of(fd)
}

/// The processes that have the file of that name open, this one excepted, where the system tells.
#[cfg(unix)]
pub(super) fn file_holders(name: &std::path::Path) -> Vec<u32> {
    platform::file_holders(name)
}

#[cfg(unix)]
pub use std::os::fd::AsRawFd as PipeEnd;
#[cfg(windows)]
pub use std::os::windows::io::AsRawHandle as PipeEnd;

/// A signal to send. On Windows each of them ends the process at once: a console program there cannot be asked from
/// another console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kill {
    /// SIGTERM.
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    /// SIGINT.
    #[serde(rename = "SIGINT")]
    Int,
    /// SIGQUIT.
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// SIGHUP.
    #[serde(rename = "SIGHUP")]
    Hup,
    /// SIGKILL.
    #[serde(rename = "SIGKILL")]
    Kill,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGWINCH.
    Winch,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
    /// SIGABRT.
    Abrt,
    /// SIGALRM.
    Alrm,
    /// SIGTSTP.
    Tstp,
    /// SIGTTIN.
    Ttin,
    /// SIGTTOU.
    Ttou,
    /// SIGPIPE.
    Pipe,
    /// SIGURG.
    Urg,
}

/// The signals by name, as a person types them.
pub const SIGNALS: &[(&str, Kill)] = &[
    ("SIGTERM", Kill::Term),
    ("SIGINT", Kill::Int),
    ("SIGQUIT", Kill::Quit),
    ("SIGHUP", Kill::Hup),
    ("SIGKILL", Kill::Kill),
    ("SIGUSR1", Kill::Usr1),
    ("SIGUSR2", Kill::Usr2),
    ("SIGWINCH", Kill::Winch),
    ("SIGSTOP", Kill::Stop),
    ("SIGCONT", Kill::Cont),
    ("SIGABRT", Kill::Abrt),
    ("SIGALRM", Kill::Alrm),
    ("SIGTSTP", Kill::Tstp),
    ("SIGTTIN", Kill::Ttin),
    ("SIGTTOU", Kill::Ttou),
    ("SIGPIPE", Kill::Pipe),
    ("SIGURG", Kill::Urg),
];

impl Kill {
    /// The signal of that name, with or without `SIG`, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let bare = name.strip_prefix("SIG").unwrap_or(&name);
        SIGNALS.iter().find(|(full, _)| &full[3..] == bare).map(|(_, kill)| *kill)
    }

    /// Its full name: `SIGTERM`.
    pub fn name(self) -> &'static str {
        SIGNALS.iter().find(|(_, kill)| *kill == self).map_or("SIGTERM", |(name, _)| name)
    }
}

/// Signals one process, if it still is the one that is meant. Answers whether it was there to be signalled.
pub fn signal(id: Identity, kill: Kill) -> bool {
    // The check and the signal are two steps; for the id to be used again between them the kernel would have to hand
    // out every other id within microseconds.
    look(id.pid).is_some_and(|p| p.id == id && !p.ended) && platform::signal(id.pid, kill)
}

/// Lets every process go on that was stopped and has this file open, where the system tells who has.
pub fn resume_holders(file: &std::path::Path) {
    #[cfg(unix)]
    for pid in file.canonicalize().map(|file| platform::file_holders(&file)).unwrap_or_default() {
        platform::signal(pid, Kill::Cont);
    }
    // Nobody is stopped there.
    #[cfg(not(unix))]
    let _ = file;
}

/// Signals a whole process group. The caller has made sure whose it is.
pub(super) fn signal_group(group: u32, kill: Kill) -> bool {
    platform::signal_group(group, kill)
}

#[cfg(unix)]
pub(super) fn number(kill: Kill) -> nix::sys::signal::Signal {
    use nix::sys::signal::Signal;
    match kill {
        Kill::Term => Signal::SIGTERM,
        Kill::Int => Signal::SIGINT,
        Kill::Quit => Signal::SIGQUIT,
        Kill::Hup => Signal::SIGHUP,
        Kill::Kill => Signal::SIGKILL,
        Kill::Usr1 => Signal::SIGUSR1,
        Kill::Usr2 => Signal::SIGUSR2,
        Kill::Winch => Signal::SIGWINCH,
        Kill::Stop => Signal::SIGSTOP,
        Kill::Cont => Signal::SIGCONT,
        Kill::Abrt => Signal::SIGABRT,
        Kill::Alrm => Signal::SIGALRM,
        Kill::Tstp => Signal::SIGTSTP,
        Kill::Ttin => Signal::SIGTTIN,
        Kill::Ttou => Signal::SIGTTOU,
        Kill::Pipe => Signal::SIGPIPE,
        Kill::Urg => Signal::SIGURG,
    }
}

#[cfg(unix)]
mod unix {
    use nix::sys::signal::{kill, killpg};
    use nix::unistd::Pid;

    use super::{Kill, number};

    pub(super) fn signal(pid: u32, what: Kill) -> bool {
        // 0 and 1 are never meant: our own group, and the whole machine.
        i32::try_from(pid).is_ok_and(|pid| pid > 1 && kill(Pid::from_raw(pid), number(what)).is_ok())
    }

    pub(super) fn signal_group(group: u32, what: Kill) -> bool {
        i32::try_from(group).is_ok_and(|group| group > 1 && killpg(Pid::from_raw(group), number(what)).is_ok())
    }
}

/// Linux: read from `/proc` directly, as a snapshot is taken at every stop and should cost a millisecond.
#[cfg(target_os = "linux")]
mod platform {
    use std::fs;
    use std::io::{self, Read as _};
    use std::os::fd::{AsRawFd, RawFd};
    use std::path::{Path, PathBuf};

    pub(super) use super::unix::{signal, signal_group};
    use super::{Identity, Process};

    /// Reads a file of `/proc`. Such files claim to be empty, so that `fs::read` would begin with a few bytes at a time,
    /// and the kernel visits the other process for each of its reads.
    fn read(path: String) -> io::Result<Vec<u8>> {
        let mut content = Vec::with_capacity(16 * 1024);
        fs::File::open(path)?.read_to_end(&mut content)?;
        Ok(content)
    }

    pub(super) fn all() -> Vec<Process> {
        pids().filter_map(one).collect()
    }

    fn pids() -> impl Iterator<Item = u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
    }

    pub(super) fn one(pid: u32) -> Option<Process> {
        parse(pid, &read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state ppid pgrp session …`, the start as the 22nd field. The name may hold anything, `) R 1` too.
    pub(super) fn parse(pid: u32, stat: &[u8]) -> Option<Process> {
        let rest = &stat[memchr::memrchr(b')', stat)? + 1..];
        let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let mut number = || fields.next()?.parse::<i64>().ok().map(|n| u32::try_from(n).unwrap_or(0));
        let (parent, group, session) = (number()?, number()?, number()?);
        let start = fields.nth(15)?.parse().ok()?;
        Some(Process { id: Identity { pid, start }, parent, group, session, ended: matches!(state, "Z" | "X" | "x") })
    }

    pub(super) fn environment(pid: u32) -> Vec<u8> {
        read(format!("/proc/{pid}/environ")).unwrap_or_default()
    }

    pub(super) fn command(pid: u32) -> String {
        let line = read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.trim().is_empty() {
            return fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        }
        line
    }

    pub(super) fn pipe_holders(pipe: &impl AsRawFd) -> Vec<u32> {
        file_of(pipe.as_raw_fd()).map(|name| file_holders(&name)).unwrap_or_default()
    }

    pub(in crate::os) fn file_of(fd: RawFd) -> Option<PathBuf> {
        fs::read_link(format!("/proc/self/fd/{fd}")).ok()
    }

    pub(in crate::os) fn file_holders(name: &Path) -> Vec<u32> {
        let own = super::own_id();
        let holds = |pid: u32| {
            let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
            fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == name))
        };
        pids().filter(|pid| *pid != own && holds(*pid)).collect()
    }
}

/// macOS and other Unix systems: the process table through `sysinfo`.
#[cfg(all(unix, not(target_os = "linux")))]
mod platform {
    use std::os::fd::AsRawFd;

    pub(super) use super::sysinfo_table::{all, command, environment, one};
    pub(super) use super::unix::{signal, signal_group};

    /// There is no way to ask from here.
    pub(super) fn pipe_holders(_: &impl AsRawFd) -> Vec<u32> {
        Vec::new()
    }

    pub(in crate::os) fn file_of(_: std::os::fd::RawFd) -> Option<std::path::PathBuf> {
        None
    }

    pub(in crate::os) fn file_holders(_: &std::path::Path) -> Vec<u32> {
        Vec::new()
    }
}

/// Windows: no groups, no sessions of the Unix kind and no signals; a process ends by `TerminateProcess`.
#[cfg(windows)]
mod platform {
    use std::os::windows::io::AsRawHandle;

    use sysinfo::Pid;

    pub(super) use super::sysinfo_table::{all, command, environment, one};
    use super::{Kill, sysinfo_table};

    pub(super) fn signal(pid: u32, _: Kill) -> bool {
        sysinfo_table::load(Some(pid)).and_then(|s| Some(s.process(Pid::from_u32(pid))?.kill())).unwrap_or(false)
    }

    pub(super) fn signal_group(_: u32, _: Kill) -> bool {
        false
    }

    pub(super) fn pipe_holders(_: &impl AsRawHandle) -> Vec<u32> {
        Vec::new()
    }
}

#[cfg(not(target_os = "linux"))]
mod sysinfo_table {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

    use super::{Identity, Process};

    pub(super) fn load(pid: Option<u32>) -> Option<System> {
        let mut system = System::new().ok()?;
        let wanted = pid.map(Pid::from_u32);
        let wanted =
            wanted.as_ref().map_or(ProcessesToUpdate::All, |p| ProcessesToUpdate::Some(std::slice::from_ref(p)));
        let kind = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always).with_environ(UpdateKind::Always);
        system.refresh_processes_specifics(wanted, true, kind);
        Some(system)
    }

    pub(super) fn all() -> Vec<Process> {
        let Some(system) = load(None) else { return Vec::new() };
        system.processes().iter().map(|(pid, process)| row(pid.as_u32(), process)).collect()
    }

    pub(super) fn one(pid: u32) -> Option<Process> {
        Some(row(pid, load(Some(pid))?.process(Pid::from_u32(pid))?))
    }

    fn row(pid: u32, process: &sysinfo::Process) -> Process {
        Process {
            id: Identity { pid, start: process.start_time() },
            parent: process.parent().map_or(0, Pid::as_u32),
            group: group(pid),
            session: process.session_id().map_or(0, Pid::as_u32),
            ended: matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead),
        }
    }

    #[cfg(unix)]
    fn group(pid: u32) -> u32 {
        let pid = i32::try_from(pid).ok().map(nix::unistd::Pid::from_raw);
        nix::unistd::getpgid(pid).ok().and_then(|g| u32::try_from(g.as_raw()).ok()).unwrap_or(0)
    }

    #[cfg(windows)]
    fn group(_: u32) -> u32 {
        0
    }

    pub(super) fn environment(pid: u32) -> Vec<u8> {
        let Some(system) = load(Some(pid)) else { return Vec::new() };
        let Some(process) = system.process(Pid::from_u32(pid)) else { return Vec::new() };
        process.environ().iter().flat_map(|v| [v.as_encoded_bytes(), b"\0"].concat()).collect()
    }

    pub(super) fn command(pid: u32) -> String {
        let Some(system) = load(Some(pid)) else { return String::new() };
        let Some(process) = system.process(Pid::from_u32(pid)) else { return String::new() };
        let words: Vec<_> = process.cmd().iter().map(|w| w.to_string_lossy()).collect();
        if words.is_empty() { process.name().to_string_lossy().into_owned() } else { words.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_cannot_forge_the_fields_behind_it() {
        let stat = b"42 (evil) R 1 1 1 (x) S 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1\n";
        let process = platform::parse(42, stat).unwrap();
        assert_eq!(process.id, Identity { pid: 42, start: 123_456 });
        assert_eq!((process.parent, process.group, process.session, process.ended), (7, 8, 9, false));
        assert!(platform::parse(1, b"").is_none());
        assert!(platform::parse(1, b"1 (x) Z 1").is_none());
    }

    #[test]
    fn this_process_is_in_the_table_with_its_command() {
        let own = own_id();
        let table = Table::snapshot();
        let me = table.get(own).expect("a process sees itself");
        assert_eq!(look(own).as_ref(), Some(me));
        assert!(!me.ended);
        assert!(command(own).contains("devctl"), "{}", command(own));
        assert!(!environment(own).is_empty());
    }

    #[test]
    fn a_signal_never_reaches_a_process_that_only_has_the_same_id() {
        let me = look(own_id()).unwrap().id;
        assert!(!signal(Identity { start: me.start + 1, ..me }, Kill::Kill));
        assert!(!signal(Identity { pid: 0, start: 0 }, Kill::Kill));
    }
}
