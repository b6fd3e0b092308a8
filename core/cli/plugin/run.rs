//! `rectool plugin run`: what a plugin makes of some rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rectool_base::{BatchPlace, Column, ColumnSchema, LossInput, ParameterValue, Schema};
use rectool_data::{DataError, Dataset, Split};
use rectool_plugin::{Kind, Parameters};

use super::target::{Found, Target};
use crate::data::{fields, headings};
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    target: Target,

    /// Parameter of the plugin
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, ParameterValue)>,

    /// Transform or sampler: dataset to take rows from
    #[arg(long, value_name = "DIR", required_unless_present = "logits")]
    data: Option<PathBuf>,

    /// Split of the dataset; by default its first
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// Transform: columns that it is given
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    inputs: Vec<String>,

    /// Sampler: column of the items that rows chose
    #[arg(long, value_name = "COLUMN")]
    item: Option<String>,

    /// Sampler: float column of item scores
    #[arg(long, value_name = "COLUMN")]
    score: Option<String>,

    /// Sampler: items per row
    #[arg(long, value_name = "K", default_value_t = 5)]
    count: usize,

    /// Sampler: seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Rows, from the split's start
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: u64,

    /// Loss: logits
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', allow_negative_numbers = true)]
    logits: Vec<f32>,

    /// Loss: labels, one per logit
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', allow_negative_numbers = true)]
    labels: Vec<f32>,
}

fn setting(text: &str) -> Result<(String, ParameterValue), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, as in buckets=1000")?;
    let value = serde_json::from_str(value);
    let text_value = |_| ParameterValue::Text(text[name.len() + 1..].to_owned());
    Ok((name.to_owned(), value.unwrap_or_else(text_value)))
}

impl RunArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let found = self.target.load()?;
        let parameters: Parameters = self.settings.iter().cloned().collect::<BTreeMap<_, _>>();
        found.plugin.call(&parameters).map_err(Failure::usage)?;
        let text = match found.plugin.kind() {
            Kind::Transform => self.transform(&found, &parameters)?,
            Kind::Loss => self.loss(&found, &parameters)?,
            Kind::Sampler => self.sampler(&found, &parameters)?,
        };
        print(&text)?;
        Ok(Exit::Ok)
    }

    /// The rows' split, in which the named columns are found.
    fn split(&self) -> Result<Split, Failure> {
        let Some(data) = &self.data else {
            return Err(Failure::asked("this plugin needs rows: give `--data DIR`"));
        };
        let dataset = Dataset::open(data).map_err(Failure::failed)?;
        let first = dataset.manifest().splits.first().map_or("train", |split| &split.name);
        dataset.split(self.split.as_deref().unwrap_or(first)).map_err(usage)
    }

    fn transform(&self, found: &Found, parameters: &Parameters) -> Result<String, Failure> {
        let split = self.split()?;
        if self.inputs.is_empty() {
            return Err(Failure::asked("a transform needs columns: give `--inputs COLUMN,…`"));
        }
        let positions = self.inputs.iter().map(|name| split.schema().position(name));
        let positions = positions.collect::<Result<Vec<_>, _>>().map_err(Failure::usage)?;
        let inputs = split.project(&positions).map_err(usage)?;
        let transform = found.plugin.transform(parameters).map_err(Failure::plugin)?;
        let announced = transform.outputs(inputs.columns()).map_err(Failure::plugin)?;
        let rows: Vec<u64> = (0..self.rows.min(split.rows())).collect();
        let columns = split.gather(&rows, &positions).map_err(Failure::failed)?;
        let place = BatchPlace { rows: rows.len(), ..BatchPlace::default() };
        let made = transform.apply(inputs.columns(), columns.clone(), place);
        let made = made.map_err(Failure::plugin)?;
        let outputs = Schema::new(announced).map_err(Failure::failed)?;
        Ok(table(&[(&inputs, &columns), (&outputs, &made)], rows.len()))
    }

    fn loss(&self, found: &Found, parameters: &Parameters) -> Result<String, Failure> {
        let (logits, labels) = (&self.logits, &self.labels);
        if logits.is_empty() || logits.len() != labels.len() {
            let (logits, labels) = (logits.len(), labels.len());
            return Err(Failure::asked(format!(
                "a loss needs `--logits` and as many `--labels`; found {logits} and {labels}"
            )));
        }
        let loss = found.plugin.loss(parameters, &Schema::default()).map_err(Failure::plugin)?;
        let (mut losses, mut gradients) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
        let place = BatchPlace { rows: logits.len(), ..BatchPlace::default() };
        let input = LossInput { place, logits, labels, weights: &[], columns: &[] };
        loss.evaluate(input, &mut losses, &mut gradients).map_err(Failure::plugin)?;
        let mut text = "logit\tlabel\tloss\tgradient\n".to_owned();
        for (at, logit) in logits.iter().enumerate() {
            let (label, loss, gradient) = (labels[at], losses[at], gradients[at]);
            let _ = writeln!(text, "{logit}\t{label}\t{loss}\t{gradient}");
        }
        Ok(text)
    }

    fn sampler(&self, found: &Found, parameters: &Parameters) -> Result<String, Failure> {
        let split = self.split()?;
        let Some(item) = &self.item else {
            return Err(Failure::asked("a sampler needs the items' column: give `--item COLUMN`"));
        };
        let items = split.item_statistics(item, self.score.as_deref()).map_err(usage)?;
        let sampler = found.plugin.sampler(parameters, &items).map_err(Failure::plugin)?;
        let rows: Vec<u64> = (0..self.rows.min(split.rows())).collect();
        let positives = chosen(&split, item, &rows)?;
        let place = BatchPlace { rows: rows.len(), ..BatchPlace::default() };
        let samples = sampler.sample(&positives, self.count, self.seed, place);
        let samples = samples.map_err(Failure::plugin)?;
        let mut text = format!("{item}\tsamples\tprobabilities\n");
        let drawn = samples.ids.chunks(self.count.max(1));
        let chances = samples.log_probabilities.chunks(self.count.max(1));
        for ((positive, ids), chances) in positives.iter().zip(drawn).zip(chances) {
            let ids = joined(ids.iter().map(i64::to_string));
            let chances = joined(chances.iter().map(|log| format!("{:.3e}", log.exp())));
            let _ = writeln!(text, "{positive}\t{ids}\t{chances}");
        }
        Ok(text)
    }
}

/// The items of some rows: those of a column, or of a member of a packed one.
fn chosen(split: &Split, item: &str, rows: &[u64]) -> Result<Vec<i64>, Failure> {
    let schema = split.schema();
    let member = |column: &ColumnSchema| column.members.iter().position(|name| name == item);
    let mut packed = schema.columns().iter().enumerate();
    let packed = packed.find_map(|(column, schema)| Some((column, member(schema)?)));
    let (position, at) = match packed {
        Some(place) => place,
        None => (schema.position(item).map_err(Failure::usage)?, 0),
    };
    match split.gather(rows, &[position]).map_err(Failure::failed)?.first() {
        Some(Column::I64 { width, values }) => {
            Ok(values.chunks(*width).map(|row| row[at]).collect())
        }
        _ => Err(Failure::asked("the items' column must hold one id per row")),
    }
}

fn joined(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(",")
}

/// Tab-separated columns side by side, with a heading.
fn table(parts: &[(&Schema, &[Column])], rows: usize) -> String {
    let names = parts.iter().flat_map(|(schema, _)| headings(schema));
    let mut text = names.collect::<Vec<_>>().join("\t") + "\n";
    for row in 0..rows {
        let columns = parts.iter().flat_map(|(_, columns)| columns.iter());
        let cells: Vec<_> = columns.flat_map(|column| fields(column, row)).collect();
        text.push_str(&(cells.join("\t") + "\n"));
    }
    text
}

/// What cannot be asked for is a usage error; all else failed while being done.
fn usage(error: DataError) -> Failure {
    match error {
        DataError::Schema(_) | DataError::UnknownSplit { .. } => Failure::usage(error),
        other => Failure::failed(other),
    }
}
