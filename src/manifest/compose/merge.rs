//! Several trees as one: what a later file says of a key that an earlier one has.

use super::super::node::{Kind, Node};

/// Lays `over` on `base`: mappings are merged key by key, lists appended, everything else is replaced.
pub(super) fn merge(base: &mut Node, over: Node) {
    match (&mut base.kind, over.kind) {
        // `key:` with nothing behind it says nothing.
        (_, Kind::Null) => {}
        (Kind::Map(entries), Kind::Map(others)) => {
            for other in others {
                match entries.iter_mut().find(|entry| entry.key == other.key) {
                    Some(entry) => merge(&mut entry.value, other.value),
                    None => entries.push(other),
                }
            }
        }
        (Kind::List(items), Kind::List(others)) => items.extend(others),
        (_, kind) => *base = Node { kind, mark: over.mark },
    }
}
