//! What is in a container and what it was made from: its processes, its image. Looks, changes nothing.

use std::collections::HashMap;

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::{ListVolumesOptionsBuilder, StatsOptionsBuilder, TopOptions};
use futures_util::TryStreamExt as _;

use super::error::Error;
use super::observe::{PROJECT, found};
use super::running::explain_exec;
use super::usage::used;
use super::{Docker, ProjectContainer};

/// The processes of a container, as `ps -ef` of its machine shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// The names of the columns.
    pub titles: Vec<String>,
    /// A row for each process.
    pub rows: Vec<Vec<String>>,
}

/// An image that a container was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    /// The image's id, `sha256:…`.
    pub id: String,
    /// `linux/amd64`, `linux/arm64/v8`.
    pub platform: String,
    /// In bytes.
    pub size: i64,
    /// When it was tagged here the last time, RFC 3339; when it was made where that is not known.
    pub tagged: String,
}

/// What a container uses, as the engine counts it; sums since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Of one processor: 250 where two and a half are busy.
    pub cpu_percent: f64,
    /// In bytes, without what can be given back at once.
    pub memory: u64,
    /// How much it may use at most.
    pub memory_limit: u64,
    /// Received from networks, in bytes.
    pub net_in: u64,
    /// Sent to networks, in bytes.
    pub net_out: u64,
    /// Read from disks, in bytes.
    pub block_in: u64,
    /// Written to disks, in bytes.
    pub block_out: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Docker {
    /// The processes in a container.
    pub async fn processes(&self, container: &ProjectContainer) -> Result<Processes, Error> {
        // The engine's own choice of columns, which is that of the docker command.
        let options = TopOptions { ps_args: String::new() };
        let answer = self.client().top_processes(&container.id, Some(options)).await;
        let top = answer.map_err(|error| explain_exec(&container.name, error))?;
        Ok(Processes { titles: top.titles.unwrap_or_default(), rows: top.processes.unwrap_or_default() })
    }

    /// The image of a container; `None` where the engine has it no more.
    pub async fn image_of(&self, container: &ProjectContainer) -> Result<Option<ContainerImage>, Error> {
        let answer = found(self.client().inspect_image(&container.image).await);
        let image = answer.map_err(|e| Error::from_call(format!("look at the image `{}`", container.image), e))?;
        Ok(image.map(|image| {
            let parts = [image.os, image.architecture, image.variant].into_iter().flatten();
            let platform: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
            // An image that came by file was never tagged as far as the engine knows, and says the year 1.
            let tagged = image.metadata.and_then(|metadata| metadata.last_tag_time);
            let tagged = tagged.filter(|time| !time.starts_with("0001-"));
            ContainerImage {
                id: image.id.unwrap_or_default(),
                platform: platform.join("/"),
                size: image.size.unwrap_or_default(),
                tagged: tagged.or(image.created).unwrap_or_default(),
            }
        }))
    }

    /// Names and drivers of the volumes that carry a project's label, by name.
    pub async fn volumes_of(&self, project: &str) -> Result<Vec<(String, String)>, Error> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let answer = self.client().list_volumes(Some(options)).await;
        let found = answer.map_err(|e| Error::from_call("list the project's volumes", e))?.volumes.unwrap_or_default();
        let mut volumes: Vec<(String, String)> = found.into_iter().map(|volume| (volume.name, volume.driver)).collect();
        volumes.sort();
        Ok(volumes)
    }

    /// What a container uses, measured over the second that the engine takes for it.
    pub async fn stats(&self, container: &ProjectContainer) -> Result<Stats, Error> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(false).build();
        let failed = |error| Error::from_call(format!("look at what `{}` uses", container.name), error);
        let mut answers = Box::pin(self.client().stats(&container.id, Some(options)));
        Ok(stats(answers.try_next().await.map_err(failed)?.unwrap_or_default()))
    }
}

fn stats(answer: ContainerStatsResponse) -> Stats {
    let cpu = answer.cpu_stats.unwrap_or_default();
    let before = answer.precpu_stats.unwrap_or_default();
    let total = |stats: &bollard::models::ContainerCpuStats| {
        stats.cpu_usage.as_ref().and_then(|usage| usage.total_usage).unwrap_or_default()
    };
    let busy = total(&cpu).saturating_sub(total(&before));
    let passed = cpu.system_cpu_usage.unwrap_or_default().saturating_sub(before.system_cpu_usage.unwrap_or_default());
    #[expect(clippy::cast_precision_loss, reason = "a percentage is shown with two digits")]
    let cpu_percent = match (busy, passed) {
        (0, _) | (_, 0) => 0.0,
        (busy, passed) => busy as f64 / passed as f64 * f64::from(cpu.online_cpus.unwrap_or(1)) * 100.0,
    };
    let networks = answer.networks.unwrap_or_default();
    let disks = answer.blkio_stats.and_then(|blkio| blkio.io_service_bytes_recursive).unwrap_or_default();
    let moved = |what: &str| {
        let entries = disks.iter().filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(what)));
        entries.filter_map(|entry| entry.value).sum()
    };
    let memory = answer.memory_stats.unwrap_or_default();
    Stats {
        cpu_percent,
        memory_limit: memory.limit.unwrap_or_default(),
        memory: used(memory),
        net_in: networks.values().filter_map(|network| network.rx_bytes).sum(),
        net_out: networks.values().filter_map(|network| network.tx_bytes).sum(),
        block_in: moved("read"),
        block_out: moved("write"),
        pids: answer.pids_stats.and_then(|pids| pids.current).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_what_changed_since_the_look_before() {
        let answer = serde_json::json!({
            "cpu_stats": { "cpu_usage": { "total_usage": 300 }, "system_cpu_usage": 2000, "online_cpus": 2 },
            "precpu_stats": { "cpu_usage": { "total_usage": 100 }, "system_cpu_usage": 1000 },
            "memory_stats": { "usage": 1000, "stats": { "inactive_file": 300 }, "limit": 4000 },
            "networks": { "eth0": { "rx_bytes": 1, "tx_bytes": 2 }, "eth1": { "rx_bytes": 10 } },
            "blkio_stats": { "io_service_bytes_recursive": [
                { "op": "Read", "value": 5 }, { "op": "read", "value": 6 }, { "op": "Write", "value": 7 },
            ] },
            "pids_stats": { "current": 3 },
        });
        let seen = stats(serde_json::from_value(answer).unwrap());
        let expected = Stats {
            cpu_percent: 40.0,
            memory: 700,
            memory_limit: 4000,
            net_in: 11,
            net_out: 2,
            block_in: 11,
            block_out: 7,
            pids: 3,
        };
        assert_eq!(seen, expected);
        assert_eq!(stats(ContainerStatsResponse::default()), Stats::default());
    }
}
