//! The hinge loss.

use rectool_plugin_sdk::{
    About, Demands, Fault, Labels, Loss, LossBatch, Parameter, Parameters, Prediction, export_loss,
};

/// max(0, margin - s z), s being 1 for a positive row and -1 for another; or its square.
pub struct Hinge {
    margin: f32,
    power: Power,
}

#[derive(Clone, Copy)]
enum Power {
    One,
    Two,
}

impl Loss for Hinge {
    fn about() -> About {
        About::new("hinge", "1.0.0", "how far a score is from its side of a margin")
            .parameter(
                Parameter::number("margin")
                    .default(1.0)
                    .min(0.0)
                    .max(1e6)
                    .unit("logits")
                    .help("from where on a score costs nothing"),
            )
            .parameter(
                Parameter::boolean("squared")
                    .default(false)
                    .help("whether the distance is squared, which makes the slope continuous"),
            )
    }

    fn configure(parameters: &Parameters) -> Result<(Self, Demands), Fault> {
        let demands =
            Demands { prediction: Prediction::Score, labels: Labels::Binary, columns: Vec::new() };
        let power = if parameters.boolean("squared") { Power::Two } else { Power::One };
        Ok((Self { margin: parameters.number("margin") as f32, power }, demands))
    }

    fn evaluate(
        &self,
        batch: &LossBatch<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), Fault> {
        let margin = self.margin;
        let distance = |z: f32, side: f32| {
            let distance = margin - side * z;
            if distance < 0.0 { 0.0 } else { distance }
        };
        match self.power {
            Power::One => batch.each_row(losses, gradients, |z, y| {
                let side = 2.0 * y - 1.0;
                let distance = distance(z, side);
                (distance, if distance > 0.0 { -side } else { 0.0 })
            }),
            Power::Two => batch.each_row(losses, gradients, |z, y| {
                let side = 2.0 * y - 1.0;
                let distance = distance(z, side);
                (distance * distance, -2.0 * side * distance)
            }),
        }
        Ok(())
    }
}

export_loss!(Hinge);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::{LossBatch, testing};

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_loss::<Hinge>(include_str!("../cases.jsonl"));
        testing::check_readme(&Hinge::about(), include_str!("../README.md"));
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
        for parameters in [[("squared", false.into())], [("squared", true.into())]] {
            testing::check_gradients::<Hinge>(&parameters, &batch, &[]);
        }
    }
}
