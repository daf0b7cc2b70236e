//! Splits a command line into words. No shell ever runs it, so what only a shell understands is refused.

/// Why a command line could not be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// A quote that is never closed, or a backslash at the end.
    Unclosed,
    /// `&`, `|`, `;`, `<` or `>` outside quotes.
    Operator(char),
}

/// Splits as Compose does: quotes and backslashes as in a shell, but within double quotes a backslash takes any
/// character, and nothing is expanded. Compose drops what stands behind an operator; that is refused here.
pub(super) fn split(line: &str) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().push(chars.next().ok_or(Error::Unclosed)?),
            (None, ' ' | '\t' | '\r' | '\n') => words.extend(word.take()),
            (None, ';' | '&' | '|' | '<' | '>') => return Err(Error::Operator(c)),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(Error::Unclosed);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_those_of_compose() {
        for (line, expected) in [
            ("", &[][..]),
            ("  two   words  ", &["two", "words"]),
            ("a\\ b \"x\\\"y\" 'q\\z'", &["a b", "x\"y", "q\\z"]),
            ("\"tab\\tx\" $HOME `id`", &["tabtx", "$HOME", "`id`"]),
            ("\"a\"b''c '' #x", &["abc", "", "#x"]),
            ("sh -c 'a && b'", &["sh", "-c", "a && b"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        assert_eq!(split("a && b"), Err(Error::Operator('&')));
        assert_eq!(split("echo a>b"), Err(Error::Operator('>')));
        assert_eq!(split("a 'b"), Err(Error::Unclosed));
        assert_eq!(split("a \\"), Err(Error::Unclosed));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in prop::collection::vec("[^']*", 0..6)) {
            let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(&line), Ok(words));
        }
    }
}
