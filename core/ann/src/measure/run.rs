//! Timed searches at rising effort.

use std::time::Instant;

use serde::Serialize;

use crate::error::AnnError;
use crate::file::IndexKind;
use crate::part::Part;
use crate::search::{self, Effort, Hit, Scratch, SearchOptions};
use crate::vectors::Vectors;

/// How a part is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureOptions {
    /// Results whose recall is measured.
    pub k: usize,
    /// Queries at most: exact results cost a scan of all vectors for every 64.
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
    /// Leaves scanned.
    pub leaves: usize,
    /// Candidates compared with their vectors.
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

/// Measures every effort of the part's curve, from fast to accurate; a flat part has one.
///
/// # Errors
/// If the queries or `k` do not fit.
pub fn measure(
    part: &Part,
    queries: &Vectors<'_>,
    options: &MeasureOptions,
) -> Result<Vec<Measured>, AnnError> {
    if queries.dim() != part.dim() {
        let (found, expected) = (queries.dim(), part.dim().to_string());
        return Err(AnnError::Shape { what: "width of queries", found, expected });
    }
    let count = queries.rows().min(options.queries_max);
    if count == 0 {
        return Ok(Vec::new());
    }
    let values: Vec<f32> = (0..count).flat_map(|row| queries.row(row)).copied().collect();
    let truth = search::search_all(part, &values, options.k)?;
    let truth: Vec<Vec<u64>> = truth
        .into_iter()
        .map(|rows| rows.iter().filter_map(|row| part.ids().get(*row as usize)).copied().collect())
        .collect();
    let mut efforts: Vec<(usize, usize)> =
        part.curve().iter().map(|point| (point.leaves, point.candidates)).collect();
    if part.kind() == IndexKind::Flat || efforts.is_empty() {
        efforts = vec![(part.leaves(), 100 * options.k)];
    }
    efforts
        .into_iter()
        .map(|(leaves, candidates)| {
            let effort = Effort::Fixed { leaves, candidates };
            let asked = SearchOptions { effort, ..SearchOptions::new(options.k) };
            let (recall, batch_qps) = in_batch(part, &values, &truth, (&asked, options.seconds))?;
            let mut times = one_by_one(part, &values, (&asked, options.seconds))?;
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
    part: &Part,
    queries: &[f32],
    truth: &[Vec<u64>],
    (options, seconds): (&SearchOptions, f64),
) -> Result<(f64, f64), AnnError> {
    let started = Instant::now();
    let (mut best, mut found): (f64, Vec<Vec<Hit>>) = (f64::INFINITY, Vec::new());
    while found.is_empty() || started.elapsed().as_secs_f64() < seconds {
        let pass = Instant::now();
        found = part.search_batch(queries, options)?;
        best = best.min(pass.elapsed().as_secs_f64());
    }
    let pairs = found.iter().zip(truth);
    let hits = pairs.map(|(hits, truth)| hits.iter().filter(|hit| truth.contains(&hit.id)).count());
    let all: usize = truth.iter().map(Vec::len).sum();
    Ok((hits.sum::<usize>() as f64 / all.max(1) as f64, truth.len() as f64 / best.max(1e-9)))
}

/// The time of each query, in seconds.
fn one_by_one(
    part: &Part,
    queries: &[f32],
    (options, seconds): (&SearchOptions, f64),
) -> Result<Vec<f64>, AnnError> {
    let (mut scratch, mut out, mut times) = (Scratch::default(), Vec::new(), Vec::new());
    let started = Instant::now();
    for query in queries.chunks_exact(part.dim()).cycle() {
        let asked = Instant::now();
        part.search_with(query, options, &mut scratch, &mut out)?;
        times.push(asked.elapsed().as_secs_f64());
        if started.elapsed().as_secs_f64() >= seconds {
            break;
        }
    }
    Ok(times)
}
