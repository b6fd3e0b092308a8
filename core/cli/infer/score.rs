//! `rectool score`: what a ranking model says of rows.

use rectool_base::Prediction;
use rectool_model::{OutputColumn, Outputs, check_output, sigmoid, softmax, write_columns};

use super::{LOADER_THREADS, ModelArgs};
use crate::failure::{Exit, Failure};
use crate::output;

/// Options of `rectool score`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The file has a row for each row of the split, in its order: `row` from 0 \
    (uint64), `score` (float32, the model's output) and, where that is the log-odds of a click, \
    `probability`. A model of classes has instead `probabilities`, a list of float32 with one for \
    each class. A model with heads has these columns for each of them, with its label behind: \
    `score_click`, `probability_click`, `probabilities_stars`.\n\nExample:\n  \
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
    let mut applied = args.model.open(check_output)?;
    let split = applied.split(&args.split)?;
    let scores = applied.ranker.predict(&split, LOADER_THREADS).map_err(Failure::failed)?;
    if applied.writes() {
        let outputs = applied.ranker.scored();
        let width = outputs.last().map_or(1, |last| last.columns.end);
        let rows = scores.len() / width;
        let mut columns = vec![("row".to_owned(), OutputColumn::Rows((0..rows as u64).collect()))];
        columns.extend(outputs.iter().flat_map(|outputs| columns_of(outputs, &scores, width)));
        let out = &args.model.out;
        write_columns(out, columns).map_err(Failure::failed)?;
        output::print(&format!("{}: {rows} scores\n", out.display()))?;
    }
    Ok(Exit::Ok)
}

/// The columns of what belongs together of scores, rows of `width`.
fn columns_of(outputs: &Outputs, scores: &[f32], width: usize) -> Vec<(String, OutputColumn)> {
    let own = scores.chunks_exact(width).flat_map(|row| &row[outputs.columns.clone()]);
    let own: Vec<f32> = own.copied().collect();
    let name = |what: &str| match &outputs.head {
        Some(label) => format!("{what}_{label}"),
        None => what.to_owned(),
    };
    let score = |own| (name("score"), OutputColumn::Floats(own));
    match outputs.prediction {
        Prediction::Classes(classes) => {
            let chances = softmax(&own, classes);
            vec![(name("probabilities"), OutputColumn::Vectors(chances, classes))]
        }
        Prediction::Logit => {
            let chances = own.iter().map(|score| sigmoid(*score)).collect();
            vec![score(own), (name("probability"), OutputColumn::Floats(chances))]
        }
        Prediction::Value | Prediction::LogRate | Prediction::Score => vec![score(own)],
    }
}
