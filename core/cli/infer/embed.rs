//! `rectool embed`: the vectors of one tower.

use clap::ValueEnum;
use rectool_data::Split;
use rectool_model::{OutputColumn, Side, Vectors, write_columns};

use super::{LOADER_THREADS, ModelArgs};
use crate::failure::{Exit, Failure};
use crate::output;

/// Options of `rectool embed`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file has the columns `id` (int64) and `vector` (list of float32), by rising \
    id; `rectool index build` takes it.\n\nExamples:\n  \
    rectool embed runs/latest --data data/movies --side candidate --out items.arrow\n  \
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
    let mut applied = args.model.open()?;
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
    let Vectors { ids, values, width } = vectors.map_err(Failure::failed)?;
    if applied.writes() {
        let count = ids.len();
        let columns = vec![
            ("id", OutputColumn::Ids(ids.as_slice().to_vec())),
            ("vector", OutputColumn::Vectors(values, width)),
        ];
        let out = &args.model.out;
        write_columns(out, columns).map_err(Failure::failed)?;
        output::print(&format!("{}: {count} vectors of width {width}\n", out.display()))?;
    }
    Ok(Exit::Ok)
}
