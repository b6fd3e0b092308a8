//! The objectives over one block of queries and all candidates.
//!
//! A block's scores are one matrix product; what the objective makes of them are the weights of two
//! more products, which give the gradients of queries and candidates. Scores never leave the cache
//! of the core that computes them, and no gradient of a score is written out.

use super::RetrievalObjective;
use crate::kernel::{self, Around, Finish, Level, PANEL, Panels, Start, Write, vectorised};

/// The score of what is no candidate: far below every score, and far from overflow.
pub(super) const ABSENT: f32 = -1e30;

/// All candidates of a step, as the products take them.
#[derive(Debug)]
pub(super) struct Packed {
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
    /// Positions of candidates that it leaves out, its own item not among them.
    pub(super) absent: &'a [usize],
}

/// Room for a block.
#[derive(Debug)]
pub(super) struct Scratch {
    /// [R, E].
    queries: Panels,
    /// [R, C]: scores, then the weights that the objective makes of them.
    scores: Panels,
    /// [R, E].
    gradient: Panels,
    /// For each row, sixteen partial results.
    lanes: Vec<[f32; PANEL]>,
}

/// What a row's weights are multiplied by, and how much its own item pulls.
#[derive(Clone, Copy, Debug)]
struct Pull {
    scale: f32,
    own: f32,
}

impl Scratch {
    pub(super) fn new(rows: usize, width: usize, candidates: usize) -> Self {
        Self {
            queries: Panels::zeros(rows, width),
            scores: Panels::zeros(rows, candidates),
            gradient: Panels::zeros(rows, width),
            lanes: vec![[0.0; PANEL]; rows],
        }
    }
}

/// Losses \[rows\] of `queries`, and the derivatives of their sum: by the vectors of the queries as
/// given, [rows, E] into `gradients`, and by those of the candidates, [C rounded up to 8, E] into `sums`, which is
/// replaced or added to.
pub(super) fn contrast(
    objective: RetrievalObjective,
    (queries, candidates): (&[Query<'_>], &Packed),
    scratch: &mut Scratch,
    (losses, gradients): (&mut [f32], &mut [f32]),
    (sums, write): (&mut Panels, Write),
) {
    let level = Level::best();
    let width = candidates.rows.columns();
    score(level, queries, candidates, scratch, gradients);
    let pulls = match objective {
        RetrievalObjective::Softmax => softmax(level, queries, scratch, losses),
        RetrievalObjective::Bpr => bpr(level, queries, scratch, losses),
        RetrievalObjective::Ccl { margin, negative_weight } => {
            ccl(level, queries, scratch, losses, (margin, negative_weight))
        }
        RetrievalObjective::Pairs => unreachable!("pairs have no candidates"),
    };
    let padded = queries.len().next_multiple_of(kernel::ROW_TILE);
    let around = Around { start: Start::Zero, finish: Finish::Keep };
    let operands = [&scratch.scores, &candidates.rows];
    kernel::multiply(level, padded, operands, &mut scratch.gradient, around);
    scratch.gradient.read_rows(&mut gradients[..queries.len() * width], width);
    // The weights' scale moves to the queries, which are fewer.
    let mut scaled = vec![0.0; queries.len() * width];
    for ((query, pull), scaled) in queries.iter().zip(&pulls).zip(scaled.chunks_exact_mut(width)) {
        for (scaled, value) in scaled.iter_mut().zip(query.vector) {
            *scaled = pull.scale * value;
        }
    }
    scratch.queries.write_rows(&scaled, width);
    let operands = [&scratch.scores, &scratch.queries];
    kernel::multiply_transposed(level, padded, operands, sums, write);
    for (at, (query, pull)) in queries.iter().zip(&pulls).enumerate() {
        let gradient = &mut gradients[at * width..(at + 1) * width];
        pull_own(query, *pull, candidates, gradient, sums);
    }
}

/// Ends a row's gradients: scales that of the query, and subtracts what the own item pulls.
fn pull_own(
    query: &Query<'_>,
    pull: Pull,
    candidates: &Packed,
    gradient: &mut [f32],
    sums: &mut Panels,
) {
    let (count, sum_rows) = (candidates.rows.rows(), sums.rows());
    for (at, gradient) in gradient.iter_mut().enumerate() {
        let (panel, lane) = (at / PANEL, at % PANEL);
        let item = candidates.rows.values()[(panel * count + query.own) * PANEL + lane];
        *gradient = pull.scale * *gradient - pull.own * item;
        let sum = &mut sums.values_mut()[(panel * sum_rows + query.own) * PANEL + lane];
        *sum -= pull.own * query.vector[at];
    }
}

/// Writes all scores; what a query leaves out scores [`ABSENT`]. `room` is overwritten.
fn score(
    level: Level,
    queries: &[Query<'_>],
    candidates: &Packed,
    scratch: &mut Scratch,
    room: &mut [f32],
) {
    let width = candidates.rows.columns();
    let room = &mut room[..queries.len() * width];
    for (query, room) in queries.iter().zip(room.chunks_exact_mut(width)) {
        room.copy_from_slice(query.vector);
    }
    scratch.queries.write_rows(room, width);
    let padded = queries.len().next_multiple_of(kernel::ROW_TILE);
    let around = Around { start: Start::Bias(&candidates.bias), finish: Finish::Keep };
    let operands = [&scratch.queries, &candidates.columns];
    kernel::multiply(level, padded, operands, &mut scratch.scores, around);
    for (row, query) in queries.iter().enumerate() {
        for &absent in query.absent {
            *score_mut(&mut scratch.scores, row, absent) = ABSENT;
        }
    }
}

fn score_mut(scores: &mut Panels, row: usize, candidate: usize) -> &mut f32 {
    let place = place(scores.rows(), row, candidate);
    &mut scores.values_mut()[place]
}

fn place(rows: usize, row: usize, candidate: usize) -> usize {
    (candidate / PANEL * rows + row) * PANEL + candidate % PANEL
}

/// Candidates besides its own item that a query has.
fn others(query: &Query<'_>, candidates: usize) -> f32 {
    (candidates - 1 - query.absent.len()) as f32
}

fn softmax(
    level: Level,
    queries: &[Query<'_>],
    scratch: &mut Scratch,
    losses: &mut [f32],
) -> Vec<Pull> {
    let rows = scratch.scores.rows();
    let owns: Vec<f32> = own_scores(queries, scratch);
    let Scratch { scores, lanes, .. } = scratch;
    lanes.fill([f32::NEG_INFINITY; PANEL]);
    for panel in scores.values().chunks_exact(rows * PANEL) {
        raise(level, panel, lanes);
    }
    let greatest: Vec<f32> =
        lanes.iter().map(|lanes| lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect();
    lanes.fill([0.0; PANEL]);
    for panel in scores.values_mut().chunks_exact_mut(rows * PANEL) {
        exponentials(level, panel, &greatest, lanes);
    }
    let mut pulls = Vec::with_capacity(queries.len());
    for (at, query) in queries.iter().enumerate() {
        let sum: f32 = lanes[at].iter().sum();
        losses[at] = query.weight * (sum.ln() + greatest[at] - owns[at]);
        pulls.push(Pull { scale: query.weight / sum, own: query.weight });
    }
    pulls
}

fn bpr(
    level: Level,
    queries: &[Query<'_>],
    scratch: &mut Scratch,
    losses: &mut [f32],
) -> Vec<Pull> {
    let count = scratch.scores.columns();
    let owns = own_scores(queries, scratch);
    let mut sums = vec![[0.0; PANEL]; scratch.lanes.len()];
    for (row, query) in queries.iter().enumerate() {
        // Not among the others.
        *score_mut(&mut scratch.scores, row, query.own) = ABSENT;
    }
    let padded: Vec<f32> =
        (0..scratch.lanes.len()).map(|at| owns.get(at).copied().unwrap_or(0.0)).collect();
    let Scratch { scores, lanes, .. } = scratch;
    lanes.fill([0.0; PANEL]);
    let rows = scores.rows();
    for panel in scores.values_mut().chunks_exact_mut(rows * PANEL) {
        pairwise(level, panel, &padded, lanes, &mut sums);
    }
    let pull = |(at, query): (usize, &Query<'_>)| {
        let scale = query.weight / others(query, count).max(1.0);
        losses[at] = scale * lanes[at].iter().sum::<f32>();
        Pull { scale, own: scale * sums[at].iter().sum::<f32>() }
    };
    queries.iter().enumerate().map(pull).collect()
}

fn ccl(
    level: Level,
    queries: &[Query<'_>],
    scratch: &mut Scratch,
    losses: &mut [f32],
    (margin, negative_weight): (f32, f32),
) -> Vec<Pull> {
    let count = scratch.scores.columns();
    let owns = own_scores(queries, scratch);
    for (row, query) in queries.iter().enumerate() {
        *score_mut(&mut scratch.scores, row, query.own) = ABSENT;
    }
    let Scratch { scores, lanes, .. } = scratch;
    lanes.fill([0.0; PANEL]);
    let rows = scores.rows();
    for panel in scores.values_mut().chunks_exact_mut(rows * PANEL) {
        beyond(level, panel, margin, lanes);
    }
    let pull = |(at, query): (usize, &Query<'_>)| {
        let scale = query.weight * negative_weight / others(query, count).max(1.0);
        losses[at] = query.weight * (1.0 - owns[at]) + scale * lanes[at].iter().sum::<f32>();
        Pull { scale, own: query.weight }
    };
    queries.iter().enumerate().map(pull).collect()
}

fn own_scores(queries: &[Query<'_>], scratch: &Scratch) -> Vec<f32> {
    let rows = scratch.scores.rows();
    let own =
        |(row, query): (usize, &Query<'_>)| scratch.scores.values()[place(rows, row, query.own)];
    queries.iter().enumerate().map(own).collect()
}

/// e to the power of `x`, which is 0 or less, to 2 units in the last place; 0 below -87. NaN stays NaN.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; adding and subtracting 1.5 * 2^23 rounds to a whole n.
    const ROUND: f32 = 12_582_912.0;
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    // ln 2 in two parts, of which the first has few bits, so that its product with n is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    // Minimax for exp(r) on that interval.
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let p = p * (r * r) + r + 1.0;
    // Below -87 the power of 2 would leave the normal numbers: the clamp keeps its bits sound.
    let power = f32::from_bits((((n.max(-127.0) as i32) + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { p * power }
}

/// ln(1 + x) for x from 0 to 1, to 2 units in the last place.
#[expect(clippy::inline_always, reason = "must take its caller's instructions")]
#[inline(always)]
fn logarithm_1p(x: f32) -> f32 {
    // ln((1 + s) / (1 - s)) with s up to 1/3, as the series of the inverse hyperbolic tangent.
    let s = x / (2.0 + x);
    let square = s * s;
    let mut p = 1.0 / 11.0;
    for odd in [9.0, 7.0, 5.0, 3.0] {
        p = p * square + 1.0 / odd;
    }
    2.0 * (s + s * square * p)
}

vectorised! {
    /// Raises each row's lanes to the greatest score of its line.
    fn raise(panel: &[f32], lanes: &mut [[f32; PANEL]]) {
        for (line, lanes) in panel.chunks_exact(PANEL).zip(lanes) {
            for (lane, score) in lanes.iter_mut().zip(line) {
                *lane = if *score > *lane { *score } else { *lane };
            }
        }
    }
}

vectorised! {
    /// Replaces each score by e to the power of what it is below its row's greatest, and adds to the
    /// row's lanes.
    fn exponentials(panel: &mut [f32], greatest: &[f32], lanes: &mut [[f32; PANEL]]) {
        let lines = panel.chunks_exact_mut(PANEL).zip(greatest).zip(lanes);
        for ((line, greatest), lanes) in lines {
            for (lane, score) in lanes.iter_mut().zip(line) {
                *score = exponential(*score - greatest);
                *lane += *score;
            }
        }
    }
}

vectorised! {
    /// Replaces each score s⁻ by the derivative of ln(1 + exp(s⁻ - s⁺)); adds the values to `losses` and
    /// the derivatives to `sums`. What is absent becomes 0 in both.
    fn pairwise(
        panel: &mut [f32],
        owns: &[f32],
        losses: &mut [[f32; PANEL]],
        sums: &mut [[f32; PANEL]],
    ) {
        let lines = panel.chunks_exact_mut(PANEL).zip(owns).zip(losses.iter_mut().zip(sums));
        for ((line, own), (losses, sums)) in lines {
            for ((score, loss), sum) in line.iter_mut().zip(losses.iter_mut()).zip(sums.iter_mut()) {
                let above = *score - own;
                let small = exponential(-above.abs());
                let positive = if above < 0.0 { 0.0 } else { above };
                let share = if above < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
                *loss += positive + logarithm_1p(small);
                *score = share;
                *sum += share;
            }
        }
    }
}

vectorised! {
    /// Replaces each score by the derivative of max(0, score - margin) and adds the values to the lanes.
    fn beyond(panel: &mut [f32], margin: f32, lanes: &mut [[f32; PANEL]]) {
        for (line, lanes) in panel.chunks_exact_mut(PANEL).zip(lanes) {
            for (lane, score) in lanes.iter_mut().zip(line) {
                let above = *score - margin;
                // NaN is neither above nor below: it stays.
                *lane += if above <= 0.0 { 0.0 } else { above };
                *score = if above <= 0.0 { 0.0 } else { 1.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_near_the_library() {
        for at in 0..200_000 {
            let x = -100.0 * at as f32 / 200_000.0;
            let (found, expected) = (exponential(x), f64::from(x).exp());
            if x < -87.0 {
                assert_eq!(found, 0.0);
                continue;
            }
            let error = (f64::from(found) - expected).abs() / expected;
            assert!(error < 3e-7, "exp({x}) = {found}, not {expected}");
        }
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(ABSENT), 0.0);
        assert!(exponential(f32::NAN).is_nan());
        for at in 0..=1_000 {
            let x = at as f32 / 1_000.0;
            let (found, expected) = (f64::from(logarithm_1p(x)), f64::from(x).ln_1p());
            assert!((found - expected).abs() <= 3e-7 * expected, "ln(1 + {x}) = {found}");
        }
    }
}
