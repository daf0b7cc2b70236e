//! `depends_on`: what must be up before a service starts, and what restarts with it.

use super::{CONDITIONS, NEED_KEYS, name};
use crate::manifest::node::{Entry, Kind, Node};
use crate::manifest::reader::Reader;
use crate::manifest::service::{Dependency, Until};

pub(super) fn depends_on(reader: Reader<'_>, key: &str, node: &Node) -> Option<Vec<Dependency>> {
    let mut needs = Vec::new();
    if let Kind::List(items) = &node.kind {
        for item in items {
            let Some(on) = reader.string(key, item).and_then(|text| name(reader, item.mark, &text)) else { continue };
            needs.push(Dependency { on, until: Until::Ready, restart: false, place: reader.place(item.mark) });
        }
        return Some(needs);
    }
    let Kind::Map(entries) = &node.kind else {
        reader.wrong(key, node, "a list of services, or a table such as `{ db = \"ready\" }`");
        return None;
    };
    for entry in entries {
        let condition = condition(reader, entry);
        let on = name(reader, entry.key_mark, &entry.key);
        if let (Some(on), Some((until, restart))) = (on, condition) {
            needs.push(Dependency { on, until, restart, place: reader.place(entry.key_mark) });
        }
    }
    Some(needs)
}

/// What must be true of a needed service, and whether whoever needs it restarts with it.
fn condition(reader: Reader<'_>, entry: &Entry) -> Option<(Until, bool)> {
    let Kind::Map(_) = &entry.value.kind else {
        return Some((reader.one_of(&entry.key, &entry.value, CONDITIONS)?, false));
    };
    let table = reader.table(&entry.key, &entry.value, NEED_KEYS, &[])?;
    let said = table.read("until", |r, key, node| r.one_of(key, node, CONDITIONS));
    let restart = table.read("restart", Reader::boolean).unwrap_or_default();
    let until = match (said, table.get("until")) {
        (Some(until), _) => until,
        (None, None) => Until::Ready,
        (None, Some(_)) => return None,
    };
    if let (Until::Completed, true, Some(said)) = (until, restart, table.entry("restart")) {
        reader.fail_with(
            said.key_mark,
            format!("`{}` is needed until it ended well, so it is never restarted under whoever needs it", entry.key),
            "leave `restart` out, or wait with `until = \"ready\"`",
        );
        return None;
    }
    Some((until, restart))
}
