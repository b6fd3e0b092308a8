//! Ids and texts as the numbers of buckets.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Element, Fault, MISSING_ID, Parameter, Parameters, Transform,
    bucket_of, export_transform, hash_text, mix64,
};

/// A bucket for every id and text.
pub struct Hash {
    buckets: u32,
    /// What keys are changed by before they are mixed; 0 for seed 0.
    salt: u64,
}

impl Transform for Hash {
    fn about() -> About {
        About::new("hash", "1.0.0", "ids and texts as one of so many buckets")
            .parameter(
                Parameter::integer("buckets")
                    .min(1.0)
                    .max(f64::from(u32::MAX))
                    .unit("buckets")
                    .help("ids become 0 to buckets - 1, a missing one becomes buckets"),
            )
            .parameter(
                Parameter::integer("seed").default(0i64).help("another seed, other collisions"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_ids_or_texts)?;
        let outputs = inputs.iter().map(|input| input.with_element(Element::Int64)).collect();
        let buckets = parameters.integer("buckets") as u32;
        let salt = mix64(parameters.integer("seed") as u64);
        Ok((Self { buckets, salt }, outputs))
    }

    fn apply(&self, _rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let made = columns.into_iter().map(|mut column| match &column {
            Column::Texts(_) | Column::TextLists(_) => {
                let texts = column.texts().iter_bytes();
                let ids = texts.map(|text| text.map_or(MISSING_ID, hash_text));
                let ids = ids.map(|id| self.bucket(id)).collect();
                column.with_ids(ids)
            }
            _ => {
                column.ids_mut().iter_mut().for_each(|id| *id = self.bucket(*id));
                column
            }
        });
        Ok(made.collect())
    }
}

impl Hash {
    #[inline]
    fn bucket(&self, id: i64) -> i64 {
        let bucket = bucket_of(mix64(id as u64 ^ self.salt), self.buckets);
        i64::from(if id == MISSING_ID { self.buckets } else { bucket })
    }
}

export_transform!(Hash);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Hash>(include_str!("../cases.jsonl"));
        testing::check_readme(&Hash::about(), include_str!("../README.md"));
    }

    #[test]
    fn neighbouring_ids_spread_evenly() {
        let hash = Hash { buckets: 10, salt: mix64(3) };
        let mut counts = [0; 10];
        (0..100_000).for_each(|id| counts[hash.bucket(id) as usize] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}
