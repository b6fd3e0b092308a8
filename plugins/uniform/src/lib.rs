//! Every item with the same probability.

use rectool_plugin_sdk::{
    About, Fault, Items, Parameters, Sampler, Samples, Stream, export_sampler,
};

/// All items but the one that a row chose.
pub struct Uniform {
    items: Items,
}

impl Sampler for Uniform {
    fn about() -> About {
        About::new("uniform", "1.0.0", "every item but the chosen one, all alike")
    }

    fn configure(_: &Parameters, items: Items) -> Result<Self, Fault> {
        if items.ids.is_empty() {
            return Err(Fault::new("there are no items"));
        }
        Ok(Self { items })
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        samples: &mut Samples,
    ) -> Result<(), Fault> {
        let ids = &self.items.ids;
        for (row, positive) in positives.iter().enumerate() {
            let except = self.items.place_of(*positive).map(|place| place as u32);
            let others = ids.len() - usize::from(except.is_some());
            if others == 0 && count > 0 {
                return Err(Fault::at_row(row, "there is no item but the chosen one"));
            }
            let log_probability = -(others as f32).ln();
            let mut stream = Stream::new(seed, &[row as u64]);
            for _ in 0..count {
                let drawn = stream.below_except(ids.len() as u32, except);
                samples.push(ids[drawn as usize], log_probability);
            }
        }
        Ok(())
    }
}

export_sampler!(Uniform);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_sampler::<Uniform>(include_str!("../cases.jsonl"));
        testing::check_readme(&Uniform::about(), include_str!("../README.md"));
    }

    #[test]
    fn draws_are_as_likely_as_said() {
        let items = Items {
            ids: vec![2, 3, 5, 7, 11],
            counts: vec![1; 5],
            last_rows: vec![0; 5],
            scores: Vec::new(),
        };
        for positive in [2, 5, 11, -1, 4] {
            testing::check_frequencies::<Uniform>(&[], &items, positive);
        }
    }
}
