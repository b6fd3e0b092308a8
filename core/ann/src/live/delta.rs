//! Vectors that came after the build, laid over a part. A clone shares all that does not change.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::Item;
use crate::build::{Planes, Residuals, pack_all};
use crate::code::{Encoder, pack};
use crate::file::IndexKind;
use crate::filter::{Bits, Filter, ItemAttributes};
use crate::kernel::{BLOCK, ByteQuery, GROUP, Line, dot, prefetch};
use crate::metric::Metric;
use crate::part::Part;
use crate::partition::assign_one;
use crate::search::{Query, row_of};

/// Vectors of a chunk: what is copied when one comes while a reader holds the chunk.
const CHUNK: usize = 128;

/// Lines of a leaf's changes that are asked for before it is scanned.
const LINES_AHEAD: usize = 10;

/// Changes laid over a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    chunks: Vec<Arc<Chunk>>,
    slots: u32,
    /// Width D of a vector.
    dim: usize,
    dead: Bits,
    dead_count: usize,
    /// What lies in each leaf, coded over a tree; empty over a flat part.
    leaves: Vec<Option<Arc<ChangedLeaf>>>,
    /// Σ |x − c|² over all slots.
    distortion: f64,
    names: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    slots: Vec<Slot>,
    /// The vectors, as the part stores them, each with its bias after it [slots, D + 1].
    values: Vec<f32>,
}

/// What one vector is besides its values.
#[derive(Clone, Debug)]
struct Slot {
    id: u64,
    attributes: ItemAttributes,
    /// Its nearest leaf; 0 over a flat part.
    nearest: u32,
}

/// Codes vectors into leaves; its buffers are used again.
#[derive(Debug, Default)]
pub(super) struct Coder {
    vector: Vec<f32>,
    turned: Vec<f32>,
    bytes: ByteQuery,
    near: Vec<f32>,
    most: Vec<f32>,
    residual: Residuals,
    codes: Vec<u8>,
}

/// The changes in one leaf: codes, or over a graph bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangedLeaf {
    pub(crate) codes: Vec<Line>,
    pub(crate) lanes: Vec<u32>,
    pub(crate) vectors: usize,
    /// Over a graph: the vectors as bytes.
    pub(crate) planes: Planes,
}

impl ChangedLeaf {
    /// Adds a vector's codes; `lane` is what its lane holds.
    pub(super) fn push(&mut self, codes: &[u8], lane: u32) {
        let at = self.vectors % BLOCK;
        if at == 0 {
            self.codes.extend(pack_all(codes, codes.len()));
            self.lanes.extend([u32::MAX; BLOCK]);
        } else {
            let from = self.codes.len() - codes.len().div_ceil(GROUP);
            pack(codes, at, &mut self.codes[from..]);
        }
        self.lanes[self.vectors] = lane;
        self.vectors += 1;
    }

    /// Adds a vector as bytes.
    fn push_bytes(&mut self, vector: &[f32], metric: Metric, lane: u32) {
        self.planes.push(vector, metric);
        self.lanes.push(lane);
        self.vectors += 1;
    }
}

impl Delta {
    /// No changes over a part.
    pub(super) fn new(part: &Part) -> Self {
        Self { leaves: vec![None; part.leaves()], dim: part.dim(), ..Self::default() }
    }

    /// Adds a vector; returns its slot.
    pub(super) fn push(&mut self, part: &Part, item: &Item, coder: &mut Coder) -> u32 {
        let slot = self.slots;
        let Coder { vector, turned, .. } = coder;
        vector.clone_from(&item.vector);
        part.metric().normalize(vector);
        if let Some(rotation) = part.rotation() {
            rotation.turn(vector, turned);
            std::mem::swap(vector, turned);
        }
        let nearest =
            if part.kind() == IndexKind::Flat { 0 } else { self.place(part, slot, coder) };
        self.names.extend(item.attributes.namespaces().map(str::to_owned));
        self.names.extend(item.attributes.number_names().map(str::to_owned));
        if self.chunks.last().is_none_or(|chunk| chunk.slots.len() == CHUNK) {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.last_mut().map(Arc::make_mut) {
            let (id, attributes) = (item.id, item.attributes.clone());
            chunk.slots.push(Slot { id, attributes, nearest });
            chunk.values.extend_from_slice(&coder.vector);
            chunk.values.push(part.metric().bias(dot(&coder.vector, &coder.vector)));
        }
        self.slots += 1;
        self.dead.grow(self.slots as usize);
        slot
    }

    /// Puts a vector into its leaves, with its codes if the part has any; returns the nearest.
    fn place(&mut self, part: &Part, slot: u32, coder: &mut Coder) -> u32 {
        let (tree, dim) = (part.tree(), part.dim());
        let Coder { vector, bytes, near, most, residual, codes, .. } = coder;
        bytes.set(vector);
        bytes.products(tree.directory.panels, part.distance_facts(), near, most);
        near.truncate(tree.leaves.len());
        let spilling = part.meta.spilling.as_ref();
        let (leaves, square) = assign_one(tree.centroids, (near, most), vector, spilling);
        self.distortion += f64::from(square);
        let nearest = leaves[0];
        let place = part.rows() as u32 + slot;
        for leaf in leaves {
            let changed = Arc::make_mut(self.leaves[leaf as usize].get_or_insert_default());
            if part.kind() == IndexKind::Graph {
                changed.push_bytes(vector, part.metric(), place);
                continue;
            }
            residual.clear();
            residual.add(vector, &tree.centroids[leaf as usize * dim..][..dim], part.metric());
            let Residuals { values, directions, biases } = &*residual;
            let encoder = Encoder { codebook: tree.codebook, weight: part.meta.weight };
            encoder.encode((values, directions), biases, codes);
            changed.push(codes, place);
        }
        nearest
    }

    /// Takes a vector out.
    pub(super) fn kill(&mut self, slot: u32) {
        self.dead_count += usize::from(!self.dead.has(slot));
        self.dead.insert(slot);
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.chunks.get(slot as usize / CHUNK)?.slots.get(slot as usize % CHUNK)
    }

    /// The nearest leaf of a slot's vector.
    pub(super) fn nearest(&self, slot: u32) -> Option<u32> {
        self.slot(slot).map(|slot| slot.nearest)
    }

    /// A slot's vector and bias.
    pub(super) fn values(&self, slot: u32) -> Option<(&[f32], f32)> {
        let chunk = self.chunks.get(slot as usize / CHUNK)?;
        let from = slot as usize % CHUNK * (self.dim + 1);
        let (bias, vector) = chunk.values.get(from..=from + self.dim)?.split_last()?;
        Some((vector, *bias))
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
    #[inline]
    pub(crate) fn leaf(&self, leaf: usize) -> Option<&ChangedLeaf> {
        self.leaves.get(leaf)?.as_deref()
    }

    /// Asks for the cache line that says where a leaf's codes are.
    #[inline]
    pub(crate) fn ask_for_leaf(&self, leaf: usize) {
        if let Some(changed) = self.leaf(leaf) {
            prefetch(std::slice::from_ref(changed), 0);
        }
    }

    /// Asks for the first cache lines of a leaf's codes or bytes.
    #[inline]
    pub(crate) fn ask_for_codes(&self, leaf: usize) {
        if let Some(ChangedLeaf { codes, planes, .. }) = self.leaf(leaf) {
            (0..LINES_AHEAD).for_each(|line| prefetch(codes, line));
            (0..LINES_AHEAD).for_each(|line| prefetch(&planes.high, 64 * line));
        }
    }

    /// Asks for the first cache lines of what a leaf's lanes hold.
    #[inline]
    pub(crate) fn ask_for_lanes(&self, leaf: usize) {
        if let Some(ChangedLeaf { lanes, .. }) = self.leaf(leaf) {
            (0..LINES_AHEAD).for_each(|line| prefetch(lanes, 16 * line));
        }
    }

    /// What has changed in leaves, one after another; `ask_for` asks for what is read of each. There are two
    /// steps to that, each a cache miss unless it was asked for.
    pub(crate) fn in_leaves<'a>(
        &'a self,
        leaves: &'a [u64],
        ask_for: impl Fn(&Self, usize) + 'a,
    ) -> impl Iterator<Item = &'a ChangedLeaf> {
        let leaf_at = |at: usize| leaves.get(at).map(|key| row_of(*key) as usize);
        (0..leaves.len()).filter_map(move |at| {
            if let Some(leaf) = leaf_at(at + 8) {
                self.ask_for_leaf(leaf);
            }
            if let Some(leaf) = leaf_at(at + 4) {
                ask_for(self, leaf);
            }
            self.leaf(leaf_at(at)?)
        })
    }

    /// Asks for the cache lines of a slot's vector.
    #[inline]
    pub(crate) fn ask_for_vector(&self, slot: u32) {
        if let Some((vector, _)) = self.values(slot) {
            (0..self.dim.min(256)).step_by(16).for_each(|at| prefetch(vector, at));
        }
    }

    /// q·x + bias.
    pub(crate) fn rank(&self, query: &Query, slot: u32) -> Option<f32> {
        self.values(slot).map(|(vector, bias)| dot(&query.values, vector) + bias)
    }

    /// Attributes of a slot.
    pub(crate) fn attributes(&self, slot: u32) -> Option<&ItemAttributes> {
        self.slot(slot).map(|slot| &slot.attributes)
    }

    /// Whether a slot's attributes satisfy a filter.
    pub(crate) fn satisfies(&self, slot: u32, filter: &Filter) -> bool {
        self.attributes(slot).is_some_and(|attributes| filter.matches(attributes))
    }

    /// The id of a slot.
    pub(crate) fn id(&self, slot: u32) -> Option<u64> {
        self.slot(slot).map(|slot| slot.id)
    }

    /// The slots whose vectors are there, with ids and vectors as the part stores vectors.
    pub(super) fn items(&self) -> impl Iterator<Item = (u32, u64, &[f32])> {
        (0..self.slots).filter(move |slot| self.lives(*slot)).filter_map(move |slot| {
            let (Slot { id, .. }, (vector, _)) = (self.slot(slot)?, self.values(slot)?);
            Some((slot, *id, vector))
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
