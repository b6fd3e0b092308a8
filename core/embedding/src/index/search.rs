//! Room in full buckets: moves some keys to their other bucket.

use super::bucket::SLOTS;
use super::buckets::Buckets;

/// Buckets looked at before a key is given up. At the highest load a few are enough; that all of
/// these are full happens only to keys that were chosen to collide, or in tables of a few buckets.
const NODES_MAX: usize = 128;

/// A bucket that could be made room in by moving the key in `slot` of the node `parent` to it.
#[derive(Clone, Copy, Default)]
struct Node {
    bucket: u32,
    parent: u8,
    slot: u8,
}

/// The parent of the two buckets that room is made in.
const NONE: u8 = u8::MAX;

/// Empties a slot in one of two full buckets, breadth first: with as few moves as can be. Returns
/// the bucket and the slot, or `None` after a bounded search.
pub(super) fn make_room(
    buckets: &mut Buckets,
    roots: [u32; 2],
    homes: impl Fn(u64) -> [u32; 2],
) -> Option<(u32, usize)> {
    let mut nodes = [Node::default(); NODES_MAX];
    nodes[0] = Node { bucket: roots[0], parent: NONE, slot: 0 };
    nodes[1] = Node { bucket: roots[1], parent: NONE, slot: 0 };
    let mut len = if roots[0] == roots[1] { 1 } else { 2 };
    let roots = len;
    let (mut at, mut checked) = (0, len);
    while at < len {
        for slot in 0..SLOTS {
            let Node { bucket, .. } = nodes[at];
            let [first, second] = homes(buckets.get(bucket).keys[slot]);
            let other = first ^ second ^ bucket;
            if len < NODES_MAX && !leads_through(&nodes, at, other) {
                buckets.prefetch(other);
                nodes[len] = Node { bucket: other, parent: at as u8, slot: slot as u8 };
                len += 1;
            }
        }
        at += 1;
        // The children of both roots are asked for before one of them is waited for.
        if at < roots {
            continue;
        }
        for node in checked..len {
            if let Some(slot) = buckets.get(nodes[node].bucket).vacant() {
                return Some(unwind(buckets, &nodes, node, slot));
            }
        }
        checked = len;
    }
    None
}

/// Whether the path from a root to node `at` has `bucket` in it already: it would be moved out of
/// twice.
fn leads_through(nodes: &[Node], mut at: usize, bucket: u32) -> bool {
    while nodes[at].bucket != bucket {
        match nodes[at].parent {
            NONE => return false,
            parent => at = parent as usize,
        }
    }
    true
}

/// Moves the keys on the way from a root to node `at`, whose `slot` is empty, each to the next bucket.
fn unwind(buckets: &mut Buckets, nodes: &[Node], mut at: usize, mut slot: usize) -> (u32, usize) {
    while nodes[at].parent != NONE {
        let Node { bucket, parent, slot: from } = nodes[at];
        at = parent as usize;
        let entry = buckets.get_mut(nodes[at].bucket).take(from as usize);
        buckets.get_mut(bucket).put(slot, entry);
        slot = from as usize;
    }
    (nodes[at].bucket, slot)
}
