//! Opaque page marks: where the next page begins, and which list it belongs to, so that a mark of one list is refused
//! by another instead of skipping rows silently.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The end of the year 9999, in microseconds.
const LATEST: i64 = 253_402_300_799_000_000;

/// The last row of the page before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum After {
    /// In a list by name.
    #[serde(rename = "n")]
    Name(String, Uuid),
    /// In a list by likeness: the distance as bits, because decimal text would round it.
    #[serde(rename = "d")]
    Distance(u64, Uuid),
    /// In a list by time, the newest first: microseconds since 1970.
    #[serde(rename = "t")]
    Time(i64, Uuid),
}

#[derive(Serialize, Deserialize)]
struct Mark {
    l: String,
    a: After,
}

/// Names a list by what was asked for.
fn fingerprint(list: &[Option<&str>]) -> String {
    let digest = Sha256::digest(serde_json::to_vec(list).expect("strings always serialise"));
    URL_SAFE_NO_PAD.encode(&digest[..6])
}

/// Writes a mark.
pub(crate) fn encode(list: &[Option<&str>], after: After) -> String {
    let mark = Mark { l: fingerprint(list), a: after };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&mark).expect("strings and numbers always serialise"))
}

/// Reads a mark back, if it is one of this list.
pub(crate) fn decode(list: &[Option<&str>], cursor: &str) -> Result<After, &'static str> {
    let mark: Option<Mark> = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|json| serde_json::from_slice(&json).ok());
    match mark {
        None => Err("is not a cursor; use the value of `next_cursor` as it is"),
        Some(mark) if mark.l != fingerprint(list) => {
            Err("belongs to another list; keep the other parameters while you turn pages")
        }
        // Forged: no clock has been there, and the database would refuse it.
        Some(Mark { a: After::Time(at, _), .. }) if !(0..=LATEST).contains(&at) => {
            Err("is not a cursor; use the value of `next_cursor` as it is")
        }
        Some(mark) => Ok(mark.a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_as_they_were() {
        let list = [Some("pizza"), None];
        for after in [
            After::Name("Crème \"brûlée\"".to_owned(), Uuid::from_u128(7)),
            After::Distance(0.123_456_789_012_345_68_f64.to_bits(), Uuid::max()),
        ] {
            assert_eq!(decode(&list, &encode(&list, after.clone())), Ok(after));
        }
    }

    #[test]
    fn foreign_marks_are_refused() {
        let mark = encode(&[Some("pizza"), None], After::Name("a".to_owned(), Uuid::nil()));
        assert!(decode(&[None, Some("pizza")], &mark).unwrap_err().contains("another list"));
        for bad in ["", "x", "e30", &mark[..mark.len() - 3]] {
            assert!(decode(&[], bad).unwrap_err().contains("not a cursor"), "{bad}");
        }
    }
}
