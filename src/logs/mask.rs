//! Takes secrets out of what is printed, before anybody sees or keeps it. Knows the values, not where they came from.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};

/// What stands for a secret.
const MASK: &[u8] = b"***";

/// Shorter values are also parts of ordinary words and numbers.
const SHORTEST: usize = 6;

/// Finds secrets. Empty until it is told some.
#[derive(Default)]
pub(super) struct Masker {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    values: BTreeSet<String>,
    finder: Option<Arc<AhoCorasick>>,
}

impl Masker {
    /// Adds secrets. What was secret once stays it: a program may still print the password it was started with.
    pub(super) fn add(&self, secrets: impl IntoIterator<Item = String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.values.len();
        for secret in secrets {
            // As it stands in a line of JSON, and line by line where it has several, as keys do.
            let quoted = serde_json::Value::from(secret.as_str()).to_string();
            let quoted = quoted[1..quoted.len() - 1].to_owned();
            let forms = secret.lines().map(|line| line.trim().to_owned()).chain([quoted]);
            known.values.extend(forms.filter(|form| form.len() >= SHORTEST));
        }
        if known.values.len() > before {
            // More than fits into an automaton is no environment; then nothing new is masked rather than nothing at all.
            let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&known.values);
            known.finder = built.ok().map(Arc::new).or(known.finder.take());
        }
    }

    /// Whole lines without secrets.
    pub(super) fn mask(&self, bytes: Box<[u8]>) -> Box<[u8]> {
        let finder = self.known.lock().unwrap_or_else(PoisonError::into_inner).finder.clone();
        let Some(finder) = finder else { return bytes };
        let mut masked = Vec::new();
        let mut rest = 0;
        for found in finder.find_iter(&*bytes) {
            masked.extend_from_slice(&bytes[rest..found.start()]);
            masked.extend_from_slice(MASK);
            rest = found.end();
        }
        if rest == 0 {
            return bytes;
        }
        masked.extend_from_slice(&bytes[rest..]);
        masked.into_boxed_slice()
    }
}

/// Takes secrets out of lines that did not come through a hub, such as those that the Docker Engine kept.
#[derive(Default)]
pub struct Secrets(Masker);

impl Secrets {
    /// Knows these values.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let masker = Masker::default();
        masker.add(values);
        Self(masker)
    }

    /// The text without them.
    pub fn mask(&self, text: String) -> String {
        let masked = self.0.mask(text.into_bytes().into_boxed_slice()).into_vec();
        String::from_utf8(masked).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str], text: &str) -> String {
        Secrets::new(secrets.iter().map(|s| (*s).to_owned())).mask(text.to_owned())
    }

    #[test]
    fn secrets_go_wherever_they_stand() {
        for (secrets, text, masked) in [
            (&["hunter2!"][..], "hunter2!hunter2! and hunter2\n", "****** and hunter2\n"),
            (&["abcdef", "abcdefgh"], "x=abcdefgh y=abcdef", "x=*** y=***"),
            (&["short"], "short stays", "short stays"),
            (&[], "nothing to hide", "nothing to hide"),
            (&["with \"quote\""], r#"{"p":"with \"quote\""} with "quote""#, r#"{"p":"***"} ***"#),
            (&["-----BEGIN KEY-----\nMIIabcdef\nx\n"], "MIIabcdef\nx\n", "***\nx\n"),
            (&["gr\u{fc}n-wie-gras"], "gr\u{fc}n-wie-gras", "***"),
        ] {
            assert_eq!(mask(secrets, text), masked);
        }
    }

    #[test]
    fn what_was_secret_once_stays_secret() {
        let masker = Masker::default();
        masker.add(["first-secret".to_owned()]);
        masker.add(["second-secret".to_owned()]);
        let bytes = masker.mask(b"first-secret second-secret".as_slice().into());
        assert_eq!(&*bytes, b"*** ***");
    }
}
