//! Moments as they are typed: `10m` (ago), `2026-11-20T08:00:00Z`, and dates and times of this place: `2026-11-20 08:00`,
//! `2026-11-20`, `08:00`.

use jiff::civil::{DateTime, Time};
use jiff::{Span, Timestamp, Zoned};

use crate::os::clock;

/// Parses a moment; what is relative counts from now.
pub(in crate::cli) fn parse(text: &str) -> Result<Timestamp, String> {
    at(text, &clock::local()).ok_or_else(|| {
        "expected how long ago, such as `10m` or `2h30m`, or a date and time, such as `2026-11-20T08:00:00Z`, \
         `2026-11-20 08:00` or `08:00`"
            .to_owned()
    })
}

fn at(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let here = |local: DateTime| Some(local.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    if let Ok(local) = text.parse::<DateTime>() {
        return here(local);
    }
    if text.contains(':')
        && let Ok(time) = text.parse::<Time>()
    {
        return here(now.date().to_datetime(time));
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return now.timestamp().checked_sub(jiff::SignedDuration::from_secs(seconds.into())).ok();
    }
    let span: Span = text.parse().ok()?;
    if span.is_negative() {
        return None;
    }
    Some(now.checked_sub(span).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_they_are_typed() {
        let now: Zoned = "2026-11-20T12:00:00+01:00[+01:00]".parse().unwrap();
        for (text, expected) in [
            ("10m", "2026-11-20T10:50:00Z"),
            ("1h30m", "2026-11-20T09:30:00Z"),
            ("2d", "2026-11-18T11:00:00Z"),
            ("45", "2026-11-20T10:59:15Z"),
            ("500ms", "2026-11-20T10:59:59.5Z"),
            ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z"),
            ("2026-11-20T08:00:00.5+02:00", "2026-11-20T06:00:00.5Z"),
            ("2026-11-20T08:00:00", "2026-11-20T07:00:00Z"),
            ("2026-11-20 08:00", "2026-11-20T07:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("08:00", "2026-11-20T07:00:00Z"),
            (" 08:00:30 ", "2026-11-20T07:00:30Z"),
        ] {
            assert_eq!(at(text, &now), Some(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "-10m", "10 parsecs", "2026-13-01", "25:00", "99999999999999y"] {
            assert_eq!(at(text, &now), None, "{text}");
        }
    }
}
