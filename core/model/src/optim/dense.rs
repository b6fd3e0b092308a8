//! The optimizer of the dense parameters and its state.

use rayon::prelude::*;

use super::options::{DenseOptimizerOptions, ParameterError};
use super::rules::{self, AdagradStep, AdamStep, SgdStep};
use crate::kernel::Level;

/// Parameters of a parallel task: with gradient and two moments 256 KB.
const TASK_VALUES: usize = 1 << 14;

/// An optimizer state that does not fit the optimizer it is loaded into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("optimizer state is {found}, expected {expected}")]
#[non_exhaustive]
pub struct StateError {
    /// Names and lengths of what was given.
    pub found: String,
    /// Names and lengths of what the optimizer keeps.
    pub expected: String,
}

impl rectool_base::Hint for StateError {
    fn hint(&self) -> Option<String> {
        Some("continue with the optimizer and the layer sizes that wrote the checkpoint".to_owned())
    }
}

/// An optimizer over one flat slice of parameters.
///
/// ```
/// use rectool_model::{DenseOptimizer, DenseOptimizerOptions};
/// let options =
///     DenseOptimizerOptions::Sgd { learning_rate: 0.5, momentum: 0.0, weight_decay: 0.0 };
/// let mut optimizer = DenseOptimizer::new(&options, 2)?;
/// let mut params = [1.0, 2.0];
/// optimizer.step(&mut params, &[1.0, -1.0], 1.0);
/// assert_eq!(params, [0.5, 2.5]);
/// # Ok::<(), rectool_model::ParameterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DenseOptimizer {
    options: DenseOptimizerOptions,
    len: usize,
    steps: u64,
    /// Each \[len\], in the order of [`names`].
    slots: Vec<Vec<f32>>,
}

impl DenseOptimizer {
    /// An optimizer of `len` parameters before its first step.
    ///
    /// # Errors
    /// If a number in `options` is out of range.
    pub fn new(options: &DenseOptimizerOptions, len: usize) -> Result<Self, ParameterError> {
        options.check()?;
        let start = match *options {
            DenseOptimizerOptions::Adagrad { initial_accumulator, .. } => initial_accumulator,
            _ => 0.0,
        };
        let slots = names(options).iter().map(|_| vec![start; len]).collect();
        Ok(Self { options: options.clone(), len, steps: 0, slots })
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to optimize.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes one step; `rate` multiplies the learning rate.
    ///
    /// Shapes: `params` and `gradients` \[len\].
    ///
    /// # Panics
    /// If the lengths differ.
    ///
    /// # Determinism
    /// The same bits for any number of threads and any machine.
    pub fn step(&mut self, params: &mut [f32], gradients: &[f32], rate: f32) {
        assert!(
            params.len() == self.len && gradients.len() == self.len,
            "{} parameters and {} gradients for an optimizer of {}",
            params.len(),
            gradients.len(),
            self.len
        );
        self.steps += 1;
        let level = Level::best();
        let options = self.options.clone();
        match options {
            DenseOptimizerOptions::Sgd { learning_rate, momentum, weight_decay } => {
                let step = SgdStep { learning_rate: learning_rate * rate, momentum, weight_decay };
                self.step_sgd(level, params, gradients, step);
            }
            DenseOptimizerOptions::Adagrad { learning_rate, epsilon, weight_decay, .. } => {
                let learning_rate = learning_rate * rate;
                let step = AdagradStep { learning_rate, epsilon, weight_decay };
                let [accumulator] = &mut self.slots[..] else { unreachable!("one slot") };
                chunks(params, gradients).zip(accumulator.par_chunks_mut(TASK_VALUES)).for_each(
                    |((params, gradients), sums)| {
                        rules::adagrad(level, params, gradients, sums, step);
                    },
                );
            }
            DenseOptimizerOptions::Adam { learning_rate, weight_decay, .. } => {
                let step = self.adam_step(learning_rate * rate);
                self.step_adam(level, params, gradients, AdamStep { weight_decay, ..step });
            }
            DenseOptimizerOptions::AdamW { learning_rate, weight_decay, .. } => {
                let step = self.adam_step(learning_rate * rate);
                let shrink = 1.0 - learning_rate * rate * weight_decay;
                self.step_adam(level, params, gradients, AdamStep { shrink, ..step });
            }
        }
    }

    fn step_sgd(&mut self, level: Level, params: &mut [f32], gradients: &[f32], step: SgdStep) {
        let tasks = chunks(params, gradients);
        match &mut self.slots[..] {
            [momentum] => tasks.zip(momentum.par_chunks_mut(TASK_VALUES)).for_each(
                |((params, gradients), momentum)| {
                    rules::sgd_momentum(level, params, gradients, momentum, step);
                },
            ),
            _ => tasks.for_each(|(params, gradients)| rules::sgd(level, params, gradients, step)),
        }
    }

    fn step_adam(&mut self, level: Level, params: &mut [f32], gradients: &[f32], step: AdamStep) {
        let [first, second] = &mut self.slots[..] else { unreachable!("Adam keeps two slots") };
        chunks(params, gradients)
            .zip(first.par_chunks_mut(TASK_VALUES))
            .zip(second.par_chunks_mut(TASK_VALUES))
            .for_each(|(((params, gradients), first), second)| {
                rules::adam(level, params, gradients, [first, second], step);
            });
    }

    /// The numbers of the step that `self.steps` counts, without weight decay.
    fn adam_step(&self, learning_rate: f32) -> AdamStep {
        let (DenseOptimizerOptions::Adam { beta1, beta2, epsilon, .. }
        | DenseOptimizerOptions::AdamW { beta1, beta2, epsilon, .. }) = self.options
        else {
            unreachable!("asked for by Adam and AdamW only")
        };
        // Beyond i32::MAX steps the powers are 0 in any case.
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let start = |beta: f32| 1.0 - f64::from(beta).powi(steps);
        AdamStep {
            step_size: (f64::from(learning_rate) / start(beta1)) as f32,
            correction: start(beta2).sqrt() as f32,
            beta1,
            beta2,
            epsilon,
            weight_decay: 0.0,
            shrink: 1.0,
        }
    }

    /// What a checkpoint must keep beside [`DenseOptimizer::steps`]: name and values \[len\] of each
    /// slot.
    pub fn state(&self) -> Vec<(&'static str, &[f32])> {
        names(&self.options).iter().copied().zip(self.slots.iter().map(Vec::as_slice)).collect()
    }

    /// Continues from a checkpoint: the result of [`DenseOptimizer::steps`] and
    /// [`DenseOptimizer::state`], the slots in any order.
    ///
    /// # Errors
    /// If names or lengths are not those of this optimizer, which is then unchanged.
    pub fn load_state(&mut self, steps: u64, state: &[(&str, &[f32])]) -> Result<(), StateError> {
        let names = names(&self.options);
        let find = |name: &str| state.iter().find(|(other, _)| *other == name);
        let found: Option<Vec<&[f32]>> = names
            .iter()
            .map(|name| find(name).map(|(_, values)| *values))
            .map(|values| values.filter(|values| values.len() == self.len))
            .collect();
        let Some(found) = found.filter(|_| state.len() == names.len()) else {
            return Err(StateError {
                found: described(state.iter().map(|(name, values)| (*name, values.len()))),
                expected: described(names.iter().map(|name| (*name, self.len))),
            });
        };
        for (slot, values) in self.slots.iter_mut().zip(found) {
            slot.copy_from_slice(values);
        }
        self.steps = steps;
        Ok(())
    }
}

fn chunks<'a>(
    params: &'a mut [f32],
    gradients: &'a [f32],
) -> impl IndexedParallelIterator<Item = (&'a mut [f32], &'a [f32])> {
    params.par_chunks_mut(TASK_VALUES).zip(gradients.par_chunks(TASK_VALUES))
}

fn names(options: &DenseOptimizerOptions) -> &'static [&'static str] {
    match options {
        DenseOptimizerOptions::Sgd { momentum, .. } if *momentum > 0.0 => &["momentum"],
        DenseOptimizerOptions::Sgd { .. } => &[],
        DenseOptimizerOptions::Adagrad { .. } => &["accumulator"],
        DenseOptimizerOptions::Adam { .. } | DenseOptimizerOptions::AdamW { .. } => {
            &["first_moment", "second_moment"]
        }
    }
}

/// `` `momentum` [10], `x` [3] ``, or `empty`.
fn described<'a>(slots: impl Iterator<Item = (&'a str, usize)>) -> String {
    let slots: Vec<String> = slots.map(|(name, len)| format!("`{name}` [{len}]")).collect();
    if slots.is_empty() { "empty".to_owned() } else { slots.join(", ") }
}

#[cfg(test)]
mod tests {
    use rectool_base::Stream;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        options: DenseOptimizerOptions,
        start: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        after: Vec<Vec<f64>>,
    }

    #[test]
    fn agrees_with_torch() {
        let text = include_str!("../../../../tests/golden/dense_optimizers.json");
        for golden in serde_json::from_str::<Vec<Golden>>(text).unwrap() {
            let mut optimizer = DenseOptimizer::new(&golden.options, golden.start.len()).unwrap();
            let mut params = golden.start;
            for (gradients, after) in golden.gradients.iter().zip(&golden.after) {
                optimizer.step(&mut params, gradients, 1.0);
                for (found, expected) in params.iter().zip(after) {
                    let error = (f64::from(*found) - expected).abs();
                    let (options, step) = (&golden.options, optimizer.steps());
                    assert!(error < 1e-6, "{options:?}, step {step}: {found}, not {expected}");
                }
            }
        }
    }

    fn all_options() -> Vec<DenseOptimizerOptions> {
        [
            r#"{"kind": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}"#,
            r#"{"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}"#,
            r#"{"kind": "adagrad", "learning_rate": 0.1, "initial_accumulator": 0.1}"#,
            r#"{"kind": "adam", "learning_rate": 0.1, "weight_decay": 0.1}"#,
            r#"{"kind": "adam_w", "learning_rate": 0.1}"#,
        ]
        .map(|text| serde_json::from_str(text).unwrap())
        .to_vec()
    }

    #[test]
    fn every_kind_finds_the_minimum() {
        let target = [1.0, -2.0, 0.5];
        for options in all_options() {
            let mut optimizer = DenseOptimizer::new(&options, 3).unwrap();
            let mut params = [0.0; 3];
            for step in 0..600 {
                let gradients: Vec<f32> =
                    params.iter().zip(target).map(|(param, target)| param - target).collect();
                let rate = if step < 400 { 1.0 } else { 0.1 };
                optimizer.step(&mut params, &gradients, rate);
            }
            // Weight decay pulls towards 0 by up to a tenth.
            for (param, target) in params.iter().zip(target) {
                assert!((param - target).abs() < 0.22, "{options:?}: {params:?}");
            }
        }
    }

    #[test]
    fn threads_and_restarts_do_not_change_a_bit() {
        let len = 3 * TASK_VALUES + 7;
        let mut stream = Stream::new(1, &[]);
        let gradients: Vec<f32> = (0..len).map(|_| stream.next_normal()).collect();
        for options in all_options() {
            let run = |threads, restart| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut optimizer = DenseOptimizer::new(&options, len).unwrap();
                let mut params = vec![0.25; len];
                for step in 0..4 {
                    if restart && step == 2 {
                        let mut fresh = DenseOptimizer::new(&options, len).unwrap();
                        fresh.load_state(optimizer.steps(), &optimizer.state()).unwrap();
                        optimizer = fresh;
                    }
                    pool.install(|| optimizer.step(&mut params, &gradients, 0.5));
                }
                params
            };
            assert!(run(1, false) == run(3, true), "{options:?}");
        }
    }

    #[test]
    fn a_state_of_another_optimizer_is_refused() {
        let options = all_options();
        let mut adam = DenseOptimizer::new(&options[3], 2).unwrap();
        let adagrad = DenseOptimizer::new(&options[2], 2).unwrap();
        let error = adam.load_state(3, &adagrad.state()).unwrap_err();
        let expected = "optimizer state is `accumulator` [2], \
                        expected `first_moment` [2], `second_moment` [2]";
        assert_eq!(error.to_string(), expected);
        assert_eq!(adam.steps(), 0);
        let mut sgd = DenseOptimizer::new(&options[0], 2).unwrap();
        let error = sgd.load_state(3, &adagrad.state()).unwrap_err();
        assert_eq!(error.to_string(), "optimizer state is `accumulator` [2], expected empty");
    }

    #[test]
    #[should_panic(expected = "3 parameters and 2 gradients for an optimizer of 2")]
    fn lengths_are_checked() {
        let mut optimizer = DenseOptimizer::new(&all_options()[0], 2).unwrap();
        optimizer.step(&mut [0.0; 3], &[0.0; 2], 1.0);
    }
}
