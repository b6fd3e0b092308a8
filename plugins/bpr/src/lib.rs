//! Bayesian personalised ranking.

use rectool_plugin_sdk::math::softplus_sigmoid;
use rectool_plugin_sdk::{
    About, ColumnType, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction,
    Weighting, export_loss, groups,
};

/// For each positive row, the mean over negative rows of its group of softplus(negative - positive).
pub struct Bpr {
    pairs_max: usize,
}

impl Loss for Bpr {
    const WEIGHTING: Weighting = Weighting::ByLoss;

    fn about() -> About {
        About::new("bpr", "1.0.0", "how often a group's negative rows outscore its positive ones")
            .parameter(
                Parameter::text("group")
                    .help("column whose id or text says which rows are compared"),
            )
            .parameter(
                Parameter::integer("pairs_max")
                    .default(64i64)
                    .min(1.0)
                    .max(1e6)
                    .unit("rows")
                    .help("negative rows that a positive one is compared with, at most"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands = Demands {
            prediction: Prediction::Score,
            labels: Labels::Binary,
            columns: vec![parameters.text("group").to_owned()],
        };
        Ok((Self { pairs_max: parameters.integer("pairs_max") as usize }, demands))
    }

    fn bind(&mut self, columns: &[ColumnType]) -> Result<(), Fault> {
        columns.iter().try_for_each(groups::check)
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        let [group] = batch.columns else {
            return Err(Fault::new(format!("{} columns, expected 1", batch.columns.len())));
        };
        let mut negatives: Vec<u32> = Vec::new();
        groups::each(group, |rows| {
            negatives.clear();
            negatives.extend(rows.iter().filter(|row| batch.labels[**row as usize] < 0.5));
            let positives = rows.iter().filter(|row| batch.labels[**row as usize] >= 0.5);
            if negatives.is_empty() {
                return;
            }
            let count = negatives.len().min(self.pairs_max);
            for (nth, row) in positives.enumerate() {
                let row = *row as usize;
                let share = batch.weight(row) / count as f32;
                for pair in 0..count {
                    // Each positive row takes up where the one before it left off.
                    let negative = negatives[(nth * count + pair) % negatives.len()] as usize;
                    let (loss, slope) =
                        softplus_sigmoid(batch.logits[negative] - batch.logits[row]);
                    losses[row] += share * loss;
                    gradients[row] -= share * slope;
                    gradients[negative] += share * slope;
                }
            }
        });
        Ok(())
    }
}

export_loss!(Bpr);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{Column, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Bpr>(include_str!("../cases.jsonl"));
        testing::check_readme(&Bpr::about(), include_str!("../README.md"));
    }

    #[test]
    fn gradients_are_slopes() {
        let batch = LossBatch {
            logits: &[0.5, -1.0, 2.0, 0.25, 1.5, -0.75],
            labels: &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0],
            weights: &[1.0, 2.0, 0.5, 3.0, 1.0, 1.0],
            columns: &[Column::Ints(vec![7, 7, 7, 7, 9, -1])],
        };
        for pairs_max in [1i64, 2, 64] {
            let parameters = [("group", "user".into()), ("pairs_max", pairs_max.into())];
            testing::check_gradients::<Bpr>(&parameters, &batch, &[ColumnType::ids("user", 1)]);
        }
    }
}
