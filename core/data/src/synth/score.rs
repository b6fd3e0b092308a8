//! How good known logits are on the labels drawn from them.

/// Logits and labels of a split.
#[derive(Default)]
pub(super) struct Scores {
    rows: Vec<(f32, bool)>,
    loss: f64,
}

impl Scores {
    pub(super) fn add(&mut self, logits: &[f32], labels: &[f32]) {
        for (&logit, &label) in logits.iter().zip(labels) {
            let (x, y) = (f64::from(logit), f64::from(label));
            // log(1 + e^x) - xy, without overflow.
            self.loss += x.max(0.0) - x * y + (-x.abs()).exp().ln_1p();
            self.rows.push((logit, label > 0.5));
        }
    }

    pub(super) fn log_loss(&self) -> Option<f64> {
        (!self.rows.is_empty()).then(|| self.loss / self.rows.len() as f64)
    }

    /// The exact area under the ROC curve, ties counted half.
    pub(super) fn auc(&mut self) -> Option<f64> {
        self.rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut below, mut clicks, mut ordered) = (0.0, 0.0, 0.0);
        for tied in self.rows.chunk_by(|a, b| a.0 == b.0) {
            let tied_clicks = tied.iter().filter(|row| row.1).count() as f64;
            let tied_others = tied.len() as f64 - tied_clicks;
            ordered += tied_clicks * (below + 0.5 * tied_others);
            below += tied_others;
            clicks += tied_clicks;
        }
        (clicks > 0.0 && below > 0.0).then(|| ordered / (clicks * below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auc_is_the_fraction_of_ordered_pairs() {
        let mut scores = Scores::default();
        let logits = [0.1f32, 0.4, 0.4, 0.35, 0.8];
        let labels = [0.0, 0.0, 1.0, 1.0, 1.0];
        scores.add(&logits, &labels);
        let mut ordered = 0.0;
        for (click, label) in logits.iter().zip(labels) {
            for (other, other_label) in logits.iter().zip(labels) {
                if label > other_label {
                    let tie = if click == other { 0.5 } else { 0.0 };
                    ordered += if click > other { 1.0 } else { tie };
                }
            }
        }
        assert_eq!(scores.auc(), Some(ordered / 6.0));
        let loss = |(x, y): (f32, f32)| {
            let p = 1.0 / (1.0 + f64::from(-x).exp());
            if y > 0.5 { -p.ln() } else { -(1.0 - p).ln() }
        };
        let losses: f64 = logits.into_iter().zip(labels).map(loss).sum();
        assert!((scores.log_loss().unwrap() - losses / 5.0).abs() < 1e-12);
        assert_eq!(Scores::default().auc(), None);
        assert_eq!(Scores::default().log_loss(), None);
    }
}
