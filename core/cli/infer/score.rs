//! `rectool score`: what a ranking model says of rows.

use rectool_base::Prediction;
use rectool_model::{OutputColumn, sigmoid, write_columns};

use super::{LOADER_THREADS, ModelArgs};
use crate::failure::{Exit, Failure};
use crate::output;

/// Options of `rectool score`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The file has a row for each row of the split, in its order: `row` from 0 \
    (uint64), `score` (float32, the model's output) and, where that is the log-odds of a click, \
    `probability`.\n\nExample:\n  \
    rectool score runs/latest --data data/criteo --split test --out scores.parquet")]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Split to score; it needs no label
    #[arg(long, value_name = "NAME")]
    split: String,
}

/// Writes the scores.
///
/// # Collective
/// Every rank of the job; rank 0 writes.
pub(crate) fn run(args: &ScoreArgs) -> Result<Exit, Failure> {
    let mut applied = args.model.open()?;
    let split = applied.split(&args.split)?;
    let scores = applied.ranker.predict(&split, LOADER_THREADS).map_err(Failure::failed)?;
    if applied.writes() {
        let rows = scores.len();
        let mut columns = vec![("row", OutputColumn::Rows((0..rows as u64).collect()))];
        let of_clicks = applied.ranker.prediction() == Prediction::Logit;
        let probabilities = of_clicks.then(|| scores.iter().map(|score| sigmoid(*score)).collect());
        columns.push(("score", OutputColumn::Floats(scores)));
        columns.extend(probabilities.map(|values| ("probability", OutputColumn::Floats(values))));
        let out = &args.model.out;
        write_columns(out, columns).map_err(Failure::failed)?;
        output::print(&format!("{}: {rows} scores\n", out.display()))?;
    }
    Ok(Exit::Ok)
}
