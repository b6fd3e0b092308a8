//! Items that occurred lately.

use rectool_plugin_sdk::{
    About, Fault, Items, Parameter, Parameters, Sampler, Samples, Stream, export_sampler,
};

/// Every item that occurs in the last rows of the data, all alike, but the one that a row chose.
pub struct RecentWindow {
    /// Ascending.
    ids: Vec<i64>,
}

impl Sampler for RecentWindow {
    fn about() -> About {
        About::new("recent-window", "1.0.0", "items of the last rows of the data, all alike")
            .parameter(
                Parameter::integer("window")
                    .min(1.0)
                    .max(9e15)
                    .unit("rows")
                    .help("how many rows count as the last, back from the latest row of any item"),
            )
    }

    fn configure(parameters: &Parameters, items: Items) -> Result<Self, Fault> {
        let window = parameters.integer("window") as u64;
        let Some(latest) = items.last_rows.iter().max() else {
            return Err(Fault::new("there are no items"));
        };
        let recent = items.ids.iter().zip(&items.last_rows);
        let recent = recent.filter(|(_, row)| latest - **row < window);
        Ok(Self { ids: recent.map(|(id, _)| *id).collect() })
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
            let others = self.ids.len() - usize::from(except.is_some());
            if others == 0 && count > 0 {
                let message = "the window has no item but the chosen one, expected a longer window";
                return Err(Fault::at_row(row, message));
            }
            let log_probability = -(others as f32).ln();
            let mut stream = Stream::new(seed, &[row as u64]);
            for _ in 0..count {
                let drawn = stream.below_except(self.ids.len() as u32, except);
                samples.push(self.ids[drawn as usize], log_probability);
            }
        }
        Ok(())
    }
}

export_sampler!(RecentWindow);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_sampler::<RecentWindow>(include_str!("../cases.jsonl"));
        testing::check_readme(&RecentWindow::about(), include_str!("../README.md"));
    }

    #[test]
    fn draws_are_as_likely_as_said() {
        let items = Items {
            ids: vec![2, 3, 5, 7, 11],
            counts: vec![1; 5],
            last_rows: vec![90, 10, 99, 89, 95],
            scores: Vec::new(),
        };
        for positive in [2, 7, -1] {
            let window = [("window", 10i64.into())];
            testing::check_frequencies::<RecentWindow>(&window, &items, positive);
        }
    }
}
