//! How much processor time and memory processes use: two samples a moment apart tell how busy they are.

use std::collections::HashMap;
use std::time::Duration;

use super::process::Identity;

/// What processes had used at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    processes: HashMap<Identity, Used>,
}

/// What one process had used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Used {
    /// Processor time since it started.
    pub(super) cpu: Duration,
    /// Memory that is not swapped out, in bytes; what is shared with others is counted for each.
    pub(super) memory: u64,
}

impl Sample {
    /// Looks at processes now. Those that are gone, or that the system tells nothing of, are left out.
    pub fn of(processes: impl IntoIterator<Item = Identity>) -> Self {
        Self { processes: processes.into_iter().filter_map(|id| Some((id, platform::used(id)?))).collect() }
    }

    /// Their memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.processes.values().map(|used| used.memory).sum()
    }

    /// The processor time that they used since an earlier sample. What began after it counts from its start.
    pub fn cpu_since(&self, before: &Self) -> Duration {
        let since = |(id, used): (&Identity, &Used)| {
            used.cpu.saturating_sub(before.processes.get(id).map_or(Duration::ZERO, |before| before.cpu))
        };
        self.processes.iter().map(since).sum()
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::time::Duration;

    use nix::unistd::{SysconfVar, sysconf};

    use super::Used;
    use crate::os::process::Identity;

    pub(super) fn used(id: Identity) -> Option<Used> {
        parse(
            &std::fs::read(format!("/proc/{}/stat", id.pid)).ok()?,
            id,
            unit(SysconfVar::CLK_TCK),
            unit(SysconfVar::PAGE_SIZE),
        )
    }

    /// What the kernel counts in. It never fails for these two.
    fn unit(what: SysconfVar) -> u64 {
        sysconf(what).ok().flatten().and_then(|unit| u64::try_from(unit).ok()).unwrap_or(1).max(1)
    }

    /// `pid (name) state …`: user time and system time as the 14th and 15th field, the start as the 22nd, resident
    /// pages as the 24th. The name may hold anything.
    pub(super) fn parse(stat: &[u8], id: Identity, ticks: u64, page: u64) -> Option<Used> {
        let rest = &stat[memchr::memrchr(b')', stat)? + 1..];
        let fields: Vec<&str> = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        if number(22)? != id.start {
            return None;
        }
        let cpu = Duration::from_millis((number(14)? + number(15)?).saturating_mul(1000) / ticks);
        Some(Used { cpu, memory: number(24)?.saturating_mul(page) })
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::time::Duration;

    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

    use super::Used;
    use crate::os::process::Identity;

    pub(super) fn used(id: Identity) -> Option<Used> {
        let mut system = System::new().ok()?;
        let pid = Pid::from_u32(id.pid);
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
        let process = system.process(pid).filter(|process| process.start_time() == id.start)?;
        Some(Used { cpu: Duration::from_millis(process.accumulated_cpu_time()), memory: process.memory() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process;

    #[test]
    fn this_process_uses_memory_and_time() {
        let me = process::look(process::own_id()).unwrap().id;
        let before = Sample::of([me]);
        assert!(before.memory() > 100_000);
        // Until the clock of the system has counted it.
        let mut sum = 0_u64;
        while Sample::of([me]).cpu_since(&before).is_zero() {
            sum = (0..100_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert_eq!(before.cpu_since(&Sample::of([me])), Duration::ZERO);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = b"42 (a) b) S 7 8 9 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 123456 1000 7 18446744073709551615\n";
        let id = process::Identity { pid: 42, start: 123_456 };
        let used = Used { cpu: Duration::from_secs(2), memory: 7 * 4096 };
        assert_eq!(platform::parse(stat, id, 100, 4096), Some(used));
        // Another process has the id by now.
        assert_eq!(platform::parse(stat, process::Identity { start: 1, ..id }, 100, 4096), None);
    }
}
