//! Measured values and how they are told: minimum, median, maximum, and a ratio of medians.

use std::time::Duration;

/// Values of one kind, in milliseconds or another unit, as they were measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Vec<f64>);

impl Figures {
    /// Adds a duration, in milliseconds.
    pub(super) fn add(&mut self, value: Duration) {
        self.add_ms(value.as_secs_f64() * 1000.0);
    }

    /// Adds milliseconds.
    pub(super) fn add_ms(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The one in the middle; `None` where nothing was measured.
    pub(super) fn median(&self) -> Option<f64> {
        let sorted = self.sorted();
        let (high, low) = (sorted.get(sorted.len() / 2)?, sorted.get((sorted.len().max(1) - 1) / 2)?);
        Some(f64::midpoint(*low, *high))
    }

    /// `min / median / max`, or a dash where nothing was measured.
    pub(super) fn told(&self) -> String {
        let sorted = self.sorted();
        match (sorted.first(), self.median(), sorted.last()) {
            (Some(min), Some(median), Some(max)) => format!("{} / **{}** / {}", ms(*min), ms(median), ms(*max)),
            _ => "–".to_owned(),
        }
    }

    /// This median as a share of another's.
    pub(super) fn ratio(&self, to: &Self) -> Option<f64> {
        Some(self.median()? / to.median()?)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Milliseconds as one reads them: 3 figures are enough.
pub(super) fn ms(value: f64) -> String {
    if value < 100.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

/// Puts `text` between the markers `<!-- name -->` and `<!-- /name -->` of a document.
pub(super) fn replace_between(document: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let parts = document.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = parts else { anyhow::bail!("there is no `{open}` … `{close}`") };
    Ok(format!("{before}{open}\n{}\n{close}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, median) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[9.0, 1.0], Some(5.0)), (&[9.0, 1.0, 2.0], Some(2.0))]
        {
            assert_eq!(Figures(values.to_vec()).median(), median);
        }
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let new = replace_between("a\n<!-- x -->\nold\n<!-- /x -->\nb\n", "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
        assert!(replace_between("a", "x", "new").is_err());
    }
}
