//! The Poisson loss of a log-rate.

use rectool_plugin_sdk::math::{exp, ln_1p};
use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction, export_loss,
};

/// exp(z) - z y for log-rate z and count y.
pub struct Poisson {
    full: bool,
}

impl Loss for Poisson {
    fn about() -> About {
        About::new("poisson", "1.0.0", "negative log-likelihood of counts, given log-rates")
            .parameter(
                Parameter::boolean("full")
                    .default(false)
                    .help("whether ln(y!) is added (Stirling): comparable values, same gradient"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands = Demands {
            prediction: Prediction::LogRate,
            labels: Labels::NonNegative,
            columns: Vec::new(),
        };
        Ok((Self { full: parameters.boolean("full") }, demands))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        batch.each_row(losses, gradients, |z, y| {
            let rate = exp(z);
            (rate - z * y, rate - y)
        });
        if self.full {
            let counts = losses.iter_mut().zip(batch.labels).filter(|(_, y)| **y > 1.0);
            counts.for_each(|(loss, y)| *loss += ln_factorial(*y));
        }
        Ok(())
    }
}

/// y ln y - y + ln(2 pi y) / 2, for y above 1.
fn ln_factorial(y: f32) -> f32 {
    let ln_y = ln_1p(y - 1.0);
    y * ln_y - y + 0.5 * (LN_2_PI + ln_y)
}

/// ln(2 pi).
const LN_2_PI: f32 = 1.837_877_1;

export_loss!(Poisson);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{LossBatch, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Poisson>(include_str!("../cases.jsonl"));
        testing::check_readme(&Poisson::about(), include_str!("../README.md"));
    }

    #[test]
    fn gradients_are_slopes() {
        let (logits, labels) = ([-3.0, -0.5, 0.25, 3.0], [0.0, 1.0, 5.0, 2.0]);
        let batch = LossBatch {
            logits: &logits,
            labels: &labels,
            weights: &[0.5, 1.0, 2.0, 3.0],
            columns: &[],
        };
        for parameters in [[("full", false.into())], [("full", true.into())]] {
            testing::check_gradients::<Poisson>(&parameters, &batch, &[]);
        }
    }
}
