//! Compose's interpolation: `$V`, `${V}`, `${V:-default}`, `${V-default}`, `${V:?error}`, `${V?error}`, `${V:+other}`,
//! `${V+other}`, nested, and `$$` for a dollar. Pure: where values come from is the caller's business.

use std::cell::Cell;

use super::node::{Kind, Node};
use super::problem::Problem;
use super::reader::Reader;
use super::source::Mark;

/// How deep defaults may hold further variables; a file beyond that is an attack or a mistake.
const MAX_DEPTH: usize = 32;

/// How long a text may become. A text can hold one variable a million times.
const MAX_LEN: usize = 4 << 20;

/// Why a text could not be interpolated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// What follows `${` is no variable.
    #[error("`{0}` is no valid variable")]
    Invalid(String),
    /// `${V?message}` and there is no V.
    #[error("the variable `{name}` is required{}{message}", if .message.is_empty() { "" } else { ": " })]
    Required {
        /// The variable.
        name: String,
        /// The file's own words.
        message: String,
    },
    /// What the variables hold is more than any value of these files can be.
    #[error("with its variables in place, this is longer than {} MiB", MAX_LEN >> 20)]
    TooLong,
}

/// A source of variables.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Interpolates a text. Variables that are neither set nor given a default become nothing and are pushed to `unset`.
pub(super) fn interpolate(text: &str, lookup: &Lookup<'_>, unset: &mut Vec<String>) -> Result<String, Error> {
    expand(text, lookup, unset, 0)
}

fn expand(text: &str, lookup: &Lookup<'_>, unset: &mut Vec<String>, depth: usize) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(braced) = after.strip_prefix('{') {
            let invalid = || Error::Invalid(format!("${{{}", braced.chars().take(24).collect::<String>()));
            let name_len = name_length(braced);
            let end = closing_brace(braced).ok_or_else(invalid)?;
            if name_len == 0 || depth >= MAX_DEPTH {
                return Err(invalid());
            }
            let name = &braced[..name_len];
            let operation = braced.get(name_len..end).ok_or_else(invalid)?;
            let (operator, argument) = split_operator(operation).ok_or_else(invalid)?;
            let value = lookup(name);
            let counts = value.as_ref().is_some_and(|value| !operator.empty_is_unset || !value.is_empty());
            match operator.kind {
                Operator::None => match value {
                    Some(value) => out.push_str(&value),
                    None => unset.push(name.to_owned()),
                },
                Operator::Default | Operator::Required if counts => out.push_str(&value.unwrap_or_default()),
                Operator::Default => out.push_str(&expand(argument, lookup, unset, depth + 1)?),
                Operator::Other if counts => out.push_str(&expand(argument, lookup, unset, depth + 1)?),
                Operator::Other => {}
                Operator::Required => {
                    let message = expand(argument, lookup, unset, depth + 1)?;
                    return Err(Error::Required { name: name.to_owned(), message });
                }
            }
            rest = &braced[end + 1..];
            check_length(&out)?;
        } else {
            let name_len = name_length(after);
            if name_len == 0 {
                // `$5` and a dollar at the end stay what they are.
                out.push('$');
            } else {
                match lookup(&after[..name_len]) {
                    Some(value) => out.push_str(&value),
                    None => unset.push(after[..name_len].to_owned()),
                }
            }
            rest = &after[name_len..];
            check_length(&out)?;
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn check_length(out: &str) -> Result<(), Error> {
    if out.len() > MAX_LEN { Err(Error::TooLong) } else { Ok(()) }
}

enum Operator {
    None,
    Default,
    Other,
    Required,
}

struct Parsed {
    kind: Operator,
    empty_is_unset: bool,
}

fn split_operator(operation: &str) -> Option<(Parsed, &str)> {
    if operation.is_empty() {
        return Some((Parsed { kind: Operator::None, empty_is_unset: false }, ""));
    }
    let (empty_is_unset, operation) = match operation.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, operation),
    };
    let kind = match operation.chars().next()? {
        '-' => Operator::Default,
        '+' => Operator::Other,
        '?' => Operator::Required,
        _ => return None,
    };
    Some((Parsed { kind, empty_is_unset }, &operation[1..]))
}

fn name_length(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Finds the brace that closes the one before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (i, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => {
                open -= 1;
                if open == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// Interpolates trees, in place. One of these serves all files of a project, as what they come to is bounded together.
pub(super) struct Interpolation<'a> {
    pub(super) reader: Reader<'a>,
    /// Is told what is no mistake and still worth a look: variables that are set nowhere.
    pub(super) warn: &'a dyn Fn(Problem),
    /// How much text came out of it so far.
    pub(super) total: Cell<usize>,
}

/// How much text all values with variables in them may come to.
const MAX_TOTAL: usize = 64 << 20;

impl Interpolation<'_> {
    /// Interpolates every string of a tree. Keys stay as they are, as they do in Compose.
    pub(super) fn tree(&self, node: &mut Node, lookup: &Lookup<'_>) {
        match &mut node.kind {
            Kind::Str(text) if text.contains('$') => {
                if let Some(value) = self.text(text, node.mark, lookup) {
                    *text = value;
                }
            }
            Kind::List(items) => items.iter_mut().for_each(|item| self.tree(item, lookup)),
            Kind::Map(entries) => entries.iter_mut().for_each(|entry| self.tree(&mut entry.value, lookup)),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Datetime => {}
        }
    }

    /// Interpolates one text that stands at `mark`. `None` where it has a mistake, which is told.
    pub(super) fn text(&self, text: &str, mark: Mark, lookup: &Lookup<'_>) -> Option<String> {
        if self.total.get() > MAX_TOTAL {
            return None;
        }
        let mut unset = Vec::new();
        let value = interpolate(text, lookup, &mut unset);
        for name in unset {
            let message = format!("the variable `{name}` is not set; nothing stands in its place");
            (self.warn)(
                self.reader.place(mark).problem(message).with_help(format!(
                    "set `{name}` in the shell or in `.env`, or give it a default: `${{{name}:-…}}`"
                )),
            );
        }
        match value {
            Ok(value) => {
                self.total.set(self.total.get() + value.len());
                if self.total.get() > MAX_TOTAL {
                    let message = format!("the values of all files come to more than {} MiB here", MAX_TOTAL >> 20);
                    self.reader.fail_with(mark, message, "see what the variables in them hold");
                    return None;
                }
                Some(value)
            }
            Err(error) => {
                let help = match &error {
                    Error::Invalid(_) => "write `$$` for a dollar sign".to_owned(),
                    Error::Required { name, .. } => {
                        format!("set `{name}` in the shell or in the project's file `.env`")
                    }
                    Error::TooLong => "see what the variables in it hold".to_owned(),
                };
                self.reader.fail_with(mark, error.to_string(), help);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn the_grammar_is_composes() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$A", "1"),
            ("x${A}y", "x1y"),
            ("$Ab", ""),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${U:-d}", "d"),
            ("${U-d}", "d"),
            ("${A:+x}", "x"),
            ("${E:+x}", ""),
            ("${E+alt}", "alt"),
            ("${U+alt}", ""),
            ("${A:?msg}", "1"),
            ("${E?msg}", ""),
            ("${U:-${A}}", "1"),
            ("${U:-${V:-${A}}}z", "1z"),
            ("${U:-{}}", "{}"),
            ("${U:-a:-b}", "a:-b"),
            ("$$A", "$A"),
            ("$$$A", "$1"),
            ("[${U}]", "[]"),
            ("cost $5 and $", "cost $5 and $"),
            ("${U:-ä}ö", "äö"),
        ] {
            assert_eq!(interpolate(text, &env, &mut Vec::new()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        for text in ["${}", "${", "${A", "${1}", "${A.b}", "${A!}", "${ A}"] {
            assert!(matches!(interpolate(text, &env, &mut Vec::new()), Err(Error::Invalid(_))), "{text}");
        }
        for (text, message) in [
            ("${U:?no U}", "the variable `U` is required: no U"),
            ("${E:?}", "the variable `E` is required"),
            ("${U?see ${A}}", "the variable `U` is required: see 1"),
        ] {
            assert_eq!(interpolate(text, &env, &mut Vec::new()).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn unset_variables_are_told() {
        let mut unset = Vec::new();
        interpolate("$U ${V} ${W:-} $A", &env, &mut unset).unwrap();
        assert_eq!(unset, ["U", "V"]);
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        let text = format!("{}{}", "${U:-".repeat(100_000), "}".repeat(100_000));
        assert!(interpolate(&text, &env, &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|[${}:?+A-]){0,60}") {
            let _ = interpolate(&text, &env, &mut Vec::new());
        }

        #[test]
        fn doubled_dollars_come_back_single(text in "\\PC*") {
            let escaped = text.replace('$', "$$");
            prop_assert_eq!(interpolate(&escaped, &env, &mut Vec::new()), Ok(text));
        }

        #[test]
        fn a_variable_is_its_value(value in "\\PC*", before in "[^$]*", after in "[^$]*") {
            let lookup = |name: &str| (name == "V").then(|| value.clone());
            let out = interpolate(&format!("{before}${{V}}{after}"), &lookup, &mut Vec::new());
            prop_assert_eq!(out, Ok(format!("{before}{value}{after}")));
        }
    }
}
