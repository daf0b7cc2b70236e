//! Containers and networks of a run whose supervisor is dead: stopped, removed, and looked for again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;

use super::container::{self, Unnamed};
use super::observe;
use super::observed::{ObservedContainer, stop_levels};
use super::{Docker, network};
use crate::name::RunId;

/// How long a container has at most before it is killed: nobody waits for what a killed run left, and somebody may wait
/// for the ports.
const GRACE: Duration = Duration::from_secs(5);

/// What became of the containers and networks of a dead run, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenDown {
    /// The containers that ran and were stopped, or were removed.
    pub containers: Vec<String>,
    /// The networks that were removed.
    pub networks: Vec<String>,
    /// What could not be done, and why.
    pub failed: Vec<String>,
}

/// See [`Docker::take_down`].
pub(super) async fn take_down(docker: &Docker, runs: &[RunId], started: &[String], keep: bool) -> TakenDown {
    let mut done = TakenDown::default();
    // By id, as one that the run had only started may carry its label too.
    let mut found: BTreeMap<String, ObservedContainer> = BTreeMap::new();
    for listed in join_all(runs.iter().map(|run| observe::list_run(docker, run))).await {
        match listed {
            Ok(listed) => found.extend(listed.into_iter().map(|one| (one.id.clone(), one))),
            Err(error) => done.failed.push(format!("containers: {error}")),
        }
    }
    for name in started {
        match observe::list_named(docker, name).await {
            Ok(one) => found.extend(one.map(|one| (one.id.clone(), one))),
            Err(error) => done.failed.push(format!("container {name}: {error}")),
        }
    }
    if keep {
        found.retain(|_, one| one.running);
    }
    for level in stop_levels(found.into_values().collect()) {
        let ends = level.into_iter().map(async |one| (end(docker, &one, keep).await, one.name));
        for (ended, name) in join_all(ends).await {
            match ended {
                Ok(()) => done.containers.push(name),
                Err(error) => done.failed.push(format!("container {name}: {error}")),
            }
        }
    }
    if !keep {
        remove_networks(docker, runs, &mut done).await;
    }
    done
}

async fn end(docker: &Docker, one: &ObservedContainer, keep: bool) -> Result<(), super::Error> {
    if one.running {
        let seconds = i32::try_from(GRACE.as_secs()).expect("a few seconds");
        container::stop_within(docker, &one.id, Some(seconds), GRACE).await?;
    }
    if keep { Ok(()) } else { container::remove(docker, &one.id, Unnamed::Remove).await }
}

async fn remove_networks(docker: &Docker, runs: &[RunId], done: &mut TakenDown) {
    let mut names = HashSet::new();
    for listed in join_all(runs.iter().map(|run| observe::run_networks(docker, run))).await {
        match listed {
            Ok(listed) => names.extend(listed),
            Err(error) => done.failed.push(format!("networks: {error}")),
        }
    }
    let removals = names.into_iter().map(async |name| (network::remove_network(docker, &name).await, name));
    for (removed, name) in join_all(removals).await {
        match removed {
            Ok(()) => done.networks.push(name),
            Err(error) => done.failed.push(format!("network {name}: {error}")),
        }
    }
    done.networks.sort();
}
