//! Vectors that came after the build, laid over a part. A clone shares all that does not change.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::Item;
use crate::build::{Residuals, pack_all};
use crate::code::{Encoder, pack};
use crate::file::IndexKind;
use crate::filter::{Bits, Filter, ItemAttributes};
use crate::kernel::{BLOCK, ByteQuery, Line, dot};
use crate::metric::Metric;
use crate::part::Part;
use crate::partition::assign_one;
use crate::search::Query;

/// Vectors of a chunk: what is copied when one comes while a reader holds the chunk.
const CHUNK: usize = 128;

/// Changes laid over a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    chunks: Vec<Arc<Vec<Slot>>>,
    slots: u32,
    dead: Bits,
    dead_count: usize,
    /// Codes by leaf; empty over a flat part.
    leaves: Vec<Option<Arc<ChangedLeaf>>>,
    /// Σ |x − c|² over all slots.
    distortion: f64,
    names: BTreeSet<String>,
}

/// One vector.
#[derive(Clone, Debug)]
struct Slot {
    id: u64,
    /// As the part stores vectors.
    vector: Vec<f32>,
    bias: f32,
    attributes: ItemAttributes,
}

/// Codes of the changes in one leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangedLeaf {
    pub(crate) codes: Vec<Line>,
    pub(crate) lanes: Vec<u32>,
    pub(crate) vectors: usize,
}

impl Delta {
    /// No changes over a part.
    pub(super) fn new(part: &Part) -> Self {
        Self { leaves: vec![None; part.leaves()], ..Self::default() }
    }

    /// Adds a vector; returns its slot.
    pub(super) fn push(&mut self, part: &Part, item: &Item) -> u32 {
        let slot = self.slots;
        let mut vector = item.vector.clone();
        part.metric().normalize(&mut vector);
        if let Some(rotation) = part.rotation() {
            let mut turned = Vec::new();
            rotation.turn(&vector, &mut turned);
            vector = turned;
        }
        if part.kind() == IndexKind::Ivf {
            self.encode(part, slot, &vector);
        }
        self.names.extend(item.attributes.namespaces().map(str::to_owned));
        self.names.extend(item.attributes.number_names().map(str::to_owned));
        let bias = part.metric().bias(dot(&vector, &vector));
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            let (id, attributes) = (item.id, item.attributes.clone());
            Arc::make_mut(chunk).push(Slot { id, vector, bias, attributes });
        }
        self.slots += 1;
        self.dead.grow(self.slots as usize);
        slot
    }

    /// Codes a vector into its leaves.
    fn encode(&mut self, part: &Part, slot: u32, vector: &[f32]) {
        let (tree, dim) = (part.tree(), part.dim());
        let (mut near, mut most) = (Vec::new(), Vec::new());
        let mut bytes = ByteQuery::default();
        bytes.set(vector);
        bytes.products(tree.directory, tree.directory_facts, &mut near, &mut most);
        near.truncate(tree.leaves.len());
        if part.metric() != Metric::L2 {
            // L2's scores have it already.
            near.iter_mut().zip(part.half_squares()).for_each(|(near, half)| *near -= half);
        }
        let spilling = part.meta.spilling.as_ref();
        let (leaves, square) = assign_one(tree.centroids, &near, vector, spilling);
        self.distortion += f64::from(square);
        for leaf in leaves {
            let mut seen = Residuals::default();
            seen.add(vector, &tree.centroids[leaf as usize * dim..][..dim], part.metric());
            let Residuals { values, directions, biases } = &seen;
            let encoder = Encoder { codebook: tree.codebook, weight: part.meta.weight };
            let mut codes = Vec::new();
            encoder.encode((values, directions), biases, &mut codes);
            let leaf = Arc::make_mut(self.leaves[leaf as usize].get_or_insert_default());
            let lane = leaf.vectors % BLOCK;
            if lane == 0 {
                leaf.codes.extend(pack_all(&codes, codes.len()));
                leaf.lanes.extend([u32::MAX; BLOCK]);
            } else {
                let from = leaf.codes.len() - tree.lines;
                pack(&codes, lane, &mut leaf.codes[from..]);
            }
            leaf.lanes[leaf.vectors] = part.rows() as u32 + slot;
            leaf.vectors += 1;
        }
    }

    /// Takes a vector out.
    pub(super) fn kill(&mut self, slot: u32) {
        self.dead_count += usize::from(!self.dead.has(slot));
        self.dead.insert(slot);
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)
    }

    /// Slots taken, also by vectors that are no longer there.
    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    /// Vectors that are there.
    pub(super) fn count(&self) -> usize {
        self.slots as usize - self.dead_count
    }

    /// Whether a slot's vector is there.
    pub(crate) fn lives(&self, slot: u32) -> bool {
        slot < self.slots && !self.dead.has(slot)
    }

    /// The codes of the changes in a leaf.
    pub(crate) fn leaf(&self, leaf: usize) -> Option<&ChangedLeaf> {
        self.leaves.get(leaf)?.as_deref()
    }

    /// q·x + bias.
    pub(crate) fn rank(&self, query: &Query, slot: u32) -> Option<f32> {
        self.slot(slot).map(|slot| dot(&query.values, &slot.vector) + slot.bias)
    }

    /// Attributes of a slot.
    pub(crate) fn attributes(&self, slot: u32) -> Option<&ItemAttributes> {
        self.slot(slot).map(|slot| &slot.attributes)
    }

    /// The id of a slot.
    pub(crate) fn id(&self, slot: u32) -> Option<u64> {
        self.slot(slot).map(|slot| slot.id)
    }

    /// The vectors that are there, as the part stores vectors, with ids and attributes.
    pub(super) fn items(&self) -> impl Iterator<Item = (u64, &[f32], &ItemAttributes)> {
        (0..self.slots).filter(move |slot| self.lives(*slot)).filter_map(move |slot| {
            self.slot(slot).map(|slot| (slot.id, &*slot.vector, &slot.attributes))
        })
    }

    /// Whether some change has every attribute that a filter names.
    pub(crate) fn knows(&self, filter: &Filter) -> bool {
        filter.tokens.iter().all(|rule| self.names.contains(&rule.namespace))
            && filter.numbers.iter().all(|rule| self.names.contains(&rule.name))
    }

    /// Mean squared distance from the nearest centroid.
    pub(super) fn distortion(&self) -> f64 {
        self.distortion / f64::from(self.slots.max(1))
    }
}
