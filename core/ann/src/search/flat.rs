//! Exact search: every vector is compared with.

use rayon::prelude::*;

use super::pool::{Pool, order_of, row_of};
use super::query::{Query, ordered, unordered};
use super::selection::Selection;
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::kernel::{Arithmetic, Kernel, LANES, Panels, dispatch, dot, dot_with, square_with};
use crate::metric::Metric;
use crate::part::Part;

/// Queries that go through the vectors together.
const QUERIES: usize = 64;
/// Vectors that are multiplied at a time: with the queries' they fit into the second cache.
const ROWS: usize = 384;

/// Compares the query with every row [N, D] and every change, and leaves the scores and rows of the
/// `k` best in `out`, the best first.
pub(crate) fn search(
    rows: &[f32],
    query: &Query,
    selection: &Selection<'_>,
    (pool, k): (&mut Pool, usize),
    out: &mut Vec<(f32, u32)>,
) {
    pool.reset(k);
    dispatch(Scan { rows, query, pool, selection });
    let changed: Vec<u32> = selection.changed_rows().collect();
    out.clear();
    selection.rank_changes(query, &changed, out);
    for (rank, row) in out.iter() {
        pool.push(ordered(query.score(*rank)), *row);
    }
    out.clear();
    out.extend(pool.sorted().iter().map(|key| (unordered(order_of(*key)), row_of(*key))));
}

struct Scan<'a> {
    rows: &'a [f32],
    query: &'a Query,
    pool: &'a mut Pool,
    selection: &'a Selection<'a>,
}

impl Kernel for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let query = &self.query.values;
        for (at, row) in self.rows.chunks_exact(query.len()).enumerate() {
            let score = match self.query.metric {
                Metric::L2 => -square_with::<A>(query, row),
                _ => dot_with::<A>(query, row),
            };
            let order = ordered(score);
            if order >= self.pool.floor() && self.selection.has(at as u32) {
                self.pool.push(order, at as u32);
            }
        }
    }
}

/// The rows of the `k` best vectors of each query [Q, D], the best first, exactly: as the part
/// stores them, by q·x + bias.
pub(crate) fn search_all(
    part: &Part,
    queries: &[f32],
    k: usize,
) -> Result<Vec<Vec<u32>>, AnnError> {
    let dim = part.dim();
    let found: Result<Vec<Vec<Vec<u32>>>, AnnError> = queries
        .par_chunks(QUERIES * dim)
        .map(|queries| {
            let mut values = Vec::with_capacity(queries.len());
            let mut query = Query::default();
            for row in queries.chunks_exact(dim) {
                query.set(row, part)?;
                values.extend_from_slice(&query.values);
            }
            Ok(search_some(part, &values, k))
        })
        .collect();
    Ok(found?.concat())
}

fn search_some(part: &Part, queries: &[f32], k: usize) -> Vec<Vec<u32>> {
    let dim = part.dim();
    let panels = Panels::new(dim, queries.chunks_exact(dim));
    let width = panels.view().panels() * LANES;
    let mut pools = vec![Pool::default(); queries.len() / dim];
    for pool in &mut pools {
        pool.reset(k);
    }
    let (mut copied, mut products) = (Vec::new(), Vec::new());
    for from in (0..part.rows()).step_by(ROWS) {
        let rows = from..part.rows().min(from + ROWS);
        let vectors = match part.kind() {
            IndexKind::Flat => &part.flat_rows()[from * dim..][..rows.len() * dim],
            IndexKind::Ivf | IndexKind::Graph => {
                part.stored().copy(rows.clone(), &mut copied);
                &copied
            }
        };
        products.resize(rows.len() * width, 0.0);
        panels.view().products(vectors, &mut products);
        let pairs = rows.zip(vectors.chunks_exact(dim)).zip(products.chunks_exact(width));
        for ((row, vector), products) in pairs {
            let bias = match part.metric() {
                Metric::L2 => part.metric().bias(dot(vector, vector)),
                _ => 0.0,
            };
            for (pool, product) in pools.iter_mut().zip(products) {
                pool.push(ordered(product + bias), row as u32);
            }
        }
    }
    pools.iter_mut().map(|pool| pool.sorted().iter().map(|key| row_of(*key)).collect()).collect()
}
