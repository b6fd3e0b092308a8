//! What stands between the calls of the host and the traits of this crate.

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;

use crate::wit::about::exports::rectool::plugin::about::{self, Description};
use crate::wit::loss::exports::rectool::plugin::objective;
use crate::wit::sampler::exports::rectool::plugin::sampler;
use crate::wit::transform::exports::rectool::plugin::transform;
use crate::wit::types::Parameter;
use crate::{Column, ColumnType, Fault, LossBatch, Parameters, Samples, Weighting};

thread_local! {
    /// The configured plugin: an instance has one thread and one configuration.
    static CONFIGURED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

fn keep<T: 'static>(configured: T) {
    CONFIGURED.with_borrow_mut(|kept| *kept = Some(Box::new(configured)));
}

fn kept<T: 'static, R>(f: impl FnOnce(&mut T) -> Result<R, Fault>) -> Result<R, Fault> {
    CONFIGURED.with_borrow_mut(|kept| match kept.as_mut().and_then(|kept| kept.downcast_mut()) {
        Some(configured) => f(configured),
        None => Err(Fault::new("called before it was configured")),
    })
}

/// A transform as the host sees it.
pub struct TransformPlugin<T>(PhantomData<T>);

impl<T: crate::Transform> about::Guest for TransformPlugin<T> {
    fn describe() -> Description {
        T::about().description()
    }
}

impl<T: crate::Transform> transform::Guest for TransformPlugin<T> {
    fn configure(
        parameters: Vec<Parameter>,
        inputs: Vec<ColumnType>,
    ) -> Result<Vec<ColumnType>, Fault> {
        let (configured, outputs) = T::configure(&Parameters::new(parameters), &inputs)?;
        keep(configured);
        Ok(outputs)
    }

    fn apply(rows: u32, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        kept(|configured: &mut T| configured.apply(rows as usize, columns))
    }
}

/// A loss as the host sees it.
pub struct LossPlugin<T>(PhantomData<T>);

impl<T: crate::Loss> about::Guest for LossPlugin<T> {
    fn describe() -> Description {
        T::about().description()
    }
}

impl<T: crate::Loss> objective::Guest for LossPlugin<T> {
    fn configure(parameters: Vec<Parameter>) -> Result<objective::Demands, Fault> {
        let (configured, demands) = T::configure(&Parameters::new(parameters))?;
        keep(configured);
        Ok(demands)
    }

    fn bind(columns: Vec<ColumnType>) -> Result<(), Fault> {
        kept(|configured: &mut T| configured.bind(&columns))
    }

    fn evaluate(
        logits: Vec<f32>,
        labels: Vec<f32>,
        weights: Vec<f32>,
        columns: Vec<Column>,
    ) -> Result<objective::Evaluation, Fault> {
        let batch =
            LossBatch { logits: &logits, labels: &labels, weights: &weights, columns: &columns };
        kept(|configured: &mut T| {
            let (losses, gradients) = evaluate(configured, &batch)?;
            Ok(objective::Evaluation { losses, gradients })
        })
    }
}

/// Losses and gradients of a batch, weighted.
pub(crate) fn evaluate<T: crate::Loss>(
    loss: &T,
    batch: &LossBatch<'_>,
) -> Result<(Vec<f32>, Vec<f32>), Fault> {
    let (mut losses, mut gradients) =
        (vec![0.0; batch.logits.len()], vec![0.0; batch.logits.len()]);
    loss.evaluate(batch, &mut losses, &mut gradients)?;
    if T::WEIGHTING == Weighting::PerRow && !batch.weights.is_empty() {
        let results = losses.iter_mut().zip(&mut gradients);
        for ((loss, gradient), weight) in results.zip(batch.weights) {
            *loss *= weight;
            *gradient *= weight;
        }
    }
    Ok((losses, gradients))
}

/// A sampler as the host sees it.
pub struct SamplerPlugin<T>(PhantomData<T>);

impl<T: crate::Sampler> about::Guest for SamplerPlugin<T> {
    fn describe() -> Description {
        T::about().description()
    }
}

impl<T: crate::Sampler> sampler::Guest for SamplerPlugin<T> {
    fn configure(parameters: Vec<Parameter>, items: sampler::Items) -> Result<(), Fault> {
        T::configure(&Parameters::new(parameters), items).map(keep)
    }

    fn sample(positives: Vec<i64>, count: u32, seed: u64) -> Result<Samples, Fault> {
        kept(|configured: &mut T| {
            let draws = positives.len() * count as usize;
            let mut samples = Samples {
                ids: Vec::with_capacity(draws),
                log_probabilities: Vec::with_capacity(draws),
            };
            configured.sample(&positives, count as usize, seed, &mut samples)?;
            Ok(samples)
        })
    }
}
