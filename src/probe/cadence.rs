//! How long to pause between two probes. Pure: a count goes in, a pause comes out.

use std::time::Duration;

use super::Spec;

/// Each pause is an eighth longer than the one before, so a service is found ready at most about an eighth of its own
/// boot time late, however long it boots.
const GROWTH: f64 = 1.125;

/// A row of pauses that grow from `first` to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cadence {
    first: Duration,
    longest: Duration,
}

impl Cadence {
    /// For questions asked over the network: they cost some hundred microseconds.
    const NETWORK: Self = Self { first: Duration::from_millis(10), longest: Duration::from_millis(250) };

    /// For questions that start a process or ask an engine: they cost tens of milliseconds, which the booting service
    /// would have to do without.
    const WORKLOAD: Self = Self { first: Duration::from_millis(100), longest: Duration::from_millis(250) };

    /// The cadence for a kind of probe.
    pub(super) fn of(spec: &Spec) -> Self {
        match spec {
            Spec::Postgres { .. }
            | Spec::Redis { .. }
            | Spec::Http { .. }
            | Spec::Tcp { .. }
            | Spec::Log { .. }
            | Spec::Server { .. } => Self::NETWORK,
            // What somebody says of how often it may be run is right: it may be costly.
            Spec::Healthcheck { pause: Some(pause), .. } => Self { first: *pause, longest: *pause },
            Spec::Healthcheck { pause: None, .. } | Spec::Exec { .. } | Spec::Container => Self::WORKLOAD,
        }
    }

    /// The pause after `failed` probes, counted from 0.
    pub(super) fn pause(self, failed: u32) -> Duration {
        // 64 steps reach any limit of ours from any start of ours, and keep the power far from infinity.
        let steps = i32::try_from(failed.min(64)).expect("64 fits");
        self.first.mul_f64(GROWTH.powi(steps)).min(self.longest)
    }

    /// The part of that pause which new output of the workload does not cut short, so that a flood of it makes no flood
    /// of probes.
    pub(super) fn shortest(self, failed: u32) -> Duration {
        (self.pause(failed) / 8).max(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_10_to_250_ms() {
        let table = [(0, 10), (1, 11), (2, 12), (6, 20), (12, 41), (20, 105), (27, 240), (28, 250), (1000, 250)];
        for (failed, millis) in table {
            assert_eq!(Cadence::NETWORK.pause(failed).as_millis(), millis, "after {failed} probes");
        }
        assert_eq!(Cadence::NETWORK.pause(u32::MAX), Duration::from_millis(250));
    }

    #[test]
    fn output_cuts_pauses_short_down_to_an_eighth_and_never_below_the_first() {
        let table = [(0, 10), (6, 10), (27, 30), (28, 31), (1000, 31)];
        for (failed, millis) in table {
            assert_eq!(Cadence::NETWORK.shortest(failed).as_millis(), millis, "after {failed} probes");
        }
        assert_eq!(Cadence::WORKLOAD.shortest(1000), Duration::from_millis(100));
    }

    #[test]
    fn costly_probes_begin_at_100_ms() {
        let exec = Cadence::of(&Spec::Exec { argv: vec!["true".into()], timeout: Duration::from_secs(1) });
        assert_eq!(exec.pause(0), Duration::from_millis(100));
        assert_eq!(exec.pause(8), Duration::from_millis(250));
        assert_eq!(Cadence::of(&Spec::Container), exec);
        let check = |pause| Spec::Healthcheck { argv: vec!["true".into()], timeout: Duration::from_secs(1), pause };
        assert_eq!(Cadence::of(&check(None)), exec);
        let said = Cadence::of(&check(Some(Duration::from_secs(2))));
        assert_eq!([said.pause(0), said.shortest(0), said.pause(50)], [Duration::from_secs(2); 3]);
    }

    #[test]
    fn the_lag_stays_an_eighth_of_the_time_waited() {
        let mut waited = Duration::ZERO;
        for failed in 0..200 {
            let pause = Cadence::NETWORK.pause(failed);
            assert!(pause <= waited / 8 + Duration::from_micros(10_001), "{pause:?} after {waited:?}");
            waited += pause;
        }
    }
}
