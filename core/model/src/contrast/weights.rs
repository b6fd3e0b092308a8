//! What the objectives make of scores, chunk by chunk.

use super::RetrievalObjective;
use super::block::{ABSENT, CHUNK, Packed, Query};
use crate::kernel::{self, Level, PANEL, Panels, vectorised};

/// What a row's weights are multiplied by, and how much its own item pulls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    pub(super) scale: f32,
    pub(super) own: f32,
}

/// What is known of a block's rows while their chunks come by.
///
/// Softmax needs each row's greatest score before the first exponential, and would have to see all
/// scores twice. Instead exponentials are taken below the greatest so far, and what was summed up
/// before shrinks whenever a greater score comes (Milakov, Gimelshein, "Online normalizer calculation
/// for softmax", 2018).
#[derive(Debug)]
pub(super) struct Weights {
    objective: RetrievalObjective,
    /// Score of each row's own item.
    owns: Vec<f32>,
    /// For each row, sixteen partial losses; those of softmax are sums of exponentials.
    losses: Vec<[f32; PANEL]>,
    /// For each row, sixteen partial sums of weights.
    totals: Vec<[f32; PANEL]>,
    /// For each row, the greatest score so far; 0 unless exponentials are taken below it.
    greatest: Vec<f32>,
    /// The greatest scores that each chunk's weights are below: of each chunk \[R\].
    below: Vec<Vec<f32>>,
    /// For each row, the greatest of sixteen columns.
    maxima: Vec<[f32; PANEL]>,
}

impl Weights {
    pub(super) fn new(objective: RetrievalObjective, rows: usize, chunks: usize) -> Self {
        Self {
            objective,
            owns: vec![0.0; rows],
            losses: vec![[0.0; PANEL]; rows],
            totals: vec![[0.0; PANEL]; rows],
            greatest: vec![0.0; rows],
            below: vec![vec![0.0; rows]; chunks],
            maxima: vec![[0.0; PANEL]; rows],
        }
    }

    /// Before the first chunk of a block.
    pub(super) fn begin(&mut self, level: Level, queries: &[Query<'_>], candidates: &Packed) {
        self.losses.fill([0.0; PANEL]);
        self.totals.fill([0.0; PANEL]);
        if self.objective == RetrievalObjective::Softmax {
            // The scores of own items come with their chunks.
            self.greatest.fill(f32::NEG_INFINITY);
            return;
        }
        let mut item = vec![0.0; candidates.width];
        for (own, query) in self.owns.iter_mut().zip(queries) {
            let chunk = &candidates.chunks[query.own / CHUNK];
            chunk.rows.read_row(query.own % CHUNK, &mut item);
            *own = kernel::dot(level, query.vector, &item) + chunk.bias[query.own % CHUNK];
        }
    }

    /// Makes weights of the scores of chunk `at`, and brings `gradient`, the sum over the chunks before,
    /// to their scale.
    pub(super) fn weigh(
        &mut self,
        level: Level,
        (queries, at): (&[Query<'_>], usize),
        scores: &mut Panels,
        gradient: &mut Panels,
    ) {
        self.leave_out((queries, at), scores);
        let padded = queries.len().next_multiple_of(kernel::ROW_TILE);
        match self.objective {
            RetrievalObjective::Softmax => self.softmax(level, padded, scores, gradient),
            RetrievalObjective::Bpr => {
                for panel in scores.lines_mut(padded) {
                    pairwise(level, panel, &self.owns, &mut self.losses, &mut self.totals);
                }
            }
            RetrievalObjective::Ccl { margin, .. } => {
                for panel in scores.lines_mut(padded) {
                    beyond(level, panel, margin, &mut self.losses);
                }
            }
            RetrievalObjective::Pairs => unreachable!("pairs have no candidates"),
        }
        self.below[at].copy_from_slice(&self.greatest);
    }

    /// Gives what no query has in chunk `at` the score [`ABSENT`].
    fn leave_out(&mut self, (queries, at): (&[Query<'_>], usize), scores: &mut Panels) {
        let (first, rows) = (at * CHUNK, scores.rows());
        let place = |row: usize, candidate: usize| {
            let column = candidate - first;
            (column / PANEL * rows + row) * PANEL + column % PANEL
        };
        for (row, query) in queries.iter().enumerate() {
            let from = query.absent.partition_point(|candidate| *candidate < first);
            for &absent in query.absent[from..].iter().take_while(|at| **at < first + CHUNK) {
                scores.values_mut()[place(row, absent)] = ABSENT;
            }
            if query.own / CHUNK != at {
                continue;
            }
            let own = &mut scores.values_mut()[place(row, query.own)];
            if self.objective == RetrievalObjective::Softmax {
                // As the sum has it, to the bit: the loss of a certain answer is 0, not below.
                self.owns[row] = *own;
            } else {
                // Not among the others.
                *own = ABSENT;
            }
        }
    }

    fn softmax(&mut self, level: Level, rows: usize, scores: &mut Panels, gradient: &mut Panels) {
        let Self { losses, greatest, maxima, .. } = self;
        maxima.fill([f32::NEG_INFINITY; PANEL]);
        for panel in scores.lines(rows) {
            raise(level, panel, maxima);
        }
        for (row, (greatest, maxima)) in greatest.iter_mut().zip(maxima).enumerate().take(rows) {
            let raised =
                maxima.iter().fold(*greatest, |most, at| if *at > most { *at } else { most });
            if raised > *greatest {
                let shrink = exponential(*greatest - raised);
                losses[row].iter_mut().for_each(|sum| *sum *= shrink);
                gradient.scale_row(row, shrink);
                *greatest = raised;
            }
        }
        for panel in scores.lines_mut(rows) {
            exponentials(level, panel, greatest, losses);
        }
    }

    /// After the last chunk of a block: the losses of its queries, which have `count` candidates with
    /// their own.
    pub(super) fn end(
        &self,
        (queries, count): (&[Query<'_>], usize),
        losses: &mut [f32],
    ) -> Vec<Pull> {
        let pull = |(row, query): (usize, &Query<'_>)| {
            let weight = query.weight;
            let sum: f32 = self.losses[row].iter().sum();
            let others = (count - 1 - query.absent.len()).max(1) as f32;
            let (loss, scale, own) = match self.objective {
                RetrievalObjective::Softmax => {
                    let loss = sum.ln() + self.greatest[row] - self.owns[row];
                    (weight * loss, weight / sum, weight)
                }
                RetrievalObjective::Bpr => {
                    let scale = weight / others;
                    (scale * sum, scale, scale * self.totals[row].iter().sum::<f32>())
                }
                RetrievalObjective::Ccl { negative_weight, .. } => {
                    let scale = weight * negative_weight / others;
                    (weight * (1.0 - self.owns[row]) + scale * sum, scale, weight)
                }
                RetrievalObjective::Pairs => unreachable!("pairs have no candidates"),
            };
            losses[row] = loss;
            Pull { scale, own }
        };
        queries.iter().enumerate().map(pull).collect()
    }

    /// What the weights of chunk `at` in `row` are multiplied by, in the end.
    pub(super) fn scale(&self, at: usize, row: usize, pull: Pull) -> f32 {
        pull.scale * exponential(self.below[at][row] - self.greatest[row])
    }
}

/// e to the power of `x`, which is 0 or less, to 2 units in the last place; 0 below -87. NaN stays NaN.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; adding and subtracting 1.5 * 2^23 rounds to a whole n.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, of which the first has few bits, so that its product with n is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    // Minimax for exp(r) on that interval.
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let p = p * (r * r) + r + 1.0;
    // n stands in the lowest bits of the rounded sum: shifted to the exponent, whose bias is 127, it is
    // 2 to the n, for whatever is not below -87.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
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
                // Not by a comparison, which would become a store of some lanes: those are slow. NaN
                // is passed over here, and shows in the exponentials.
                *lane = lane.max(*score);
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
