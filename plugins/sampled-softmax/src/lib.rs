//! Softmax over sampled negatives, corrected for how they were sampled.

use rectool_plugin_sdk::math::{exp, ln_1p, softplus_sigmoid};
use rectool_plugin_sdk::{
    About, Column, ColumnType, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters,
    Prediction, Weighting, export_loss, groups,
};

/// For each positive row, the cross-entropy of choosing it among itself and its group's negatives.
pub struct SampledSoftmax {
    temperature: f32,
}

impl Loss for SampledSoftmax {
    const WEIGHTING: Weighting = Weighting::ByLoss;

    fn about() -> About {
        let summary = "cross-entropy of choosing a positive row among its group's negatives";
        About::new("sampled-softmax", "1.0.0", summary)
            .parameter(
                Parameter::text("group").help("column whose id or text says which rows compete"),
            )
            .parameter(Parameter::text("log_q").default("").help(
                "column with the logarithm of each row's probability of being sampled, which \
                     is taken off its logit; empty: none",
            ))
            .parameter(
                Parameter::number("temperature")
                    .default(1.0)
                    .min(1e-4)
                    .max(1e4)
                    .help("what logits are divided by"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let names = [parameters.text("group"), parameters.text("log_q")];
        let demands = Demands {
            prediction: Prediction::Score,
            labels: Labels::Binary,
            columns: names
                .iter()
                .filter(|name| !name.is_empty())
                .map(|n| (*n).to_owned())
                .collect(),
        };
        Ok((Self { temperature: parameters.number("temperature") as f32 }, demands))
    }

    fn bind(&mut self, columns: &[ColumnType]) -> Result<(), Fault> {
        columns.iter().take(1).try_for_each(groups::check)?;
        match columns.get(1) {
            Some(log_q) if *log_q != ColumnType::floats(&log_q.name, 1) => {
                Err(log_q.fault("f32[1]"))
            }
            _ => Ok(()),
        }
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        let log_q = batch.columns.get(1).map(Column::floats);
        if let Some(row) = log_q.and_then(|log_q| log_q.iter().position(|q| q.is_nan())) {
            return Err(Fault::at_row(row, "the sampling probability is missing"));
        }
        let score = |row: u32| {
            let row = row as usize;
            batch.logits[row] / self.temperature - log_q.map_or(0.0, |log_q| log_q[row])
        };
        let mut shares = Vec::new();
        groups::each(&batch.columns[0], |rows| {
            let (positives, negatives): (Vec<u32>, Vec<u32>) =
                rows.iter().partition(|row| batch.labels[**row as usize] >= 0.5);
            if negatives.is_empty() {
                return;
            }
            let greatest =
                negatives.iter().map(|row| score(*row)).fold(f32::NEG_INFINITY, f32::max);
            shares.clear();
            shares.extend(negatives.iter().map(|row| exp(score(*row) - greatest)));
            let sum: f32 = shares.iter().sum();
            // What the negatives weigh against a positive row, as one logit.
            let against = greatest + ln_1p(sum - 1.0);
            let mut pull = 0.0;
            for row in positives {
                let (loss, miss) = softplus_sigmoid(against - score(row));
                let weight = batch.weight(row as usize);
                losses[row as usize] = weight * loss;
                gradients[row as usize] = -weight * miss / self.temperature;
                pull += weight * miss / self.temperature;
            }
            for (row, share) in negatives.iter().zip(&shares) {
                gradients[*row as usize] = pull * share / sum;
            }
        });
        Ok(())
    }
}

export_loss!(SampledSoftmax);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<SampledSoftmax>(include_str!("../cases.jsonl"));
        testing::check_readme(&SampledSoftmax::about(), include_str!("../README.md"));
    }

    #[test]
    fn gradients_are_slopes() {
        let batch = LossBatch {
            logits: &[0.5, -1.0, 2.0, 0.25, 1.5, -0.75],
            labels: &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0],
            weights: &[1.0, 2.0, 0.5, 3.0, 1.0, 1.0],
            columns: &[
                Column::Ints(vec![7, 7, 7, 7, 9, -1]),
                Column::Floats(vec![-1.0, -2.0, -0.5, -3.0, 0.0, 0.0]),
            ],
        };
        let types = [ColumnType::ids("user", 1), ColumnType::floats("log_q", 1)];
        for temperature in [1.0, 0.5] {
            let parameters = [
                ("group", "user".into()),
                ("log_q", "log_q".into()),
                ("temperature", temperature.into()),
            ];
            testing::check_gradients::<SampledSoftmax>(&parameters, &batch, &types);
        }
    }
}
