//! Learning of two towers: queries against the candidates of a batch.
//!
//! [`Contrast`] takes the vectors that the towers made of a batch and gives losses and gradients:
//! it joins the candidates of all ranks ([`candidates`]), corrects their scores by how often they come
//! by ([`frequency`]), and computes the objective block by block ([`block`], [`weights`]).

mod block;
mod candidates;
mod frequency;
mod spec;
#[cfg(test)]
mod tests;
mod weights;

use rayon::prelude::*;
use rectool_comm::{Comm, CommError, CommExt};

use block::{CHUNK, Packed, Query, Scratch, contrast, sums_for};
use candidates::{Candidates, return_gradients};
pub(crate) use frequency::{Frequency, FrequencyState};
pub use spec::{RetrievalObjective, RetrievalSpec};

use crate::kernel::{Panels, ROW_TILE, Write};

/// Scores of a block are at most about this many values (8 MB), so that they stay in the cache.
const BLOCK_SCORES: usize = 1 << 21;
/// Most queries of a block.
const BLOCK_ROWS_MAX: usize = 128;
/// Most groups of blocks, each with a sum of the candidates' gradients of its own.
const GROUPS_MAX: usize = 16;
/// Fewest blocks that are worth such a sum.
const GROUP_BLOCKS_MIN: usize = 4;

/// The rows of a batch, as towers and columns give them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairs<'a> {
    /// [B, 2 E]: each row's query vector, then its item's.
    pub(crate) vectors: &'a [f32],
    /// The items: \[B\].
    pub(crate) ids: &'a [i64],
    /// Where the features have a label: rows above 0 are queries. Else empty.
    pub(crate) labels: &'a [f32],
    /// Without labels: one of so many rows is a query, the first; the others were drawn for it.
    pub(crate) group: usize,
    /// What each query counts; empty: all the same.
    pub(crate) weights: &'a [f32],
    /// Logarithm of the probability with which a row of label 0 was drawn; empty: it is not known, and
    /// such candidates are not corrected.
    pub(crate) log_q: &'a [f32],
}

/// The objective of two towers at work, with what it said of the last batch.
#[derive(Debug)]
pub(crate) struct Contrast {
    spec: RetrievalSpec,
    pub(crate) frequency: Frequency,
    /// Loss of each query of this rank.
    pub(crate) losses: Vec<f32>,
    /// Derivative of the mean loss over the queries of all ranks by each row's vectors: [B, 2 E].
    pub(crate) gradients: Vec<f32>,
}

impl Contrast {
    pub(crate) fn new(spec: RetrievalSpec) -> Self {
        let frequency = Frequency::default();
        Self { spec, frequency, losses: Vec::new(), gradients: Vec::new() }
    }

    /// Losses and gradients of a batch. In training the items of the batch are counted first.
    ///
    /// # Collective
    /// Every rank, each with its rows of the same global batch.
    pub(crate) fn evaluate(
        &mut self,
        comm: &dyn Comm,
        pairs: &Pairs<'_>,
        training: bool,
    ) -> Result<(), CommError> {
        let rows = pairs.ids.len();
        let width = pairs.vectors.len().checked_div(2 * rows).unwrap_or(0);
        // A rank without rows must know how wide the others' are.
        let width = comm.max_u64(width as u64)? as usize;
        let candidates = self.candidates(comm, pairs, width, training)?;
        let total = comm.sum_f64(weight_total(pairs))?;
        let scale = if total > 0.0 { (1.0 / total) as f32 } else { 0.0 };
        let counts = candidates.counts.clone();
        let gradients = self.contrast(pairs, &candidates, width, scale);
        let items = return_gradients(comm, gradients, &counts, width)?;
        for (into, from) in self
            .gradients
            .chunks_exact_mut((2 * width).max(1))
            .zip(items.chunks_exact(width.max(1)))
        {
            into[width..].copy_from_slice(from);
        }
        Ok(())
    }

    /// The candidates of the batch; in training their sightings are counted, those of all ranks on every
    /// rank.
    fn candidates(
        &mut self,
        comm: &dyn Comm,
        pairs: &Pairs<'_>,
        width: usize,
        training: bool,
    ) -> Result<Candidates, CommError> {
        let mut vectors = Vec::with_capacity(pairs.ids.len() * width);
        for row in pairs.vectors.chunks_exact((2 * width).max(1)) {
            vectors.extend_from_slice(&row[width..]);
        }
        let drawn: Vec<f32> = (0..pairs.ids.len())
            .map(|row| match (is_query(pairs, row), pairs.log_q.get(row)) {
                (true, _) => f32::NAN,
                (false, Some(log_q)) => *log_q,
                (false, None) => 0.0,
            })
            .collect();
        let own = Candidates::own(&vectors, pairs.ids, &drawn);
        if self.spec.across_ranks {
            let all = own.gather(comm)?;
            self.observe(training, &all.ids, &all.drawn);
            return Ok(all);
        }
        let (mut ids, mut drawn) = (Vec::new(), Vec::new());
        comm.all_gather(&own.ids, &mut ids)?;
        comm.all_gather(&own.drawn, &mut drawn)?;
        self.observe(training, &ids, &drawn);
        Ok(own)
    }

    fn observe(&mut self, training: bool, ids: &[i64], drawn: &[f32]) {
        if training && self.corrects() {
            let chosen = ids.iter().zip(drawn).filter(|(_, drawn)| drawn.is_nan());
            self.frequency.observe(chosen.map(|(id, _)| *id));
        }
    }

    /// Whether scores are corrected by how often candidates come by.
    fn corrects(&self) -> bool {
        self.spec.log_q && self.spec.objective == RetrievalObjective::Softmax
    }

    /// What is added to the scores of the candidates: \[C\].
    fn bias(&self, candidates: &Candidates) -> Vec<f32> {
        if !self.corrects() {
            return vec![0.0; candidates.len()];
        }
        let log_q = candidates.ids.iter().zip(&candidates.drawn).map(|(id, drawn)| {
            if drawn.is_nan() { self.frequency.log_probability(*id) } else { *drawn }
        });
        log_q.map(|log_q| -log_q).collect()
    }

    /// Computes this rank's losses and the gradients of its queries, and returns what they add to the
    /// gradients of all candidates: [C, E].
    fn contrast(
        &mut self,
        pairs: &Pairs<'_>,
        candidates: &Candidates,
        width: usize,
        scale: f32,
    ) -> Vec<f32> {
        let count = candidates.len();
        self.losses.clear();
        self.gradients.clear();
        self.gradients.resize(pairs.vectors.len(), 0.0);
        let rows: Vec<usize> = (0..pairs.ids.len()).filter(|row| is_query(pairs, *row)).collect();
        if count == 0 {
            return Vec::new();
        }
        let packed = candidates.pack(&self.bias(candidates));
        let inverse = 1.0 / self.spec.temperature;
        let scaled: Vec<f32> = rows
            .iter()
            .flat_map(|row| &pairs.vectors[row * 2 * width..(row * 2 + 1) * width])
            .map(|value| value * inverse)
            .collect();
        let absent = self.absent(candidates, &rows);
        let query = |(at, row): (usize, &usize)| Query {
            vector: &scaled[at * width..(at + 1) * width],
            own: candidates.first + row,
            weight: pairs.weights.get(*row).copied().unwrap_or(1.0),
            absent: &absent[at],
        };
        let queries: Vec<Query<'_>> = rows.iter().enumerate().map(query).collect();
        self.losses.resize(queries.len(), 0.0);
        let mut gradients = vec![0.0; scaled.len()];
        let outputs = (self.losses.as_mut_slice(), gradients.as_mut_slice());
        let mut sum = over_blocks(self.spec.objective, &queries, &packed, outputs);
        for (row, from) in rows.iter().zip(gradients.chunks_exact(width)) {
            let into = &mut self.gradients[row * 2 * width..(row * 2 + 1) * width];
            for (into, from) in into.iter_mut().zip(from) {
                *into = from * inverse * scale;
            }
        }
        // The queries were divided by the temperature already.
        for value in &mut sum {
            *value *= scale;
        }
        sum
    }

    /// For each query the positions of candidates that are its own item again.
    fn absent(&self, candidates: &Candidates, rows: &[usize]) -> Vec<Vec<usize>> {
        if !self.spec.drop_hits {
            return vec![Vec::new(); rows.len()];
        }
        let repeated = candidates.repeated();
        let absent = |row: &usize| {
            let own = candidates.first + row;
            let same = repeated.get(&candidates.ids[own]);
            same.into_iter().flatten().copied().filter(|at| *at != own).collect()
        };
        rows.iter().map(absent).collect()
    }
}

fn is_query(pairs: &Pairs<'_>, row: usize) -> bool {
    pairs.labels.get(row).map_or(row.is_multiple_of(pairs.group), |label| *label > 0.0)
}

fn weight_total(pairs: &Pairs<'_>) -> f64 {
    let weight = |row: usize| f64::from(pairs.weights.get(row).copied().unwrap_or(1.0));
    (0..pairs.ids.len()).filter(|row| is_query(pairs, *row)).map(weight).sum()
}

/// Runs the objective over all queries, and returns the sum of the candidates' gradients: [C, E].
///
/// # Determinism
/// Blocks and groups depend on the numbers of queries and candidates alone, and sums have a fixed order.
fn over_blocks(
    objective: RetrievalObjective,
    queries: &[Query<'_>],
    packed: &Packed,
    (losses, gradients): (&mut [f32], &mut [f32]),
) -> Vec<f32> {
    let fitting = BLOCK_SCORES / packed.count / ROW_TILE * ROW_TILE;
    let block_rows = fitting.clamp(ROW_TILE, BLOCK_ROWS_MAX);
    let blocks = queries.len().div_ceil(block_rows).max(1);
    let group_blocks = blocks.div_ceil(GROUPS_MAX).max(GROUP_BLOCKS_MIN);
    let (group_rows, width) = (group_blocks * block_rows, packed.width);
    let sums: Vec<Vec<Panels>> = queries
        .par_chunks(group_rows)
        .zip(losses.par_chunks_mut(group_rows))
        .zip(gradients.par_chunks_mut(group_rows * width))
        .with_max_len(1)
        .map_init(
            || Scratch::new(objective, block_rows, packed),
            |scratch, ((queries, losses), gradients)| {
                let mut sums = sums_for(packed);
                let mut write = Write::Replace;
                let outputs =
                    losses.chunks_mut(block_rows).zip(gradients.chunks_mut(block_rows * width));
                for (queries, outputs) in queries.chunks(block_rows).zip(outputs) {
                    let given = (queries, packed);
                    contrast(given, scratch, outputs, (&mut sums, write));
                    write = Write::Add;
                }
                sums
            },
        )
        .collect();
    add_up(&sums, packed)
}

/// The sums of each chunk's matrices, as rows: [C, E].
fn add_up(sums: &[Vec<Panels>], packed: &Packed) -> Vec<f32> {
    let width = packed.width;
    let mut total = vec![0.0; packed.count * width];
    let Some((first, rest)) = sums.split_first() else { return total };
    let chunks = total.par_chunks_mut(CHUNK * width).zip(first);
    chunks.enumerate().for_each(|(at, (total, first))| {
        let mut sum = first.clone();
        for other in rest {
            let others = other[at].values();
            sum.values_mut().iter_mut().zip(others).for_each(|(sum, value)| *sum += value);
        }
        sum.read_rows(total, width);
    });
    total
}
