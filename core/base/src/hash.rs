//! The fixed hashes: they are part of the data and checkpoint formats and never change.

/// The 64-bit key of a text id: XXH3 with seed 0 over its UTF-8 bytes, with the sign bit set, so
/// that no text can meet a small integer id.
///
/// ```
/// assert!(rectool_base::hash_text("shoes") < 0);
/// assert_eq!(rectool_base::hash_text("shoes"), rectool_base::hash_text("shoes"));
/// ```
pub fn hash_text(text: &str) -> i64 {
    let key = (xxhash_rust::xxh3::xxh3_64(text.as_bytes()) | 1 << 63) as i64;
    // -1 is `MISSING_ID`.
    if key == crate::MISSING_ID { i64::MIN } else { key }
}

/// A one-to-one mix of 64 bits (the SplitMix64 finaliser): neighbouring keys become unrelated.
#[inline]
pub fn mix64(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The logical bucket of a key, out of `buckets`: what ranks and checkpoint parts are cut by.
#[inline]
pub fn bucket_of(key: u64, buckets: u32) -> u32 {
    ((u128::from(mix64(key)) * u128::from(buckets)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_ones_on_disk() {
        assert_eq!(mix64(1), 0x5692_161d_100b_05e5);
        assert_eq!(hash_text("") as u64, 0x2d06_8005_38d3_94c2 | 1 << 63);
        assert!((0..1000).all(|key| bucket_of(key, 7) < 7));
    }
}
