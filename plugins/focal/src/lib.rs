//! The focal loss.

use rectool_plugin_sdk::math::{exp, softplus_sigmoid};
use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction, export_loss,
};

/// -a (1 - p)^gamma ln p, p being the probability given to the label that a row has.
pub struct Focal {
    gamma: f32,
    /// The factors of negative and positive rows.
    alphas: [f32; 2],
}

impl Loss for Focal {
    fn about() -> About {
        About::new("focal", "1.0.0", "cross-entropy that passes over rows already well predicted")
            .parameter(
                Parameter::number("gamma")
                    .default(2.0)
                    .min(0.0)
                    .max(20.0)
                    .help("how fast well predicted rows lose weight; 0: as bce"),
            )
            .parameter(
                Parameter::number("alpha")
                    .default(0.25)
                    .min(0.0)
                    .max(1.0)
                    .help("factor of positive rows; negative ones have 1 - alpha"),
            )
            .parameter(
                Parameter::boolean("balance")
                    .default(true)
                    .help("whether alpha counts; if not, all rows have factor 1"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands =
            Demands { prediction: Prediction::Logit, labels: Labels::Binary, columns: Vec::new() };
        let alpha = parameters.number("alpha") as f32;
        let alphas = if parameters.boolean("balance") { [1.0 - alpha, alpha] } else { [1.0; 2] };
        Ok((Self { gamma: parameters.number("gamma") as f32, alphas }, demands))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        let (gamma, [negative, positive]) = (self.gamma, self.alphas);
        batch.each_row(losses, gradients, |z, y| {
            let side = 2.0 * y - 1.0;
            // x is the log-odds of the row's own label; softplus(x) = -ln(1 - p), miss = 1 - p.
            let x = side * z;
            let (surprise, miss) = softplus_sigmoid(-x);
            let focus = (negative + (positive - negative) * y) * exp(-gamma * (surprise + x));
            let slope = focus * (-gamma * (1.0 - miss) * surprise - miss);
            (focus * surprise, side * slope)
        });
        Ok(())
    }
}

export_loss!(Focal);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{LossBatch, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Focal>(include_str!("../cases.jsonl"));
        testing::check_readme(&Focal::about(), include_str!("../README.md"));
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
        for parameters in
            [[("gamma", 2.0.into())], [("gamma", 0.0.into())], [("gamma", 0.5.into())]]
        {
            testing::check_gradients::<Focal>(&parameters, &batch, &[]);
        }
    }
}
