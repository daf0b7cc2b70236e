//! Signed tokens: JSON Web Tokens with HMAC-SHA-256 and nothing else. What a token says about its own algorithm is compared,
//! never obeyed. A secret that was replaced is still accepted, so that replacing it signs nobody out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use svc_common::config::Secret;
use uuid::Uuid;

use super::role::Role;

const ISSUER: &str = "menu-ops";
/// No token of ours is longer; what is longer is not looked at.
const LONGEST: usize = 2048;
/// How far the clocks of two machines may be apart.
const LEEWAY_S: i64 = 5;

/// What a token is good for.
pub(crate) trait Claims: Serialize + DeserializeOwned {
    /// Where it is used; one for another place is refused.
    const AUDIENCE: &'static str;
}

/// The access token of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PersonClaims {
    pub(crate) sub: Uuid,
    pub(crate) role: Role,
    /// The user's token version; older ones are void.
    pub(crate) ver: i32,
    /// The sign-in this token descends from.
    pub(crate) fam: Uuid,
    pub(crate) jti: Uuid,
}

impl Claims for PersonClaims {
    const AUDIENCE: &'static str = "api";
}

/// The code that is printed and put onto a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeClaims {
    pub(crate) table: Uuid,
    /// The table's token version; older codes are void.
    pub(crate) tv: i32,
}

impl Claims for CodeClaims {
    const AUDIENCE: &'static str = "table-code";
}

/// The access token of the guests at a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestClaims {
    pub(crate) table: Uuid,
    pub(crate) session: Uuid,
    pub(crate) tv: i32,
}

impl Claims for GuestClaims {
    const AUDIENCE: &'static str = "table";
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    claims: T,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is not valid")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// A key and the name it goes by in a token's header.
#[derive(Clone)]
struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &Secret) -> Self {
        let digest = Sha256::digest(format!("kid:{}", secret.expose()));
        let mac = Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
        Self { id: URL_SAFE_NO_PAD.encode(&digest[..6]), mac }
    }
}

/// The keys for one kind of token: the first one signs.
#[derive(Clone)]
pub(crate) struct Ring(Vec<Key>);

/// All keys.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) people: Ring,
    pub(crate) tables: Ring,
}

impl Keys {
    pub(crate) fn new(people: &Secret, previous: Option<&Secret>, tables: &Secret) -> Self {
        let people = std::iter::once(people).chain(previous).map(Key::new).collect();
        Self { people: Ring(people), tables: Ring(vec![Key::new(tables)]) }
    }
}

impl Ring {
    /// Signs claims that hold for some seconds.
    pub(crate) fn sign<T: Claims>(&self, claims: T, now: Timestamp, seconds: i64) -> String {
        let key = &self.0[0];
        let header = Header { alg: "HS256".to_owned(), typ: "JWT".to_owned(), kid: key.id.clone() };
        let (iat, aud) = (now.as_second(), T::AUDIENCE.to_owned());
        let envelope = Envelope { iss: ISSUER.to_owned(), aud, iat, exp: iat + seconds, claims };
        let mut token = format!("{}.{}", encode(&header), encode(&envelope));
        let signature = key.mac.clone().chain_update(&token).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// Reads claims, if one of the keys signed them for this use and they still hold.
    pub(crate) fn verify<T: Claims>(&self, token: &str, now: Timestamp) -> Result<T, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        let header: Header = decode(header)?;
        let key = self.0.iter().find(|key| key.id == header.kid).ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Invalid)?;
        // Compares in constant time.
        key.mac.clone().chain_update(signed).verify_slice(&signature).map_err(|_| TokenError::Invalid)?;
        let envelope: Envelope<T> = decode(body)?;
        let fits = header.alg == "HS256" && envelope.iss == ISSUER && envelope.aud == T::AUDIENCE;
        if !fits || envelope.iat > now.as_second() + LEEWAY_S {
            Err(TokenError::Invalid)
        } else if envelope.exp <= now.as_second() {
            Err(TokenError::Expired)
        } else {
            Ok(envelope.claims)
        }
    }
}

/// What a token says it is for, before anything is verified: it picks the key, no more.
pub(crate) fn audience(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Aud {
        aud: String,
    }
    let body = token.get(..token.len().min(LONGEST))?.split('.').nth(1)?;
    decode::<Aud>(body).ok().map(|claims| claims.aud)
}

fn encode<T: Serialize>(value: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("strings, numbers and ids always serialise"))
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Invalid)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Invalid)
}

#[cfg(test)]
mod tests {
    use svc_common::config::Vars;

    use super::*;

    fn secret(text: &str) -> Secret {
        Vars::from_pairs([("S", format!("{text}-0123456789-0123456789-0123456789"))]).secret("S")
    }

    fn claims() -> PersonClaims {
        let id = Uuid::from_u128(7);
        PersonClaims { sub: id, role: Role::Waiter, ver: 3, fam: id, jti: id }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn tokens_hold_until_they_expire() {
        let keys = Keys::new(&secret("a"), None, &secret("t"));
        let token = keys.people.sign(claims(), at(1000), 900);
        assert_eq!(keys.people.verify(&token, at(1000)), Ok(claims()));
        assert_eq!(keys.people.verify(&token, at(1899)), Ok(claims()));
        assert_eq!(keys.people.verify::<PersonClaims>(&token, at(1900)), Err(TokenError::Expired));
        assert_eq!(keys.people.verify::<PersonClaims>(&token, at(900)), Err(TokenError::Invalid), "from the future");
        assert_eq!(audience(&token).as_deref(), Some("api"));
    }

    #[test]
    fn a_replaced_secret_is_still_accepted() {
        let old = Keys::new(&secret("a"), None, &secret("t")).people.sign(claims(), at(0), 900);
        let both = Keys::new(&secret("b"), Some(&secret("a")), &secret("t"));
        assert_eq!(both.people.verify(&old, at(1)), Ok(claims()));
        let without = Keys::new(&secret("b"), None, &secret("t"));
        assert_eq!(without.people.verify::<PersonClaims>(&old, at(1)), Err(TokenError::Invalid));
    }

    #[test]
    fn forgeries_are_refused() {
        let keys = Keys::new(&secret("a"), None, &secret("t"));
        let token = keys.people.sign(claims(), at(0), 900);
        let parts: Vec<_> = token.split('.').collect();
        let with = |header: &str, body: &str, signature: &str| format!("{header}.{body}.{signature}");
        let kid = &keys.people.0[0].id;
        let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","typ":"JWT","kid":"{kid}"}}"#));
        let admin = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap().replace("waiter", "admin");
        let admin = URL_SAFE_NO_PAD.encode(admin);
        let other = keys.people.sign(CodeClaims { table: Uuid::nil(), tv: 1 }, at(0), 900);
        for forged in [
            with(&none, parts[1], ""),
            with(&none, parts[1], parts[2]),
            with(parts[0], &admin, parts[2]),
            with(parts[0], parts[1], &parts[2][..40]),
            format!("{}.{}", parts[0], parts[1]),
            other,
            "..".to_owned(),
            String::new(),
            "x".repeat(5000),
        ] {
            assert_eq!(keys.people.verify::<PersonClaims>(&forged, at(1)), Err(TokenError::Invalid), "{forged}");
        }
        assert_eq!(keys.tables.verify::<PersonClaims>(&token, at(1)), Err(TokenError::Invalid));
    }
}
