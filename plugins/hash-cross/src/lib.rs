//! Several columns as one: each combination of their values gets a bucket.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Element, Fault, MISSING_ID, Parameter, Parameters, Transform,
    bucket_of, export_transform, hash_text, mix64,
};

/// A bucket for every combination of the values of a row.
pub struct HashCross {
    buckets: u32,
    seed: u64,
    widths: Vec<usize>,
}

impl Transform for HashCross {
    fn about() -> About {
        About::new("hash-cross", "1.0.0", "the combination of a row's ids and texts, as one id")
            .parameter(
                Parameter::integer("buckets")
                    .min(1.0)
                    .max(f64::from(u32::MAX))
                    .unit("buckets")
                    .help("ids become 0 to buckets - 1, where all are missing it is buckets"),
            )
            .parameter(
                Parameter::integer("seed").default(0i64).help("another seed, other collisions"),
            )
            .parameter(
                Parameter::text("output")
                    .default("")
                    .help("the new column; by default the inputs' names joined by `_x_`"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        let width = |input: &ColumnType| {
            input.expect_ids_or_texts()?;
            input.width().ok_or_else(|| input.fault("ids or texts of fixed width"))
        };
        let widths = inputs.iter().map(width).collect::<Result<Vec<_>, _>>()?;
        let values: usize = widths.iter().sum();
        if values < 2 {
            return Err(Fault::new(format!("{values} value per row, expected 2 or more to cross")));
        }
        let name = match parameters.text("output") {
            "" => inputs.iter().map(|input| &*input.name).collect::<Vec<_>>().join("_x_"),
            given => given.to_owned(),
        };
        let buckets = parameters.integer("buckets") as u32;
        let seed = mix64(parameters.integer("seed") as u64);
        let output = ColumnType { element: Element::Int64, ..ColumnType::ids(&name, 1) };
        Ok((Self { buckets, seed, widths }, vec![output]))
    }

    fn apply(&self, rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let mut states = vec![self.seed; rows];
        let mut present = vec![false; rows];
        for (column, width) in columns.iter().zip(&self.widths) {
            match column {
                Column::Texts(texts) => {
                    let ids = texts.iter_bytes().map(|text| text.map_or(MISSING_ID, hash_text));
                    cross(&mut states, &mut present, ids, *width);
                }
                _ => cross(&mut states, &mut present, column.ids().iter().copied(), *width),
            }
        }
        let bucket = |(state, present)| {
            i64::from(if present { bucket_of(state, self.buckets) } else { self.buckets })
        };
        let ids = states.into_iter().zip(present).map(bucket).collect();
        Ok(vec![Column::Ints(ids)])
    }
}

/// Mixes `width` ids into the state of each row. The order of the values counts.
fn cross(
    states: &mut [u64],
    present: &mut [bool],
    mut ids: impl Iterator<Item = i64>,
    width: usize,
) {
    for (state, present) in states.iter_mut().zip(present) {
        for id in ids.by_ref().take(width) {
            // Odd, so that no state is lost; added, so that the same id twice does not cancel out.
            *state = mix64(state.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(id as u64));
            *present |= id != MISSING_ID;
        }
    }
}

export_transform!(HashCross);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<HashCross>(include_str!("../cases.jsonl"));
        testing::check_readme(&HashCross::about(), include_str!("../README.md"));
    }

    #[test]
    fn order_counts() {
        let cross = HashCross { buckets: u32::MAX, seed: 0, widths: vec![1, 1] };
        let of = |a, b| cross.apply(1, vec![Column::Ints(vec![a]), Column::Ints(vec![b])]).unwrap();
        assert_ne!(of(1, 2), of(2, 1));
        assert_ne!(of(5, 5), of(6, 6));
    }
}
