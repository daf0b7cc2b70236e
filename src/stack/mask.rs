//! Hides secrets in whatever is printed.

/// What stands for a secret.
const MASK: &str = "****";

/// Hides the passwords of all URLs in a text: `postgresql://postgres:****@localhost:5432/menu_ops`.
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | '<' | '>'))
            .unwrap_or(after.len());
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
