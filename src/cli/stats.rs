//! CPU and memory of what runs, for `ps --stats`: two looks a moment apart at each service's processes, or at its
//! container through the engine.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::Context;
use crate::driver::docker::{ContainerUsage, Docker};
use crate::os::clock;
use crate::os::process::{self, Identity};
use crate::os::tree::{Cookie, Tree};
use crate::os::usage::Sample;
use crate::state::record::Record;

/// The time between the two looks.
const MOMENT: Duration = Duration::from_millis(200);

/// What a service uses.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(super) struct Usage {
    /// Of one processor: 250 where two and a half are busy.
    pub(super) cpu_percent: f64,
    /// In bytes.
    pub(super) memory_bytes: u64,
}

/// What the services of a run use, those that run.
pub(super) async fn of(record: &Record, context: &Context) -> HashMap<String, Usage> {
    let mut trees: Vec<(&String, Tree)> = record
        .services
        .iter()
        .filter_map(|(name, service)| {
            let leader = service.leader().or_else(|| process::look(service.pid?).map(|leader| leader.id))?;
            Some((name, Tree::new(leader, Some(Cookie::of_service(&record.run, name)))))
        })
        .collect();
    let containers: Vec<(&String, &str)> =
        record.services.iter().filter_map(|(name, service)| Some((name, service.container.as_deref()?))).collect();
    // An engine that is away tells nothing, and the rest is worth showing all the same.
    let engine = if containers.is_empty() { None } else { Docker::connect(&context.env).await.ok() };
    let look = async || match &engine {
        Some(engine) => join_all(containers.iter().map(|(_, container)| engine.container_usage(container))).await,
        None => Vec::new(),
    };
    let (began, containers_before) = (clock::now(), look().await);
    let before: Vec<Sample> = trees.iter_mut().map(|(_, tree)| sample(tree)).collect();
    tokio::time::sleep(MOMENT).await;
    let after: Vec<Sample> = trees.iter_mut().map(|(_, tree)| sample(tree)).collect();
    let passed = clock::now().duration_since(began);
    let containers_after = look().await;
    let of_processes = trees.iter().zip(before.iter().zip(&after)).map(|((name, _), (before, after))| {
        let cpu_percent = percent(after.cpu_since(before), passed);
        ((*name).clone(), Usage { cpu_percent, memory_bytes: after.memory() })
    });
    let of_containers = containers.iter().zip(containers_before.into_iter().zip(containers_after));
    let of_containers = of_containers.filter_map(|((name, _), (before, after))| {
        let (before, after): (ContainerUsage, ContainerUsage) = (before.ok()?, after.ok()?);
        let cpu_percent = percent(after.cpu.saturating_sub(before.cpu), after.at.duration_since(before.at));
        Some(((*name).clone(), Usage { cpu_percent, memory_bytes: after.memory }))
    });
    of_processes.chain(of_containers).collect()
}

fn sample(tree: &mut Tree) -> Sample {
    let members: Vec<Identity> = tree.members().into_iter().map(|member| member.id).collect();
    Sample::of(members)
}

fn percent(busy: Duration, passed: Duration) -> f64 {
    let percent = 100.0 * busy.as_secs_f64() / passed.as_secs_f64().max(0.001);
    (percent * 10.0).round() / 10.0
}
