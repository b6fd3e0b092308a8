//! A tree's part and its changes, laid together: partition, codebook and all codes stay as they are.

use std::path::Path;

use rayon::prelude::*;

use super::delta::ChangedLeaf;
use super::part::Snapshot;
use crate::build::{BuildOptions, Planes, Progress, taken_over, write_rows};
use crate::code::unpack;
use crate::error::AnnError;
use crate::file::{IndexKind, Kind, Leaf, Meta, PartWriter};
use crate::filter;
use crate::idle::give_way;
use crate::kernel::{BLOCK, Line};
use crate::part::{Part, Tree};
use crate::partition::Groups;

/// How many times as many or as few leaves a build would make at most.
const LEAVES_RATIO_MAX: usize = 2;
/// Vectors of the leaf in which a vector lies on average, in means of all leaves, at most: beyond it
/// searches would scan more than new leaves would have.
const UNEVEN_MAX: f64 = 4.0;
/// Leaves laid together before they are written.
const LEAVES: usize = 256;

/// Whether a part's partition still suits what it holds with its changes.
pub(super) fn suits(snapshot: &Snapshot, options: &BuildOptions) -> bool {
    let (part, rows) = (&snapshot.part, snapshot.count());
    if part.kind() != IndexKind::Ivf || options.kind_for(rows) != IndexKind::Ivf {
        return false;
    }
    let (has, wants) = (part.leaves(), options.leaves_for(rows));
    let about_as_many = has <= wants * LEAVES_RATIO_MAX && wants <= has * LEAVES_RATIO_MAX;
    about_as_many && !snapshot.drifts() && uneven(snapshot) <= UNEVEN_MAX
}

/// Σ n² / Σ n over the mean of n, for the numbers n of vectors in leaves.
fn uneven(snapshot: &Snapshot) -> f64 {
    let leaves = snapshot.part.tree().leaves;
    let (mut sum, mut squares) = (0.0, 0.0);
    for (at, leaf) in leaves.iter().enumerate() {
        let changed = snapshot.delta.leaf(at).map_or(0, |changed| changed.vectors);
        let vectors = f64::from(leaf.vectors) + changed as f64;
        sum += vectors;
        squares += vectors * vectors;
    }
    if sum > 0.0 { squares * leaves.len() as f64 / (sum * sum) } else { 1.0 }
}

/// Writes a part of what a tree's snapshot holds. Takes one pass over its bytes, where a build takes
/// several over all vectors and centroids; drift is measured against the same build as before.
pub(super) fn merge(
    path: &Path,
    snapshot: &Snapshot,
    progress: &dyn Progress,
) -> Result<(), AnnError> {
    let part = &*snapshot.part;
    let merged = Merged::new(snapshot);
    let rows = merged.order.len();
    let mut meta = Meta {
        written_by: Meta::this_version(),
        rows,
        curve: taken_over(part, rows, part.leaves()),
        namespaces: Vec::new(),
        numbers: Vec::new(),
        ..part.meta.clone()
    };
    let mut writer = PartWriter::create(path)?;
    for kind in [Kind::Axes, Kind::Centroids, Kind::Codebook, Kind::DirectoryFacts, Kind::Directory]
    {
        writer.section(kind, 0, part.sections().values::<u8>(kind, 0))?;
    }
    progress.stage("merging", part.leaves());
    merged.write_leaves(&mut writer, progress)?;
    progress.stage("writing", 3 * rows);
    write_rows(&mut writer, &merged.order, progress, &|places| merged.planes(places))?;
    merged.write_ids(&mut writer)?;
    let attributes = snapshot.attributes(&merged.order)?;
    let every: Vec<u32> = (0..rows as u32).collect();
    filter::write(&mut writer, &mut meta, &attributes, &every)?;
    writer.seal(&meta)?;
    writer.publish()
}

/// Where everything goes. A place is a row of the part, or, behind all of them, a slot of the changes.
struct Merged<'a> {
    snapshot: &'a Snapshot,
    part: &'a Part,
    tree: Tree<'a>,
    /// The place that each row comes from: by their nearest leaves, a leaf's rows before its slots.
    order: Vec<u32>,
    /// The first row of each leaf.
    starts: Vec<u32>,
    /// The row that each place goes to; `u32::MAX` if what was there is gone.
    row_of: Vec<u32>,
}

impl<'a> Merged<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let (part, delta) = (&*snapshot.part, &*snapshot.delta);
        let (tree, rows) = (part.tree(), part.rows() as u32);
        let leaf_of = |slot| delta.nearest(slot).filter(|_| delta.lives(slot)).unwrap_or(u32::MAX);
        let nearest: Vec<u32> = (0..delta.slots()).map(leaf_of).collect();
        let changed = Groups::new(part.leaves(), &nearest);
        let mut order = Vec::with_capacity(snapshot.count());
        let mut starts = Vec::with_capacity(part.leaves());
        for leaf in 0..part.leaves() {
            starts.push(order.len() as u32);
            order.extend(tree.rows_of(leaf).filter(|row| snapshot.has_row(*row)));
            order.extend(changed.members(leaf).iter().map(|slot| rows + slot));
            give_way();
        }
        let mut row_of = vec![u32::MAX; part.rows() + delta.slots() as usize];
        for (row, place) in order.iter().enumerate() {
            row_of[*place as usize] = row as u32;
        }
        Self { snapshot, part, tree, order, starts, row_of }
    }

    /// Writes codes, lanes and the table of leaves.
    fn write_leaves(
        &self,
        writer: &mut PartWriter,
        progress: &dyn Progress,
    ) -> Result<(), AnnError> {
        let count = self.part.leaves();
        let (mut table, mut lanes, mut block) = (Vec::with_capacity(count), Vec::new(), 0);
        writer.begin(Kind::Codes, 0)?;
        for from in (0..count).step_by(LEAVES) {
            let leaves = from..count.min(from + LEAVES);
            let merged: Vec<ChangedLeaf> =
                leaves.clone().into_par_iter().map(|leaf| self.leaf(leaf)).collect();
            progress.advance(leaves.len());
            for (leaf, members) in leaves.zip(merged) {
                writer.add(&members.codes)?;
                let vectors = members.vectors as u32;
                let row = self.starts[leaf];
                table.push(Leaf { block, vectors, row, ..self.tree.leaves[leaf] });
                block += vectors.div_ceil(BLOCK as u32);
                lanes.extend(members.lanes);
            }
        }
        writer.section(Kind::Lanes, 0, &lanes)?;
        writer.section(Kind::Leaves, 0, &table)
    }

    /// The codes of a leaf's vectors that are still there, and where they are now.
    fn leaf(&self, leaf: usize) -> ChangedLeaf {
        give_way();
        let vectors = self.tree.leaves[leaf].vectors as usize;
        let (codes, lanes) = self.tree.blocks(leaf);
        let mut members = ChangedLeaf::default();
        self.take(codes, &lanes[..vectors], &mut members);
        if let Some(ChangedLeaf { codes, lanes, vectors, .. }) = self.snapshot.delta.leaf(leaf) {
            self.take(codes, &lanes[..*vectors], &mut members);
        }
        members
    }

    fn take(&self, blocks: &[Line], places: &[u32], members: &mut ChangedLeaf) {
        let lines = self.tree.lines;
        let mut codes = vec![0; self.tree.codebook.entries.len()];
        for (at, place) in places.iter().enumerate() {
            // A damaged file may name a row that is not there.
            let row = self.row_of.get(*place as usize).copied().unwrap_or(u32::MAX);
            if row != u32::MAX {
                unpack(&blocks[at / BLOCK * lines..][..lines], at % BLOCK, &mut codes);
                members.push(&codes, row);
            }
        }
    }

    /// The slot of a place behind the part's rows.
    fn slot(&self, place: u32) -> Option<u32> {
        place.checked_sub(self.part.rows() as u32)
    }

    /// The vectors at places.
    fn planes(&self, places: &[u32]) -> Planes {
        let mut planes = Planes::with_capacity(places.len(), self.part.dim());
        for place in places {
            match self.slot(*place) {
                None => planes.copy(&self.tree.rows, *place as usize),
                Some(slot) => {
                    let (vector, _) = self.snapshot.delta.values(slot).unwrap_or_default();
                    planes.push(vector, self.part.metric());
                }
            }
        }
        planes
    }

    /// Writes the ids of rows, and the rows in the order of their ids.
    fn write_ids(&self, writer: &mut PartWriter) -> Result<(), AnnError> {
        let delta = &*self.snapshot.delta;
        let id_of = |place: &u32| match self.slot(*place) {
            None => self.part.ids()[*place as usize],
            Some(slot) => delta.id(slot).unwrap_or_default(),
        };
        let ids: Vec<u64> = self.order.iter().map(id_of).collect();
        let place_of = |slot| self.part.rows() + slot as usize;
        let mut changed: Vec<u32> = delta.items().map(|(slot, ..)| slot).collect();
        changed.sort_unstable_by_key(|slot| delta.id(*slot));
        let places = self.part.id_order().iter().map(|row| *row as usize);
        let rows = places.chain(changed.into_iter().map(place_of));
        let rows = rows.map(|place| self.row_of.get(place).copied().unwrap_or(u32::MAX));
        let mut by_id: Vec<u32> = rows.filter(|row| *row != u32::MAX).collect();
        // Two rising runs, which this sort finds and merges.
        by_id.sort_by_key(|row| ids[*row as usize]);
        writer.section(Kind::Ids, 0, &ids)?;
        writer.section(Kind::IdOrder, 0, &by_id)
    }
}
