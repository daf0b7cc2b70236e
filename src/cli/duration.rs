//! Spans of time as they are typed: `30s`, `2m`, `1m30s`, `500ms`, `45` (seconds).

use std::time::Duration;

/// Parses a span of time that is longer than nothing.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a duration such as `30s`, `2m`, `1m30s` or `500ms`".to_owned();
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .ok_or_else(wrong)?,
    };
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_they_are_typed() {
        for (text, ms) in [("30s", 30_000), ("2m", 120_000), ("1m30s", 90_000), ("500ms", 500), ("45", 45_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "abc", "-5s", "5 parsecs", "0", "0s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
