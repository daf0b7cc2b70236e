//! Makes a line that somebody else wrote safe to print: colours stay where colours are wanted, and whatever else would
//! move the cursor, clear the screen or set the window's title goes.

/// Cleans one line of a log. With `colours`, SGR sequences (`ESC [ … m`) stay, closed by a reset at the end.
pub(super) fn line(text: &str, colours: bool) -> String {
    if !text.chars().any(is_control) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len() + 4);
    let mut coloured = false;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                let (sequence, kept) = escape(&mut rest);
                if kept && colours {
                    clean.push_str(&sequence);
                    coloured = true;
                }
            }
            // A progress bar that overwrites itself: what it showed last is what a person would see.
            '\r' => {
                if rest.as_str().chars().any(|c| !is_control(c)) {
                    clean.clear();
                    coloured = false;
                }
            }
            '\t' => clean.push('\t'),
            c if is_control(c) => {}
            c => clean.push(c),
        }
    }
    if coloured {
        clean.push_str("\x1b[0m");
    }
    clean
}

/// Cuts a text to its first line, cleaned of everything, for places that hold one line.
pub(super) fn first_line(text: &str) -> String {
    line(text.lines().next().unwrap_or_default(), false)
}

/// C0 and C1 control characters, and the marks that turn the direction of text.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads an escape sequence after its ESC; tells whether it is one that only sets colours.
fn escape(rest: &mut std::str::Chars<'_>) -> (String, bool) {
    let mut sequence = String::from("\x1b");
    match rest.next() {
        Some('[') => {
            sequence.push('[');
            for c in rest.by_ref() {
                sequence.push(c);
                // `m` ends one that sets colours, unless it is private (`ESC [ > 4 m` talks to the keyboard).
                if c == 'm' {
                    let colours = sequence[2..sequence.len() - 1].chars().all(|c| matches!(c, '0'..='9' | ';' | ':'));
                    return (sequence, colours);
                }
                if matches!(c, '@'..='~') {
                    break;
                }
            }
        }
        // Strings (title, link, device control) end with BEL or ESC \.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            let mut last = ' ';
            for c in rest.by_ref() {
                if c == '\x07' || (last == '\x1b' && c == '\\') {
                    break;
                }
                last = c;
            }
        }
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
            rest.next();
        }
        Some(_) | None => {}
    }
    (sequence, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_pass_and_only_where_wanted() {
        for (text, with, without) in [
            ("plain ä ✓\tx", "plain ä ✓\tx", "plain ä ✓\tx"),
            ("\x1b[1;32mok\x1b[0m", "\x1b[1;32mok\x1b[0m\x1b[0m", "ok"),
            ("\x1b[2J\x1b[Hgone", "gone", "gone"),
            ("\x1b[?25lhidden", "hidden", "hidden"),
            ("\x1b[>4mkeys", "keys", "keys"),
            ("\x1b]0;title\x07text", "text", "text"),
            ("\x1b]8;;https://a\x1b\\link\x1b]8;;\x1b\\", "link", "link"),
            ("a\x07\x08b\u{9b}31m", "ab31m", "ab31m"),
            ("10%\r50%\r100%", "100%", "100%"),
            ("line\r", "line", "line"),
            ("\x1b", "", ""),
            ("\x1b[31", "", ""),
            ("abc\u{202e}fed", "abcfed", "abcfed"),
        ] {
            assert_eq!(line(text, true), with, "{text:?}");
            assert_eq!(line(text, false), without, "{text:?}");
        }
    }

    #[test]
    fn one_line_stays_of_many() {
        assert_eq!(first_line("FATAL: no\nDETAIL: yes"), "FATAL: no");
        assert_eq!(first_line(""), "");
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_tabs_and_colours_controls_the_terminal(text in "\\PC*|[\\x00-\\x7f]*") {
            let clean = line(&text, false);
            proptest::prop_assert!(clean.chars().all(|c| c == '\t' || !is_control(c)));
            let coloured = line(&text, true);
            proptest::prop_assert!(coloured.chars().all(|c| matches!(c, '\t' | '\x1b') || !is_control(c)));
        }
    }
}
