//! The `exec` probe: a command, run where the workload runs, that must end with exit code 0.

use std::time::Duration;

use super::{Attempt, last_line};
use crate::driver::Control;

/// Runs the command once. Dropping the run at the limit is what ends it.
pub(super) async fn ask(argv: &[String], limit: Duration, control: Option<&dyn Control>) -> Attempt {
    let Some(control) = control else {
        return Attempt::Never {
            message: "an `exec` probe runs where the workload runs, and devctl does not run this one".to_owned(),
            hints: vec![
                "start it with devctl, or give it a probe that asks over the network: `tcp` or `http`".to_owned(),
            ],
        };
    };
    let command = shell_words::join(argv);
    Attempt::NotYet(match tokio::time::timeout(limit, control.exec(argv.to_vec())).await {
        Ok(Ok(output)) if output.code == 0 => return Attempt::Ready,
        Ok(Ok(output)) => match last_line(&output.output) {
            Some(line) => format!("`{command}` ends with exit code {}: {line}", output.code),
            None => format!("`{command}` ends with exit code {}", output.code),
        },
        Ok(Err(e)) => format!("`{command}` cannot be run: {e}"),
        Err(_) => format!("`{command}` does not end within {limit:?}"),
    })
}
