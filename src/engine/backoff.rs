//! When a workload that ended is started again, and when it is given up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::Exit;
use crate::stack::{Restart, RestartPolicy};

/// The first delay; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(30);

/// The restarts of one workload.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Instant>,
    total: u32,
}

/// What to do with a workload that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start it again after the delay; the number of the restart counts from 1.
    Again { delay: Duration, attempt: u32 },
    /// Its policy wants no restart after such an end.
    LetBe,
    /// It ended too often.
    GiveUp { restarts: u32, within: Duration },
}

impl Restarts {
    /// Decides after an end at `now`. Restarts older than `within` no longer count, so a workload that ran well for
    /// that long begins with the shortest delay again.
    pub(super) fn decide(&mut self, rule: Restart, exit: &Exit, now: Instant) -> Decision {
        let wanted = match rule.policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure => !exit.success(),
            RestartPolicy::Always => true,
        };
        if !wanted {
            return Decision::LetBe;
        }
        while self.recent.front().is_some_and(|&at| now.duration_since(at) > rule.within) {
            self.recent.pop_front();
        }
        let recent = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if recent >= rule.max {
            return Decision::GiveUp { restarts: recent, within: rule.within };
        }
        self.recent.push_back(now);
        self.total = self.total.saturating_add(1);
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(recent)).min(LONGEST);
        Decision::Again { delay, attempt: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code: Some(code), ..Exit::default() }
    }

    #[test]
    fn the_policy_decides_which_ends_count() {
        let now = Instant::now();
        for (policy, code, again) in [
            (RestartPolicy::No, 1, false),
            (RestartPolicy::OnFailure, 0, false),
            (RestartPolicy::OnFailure, 1, true),
            (RestartPolicy::Always, 0, true),
        ] {
            let rule = Restart { policy, ..Restart::default() };
            let decision = Restarts::default().decide(rule, &exit(code), now);
            assert_eq!(matches!(decision, Decision::Again { .. }), again, "{policy:?} {code}");
        }
    }

    #[test]
    fn delays_double_until_the_limit_is_reached_and_start_over_after_a_quiet_span() {
        let rule = Restart { policy: RestartPolicy::Always, max: 3, within: Duration::from_secs(60) };
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        let delays: Vec<_> = (0..3)
            .map(|i| match restarts.decide(rule, &exit(1), begin + Duration::from_secs(i)) {
                Decision::Again { delay, .. } => delay.as_millis(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(delays, [500, 1000, 2000]);
        let fourth = restarts.decide(rule, &exit(1), begin + Duration::from_secs(4));
        assert_eq!(fourth, Decision::GiveUp { restarts: 3, within: rule.within });
        let later = restarts.decide(rule, &exit(1), begin + Duration::from_secs(120));
        assert_eq!(later, Decision::Again { delay: FIRST, attempt: 4 });
    }
}
