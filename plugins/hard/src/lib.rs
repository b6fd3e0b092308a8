//! Items that are hard to tell from a good choice.

use rectool_plugin_sdk::{
    About, Fault, Items, Parameter, Parameters, Sampler, Samples, Stream, export_sampler,
};

/// Now an item of the highest scores, now any item; never the one that a row chose.
pub struct Hard {
    ids: Vec<i64>,
    /// Places of the items with the highest scores, ascending.
    top: Vec<u32>,
    /// For each item.
    is_top: Vec<bool>,
    mix: f32,
}

impl Sampler for Hard {
    fn about() -> About {
        About::new("hard", "1.0.0", "items of the highest scores, mixed with any items")
            .parameter(
                Parameter::integer("top")
                    .default(1000i64)
                    .min(1.0)
                    .max(f64::from(u32::MAX))
                    .unit("items")
                    .help("how many items of the highest scores count as hard"),
            )
            .parameter(
                Parameter::number("mix")
                    .default(0.5)
                    .min(0.0)
                    .max(1.0)
                    .help("share of draws that are made among hard items only"),
            )
    }

    fn configure(parameters: &Parameters, items: Items) -> Result<Self, Fault> {
        let Items { ids, scores, .. } = items;
        if ids.is_empty() {
            return Err(Fault::new("there are no items"));
        }
        if scores.len() != ids.len() {
            return Err(Fault::new("items have no scores, expected a score column"));
        }
        // An item whose score is missing is never hard; of equal scores the lower id is harder.
        let mut top: Vec<u32> =
            (0..ids.len() as u32).filter(|place| !scores[*place as usize].is_nan()).collect();
        top.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
        top.truncate(parameters.integer("top") as usize);
        top.sort_unstable();
        let mut is_top = vec![false; ids.len()];
        for place in &top {
            is_top[*place as usize] = true;
        }
        Ok(Self { ids, top, is_top, mix: parameters.number("mix") as f32 })
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        samples: &mut Samples,
    ) -> Result<(), Fault> {
        for (row, positive) in positives.iter().enumerate() {
            let except = self.ids.binary_search(positive).ok().map(|place| place as u32);
            let except_top = except.and_then(|place| self.top.binary_search(&place).ok());
            let except_top = except_top.map(|nth| nth as u32);
            let others = self.ids.len() - usize::from(except.is_some());
            let hard = self.top.len() - usize::from(except_top.is_some());
            if others == 0 && count > 0 {
                return Err(Fault::at_row(row, "there is no item but the chosen one"));
            }
            // Without a hard item left every draw is made among all.
            let mix = if hard == 0 { 0.0 } else { self.mix };
            let easy_log = ((1.0 - mix) / others as f32).ln();
            let hard_log = (mix / hard.max(1) as f32 + (1.0 - mix) / others as f32).ln();
            let mut stream = Stream::new(seed, &[row as u64]);
            for _ in 0..count {
                let place = if stream.next_f32() < mix {
                    self.top[stream.below_except(self.top.len() as u32, except_top) as usize]
                } else {
                    stream.below_except(self.ids.len() as u32, except)
                };
                let log = if self.is_top[place as usize] { hard_log } else { easy_log };
                samples.push(self.ids[place as usize], log);
            }
        }
        Ok(())
    }
}

export_sampler!(Hard);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_sampler::<Hard>(include_str!("../cases.jsonl"));
        testing::check_readme(&Hard::about(), include_str!("../README.md"));
    }

    #[test]
    fn draws_are_as_likely_as_said() {
        let items = Items {
            ids: vec![2, 3, 5, 7, 11, 13],
            counts: vec![1; 6],
            last_rows: vec![0; 6],
            scores: vec![0.5, 2.0, f32::NAN, 2.0, -1.0, 1.0],
        };
        for (top, mix) in [(2i64, 0.5), (1, 0.25), (4, 1.0), (3, 0.0)] {
            for positive in [3, 11, -1] {
                let parameters = [("top", top.into()), ("mix", mix.into())];
                testing::check_frequencies::<Hard>(&parameters, &items, positive);
            }
        }
    }
}
