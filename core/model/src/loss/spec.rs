//! Which loss a model is trained with.

use std::sync::Arc;

use rectool_base::limits::MLP_WIDTH_MAX;
use rectool_base::{Labels, Loss, PluginCall, PluginFault, PluginSource, Prediction, Schema};
use serde::{Deserialize, Serialize};

use super::{Bce, Mse, Softmax};
use crate::ModelError;

/// What training makes small.
///
/// ```
/// use rectool_model::LossSpec;
/// let text = r#"{"kind": "plugin", "name": "focal-loss", "version": "1.0.0", "sha256": "00",
///     "parameters": {"gamma": 2.0}}"#;
/// let LossSpec::Plugin(call) = serde_json::from_str(text)? else { unreachable!() };
/// assert_eq!(call.name, "focal-loss");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossSpec {
    /// Binary cross-entropy.
    #[default]
    Bce,
    /// Squared error: the model's output is the label, any number, as predicted.
    Mse,
    /// Cross-entropy over classes: the label is the number of one, from 0, and the model has an output
    /// for each.
    Softmax {
        /// How many there are, 2 or more.
        classes: usize,
    },
    /// What a plugin computes. A loss that compares rows, such as those of one group, sees only the
    /// rows of its rank: a group that is cut by the edge between two ranks is two groups.
    Plugin(PluginCall),
}

impl LossSpec {
    /// What outputs stand for; a plugin says it once it is found.
    pub fn prediction(&self) -> Option<Prediction> {
        match self {
            Self::Bce => Some(Prediction::Logit),
            Self::Mse => Some(Prediction::Value),
            Self::Softmax { classes } => Some(Prediction::Classes(*classes)),
            Self::Plugin(_) => None,
        }
    }

    /// Outputs of a row that it takes.
    pub fn outputs(&self) -> usize {
        self.prediction().map_or(1, Prediction::logits)
    }

    /// Fails if there are too few or too many classes to tell apart.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        match self {
            Self::Softmax { classes } if !(2..=MLP_WIDTH_MAX).contains(classes) => {
                let expected = format!("2 to {MLP_WIDTH_MAX}");
                Err(ModelError::option("classes", classes, expected))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is binary cross-entropy.
    pub fn is_bce(&self) -> bool {
        matches!(self, Self::Bce)
    }

    /// The plugin, if it is one.
    pub fn plugin(&self) -> Option<&PluginCall> {
        match self {
            Self::Bce | Self::Mse | Self::Softmax { .. } => None,
            Self::Plugin(call) => Some(call),
        }
    }

    /// The loss, for rows of `schema`: the columns as they leave the feature chain.
    ///
    /// # Errors
    /// If the plugin is not in `plugins`, refuses its parameters, wants a column that is not in
    /// `schema`, or says things of its logits and labels that cannot both be.
    pub fn build(
        &self,
        schema: &Schema,
        plugins: &dyn PluginSource,
    ) -> Result<Arc<dyn Loss>, PluginFault> {
        let call = match self {
            Self::Bce => return Ok(Arc::new(Bce)),
            Self::Mse => return Ok(Arc::new(Mse)),
            Self::Softmax { classes } => return Ok(Arc::new(Softmax::new(*classes))),
            Self::Plugin(call) => call,
        };
        let loss = plugins.loss(call, schema)?;
        let demands = loss.demands();
        let refuse = |message: String, hint: String| PluginFault {
            kind: "loss",
            plugin: format!("{} {}", call.name, call.version),
            place: None,
            message,
            hint: Some(hint),
        };
        if demands.prediction == Prediction::Logit && demands.labels != Labels::Binary {
            let message = "says that a logit is the log-odds of label 1, but takes labels other \
                           than 0 and 1";
            let hint = "the plugin's `demands` must say `binary` labels or another prediction";
            return Err(refuse(message.to_owned(), hint.to_owned()));
        }
        for name in &demands.columns {
            if let Err(error) = schema.column(name) {
                let hint = rectool_base::Hint::hint(&error);
                let hint = hint.unwrap_or_else(|| "a parameter of the plugin names it".to_owned());
                return Err(refuse(format!("wants a column: {error}"), hint));
            }
        }
        Ok(loss)
    }
}
