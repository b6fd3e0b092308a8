//! The links of a graph: first those of each row to what lies near, then also back.

use rayon::prelude::*;

use super::near::{Candidates, Copied, Leaves, candidates};
use super::ordered::Ordered;
use super::prune::choose_links;
use crate::build::Progress;
use crate::kernel::dot;
use crate::metric::Metric;
use crate::source::spread;

/// Stands where a row has fewer links.
const NO_LINK: u32 = u32::MAX;
/// Rows of one task.
const TASK: u32 = 512;
/// Candidates of a row, of each kind: with 64 of 6,000 rows
/// a search found 0.957 of the results instead of 0.971.
const CANDIDATES: usize = 200;
/// Candidates for links both ways, per link.
const BACK: usize = 4;
/// Rows linked to a row that are looked at: very many are with some.
const BACK_MAX: usize = 4_096;

/// Links of every row [N, degree].
pub(crate) fn forward(
    leaves: &Leaves<'_>,
    source: &Ordered<'_>,
    degree: usize,
    progress: &dyn Progress,
) -> Vec<u32> {
    let count = CANDIDATES.max(2 * degree);
    let mut links = vec![NO_LINK; source.order.len() * degree];
    let mut tasks = Vec::new();
    let mut left = &mut links[..];
    for leaf in 0..leaves.starts.len() - 1 {
        let rows = leaves.rows(leaf);
        for start in rows.clone().step_by(TASK as usize) {
            let part = start..rows.end.min(start + TASK);
            let (own, rest) = left.split_at_mut(part.len() * degree);
            tasks.push((leaf, part, own));
            left = rest;
        }
    }
    tasks.into_par_iter().for_each(|(leaf, part, out)| {
        let mut kept = Vec::new();
        let mut out = out.chunks_exact_mut(degree);
        progress.advance(part.len());
        candidates(leaves, (leaf, part), source, count, |copied, own, found| {
            let half = copied.halves[own as usize];
            choose_links(copied, (own, half), found, degree, &mut kept);
            let Some(out) = out.next() else { return };
            for (link, place) in out.iter_mut().zip(&kept) {
                *link = copied.rows[*place as usize];
            }
        });
    });
    links
}

/// Which rows are linked with each row.
struct Back {
    starts: Vec<u64>,
    rows: Vec<u32>,
}

impl Back {
    /// Of links [N, degree].
    fn of(links: &[u32], degree: usize) -> Self {
        let mut starts = vec![0u64; links.len() / degree + 1];
        for link in links.iter().filter(|link| **link != NO_LINK) {
            starts[*link as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; starts.last().map_or(0, |all| *all as usize)];
        for (row, links) in links.chunks_exact(degree).enumerate() {
            for link in links.iter().filter(|link| **link != NO_LINK) {
                let at = &mut next[*link as usize];
                rows[*at as usize] = row as u32;
                *at += 1;
            }
        }
        Self { starts, rows }
    }

    fn to(&self, row: usize) -> &[u32] {
        &self.rows[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

/// The links of `rows`, chosen among those they have and those that lead to them.
fn both_ways(
    (links, back): (&[u32], &Back),
    rows: std::ops::Range<usize>,
    (metric, source): (Metric, &Ordered<'_>),
    degree: usize,
) -> Vec<u32> {
    let dim = source.dim();
    let mut out = vec![NO_LINK; rows.len() * degree];
    let mut kept = Vec::new();
    for (row, out) in rows.zip(out.chunks_exact_mut(degree)) {
        let own = &links[row * degree..][..degree];
        let mut all: Vec<u32> = own.iter().copied().filter(|link| *link != NO_LINK).collect();
        let to = back.to(row);
        all.extend(spread(to.len(), BACK_MAX).map(|at| to[at]));
        all.sort_unstable();
        all.dedup();
        let vector = source.gather(&[row as u32]);
        let half = 0.5 * dot(&vector, &vector);
        let copied = Copied::of(source, all);
        let products: Vec<f32> =
            copied.values.chunks_exact(dim).map(|other| dot(&vector, other)).collect();
        let best = |rank: &dyn Fn(usize) -> f32| {
            let mut found: Vec<(f32, u32)> =
                (0..products.len()).map(|at| (rank(at), at as u32)).collect();
            found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            found.truncate(BACK * degree);
            for (rank, place) in &mut found {
                *rank = products[*place as usize];
            }
            found
        };
        let largest =
            if metric == Metric::InnerProduct { best(&|at| products[at]) } else { Vec::new() };
        let found = Candidates { nearest: best(&|at| products[at] - copied.halves[at]), largest };
        choose_links(&copied, (u32::MAX, half), &found, degree, &mut kept);
        for (link, place) in out.iter_mut().zip(&kept) {
            *link = copied.rows[*place as usize];
        }
    }
    out
}

/// Rows of one task, and of all tasks after which links are written.
const PIECE: usize = 1 << 9;
const CHUNK: usize = 1 << 16;

/// The links of every row in pieces [rows, degree], in order: chosen among those of `links` and those that
/// lead back along them.
pub(crate) fn each_piece<E>(
    links: &[u32],
    (metric, source): (Metric, &Ordered<'_>),
    degree: usize,
    progress: &dyn Progress,
    mut each: impl FnMut(&[u32]) -> Result<(), E>,
) -> Result<(), E> {
    let back = Back::of(links, degree);
    let rows = source.order.len();
    for from in (0..rows).step_by(CHUNK) {
        let to = rows.min(from + CHUNK);
        let starts: Vec<usize> = (from..to).step_by(PIECE).collect();
        let pieces: Vec<Vec<u32>> = starts
            .into_par_iter()
            .map(|start| {
                let rows = start..to.min(start + PIECE);
                both_ways((links, &back), rows, (metric, source), degree)
            })
            .collect();
        pieces.iter().try_for_each(|piece| each(piece))?;
        progress.advance(to - from);
    }
    Ok(())
}
