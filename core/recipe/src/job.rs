//! `train(model, #{…})`: what is trained on, and how.

use rectool_base::limits::BATCH_ROWS_MAX;
use rectool_base::quoted_list;
use rectool_data::Shuffle;
use rectool_embedding::Wire;
use rectool_model::{EarlyStop, Overlap, Schedule, StopMetric, TrainSpec};
use rhai::Map;
use serde::Deserialize;

use crate::call::Call;
use crate::dataset::Split;
use crate::error::{RecipeError, did_you_mean};
use crate::evaluation::check_group;
use crate::network::Model;
use crate::options::{Options, one};

/// Training reports of a run, about: enough for a curve, few enough to cost nothing.
const REPORTS: u64 = 400;
/// Most steps between two reports, so that progress shows.
const REPORT_STEPS_MAX: u64 = 200;

/// One training, checked.
pub(crate) struct TrainJob {
    pub(crate) train: Split,
    pub(crate) valid: Option<Split>,
    pub(crate) spec: TrainSpec,
}

/// The plain options of `train`.
#[derive(Deserialize)]
struct Plain {
    batch_size: usize,
    #[serde(default = "one")]
    epochs: u64,
    #[serde(default)]
    steps_max: u64,
    #[serde(default)]
    shuffle: Order,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    clip_norm: f64,
    #[serde(default)]
    eval_every: u64,
    #[serde(default = "twenty")]
    eval_k: usize,
    group_by: Option<String>,
    early_stop: Option<Stop>,
    #[serde(default)]
    checkpoint_every: u64,
    #[serde(default = "two")]
    checkpoints_kept: usize,
    #[serde(default)]
    checkpoint_full_every: u64,
    #[serde(default)]
    report_every: u64,
    #[serde(default = "one")]
    loader_threads: usize,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default)]
    wire: Wire,
}

fn two() -> usize {
    2
}

fn twenty() -> usize {
    20
}

/// Order of rows.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// As in the files.
    None,
    /// Over windows of rows, so that reads stay local.
    #[default]
    Block,
    /// Over the whole split.
    Full,
}

/// When to stop before the last epoch.
#[derive(Deserialize)]
struct Stop {
    metric: Option<String>,
    /// Evaluations without a new best; 0: never stop early.
    patience: u32,
}

impl TrainJob {
    /// Reads the options of `train` and checks them against the data.
    pub(crate) fn read(call: &Call, model: &Model, map: Map) -> Result<Self, RecipeError> {
        let mut options = Options::new(call, map);
        if options.has("negatives") {
            let hint = "the chain and the loss may want the columns that negatives add".to_owned();
            let what = "belongs into features(dataset, #{negatives: …})";
            return Err(options.refuse("negatives", what, Some(hint)));
        }
        let train: Split = options.required("train", "a split such as data.train")?;
        let valid: Option<Split> = options.noun("valid", "a split such as data.valid")?;
        let schedule: Option<Schedule> =
            options.noun("schedule", "constant() or warmup_decay(#{…})")?;
        let plain: Plain = options.rest()?;
        plain.check(&options)?;
        for (key, split) in [("train", Some(&train)), ("valid", valid.as_ref())] {
            let Some(split) = split else { continue };
            model.0.check_split(call, key, split)?;
        }
        let rows = train.rows.rows();
        if plain.batch_size as u64 > rows {
            let (batch, name) = (plain.batch_size, train.rows.name());
            let what = format!("is {batch}, but split '{name}' has only {rows} rows");
            let hint = Some(format!("use batch_size {rows} or less"));
            return Err(options.refuse("batch_size", &what, hint));
        }
        let stop = plain.early_stop.as_ref().filter(|stop| stop.patience > 0);
        let early_stop = stop.map(|stop| stop.of(model, &options)).transpose()?;
        if let Some(name) = &plain.group_by {
            let Some(valid) = &valid else {
                let what = "needs 'valid', the split that is judged by groups";
                return Err(options.refuse("group_by", what, None));
            };
            check_group(&options, model, valid, name)?;
        } else if early_stop.as_ref().is_some_and(|stop| stop.metric == StopMetric::Gauc) {
            let hint = "say whose rows belong together: group_by: \"user\"".to_owned();
            let what = "watches the AUC within groups without 'group_by'";
            return Err(options.refuse("early_stop", what, Some(hint)));
        }
        if early_stop.is_some() && valid.is_none() {
            return Err(options.refuse("early_stop", "needs 'valid', the split to watch", None));
        }
        let spec = plain.spec(rows, schedule.unwrap_or_default(), early_stop);
        spec.check(rows).map_err(|error| RecipeError::refused(&call.place, error))?;
        Ok(Self { train, valid, spec })
    }
}

impl Stop {
    /// As the model knows it.
    fn of(&self, model: &Model, options: &Options<'_>) -> Result<EarlyStop, RecipeError> {
        let (name, network) = (self.metric.as_deref(), &model.0);
        let found = network.spec.early_stop(name, &network.predictions, self.patience);
        found.ok_or_else(|| {
            let watched = |name: &String| {
                network.spec.early_stop(Some(name), &network.predictions, 1).is_some()
            };
            let known: Vec<String> = network.metric_names().into_iter().filter(watched).collect();
            let known = || known.iter().map(String::as_str);
            let (name, listed) = (name.unwrap_or_default(), quoted_list(known()));
            let what = format!(
                "watches '{name}', which this model does not have; it has {listed} to watch"
            );
            options.refuse("early_stop", &what, did_you_mean(name, known()))
        })
    }
}

impl Plain {
    fn check(&self, options: &Options<'_>) -> Result<(), RecipeError> {
        options.in_range("batch_size", self.batch_size, 1..=BATCH_ROWS_MAX)?;
        options.number("clip_norm", self.clip_norm, self.clip_norm >= 0.0, "at least 0")?;
        options.in_range("eval_k", self.eval_k, 1..=10_000)?;
        options.in_range("epochs", self.epochs as usize, 1..=1_000_000)?;
        options.in_range("checkpoints_kept", self.checkpoints_kept, 1..=1_000_000)?;
        options.in_range("loader_threads", self.loader_threads, 0..=256)
    }

    fn spec(&self, rows: u64, schedule: Schedule, early_stop: Option<EarlyStop>) -> TrainSpec {
        let block = 4_096;
        let shuffle = match self.shuffle {
            Order::None => Shuffle::None,
            Order::Block => Shuffle::default(),
            Order::Full => {
                Shuffle::Block { block_rows: block, window_blocks: rows.div_ceil(block).max(1) }
            }
        };
        let mut spec = TrainSpec {
            batch_size: self.batch_size,
            epochs: self.epochs,
            steps_max: self.steps_max,
            shuffle,
            seed: self.seed,
            schedule,
            clip_norm: self.clip_norm,
            eval_every: self.eval_every,
            eval_k: self.eval_k,
            group_by: self.group_by.clone(),
            early_stop,
            checkpoint_every: self.checkpoint_every,
            checkpoints_kept: self.checkpoints_kept,
            checkpoint_full_every: self.checkpoint_full_every,
            report_every: self.report_every,
            loader_threads: self.loader_threads,
            overlap: self.overlap,
            wire: self.wire,
        };
        if spec.report_every == 0 {
            spec.report_every = (spec.steps_total(rows) / REPORTS).clamp(1, REPORT_STEPS_MAX);
        }
        spec
    }
}
