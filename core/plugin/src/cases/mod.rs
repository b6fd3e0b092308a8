//! Golden cases: arguments of a plugin and the results that it has to give, one JSON object per line
//! of a `cases.jsonl`. `sdk/README.md` says how they are written.

mod column;
mod compare;
mod line;
pub(crate) mod rows;

use rectool_base::{
    BatchPlace, Column, ColumnSchema, ItemStatistics, LossInput, PluginFault, Samples, Schema,
    TransformError,
};

use crate::contract::Kind;
use crate::parameters::Parameters;
use crate::plugin::Plugin;
use compare::Tolerance;

/// Where the batch of a case stands: at the start.
pub(crate) fn place(rows: usize) -> BatchPlace {
    BatchPlace { epoch: 0, step: 0, row_first: 0, rows }
}

/// A line that is not a case.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {message}")]
#[non_exhaustive]
pub struct CaseError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// One golden case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Line of the file, from 1.
    pub line: usize,
    /// Parameters given; the plugin has defaults for the others.
    pub parameters: Parameters,
    pub(crate) arguments: Arguments,
    pub(crate) expected: Expected,
    tolerance: Tolerance,
}

/// What the plugin is given.
#[derive(Clone, Debug)]
pub(crate) enum Arguments {
    Transform(Columns),
    Loss(LossArguments),
    Sampler(SamplerArguments),
}

/// Columns with their types.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    pub(crate) schemas: Vec<ColumnSchema>,
    pub(crate) columns: Vec<Column>,
}

#[derive(Clone, Debug)]
pub(crate) struct LossArguments {
    pub(crate) logits: Vec<f32>,
    pub(crate) labels: Vec<f32>,
    /// Empty where every row weighs 1.
    pub(crate) weights: Vec<f32>,
    pub(crate) columns: Columns,
}

#[derive(Clone, Debug)]
pub(crate) struct SamplerArguments {
    pub(crate) items: ItemStatistics,
    pub(crate) positives: Vec<i64>,
    pub(crate) count: usize,
    pub(crate) seed: u64,
}

/// What it has to give.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Columns(Columns),
    Losses {
        losses: Vec<f32>,
        gradients: Vec<f32>,
    },
    Samples {
        ids: Option<Vec<i64>>,
        log_probabilities: Option<Vec<f32>>,
    },
    /// A failure whose message or hint holds this text.
    Error(String),
}

/// What it gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Results {
    Columns(Columns),
    Losses { losses: Vec<f32>, gradients: Vec<f32> },
    Samples(Samples),
}

/// Reads the cases of a plugin of this kind, one per line; empty lines are left out.
///
/// # Errors
/// If a line is not a case: not JSON, an unknown or missing key, values that do not fit their type.
///
/// ```
/// use rectool_plugin::{Kind, cases};
/// let text = r#"{"name": "one", "logits": [0], "labels": [1], "losses": [0.5], "gradients": [-1]}"#;
/// assert_eq!(cases::read(Kind::Loss, text)?[0].name, "one");
/// # Ok::<(), cases::CaseError>(())
/// ```
pub fn read(kind: Kind, text: &str) -> Result<Vec<Case>, CaseError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(at, line)| {
        let line_number = at + 1;
        line::parse(kind, line_number, line)
            .map_err(|message| CaseError { line: line_number, message })
    });
    read.collect()
}

impl Case {
    /// Gives the arguments to the plugin and compares the results. The error says what differs.
    ///
    /// # Errors
    /// If the plugin gives anything else than the case says.
    pub fn replay(&self, plugin: &Plugin) -> Result<(), String> {
        match (self.run(plugin), &self.expected) {
            (Ok(_), Expected::Error(text)) => {
                Err(format!("gave a result, expected the error `{text}`"))
            }
            (Err(fault), Expected::Error(text)) => {
                let hint = fault.hint.as_deref().unwrap_or_default();
                if fault.message.contains(text.as_str()) || hint.contains(text.as_str()) {
                    return Ok(());
                }
                Err(format!("failed with `{}`, expected `{text}`", fault.message))
            }
            (Err(fault), _) => Err(fault.message),
            (Ok(results), expected) => compare::results(&results, expected, self.tolerance),
        }
    }

    /// Whether the plugin is to refuse it.
    pub fn expects_error(&self) -> bool {
        matches!(self.expected, Expected::Error(_))
    }

    pub(crate) fn run(&self, plugin: &Plugin) -> Result<Results, PluginFault> {
        self.prepared(plugin)?()
    }

    /// The configured plugin, to be given the arguments any number of times.
    pub(crate) fn prepared<'a>(&'a self, plugin: &Plugin) -> Result<Prepared<'a>, PluginFault> {
        match &self.arguments {
            Arguments::Transform(inputs) => transform(plugin, &self.parameters, inputs),
            Arguments::Loss(arguments) => loss(plugin, &self.parameters, arguments),
            Arguments::Sampler(arguments) => sampler(plugin, &self.parameters, arguments),
        }
    }
}

pub(crate) type Prepared<'a> = Box<dyn Fn() -> Result<Results, PluginFault> + 'a>;

fn transform<'a>(
    plugin: &Plugin,
    parameters: &Parameters,
    inputs: &'a Columns,
) -> Result<Prepared<'a>, PluginFault> {
    let transform = plugin.transform(parameters)?;
    let run = move || {
        let schemas = transform.outputs(&inputs.schemas)?;
        let place = place(inputs.rows());
        let columns = transform.apply(&inputs.schemas, inputs.columns.clone(), place)?;
        Ok(Results::Columns(Columns { schemas, columns }))
    };
    Ok(Box::new(move || run().map_err(fault_of)))
}

/// A transform that is a plugin fails as one.
fn fault_of(error: TransformError) -> PluginFault {
    match error {
        TransformError::Plugin(fault) => fault,
        error => unreachable!("a plugin failed with an error of native transforms: {error}"),
    }
}

fn loss<'a>(
    plugin: &Plugin,
    parameters: &Parameters,
    arguments: &'a LossArguments,
) -> Result<Prepared<'a>, PluginFault> {
    let LossArguments { logits, labels, weights, columns } = arguments;
    let schema = Schema::new(columns.schemas.clone()).expect("checked when the case was read");
    let loss = plugin.loss(parameters, &schema)?;
    Ok(Box::new(move || {
        let columns: Vec<&Column> = arguments.demanded(&loss.demands().columns);
        let (mut losses, mut gradients) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
        let place = place(logits.len());
        let input = LossInput { place, logits, labels, weights, columns: &columns };
        loss.evaluate(input, &mut losses, &mut gradients)?;
        Ok(Results::Losses { losses, gradients })
    }))
}

fn sampler<'a>(
    plugin: &Plugin,
    parameters: &Parameters,
    arguments: &'a SamplerArguments,
) -> Result<Prepared<'a>, PluginFault> {
    let SamplerArguments { items, positives, count, seed } = arguments;
    let sampler = plugin.sampler(parameters, items)?;
    Ok(Box::new(move || {
        let place = place(positives.len());
        Ok(Results::Samples(sampler.sample(positives, *count, *seed, place)?))
    }))
}

impl LossArguments {
    /// The columns that the loss demands, in its order.
    pub(crate) fn demanded(&self, names: &[String]) -> Vec<&Column> {
        let Columns { schemas, columns } = &self.columns;
        let find = |name: &String| {
            let at = schemas.iter().position(|schema| schema.name == *name);
            &columns[at.expect("the loss was bound to columns of this schema")]
        };
        names.iter().map(find).collect()
    }
}

impl Columns {
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::rows)
    }
}
