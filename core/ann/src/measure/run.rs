//! Timed searches at rising effort.

use std::time::Instant;

use serde::Serialize;

use crate::error::AnnError;
use crate::file::IndexKind;
use crate::live::Index;
use crate::search::{Effort, Hit, Scratch, SearchOptions};
use crate::vectors::Vectors;

/// How an index is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureOptions {
    /// Results whose recall is measured.
    pub k: usize,
    /// Queries at most: exact results cost a scan of all vectors each.
    pub queries_max: usize,
    /// Time for each effort's queries one by one, and again in a batch.
    pub seconds: f64,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self { k: 10, queries_max: 2000, seconds: 1.0 }
    }
}

/// One effort, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Leaves scanned of the first part, or started in; 0 where every vector is compared.
    pub leaves: usize,
    /// Candidates of the first part compared with their vectors, or the width of the beam; 0 where
    /// every vector is.
    pub candidates: usize,
    /// Share of the exact results that was found.
    pub recall: f64,
    /// Queries a second, one at a time on one thread.
    pub single_qps: f64,
    /// Median latency of those.
    pub p50_us: f64,
    /// Latency that one of a hundred exceeds.
    pub p99_us: f64,
    /// Queries a second, many at a time on all threads.
    pub batch_qps: f64,
}

impl Measured {
    /// What `leaves` and `candidates` are called in an index of a kind.
    pub fn effort_names(kind: IndexKind) -> [&'static str; 2] {
        if kind == IndexKind::Graph { ["starts", "beam"] } else { ["leaves", "candidates"] }
    }
}

/// Measures every effort of the index's curve, from fast to accurate, as the index is now; a flat one has
/// one effort.
///
/// # Errors
/// If the queries or `k` do not fit.
pub fn measure(
    index: &Index,
    queries: &Vectors<'_>,
    options: &MeasureOptions,
) -> Result<Vec<Measured>, AnnError> {
    if queries.dim() != index.dim() {
        let (found, expected) = (queries.dim(), index.dim().to_string());
        return Err(AnnError::Shape { what: "width of queries", found, expected });
    }
    let count = queries.rows().min(options.queries_max);
    if count == 0 {
        return Ok(Vec::new());
    }
    let values: Vec<f32> = (0..count).flat_map(|row| queries.row(row)).copied().collect();
    let exact = SearchOptions { effort: Effort::Exact, ..SearchOptions::new(options.k) };
    let truth = index.search_batch(&values, &exact)?;
    let truth: Vec<Vec<u64>> =
        truth.iter().map(|hits| hits.iter().map(|hit| hit.id).collect()).collect();
    let curve = index.curve();
    let mut efforts: Vec<(Effort, usize, usize)> = curve
        .iter()
        .map(|point| (Effort::Recall(point.recall), point.leaves, point.candidates))
        .collect();
    if efforts.is_empty() {
        efforts.push((Effort::Exact, 0, 0));
    }
    efforts
        .into_iter()
        .map(|(effort, leaves, candidates)| {
            let asked = SearchOptions { effort, ..SearchOptions::new(options.k) };
            let (recall, batch_qps) = in_batch(index, &values, &truth, (&asked, options.seconds))?;
            let mut times = one_by_one(index, &values, (&asked, options.seconds))?;
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] * 1e6;
            let single_qps = times.len() as f64 / times.iter().sum::<f64>().max(1e-9);
            let (p50_us, p99_us) = (at(0.5), at(0.99));
            Ok(Measured { leaves, candidates, recall, single_qps, p50_us, p99_us, batch_qps })
        })
        .collect()
}

/// Recall, and the queries a second of the best pass.
fn in_batch(
    index: &Index,
    queries: &[f32],
    truth: &[Vec<u64>],
    (options, seconds): (&SearchOptions, f64),
) -> Result<(f64, f64), AnnError> {
    let started = Instant::now();
    let (mut best, mut found): (f64, Vec<Vec<Hit>>) = (f64::INFINITY, Vec::new());
    while found.is_empty() || started.elapsed().as_secs_f64() < seconds {
        let pass = Instant::now();
        found = index.search_batch(queries, options)?;
        best = best.min(pass.elapsed().as_secs_f64());
    }
    let pairs = found.iter().zip(truth);
    let hits = pairs.map(|(hits, truth)| hits.iter().filter(|hit| truth.contains(&hit.id)).count());
    let all: usize = truth.iter().map(Vec::len).sum();
    Ok((hits.sum::<usize>() as f64 / all.max(1) as f64, truth.len() as f64 / best.max(1e-9)))
}

/// The time of each query, in seconds.
fn one_by_one(
    index: &Index,
    queries: &[f32],
    (options, seconds): (&SearchOptions, f64),
) -> Result<Vec<f64>, AnnError> {
    let (mut scratch, mut out, mut times) = (Scratch::default(), Vec::new(), Vec::new());
    let started = Instant::now();
    for query in queries.chunks_exact(index.dim()).cycle() {
        let asked = Instant::now();
        index.search_with(query, options, &mut scratch, &mut out)?;
        times.push(asked.elapsed().as_secs_f64());
        if started.elapsed().as_secs_f64() >= seconds {
            break;
        }
    }
    Ok(times)
}
