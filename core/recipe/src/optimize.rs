//! Optimizers and learning-rate schedules as scripts write them.

use rectool_embedding::{Decay, OptimizerOptions};
use rectool_model::{DecayShape, DenseOptimizerOptions, Schedule};
use rhai::Map;
use serde::Deserialize;

use crate::call::Call;
use crate::error::RecipeError;
use crate::options::Options;

/// The weight decay of `adamw`, unless the recipe says otherwise.
const ADAMW_WEIGHT_DECAY: f64 = 0.01;

/// An optimizer with its options. Names and defaults are those of `torch.optim`, where it has them, but for the rate of
/// `sgd`: a hundredth of this one, as there, leaves tables as they were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Optimizer {
    Sgd(Sgd),
    Adagrad(Adagrad),
    RowwiseAdagrad(Adagrad),
    Adam(Adam),
    AdamW(Adam),
    RowwiseAdam(Adam),
    Ftrl(Ftrl),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Sgd {
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { learning_rate: 0.1, momentum: 0.0, weight_decay: 0.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Adagrad {
    learning_rate: f32,
    epsilon: f32,
    initial_accumulator: f32,
    weight_decay: f32,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { learning_rate: 0.01, epsilon: 1e-10, initial_accumulator: 0.0, weight_decay: 0.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Adam {
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    /// Of embedding tables only: a dense layer is never left out of a step.
    decay: Decay,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            learning_rate: 0.001,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay: Decay::Lazy,
        }
    }
}

/// As [`OptimizerOptions::Ftrl`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Ftrl {
    learning_rate: f32,
    beta: f32,
    l1: f32,
    l2: f32,
}

impl Default for Ftrl {
    fn default() -> Self {
        // α and β of the paper's advice: α about 0.1, β 1 is good enough.
        Self { learning_rate: 0.1, beta: 1.0, l1: 0.0, l2: 0.0 }
    }
}

impl Optimizer {
    /// The functions that make one.
    pub(crate) const FUNCTIONS: [&'static str; 7] =
        ["sgd", "adagrad", "rowwise_adagrad", "adam", "adamw", "rowwise_adam", "ftrl"];

    /// The function that makes it.
    pub(crate) fn function(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adagrad(_) => "adagrad",
            Self::RowwiseAdagrad(_) => "rowwise_adagrad",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
            Self::RowwiseAdam(_) => "rowwise_adam",
            Self::Ftrl(_) => "ftrl",
        }
    }

    /// Floats of state per weight of a dense layer.
    pub(crate) fn weight_state(&self) -> u64 {
        match self {
            Self::Sgd(sgd) => u64::from(sgd.momentum > 0.0),
            Self::Adagrad(_) | Self::RowwiseAdagrad(_) => 1,
            Self::Adam(_) | Self::AdamW(_) | Self::RowwiseAdam(_) | Self::Ftrl(_) => 2,
        }
    }

    /// Reads the option map of the function that `call` names.
    pub(crate) fn read(call: &Call, mut map: Map) -> Result<Self, RecipeError> {
        if call.function == "adamw" {
            // The one default in which it differs from `adam`.
            map.entry("weight_decay".into()).or_insert_with(|| ADAMW_WEIGHT_DECAY.into());
        }
        let options = Options::new(call, map);
        let read = match call.function.as_str() {
            "sgd" => Self::Sgd(options.rest()?),
            "adagrad" => Self::Adagrad(options.rest()?),
            "rowwise_adagrad" => Self::RowwiseAdagrad(options.rest()?),
            "adamw" => Self::AdamW(options.rest()?),
            "rowwise_adam" => Self::RowwiseAdam(options.rest()?),
            "ftrl" => Self::Ftrl(options.rest()?),
            _ => Self::Adam(options.rest()?),
        };
        read.check(&options)?;
        Ok(read)
    }

    fn check(&self, options: &Options<'_>) -> Result<(), RecipeError> {
        let positive = |key, value: f32| options.number(key, value, value > 0.0, "above 0");
        let not_negative = |key, value: f32| options.number(key, value, value >= 0.0, "at least 0");
        let share = |key, value: f32| {
            options.number(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
        };
        match self {
            Self::Sgd(sgd) => {
                positive("learning_rate", sgd.learning_rate)?;
                share("momentum", sgd.momentum)?;
                not_negative("weight_decay", sgd.weight_decay)
            }
            Self::Adagrad(adagrad) | Self::RowwiseAdagrad(adagrad) => {
                positive("learning_rate", adagrad.learning_rate)?;
                positive("epsilon", adagrad.epsilon)?;
                not_negative("initial_accumulator", adagrad.initial_accumulator)?;
                not_negative("weight_decay", adagrad.weight_decay)
            }
            Self::Adam(adam) | Self::AdamW(adam) | Self::RowwiseAdam(adam) => {
                positive("learning_rate", adam.learning_rate)?;
                share("beta1", adam.beta1)?;
                share("beta2", adam.beta2)?;
                positive("epsilon", adam.epsilon)?;
                not_negative("weight_decay", adam.weight_decay)
            }
            Self::Ftrl(ftrl) => {
                positive("learning_rate", ftrl.learning_rate)?;
                positive("beta", ftrl.beta)?;
                not_negative("l1", ftrl.l1)?;
                not_negative("l2", ftrl.l2)
            }
        }
    }

    /// As the fused optimizer of embedding tables.
    pub(crate) fn of_embeddings(self) -> OptimizerOptions {
        match self {
            Self::Sgd(Sgd { learning_rate, momentum, weight_decay }) => {
                OptimizerOptions::Sgd { learning_rate, momentum, weight_decay }
            }
            Self::Adagrad(Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            }) => OptimizerOptions::Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            },
            Self::RowwiseAdagrad(Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            }) => OptimizerOptions::RowWiseAdagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            },
            Self::Adam(Adam { learning_rate, beta1, beta2, epsilon, weight_decay, decay }) => {
                OptimizerOptions::Adam { learning_rate, beta1, beta2, epsilon, weight_decay, decay }
            }
            Self::AdamW(Adam { learning_rate, beta1, beta2, epsilon, weight_decay, decay }) => {
                OptimizerOptions::AdamW {
                    learning_rate,
                    beta1,
                    beta2,
                    epsilon,
                    weight_decay,
                    decay,
                }
            }
            Self::RowwiseAdam(Adam {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                decay,
            }) => OptimizerOptions::RowWiseAdam {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay,
                decay,
            },
            Self::Ftrl(Ftrl { learning_rate, beta, l1, l2 }) => {
                OptimizerOptions::Ftrl { learning_rate, beta, l1, l2 }
            }
        }
    }

    /// As the optimizer of the dense layers, or why it cannot be one.
    pub(crate) fn of_layers(self) -> Result<DenseOptimizerOptions, String> {
        match self {
            Self::Sgd(Sgd { learning_rate, momentum, weight_decay }) => {
                Ok(DenseOptimizerOptions::Sgd { learning_rate, momentum, weight_decay })
            }
            Self::Adagrad(Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            }) => Ok(DenseOptimizerOptions::Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            }),
            Self::RowwiseAdagrad(_) | Self::RowwiseAdam(_) | Self::Ftrl(_) => {
                let expected =
                    "which is for embedding tables; expected sgd, adagrad, adam or adamw";
                Err(format!("is {}, {expected}", self.function()))
            }
            Self::Adam(Adam { decay: Decay::Exact, .. })
            | Self::AdamW(Adam { decay: Decay::Exact, .. }) => Err(format!(
                "is {} with decay \"exact\", which is for embedding tables: a layer is never left \
                 out of a step",
                self.function()
            )),
            Self::Adam(Adam { learning_rate, beta1, beta2, epsilon, weight_decay, .. }) => {
                Ok(DenseOptimizerOptions::Adam {
                    learning_rate,
                    beta1,
                    beta2,
                    epsilon,
                    weight_decay,
                })
            }
            Self::AdamW(Adam { learning_rate, beta1, beta2, epsilon, weight_decay, .. }) => {
                Ok(DenseOptimizerOptions::AdamW {
                    learning_rate,
                    beta1,
                    beta2,
                    epsilon,
                    weight_decay,
                })
            }
        }
    }
}

/// Options of `warmup_decay`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct WarmupDecay {
    warmup_steps: u64,
    decay_start: u64,
    decay_steps: u64,
    final_rate: f32,
    shape: DecayShape,
}

/// Reads the option map of `warmup_decay`.
pub(crate) fn warmup_decay(call: &Call, map: Map) -> Result<Schedule, RecipeError> {
    let options = Options::new(call, map);
    let WarmupDecay { warmup_steps, decay_start, decay_steps, final_rate, shape } =
        options.rest()?;
    let schedule =
        Schedule::WarmupDecay { warmup_steps, decay_start, decay_steps, final_rate, shape };
    schedule.check().map_err(|error| {
        let message = format!("is {}, expected {}", error.found, error.expected);
        options.refuse(error.parameter, &message, None)
    })?;
    Ok(schedule)
}

#[cfg(test)]
mod tests {
    use rhai::Engine;
    use serde_json::{Value, json};

    use super::*;
    use crate::decode::decode;

    /// What tables get of `adam`'s options in a script.
    fn of_tables(make: fn(Adam) -> Optimizer, script: &str) -> Value {
        let options = decode(&Engine::new().eval(script).unwrap()).unwrap();
        serde_json::to_value(make(options).of_embeddings()).unwrap()
    }

    #[test]
    fn moments_fade_as_the_script_says() {
        for make in [Optimizer::Adam, Optimizer::AdamW, Optimizer::RowwiseAdam] {
            for (script, decay) in
                [("#{}", "lazy"), ("#{decay: \"lazy\"}", "lazy"), ("#{decay: \"exact\"}", "exact")]
            {
                assert_eq!(of_tables(make, script)["decay"], json!(decay), "{script}");
            }
        }
    }
}
