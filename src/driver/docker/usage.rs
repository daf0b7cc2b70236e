//! How much processor time and memory a container uses, as the engine counts it.

use std::time::{Duration, Instant};

use bollard::models::ContainerMemoryStats;
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::TryStreamExt as _;

use super::{Docker, Error};
use crate::os::clock;

/// What a container had used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The moment.
    pub at: Instant,
    /// Processor time since it started.
    pub cpu: Duration,
    /// Memory in bytes, without files that the system only keeps in case they are read again.
    pub memory: u64,
}

pub(super) async fn of(docker: &Docker, name: &str) -> Result<ContainerUsage, Error> {
    // One look: the engine would take another a second later to tell of percentages.
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let failed = |error| Error::from_call(format!("look at what `{name}` uses"), error);
    let mut answers = Box::pin(docker.client().stats(name, Some(options)));
    let stats = answers.try_next().await.map_err(failed)?.unwrap_or_default();
    let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage).unwrap_or_default();
    let memory = stats.memory_stats.map(used).unwrap_or_default();
    Ok(ContainerUsage { at: clock::now(), cpu: Duration::from_nanos(cpu), memory })
}

/// The kernel's two generations of control groups have two names for what can be given back at once.
pub(super) fn used(memory: ContainerMemoryStats) -> u64 {
    let details = memory.stats.unwrap_or_default();
    let spare = details.get("total_inactive_file").or_else(|| details.get("inactive_file")).copied();
    memory.usage.unwrap_or_default().saturating_sub(spare.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_given_back_is_not_counted() {
        let memory = |stats: &[(&str, u64)]| ContainerMemoryStats {
            usage: Some(1000),
            stats: Some(stats.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()),
            ..ContainerMemoryStats::default()
        };
        assert_eq!(used(memory(&[("inactive_file", 300)])), 700);
        assert_eq!(used(memory(&[("inactive_file", 1), ("total_inactive_file", 400)])), 600);
        assert_eq!(used(memory(&[("inactive_file", 2000)])), 0);
        assert_eq!(used(ContainerMemoryStats::default()), 0);
    }
}
