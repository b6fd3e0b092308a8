//! What metrics are called, and which of them a model has.

use std::fmt::Write as _;

use rectool_base::Prediction;

use super::{Evaluation, HeadEvaluation};
use crate::{EarlyStop, LossSpec, ModelSpec, StopMetric};

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
        Prediction::Classes(_) => &["logloss", "accuracy"],
    };
    let mut names = own.to_vec();
    if loss.plugin().is_some() {
        names.push("loss");
    }
    names
}

impl ModelSpec {
    /// The metrics of this model, whose scores stand for `predictions` as [`ModelSpec::predictions`] gives
    /// them: [`metric_names`], or those of two towers that learn from the candidates of a batch; then those
    /// of each head, such as `auc_click` of the head with the label `click`.
    pub fn metric_names(&self, predictions: &[Prediction]) -> Vec<String> {
        let named = |((head, loss), prediction): ((Option<&'_ str>, &LossSpec), &Prediction)| {
            let names = match head {
                None if self.is_contrastive() => [&FOUND[..], &["loss"]].concat(),
                _ => metric_names(*prediction, loss),
            };
            names.into_iter().map(|name| of_head(name, head)).collect::<Vec<_>>()
        };
        let losses = self.head_labels().into_iter().zip(self.losses());
        losses.zip(predictions).flat_map(named).collect()
    }

    /// Those of them that an evaluation row by row gives: without what the items that are found say.
    pub fn row_metric_names(&self, predictions: &[Prediction]) -> Vec<String> {
        let mut names = self.metric_names(predictions);
        if self.is_contrastive() {
            names.retain(|name| !FOUND.contains(&name.as_str()));
        }
        names
    }

    /// The metrics of an evaluation by groups besides: the AUC within them, how many have one, and how
    /// many are left out as their labels are all alike; empty if nothing has an AUC.
    pub fn grouped_metric_names(&self, predictions: &[Prediction]) -> Vec<String> {
        let ranked =
            |prediction: &Prediction| matches!(prediction, Prediction::Logit | Prediction::Score);
        let heads = self.head_labels().into_iter().zip(predictions);
        // Towers that learn from candidates say nothing of a row, but by their heads.
        let heads = heads.skip(usize::from(self.is_contrastive()));
        let heads = heads.filter(|(_, prediction)| ranked(prediction));
        heads.flat_map(|(head, _)| GROUPED.map(|name| of_head(name, head))).collect()
    }

    /// The label of the head of each thing that is learned, if it is a head's.
    fn head_labels(&self) -> Vec<Option<&str>> {
        let learners = self.learners().into_iter();
        learners.map(|head| head.map(|head| head.label.as_str())).collect()
    }

    /// Early stopping after `patience` evaluations on the metric `name`, which may be one of groups, or
    /// on the one to watch where nobody says otherwise. `None` if the model has no such metric, or it cannot be watched.
    pub fn early_stop(
        &self,
        name: Option<&str>,
        predictions: &[Prediction],
        patience: u32,
    ) -> Option<EarlyStop> {
        let Some(name) = name else {
            let metric = self.stop_metric(*predictions.first()?);
            let head = self.head_labels()[0].map(str::to_owned);
            return Some(EarlyStop { metric, head, patience });
        };
        let stop = |head: Option<&str>| {
            let head = head.map(str::to_owned);
            StopMetric::ALL.map(|metric| EarlyStop { metric, head: head.clone(), patience })
        };
        let grouped = self.grouped_metric_names(predictions);
        let known = [self.metric_names(predictions), grouped].concat();
        let mut all = self
            .head_labels()
            .into_iter()
            .flat_map(stop)
            .filter(|stop| known.contains(&stop.name()));
        all.find(|stop| stop.name() == name)
    }

    fn stop_metric(&self, prediction: Prediction) -> StopMetric {
        match prediction {
            _ if self.is_contrastive() => StopMetric::Recall,
            Prediction::Logit => StopMetric::Auc,
            Prediction::Classes(_) => StopMetric::Logloss,
            Prediction::Value | Prediction::LogRate => StopMetric::Rmse,
            // The labels of a score need not be clicks, and its AUC may not be defined.
            Prediction::Score => StopMetric::Loss,
        }
    }
}

/// What the metric `name` is called: of a head with its label behind.
fn of_head(name: &str, label: Option<&str>) -> String {
    label.map_or_else(|| name.to_owned(), |label| format!("{name}_{label}"))
}

/// The metrics of what is found by two towers that learn from the candidates of a batch.
const FOUND: [&str; 3] = ["recall", "ndcg", "hit_rate"];

/// What there is of groups.
const GROUPED: [&str; 3] = ["gauc", "gauc_groups", "gauc_groups_left_out"];

/// Metric, its words on a line, and digits after the point.
const SHOWN: [(&str, &str, usize); 10] = [
    ("recall", "recall", 5),
    ("ndcg", "NDCG", 5),
    ("hit_rate", "hit rate", 5),
    ("auc", "AUC", 5),
    ("gauc", "GAUC", 5),
    ("logloss", "log loss", 5),
    ("accuracy", "accuracy", 5),
    ("rmse", "RMSE", 5),
    ("mae", "MAE", 5),
    ("loss", "loss", 5),
];

impl Evaluation {
    /// The metric that [`ModelSpec::metric_names`] or [`ModelSpec::grouped_metric_names`] calls
    /// `name`; `None` if it is not defined here.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let of_head = |head: &HeadEvaluation| {
            let own = name.strip_suffix(head.label.as_str())?.strip_suffix('_')?;
            head.evaluation.metric(own)
        };
        self.own(name).or_else(|| self.heads.iter().find_map(of_head))
    }

    fn own(&self, name: &str) -> Option<f64> {
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
            "gauc" => self.gauc.and_then(|gauc| gauc.value),
            "gauc_groups" => self.gauc.map(|gauc| gauc.users as f64),
            "gauc_groups_left_out" => self.gauc.map(|gauc| gauc.users_left_out as f64),
            _ => None,
        }
    }

    /// The main metrics on one line: `AUC 0.80123, log loss 0.45678`, then of heads each behind its label.
    ///
    /// ```
    /// let evaluation = rectool_model::Evaluation { rmse: Some(1.25), ..Default::default() };
    /// assert_eq!(evaluation.summary(), "RMSE 1.25000");
    /// ```
    pub fn summary(&self) -> String {
        let mut line = String::new();
        // A model of classes is known by how many it gets right, one of clicks is not.
        let shown = |name: &str| name != "accuracy" || self.positives.is_none();
        for (name, words, digits) in SHOWN.into_iter().filter(|(name, ..)| shown(name)) {
            let Some(value) = self.own(name) else { continue };
            let comma = if line.is_empty() { "" } else { ", " };
            // A string takes any text.
            let _ = write!(line, "{comma}{words} {value:.digits$}");
        }
        for HeadEvaluation { label, evaluation } in &self.heads {
            let space = if line.is_empty() { "" } else { "; " };
            let _ = write!(line, "{space}{label}: {}", evaluation.summary());
        }
        if line.is_empty() { "no metric is defined".to_owned() } else { line }
    }
}

impl StopMetric {
    /// All of them.
    const ALL: [Self; 10] = [
        Self::Auc,
        Self::Gauc,
        Self::Logloss,
        Self::Accuracy,
        Self::Loss,
        Self::Rmse,
        Self::Mae,
        Self::Recall,
        Self::Ndcg,
        Self::HitRate,
    ];

    /// Its name among [`metric_names`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Auc => "auc",
            Self::Gauc => "gauc",
            Self::Logloss => "logloss",
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::Recall => "recall",
            Self::Ndcg => "ndcg",
            Self::HitRate => "hit_rate",
        }
    }

    fn higher_is_better(self) -> bool {
        matches!(
            self,
            Self::Auc | Self::Gauc | Self::Accuracy | Self::Recall | Self::Ndcg | Self::HitRate
        )
    }
}

impl EarlyStop {
    /// What the watched metric is called among [`ModelSpec::metric_names`].
    pub fn name(&self) -> String {
        of_head(self.metric.name(), self.head.as_deref())
    }

    /// Whether `new` is better than `old`: a defined metric is better than an undefined one, and
    /// anything is better than nothing.
    pub(crate) fn improves(&self, new: &Evaluation, old: Option<&Evaluation>) -> bool {
        let Some(old) = old else { return true };
        let name = self.name();
        match (new.metric(&name), old.metric(&name)) {
            (Some(new), Some(old)) if self.metric.higher_is_better() => new > old,
            (Some(new), Some(old)) => new < old,
            (new, old) => new.is_some() && old.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use Prediction::{Classes, LogRate, Logit, Score, Value};

    use super::*;
    use crate::tests::native::model;
    use crate::{HeadSpec, RetrievalSpec};

    fn spec(contrastive: bool) -> ModelSpec {
        let retrieval = contrastive.then(|| RetrievalSpec::new("item", "user"));
        ModelSpec { retrieval, ..model(LossSpec::Bce, "dense", &["user"], Vec::new()) }
    }

    #[test]
    fn early_stopping_knows_which_way_is_up() {
        let of = |value| Evaluation { auc: value, rmse: value, ..Evaluation::default() };
        let (low, high, none) = (of(Some(0.4)), of(Some(0.6)), of(None));
        let watching = |metric| EarlyStop { metric, head: None, patience: 1 };
        assert!(watching(StopMetric::Auc).improves(&high, Some(&low)));
        assert!(!watching(StopMetric::Auc).improves(&low, Some(&high)));
        let rmse = watching(StopMetric::Rmse);
        assert!(rmse.improves(&low, Some(&high)));
        assert!(!rmse.improves(&low, Some(&low)));
        assert!(rmse.improves(&low, Some(&none)));
        assert!(!rmse.improves(&none, Some(&low)));
        assert!(rmse.improves(&none, None));
    }

    #[test]
    fn heads_have_metrics_of_their_own() {
        let head = |label: &str, loss| HeadSpec::new(label, loss, 1.0);
        let heads = vec![
            head("stars", LossSpec::Softmax { classes: 5 }),
            head("click", LossSpec::Bce),
            head("late_click", LossSpec::Bce),
        ];
        let spec = ModelSpec { heads, ..spec(false) };
        let predictions = [Classes(5), Logit, Logit];
        let names = spec.metric_names(&predictions);
        assert_eq!(names[..3], ["logloss_stars", "accuracy_stars", "auc_click"]);
        let stop = |name| spec.early_stop(name, &predictions, 2);
        assert_eq!(stop(None).unwrap().name(), "logloss_stars");
        let watched = stop(Some("auc_late_click")).unwrap();
        assert_eq!(
            (watched.metric, watched.head.as_deref()),
            (StopMetric::Auc, Some("late_click"))
        );
        // What cannot be watched, and what is not there.
        assert!(
            [Some("ne_click"), Some("auc"), Some("auc_stars")]
                .into_iter()
                .all(|name| stop(name).is_none())
        );
        let of = |label: &str, auc, accuracy| HeadEvaluation {
            label: label.to_owned(),
            evaluation: Evaluation { auc, accuracy, ..Evaluation::default() },
        };
        let heads = vec![
            of("click", Some(0.5), None),
            of("late_click", Some(0.75), None),
            of("stars", None, Some(0.25)),
        ];
        let found = Evaluation { heads, ..Evaluation::default() };
        assert_eq!(found.metric("auc_click"), Some(0.5));
        assert_eq!(found.metric("auc_late_click"), Some(0.75));
        assert_eq!((found.metric("auc"), found.metric("auc_stars")), (None, None));
        let line = "click: AUC 0.50000; late_click: AUC 0.75000; stars: accuracy 0.25000";
        assert_eq!(found.summary(), line);
        let worse = Evaluation { heads: vec![of("late_click", Some(0.5), None)], ..found.clone() };
        assert!(watched.improves(&found, Some(&worse)) && !watched.improves(&worse, Some(&found)));
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
        for prediction in [Logit, Value, LogRate, Score, Classes(3)] {
            let names = metric_names(prediction, &LossSpec::Plugin(call.clone()));
            assert!(names.contains(&spec(false).stop_metric(prediction).name()));
            assert!(names.iter().all(|name| full.metric(name).is_some()), "{names:?}");
        }
        let spec = spec(true);
        let names = spec.metric_names(&[Score]);
        assert!(names.iter().any(|name| *name == spec.stop_metric(Score).name()));
        assert!(names.iter().all(|name| full.metric(name).is_some()), "{names:?}");
        assert_eq!(Evaluation::default().summary(), "no metric is defined");
    }
}
