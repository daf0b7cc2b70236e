//! The processes of one tool, and what they cost. What they supervise does not count; guardians, launchers, wrappers and
//! shells do: they would not be there without the tool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::idle::{fields, resident, used};

/// The variable by which a tool's processes are known, wherever they went.
pub(super) const MARK: &str = "DEVCTL_BENCH_MARK";

/// The processes of a tool at one moment.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) pids: Vec<u32>,
}

/// What a family costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) processes: usize,
    pub(super) threads: usize,
    /// MiB, and in proportion to how many share each page.
    pub(super) rss: f64,
    pub(super) pss: f64,
    /// RSS of the largest process: the supervisor itself.
    pub(super) largest: f64,
}

impl Family {
    /// Looks for everything with that mark, and what it started, except for `workload`.
    pub(super) fn of(mark: &str, workload: &Path) -> anyhow::Result<Self> {
        let all = processes(mark)?;
        let is_workload = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == workload);
        Ok(Self { pids: all.into_iter().filter(|pid| !is_workload(pid)).collect() })
    }

    /// Processor time used so far, in seconds.
    pub(super) fn processor(&self) -> f64 {
        // One that has ended meanwhile has taken its time along.
        self.pids.iter().filter_map(|pid| used(*pid).ok()).sum::<f64>() / 100.0
    }

    /// What those of them cost that are still there.
    pub(super) fn cost(&self) -> Cost {
        let mut cost = Cost { processes: 0, threads: 0, rss: 0.0, pss: 0.0, largest: 0.0 };
        for pid in &self.pids {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map(Iterator::count);
            // Commands that only start something end sooner or later.
            let (Ok(rss), Ok(pss), Ok(threads)) = (resident(*pid), proportional(*pid), threads) else { continue };
            cost.processes += 1;
            cost.threads += threads;
            cost.rss += rss;
            cost.pss += pss;
            cost.largest = cost.largest.max(rss);
        }
        cost
    }
}

/// All processes with the mark in their environment, and all that came of them.
pub(super) fn processes(mark: &str) -> anyhow::Result<Vec<u32>> {
    let wanted = format!("{MARK}={mark}");
    let mut parents = Vec::new();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").context("this machine has no /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(fields) = fields(pid) else { continue };
        if fields.first().is_some_and(|state| state == "Z") {
            continue;
        }
        parents.push((pid, fields.get(1).and_then(|parent| parent.parse::<u32>().ok()).unwrap_or(0)));
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            found.insert(pid);
        }
    }
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(pid, of)| found.contains(of) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return Ok(found.into_iter().collect());
        }
        found.extend(more);
    }
}

fn proportional(pid: u32) -> anyhow::Result<f64> {
    let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}
