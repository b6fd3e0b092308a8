//! What a user says about a table's optimizer.

use serde::{Deserialize, Serialize};

use crate::rule::Ftrl;

/// How gradients change a row. Only the rows that a batch looks up are touched, each once, with the
/// sum of its gradients g; η is `learning_rate` times the rate of the step, and t counts the steps
/// of the collection from 1. State begins at 0 unless said otherwise.
///
/// Weight decay λ adds λ·w to the gradient, unless said otherwise.
///
/// The steps equal those of torch 2 in `f32`, up to rounding, where torch has them: `Sgd`, `Adagrad`
/// as `torch.optim` on one parameter per row, without a gradient where a batch leaves the row out;
/// the Adam family as [`Decay`] says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerOptions {
    /// w ← w − η·g; with momentum μ above 0, v ← μ·v + g, w ← w − η·v. A row's v stands still while
    /// batches leave it out.
    Sgd {
        /// η before the schedule.
        learning_rate: f32,
        /// μ, in [0, 1).
        #[serde(default)]
        momentum: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
    },
    /// One accumulator per value: a ← a + g², w ← w − η·g / (√a + ε).
    Adagrad {
        /// η before the schedule.
        learning_rate: f32,
        /// ε.
        epsilon: f32,
        /// a of an untouched row.
        #[serde(default)]
        initial_accumulator: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
    },
    /// One accumulator per row: a ← a + mean of g² over D, w ← w − η·g / (√a + ε).
    RowWiseAdagrad {
        /// η before the schedule.
        learning_rate: f32,
        /// ε.
        epsilon: f32,
        /// a of an untouched row.
        #[serde(default)]
        initial_accumulator: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
    },
    /// m ← β1·m + (1 − β1)·g, v ← β2·v + (1 − β2)·g², both corrected for their start at 0 as of
    /// step t; w ← w − η·m̂ / (√v̂ + ε).
    Adam {
        /// η before the schedule.
        learning_rate: f32,
        /// β1, in [0, 1).
        #[serde(default = "beta1")]
        beta1: f32,
        /// β2, in [0, 1).
        #[serde(default = "beta2")]
        beta2: f32,
        /// ε, above 0.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
        /// What steps do that leave the row out.
        #[serde(default)]
        decay: Decay,
    },
    /// Adam whose weight decay is apart from the gradient: w ← w·(1 − η·λ) before each step.
    AdamW {
        /// η before the schedule.
        learning_rate: f32,
        /// β1, in [0, 1).
        #[serde(default = "beta1")]
        beta1: f32,
        /// β2, in [0, 1).
        #[serde(default = "beta2")]
        beta2: f32,
        /// ε, above 0.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// λ.
        #[serde(default = "adam_w_weight_decay")]
        weight_decay: f32,
        /// What steps do that leave the row out.
        #[serde(default)]
        decay: Decay,
    },
    /// Adam with one v per row, of the mean of g² over D.
    RowWiseAdam {
        /// η before the schedule.
        learning_rate: f32,
        /// β1, in [0, 1).
        #[serde(default = "beta1")]
        beta1: f32,
        /// β2, in [0, 1).
        #[serde(default = "beta2")]
        beta2: f32,
        /// ε, above 0.
        #[serde(default = "epsilon")]
        epsilon: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
        /// What steps do that leave the row out.
        #[serde(default)]
        decay: Decay,
    },
    /// FTRL-Proximal (McMahan et al. 2013): n' = n + g², z ← z + g − (√n' − √n)/α · w; w is 0 where
    /// |z| ≤ `l1`, otherwise −(z − sign(z)·`l1`) / ((β + √n')/α + `l2`). The weight decay is `l2`.
    /// Where a row does not begin at 0, z begins where its first values are the solution. The rate
    /// of the step does not count: z is a sum that belongs to one α.
    Ftrl {
        /// α, above 0.
        learning_rate: f32,
        /// β, above 0.
        #[serde(default = "ftrl_beta")]
        beta: f32,
        /// Pull towards exact zeros.
        #[serde(default)]
        l1: f32,
        /// Pull towards small values.
        #[serde(default)]
        l2: f32,
    },
}

/// What a step means to the moments of a row that it leaves out (the Adam family).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Nothing: moments stand still, while the correction for their start counts all steps. Equals
    /// `torch.optim.SparseAdam` (which has no weight decay); ε is added to √v as it is there, before
    /// the correction.
    #[default]
    Lazy,
    /// They fade: before a row's update its moments are multiplied by β to the number of steps that
    /// left it out, and AdamW's weight decay is made up for at the η of the day. The moments are
    /// then those of `torch.optim.Adam` on the whole table with zeros as the gradients of rows left
    /// out; so are the values, `torch.optim.AdamW` included, as long as every step touches the row.
    /// What dense Adam does beyond that, moving a row by its old moments while nobody looks it up,
    /// is left out. A row that was never updated has missed nothing.
    Exact,
}

fn beta1() -> f32 {
    0.9
}

fn beta2() -> f32 {
    0.999
}

fn epsilon() -> f32 {
    1e-8
}

fn adam_w_weight_decay() -> f32 {
    0.01
}

fn ftrl_beta() -> f32 {
    1.0
}

/// A number that an optimizer needs, and what is allowed.
pub(crate) struct Number {
    pub(crate) option: &'static str,
    pub(crate) value: f32,
    pub(crate) allowed: Allowed,
}

#[derive(Clone, Copy)]
pub(crate) enum Allowed {
    NotNegative,
    Positive,
    Share,
}

impl Number {
    /// What was expected, if it was not met.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        let (fits, expected) = match self.allowed {
            Allowed::NotNegative => (self.value >= 0.0, "a finite number, 0 or above"),
            Allowed::Positive => (self.value > 0.0, "a finite number above 0"),
            Allowed::Share => (self.value >= 0.0 && self.value < 1.0, "at least 0 and below 1"),
        };
        (!fits || !self.value.is_finite()).then_some(expected)
    }
}

impl OptimizerOptions {
    /// Plain SGD.
    pub fn sgd(learning_rate: f32) -> Self {
        Self::Sgd { learning_rate, momentum: 0.0, weight_decay: 0.0 }
    }

    /// Sets η before the schedule.
    pub fn set_learning_rate(&mut self, rate: f32) {
        match self {
            Self::Sgd { learning_rate, .. }
            | Self::Adagrad { learning_rate, .. }
            | Self::RowWiseAdagrad { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::AdamW { learning_rate, .. }
            | Self::RowWiseAdam { learning_rate, .. }
            | Self::Ftrl { learning_rate, .. } => *learning_rate = rate,
        }
    }

    /// State floats S that a row of width `dim` carries.
    pub fn state_width(&self, dim: usize) -> usize {
        match self {
            Self::Sgd { momentum, .. } if *momentum > 0.0 => dim,
            Self::Sgd { .. } => 0,
            Self::Adagrad { .. } => dim,
            Self::RowWiseAdagrad { .. } => 1,
            Self::Adam { .. } | Self::AdamW { .. } | Self::Ftrl { .. } => 2 * dim,
            Self::RowWiseAdam { .. } => dim + 1,
        }
    }

    /// Whether a step of one column depends on the others of its row.
    pub fn is_row_wise(&self) -> bool {
        matches!(self, Self::RowWiseAdagrad { .. } | Self::RowWiseAdam { .. })
    }

    /// Writes the state of a row that was never updated.
    ///
    /// Shapes: `values` \[D\], `state` \[S\].
    pub(crate) fn initial_state(&self, values: &[f32], state: &mut [f32]) {
        match *self {
            Self::Adagrad { initial_accumulator, .. }
            | Self::RowWiseAdagrad { initial_accumulator, .. } => state.fill(initial_accumulator),
            Self::Ftrl { learning_rate, beta, l1, l2 } => {
                let ftrl = Ftrl { rate: learning_rate, beta, l1, l2 };
                let (linear, squares) = state.split_at_mut(values.len());
                linear.iter_mut().zip(values).for_each(|(z, w)| *z = ftrl.linear(*w));
                squares.fill(0.0);
            }
            _ => state.fill(0.0),
        }
    }

    /// Every number with what is allowed.
    pub(crate) fn numbers(&self) -> Vec<Number> {
        use Allowed::{NotNegative, Positive, Share};
        let number = |(option, value, allowed)| Number { option, value, allowed };
        let list: Vec<(&'static str, f32, Allowed)> = match *self {
            Self::Sgd { learning_rate, momentum, weight_decay } => vec![
                ("learning_rate", learning_rate, NotNegative),
                ("momentum", momentum, Share),
                ("weight_decay", weight_decay, NotNegative),
            ],
            Self::Adagrad { learning_rate, epsilon, initial_accumulator, weight_decay }
            | Self::RowWiseAdagrad { learning_rate, epsilon, initial_accumulator, weight_decay } => {
                vec![
                    ("learning_rate", learning_rate, NotNegative),
                    ("epsilon", epsilon, NotNegative),
                    ("initial_accumulator", initial_accumulator, NotNegative),
                    ("weight_decay", weight_decay, NotNegative),
                ]
            }
            Self::Adam { learning_rate, beta1, beta2, epsilon, weight_decay, .. }
            | Self::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, .. }
            | Self::RowWiseAdam { learning_rate, beta1, beta2, epsilon, weight_decay, .. } => vec![
                ("learning_rate", learning_rate, NotNegative),
                ("beta1", beta1, Share),
                ("beta2", beta2, Share),
                ("epsilon", epsilon, Positive),
                ("weight_decay", weight_decay, NotNegative),
            ],
            Self::Ftrl { learning_rate, beta, l1, l2 } => vec![
                ("learning_rate", learning_rate, Positive),
                ("beta", beta, Positive),
                ("l1", l1, NotNegative),
                ("l2", l2, NotNegative),
            ],
        };
        list.into_iter().map(number).collect()
    }
}
