//! The `healthcheck` probe: the check that the Compose file gives a container, run by devctl itself. The engine runs it
//! too, for the first time after a whole interval, which may be half a minute; whoever sees it pass first is right.

use std::time::Duration;

use super::{Attempt, container, exec};
use crate::driver::{Control, Health};

/// Runs the check once, and asks the engine meanwhile. `unhealthy` is not final: a container may recover.
pub(super) async fn ask(argv: &[String], limit: Duration, control: Option<&dyn Control>) -> Attempt {
    let Some(engine) = control else { return container::ask(control).await };
    let verdict = async {
        if !matches!(engine.health().await, Ok(Health::Healthy)) {
            // Then the check itself says what is wrong.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        answer = exec::ask(argv, limit, control) => answer,
        () = verdict => Attempt::Ready,
    }
}
