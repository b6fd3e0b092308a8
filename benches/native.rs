//! What the standard transforms do, in plain Rust: what their speed is held against.

use std::collections::HashMap;

use rectool::base::{Jagged, MISSING_ID, Texts, bucket_of, hash_text, mix64};

/// Ids into buckets, as `hash`.
pub(crate) fn hash(ids: &mut [i64], buckets: u32) {
    for id in ids {
        let bucket = if *id == MISSING_ID { buckets } else { bucket_of(*id as u64, buckets) };
        *id = i64::from(bucket);
    }
}

/// All ids of a row as one, as `hash-cross`.
pub(crate) fn hash_cross(ids: &[i64], width: usize, buckets: u32) -> Vec<i64> {
    let cross = |row: &[i64]| {
        let mix = |state: u64, id: &i64| {
            mix64(state.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(*id as u64))
        };
        // The seed's mix is 0.
        let state = row.iter().fold(0, mix);
        if row.iter().all(|id| *id == MISSING_ID) {
            return i64::from(buckets);
        }
        ((u128::from(state) * u128::from(buckets)) >> 64) as i64
    };
    ids.chunks_exact(width).map(cross).collect()
}

/// The interval of each float, as `bucketize`.
pub(crate) fn bucketize(values: &[f32], boundaries: &[f32]) -> Vec<i64> {
    let missing = boundaries.len() as i64 + 1;
    let bucket = |x: &f32| {
        let below = boundaries.partition_point(|boundary| boundary <= x) as i64;
        if x.is_nan() { missing } else { below }
    };
    values.iter().map(bucket).collect()
}

/// The numbers of known ids, as `vocabulary` with one bucket for others.
pub(crate) fn vocabulary(ids: &mut [i64], known: &HashMap<i64, i64>) {
    for id in ids {
        *id = match *id {
            MISSING_ID => known.len() as i64 + 1,
            id => known.get(&id).map_or(0, |at| at + 1),
        };
    }
}

/// Hour and weekday of Unix seconds, as `date-parts`.
pub(crate) fn date_parts(seconds: &[i64]) -> Vec<i64> {
    let parts = |second: &i64| match *second {
        MISSING_ID => [MISSING_ID; 2],
        second => {
            let weekday = (second.div_euclid(86_400) + 3).rem_euclid(7);
            [second.rem_euclid(86_400) / 3_600, weekday]
        }
    };
    seconds.iter().flat_map(parts).collect()
}

/// Hashed words of lower-cased texts, as `ngrams`.
pub(crate) fn words(texts: &Texts, buckets: u32) -> Jagged {
    let mut lists = Jagged::new();
    for text in texts.iter() {
        let lower = text.unwrap_or_default().to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        for word in words {
            lists.values.push(i64::from(bucket_of(hash_text(word) as u64, buckets)));
        }
        lists.offsets.push(lists.values.len() as u32);
    }
    lists
}
