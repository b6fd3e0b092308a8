//! `rectool index query`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rectool_ann::{Crowding, Effort, Filter, Hit, Index, SearchOptions};
use rectool_comm::threads_available;
use rectool_data::{HitRow, write_hits};
use rectool_recipe::index::VectorInput;
use serde_json::json;

use super::input::query_columns;
use super::{ThreadArgs, failure};
use crate::failure::{Exit, Failure};
use crate::output::print;

const HELP: &str = "\
Examples:
  rectool index query items.idx --vector 0.1,-0.5,0.3
  rectool index query items.idx --queries users.arrow --query-id id --k 20 --out found.arrow
  rectool index query items.idx --queries users.npy --filter 'genre in [comedy] and year >= 1990' \\
      --crowding genre=3 --json

Filters: rules joined by `and` or a comma, all of which must hold. Tokens: genre=a|b, genre!=a,
genre in [a, b], genre not in [a]. Numbers: = != < <= > >=. Quotes make a token of anything.";

/// Options of `rectool index query`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct QueryArgs {
    /// The index's folder
    index: PathBuf,

    /// One vector: numbers with commas between them
    #[arg(
        long,
        value_name = "X,…",
        value_delimiter = ',',
        allow_hyphen_values = true,
        required_unless_present = "queries",
        conflicts_with = "queries"
    )]
    vector: Vec<f32>,

    /// A file of vectors: .npy, .fbin, Arrow IPC or Parquet
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,

    /// Its column of vectors
    #[arg(long, value_name = "NAME", default_value = "vector", requires = "queries")]
    vector_column: String,

    /// Its column of ids, to name the queries by [default: their numbers]
    #[arg(long, value_name = "NAME", requires = "queries")]
    query_id: Option<String>,

    /// Results of each query
    #[arg(long, short, value_name = "N", default_value_t = 10)]
    k: usize,

    /// What results must be like
    #[arg(long, value_name = "RULES")]
    filter: Option<String>,

    /// At most M results with the same token of a namespace
    #[arg(long, value_name = "NAME=M", value_parser = crowding)]
    crowding: Option<Crowding>,

    /// Recall@10 to aim at [default: that of the build]
    #[arg(long, value_name = "SHARE", conflicts_with = "exact")]
    recall: Option<f64>,

    /// Compare every vector
    #[arg(long)]
    exact: bool,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Print a line of JSON for each query
    #[arg(long)]
    json: bool,

    /// Write an Arrow file instead: query, rank, id, score
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    out: Option<PathBuf>,
}

fn crowding(text: &str) -> Result<Crowding, String> {
    let wrong = || format!("`{text}` is not NAME=M, as in genre=3");
    let (namespace, most) = text.split_once('=').ok_or_else(wrong)?;
    let results_max = most.trim().parse().map_err(|_| wrong())?;
    Ok(Crowding { namespace: namespace.trim().to_owned(), results_max })
}

impl QueryArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        self.threads.apply(threads_available());
        let index = Index::open(&self.index).map_err(failure)?;
        let options = self.options(&index)?;
        let (names, found) = match &self.queries {
            None => (vec![0], vec![index.search(&self.vector, &options).map_err(failure)?]),
            Some(path) => {
                let columns = query_columns(&self.vector_column, self.query_id.as_deref());
                let input =
                    VectorInput::open(std::slice::from_ref(path), &columns).map_err(failure)?;
                if input.dim() != index.dim() {
                    let (path, found, expected) = (path.display(), input.dim(), index.dim());
                    let text = format!("`{path}`: queries of width {found}, expected {expected}");
                    return Err(Failure::asked(text));
                }
                let vectors = input.vectors().map_err(failure)?;
                let values = vectors.pieces().collect::<Vec<_>>().concat();
                let found = index.search_batch(&values, &options).map_err(failure)?;
                ((0..input.rows()).map(|row| input.id(row)).collect(), found)
            }
        };
        self.show(&names, &found)?;
        Ok(Exit::Ok)
    }

    fn options(&self, index: &Index) -> Result<SearchOptions, Failure> {
        let filter = self.filter.as_deref().map(str::parse::<Filter>);
        let filter = filter.transpose().map_err(failure)?;
        let options = index.search_options(self.k);
        let effort = match self.recall {
            _ if self.exact => Effort::Exact,
            Some(recall) if (0.0..=1.0).contains(&recall) => Effort::Recall(recall),
            Some(recall) => {
                return Err(Failure::asked(format!("`--recall` is {recall}, expected 0 to 1")));
            }
            None => options.effort,
        };
        Ok(SearchOptions { effort, filter, crowding: self.crowding.clone(), ..options })
    }

    fn show(&self, names: &[u64], found: &[Vec<Hit>]) -> Result<(), Failure> {
        if let Some(path) = &self.out {
            let rows = names.iter().zip(found).flat_map(|(query, hits)| {
                let row = |(rank, hit): (usize, &Hit)| HitRow {
                    query: *query,
                    rank: rank as u32,
                    id: hit.id,
                    score: hit.score,
                };
                hits.iter().enumerate().map(row)
            });
            let rows: Vec<HitRow> = rows.collect();
            write_hits(path, &rows).map_err(failure)?;
            let (path, count) = (path.display(), found.len());
            return print(&format!("{path}: {} results of {count} queries\n", rows.len()));
        }
        let mut text = String::new();
        if !self.json {
            let _ = writeln!(text, "{:>12} {:>5} {:>20}  {:>12}", "query", "rank", "id", "score");
        }
        for (query, hits) in names.iter().zip(found) {
            // Writing to a string does not fail.
            if self.json {
                let hit = |hit: &Hit| json!({ "id": hit.id, "score": hit.score });
                let hits: Vec<_> = hits.iter().map(hit).collect();
                let _ = writeln!(text, "{}", json!({ "query": query, "hits": hits }));
                continue;
            }
            for (rank, Hit { id, score }) in hits.iter().enumerate() {
                let _ = writeln!(text, "{query:>12} {rank:>5} {id:>20}  {score:>12.6}");
            }
        }
        print(&text)
    }
}
