//! Lists cut to their first or last values.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Fault, FloatLists, IntLists, Parameter, Parameters, TextLists,
    Texts, Transform, export_transform,
};

/// At most so many values of each list.
pub struct Truncate {
    max: usize,
    keep: Keep,
}

#[derive(Clone, Copy)]
enum Keep {
    First,
    Last,
}

impl Transform for Truncate {
    fn about() -> About {
        About::new("truncate", "1.0.0", "the first or last values of each list")
            .parameter(
                Parameter::integer("max")
                    .min(1.0)
                    .max(f64::from(u32::MAX))
                    .unit("values")
                    .help("how many are kept of a row"),
            )
            .parameter(
                Parameter::text("keep")
                    .default("last")
                    .choices(&["first", "last"])
                    .help("which end; of a history in time order the last are the latest"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        if let Some(input) = inputs.iter().find(|input| input.width().is_some()) {
            return Err(input.fault("a list"));
        }
        let keep = if parameters.text("keep") == "first" { Keep::First } else { Keep::Last };
        Ok((Self { max: parameters.integer("max") as usize, keep }, inputs.to_vec()))
    }

    fn apply(&self, _rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let made = columns.into_iter().map(|column| match column {
            Column::FloatLists(FloatLists { offsets, values }) => {
                let (offsets, values) = self.cut(&offsets, values);
                Column::FloatLists(FloatLists { offsets, values })
            }
            Column::IntLists(IntLists { offsets, values }) => {
                let (offsets, values) = self.cut(&offsets, values);
                Column::IntLists(IntLists { offsets, values })
            }
            Column::TextLists(TextLists { offsets, values }) => {
                let places: Vec<u32> = (0..values.len() as u32).collect();
                let (offsets, places) = self.cut(&offsets, places);
                Column::TextLists(TextLists { offsets, values: picked(&values, &places) })
            }
            fixed => fixed,
        });
        Ok(made.collect())
    }
}

impl Truncate {
    /// Moves what is kept to the front, row by row.
    fn cut<T: Copy>(&self, offsets: &[u32], mut values: Vec<T>) -> (Vec<u32>, Vec<T>) {
        let mut cut = Vec::with_capacity(offsets.len());
        cut.push(0);
        let mut end = 0;
        for pair in offsets.windows(2) {
            let (first, last) = (pair[0] as usize, pair[1] as usize);
            let count = (last - first).min(self.max);
            let from = match self.keep {
                Keep::First => first,
                Keep::Last => last - count,
            };
            values.copy_within(from..from + count, end);
            end += count;
            cut.push(end as u32);
        }
        values.truncate(end);
        (cut, values)
    }
}

fn picked(texts: &Texts, places: &[u32]) -> Texts {
    let mut picked = Texts::new();
    picked.offsets.reserve(places.len());
    for at in places {
        picked.push(texts.get(*at as usize));
    }
    picked
}

export_transform!(Truncate);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Truncate>(include_str!("../cases.jsonl"));
        testing::check_readme(&Truncate::about(), include_str!("../README.md"));
    }
}
