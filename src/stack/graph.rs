//! The order of nodes: needed ones first, otherwise as they come.

use indexmap::IndexMap;

use super::Node;
use crate::name::NodeId;

/// Orders nodes. Needs that name no node, and circles, are the caller's to exclude; they change the order and no more.
pub(super) fn order(nodes: IndexMap<NodeId, Node>) -> IndexMap<NodeId, Node> {
    let mut placed = vec![false; nodes.len()];
    let mut sequence = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        // Node, and which of its needs comes next. An explicit stack, since a chain may be longer than the thread's.
        let mut way = vec![(start, 0)];
        if placed[start] {
            continue;
        }
        placed[start] = true;
        while let Some((index, next)) = way.last_mut() {
            let (_, node) = nodes.get_index(*index).expect("every number on the way is one of a node");
            let Some(need) = node.needs.get(*next) else {
                sequence.push(*index);
                way.pop();
                continue;
            };
            *next += 1;
            if let Some(on) = nodes.get_index_of(&need.on).filter(|on| !placed[*on]) {
                placed[on] = true;
                way.push((on, 0));
            }
        }
    }
    let mut slots: Vec<Option<(NodeId, Node)>> = nodes.into_iter().map(Some).collect();
    sequence.into_iter().filter_map(|index| slots[index].take()).collect()
}
