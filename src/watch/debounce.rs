//! When a burst of changes is over: once it was quiet for a while, or once the first of them has waited long enough.
//! Pure: the time is handed in, and nothing is known of files but their names.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the first change of a burst that does not end waits at most.
const MOST: Duration = Duration::from_secs(2);

/// How many paths are kept by name. Beyond them it is cheaper to look at everything once than at each by itself, and
/// memory has to have an end.
const NAMED: usize = 4096;

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noticed {
    /// Something may have happened to this file.
    File(PathBuf),
    /// Something happened somewhere: everything has to be looked at.
    Anything,
    /// A file that says what is ignored.
    Rules,
}

/// A burst that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Burst {
    /// When it began.
    pub(super) first: Instant,
    /// The files to look at.
    pub(super) files: BTreeSet<PathBuf>,
    /// Whether to look at all of them instead.
    pub(super) anything: bool,
    /// Whether what is ignored has to be read again.
    pub(super) rules: bool,
    last: Instant,
}

/// Collects what was noticed until a burst is over.
#[derive(Clone, Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    burst: Option<Burst>,
}

impl Debounce {
    /// A burst is over after so long without anything new.
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, burst: None }
    }

    /// Takes in what was noticed.
    pub(super) fn on(&mut self, noticed: Noticed, now: Instant) {
        let burst = self.burst.get_or_insert_with(|| Burst {
            first: now,
            files: BTreeSet::new(),
            anything: false,
            rules: false,
            last: now,
        });
        burst.last = now;
        match noticed {
            Noticed::File(path) if !burst.anything => {
                burst.files.insert(path);
                if burst.files.len() > NAMED {
                    burst.files = BTreeSet::new();
                    burst.anything = true;
                }
            }
            Noticed::File(_) => {}
            Noticed::Anything => {
                burst.files = BTreeSet::new();
                burst.anything = true;
            }
            Noticed::Rules => burst.rules = true,
        }
    }

    /// When the burst will be over if nothing more comes.
    pub(super) fn due(&self) -> Option<Instant> {
        let burst = self.burst.as_ref()?;
        Some((burst.last + self.quiet).min(burst.first + self.quiet.max(MOST)))
    }

    /// The burst, once it is over.
    pub(super) fn take(&mut self, now: Instant) -> Option<Burst> {
        if self.due()? > now {
            return None;
        }
        self.burst.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn file(name: &str) -> Noticed {
        Noticed::File(name.into())
    }

    #[test]
    fn a_burst_ends_with_quiet_or_with_patience() {
        // The times of the changes, and when the burst they begin is told.
        for (changes, told) in [
            (&[0][..], 300),
            (&[0, 10, 20], 320),
            (&[0, 299], 599),
            (&[0, 250, 500, 750, 1000, 1250, 1500, 1750], 2000),
            (&[0, 250, 500, 750, 1000, 1250, 1500, 1750, 1999], 2000),
        ] {
            let start = Instant::now();
            let mut debounce = Debounce::new(ms(300));
            for at in changes {
                assert_eq!(debounce.take(start + ms(*at)), None, "{changes:?} at {at}");
                debounce.on(file("a"), start + ms(*at));
            }
            assert_eq!(debounce.due(), Some(start + ms(told)), "{changes:?}");
            assert_eq!(debounce.take(start + ms(told - 1)), None, "{changes:?}");
            let burst = debounce.take(start + ms(told)).unwrap();
            assert_eq!((burst.first, burst.files.len()), (start, 1));
            assert_eq!(debounce.due(), None);
        }
    }

    #[test]
    fn a_longer_quiet_is_never_cut_by_the_common_patience() {
        let start = Instant::now();
        let mut debounce = Debounce::new(ms(5000));
        debounce.on(file("a"), start);
        assert_eq!(debounce.due(), Some(start + ms(5000)));
    }

    #[test]
    fn a_storm_becomes_one_look_at_everything() {
        let start = Instant::now();
        let mut debounce = Debounce::new(ms(300));
        for n in 0..10_000 {
            debounce.on(file(&n.to_string()), start);
        }
        debounce.on(Noticed::Rules, start);
        let burst = debounce.take(start + ms(300)).unwrap();
        assert!(burst.anything && burst.rules && burst.files.is_empty());
    }

    proptest! {
        /// Nothing is lost, nothing is told twice, and nothing waits longer than it may, whatever comes when.
        #[test]
        fn every_change_is_in_exactly_one_burst_in_time(
            gaps in prop::collection::vec((0_u64..700, 0_u8..8), 1..60), quiet in 1_u64..600
        ) {
            let start = Instant::now();
            let mut debounce = Debounce::new(ms(quiet));
            let mut now = start;
            let (mut open, mut told) = (BTreeSet::new(), 0);
            let mut changes = 0;
            for (gap, name) in gaps {
                let next = now + ms(gap);
                // The loop around it sleeps until it is due.
                while let Some(due) = debounce.due().filter(|due| *due <= next) {
                    prop_assert!(debounce.take(due.checked_sub(ms(1)).unwrap()).is_none());
                    let burst = debounce.take(due).unwrap();
                    prop_assert!(due - burst.first <= MOST);
                    prop_assert!(due - burst.last <= ms(quiet));
                    prop_assert_eq!(&burst.files, &open);
                    told += open.len();
                    open.clear();
                }
                now = next;
                let path = PathBuf::from(name.to_string());
                changes += usize::from(open.insert(path.clone()));
                debounce.on(Noticed::File(path), now);
            }
            let rest = debounce.take(debounce.due().unwrap()).unwrap();
            prop_assert_eq!(&rest.files, &open);
            prop_assert_eq!(told + open.len(), changes);
            prop_assert!(debounce.due().is_none());
        }
    }
}
