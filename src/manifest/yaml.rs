//! YAML to the tree, with the rules by which Compose reads plain scalars. The only file that knows `serde-saphyr`.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned, Tagged};

use super::node::{Entry, Kind, Node};
use super::problem::Problem;
use super::source::{Mark, Source};

/// A value as the deserialiser hands it over.
struct Raw(Spanned<Tagged<RawKind>>);

enum RawKind {
    Scalar(Kind),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Raw)
    }
}

impl<'de> Deserialize<'de> for RawKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Int(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Int(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Int(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Str(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Null))
    }

    fn visit_none<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Scalar(Kind::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawKind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawKind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawKind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawKind::Map(entries))
    }
}

/// Reads a file of one document. An empty file is `Null`.
pub(super) fn parse(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Node> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    if source.text().lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Some(Node { kind: Kind::Null, mark: source.mark_at(1, 1, 0) });
    }
    match serde_saphyr::from_str_with_options::<Raw>(source.text(), options) {
        Ok(raw) => Some(convert(source, raw, problems)),
        Err(error) => {
            let text = error.to_string();
            // The parser repeats the place in its own words; ours is shown as every other problem's.
            let message = text.lines().next().unwrap_or("not valid YAML");
            let message = message.split_once(": ").map_or(
                message,
                |(lead, rest)| {
                    if lead.contains("line ") { rest } else { message }
                },
            );
            let message = message.split_once(" at line ").map_or(message, |(message, _)| message);
            let mark = error.location().and_then(|location| mark_of(source, location));
            let (message, help) = worded(message);
            let problem = source.problem(mark, format!("not valid YAML: {message}"));
            problems.push(match help {
                Some(help) => problem.with_help(help),
                None => problem,
            });
            None
        }
    }
}

/// The parser's message in words for who wrote the file: it gives advice to programmers, and none to them.
fn worded(message: &str) -> (String, Option<&'static str>) {
    if let Some(rest) = message.strip_prefix("duplicate mapping key") {
        let key = rest.strip_prefix(": ").and_then(|rest| rest.split_once(", set ")).map(|(key, _)| key);
        let message =
            key.map_or_else(|| "a key is there twice".to_owned(), |key| format!("the key `{key}` is there twice"));
        return (message, Some("take one of the two out"));
    }
    if message.starts_with("tabs disallowed") {
        return ("a tab in the indentation".to_owned(), Some("use spaces"));
    }
    if message.starts_with("multiple YAML documents") {
        return ("several documents in one file".to_owned(), Some("take out `---`, and what is not to be read"));
    }
    let help = message.contains("multiline quoted scalar").then_some("is a quote above never closed?");
    (message.to_owned(), help)
}

fn mark_of(source: &Source, location: Location) -> Option<Mark> {
    let span = location.span();
    if let (Some(offset), Some(len)) = (span.byte_offset(), span.byte_len()) {
        let offset = usize::try_from(offset).ok()?;
        let len = usize::try_from(len).ok()?;
        return Some(source.mark(offset..offset.saturating_add(len)));
    }
    let (line, column) = (usize::try_from(location.line()).ok()?, usize::try_from(location.column()).ok()?);
    (line > 0 && column > 0).then(|| source.mark_at(line, column, 1))
}

fn convert(source: &Arc<Source>, raw: Raw, problems: &mut Vec<Problem>) -> Node {
    let Spanned { value: Tagged(kind, tag), defined, .. } = raw.0;
    let mark = mark_of(source, defined).unwrap_or(source.mark_at(1, 1, 1));
    if let Some(tag) = tag.filter(|tag| !tag.starts_with("tag:yaml.org") && !tag.starts_with("!!")) {
        problems.push(source.problem(Some(mark), format!("devctl doesn't support the YAML tag `{tag}` yet")));
    }
    let kind = match kind {
        RawKind::Scalar(kind) => kind,
        RawKind::List(items) => Kind::List(items.into_iter().map(|item| convert(source, item, problems)).collect()),
        RawKind::Map(entries) => {
            let mut converted = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key = convert(source, key, problems);
                let value = convert(source, value, problems);
                if let Kind::Str(text) = key.kind {
                    converted.push(Entry { key: text, key_mark: key.mark, value });
                    continue;
                }
                let problem = source.problem(Some(key.mark), "a key must be a string");
                problems.push(match key.scalar_text() {
                    Some(text) => problem.with_help(format!("write it in quotes: `\"{text}\"`")),
                    None => problem,
                });
            }
            Kind::Map(converted)
        }
    };
    Node { kind, mark }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<Node>, Vec<Problem>) {
        let source = Source::alone("c.yml".into(), text.to_owned());
        let mut problems = Vec::new();
        let node = parse(&source, &mut problems);
        (node, problems)
    }

    fn scalar(text: &str) -> Kind {
        let (node, problems) = parsed(&format!("k: {text}\n"));
        assert_eq!(problems, []);
        let Kind::Map(mut entries) = node.unwrap().kind else { panic!("not a map") };
        entries.remove(0).value.kind
    }

    #[test]
    fn plain_scalars_are_read_as_compose_reads_them() {
        for (text, expected) in [
            ("no", Kind::Str("no".into())),
            ("on", Kind::Str("on".into())),
            ("true", Kind::Bool(true)),
            ("017", Kind::Int(15)),
            ("1_000", Kind::Int(1000)),
            ("1.10", Kind::Float(1.1)),
            ("\"1\"", Kind::Str("1".into())),
            ("~", Kind::Null),
            ("", Kind::Null),
            ("5432:5432", Kind::Str("5432:5432".into())),
        ] {
            assert_eq!(scalar(text), expected, "{text}");
        }
    }

    fn position(mark: Mark) -> (usize, usize, usize) {
        (mark.line, mark.column, mark.len)
    }

    #[test]
    fn places_are_those_of_the_text() {
        let (node, _) = parsed("a:\n  bé: [x, \"yz\"]\n");
        let Kind::Map(top) = node.unwrap().kind else { panic!("not a map") };
        let Kind::Map(inner) = &top[0].value.kind else { panic!("not a map") };
        assert_eq!(position(inner[0].key_mark), (2, 3, 2));
        let Kind::List(items) = &inner[0].value.kind else { panic!("not a list") };
        assert_eq!(position(items[0].mark), (2, 8, 1));
        assert_eq!(position(items[1].mark), (2, 11, 4));
    }

    #[test]
    fn anchors_and_merge_keys_are_expanded() {
        let (node, problems) = parsed("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n");
        assert_eq!(problems, []);
        let Kind::Map(top) = node.unwrap().kind else { panic!("not a map") };
        let Kind::Map(b) = &top[1].value.kind else { panic!("not a map") };
        let mut keys: Vec<_> = b.iter().map(|e| (e.key.as_str(), e.value.kind.clone())).collect();
        keys.sort_by_key(|(key, _)| *key);
        assert_eq!(keys, [("x", Kind::Int(1)), ("y", Kind::Int(3))]);
    }

    #[test]
    fn what_is_not_yaml_is_a_problem_with_its_place() {
        let (node, problems) = parsed("a: [1, 2\nb: }\n");
        assert!(node.is_none());
        assert!(problems[0].at.is_some(), "{problems:?}");
        let (_, problems) = parsed("a: 1\na: 2\n");
        assert_eq!(problems[0].at, Some((2, 1)));
        let (_, problems) = parsed("a: !reset null\n");
        assert!(problems[0].message.contains("!reset"), "{problems:?}");
    }

    #[test]
    fn common_mistakes_are_told_in_words_for_who_writes_files() {
        for (text, message, help) in [
            ("a:\n  b: 1\n  b: 2\n", "the key `b` is there twice", Some("take one of the two out")),
            ("a:\n\tb: 1\n", "a tab in the indentation", Some("use spaces")),
            ("a: 1\n---\nb: 2\n", "several documents in one file", Some("take out `---`, and what is not to be read")),
            (
                "a:\n  b: \"x\nc: 1\n",
                "invalid indentation in multiline quoted scalar",
                Some("is a quote above never closed?"),
            ),
            ("a: {b: 1\n", "unclosed bracket '{'", None),
        ] {
            let (_, problems) = parsed(text);
            let [problem] = problems.as_slice() else { panic!("{text:?}: {problems:?}") };
            assert_eq!(problem.message, format!("not valid YAML: {message}"), "{text:?}");
            assert_eq!(problem.help.as_deref(), help, "{text:?}");
            assert!(problem.at.is_some(), "{text:?}");
        }
    }
}
