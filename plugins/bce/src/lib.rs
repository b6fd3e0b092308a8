//! Binary cross-entropy on logits.

use rectool_plugin_sdk::math::softplus_sigmoid;
use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameters, Prediction, export_loss,
};

/// softplus(z) - z y for logit z and label y; gradient sigmoid(z) - y.
pub struct Bce;

impl Loss for Bce {
    fn about() -> About {
        About::new("bce", "1.0.0", "binary cross-entropy on logits")
    }

    fn configure(_: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands =
            Demands { prediction: Prediction::Logit, labels: Labels::Binary, columns: Vec::new() };
        Ok((Self, demands))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        batch.each_row(losses, gradients, |z, y| {
            let (softplus, sigmoid) = softplus_sigmoid(z);
            (softplus - z * y, sigmoid - y)
        });
        Ok(())
    }
}

export_loss!(Bce);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{LossBatch, Value, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Bce>(include_str!("../cases.jsonl"));
        testing::check_readme(&Bce::about(), include_str!("../README.md"));
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
        for parameters in [[]] as [[(&str, Value); 0]; 1] {
            testing::check_gradients::<Bce>(&parameters, &batch, &[]);
        }
    }
}
