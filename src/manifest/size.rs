//! Sizes as Compose reads them: powers of 1024, whatever the unit is called.

/// Reads a size: `64m`, `1.5gb`, `10 MiB`, `1024`.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let bytes = number * 1024_f64.powi(power);
    #[expect(clippy::cast_precision_loss, reason = "only the bound is compared")]
    let limit = i64::MAX as f64;
    #[expect(clippy::cast_possible_truncation, reason = "checked against the bound; Compose drops the fraction too")]
    (0.0..limit).contains(&bytes).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_compose_reads_them() {
        for (text, expected) in [
            ("1024", Some(1024)),
            ("10m", Some(10_485_760)),
            ("1.5gb", Some(1_610_612_736)),
            ("64 KiB", Some(65_536)),
            ("5b", Some(5)),
            ("1x", None),
            ("m", None),
            ("", None),
            ("-1m", None),
            ("99999999999p", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
