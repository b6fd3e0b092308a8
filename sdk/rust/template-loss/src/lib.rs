//! {{name}}: binary cross-entropy whose positive rows weigh more.

use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction, export_loss,
    math,
};

/// The configured plugin.
pub struct Plugin {
    positive_weight: f32,
}

impl Loss for Plugin {
    fn about() -> About {
        About::new("{{name}}", "0.1.0", "binary cross-entropy whose positive rows weigh more")
            .parameter(
                Parameter::number("positive_weight")
                    .default(1.0)
                    .min(0.0)
                    .help("weight of a row with label 1"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let plugin = Self { positive_weight: parameters.number("positive_weight") as f32 };
        let (prediction, labels) = (Prediction::Logit, Labels::Binary);
        Ok((plugin, Demands { prediction, labels, columns: Vec::new() }))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        batch.each_row(losses, gradients, |logit, label| {
            let weight = if label > 0.5 { self.positive_weight } else { 1.0 };
            // Of the logit as seen from the row's label: neither overflows for large logits.
            let signed = if label > 0.5 { logit } else { -logit };
            let (loss, chance) = math::softplus_sigmoid(-signed);
            (weight * loss, weight * if label > 0.5 { -chance } else { chance })
        });
        Ok(())
    }
}

export_loss!(Plugin);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Plugin>(include_str!("../cases.jsonl"));
    }
}
