//! Several trees as one: what a later file says of a key that an earlier one has. The rules are Compose's (the package
//! `override` of compose-go), key by key; which keys there are and what they mean is for the readers.

use std::collections::{HashMap, HashSet};

use super::super::node::{Entry, Kind, Node};
use super::super::reader::Reader;
use super::unique;

/// How many pairs of subnets are compared.
const MAX_SUBNETS: usize = 1 << 14;

/// What happens where both trees have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Mappings are merged, lists appended, anything else replaced.
    Deep,
    /// The later one counts.
    Replace,
    /// Both become lists of `key=value`, one behind the other. The last of a key wins later on.
    Pairs,
    /// As `Pairs`, without what is there already word for word.
    Hosts,
    /// A string is the `context`.
    Build,
    /// A list is a mapping of conditions.
    DependsOn,
    /// A list is a mapping to nothing.
    Names,
    /// Options go with their driver: another driver replaces all of it.
    Logging,
    /// By subnet.
    IpamConfig,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["networks", _, "ipam", "config"] => Rule::IpamConfig,
        ["networks" | "volumes", _, "labels"] => Rule::Pairs,
        ["services", _, key] => match *key {
            "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "environment" | "label_file" | "labels"
            | "sysctls" | "tmpfs" => Rule::Pairs,
            "build" => Rule::Build,
            "command" | "entrypoint" => Rule::Replace,
            "depends_on" => Rule::DependsOn,
            "extra_hosts" => Rule::Hosts,
            "logging" => Rule::Logging,
            "models" | "networks" => Rule::Names,
            _ => Rule::Deep,
        },
        ["services", _, "build", "args" | "additional_contexts" | "labels"] | ["services", _, "deploy", "labels"] => {
            Rule::Pairs
        }
        ["services", _, "build", "extra_hosts"] => Rule::Hosts,
        ["services", _, "healthcheck", "test"] | ["services", _, "ulimits", _] => Rule::Replace,
        _ => Rule::Deep,
    }
}

/// Lays `over` on `base`. What cannot be laid on each other is told.
pub(super) fn merge(reader: Reader<'_>, base: &mut Node, over: Node) {
    Merger { reader, path: Vec::new() }.node(base, over);
    unique::enforce(base);
}

/// Lays a service on the one that it extends.
pub(super) fn merge_service(reader: Reader<'_>, name: &str, base: &mut Node, over: Node) {
    Merger { reader, path: vec!["services".to_owned(), name.to_owned()] }.node(base, over);
}

/// Takes out of `base` what a later file takes back.
pub(super) fn reset(base: &mut Node, paths: &[Vec<String>]) {
    for path in paths {
        let Some((last, way)) = path.split_last() else { continue };
        let mut at = Some(&mut *base);
        for key in way {
            at = at.and_then(|node| node.get_mut(key));
        }
        if let Some(node) = at {
            node.remove(last);
        }
    }
}

struct Merger<'a> {
    reader: Reader<'a>,
    /// The keys that lead to where it is.
    path: Vec<String>,
}

impl Merger<'_> {
    fn node(&mut self, base: &mut Node, over: Node) {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match rule(&path) {
            Rule::Deep => self.deep(base, over),
            Rule::Replace => *base = over,
            Rule::Pairs => {
                let mut items = pairs(base);
                items.extend(pairs(&over));
                *base = Node { kind: Kind::List(items), mark: over.mark };
            }
            Rule::Hosts => {
                let mut items = pairs(base);
                let known: HashSet<String> = items.iter().filter_map(Node::scalar_text).collect();
                items.extend(
                    pairs(&over).into_iter().filter(|host| host.scalar_text().is_none_or(|h| !known.contains(&h))),
                );
                *base = Node { kind: Kind::List(items), mark: over.mark };
            }
            Rule::Build => {
                let context = |node: &mut Node| {
                    if let Kind::Str(_) = node.kind {
                        let entry = Entry { key: "context".to_owned(), key_mark: node.mark, value: node.clone() };
                        node.kind = Kind::Map(vec![entry]);
                    }
                };
                self.converted(base, over, context);
            }
            Rule::DependsOn => self.converted(base, over, long_depends_on),
            Rule::Names => {
                let nothing = |item: &Node| Node { kind: Kind::Null, mark: item.mark };
                self.converted(base, over, |node| keys_of_list(node, nothing));
            }
            Rule::Logging => {
                let driver = |node: &Node| node.get("driver").and_then(Node::scalar_text);
                match (driver(base), driver(&over)) {
                    (Some(ours), Some(theirs)) if ours != theirs => *base = over,
                    _ => self.deep(base, over),
                }
            }
            Rule::IpamConfig => self.ipam_config(base, over),
        }
    }

    fn converted(&mut self, base: &mut Node, mut over: Node, convert: impl Fn(&mut Node)) {
        convert(base);
        convert(&mut over);
        self.deep(base, over);
    }

    fn deep(&mut self, base: &mut Node, over: Node) {
        match (&mut base.kind, over.kind) {
            // `key:` with nothing behind it says nothing.
            (_, Kind::Null) => {}
            (Kind::Map(entries), Kind::Map(others)) => self.mappings(entries, others),
            (Kind::List(items), Kind::List(others)) => items.extend(others),
            (Kind::Map(_) | Kind::List(_), kind) => {
                let language = self.reader.language;
                let key = self.path.last().map_or("the file", String::as_str);
                let message =
                    format!("`{key}` is {} here and {} before", kind.name(language), base.kind.name(language));
                let help = format!("write it as in {}", self.reader.place(base.mark).short());
                self.reader.fail_with(over.mark, message, help);
            }
            (_, kind) => *base = Node { kind, mark: over.mark },
        }
    }

    fn mappings(&mut self, entries: &mut Vec<Entry>, others: Vec<Entry>) {
        // No file has a key twice, so that what is added needs no looking up.
        let places: HashMap<String, usize> =
            entries.iter().enumerate().map(|(i, entry)| (entry.key.clone(), i)).collect();
        for other in others {
            match places.get(&other.key) {
                Some(place) => {
                    self.path.push(other.key);
                    self.node(&mut entries[*place].value, other.value);
                    self.path.pop();
                }
                None => entries.push(other),
            }
        }
    }

    /// Compose's own rule to the letter: a later network stands for all earlier ones that have another subnet.
    fn ipam_config(&mut self, base: &mut Node, over: Node) {
        let (Kind::List(originals), Kind::List(overs)) = (&base.kind, &over.kind) else {
            self.deep(base, over);
            return;
        };
        if originals.len().saturating_mul(overs.len()) > MAX_SUBNETS {
            self.reader.fail(over.mark, "these are more subnets than a network can have");
            return;
        }
        let subnet = |node: &Node| node.get("subnet").and_then(Node::scalar_text);
        let mut merged: Vec<Node> = Vec::new();
        for original in originals {
            let mut original = original.clone();
            for other in overs {
                let known = merged.iter().any(|node| subnet(node) == subnet(other));
                if subnet(other) != subnet(&original) && !known {
                    merged.push(other.clone());
                    continue;
                }
                self.deep(&mut original, other.clone());
                match merged.iter_mut().find(|node| subnet(node) == subnet(&original)) {
                    Some(node) => *node = original.clone(),
                    None => merged.push(original.clone()),
                }
            }
        }
        *base = Node { kind: Kind::List(merged), mark: over.mark };
    }
}

/// A mapping or a string as the list that stands for it.
pub(super) fn pairs(node: &Node) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => items.clone(),
        Kind::Str(_) => vec![node.clone()],
        Kind::Map(entries) => {
            let mut items = Vec::with_capacity(entries.len());
            for entry in entries {
                let pair = |value: &Node| {
                    let text = value.scalar_text()?;
                    Some(Node::text(format!("{}={text}", entry.key), value.mark))
                };
                match &entry.value.kind {
                    Kind::Null => items.push(Node::text(entry.key.clone(), entry.key_mark)),
                    Kind::List(values) => items.extend(values.iter().filter_map(pair)),
                    // A mapping here is wrong, and stays to be told.
                    Kind::Map(_) => items.push(entry.value.clone()),
                    Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Str(_) | Kind::Datetime => {
                        items.extend(pair(&entry.value));
                    }
                }
            }
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            items
        }
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Datetime => Vec::new(),
    }
}

/// `depends_on` in its long form.
fn long_depends_on(node: &mut Node) {
    keys_of_list(node, |item| {
        let entry = |key: &str, kind| {
            let value = Node { kind, mark: item.mark };
            Entry { key: key.to_owned(), key_mark: item.mark, value }
        };
        let condition = entry("condition", Kind::Str("service_started".to_owned()));
        Node { kind: Kind::Map(vec![condition, entry("required", Kind::Bool(true))]), mark: item.mark }
    });
}

/// A list of names as a mapping of them. What is no list of names stays, for the readers to tell.
fn keys_of_list(node: &mut Node, value: impl Fn(&Node) -> Node) {
    let Kind::List(items) = &node.kind else { return };
    let mut known: HashSet<&str> = HashSet::with_capacity(items.len());
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for item in items {
        let Some(key) = item.as_str() else { return };
        if known.insert(key) {
            entries.push(Entry { key: key.to_owned(), key_mark: item.mark, value: value(item) });
        }
    }
    node.kind = Kind::Map(entries);
}

#[cfg(test)]
mod tests {
    use super::super::super::problem::Sink;
    use super::super::super::source::{Language, Sources};
    use super::super::super::yaml;
    use super::*;

    /// A tree as one line, so that tables can be read.
    fn line(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "~".to_owned(),
            Kind::List(items) => format!("[{}]", items.iter().map(line).collect::<Vec<_>>().join(", ")),
            Kind::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|e| format!("{}: {}", e.key, line(&e.value))).collect();
                format!("{{{}}}", entries.join(", "))
            }
            _ => node.scalar_text().unwrap_or_default(),
        }
    }

    /// What several files say of one service, or the mistakes.
    fn merged(layers: &[&str], wrap: impl Fn(&str) -> String) -> String {
        let (sources, sink) = (Sources::default(), Sink::default());
        let reader = Reader { sources: &sources, language: Language::Yaml, sink: &sink };
        let mut all: Option<Node> = None;
        for (i, layer) in layers.iter().enumerate() {
            let source = sources.add(format!("{i}.yml").into(), wrap(layer));
            let mut problems = Vec::new();
            let document = yaml::parse(&source, &mut problems).unwrap_or_default().remove(0);
            sink.extend(problems);
            if let Some(all) = &mut all {
                reset(all, &document.resets);
                merge(reader, all, document.tree);
            } else {
                let mut tree = document.tree;
                unique::enforce(&mut tree);
                all = Some(tree);
            }
        }
        let problems: Vec<_> = sink.into_problems().into_iter().map(|p| p.message).collect();
        if problems.is_empty() { line(&all.unwrap()) } else { problems.join("; ") }
    }

    fn service(layers: &[&str]) -> String {
        let text = merged(layers, |layer| format!("services: {{a: {{{layer}}}}}"));
        text.strip_prefix("{services: {a: {").and_then(|t| t.strip_suffix("}}}")).unwrap_or(&text).to_owned()
    }

    #[test]
    fn each_key_is_merged_by_its_own_rule() {
        for (base, over, expected) in [
            ("image: x, user: me", "image: y", "image: y, user: me"),
            ("image: x", "image:", "image: x"),
            ("command: [a, b]", "command: c", "command: c"),
            ("entrypoint: a", "entrypoint: [b]", "entrypoint: [b]"),
            ("command: a", "command:", "command: ~"),
            (
                "healthcheck: {test: [CMD, a], retries: 3}",
                "healthcheck: {test: b}",
                "healthcheck: {test: b, retries: 3}",
            ),
            ("environment: {B: 1, A: x}", "environment: [A=y, C]", "environment: [A=y, B=1, C]"),
            ("environment: [A=1]", "environment: {A: , B: true}", "environment: [A, B=true]"),
            ("labels: {a: 1}", "labels: {a: 2, b: 3}", "labels: [a=2, b=3]"),
            ("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]", "dns: [1.1.1.1, 8.8.8.8]"),
            ("tmpfs: /run", "tmpfs: /tmp", "tmpfs: [/run, /tmp]"),
            ("ports: ['80:80']", "ports: ['81:81', '80:80']", "ports: [80:80, 81:81]"),
            (
                "ports: ['80:80']",
                "ports: [{target: 80, published: '80', mode: host}]",
                "ports: [{target: 80, published: 80, mode: host}]",
            ),
            ("volumes: ['aa:/x', 'bb:/y']", "volumes: ['cc:/x:ro']", "volumes: [cc:/x:ro, bb:/y]"),
            ("volumes: [{type: volume, source: a, target: /x}]", "volumes: ['./c:/x/']", "volumes: [./c:/x/]"),
            ("devices: ['/a:/b']", "devices: ['/c:/b:r']", "devices: [/c:/b:r]"),
            ("secrets: [a]", "secrets: [{source: a, mode: 1}, b]", "secrets: [{source: a, mode: 1}, b]"),
            ("configs: [a]", "configs: [{source: b, target: /a}]", "configs: [{source: b, target: /a}]"),
            ("cap_add: [A]", "cap_add: [B, A]", "cap_add: [A, B]"),
            ("expose: ['80']", "expose: [80, 81]", "expose: [80, 81]"),
            (
                "depends_on: [b]",
                "depends_on: [c]",
                "depends_on: {b: {condition: service_started, required: true}, c: {condition: service_started, required: true}}",
            ),
            (
                "depends_on: [b]",
                "depends_on: {b: {condition: service_healthy}}",
                "depends_on: {b: {condition: service_healthy, required: true}}",
            ),
            ("networks: [n]", "networks: {n: {aliases: [x]}, m: }", "networks: {n: {aliases: [x]}, m: ~}"),
            ("networks: {n: {aliases: [x]}}", "networks: {n: {aliases: [y, x]}}", "networks: {n: {aliases: [x, y]}}"),
            ("build: .", "build: {target: t}", "build: {context: ., target: t}"),
            ("build: {context: ., args: {A: 1}}", "build: {args: [A=2, B]}", "build: {context: ., args: [A=2, B]}"),
            (
                "logging: {driver: json-file, options: {a: 1}}",
                "logging: {driver: syslog, options: {b: 2}}",
                "logging: {driver: syslog, options: {b: 2}}",
            ),
            (
                "logging: {driver: json-file, options: {a: 1}}",
                "logging: {options: {b: 2}}",
                "logging: {driver: json-file, options: {a: 1, b: 2}}",
            ),
            ("ulimits: {nofile: {soft: 1, hard: 2}}", "ulimits: {nofile: 5}", "ulimits: {nofile: 5}"),
            ("ulimits: {nofile: 5}", "ulimits: {nofile: {soft: 1, hard: 2}}", "ulimits: {nofile: {soft: 1, hard: 2}}"),
            ("extra_hosts: ['a=1', 'a=2']", "extra_hosts: {a: 1, b: [3, 4]}", "extra_hosts: [a=1, a=2, b=3, b=4]"),
            (
                "develop: {watch: [{path: a}]}",
                "develop: {watch: [{path: b}]}",
                "develop: {watch: [{path: a}, {path: b}]}",
            ),
            ("env_file: a", "env_file: [{path: b}, a]", "env_file: [a, {path: b}]"),
            ("profiles: [a]", "profiles: [b, a]", "profiles: [a, b]"),
            (
                "deploy: {labels: {a: 1}, replicas: 1}",
                "deploy: {labels: [a=2]}",
                "deploy: {labels: [a=2], replicas: 1}",
            ),
            ("ports: ['80:80']", "ports: !reset []", ""),
            ("ports: ['80:80']", "ports: !override ['81:81']", "ports: [81:81]"),
            ("environment: {A: 1, B: 2}", "environment: {A: !reset null}", "environment: [B=2]"),
            ("ports: ['1:1']", "ports: {a: b}", "`ports` is a mapping here and a list before"),
        ] {
            assert_eq!(service(&[base, over]), expected, "{base} + {over}");
        }
    }

    #[test]
    fn what_one_file_says_twice_counts_once() {
        for (text, expected) in [
            ("environment: [A=1, B, A=2]", "environment: [A=2, B]"),
            ("volumes: ['aa:/x', 'bb:/x']", "volumes: [bb:/x]"),
            ("ports: ['80:80', '80:80', 80]", "ports: [80:80, 80]"),
        ] {
            assert_eq!(service(&[text]), expected, "{text}");
        }
    }

    #[test]
    fn networks_and_volumes_have_rules_of_their_own() {
        let top = |layers: &[&str]| merged(layers, |layer| format!("{{{layer}}}"));
        for (base, over, expected) in [
            ("volumes: {v: {labels: {a: 1}}}", "volumes: {v: {labels: [b=2]}}", "{volumes: {v: {labels: [a=1, b=2]}}}"),
            ("volumes: {v: }", "volumes: {v: {driver: d}, w: }", "{volumes: {v: {driver: d}, w: ~}}"),
            (
                "networks: {n: {ipam: {config: [{subnet: a, gateway: g}]}}}",
                "networks: {n: {ipam: {config: [{subnet: a, ip_range: r}]}}}",
                "{networks: {n: {ipam: {config: [{subnet: a, gateway: g, ip_range: r}]}}}}",
            ),
            (
                "networks: {n: {ipam: {config: [{subnet: a}]}}}",
                "networks: {n: {ipam: {config: [{subnet: b}]}}}",
                "{networks: {n: {ipam: {config: [{subnet: b}]}}}}",
            ),
            ("x-a: {b: [1]}", "x-a: {b: [2]}", "{x-a: {b: [1, 2]}}"),
        ] {
            assert_eq!(top(&[base, over]), expected, "{base} + {over}");
        }
    }
}
