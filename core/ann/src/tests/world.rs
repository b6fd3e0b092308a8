//! Made-up vectors with clusters, and exact results computed from the definition.

use std::path::Path;

use rectool_base::Stream;

use crate::{Attributes, BuildInput, BuildOptions, Metric, Part, Vectors, build};

/// Clustered vectors [N, D] of varying length.
pub(crate) fn vectors(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(77, &[dim as u64]);
    let centers: Vec<f32> = (0..60 * dim).map(|_| stream.next_normal()).collect();
    let mut stream = Stream::new(seed, &[rows as u64, dim as u64]);
    let mut out = Vec::with_capacity(rows * dim);
    for _ in 0..rows {
        let center = stream.below(60) as usize * dim;
        let length = 0.8 + 0.4 * stream.next_f32();
        out.extend(
            centers[center..center + dim].iter().map(|v| length * (v + 0.5 * stream.next_normal())),
        );
    }
    out
}

/// The score of the metric's definition, in f64.
pub(crate) fn score(metric: Metric, query: &[f32], vector: &[f32]) -> f64 {
    let pairs = || query.iter().zip(vector).map(|(q, x)| (f64::from(*q), f64::from(*x)));
    let product: f64 = pairs().map(|(q, x)| q * x).sum();
    let [q, x] = [query, vector].map(|v| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>());
    match metric {
        Metric::InnerProduct => product,
        Metric::Cosine if q * x > 0.0 => product / (q * x).sqrt(),
        Metric::Cosine => 0.0,
        Metric::L2 => -pairs().map(|(q, x)| (q - x).powi(2)).sum::<f64>(),
    }
}

/// Rows and scores of the `k` nearest, the nearest first.
pub(crate) fn exact(metric: Metric, query: &[f32], base: &[f32], k: usize) -> Vec<(u64, f64)> {
    let rows = base.chunks_exact(query.len()).enumerate();
    let mut all: Vec<(u64, f64)> =
        rows.map(|(row, vector)| (row as u64, score(metric, query, vector))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

/// Attributes of `rows` vectors of which 1 % have the token `one` in `share`, 10 % `ten`, and the others
/// `rest`.
pub(crate) fn shares(rows: usize) -> Attributes {
    let token = |row: usize| match row % 100 {
        0 => "one",
        1..11 => "ten",
        _ => "rest",
    };
    let tokens: Vec<[&str; 1]> = (0..rows).map(|row| [token(row)]).collect();
    let mut attributes = Attributes::new(rows);
    attributes.add_tokens("share", &tokens).unwrap();
    attributes
}

/// Builds a part in `folder`.
pub(crate) fn part(folder: &Path, dim: usize, base: &[f32], options: &BuildOptions) -> Part {
    let vectors = Vectors::new(dim, base).unwrap();
    let path = folder.join("part");
    build(&path, &BuildInput::from(&vectors), options, &()).unwrap();
    Part::open(&path).unwrap()
}
