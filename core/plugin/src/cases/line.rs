//! A line of `cases.jsonl`.

use rectool_base::{ItemStatistics, Schema};
use serde::Deserialize;

use super::column::{ColumnLine, Number};
use super::compare::Tolerance;
use super::{Arguments, Case, Columns, Expected, LossArguments, SamplerArguments};
use crate::contract::Kind;
use crate::parameters::Parameters;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransformLine {
    name: String,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<ColumnLine>,
    outputs: Option<Vec<ColumnLine>>,
    error: Option<String>,
    tolerance: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LossLine {
    name: String,
    #[serde(default)]
    parameters: Parameters,
    logits: Vec<Number>,
    labels: Vec<Number>,
    #[serde(default)]
    weights: Vec<Number>,
    #[serde(default)]
    columns: Vec<ColumnLine>,
    losses: Option<Vec<Number>>,
    gradients: Option<Vec<Number>>,
    error: Option<String>,
    tolerance: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SamplerLine {
    name: String,
    #[serde(default)]
    parameters: Parameters,
    items: ItemsLine,
    positives: Vec<i64>,
    count: usize,
    seed: u64,
    ids: Option<Vec<i64>>,
    log_probabilities: Option<Vec<Number>>,
    error: Option<String>,
    tolerance: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemsLine {
    ids: Vec<i64>,
    counts: Vec<u64>,
    last_rows: Vec<u64>,
    #[serde(default)]
    scores: Vec<Number>,
}

pub(super) fn parse(kind: Kind, line: usize, text: &str) -> Result<Case, String> {
    match kind {
        Kind::Transform => transform(line, json(text)?),
        Kind::Loss => loss(line, json(text)?),
        Kind::Sampler => sampler(line, json(text)?),
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn transform(line: usize, text: TransformLine) -> Result<Case, String> {
    let inputs = columns(text.inputs)?;
    let expected = match (text.outputs, text.error) {
        (Some(outputs), None) => Expected::Columns(columns(outputs)?),
        (None, Some(error)) => Expected::Error(error),
        _ => return Err("expected either `outputs` or `error`".to_owned()),
    };
    let arguments = Arguments::Transform(inputs);
    case(line, text.name, text.parameters, arguments, (expected, text.tolerance))
}

fn loss(line: usize, text: LossLine) -> Result<Case, String> {
    let rows = text.logits.len();
    let expected = match (text.losses, text.gradients, text.error) {
        (Some(losses), Some(gradients), None) => {
            check_length("losses", losses.len(), rows)?;
            check_length("gradients", gradients.len(), rows)?;
            Expected::Losses { losses: floats(&losses), gradients: floats(&gradients) }
        }
        (None, None, Some(error)) => Expected::Error(error),
        _ => return Err("expected either `losses` and `gradients`, or `error`".to_owned()),
    };
    check_length("labels", text.labels.len(), rows)?;
    if !text.weights.is_empty() {
        check_length("weights", text.weights.len(), rows)?;
    }
    let columns = columns(text.columns)?;
    if !columns.columns.is_empty() {
        check_length("rows of `columns`", columns.rows(), rows)?;
    }
    let (logits, labels) = (floats(&text.logits), floats(&text.labels));
    let weights = floats(&text.weights);
    let arguments = Arguments::Loss(LossArguments { logits, labels, weights, columns });
    case(line, text.name, text.parameters, arguments, (expected, text.tolerance))
}

fn sampler(line: usize, text: SamplerLine) -> Result<Case, String> {
    let ItemsLine { ids, counts, last_rows, scores } = text.items;
    check_length("`counts`", counts.len(), ids.len())?;
    check_length("`last_rows`", last_rows.len(), ids.len())?;
    if !scores.is_empty() {
        check_length("`scores`", scores.len(), ids.len())?;
    }
    if ids.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("the items' `ids` do not rise".to_owned());
    }
    let samples = text.positives.len() * text.count;
    if let Some(ids) = &text.ids {
        check_length("ids", ids.len(), samples)?;
    }
    if let Some(log_probabilities) = &text.log_probabilities {
        check_length("log-probabilities", log_probabilities.len(), samples)?;
    }
    let expected = match (text.ids, text.log_probabilities, text.error) {
        (None, None, Some(error)) => Expected::Error(error),
        (ids, log_probabilities, None) => {
            let log_probabilities = log_probabilities.map(|list| floats(&list));
            Expected::Samples { ids, log_probabilities }
        }
        _ => return Err("expected either results or `error`".to_owned()),
    };
    let items = ItemStatistics { ids, counts, last_rows, scores: floats(&scores) };
    let (positives, count, seed) = (text.positives, text.count, text.seed);
    let arguments = Arguments::Sampler(SamplerArguments { items, positives, count, seed });
    case(line, text.name, text.parameters, arguments, (expected, text.tolerance))
}

fn case(
    line: usize,
    name: String,
    parameters: Parameters,
    arguments: Arguments,
    (expected, tolerance): (Expected, Option<f64>),
) -> Result<Case, String> {
    let tolerance = Tolerance::new(tolerance)?;
    Ok(Case { name, line, parameters, arguments, expected, tolerance })
}

fn floats(numbers: &[Number]) -> Vec<f32> {
    numbers.iter().map(|number| number.0).collect()
}

fn check_length(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found != expected {
        return Err(format!("{found} {what}, expected {expected}"));
    }
    Ok(())
}

fn columns(lines: Vec<ColumnLine>) -> Result<Columns, String> {
    let mut columns = Columns::default();
    for line in lines {
        let (schema, column) = line.parse()?;
        columns.schemas.push(schema);
        columns.columns.push(column);
    }
    let rows = columns.rows();
    for (schema, column) in columns.schemas.iter().zip(&columns.columns) {
        check_length(&format!("rows in column `{}`", schema.name), column.rows(), rows)?;
    }
    Schema::new(columns.schemas.clone()).map_err(|error| error.to_string())?;
    Ok(columns)
}
