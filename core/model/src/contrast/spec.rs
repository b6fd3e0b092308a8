//! What a recipe may say about how a Two Tower model learns.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// How a model of two towers learns to bring a query near the items that were chosen with it.
///
/// A row is a query with its chosen item. Rows that a sampler draws are no queries, nor are rows whose
/// label is 0 or less, where the features have one: their items are more candidates for all queries of
/// the batch. The score of a query and an item is the dot product of their vectors over `temperature`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalSpec {
    /// The id column, or member of a packed one, that tells items apart.
    pub item: String,
    /// The id column, or member, that tells queries apart, such as users.
    pub query: String,
    /// What is made small.
    #[serde(default)]
    pub objective: RetrievalObjective,
    /// What it is multiplied by, beside the losses of heads, which have weights of their own; 0 or more.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f32,
    /// Scores are divided by this: the smaller, the harder the hardest candidates count.
    #[serde(default = "one")]
    pub temperature: f32,
    /// Corrects the score of every candidate by the logarithm of how often it comes by (Yi et al.,
    /// 2019): without, a softmax over the batch learns to hold frequent items down.
    #[serde(default = "yes")]
    pub log_q: bool,
    /// Leaves out the candidates that are the query's own item again.
    #[serde(default = "yes")]
    pub drop_hits: bool,
    /// Takes the candidates of all ranks, not only those of the query's own.
    #[serde(default = "yes")]
    pub across_ranks: bool,
}

/// What the training of two towers makes small, over the candidates of a batch.
///
/// s⁺ is the score of a query's own item, s⁻ that of another candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RetrievalObjective {
    /// Cross-entropy of the own item among all candidates.
    #[default]
    Softmax,
    /// Bayesian personalised ranking (Rendle et al., 2009): mean of ln(1 + exp(s⁻ - s⁺)).
    Bpr,
    /// Cosine contrastive loss (Mao et al., 2021, SimpleX): (1 - s⁺) + `negative_weight` times the mean
    /// of max(0, s⁻ - `margin`). For towers whose outputs are normalised.
    Ccl {
        /// Scores of other candidates below this are far enough.
        margin: f32,
        /// What the other candidates count beside the own item.
        negative_weight: f32,
    },
    /// Every row by itself: its own score is the logit of the model's loss, native or a plugin.
    Pairs,
}

impl RetrievalObjective {
    /// Whether candidates of other rows count.
    pub fn is_contrastive(self) -> bool {
        self != Self::Pairs
    }
}

fn one() -> f32 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(weight: &f32) -> bool {
    *weight == one()
}

fn yes() -> bool {
    true
}

impl RetrievalSpec {
    /// The defaults, for these columns.
    pub fn new(item: &str, query: &str) -> Self {
        Self {
            item: item.to_owned(),
            query: query.to_owned(),
            objective: RetrievalObjective::default(),
            weight: 1.0,
            temperature: 1.0,
            log_q: true,
            drop_hits: true,
            across_ranks: true,
        }
    }

    /// Checks the options against each other.
    ///
    /// # Errors
    /// [`ModelError::Option`], naming the option.
    pub fn check(&self) -> Result<(), ModelError> {
        let positive = |option: &str, value: f32| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(ModelError::option(option, value, "a number above 0"))
        };
        positive("temperature", self.temperature)?;
        if !self.weight.is_finite() || self.weight < 0.0 {
            return Err(ModelError::option("objective_weight", self.weight, "a number, 0 or more"));
        }
        if let RetrievalObjective::Ccl { margin, negative_weight } = self.objective {
            positive("negative_weight", negative_weight)?;
            if !(-1.0..1.0).contains(&margin) {
                return Err(ModelError::option("margin", margin, "from -1 to below 1"));
            }
        }
        Ok(())
    }
}
