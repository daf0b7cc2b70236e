//! Liveness: what is asked of a workload after it was ready, and what happens when it answers no more.

use std::time::Instant;

use super::Machine;
use crate::engine::backoff::Decision;
use crate::engine::node::Then;
use crate::event::{EventKind, Failure};
use crate::name::NodeId;
use crate::stack::HealthAction;

impl Machine {
    /// A check of the health of a ready workload passed (`None`) or failed, with what it said.
    pub(super) fn checked(&mut self, id: &NodeId, answer: Option<String>, now: Instant) {
        let entry = self.entry(id);
        let Some(health) = entry.spec.health else { return };
        let Some(answer) = answer else {
            if std::mem::take(&mut entry.unwell) >= health.retries {
                self.emit(EventKind::Healthy { node: id.clone() });
            }
            return;
        };
        entry.unwell = entry.unwell.saturating_add(1);
        let failures = entry.unwell;
        if failures != health.retries || entry.then.is_some() {
            return;
        }
        self.emit(EventKind::Unhealthy { node: id.clone(), answer: answer.clone(), failures });
        match health.action {
            HealthAction::Warn => {}
            HealthAction::Restart => self.restart_unhealthy(id, answer, now),
        }
    }

    fn restart_unhealthy(&mut self, id: &NodeId, answer: String, now: Instant) {
        let entry = self.entry(id);
        match entry.restarts.count(entry.spec.restart, now) {
            Decision::GiveUp { restarts, within } => {
                let message = format!("`{id}` is unhealthy again after {}", super::ends::times(restarts, within));
                let failure = Failure { message, last_probe: Some(answer), ..Failure::default() };
                entry.then = Some(Then::Fail(Box::new(failure)));
            }
            Decision::Again { .. } | Decision::LetBe => {
                let counted = entry.restarts.clone();
                self.renew(id, &format!("unhealthy: {answer}"));
                self.entry(id).restarts = counted;
            }
        }
        self.advance(now);
    }
}
