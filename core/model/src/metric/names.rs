//! What metrics are called, and which of them a model has.

use std::fmt::Write as _;

use rectool_base::Prediction;

use super::Evaluation;
use crate::{LossSpec, ModelSpec, StopMetric};

/// The metrics of a model, in the order of showing them; an undefined one is among them.
///
/// ```
/// use rectool_base::Prediction;
/// use rectool_model::{LossSpec, metric_names};
/// let names = metric_names(Prediction::Logit, &LossSpec::Bce);
/// assert_eq!(names, ["auc", "logloss", "ne", "calibration", "accuracy"]);
/// ```
pub fn metric_names(prediction: Prediction, loss: &LossSpec) -> Vec<&'static str> {
    let own: &[&str] = match prediction {
        Prediction::Logit => &["auc", "logloss", "ne", "calibration", "accuracy"],
        Prediction::Value | Prediction::LogRate => &["rmse", "mae"],
        Prediction::Score => &["auc"],
    };
    let mut names = own.to_vec();
    if loss.plugin().is_some() {
        names.push("loss");
    }
    names
}

impl ModelSpec {
    /// The metrics of this model, whose scores stand for `prediction`: [`metric_names`], or those of
    /// two towers that learn from the candidates of a batch.
    pub fn metric_names(&self, prediction: Prediction) -> Vec<&'static str> {
        if self.is_contrastive() {
            return vec!["recall", "ndcg", "hit_rate", "loss"];
        }
        metric_names(prediction, &self.loss)
    }

    /// The metric to watch where nobody says otherwise.
    pub fn stop_metric(&self, prediction: Prediction) -> StopMetric {
        match prediction {
            _ if self.is_contrastive() => StopMetric::Recall,
            Prediction::Logit => StopMetric::Auc,
            Prediction::Value | Prediction::LogRate => StopMetric::Rmse,
            // The labels of a score need not be clicks, and its AUC may not be defined.
            Prediction::Score => StopMetric::Loss,
        }
    }
}

/// Metric, its words on a line, and digits after the point.
const SHOWN: [(&str, &str, usize); 8] = [
    ("recall", "recall", 5),
    ("ndcg", "NDCG", 5),
    ("hit_rate", "hit rate", 5),
    ("auc", "AUC", 5),
    ("logloss", "log loss", 5),
    ("rmse", "RMSE", 5),
    ("mae", "MAE", 5),
    ("loss", "loss", 5),
];

impl Evaluation {
    /// The metric that [`metric_names`] calls `name`; `None` if it is not defined here.
    pub fn metric(&self, name: &str) -> Option<f64> {
        match name {
            "auc" => self.auc,
            "logloss" => self.logloss,
            "ne" => self.ne,
            "calibration" => self.calibration,
            "accuracy" => self.accuracy,
            "recall" => self.recall,
            "ndcg" => self.ndcg,
            "hit_rate" => self.hit_rate,
            "rmse" => self.rmse,
            "mae" => self.mae,
            "loss" => self.loss,
            _ => None,
        }
    }

    /// The main metrics on one line: `AUC 0.80123, log loss 0.45678`.
    ///
    /// ```
    /// let evaluation = rectool_model::Evaluation { rmse: Some(1.25), ..Default::default() };
    /// assert_eq!(evaluation.summary(), "RMSE 1.25000");
    /// ```
    pub fn summary(&self) -> String {
        let mut line = String::new();
        for (name, words, digits) in SHOWN {
            let Some(value) = self.metric(name) else { continue };
            let comma = if line.is_empty() { "" } else { ", " };
            // A string takes any text.
            let _ = write!(line, "{comma}{words} {value:.digits$}");
        }
        if line.is_empty() { "no metric is defined".to_owned() } else { line }
    }
}

impl StopMetric {
    /// Its name among [`metric_names`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Auc => "auc",
            Self::Logloss => "logloss",
            Self::Loss => "loss",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Recall => "recall",
            Self::Ndcg => "ndcg",
            Self::HitRate => "hit_rate",
        }
    }

    fn higher_is_better(self) -> bool {
        matches!(self, Self::Auc | Self::Recall | Self::Ndcg | Self::HitRate)
    }

    /// Whether `new` is better than `old`: a defined metric is better than an undefined one, and
    /// anything is better than nothing.
    pub(crate) fn improves(self, new: &Evaluation, old: Option<&Evaluation>) -> bool {
        let Some(old) = old else { return true };
        match (new.metric(self.name()), old.metric(self.name())) {
            (Some(new), Some(old)) if self.higher_is_better() => new > old,
            (Some(new), Some(old)) => new < old,
            (new, old) => new.is_some() && old.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use Prediction::{LogRate, Logit, Score, Value};

    use super::*;
    use crate::RetrievalSpec;
    use crate::tests::native::model;

    fn spec(contrastive: bool) -> ModelSpec {
        let retrieval = contrastive.then(|| RetrievalSpec::new("item", "user"));
        ModelSpec { retrieval, ..model(LossSpec::Bce, "dense", &["user"], Vec::new()) }
    }

    #[test]
    fn early_stopping_knows_which_way_is_up() {
        let of = |value| Evaluation { auc: value, rmse: value, ..Evaluation::default() };
        let (low, high, none) = (of(Some(0.4)), of(Some(0.6)), of(None));
        assert!(StopMetric::Auc.improves(&high, Some(&low)));
        assert!(!StopMetric::Auc.improves(&low, Some(&high)));
        assert!(StopMetric::Rmse.improves(&low, Some(&high)));
        assert!(!StopMetric::Rmse.improves(&low, Some(&low)));
        assert!(StopMetric::Rmse.improves(&low, Some(&none)));
        assert!(!StopMetric::Rmse.improves(&none, Some(&low)));
        assert!(StopMetric::Rmse.improves(&none, None));
    }

    #[test]
    fn every_name_has_a_value() {
        let full = Evaluation {
            auc: Some(0.5),
            logloss: Some(0.5),
            ne: Some(0.5),
            calibration: Some(0.5),
            accuracy: Some(0.5),
            rmse: Some(0.5),
            mae: Some(0.5),
            loss: Some(0.5),
            recall: Some(0.5),
            ndcg: Some(0.5),
            hit_rate: Some(0.5),
            ..Evaluation::default()
        };
        let call = rectool_base::PluginCall {
            name: "a".into(),
            version: "1".into(),
            sha256: "0".into(),
            parameters: std::collections::BTreeMap::new(),
        };
        for prediction in [Logit, Value, LogRate, Score] {
            let names = metric_names(prediction, &LossSpec::Plugin(call.clone()));
            assert!(names.contains(&spec(false).stop_metric(prediction).name()));
            assert!(names.iter().all(|name| full.metric(name).is_some()), "{names:?}");
        }
        let spec = spec(true);
        let names = spec.metric_names(Score);
        assert!(names.contains(&spec.stop_metric(Score).name()));
        assert!(names.iter().all(|name| full.metric(name).is_some()), "{names:?}");
        assert_eq!(Evaluation::default().summary(), "no metric is defined");
    }
}
