//! The candidates of a step: the items of the batch, of this rank or of all.

use std::collections::HashMap;

use rayon::prelude::*;
use rectool_comm::{Comm, CommError, CommExt};

use super::block::{ABSENT, CHUNK, Chunk, Packed};
use crate::kernel::{PANEL, Panels, transpose_panel};

/// Items with their vectors, by position.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// [C, E].
    pub(super) vectors: Vec<f32>,
    /// \[C\].
    pub(super) ids: Vec<i64>,
    /// Logarithm of the probability with which a sampler drew each; NaN for items that were chosen:
    /// \[C\].
    pub(super) drawn: Vec<f32>,
    /// Candidates of each rank, in rank order: one entry if they are this rank's alone.
    pub(super) counts: Vec<usize>,
    /// Position of this rank's first.
    pub(super) first: usize,
}

impl Candidates {
    /// The items of this rank's rows.
    pub(super) fn own(vectors: &[f32], ids: &[i64], drawn: &[f32]) -> Self {
        Self {
            vectors: vectors.to_vec(),
            ids: ids.to_vec(),
            drawn: drawn.to_vec(),
            counts: vec![ids.len()],
            first: 0,
        }
    }

    /// The same with those of all other ranks.
    ///
    /// # Collective
    /// Every rank.
    pub(super) fn gather(self, comm: &dyn Comm) -> Result<Self, CommError> {
        if comm.size() == 1 {
            return Ok(self);
        }
        let mut all = Self::default();
        all.counts = comm.all_gather(&self.ids, &mut all.ids)?;
        comm.all_gather(&self.drawn, &mut all.drawn)?;
        comm.all_gather(&self.vectors, &mut all.vectors)?;
        all.first = all.counts[..comm.rank()].iter().sum();
        Ok(all)
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Positions of the items that there are several of.
    pub(super) fn repeated(&self) -> HashMap<i64, Vec<usize>> {
        let mut positions: HashMap<i64, Vec<usize>> = HashMap::with_capacity(self.len());
        for (at, id) in self.ids.iter().enumerate() {
            positions.entry(*id).or_default().push(at);
        }
        positions.retain(|_, places| places.len() > 1);
        positions
    }

    /// As the products take them, with `bias` [C] added to their scores.
    pub(super) fn pack(&self, bias: &[f32]) -> Packed {
        let count = self.len();
        let width = self.vectors.len().checked_div(count).unwrap_or(0);
        let vectors = self.vectors.par_chunks((CHUNK * width).max(1));
        let chunks = vectors.zip(bias.par_chunks(CHUNK)).map(|(vectors, bias)| {
            let mut columns = Panels::zeros(width, bias.len());
            let panels = columns.values_mut().chunks_exact_mut((width * PANEL).max(1));
            panels.enumerate().for_each(|(at, panel)| transpose_panel(vectors, at * PANEL, panel));
            let mut rows = Panels::zeros(bias.len(), width);
            rows.write_rows(vectors, width);
            let mut bias = bias.to_vec();
            bias.resize(bias.len().next_multiple_of(PANEL), ABSENT);
            Chunk { columns, rows, bias }
        });
        Packed { chunks: chunks.collect(), count, width }
    }
}

/// The sum over ranks of the gradients of this rank's candidates, [own, E], given those that this rank
/// found for everybody's, [C, E].
///
/// # Collective
/// Every rank.
///
/// # Determinism
/// Sums are taken in rank order.
pub(super) fn return_gradients(
    comm: &dyn Comm,
    all: Vec<f32>,
    counts: &[usize],
    width: usize,
) -> Result<Vec<f32>, CommError> {
    if comm.size() == 1 || counts.len() == 1 {
        return Ok(all);
    }
    let send: Vec<usize> = counts.iter().map(|count| count * width).collect();
    let own = send[comm.rank()];
    let mut received = vec![0.0; own * comm.size()];
    comm.all_to_all_known(&all, &send, &mut received, &vec![own; comm.size()])?;
    let mut parts = received.chunks_exact(own.max(1));
    let mut sum = parts.next().map_or_else(Vec::new, <[f32]>::to_vec);
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    Ok(sum)
}
