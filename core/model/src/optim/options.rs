//! What a recipe may say about the dense optimizer.

use serde::{Deserialize, Serialize};

/// A number that a user gave and that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` is {found}, expected {expected}")]
#[non_exhaustive]
pub struct ParameterError {
    /// The option's name.
    pub parameter: &'static str,
    /// What was given.
    pub found: String,
    /// The allowed range.
    pub expected: &'static str,
}

impl rectool_base::Hint for ParameterError {}

impl ParameterError {
    pub(crate) fn unless(
        allowed: bool,
        parameter: &'static str,
        found: &impl ToString,
        expected: &'static str,
    ) -> Result<(), Self> {
        if allowed {
            return Ok(());
        }
        Err(Self { parameter, found: found.to_string(), expected })
    }
}

/// An optimizer and its numbers; the formulas are those of `torch.optim`, and so are the defaults.
///
/// ```
/// use rectool_model::DenseOptimizerOptions;
/// let options: DenseOptimizerOptions =
///     serde_json::from_str(r#"{"kind": "adam", "learning_rate": 0.001}"#).unwrap();
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DenseOptimizerOptions {
    /// Stochastic gradient descent, with momentum where it is above 0.
    Sgd {
        /// Step size.
        learning_rate: f32,
        /// Share of the former direction that is kept, in [0, 1).
        #[serde(default)]
        momentum: f32,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Adagrad.
    Adagrad {
        /// Step size.
        learning_rate: f32,
        /// Added to the root of the accumulator.
        #[serde(default = "adagrad_epsilon")]
        epsilon: f32,
        /// What the accumulator starts at.
        #[serde(default)]
        initial_accumulator: f32,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Adam.
    Adam {
        /// Step size.
        learning_rate: f32,
        /// Decay of the gradient's mean.
        #[serde(default = "adam_beta1")]
        beta1: f32,
        /// Decay of the squared gradient's mean.
        #[serde(default = "adam_beta2")]
        beta2: f32,
        /// Added to the root of the second mean.
        #[serde(default = "adam_epsilon")]
        epsilon: f32,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Adam with weight decay apart from the gradient.
    AdamW {
        /// Step size.
        learning_rate: f32,
        /// Decay of the gradient's mean.
        #[serde(default = "adam_beta1")]
        beta1: f32,
        /// Decay of the squared gradient's mean.
        #[serde(default = "adam_beta2")]
        beta2: f32,
        /// Added to the root of the second mean.
        #[serde(default = "adam_epsilon")]
        epsilon: f32,
        /// Share of a parameter that a step takes away, per unit of the learning rate.
        #[serde(default = "adam_w_weight_decay")]
        weight_decay: f32,
    },
}

fn adagrad_epsilon() -> f32 {
    1e-10
}
fn adam_beta1() -> f32 {
    0.9
}
fn adam_beta2() -> f32 {
    0.999
}
fn adam_epsilon() -> f32 {
    1e-8
}
fn adam_w_weight_decay() -> f32 {
    0.01
}

const NOT_NEGATIVE: &str = "a finite number of at least 0";
const POSITIVE: &str = "a finite number above 0";
const SHARE: &str = "at least 0 and below 1";

impl DenseOptimizerOptions {
    /// Checks every number.
    ///
    /// # Errors
    /// [`ParameterError`] with the first number that is out of range.
    pub fn check(&self) -> Result<(), ParameterError> {
        let at_least_0 = |name, value: f32| {
            ParameterError::unless(value.is_finite() && value >= 0.0, name, &value, NOT_NEGATIVE)
        };
        let above_0 = |name, value: f32| {
            ParameterError::unless(value.is_finite() && value > 0.0, name, &value, POSITIVE)
        };
        let share = |name, value: f32| {
            ParameterError::unless((0.0..1.0).contains(&value), name, &value, SHARE)
        };
        match *self {
            Self::Sgd { learning_rate, momentum, weight_decay } => {
                above_0("learning_rate", learning_rate)?;
                share("momentum", momentum)?;
                at_least_0("weight_decay", weight_decay)
            }
            Self::Adagrad { learning_rate, epsilon, initial_accumulator, weight_decay } => {
                above_0("learning_rate", learning_rate)?;
                above_0("epsilon", epsilon)?;
                at_least_0("initial_accumulator", initial_accumulator)?;
                at_least_0("weight_decay", weight_decay)
            }
            Self::Adam { learning_rate, beta1, beta2, epsilon, weight_decay }
            | Self::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay } => {
                above_0("learning_rate", learning_rate)?;
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                above_0("epsilon", epsilon)?;
                at_least_0("weight_decay", weight_decay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DenseOptimizerOptions, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn defaults_are_those_of_torch() {
        let found = parse(r#"{"kind": "adagrad", "learning_rate": 0.01}"#).unwrap();
        let expected = DenseOptimizerOptions::Adagrad {
            learning_rate: 0.01,
            epsilon: 1e-10,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        };
        assert_eq!(found, expected);
        let text = serde_json::to_string(&expected).unwrap();
        assert_eq!(parse(&text).unwrap(), expected);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let error = parse(r#"{"kind": "sgd", "lerning_rate": 0.01}"#).unwrap_err();
        assert!(error.to_string().contains("lerning_rate"), "{error}");
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for (text, expected) in [
            (
                r#"{"kind": "sgd", "learning_rate": 0}"#,
                "`learning_rate` is 0, expected a finite number above 0",
            ),
            (
                r#"{"kind": "sgd", "learning_rate": 1, "momentum": 1}"#,
                "`momentum` is 1, expected at least 0 and below 1",
            ),
            (
                r#"{"kind": "adam_w", "learning_rate": 1, "weight_decay": -1}"#,
                "`weight_decay` is -1, expected a finite number of at least 0",
            ),
        ] {
            assert_eq!(parse(text).unwrap().check().unwrap_err().to_string(), expected);
        }
    }
}
