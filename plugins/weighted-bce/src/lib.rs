//! Binary cross-entropy that counts positive rows more or less than others.

use rectool_plugin_sdk::math::softplus_sigmoid;
use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction, export_loss,
};

/// w softplus(-z) for a positive row, softplus(z) for another.
pub struct WeightedBce {
    pos_weight: f32,
}

impl Loss for WeightedBce {
    fn about() -> About {
        About::new("weighted-bce", "1.0.0", "binary cross-entropy with a weight for positive rows")
            .parameter(
                Parameter::number("pos_weight")
                    .default(1.0)
                    .min(0.0)
                    .max(1e6)
                    .unit("rows")
                    .help("how many negative rows a positive one counts as"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands =
            Demands { prediction: Prediction::Logit, labels: Labels::Binary, columns: Vec::new() };
        Ok((Self { pos_weight: parameters.number("pos_weight") as f32 }, demands))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        let extra = self.pos_weight - 1.0;
        batch.each_row(losses, gradients, |z, y| {
            let (softplus, sigmoid) = softplus_sigmoid(z);
            // y w softplus(-z) + (1 - y) softplus(z), with softplus(-z) = softplus(z) - z.
            let scale = 1.0 + extra * y;
            let weight = extra + 1.0;
            (scale * softplus - weight * y * z, scale * sigmoid - weight * y)
        });
        Ok(())
    }
}

export_loss!(WeightedBce);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{LossBatch, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<WeightedBce>(include_str!("../cases.jsonl"));
        testing::check_readme(&WeightedBce::about(), include_str!("../README.md"));
    }

    #[test]
    fn gradients_are_slopes() {
        let (logits, labels) = ([-3.0, -0.5, 0.25, 4.0], [0.0, 1.0, 1.0, 0.0]);
        let batch = LossBatch {
            logits: &logits,
            labels: &labels,
            weights: &[0.5, 1.0, 2.0, 3.0],
            columns: &[],
        };
        for parameters in [[("pos_weight", 1.0.into())], [("pos_weight", 7.5.into())]] {
            testing::check_gradients::<WeightedBce>(&parameters, &batch, &[]);
        }
    }
}
