//! Measuring which effort reaches which recall.

use std::collections::BTreeMap;

use rayon::prelude::*;
use rectool_base::Stream;

use super::progress::Progress;
use crate::error::AnnError;
use crate::file::{IndexKind, OperatingPoint, PartWriter};
use crate::graph;
use crate::part::Part;
use crate::search::{self, Reach, Scratch, Selection};
use crate::vectors::Vectors;

/// Cost of one candidate's comparison, in codes scanned: a cache line from memory against 16 bytes
/// that were asked for ahead. An estimate.
const CANDIDATE_COST: usize = 24;

/// How efforts are measured.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneOptions {
    /// Queries that are answered exactly and by search.
    pub queries: usize,
    /// Recalls for which the cheapest effort is sought, in rising order.
    pub targets: Vec<f64>,
    /// Seed of the choice of queries.
    pub seed: u64,
}

impl Default for TuneOptions {
    fn default() -> Self {
        let targets = vec![0.80, 0.85, 0.90, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998];
        Self { queries: 768, targets, seed: 1 }
    }
}

/// Results whose recall is measured.
const K: usize = 10;

/// Measures the efforts of a part again, for queries like `queries`, and writes the part anew.
///
/// # Errors
/// If queries do not fit the part, or it cannot be written.
pub fn retune(
    part: &Part,
    queries: Option<&Vectors<'_>>,
    options: &TuneOptions,
    progress: &dyn Progress,
) -> Result<Vec<OperatingPoint>, AnnError> {
    let curve = tune(part, queries, options, progress)?;
    let meta = crate::file::Meta { curve: curve.clone(), ..part.meta.clone() };
    let mut writer = PartWriter::copy_of(part.sections())?;
    writer.seal(&meta)?;
    writer.publish()?;
    Ok(curve)
}

/// The cheapest effort found for each target, without those that reach no more than a cheaper one.
pub(super) fn tune(
    part: &Part,
    queries: Option<&Vectors<'_>>,
    options: &TuneOptions,
    progress: &dyn Progress,
) -> Result<Vec<OperatingPoint>, AnnError> {
    if part.kind() == IndexKind::Flat || part.rows() == 0 {
        return Ok(Vec::new());
    }
    progress.stage("tuning", options.targets.len() + 1);
    let sample = sample(part, queries, options);
    let truth = search::search_all(part, &sample, K)?;
    progress.advance(1);
    let mut tuner = Tuner { part, sample: &sample, truth: &truth, known: BTreeMap::new() };
    let mut curve: Vec<OperatingPoint> = Vec::new();
    for target in &options.targets {
        let point = match part.kind() {
            IndexKind::Graph => tuner.narrowest(*target)?,
            _ => tuner.cheapest(*target)?,
        };
        progress.advance(1);
        if let Some(point) = point
            && curve.last().is_none_or(|last| last.recall < point.recall)
        {
            curve.push(point);
        }
    }
    Ok(curve)
}

/// The efforts measured for `former`, for a part of `rows` vectors in `leaves` leaves that is to take
/// its place; none if it has more than twice as many or fewer than half.
pub(crate) fn taken_over(former: &Part, rows: usize, leaves: usize) -> Vec<OperatingPoint> {
    if !(former.rows() / 2..=former.rows() * 2).contains(&rows) {
        return Vec::new();
    }
    let scaled = |point: &OperatingPoint| {
        let wanted = (point.leaves * leaves).div_ceil(former.leaves().max(1));
        OperatingPoint { leaves: wanted.clamp(1, leaves), ..*point }
    };
    former.curve().iter().map(scaled).collect()
}

fn sample(part: &Part, queries: Option<&Vectors<'_>>, options: &TuneOptions) -> Vec<f32> {
    let from = queries.map_or(part.rows(), Vectors::rows);
    let mut stream = Stream::new(options.seed, &[3]);
    let mut out = Vec::new();
    for _ in 0..options.queries.min(from) {
        let row = stream.below(from as u64) as usize;
        match queries {
            Some(queries) => out.extend_from_slice(queries.row(row)),
            None => out.extend(part.vector(row).unwrap_or_default()),
        }
    }
    out
}

/// Candidates tried, from few to many.
const CANDIDATES: [usize; 9] = [20, 40, 60, 100, 160, 250, 400, 800, 1600];

/// Leaves that a search of a graph is tried to start in.
const STARTS: [usize; 4] = [16, 64, 128, 256];
/// Cost of starting in one leaf, in rows compared one after another.
const START_COST: usize = 2;
/// The widest beam tried.
const WIDTH_MAX: usize = 4096;

struct Tuner<'a> {
    part: &'a Part,
    sample: &'a [f32],
    truth: &'a [Vec<u32>],
    known: BTreeMap<(usize, usize), f64>,
}

impl Tuner<'_> {
    /// The cheapest effort that reaches a recall, if one does.
    fn cheapest(&mut self, target: f64) -> Result<Option<OperatingPoint>, AnnError> {
        let leaves = self.part.leaves();
        let per_leaf = 1 + 2 * self.part.rows() / leaves.max(1);
        let mut best: Option<(usize, OperatingPoint)> = None;
        for candidates in CANDIDATES {
            let cost = |leaves: usize| leaves * per_leaf + candidates * CANDIDATE_COST;
            let limit = match &best {
                Some((cost, _)) => cost.saturating_sub(candidates * CANDIDATE_COST) / per_leaf,
                None => leaves,
            };
            let limit = limit.min(leaves);
            // The leaves of a search that would be cheaper than the best so far must be enough.
            if limit == 0 || self.recall(limit, candidates)? < target {
                continue;
            }
            let (mut low, mut high) = (0, limit);
            // To within 3 %: finer steps drown in the sampling of queries.
            while high - low > 1 + high / 32 {
                let middle = low.midpoint(high);
                if self.recall(middle, candidates)? < target { low = middle } else { high = middle }
            }
            let recall = self.recall(high, candidates)?;
            if best.as_ref().is_none_or(|(least, _)| cost(high) < *least) {
                best = Some((cost(high), OperatingPoint { recall, leaves: high, candidates }));
            }
        }
        Ok(best.map(|(_, point)| point))
    }

    /// The cheapest start and width of a graph's beam that reaches a recall, if some do that cost less
    /// than comparing every vector.
    fn narrowest(&mut self, target: f64) -> Result<Option<OperatingPoint>, AnnError> {
        let (rows, leaves) = (self.part.rows(), self.part.leaves());
        let step = graph::step_cost(self.part.meta.degree);
        let mut best: Option<(usize, OperatingPoint)> = None;
        for starts in STARTS.map(|starts| starts.min(leaves)) {
            let cost = |width: usize| width * step + starts * START_COST;
            let most = best.as_ref().map_or(rows, |(cost, _)| *cost);
            let limit = (most.saturating_sub(starts * START_COST) / step).min(WIDTH_MAX);
            if limit <= K || self.recall(starts, limit)? < target {
                continue;
            }
            let (mut low, mut high) = (K - 1, limit);
            while high - low > 1 + high / 32 {
                let middle = low.midpoint(high);
                if self.recall(starts, middle)? < target { low = middle } else { high = middle }
            }
            let recall = self.recall(starts, high)?;
            if best.as_ref().is_none_or(|(least, _)| cost(high) < *least) {
                let point = OperatingPoint { recall, leaves: starts, candidates: high };
                best = Some((cost(high), point));
            }
        }
        Ok(best.map(|(_, point)| point))
    }

    fn recall(&mut self, leaves: usize, candidates: usize) -> Result<f64, AnnError> {
        if let Some(known) = self.known.get(&(leaves, candidates)) {
            return Ok(*known);
        }
        let (part, dim) = (self.part, self.part.dim());
        let selection = Selection::all(part.rows());
        let reach = Reach { leaves, candidates };
        let hits: Result<Vec<usize>, AnnError> = self
            .sample
            .par_chunks_exact(dim)
            .zip(self.truth)
            .map_init(Scratch::default, |scratch, (query, truth)| {
                let found = scratch.found_at(part, query, &selection, (reach, K))?;
                let found = found.iter().take(K);
                Ok(found.filter(|(_, row)| truth.contains(row)).count())
            })
            .collect();
        let recall = recall_of(&hits?, self.truth);
        self.known.insert((leaves, candidates), recall);
        Ok(recall)
    }
}

/// The share of `truth` that was hit, less one standard error: what the sample promises.
fn recall_of(hits: &[usize], truth: &[Vec<u32>]) -> f64 {
    let all: usize = truth.iter().map(Vec::len).sum();
    let mean = hits.iter().sum::<usize>() as f64 / all.max(1) as f64;
    let square =
        |(hits, truth): (&usize, &Vec<u32>)| (*hits as f64 - mean * truth.len() as f64).powi(2);
    let squares: f64 = hits.iter().zip(truth).map(square).sum();
    mean - squares.sqrt() / all.max(1) as f64
}
