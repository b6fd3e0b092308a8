//! What a model learns from its rows: one label, or several of them at once, also beside what two towers
//! learn.

use std::ops::Range;
use std::sync::Arc;

use rectool_base::{Labels, Loss, LossDemands, Prediction, Schema, quoted_list};
use rectool_data::FeatureChain;
use serde::{Deserialize, Serialize};

use crate::architecture::check_widths;
use crate::{Architecture, LossSpec, ModelError, ModelSpec};

/// The kinds whose last layer may have any width.
const MANY_OUTPUTS: [&str; 3] = ["dlrm", "dcnv2", "din"];

/// One of several things that a model learns from the same rows. In a ranker all heads share every layer
/// but the rows of the last one: its outputs are those of the first head, then those of the next one. Of
/// two towers each head is an MLP over the query's vector, the candidate's and their products element by
/// element; it is learned beside the objective of the towers.
///
/// ```
/// let text = r#"{"label": "stars", "loss": {"kind": "softmax", "classes": 5}, "weight": 0.3}"#;
/// let head: rectool_model::HeadSpec = serde_json::from_str(text)?;
/// assert_eq!(head.loss.outputs(), 5);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Column with the label, one float per row; NaN where a row has none, which then teaches this
    /// head nothing.
    pub label: String,
    /// What the head makes small. A plugin's loss is given the rows with the label only, and with them the
    /// values of the columns that it wants.
    #[serde(default)]
    pub loss: LossSpec,
    /// What the mean over the batch's rows with a label is multiplied by; 0 or more.
    #[serde(default = "one")]
    pub weight: f32,
    /// Of two towers: the hidden widths of the head's MLP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
}

fn one() -> f32 {
    1.0
}

/// Outputs of a row that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// The label of the head; `None` if they are the model's own, as of one without heads.
    pub head: Option<String>,
    /// What they stand for.
    pub prediction: Prediction,
    /// Which of a row's outputs they are.
    pub columns: Range<usize>,
}

/// Whether rows may lack a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Refused,
    LeftOut,
}

/// A label that is learned, as the rows of a batch have it.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    /// Its column; what towers learn may do without.
    pub(crate) label: Option<String>,
    pub(crate) demands: LossDemands,
    pub(crate) missing: Missing,
}

impl ModelSpec {
    /// Whether something is learned that is no head's: the label of a model without heads, or what towers
    /// make small.
    pub(crate) fn has_own_loss(&self) -> bool {
        self.heads.is_empty() || self.retrieval.is_some()
    }

    /// Whether a row has a score, by the label of the features, that is no head's; that of towers which learn
    /// from the candidates of a batch means nothing by itself.
    pub fn has_own_score(&self) -> bool {
        self.has_own_loss() && !self.is_contrastive()
    }

    /// Whether the model says anything of a row by itself.
    pub fn scores_rows(&self) -> bool {
        self.has_own_score() || !self.heads.is_empty()
    }

    /// Outputs of a row of a model that scores rows: its own logits, then those of its heads.
    pub fn logits(&self) -> usize {
        let own = if self.has_own_score() { self.loss.outputs() } else { 0 };
        own + self.head_logits()
    }

    /// Those of its heads.
    pub(crate) fn head_logits(&self) -> usize {
        self.heads.iter().map(|head| head.loss.outputs()).sum()
    }

    /// Whether one score of a row orders rows where nobody says which.
    pub fn orders_rows(&self) -> bool {
        self.logits() == 1 || self.has_own_score() && self.loss.outputs() == 1
    }

    /// The labels of the heads whose score can order rows: those with one output.
    pub fn ordering_heads(&self) -> Vec<&str> {
        let heads = self.heads.iter().filter(|head| head.loss.outputs() == 1);
        heads.map(|head| head.label.as_str()).collect()
    }

    /// The head of each thing that is learned; `None` of what is no head's, which comes first.
    pub(crate) fn learners(&self) -> Vec<Option<&HeadSpec>> {
        let own = self.has_own_loss().then_some(None);
        own.into_iter().chain(self.heads.iter().map(Some)).collect()
    }

    /// The loss of each.
    pub(crate) fn losses(&self) -> Vec<&LossSpec> {
        let learners = self.learners().into_iter();
        learners.map(|head| head.map_or(&self.loss, |head| &head.loss)).collect()
    }

    /// The labels that `losses`, which were made of [`ModelSpec::losses`], are about.
    pub(crate) fn learned(&self, losses: &[Arc<dyn Loss>]) -> Vec<Learned> {
        let of = |(head, loss): (Option<&HeadSpec>, &Arc<dyn Loss>)| {
            let mut demands = loss.demands().clone();
            let Some(head) = head else {
                if self.is_contrastive() {
                    // A label only says which rows are queries, and a score is one among others.
                    (demands.labels, demands.prediction) = (Labels::Any, Prediction::Score);
                }
                let label = self.features.label.clone();
                return Learned { label, demands, missing: Missing::Refused };
            };
            Learned { label: Some(head.label.clone()), demands, missing: Missing::LeftOut }
        };
        self.learners().into_iter().zip(losses).map(of).collect()
    }

    /// What the scores of each thing that is learned stand for, with `losses` as they were bound.
    pub fn predictions(&self, losses: &[Arc<dyn Loss>]) -> Vec<Prediction> {
        self.learned(losses).iter().map(|learned| learned.demands.prediction).collect()
    }

    /// Checks that what came of choices is missing where nothing was chosen, also behind the chain.
    pub(crate) fn check_outcomes(
        &self,
        schema: &Schema,
        chain: &FeatureChain,
    ) -> Result<(), ModelError> {
        let Some(negatives) = &self.features.negatives else { return Ok(()) };
        let of_heads =
            self.heads.iter().filter(|head| Some(&head.label) != negatives.label.as_ref());
        let made = |head: &HeadSpec| {
            schema.position(&head.label).is_err() || !chain.makers(&[&head.label]).is_empty()
        };
        of_heads.filter(|head| made(head)).try_for_each(|head| {
            let hint = "negatives have no such label, which the chain might fill in: prepare it when \
                        importing";
            let expected = "a column of the dataset that the chain leaves as it is";
            Err(head.refuse("label", "one that the chain makes or changes", expected, hint))
        })
    }

    /// Checks loss and heads, and that the network can have as many outputs.
    pub(crate) fn check_heads(&self) -> Result<(), ModelError> {
        self.loss.check()?;
        let kind = self.architecture.name();
        let towers = matches!(self.architecture, Architecture::TwoTower(_));
        // Heads of towers have layers of their own.
        let several = self.loss.outputs() > 1 || !towers && self.head_logits() > 1;
        if several && !MANY_OUTPUTS.contains(&kind) {
            return Err(ModelError::Outputs { model: kind, known: quoted_list(MANY_OUTPUTS) });
        }
        if !towers {
            self.check_heads_alone()?;
        }
        self.heads.iter().enumerate().try_for_each(|(at, head)| {
            if self.heads[..at].iter().any(|other| other.label == head.label) {
                let hint =
                    "the label of a head is also its name; copy the column for a second loss";
                return Err(head.refuse("label", "that of another head", "one of its own", hint));
            }
            head.check()
        })
    }

    /// Checks that the heads, if there are any, are all that is learned.
    fn check_heads_alone(&self) -> Result<(), ModelError> {
        let layered = self.heads.iter().find(|head| !head.layers.is_empty());
        if let Some(head) = layered {
            let hint = "leave it out; heads of a `two_tower` have layers of their own";
            let expected = "none, as heads share all layers but the last";
            return Err(head.refuse("layers", format!("{:?}", head.layers), expected, hint));
        }
        if self.heads.is_empty() {
            return Ok(());
        }
        if !self.loss.is_bce() {
            return Err(ModelError::option("loss", "given", "none, as each head has its own"));
        }
        if self.features.label.is_some() {
            let expected = "none, as each head names its own";
            return Err(ModelError::option("label", "given", expected));
        }
        if let Some(negatives) = &self.features.negatives {
            let added = negatives.label.as_ref();
            if !self.heads.iter().any(|head| Some(&head.label) == added) {
                let found = match added {
                    None => "negatives without a `label`".to_owned(),
                    Some(label) => format!("none with the label `{label}` of the negatives"),
                };
                return Err(ModelError::Choices { found });
            }
        }
        Ok(())
    }
}

impl HeadSpec {
    /// Without layers of its own.
    pub fn new(label: &str, loss: LossSpec, weight: f32) -> Self {
        Self { label: label.to_owned(), loss, weight, layers: Vec::new() }
    }

    fn check(&self) -> Result<(), ModelError> {
        check_widths(&format!("heads.{}.layers", self.label), &self.layers)?;
        let weight = self.weight;
        if !weight.is_finite() || weight < 0.0 {
            let hint =
                "a head of weight 0 is judged and not learned; 1 counts as a model's only loss";
            return Err(self.refuse("weight", weight, "a number, 0 or more", hint));
        }
        match &self.loss {
            LossSpec::Softmax { classes } if self.loss.check().is_err() => {
                let hint = "labels are the numbers of classes, from 0; two of them are also `bce`";
                Err(self.refuse("classes", classes, "2 or more, and no more than a layer's", hint))
            }
            _ => Ok(()),
        }
    }

    fn refuse(
        &self,
        option: &'static str,
        found: impl std::fmt::Display,
        expected: &'static str,
        hint: &'static str,
    ) -> ModelError {
        let (head, found) = (self.label.clone(), found.to_string());
        ModelError::Head { head, option, found, expected, hint }
    }
}

/// Which outputs of a row stand for what, where they are made for `losses` with these labels.
pub(crate) fn outputs_of(learned: &[Learned]) -> Vec<Outputs> {
    let mut first = 0;
    let of = |learned: &Learned| {
        let columns = first..first + learned.demands.prediction.logits();
        first = columns.end;
        let head = learned.label.clone().filter(|_| learned.missing == Missing::LeftOut);
        Outputs { head, prediction: learned.demands.prediction, columns }
    };
    learned.iter().map(of).collect()
}
