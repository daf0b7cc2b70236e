//! How numbers and lists are worded: plurals, durations, sizes. Pure text, shared by every reporter.

use std::fmt::Display;

/// Words a number of milliseconds: `702 ms`, `1.2 s`, `1 m 05 s`, `2 h 03 m`.
pub fn duration(ms: u64) -> String {
    if ms < 1000 {
        return format!("{ms} ms");
    }
    let tenths = ms.saturating_add(50) / 100;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = ms.saturating_add(500) / 1000;
    if seconds < 3600 {
        return format!("{} m {:02} s", seconds / 60, seconds % 60);
    }
    format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60)
}

/// Words how long something took, behind what it was: ` in 1.2 s`. Of no time at all it is not known.
pub(super) fn took(ms: u64) -> String {
    if ms == 0 { String::new() } else { format!(" in {}", duration(ms)) }
}

/// Words a span that is counted down or waited for, in whole seconds, rounded up: `4 s`, `1 m 05 s`.
pub(super) fn seconds(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    if seconds < 60 { format!("{seconds} s") } else { duration(seconds * 1000) }
}

/// Words a limit that somebody has set: `10 s`, `300 ms`.
pub(super) fn limit(ms: u64) -> String {
    if ms.is_multiple_of(1000) { seconds(ms) } else { duration(ms) }
}

/// Words a count: `1 container`, `2 containers`.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Joins with commas: `db, redis`.
pub(super) fn comma<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&item.to_string());
    }
    text
}

const SIZES: [(u64, &str); 4] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"), (1, "B")];

/// Words a size: `34.1 MB`.
pub fn bytes(n: u64) -> String {
    let (scale, unit) = size_of(n);
    format!("{} {unit}", scaled(n, scale))
}

/// Words how much of a whole is done, in the whole's unit: `34.1 of 120.5 MB`, `12 of 87 crates`.
pub(super) fn share(done: u64, total: u64, unit: &str) -> String {
    match (unit, total) {
        ("bytes", 0) => bytes(done),
        ("bytes", _) => {
            let (scale, unit) = size_of(total);
            format!("{} of {} {unit}", scaled(done.min(total), scale), scaled(total, scale))
        }
        (_, 0) => format!("{done} {unit}"),
        (_, _) => format!("{} of {total} {unit}", done.min(total)),
    }
}

fn size_of(n: u64) -> (u64, &'static str) {
    SIZES.into_iter().find(|(scale, _)| n >= *scale).unwrap_or((1, "B"))
}

fn scaled(n: u64, scale: u64) -> String {
    if scale == 1 {
        return n.to_string();
    }
    // Cut, not rounded: 999.96 MB must not read as 1000.0 MB.
    let tenths = n / (scale / 10);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (ms, text) in [
            (0, "0 ms"),
            (702, "702 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (1_249, "1.2 s"),
            (59_949, "59.9 s"),
            (59_950, "1 m 00 s"),
            (65_000, "1 m 05 s"),
            (3_599_499, "59 m 59 s"),
            (7_380_000, "2 h 03 m"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(duration(u64::MAX), "5124095576030 h 25 m");
    }

    #[test]
    fn countdowns_never_show_zero_before_the_end() {
        for (ms, text) in [(0, "0 s"), (1, "1 s"), (3_001, "4 s"), (65_000, "1 m 05 s")] {
            assert_eq!(seconds(ms), text);
        }
    }

    #[test]
    fn counts_lists_and_sizes() {
        assert_eq!(count(1, "process", "processes"), "1 process");
        assert_eq!(count(0, "process", "processes"), "0 processes");
        assert_eq!(comma(["db", "redis"]), "db, redis");
        assert_eq!(comma::<&str>([]), "");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(999_999_999), "999.9 MB");
        assert_eq!(share(34_100_000, 120_500_000, "bytes"), "34.1 of 120.5 MB");
        assert_eq!(share(500, 0, "bytes"), "500 B");
        assert_eq!(share(90, 87, "crates"), "87 of 87 crates");
        assert_eq!(share(3, 0, "crates"), "3 crates");
    }
}
