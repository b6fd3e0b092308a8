//! The hashes of rectool: a plugin gives texts and ids the same numbers as the tool itself.

use crate::MISSING_ID;

/// The id of a text: XXH3 with seed 0 over its bytes, with the sign bit set, as importers give it.
#[inline]
pub fn hash_text(text: &[u8]) -> i64 {
    let key = (xxhash_rust::xxh3::xxh3_64(text) | 1 << 63) as i64;
    if key == MISSING_ID { i64::MIN } else { key }
}

/// A one-to-one mix of 64 bits: neighbouring keys become unrelated (the last step of SplitMix64).
#[inline]
pub const fn mix64(mut key: u64) -> u64 {
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// One of `buckets` buckets for a mixed key: the high part of their product, formed from 64-bit
/// products, because Wasm has none of 128 bits.
#[inline]
pub const fn bucket_of(mixed: u64, buckets: u32) -> u32 {
    let low = (mixed & 0xffff_ffff) * buckets as u64;
    let high = (mixed >> 32) * buckets as u64;
    ((high + (low >> 32)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_rectool() {
        assert_eq!(mix64(1), 0x5692_161d_100b_05e5);
        assert_eq!(hash_text(b"") as u64, 0x2d06_8005_38d3_94c2 | 1 << 63);
    }

    #[test]
    fn buckets_are_the_high_part_of_the_product() {
        for key in (0..1000).map(mix64).chain([0, u64::MAX]) {
            for buckets in [1, 7, 1 << 20, u32::MAX] {
                let wide = (u128::from(key) * u128::from(buckets)) >> 64;
                assert_eq!(u128::from(bucket_of(key, buckets)), wide, "{key} of {buckets}");
            }
        }
    }
}
