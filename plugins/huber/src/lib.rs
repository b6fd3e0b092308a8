//! The Huber loss.

use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction, export_loss,
};

/// Half the square of an error up to delta, and beyond that its line.
pub struct Huber {
    delta: f32,
}

impl Loss for Huber {
    fn about() -> About {
        About::new("huber", "1.0.0", "squared error, but linear for great errors").parameter(
            Parameter::number("delta")
                .default(1.0)
                .min(1e-6)
                .max(1e6)
                .unit("labels")
                .help("the error from which on the loss is linear"),
        )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands =
            Demands { prediction: Prediction::Value, labels: Labels::Any, columns: Vec::new() };
        Ok((Self { delta: parameters.number("delta") as f32 }, demands))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        let delta = self.delta;
        batch.each_row(losses, gradients, |z, y| {
            let error = z - y;
            // As comparisons, so that NaN stays.
            let low = if error < -delta { -delta } else { error };
            let slope = if low > delta { delta } else { low };
            (slope * (error - 0.5 * slope), slope)
        });
        Ok(())
    }
}

export_loss!(Huber);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{LossBatch, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Huber>(include_str!("../cases.jsonl"));
        testing::check_readme(&Huber::about(), include_str!("../README.md"));
    }

    #[test]
    fn gradients_are_slopes() {
        let (logits, labels) = ([-3.0, -0.5, 0.25, 4.0], [0.0, 1.0, -1.5, 3.5]);
        let batch = LossBatch {
            logits: &logits,
            labels: &labels,
            weights: &[0.5, 1.0, 2.0, 3.0],
            columns: &[],
        };
        for parameters in [[("delta", 1.0.into())], [("delta", 2.5.into())]] {
            testing::check_gradients::<Huber>(&parameters, &batch, &[]);
        }
    }
}
