//! YAML to the tree, with the rules by which Compose reads plain scalars. The only file that knows `serde-saphyr`.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned, Tagged};

use super::node::{Entry, Kind, Node};
use super::problem::Problem;
use super::source::{Mark, Source};
use super::suggest::closest;

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

/// What a document says, and what of earlier files it takes back.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) tree: Node,
    /// The paths of what is marked `!reset` or `!override`: what earlier files say there is void.
    pub(super) resets: Vec<Vec<String>>,
}

/// How many values the aliases of a file may stand for. A file of a few lines can ask for milliards.
const MAX_REPLAYED: usize = 100_000;

/// Reads a file, each document of it. An empty one has none.
pub(super) fn parse(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Vec<Document>> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        // A hundred services that share one anchor are no attack; what they come to is bounded above.
        budget: serde_saphyr::budget! { enforce_alias_anchor_ratio: false, max_nodes: 1_000_000 },
    };
    if source.text().lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Some(Vec::new());
    }
    match serde_saphyr::from_multiple_with_options::<Raw>(source.text(), options) {
        Ok(documents) => {
            let read = |raw| {
                let mut convert = Convert { source, problems: &mut *problems, path: Vec::new(), resets: Vec::new() };
                let tree = convert.node(raw)?;
                Some(Document { tree, resets: convert.resets })
            };
            Some(documents.into_iter().filter_map(read).collect())
        }
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
    if message.contains("alias replay") || message.contains("alias expansion") {
        return (
            format!("its aliases (`*name`) stand for more than {MAX_REPLAYED} values"),
            Some("anchors that hold aliases of anchors that hold aliases… grow without end; write some of it out"),
        );
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

/// From the deserialiser's values to ours.
struct Convert<'a> {
    source: &'a Arc<Source>,
    problems: &'a mut Vec<Problem>,
    /// The keys that lead to where it is.
    path: Vec<String>,
    resets: Vec<Vec<String>>,
}

impl Convert<'_> {
    /// `None` for what is taken back.
    fn node(&mut self, raw: Raw) -> Option<Node> {
        let Spanned { value: Tagged(kind, tag), defined, .. } = raw.0;
        let mark = mark_of(self.source, defined).unwrap_or(self.source.mark_at(1, 1, 1));
        match tag.as_deref() {
            Some("!reset") => {
                self.resets.push(self.path.clone());
                return None;
            }
            Some("!override") => self.resets.push(self.path.clone()),
            Some(tag) if !tag.starts_with("tag:yaml.org") && !tag.starts_with("!!") => {
                let problem = self.source.problem(Some(mark), format!("the YAML tag `{tag}` means nothing here"));
                let help = match closest(tag, ["!reset", "!override"]) {
                    Some(right) => format!("did you mean `{right}`?"),
                    None => "there are `!reset` and `!override`".to_owned(),
                };
                self.problems.push(problem.with_help(help));
            }
            Some(_) | None => {}
        }
        let kind = match kind {
            RawKind::Scalar(kind) => kind,
            RawKind::List(items) => {
                // Items have no path that a later file could name.
                let resets = self.resets.len();
                let items = items.into_iter().filter_map(|item| self.node(item)).collect();
                self.resets.truncate(resets);
                Kind::List(items)
            }
            RawKind::Map(entries) => {
                let mut converted = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    converted.extend(self.entry(key, value));
                }
                Kind::Map(converted)
            }
        };
        Some(Node { kind, mark })
    }

    fn entry(&mut self, key: Raw, value: Raw) -> Option<Entry> {
        let key = self.node(key)?;
        if let Kind::Str(text) = key.kind {
            self.path.push(text);
            let value = self.node(value);
            let text = self.path.pop().unwrap_or_default();
            return Some(Entry { key: text, key_mark: key.mark, value: value? });
        }
        let problem = self.source.problem(Some(key.mark), "a key must be a string");
        self.problems.push(match key.scalar_text() {
            Some(text) => problem.with_help(format!("write it in quotes: `\"{text}\"`")),
            None => problem,
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn parsed(text: &str) -> (Option<Node>, Vec<Problem>) {
        let source = Source::alone("c.yml".into(), text.to_owned());
        let mut problems = Vec::new();
        let node = parse(&source, &mut problems);
        (node.map(|mut documents| documents.remove(0).tree), problems)
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
        let (_, problems) = parsed("a: !rest null\n");
        assert_eq!(problems[0].message, "the YAML tag `!rest` means nothing here");
        assert_eq!(problems[0].help.as_deref(), Some("did you mean `!reset`?"));
    }

    fn keys(node: &Node) -> Vec<&str> {
        let Kind::Map(entries) = &node.kind else { panic!("not a map: {node:?}") };
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    fn documents(text: &str) -> Vec<Document> {
        let source = Source::alone("c.yml".into(), text.to_owned());
        let mut problems = Vec::new();
        let documents = parse(&source, &mut problems);
        assert_eq!(problems, [], "{text}");
        documents.unwrap()
    }

    #[test]
    fn what_is_taken_back_is_told_by_its_path() {
        let text = "x-a: &a\n  ports: !reset []\nservices:\n  a:\n    <<: *a\n    image: !reset\n    env: !override {A: 1}\n    \
                    list: [1, !reset 2]\n    v: !reset {a: 1}\n";
        let documents = documents(text);
        let document = &documents[0];
        let mut paths: Vec<String> = document.resets.iter().map(|path| path.join("/")).collect();
        paths.sort();
        assert_eq!(paths, ["services/a/env", "services/a/image", "services/a/ports", "services/a/v", "x-a/ports"]);
        let Kind::Map(top) = &document.tree.kind else { panic!("not a map") };
        let Kind::Map(services) = &top[1].value.kind else { panic!("not a map") };
        assert_eq!(keys(&services[0].value), ["env", "list"]);
    }

    #[test]
    fn every_document_of_a_file_is_read_with_its_places() {
        let documents = documents("a: 1\n---\n---\nb: 2\n");
        assert_eq!(documents.len(), 2);
        let Kind::Map(second) = &documents[1].tree.kind else { panic!("not a map") };
        assert_eq!((second[0].key.as_str(), position(second[0].key_mark)), ("b", (4, 1, 1)));
    }

    #[test]
    fn of_several_merged_mappings_the_first_wins() {
        let documents = documents("a: &a {x: 1}\nb: &b {x: 2, y: 3}\nc:\n  <<: [*a, *b]\n  z: 4\n");
        let Kind::Map(top) = &documents[0].tree.kind else { panic!("not a map") };
        let Kind::Map(c) = &top[2].value.kind else { panic!("not a map") };
        let mut pairs: Vec<_> = c.iter().map(|e| (e.key.as_str(), e.value.kind.clone())).collect();
        pairs.sort_by_key(|(key, _)| *key);
        assert_eq!(pairs, [("x", Kind::Int(1)), ("y", Kind::Int(3)), ("z", Kind::Int(4))]);
    }

    #[test]
    fn many_services_may_share_an_anchor() {
        let mut text = "x: &x {image: a}\nservices:\n".to_owned();
        for i in 0..500 {
            writeln!(text, "  s{i}: {{<<: *x, user: u}}").unwrap();
        }
        assert_eq!(documents(&text).len(), 1);
    }

    #[test]
    fn aliases_that_grow_without_end_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let before = i - 1;
            writeln!(text, "a{i}: &a{i} [{}]", vec![format!("*a{before}"); 10].join(", ")).unwrap();
        }
        let (_, problems) = parsed(&text);
        assert_eq!(
            problems[0].message,
            format!("not valid YAML: its aliases (`*name`) stand for more than {MAX_REPLAYED} values")
        );
        let (_, problems) = parsed("a: &a [*a]\n");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn common_mistakes_are_told_in_words_for_who_writes_files() {
        for (text, message, help) in [
            ("a:\n  b: 1\n  b: 2\n", "the key `b` is there twice", Some("take one of the two out")),
            ("a:\n\tb: 1\n", "a tab in the indentation", Some("use spaces")),
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
