//! What a process costs while it has nothing to do, as Linux counts it in /proc.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::repo;

/// What a process and its helpers of the same program cost.
pub(super) struct Idle {
    /// Resident memory, in MiB.
    pub(super) memory: f64,
    /// Share of one processor, in percent.
    pub(super) processor: f64,
    /// How many processes these are.
    pub(super) processes: usize,
}

/// Watches a process and those of its children that run the same program, for so long.
pub(super) fn watch(pid: u32, time: Duration) -> anyhow::Result<Idle> {
    let pids = family(pid)?;
    let ticks_per_second: f64 = repo::output(std::process::Command::new("getconf").arg("CLK_TCK"))?.trim().parse()?;
    let ticks = || pids.iter().map(|pid| used(*pid)).sum::<anyhow::Result<f64>>();
    let before = ticks()?;
    std::thread::sleep(time);
    let used = (ticks()? - before) / ticks_per_second;
    let memory = pids.iter().map(|pid| resident(*pid)).sum::<anyhow::Result<f64>>()?;
    Ok(Idle { memory, processor: used / time.as_secs_f64() * 100.0, processes: pids.len() })
}

/// The process, and every process below it that runs the same program: a guardian is part of the price.
fn family(pid: u32) -> anyhow::Result<Vec<u32>> {
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let mut family = vec![pid];
    let mut all: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").context("this machine has no /proc")? {
        let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(fields) = fields(child) else { continue };
        all.push((child, fields.get(1).and_then(|parent| parent.parse().ok()).unwrap_or(0)));
    }
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(
            all.iter().filter(|(child, of)| *of == parent && program(*child) == program(pid)).map(|(child, _)| child),
        );
        at += 1;
    }
    Ok(family)
}

/// Processor time used so far, in ticks.
pub(super) fn used(pid: u32) -> anyhow::Result<f64> {
    let fields = fields(pid)?;
    let field =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("/proc/PID/stat is short");
    // utime and stime, the 14th and 15th field, of which the first two are not in `fields`.
    Ok(field(11)? + field(12)?)
}

/// Resident memory, in MiB.
pub(super) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/PID/status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// The fields of /proc/PID/stat after the name, which may hold anything.
pub(super) fn fields(pid: u32) -> anyhow::Result<Vec<String>> {
    let stat = Path::new("/proc").join(pid.to_string()).join("stat");
    let stat = std::fs::read_to_string(stat)?;
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat is not as expected")?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}
