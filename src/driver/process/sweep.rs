//! The end of processes that a run left when it died: no supervisor knows them any more, their environment still tells
//! whose they are.

use std::time::{Duration, Instant};

use crate::name::RunId;
use crate::os::clock;
use crate::os::process::{Kill, Process, Table};
use crate::os::tree::{self, Cookie};

/// How long they have to end by themselves before they are killed. A database server needs a moment to write its data.
const GRACE: Duration = Duration::from_secs(10);
/// How long the killed may take to be gone.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// How often to look. Nobody tells of the end of a process that is not one's child.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Ends all processes of a run and waits until they are gone; answers who they were.
pub(super) async fn sweep(run: &RunId) -> Vec<String> {
    let cookie = Cookie::of_run(run.as_str());
    let found = carriers(&cookie);
    if found.is_empty() {
        return Vec::new();
    }
    let described = found.iter().map(tree::describe).collect();
    tree::signal(&found, Kill::Term);
    if !gone_within(&cookie, GRACE).await {
        tree::signal(&carriers(&cookie), Kill::Kill);
        gone_within(&cookie, AFTER_KILL).await;
    }
    described
}

fn carriers(cookie: &Cookie) -> Vec<Process> {
    cookie.carriers(&Table::snapshot())
}

async fn gone_within(cookie: &Cookie, limit: Duration) -> bool {
    let until: Instant = clock::now() + limit;
    while !carriers(cookie).is_empty() {
        if clock::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}
