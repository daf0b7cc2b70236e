//! When a workload that ended is started again, and when it is given up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::Exit;
use crate::stack::{Restart, RestartPolicy};

/// The first delay; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(30);

/// By how much a delay is made longer at most, so that what failed together does not come back together.
const JITTER: f64 = 0.25;
/// A workload that was ready for so long starts over with the first delay.
const HEALTHY: Duration = Duration::from_secs(10);

/// The restarts of one workload.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Instant>,
    /// How many there were since it last ran well.
    in_a_row: u32,
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
    /// Decides after an end at `now`. `ready_for`: how long it had been ready, where it ever was; `jitter`: a number
    /// from 0 to 1. Restarts older than `within` no longer count towards the limit.
    pub(super) fn decide(
        &mut self,
        rule: Restart,
        exit: &Exit,
        ready_for: Option<Duration>,
        jitter: f64,
        now: Instant,
    ) -> Decision {
        let wanted = match rule.policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure => !exit.success(),
            RestartPolicy::Always => true,
        };
        if !wanted {
            return Decision::LetBe;
        }
        if ready_for.is_some_and(|time| time >= HEALTHY) {
            self.in_a_row = 0;
        }
        let before = self.in_a_row;
        match self.count(rule, now) {
            Decision::Again { attempt, .. } => {
                let delay = FIRST.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST);
                Decision::Again { delay: delay.mul_f64(1.0 + JITTER * jitter), attempt }
            }
            other => other,
        }
    }

    /// Counts a restart that needs no delay, or says that there were too many.
    pub(super) fn count(&mut self, rule: Restart, now: Instant) -> Decision {
        while self.recent.front().is_some_and(|&at| now.duration_since(at) > rule.within) {
            self.recent.pop_front();
        }
        let recent = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if recent >= rule.max {
            return Decision::GiveUp { restarts: recent, within: rule.within };
        }
        self.recent.push_back(now);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.total = self.total.saturating_add(1);
        Decision::Again { delay: Duration::ZERO, attempt: self.total }
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
            let decision = Restarts::default().decide(rule, &exit(code), None, 0.0, now);
            assert_eq!(matches!(decision, Decision::Again { .. }), again, "{policy:?} {code}");
        }
    }

    #[test]
    fn delays_double_and_the_limit_counts_within_its_span() {
        let rule = Restart { policy: RestartPolicy::Always, max: 3, within: Duration::from_secs(60) };
        let mut restarts = Restarts::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let delays: Vec<_> = (0..3)
            .map(|i| match restarts.decide(rule, &exit(1), None, 0.0, at(i)) {
                Decision::Again { delay, .. } => delay.as_millis(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(delays, [500, 1000, 2000]);
        let fourth = restarts.decide(rule, &exit(1), None, 0.0, at(4));
        assert_eq!(fourth, Decision::GiveUp { restarts: 3, within: rule.within });
        let later = restarts.decide(rule, &exit(1), None, 0.0, at(120));
        assert_eq!(later, Decision::Again { delay: Duration::from_secs(4), attempt: 4 }, "it never ran well");
    }

    #[test]
    fn ten_good_seconds_start_the_delays_over_and_jitter_makes_them_longer() {
        let rule = Restart { policy: RestartPolicy::Always, max: 99, within: Duration::from_secs(60) };
        let mut restarts = Restarts::default();
        let now = Instant::now();
        let mut delay = |ready_for: Option<u64>, jitter| match restarts.decide(
            rule,
            &exit(1),
            ready_for.map(Duration::from_secs),
            jitter,
            now,
        ) {
            Decision::Again { delay, .. } => delay.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!([delay(None, 0.0), delay(Some(9), 0.0), delay(Some(10), 0.0)], [500, 1000, 500]);
        assert_eq!(delay(None, 1.0), 1250);
        for _ in 0..20 {
            delay(None, 0.0);
        }
        assert_eq!(delay(None, 0.0), 30_000);
    }
}
