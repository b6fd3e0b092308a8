//! Searches of a file of queries, and how much of the exact results they find.

use std::path::Path;
use std::time::Instant;

use rectool_ann::{Effort, Hit, Index, SearchOptions};
use rectool_comm::{Comm, Reduce, Values, agree};
use rectool_data::{HitRow, write_hits};

use super::job::SearchJob;
use super::{IndexError, VectorInput};

/// Queries that are also answered exactly: enough for a recall to within a hundredth.
const EXACT_QUERIES: usize = 500;

/// What searches came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Searched {
    pub(crate) queries: u64,
    pub(crate) results: u64,
    /// Share of the exact results that was found, of up to 500 queries.
    pub(crate) recall: f64,
    pub(crate) queries_per_s: f64,
}

/// Searches on rank 0; all ranks get the figures.
///
/// # Collective
/// Every rank.
pub(crate) fn search(
    index: &Path,
    job: &SearchJob,
    comm: &dyn Comm,
) -> Result<Searched, IndexError> {
    let own = if comm.rank() == 0 { search_here(index, job) } else { Ok(Searched::default()) };
    let Searched { queries, results, recall, queries_per_s } = agree(comm, own)?;
    let mut figures = [queries as f64, results as f64, recall, queries_per_s];
    comm.all_reduce(Values::F64(&mut figures), Reduce::Max)?;
    let [queries, results, recall, queries_per_s] = figures;
    Ok(Searched { queries: queries as u64, results: results as u64, recall, queries_per_s })
}

fn search_here(path: &Path, job: &SearchJob) -> Result<Searched, IndexError> {
    let index = Index::open(path)?;
    let input = VectorInput::open(std::slice::from_ref(&job.queries), &job.columns)?;
    if input.dim() != index.dim() {
        return Err(IndexError::Differs {
            path: job.queries.clone(),
            what: "width of queries",
            expected: index.dim().to_string(),
            found: input.dim().to_string(),
        });
    }
    let usual = index.search_options(job.k);
    let options = SearchOptions {
        effort: job.effort.unwrap_or(usual.effort),
        filter: job.filter.clone(),
        crowding: job.crowding.clone(),
        ..usual
    };
    let values = input.vectors()?.pieces().collect::<Vec<_>>().concat();
    let started = Instant::now();
    let found = index.search_batch(&values, &options)?;
    let seconds = started.elapsed().as_secs_f64();
    let few = &values[..values.len().min(EXACT_QUERIES * index.dim())];
    let exact = index.search_batch(few, &SearchOptions { effort: Effort::Exact, ..options })?;
    if let Some(out) = &job.out {
        let rows = found.iter().enumerate().flat_map(|(row, hits)| {
            let query = input.id(row);
            hits.iter().enumerate().map(move |(rank, Hit { id, score })| HitRow {
                query,
                rank: rank as u32,
                id: *id,
                score: *score,
            })
        });
        write_hits(out, &rows.collect::<Vec<_>>())?;
    }
    let hits = found.iter().zip(&exact).map(|(found, exact)| {
        exact.iter().filter(|hit| found.iter().any(|found| found.id == hit.id)).count()
    });
    let all: usize = exact.iter().map(Vec::len).sum();
    Ok(Searched {
        queries: found.len() as u64,
        results: found.iter().map(|hits| hits.len() as u64).sum(),
        recall: hits.sum::<usize>() as f64 / all.max(1) as f64,
        queries_per_s: found.len() as f64 / seconds.max(1e-9),
    })
}
