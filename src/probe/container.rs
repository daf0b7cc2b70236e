//! The `container` probe: the engine's own healthcheck must say healthy.

use super::{Attempt, last_line};
use crate::driver::{Control, Health};

/// Asks the engine once. `unhealthy` is not final: a container may recover, and the time limit decides.
pub(super) async fn ask(control: Option<&dyn Control>) -> Attempt {
    let Some(control) = control else {
        return Attempt::Never {
            message: "a `container` probe asks the engine, and devctl does not run this container".to_owned(),
            hints: vec![
                "start it with devctl, or give it a probe that asks over the network: `tcp` or `http`".to_owned(),
            ],
        };
    };
    Attempt::NotYet(match control.health().await {
        Ok(Health::Healthy) => return Attempt::Ready,
        Ok(Health::None) => {
            return Attempt::Never {
                message: "the container has no healthcheck".to_owned(),
                hints: vec!["give the service a `healthcheck` in the Compose file, or a `ready` probe".to_owned()],
            };
        }
        Ok(Health::Starting) => "the engine's healthcheck has not decided yet".to_owned(),
        Ok(Health::Unhealthy(output)) => match last_line(&output) {
            Some(line) => format!("the engine's healthcheck says unhealthy: {line}"),
            None => "the engine's healthcheck says unhealthy".to_owned(),
        },
        Err(e) => format!("the engine cannot be asked for the container's health: {e}"),
    })
}
