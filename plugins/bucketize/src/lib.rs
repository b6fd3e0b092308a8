//! Floats as the numbers of the intervals that they fall into.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Element, Fault, Parameter, Parameters, Transform, export_transform,
};

/// Up to here comparing with every boundary, four values at a time, beats a search.
const SCANNED_MAX: usize = 24;

/// Intervals between ascending boundaries.
pub struct Bucketize {
    boundaries: Vec<f32>,
}

impl Transform for Bucketize {
    fn about() -> About {
        About::new("bucketize", "1.0.0", "the interval that each float falls into, as an id")
            .parameter(
                Parameter::numbers("boundaries")
                    .default(&[][..] as &[f64])
                    .help("ascending; a value equal to one belongs above it"),
            )
            .parameter(
                Parameter::numbers("sample")
                    .default(&[][..] as &[f64])
                    .help("values whose quantiles are the boundaries"),
            )
            .parameter(
                Parameter::integer("quantiles")
                    .default(10i64)
                    .min(2.0)
                    .max(1e6)
                    .unit("buckets")
                    .help("into how many equally frequent intervals `sample` is cut"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_floats)?;
        let (fixed, sample) = (parameters.numbers("boundaries"), parameters.numbers("sample"));
        let boundaries = match (fixed.is_empty(), sample.is_empty()) {
            (false, true) => fixed.to_vec(),
            (true, false) => quantiles(sample, parameters.integer("quantiles") as usize),
            (true, true) => return Err(Fault::new("give `boundaries` or a `sample`")),
            (false, false) => return Err(Fault::new("give `boundaries` or a `sample`, not both")),
        };
        let mut boundaries: Vec<f32> = boundaries.into_iter().map(|x| x as f32).collect();
        if sample.is_empty() && boundaries.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Fault::new("`boundaries` do not ascend"));
        }
        boundaries.dedup();
        let outputs = inputs.iter().map(|input| input.with_element(Element::Int64)).collect();
        Ok((Self { boundaries }, outputs))
    }

    fn apply(&self, _rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let made = columns.into_iter().map(|column| {
            let ids = self.buckets(column.floats());
            column.with_ids(ids)
        });
        Ok(made.collect())
    }
}

impl Bucketize {
    fn buckets(&self, values: &[f32]) -> Vec<i64> {
        let boundaries = &self.boundaries[..];
        // A missing value gets the bucket after the last.
        let missing = boundaries.len() as i32 + 1;
        if boundaries.len() > SCANNED_MAX {
            let search = |x: &f32| boundaries.partition_point(|boundary| *boundary <= *x) as i64;
            let bucket = |x: &f32| if x.is_nan() { i64::from(missing) } else { search(x) };
            return values.iter().map(bucket).collect();
        }
        let mut buckets = vec![0; values.len()];
        for (buckets, values) in buckets.chunks_mut(64).zip(values.chunks(64)) {
            let mut counts = [0i32; 64];
            for boundary in boundaries {
                for (count, x) in counts.iter_mut().zip(values) {
                    *count += i32::from(*boundary <= *x);
                }
            }
            for ((bucket, count), x) in buckets.iter_mut().zip(counts).zip(values) {
                *bucket = i64::from(if x.is_nan() { missing } else { count });
            }
        }
        buckets
    }
}

/// The inner boundaries of `count` equally frequent intervals, interpolated between neighbours.
fn quantiles(sample: &[f64], count: usize) -> Vec<f64> {
    let mut sample = sample.to_vec();
    sample.sort_unstable_by(f64::total_cmp);
    let last = (sample.len() - 1) as f64;
    let quantile = |at: usize| {
        let place = last * at as f64 / count as f64;
        let (low, part) = (place as usize, place.fract());
        let high = (low + 1).min(sample.len() - 1);
        sample[low] + (sample[high] - sample[low]) * part
    };
    (1..count).map(quantile).collect()
}

export_transform!(Bucketize);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Bucketize>(include_str!("../cases.jsonl"));
        testing::check_readme(&Bucketize::about(), include_str!("../README.md"));
    }

    #[test]
    fn scanning_and_searching_agree() {
        let values: Vec<f32> = (0..500).map(|at| (at * 37 % 101) as f32 / 2.0).collect();
        let many: Vec<f32> = (0..=SCANNED_MAX).map(|at| at as f32).collect();
        let few = Bucketize { boundaries: many[..SCANNED_MAX].to_vec() };
        let limit = SCANNED_MAX as i64;
        let searched = Bucketize { boundaries: many }.buckets(&values);
        let capped: Vec<i64> = searched.iter().map(|bucket| (*bucket).min(limit)).collect();
        assert_eq!(few.buckets(&values), capped);
    }
}
