//! Lists in columns, as Docker's tools align them, so that scripts that cut columns go on working. Pure.

/// How wide columns are at least, and how far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gaps {
    pub(super) least: usize,
    pub(super) between: usize,
}

/// The gaps of `images`, `ls` and `ps`.
pub(super) const LIST: Gaps = Gaps { least: 20, between: 3 };

/// The gaps of `top`.
pub(super) const TOP: Gaps = Gaps { least: 4, between: 2 };

/// The gaps of lists by template.
pub(super) const TEMPLATE: Gaps = Gaps { least: 10, between: 3 };

/// Renders rows in columns; the last one is not filled up.
pub(super) fn render(rows: &[Vec<String>], gaps: Gaps) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells =
            rows.iter().filter(|row| row.len() > column + 1).map(|row| console::measure_text_width(&row[column]));
        cells.map(|width| (width + gaps.between).max(gaps.least)).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let used = console::measure_text_width(cell);
                text.extend(std::iter::repeat_n(' ', widths[at].saturating_sub(used)));
            }
        }
        text.push('\n');
    }
    text
}

/// Words how long ago something was, as Docker does: `3 minutes ago`, `About an hour ago`.
pub(super) fn ago(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let text = match (seconds, minutes, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        (..) => format!("{} years", hours / 24 / 365),
    };
    format!("{text} ago")
}

/// Words a size as Docker does, with three digits: `1.02MB`, `742kB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value), units[unit])
}

/// The same in powers of two: `1.5MiB`; four digits.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(super) fn binary_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", digits(value, 4), units[unit])
}

fn significant(value: f64) -> String {
    digits(value, 3)
}

/// A number with that many digits that count, without zeros behind the point.
fn digits(value: f64, count: usize) -> String {
    let whole = format!("{value:.0}").len().max(1);
    let text = format!("{value:.*}", count.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [row(&["A", "LONG TITLE", "C"]), row(&["a long cell", "b", "c"])];
        assert_eq!(render(&rows, TOP), "A            LONG TITLE  C\na long cell  b           c\n");
        assert_eq!(render(&rows[..0], LIST), "");
    }

    #[test]
    fn ages_and_sizes_are_worded_as_docker_words_them() {
        for (seconds, expected) in [
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (119, "About a minute ago"),
            (120, "2 minutes ago"),
            (3599, "59 minutes ago"),
            (3600, "About an hour ago"),
            (5400, "2 hours ago"),
            (47 * 3600, "47 hours ago"),
            (48 * 3600, "2 days ago"),
            (14 * 86400, "2 weeks ago"),
            (60 * 86400, "2 months ago"),
            (730 * 86400, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), expected, "{seconds}");
        }
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_020_000, "1.02MB"),
            (741_900, "742kB"),
            (1_234_567_890, "1.23GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(binary_size(1_572_864), "1.5MiB");
        assert_eq!(binary_size(100), "100B");
    }
}
