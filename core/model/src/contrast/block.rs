//! The objectives over one block of queries and all candidates.
//!
//! Candidates come in chunks. A chunk's scores are one matrix product; what the objective makes of
//! them ([`Weights`]) are the weights of two more products, which give the gradients of queries and
//! candidates. The scores of a chunk stay in the second cache of the core that computes them until the
//! queries' gradient is done with them, and no gradient of a score is written out.

use super::RetrievalObjective;
use super::weights::{Pull, Weights};
use crate::kernel::{self, Around, Finish, Level, PANEL, Panels, Start, Write};

/// The score of what is no candidate: far below every score, and far from overflow.
pub(super) const ABSENT: f32 = -1e30;

/// Candidates of a chunk, whole panels: with 128 queries of 64 values 128 KB of scores, and as much of
/// vectors.
pub(super) const CHUNK: usize = 256;

/// All candidates of a step, as the products take them.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) chunks: Vec<Chunk>,
    /// Number of candidates.
    pub(super) count: usize,
    /// Values of a vector.
    pub(super) width: usize,
}

/// Some candidates, [`CHUNK`] of them unless they are the last.
#[derive(Debug)]
pub(super) struct Chunk {
    /// [E, C].
    pub(super) columns: Panels,
    /// [C, E].
    pub(super) rows: Panels,
    /// What is added to the scores of each: \[C\], and [`ABSENT`] up to whole panels.
    pub(super) bias: Vec<f32>,
}

/// A query of a block.
#[derive(Clone, Debug)]
pub(super) struct Query<'a> {
    /// Its vector over the temperature: \[E\].
    pub(super) vector: &'a [f32],
    /// Position of its own item among the candidates.
    pub(super) own: usize,
    /// What it counts.
    pub(super) weight: f32,
    /// Positions of candidates that it leaves out, in rising order, its own item not among them.
    pub(super) absent: &'a [usize],
}

/// Room for a block.
#[derive(Debug)]
pub(super) struct Scratch {
    /// [R, E].
    queries: Panels,
    /// Of each chunk, [R, C]: scores, then the weights that the objective makes of them.
    scores: Vec<Panels>,
    /// [R, E].
    gradient: Panels,
    weights: Weights,
    /// Queries on their way to panels: [R, E].
    room: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(objective: RetrievalObjective, rows: usize, candidates: &Packed) -> Self {
        let chunks = candidates.chunks.iter();
        Self {
            queries: Panels::zeros(rows, candidates.width),
            scores: chunks.map(|chunk| Panels::zeros(rows, chunk.rows.rows())).collect(),
            gradient: Panels::zeros(rows, candidates.width),
            weights: Weights::new(objective, rows, candidates.chunks.len()),
            room: vec![0.0; rows * candidates.width],
        }
    }

    /// Takes the queries over to panels, each times `scale` of its place.
    fn write_queries(&mut self, queries: &[Query<'_>], scale: impl Fn(usize) -> f32) {
        let width = self.queries.columns();
        let room = &mut self.room[..queries.len() * width];
        for ((at, query), room) in queries.iter().enumerate().zip(room.chunks_exact_mut(width)) {
            let scale = scale(at);
            room.iter_mut().zip(query.vector).for_each(|(room, value)| *room = scale * value);
        }
        self.queries.write_rows(room, width);
    }
}

/// Sums of the candidates' gradients as [`contrast`] wants them: of each chunk [C rounded up to 8, E].
pub(super) fn sums_for(candidates: &Packed) -> Vec<Panels> {
    let rows = |chunk: &Chunk| chunk.rows.rows().next_multiple_of(kernel::ROW_TILE);
    candidates.chunks.iter().map(|chunk| Panels::zeros(rows(chunk), candidates.width)).collect()
}

/// Losses \[rows\] of `queries`, and the derivatives of their sum: by the vectors of the queries as
/// given, [rows, E] into `gradients`, and by those of the candidates into `sums`, which are replaced or
/// added to.
pub(super) fn contrast(
    (queries, candidates): (&[Query<'_>], &Packed),
    scratch: &mut Scratch,
    (losses, gradients): (&mut [f32], &mut [f32]),
    (sums, write): (&mut [Panels], Write),
) {
    let level = Level::best();
    let padded = queries.len().next_multiple_of(kernel::ROW_TILE);
    scratch.write_queries(queries, |_| 1.0);
    scratch.weights.begin(level, queries, candidates);
    for (at, chunk) in candidates.chunks.iter().enumerate() {
        let Scratch { queries: vectors, scores, gradient, weights, .. } = &mut *scratch;
        let around = Around { start: Start::Bias(&chunk.bias), finish: Finish::Keep };
        kernel::multiply(level, padded, [vectors, &chunk.columns], &mut scores[at], around);
        weights.weigh(level, (queries, at), &mut scores[at], gradient);
        let start = if at == 0 { Start::Zero } else { Start::Result };
        let around = Around { start, finish: Finish::Keep };
        kernel::multiply(level, padded, [&scores[at], &chunk.rows], gradient, around);
    }
    let pulls = scratch.weights.end((queries, candidates.count), losses);
    scratch.gradient.read_rows(gradients, candidates.width);
    for (at, sum) in sums.iter_mut().enumerate() {
        // The weights' scale moves to the queries, which are fewer.
        let scales: Vec<f32> = pulls
            .iter()
            .enumerate()
            .map(|(row, pull)| scratch.weights.scale(at, row, *pull))
            .collect();
        scratch.write_queries(queries, |row| scales[row]);
        let operands = [&scratch.scores[at], &scratch.queries];
        kernel::multiply_transposed(level, padded, operands, sum, write);
    }
    let lines = gradients.chunks_exact_mut(candidates.width);
    for ((query, pull), gradient) in queries.iter().zip(&pulls).zip(lines) {
        pull_own(
            query,
            *pull,
            &candidates.chunks[query.own / CHUNK],
            gradient,
            &mut sums[query.own / CHUNK],
        );
    }
}

/// Ends a row's gradients: scales that of the query, and subtracts what the own item, which is in
/// `chunk`, pulls.
fn pull_own(query: &Query<'_>, pull: Pull, chunk: &Chunk, gradient: &mut [f32], sums: &mut Panels) {
    let own = query.own % CHUNK;
    for (gradient, item) in gradient.chunks_mut(PANEL).zip(chunk.rows.row(own)) {
        for (gradient, item) in gradient.iter_mut().zip(item) {
            *gradient = pull.scale * *gradient - pull.own * item;
        }
    }
    for (sum, vector) in sums.row_mut(own).zip(query.vector.chunks(PANEL)) {
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum -= pull.own * value;
        }
    }
}
