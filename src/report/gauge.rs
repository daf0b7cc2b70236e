//! Adds up the parts of a pull, a download or a build into one figure. Pure.

use indexmap::IndexMap;

use super::{clean, words};
use crate::event::Progress;

/// How far one node's pull, download or build is.
#[derive(Clone, Debug, Default)]
pub(super) struct Gauge {
    parts: IndexMap<Option<String>, Part>,
    what: String,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    done: u64,
    total: u64,
}

impl Gauge {
    /// Takes a step in. A part only ever grows: a layer that goes from downloading to extracting counts from nought
    /// again, and a bar that runs backwards tells nobody anything.
    pub(super) fn on(&mut self, step: &Progress) {
        if step.unit != self.unit {
            self.parts.clear();
            self.unit = step.unit;
        }
        let part = self.parts.entry(step.part.clone()).or_default();
        part.total = part.total.max(step.total);
        part.done = part.done.max(step.done);
        self.what = clean::first_line(&step.what);
    }

    /// The share that is done, 0 to 1; `None` while the whole is not known.
    #[expect(clippy::cast_precision_loss, reason = "a share of a bar twenty cells wide")]
    pub(super) fn fraction(&self) -> Option<f64> {
        let Part { done, total } = self.sum();
        (total > 0).then(|| (done as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// `downloading 34.1 of 120.5 MB`, `compiling serde (12 of 87 crates)`.
    pub(super) fn text(&self) -> String {
        let Part { done, total } = self.sum();
        let share = words::share(done, total, self.unit);
        match (self.unit, done, total) {
            (_, 0, 0) => self.what.clone(),
            ("bytes", _, _) => format!("{} {share}", self.what),
            (_, _, _) => format!("{} ({share})", self.what),
        }
    }

    fn sum(&self) -> Part {
        self.parts.values().fold(Part::default(), |sum, part| Part {
            done: sum.done.saturating_add(part.done),
            total: sum.total.saturating_add(part.total),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(what: &str, part: &str, done: u64, total: u64, unit: &'static str) -> Progress {
        Progress { what: what.to_owned(), part: Some(part.to_owned()), done, total, unit }
    }

    #[test]
    fn layers_add_up_and_never_run_backwards() {
        let mut gauge = Gauge::default();
        assert_eq!((gauge.text().as_str(), gauge.fraction()), ("", None));
        for (what, part, done, total, text) in [
            ("resolving", "a", 0, 0, "resolving"),
            ("downloading", "a", 10_000_000, 40_000_000, "downloading 10.0 of 40.0 MB"),
            ("downloading", "b", 10_000_000, 60_000_000, "downloading 20.0 of 100.0 MB"),
            ("downloading", "a", 40_000_000, 40_000_000, "downloading 50.0 of 100.0 MB"),
            ("extracting", "a", 1_000_000, 40_000_000, "extracting 50.0 of 100.0 MB"),
        ] {
            gauge.on(&step(what, part, done, total, "bytes"));
            assert_eq!(gauge.text(), text);
        }
        assert_eq!(gauge.fraction(), Some(0.5));
    }

    #[test]
    fn another_unit_is_another_count() {
        let mut gauge = Gauge::default();
        gauge.on(&step("downloading", "a", 5, 10, "bytes"));
        gauge.on(&step("compiling serde", "a", 12, 87, "crates"));
        assert_eq!(gauge.text(), "compiling serde (12 of 87 crates)");
    }
}
