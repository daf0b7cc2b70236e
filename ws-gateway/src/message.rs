//! What goes over the wire. Frames to clients are JSON objects with a type `t`; on Redis the same text travels behind
//! the sender's id, so that a gateway can pass it on without parsing it.

use axum::extract::ws::Utf8Bytes;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::room::RoomName;

/// The largest message a client may send, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

const ID_LENGTH: usize = 36;

/// The first frame a client gets: from now on it hears its room.
pub(crate) fn connected(conn: Uuid) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Connected {
        t: &'static str,
        conn: Uuid,
    }
    json(&Connected { t: "connected", conn }).into()
}

/// The frame that says that a client's message went nowhere, and whether sending it again may help.
pub(crate) fn error(code: &str, message: &str, temporary: bool) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Error<'a> {
        t: &'static str,
        code: &'a str,
        message: &'a str,
        temporary: bool,
    }
    json(&Error { t: "error", code, message, temporary }).into()
}

/// Wraps what a client sent into what Redis carries: the sender, a space, and the frame for the others.
///
/// JSON goes in as it is, byte for byte, so that no number loses digits and no key moves; anything else becomes a JSON
/// string. The result is a copy: text from a client is a slice of its read buffer and would keep all of it alive.
pub(crate) fn to_redis(room: &RoomName, from: Uuid, at: Timestamp, text: &str) -> String {
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    let string;
    let data = if is_json {
        text.trim_ascii()
    } else {
        string = json(text);
        &string
    };
    format!(r#"{from} {{"t":"ev","ch":"{room}","from":"{from}","at":"{at:.3}","data":{data}}}"#)
}

/// Unwraps what Redis carries. A payload that begins with the object itself comes from a service, not from a client,
/// and has no one to spare.
pub(crate) fn from_redis(payload: &[u8]) -> Option<(Option<Uuid>, Utf8Bytes)> {
    let text = std::str::from_utf8(payload).ok()?;
    if text.starts_with('{') {
        return Some((None, text.to_owned().into()));
    }
    let (id, frame) = text.split_at_checked(ID_LENGTH)?;
    let frame = frame.strip_prefix(' ').filter(|frame| frame.starts_with('{'))?;
    Some((Some(Uuid::try_parse(id).ok()?), frame.to_owned().into()))
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("strings, booleans and ids always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> (Uuid, serde_json::Value, String) {
        let id = Uuid::now_v7();
        let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let payload = to_redis(&RoomName::lobby(), id, at, text);
        let (from, frame) = from_redis(payload.as_bytes()).expect("our own payload is understood");
        assert_eq!(from, Some(id));
        (id, serde_json::from_str(&frame).expect("a frame is JSON"), frame.as_str().to_owned())
    }

    #[test]
    fn an_event_has_all_its_parts() {
        let (id, event, _) = round_trip(r#"{"body":"hi"}"#);
        let expected = serde_json::json!({
            "t": "ev", "ch": "lobby", "from": id, "at": "2023-11-14T22:13:20.123Z", "data": {"body": "hi"}
        });
        assert_eq!(event, expected);
    }

    #[test]
    fn json_stays_as_it_is_and_the_rest_becomes_a_string() {
        for (sent, expected) in [
            ("1.10", "1.10"),
            (" [1, 2]\n", "[1, 2]"),
            (r#"{"b":1,"a":12345678901234567890123}"#, r#"{"b":1,"a":12345678901234567890123}"#),
            ("null", "null"),
            ("hello", r#""hello""#),
            (r#"{"open":"#, r#""{\"open\":""#),
            (r#"1},"t":"connected""#, r#""1},\"t\":\"connected\"""#),
            ("", r#""""#),
        ] {
            let (_, _, frame) = round_trip(sent);
            assert!(frame.ends_with(&format!(r#","data":{expected}}}"#)), "{sent:?} became {frame}");
        }
        let deep = "[".repeat(30_000);
        assert_eq!(round_trip(&format!("{deep}{}", "]".repeat(30_000))).1["data"].as_str().unwrap().len(), 60_000);
    }

    #[test]
    fn foreign_payloads() {
        assert_eq!(from_redis(br#"{"t":"ev"}"#), Some((None, r#"{"t":"ev"}"#.into())));
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        for bad in ["", "hello", id, &format!("{id} x"), &format!("{id}{{}}"), &format!("{}é {{}}", &id[..35])] {
            assert_eq!(from_redis(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(from_redis(b"\xff\xfe"), None);
    }
}
