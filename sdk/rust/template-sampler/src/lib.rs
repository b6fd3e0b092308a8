//! {{name}}: draws each item as often as a power of its count says.

use rectool_plugin_sdk::{
    About, Fault, Items, Parameter, Parameters, Sampler, Samples, Stream, export_sampler,
};

/// The configured plugin.
pub struct Plugin {
    ids: Vec<i64>,
    /// Of the weights of all items up to each.
    sums: Vec<f64>,
}

impl Sampler for Plugin {
    fn about() -> About {
        About::new("{{name}}", "0.1.0", "draws items by a power of their counts").parameter(
            Parameter::number("power")
                .default(0.75)
                .min(0.0)
                .max(1.0)
                .help("0: every item alike; 1: as often as in the training data"),
        )
    }

    fn configure(parameters: &Parameters, items: Items) -> Result<Self, Fault> {
        if items.ids.is_empty() {
            return Err(Fault::new("there are no items to draw from"));
        }
        let power = parameters.number("power");
        let mut sum = 0.0;
        let add = |count: &u64| {
            sum += (*count as f64).powf(power);
            sum
        };
        let sums = items.counts.iter().map(add).collect();
        Ok(Self { ids: items.ids, sums })
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        samples: &mut Samples,
    ) -> Result<(), Fault> {
        let total = self.sums[self.sums.len() - 1];
        let mut stream = Stream::new(seed, &[]);
        // Drawn with replacement; the positive itself may be drawn.
        for _ in 0..positives.len() * count {
            let point = stream.next_f64() * total;
            let item = self.sums.partition_point(|sum| *sum <= point).min(self.ids.len() - 1);
            let before = if item > 0 { self.sums[item - 1] } else { 0.0 };
            let probability = (self.sums[item] - before) / total;
            samples.push(self.ids[item], probability.ln() as f32);
        }
        Ok(())
    }
}

export_sampler!(Plugin);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_sampler::<Plugin>(include_str!("../cases.jsonl"));
    }
}
