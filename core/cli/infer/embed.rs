//! `rectool embed`: the vectors of one tower.

use clap::ValueEnum;
use rectool_data::Split;
use rectool_model::{Side, check_vectors_output, write_vectors};

use super::{LOADER_THREADS, ModelArgs};
use crate::failure::{Exit, Failure};
use crate::output;

/// Options of `rectool embed`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An Arrow or Parquet file has the columns `id` (int64) and `vector` (list of float32), \
    by rising id. With a name such as items.npy the vectors are a NumPy array of float32 [N, E], and \
    items.ids.npy beside it has their ids, int64 [N]. `rectool index build` takes both forms, the \
    latter with `--ids items.ids.npy`.\n\nExamples:\n  \
    rectool embed runs/latest --data data/movies --side candidate --out items.arrow\n  \
    rectool embed runs/latest --data data/movies --side candidate --out items.npy\n  \
    mpirun -n 4 rectool embed runs/latest --data data/ml-1m --side query --split test --out users.parquet"
)]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The tower
    #[arg(long, value_enum)]
    side: Tower,

    /// Splits with what is to be encoded, each id by its first row [default: all splits]
    #[arg(long, value_name = "NAME")]
    split: Vec<String>,
}

/// A tower as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tower {
    /// What asks: users
    Query,
    /// What is asked for: items
    Candidate,
}

/// Writes the vectors.
///
/// # Collective
/// Every rank of the job; rank 0 writes.
pub(crate) fn run(args: &EmbedArgs) -> Result<Exit, Failure> {
    let mut applied = args.model.open(check_vectors_output)?;
    let names: Vec<String> = match args.split.as_slice() {
        [] => applied.data.splits().map(str::to_owned).collect(),
        names => names.to_vec(),
    };
    let splits = applied.splits(&names)?;
    let side = match args.side {
        Tower::Query => Side::Query,
        Tower::Candidate => Side::Candidate,
    };
    let splits: Vec<&Split> = splits.iter().collect();
    let vectors = applied.ranker.encode(side, &splits, LOADER_THREADS);
    let vectors = vectors.map_err(Failure::failed)?;
    if applied.writes() {
        let (out, count, width) = (&args.model.out, vectors.ids.len(), vectors.width);
        write_vectors(out, vectors).map_err(Failure::failed)?;
        output::print(&format!("{}: {count} vectors of width {width}\n", out.display()))?;
    }
    Ok(Exit::Ok)
}
