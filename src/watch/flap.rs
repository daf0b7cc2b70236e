//! The guard against a service that changes what it is watched for: its start or its build writes the file, the file
//! restarts the service, for ever. Pure: the time is handed in.
//!
//! Nothing tells who wrote a file, so the guard goes by the pattern: several changes one after the other, each of them
//! during a restart or right after it, each of the same files. A developer who saves the same file again and again while
//! long builds run may look like that too. So nothing is ever lost: what changes meanwhile is told when the pause is
//! over, and a change of any other file ends the pause at once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A change so soon after a restart may be the restart's own work.
const WITHIN: Duration = Duration::from_secs(2);
/// How many restarts in a row look like that before the guard believes it, where the files are the same each time.
const SAME_FILES: u32 = 5;
/// The same where the files differ: a program may give its files new names each time.
const ANY_FILES: u32 = 10;
/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// How much longer each pause is than the one before.
const GROWTH: u32 = 3;

/// What the guard says about changes that are ready to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Tell them.
    Tell,
    /// Keep them until then. `news` where the pause begins now and the user has to hear of it.
    Hold { until: Instant, restarts: u32, news: bool },
}

/// What the guard remembers of one service.
#[derive(Clone, Debug, Default)]
pub(super) struct Flap {
    /// The files of the last change that was told.
    files: BTreeSet<PathBuf>,
    /// When the restart that it caused was over; `None` while it goes on, or before the first.
    restarted: Option<Instant>,
    restarting: bool,
    /// Restarts in a row that were followed at once by a change: of the same files, and of any.
    same: u32,
    any: u32,
    hold: Option<Instant>,
    /// The pause of the last time. Forgotten when the service was quiet after a restart.
    pause: Option<Duration>,
}

impl Flap {
    /// Decides about `files`, of which the first changed at `first`. Asking again without telling changes nothing.
    pub(super) fn on_change(&mut self, files: &BTreeSet<PathBuf>, first: Instant, now: Instant) -> Verdict {
        let same = *files == self.files;
        if let Some(until) = self.hold {
            // Files beyond those that the service writes: that is somebody at work.
            if files.is_subset(&self.files) && now < until {
                return Verdict::Hold { until, restarts: self.same.max(self.any), news: false };
            }
            self.hold = None;
            return self.tell(files);
        }
        let at_once = self.restarting || self.restarted.is_some_and(|at| first < at + WITHIN);
        if !at_once {
            self.pause = None;
        }
        self.any = if at_once { self.any + 1 } else { 0 };
        self.same = if at_once && same { self.same + 1 } else { 0 };
        // Once it is known, the first relapse is enough.
        let known = self.pause.is_some() && same && at_once;
        if self.same < SAME_FILES && self.any < ANY_FILES && !known {
            return self.tell(files);
        }
        let pause = self.pause.map_or(PAUSES.0, |last| (last * GROWTH).min(PAUSES.1));
        let (until, restarts) = (now + pause, self.same.max(self.any));
        self.pause = Some(pause);
        self.hold = Some(until);
        self.files.clone_from(files);
        Verdict::Hold { until, restarts, news: true }
    }

    /// The restart that the last change caused begins; it ends with [`Flap::on_restarted`].
    pub(super) fn on_restarting(&mut self) {
        self.restarting = true;
    }

    /// The restart is over, however it ended.
    pub(super) fn on_restarted(&mut self, now: Instant) {
        self.restarting = false;
        // A restart that somebody asked for, before any change was told, is no reason to suspect anything.
        if !self.files.is_empty() {
            self.restarted = Some(now);
        }
    }

    fn tell(&mut self, files: &BTreeSet<PathBuf>) -> Verdict {
        self.files.clone_from(files);
        self.restarted = None;
        Verdict::Tell
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A service, its clock, and what it does: each change is told and followed by a restart of a second.
    struct Service {
        flap: Flap,
        now: Instant,
    }

    impl Service {
        fn new() -> Self {
            Self { flap: Flap::default(), now: Instant::now() }
        }

        /// The files change after `wait`. A change that is told restarts the service.
        fn changes(&mut self, wait: Duration, names: &[&str]) -> Verdict {
            self.now += wait;
            let verdict = self.flap.on_change(&files(names), self.now, self.now);
            if verdict == Verdict::Tell {
                self.flap.on_restarting();
                self.now += ms(1000);
                self.flap.on_restarted(self.now);
            }
            verdict
        }
    }

    fn held(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Hold { .. })
    }

    #[test]
    fn a_service_that_writes_its_own_files_is_paused_longer_each_time() {
        let mut service = Service::new();
        // The developer's own change, and five of the service's own.
        assert_eq!(service.changes(ms(60_000), &["app.db"]), Verdict::Tell);
        for _ in 0..4 {
            assert_eq!(service.changes(ms(100), &["app.db"]), Verdict::Tell);
        }
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let Verdict::Hold { until, news: true, .. } = service.changes(ms(100), &["app.db"]) else { panic!() };
            pauses.push((until - service.now).as_secs());
            // Asking again says the same, and is no news.
            let again = service.changes(ms(50), &["app.db"]);
            assert!(matches!(again, Verdict::Hold { until: u, news: false, .. } if u == until), "{again:?}");
            let left = until - service.now;
            assert_eq!(service.changes(left, &["app.db"]), Verdict::Tell);
        }
        assert_eq!(pauses, [10, 30, 90, 270, 300, 300]);
        // It was mended: quiet after the restart, and the next change is the developer's.
        assert_eq!(service.changes(ms(30_000), &["app.db"]), Verdict::Tell);
        assert_eq!(service.changes(ms(100), &["app.db"]), Verdict::Tell);
    }

    #[test]
    fn names_that_are_new_each_time_take_longer_to_believe() {
        let mut service = Service::new();
        let verdicts: Vec<bool> = (0..12).map(|n| held(service.changes(ms(100), &[&format!("log-{n}")]))).collect();
        assert_eq!(verdicts.iter().position(|held| *held), Some(10));
    }

    #[test]
    fn somebody_at_work_is_never_paused() {
        // Too slow for a service, other files in between, and a pause that another file ends.
        let mut slow = Service::new();
        assert!((0..50).all(|_| !held(slow.changes(ms(2_100), &["main.rs"]))));
        let mut varied = Service::new();
        for n in 0..50 {
            let wait = if n % 9 == 0 { ms(3_000) } else { ms(100) };
            assert!(!held(varied.changes(wait, if n % 2 == 0 { &["main.rs"] } else { &["main.rs", "lib.rs"] })), "{n}");
        }
        let mut paused = Service::new();
        while !held(paused.changes(ms(100), &["app.db"])) {}
        assert!(held(paused.changes(ms(10), &["app.db"])));
        assert_eq!(paused.changes(ms(10), &["app.db", "main.rs"]), Verdict::Tell);
    }

    #[test]
    fn a_change_during_a_build_counts_as_the_builds() {
        let mut flap = Flap::default();
        let start = Instant::now();
        let set = files(&["version.rs"]);
        let mut told = 0;
        for n in 0..20 {
            let first = start + Duration::from_mins(n);
            if held(flap.on_change(&set, first, first + ms(30_000))) {
                break;
            }
            told += 1;
            flap.on_restarting();
        }
        assert_eq!(told, 5);
    }

    proptest! {
        /// However the changes come, a pause ends, it is never longer than the longest, and the change is told then.
        #[test]
        fn nothing_is_held_for_ever(steps in prop::collection::vec((0_u64..4_000, 0_usize..3), 1..80)) {
            let sets = [&["a"][..], &["b"], &["a", "b"]];
            let mut service = Service::new();
            for (wait, set) in steps {
                if let Verdict::Hold { until, .. } = service.changes(ms(wait), sets[set]) {
                    prop_assert!(until > service.now && until - service.now <= PAUSES.1);
                    let left = until - service.now;
                    prop_assert_eq!(service.changes(left, sets[set]), Verdict::Tell);
                }
            }
        }

        /// Whatever one file does, restarts that it causes become rare: at most five and then one for each pause.
        #[test]
        fn restarts_of_one_file_become_rare(waits in prop::collection::vec(0_u64..1_900, 200)) {
            let mut service = Service::new();
            let start = service.now;
            let mut told = 0_u32;
            for wait in waits {
                told += u32::from(service.changes(ms(wait), &["app.db"]) == Verdict::Tell);
            }
            let pauses = (service.now - start).as_secs() / PAUSES.0.as_secs() + 1;
            prop_assert!(u64::from(told) <= u64::from(SAME_FILES) + pauses);
        }
    }
}
