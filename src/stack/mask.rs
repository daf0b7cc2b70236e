//! Hides secrets in whatever is printed.

use std::collections::BTreeSet;

/// What stands for a secret.
const MASK: &str = "****";

/// Hides the passwords of all URLs in a text: `postgresql://postgres:****@localhost:5432/menu_ops`.
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        out.push_str(before);
        let end = after.find(ends_authority).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _)), host)) => {
                out.push_str(user);
                out.push(':');
                out.push_str(MASK);
                out.push('@');
                out.push_str(host);
            }
            Some((None, _)) | None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Hides the value of a variable whose name says that it is secret, and passwords in the URLs of all others.
pub fn mask_variable(name: &str, value: &str) -> String {
    if is_secret(name) && !value.is_empty() { MASK.to_owned() } else { mask(value) }
}

/// Hides the value behind each option that takes a secret.
pub(super) fn mask_args(args: &[String]) -> Vec<String> {
    let mut hide = false;
    args.iter()
        .map(|arg| {
            let shown = if hide { MASK.to_owned() } else { mask(arg) };
            hide = arg.starts_with('-') && (is_secret(arg.trim_start_matches('-')) || arg == "--requirepass");
            match arg.split_once('=') {
                Some((option, _)) if arg.starts_with('-') && hide => {
                    hide = false;
                    format!("{option}={MASK}")
                }
                Some(_) | None => shown,
            }
        })
        .collect()
}

/// Words that stand in many a line and are nobody's secret, although people use them as passwords here.
const COMMON: [&str; 12] = [
    "postgres",
    "password",
    "secret",
    "changeme",
    "development",
    "example",
    "testing",
    "default",
    "localhost",
    "disabled",
    "enabled",
    "redis-server",
];

/// The values that no log should show: of the variables whose names say so, and the passwords in URLs. What is also the
/// value of a variable that is shown, or a word that anybody uses, is no secret, and would only make logs unreadable.
pub(super) fn secret_values<'a>(env: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let (mut secrets, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for (name, value) in env {
        if is_secret(name) {
            secrets.insert(value.to_owned());
        } else {
            secrets.extend(passwords(value));
            shown.insert(value);
        }
    }
    let is_open = |value: &String| {
        shown.contains(value.as_str())
            || COMMON.contains(&value.to_ascii_lowercase().as_str())
            || value.parse::<f64>().is_ok_and(|_| value.len() < 9)
    };
    secrets.retain(|value| !value.trim().is_empty() && !is_open(value));
    secrets.into_iter().collect()
}

/// The passwords of all URLs in a text.
fn passwords(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let after = &rest[at + 3..];
        let end = after.find(ends_authority).unwrap_or(after.len());
        if let Some((user, _)) = after[..end].rsplit_once('@')
            && let Some((_, password)) = user.split_once(':')
        {
            found.push(password.to_owned());
        }
        rest = &after[end..];
    }
    found
}

fn ends_authority(c: char) -> bool {
    c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | '<' | '>')
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let words = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE", "MASTERAUTH"];
    words.iter().any(|word| name.contains(word)) || name == "KEY" || name.ends_with("_KEY") || name.ends_with("APIKEY")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden_and_nothing_else() {
        for (text, expected) in [
            ("postgresql://postgres:p@ss@localhost:5432/db", "postgresql://postgres:****@localhost:5432/db"),
            ("redis://:x@h redis://h:6380", "redis://:****@h redis://h:6380"),
            ("see 'http://a:b@c/d?e=f@g'", "see 'http://a:****@c/d?e=f@g'"),
            ("user@host:path", "user@host:path"),
            ("http://user@host", "http://user@host"),
            ("://", "://"),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn secrets_are_found_and_common_words_are_not() {
        let env = [
            ("POSTGRES_USER", "menu_ops"),
            ("POSTGRES_PASSWORD", "menu_ops"),
            ("OTHER_PASSWORD", "postgres"),
            ("JWT_SECRET", "a-long-secret"),
            ("DATABASE_URL", "postgres://menu_ops:hunter2@db/x?y=http://a:b-c-d-e@z"),
            ("API_TOKEN", " "),
            ("TOKEN_TTL_SECRET", "3600"),
            ("RUST_LOG", "info"),
        ];
        assert_eq!(secret_values(env), ["a-long-secret", "b-c-d-e", "hunter2"]);
    }

    #[test]
    fn variables_with_telling_names_are_hidden_whole() {
        assert_eq!(mask_variable("JWT_SECRET", "abc"), "****");
        assert_eq!(mask_variable("POSTGRES_PASSWORD", ""), "");
        assert_eq!(mask_variable("DATABASE_URL", "p://u:x@h"), "p://u:****@h");
        assert_eq!(mask_variable("RUST_LOG", "info"), "info");
        let args = ["--requirepass", "x", "--masterauth=y", "--save", "60"].map(str::to_owned);
        assert_eq!(mask_args(&args), ["--requirepass", "****", "--masterauth=****", "--save", "60"]);
    }

    proptest! {
        #[test]
        fn no_password_survives(password in "[a-z]{8,12}", before in "[^:/]*", after in "[ /?#][^:]*") {
            let text = format!("{before}x://user:{password}@host{after}");
            let masked = mask(&text);
            prop_assert_eq!(masked, format!("{before}x://user:****@host{after}"));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|[:/@]){0,60}") {
            let _ = mask(&text);
        }
    }
}
