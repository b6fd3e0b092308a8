//! Items as often as they are popular.

mod alias;

use alias::Alias;
use rectool_plugin_sdk::{
    About, Fault, Items, Parameter, Parameters, Sampler, Samples, Stream, export_sampler,
};

/// Draws of the chosen item until one is made from the others alone, which takes a pass over them.
const TRIES: usize = 32;

/// Each item with a probability proportional to count^alpha.
pub struct Popularity {
    items: Items,
    alias: Alias,
    probabilities: Vec<f64>,
    log_probabilities: Vec<f32>,
}

impl Sampler for Popularity {
    fn about() -> About {
        About::new("popularity", "1.0.0", "items as often as a power of how often they occur")
            .parameter(
                Parameter::number("alpha")
                    .default(0.75)
                    .min(0.0)
                    .max(4.0)
                    .help("power of the count; 0: all alike, 1: as in the data"),
            )
    }

    fn configure(parameters: &Parameters, items: Items) -> Result<Self, Fault> {
        if items.ids.is_empty() {
            return Err(Fault::new("there are no items"));
        }
        let alpha = parameters.number("alpha");
        let mut probabilities: Vec<f64> =
            items.counts.iter().map(|count| (*count as f64).powf(alpha)).collect();
        let sum: f64 = probabilities.iter().sum();
        for probability in &mut probabilities {
            *probability /= sum;
        }
        let log_probabilities = probabilities.iter().map(|p| p.ln() as f32).collect();
        let alias = Alias::new(&probabilities);
        Ok(Self { items, alias, probabilities, log_probabilities })
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        samples: &mut Samples,
    ) -> Result<(), Fault> {
        for (row, positive) in positives.iter().enumerate() {
            let chosen = self.items.place_of(*positive);
            if chosen.is_some() && self.items.ids.len() == 1 && count > 0 {
                return Err(Fault::at_row(row, "there is no item but the chosen one"));
            }
            let others = 1.0 - chosen.map_or(0.0, |place| self.probabilities[place]);
            // The others share the probability of the chosen one among them.
            let log_others = others.ln() as f32;
            let mut stream = Stream::new(seed, &[row as u64]);
            for _ in 0..count {
                let place = self.draw(&mut stream, chosen, others);
                samples.push(self.items.ids[place], self.log_probabilities[place] - log_others);
            }
        }
        Ok(())
    }
}

impl Popularity {
    fn draw(&self, stream: &mut Stream, chosen: Option<usize>, others: f64) -> usize {
        for _ in 0..TRIES {
            let place = self.alias.draw(stream);
            if Some(place) != chosen {
                return place;
            }
        }
        let mut left = stream.next_f64() * others;
        let mut last = 0;
        for (place, probability) in self.probabilities.iter().enumerate() {
            if Some(place) != chosen {
                last = place;
                left -= probability;
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }
}

export_sampler!(Popularity);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_sampler::<Popularity>(include_str!("../cases.jsonl"));
        testing::check_readme(&Popularity::about(), include_str!("../README.md"));
    }

    #[test]
    fn draws_are_as_likely_as_said() {
        let items = Items {
            ids: vec![2, 3, 5, 7, 11],
            counts: vec![1, 4, 100_000, 9, 30],
            last_rows: vec![0; 5],
            scores: Vec::new(),
        };
        for alpha in [0.0, 0.5, 1.0] {
            for positive in [2, 5, -1] {
                testing::check_frequencies::<Popularity>(
                    &[("alpha", alpha.into())],
                    &items,
                    positive,
                );
            }
        }
    }
}
