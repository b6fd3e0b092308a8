//! Many queries at once: those that look into the same leaves one after another.

use rayon::prelude::*;

use super::leaves::LeafChoice;
use super::options::Hit;
use super::part::Scratch;
use super::pool::row_of;
use crate::error::AnnError;
use crate::kernel::{Directory, LANES, Line, PanelFacts, dot, pack_panels};
use crate::part::Part;

/// Places in the space of queries by which those of a batch are put in order.
#[derive(Debug)]
pub(crate) struct Landmarks {
    count: usize,
    panels: Vec<Line>,
    facts: Vec<PanelFacts>,
}

impl Landmarks {
    /// The means of sixteen centroids each: what lies near is numbered together.
    pub(crate) fn of(part: &Part) -> Self {
        let dim = part.dim();
        let mut means = Vec::new();
        for centroids in part.tree().centroids.chunks(LANES * dim) {
            let mut mean = vec![0.0; dim];
            for centroid in centroids.chunks_exact(dim) {
                for (mean, value) in mean.iter_mut().zip(centroid) {
                    *mean += value;
                }
            }
            let count = (centroids.len() / dim) as f32;
            for mean in &mut mean {
                *mean /= count;
            }
            means.extend(part.turned_back(&mean));
        }
        let bias = |mean: &[f32]| part.metric().bias(dot(mean, mean));
        let (panels, facts) = pack_panels(dim, &means, means.chunks_exact(dim).map(bias));
        Self { count: means.len() / dim, panels, facts }
    }

    /// The queries [Q, D], by the landmark that is nearest to each.
    fn order(&self, queries: &[f32], dim: usize) -> Vec<u32> {
        let Self { count, panels, facts } = self;
        let landmarks = Directory { panels, facts, count: *count };
        let nearest = |leaves: &mut LeafChoice, (at, query): (usize, &[f32])| {
            leaves.choose(query, landmarks, 1);
            // None is near a query that is not finite; its search says so.
            (leaves.keys.first().map_or(0, |key| row_of(*key)), at as u32)
        };
        let queries = queries.par_chunks_exact(dim).enumerate();
        let mut keys: Vec<(u32, u32)> = queries.map_init(LeafChoice::default, nearest).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, at)| at).collect()
    }
}

/// Answers each query [Q, D] on some thread, and gives the results in the order of the queries. Those
/// whose results lie near each other in `part` are answered one after another, so that they find codes and
/// vectors in the caches.
pub(crate) fn search_batch(
    queries: &[f32],
    part: &Part,
    search: impl Fn(&[f32], &mut Scratch, &mut Vec<Hit>) -> Result<(), AnnError> + Sync,
) -> Result<Vec<Vec<Hit>>, AnnError> {
    let dim = part.dim();
    if !queries.len().is_multiple_of(dim) {
        let (found, expected) = (queries.len(), format!("a multiple of {dim}"));
        return Err(AnnError::Shape { what: "values of queries", found, expected });
    }
    let count = queries.len() / dim;
    // Fewer than there are landmarks hardly meet in a leaf.
    let order: Vec<u32> = if part.leaves() == 0 || count < part.leaves() / LANES {
        (0..count as u32).collect()
    } else {
        part.landmarks().order(queries, dim)
    };
    let answer = |scratch: &mut Scratch, at: &u32| {
        let mut out = Vec::new();
        search(&queries[*at as usize * dim..][..dim], scratch, &mut out)?;
        Ok(out)
    };
    let found: Result<Vec<Vec<Hit>>, AnnError> =
        order.par_iter().map_init(Scratch::default, answer).collect();
    let mut out = vec![Vec::new(); count];
    for (at, hits) in order.into_iter().zip(found?) {
        out[at as usize] = hits;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{part, vectors};
    use crate::{BuildOptions, IndexKind, Metric, SearchOptions};

    #[test]
    fn batches_are_answered_by_landmark_with_the_results_of_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let (dim, asked) = (12, SearchOptions::new(5));
        let base = vectors(3000, dim, 1);
        for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
            for kind in [IndexKind::Ivf, IndexKind::Graph] {
                let kind = Some(kind);
                let options =
                    BuildOptions { metric, kind, leaves: Some(100), ..BuildOptions::default() };
                let part = part(folder.path(), dim, &base, &options);
                let mut queries = vectors(200, dim, 2);
                let order = part.landmarks().order(&queries, dim);
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert!(sorted.iter().copied().eq(0..200) && sorted != order);
                let found = part.search_batch(&queries, &asked).unwrap();
                for (query, found) in queries.chunks_exact(dim).zip(found) {
                    assert_eq!(part.search(query, &asked).unwrap(), found);
                }
                queries[7 * dim] = f32::NAN;
                assert!(part.search_batch(&queries, &asked).is_err());
            }
        }
    }

    #[test]
    fn queries_go_to_the_landmark_among_whose_leaves_their_vectors_lie() {
        let folder = tempfile::tempdir().unwrap();
        let dim = 12;
        let base = vectors(3000, dim, 1);
        let options = BuildOptions {
            metric: Metric::L2,
            kind: Some(IndexKind::Ivf),
            leaves: Some(100),
            ..BuildOptions::default()
        };
        let part = part(folder.path(), dim, &base, &options);
        let centroids = part.tree().centroids.chunks_exact(dim);
        let queries: Vec<f32> = centroids.flat_map(|centroid| part.turned_back(centroid)).collect();
        let order = part.landmarks().order(&queries, dim);
        let near = order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < LANES as u32).count();
        // Leaves far from the mean of their sixteen may lie nearer to another.
        assert!(near > 60, "{near} of 99 pairs: {order:?}");
    }
}
