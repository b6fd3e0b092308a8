//! Seeded random streams, addressed by what they are for.

use crate::hash::mix64;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers that is a pure function of a seed and an address, such as
/// `[table, key]` or `[epoch, window]`. Two streams with different addresses are unrelated, so
/// nothing depends on the order in which ranks or threads draw.
///
/// The generator is SplitMix64 (Steele, Lea, Flood 2014). Its numbers are part of the checkpoint
/// and order formats: the algorithm never changes.
///
/// ```
/// use rectool_base::Stream;
/// let mut a = Stream::new(1, &[2, 3]);
/// let mut b = Stream::new(1, &[2, 3]);
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of `seed` at `address`.
    #[inline]
    pub fn new(seed: u64, address: &[u64]) -> Self {
        let start = mix64(seed.wrapping_add(GOLDEN));
        let state = address.iter().fold(start, |state, part| {
            mix64(state.wrapping_mul(GOLDEN) ^ part.wrapping_add(GOLDEN))
        });
        Self { state }
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix64(self.state)
    }

    /// A number in [0, 1) with 24 random bits.
    #[inline]
    pub fn next_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// A number in [0, 1) with 53 random bits.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A whole number in [0, `n`), by the multiply-shift of Lemire (2019) without its rejection: the
    /// bias is below `n` / 2^64.
    ///
    /// # Panics
    /// If `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "below(0) has no value");
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// A standard normal number (Box and Muller).
    #[inline]
    pub fn next_normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.next_f64()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.next_f64()).cos()) as f32
    }

    /// Puts `items` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_unrelated_and_uniform() {
        let mut mean = 0.0;
        for address in 0..10_000 {
            mean += Stream::new(7, &[address]).next_f64();
        }
        assert!((mean / 10_000.0 - 0.5).abs() < 0.01, "mean of first draws {}", mean / 10_000.0);
        assert_ne!(Stream::new(1, &[2, 3]).next_u64(), Stream::new(1, &[3, 2]).next_u64());
    }

    #[test]
    fn normal_has_unit_variance() {
        let mut stream = Stream::new(3, &[]);
        let draws: Vec<f32> = (0..20_000).map(|_| stream.next_normal()).collect();
        let variance = draws.iter().map(|x| x * x).sum::<f32>() / draws.len() as f32;
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }

    #[test]
    fn shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..100).collect();
        Stream::new(5, &[1]).shuffle(&mut items);
        assert_ne!(items[..5], [0, 1, 2, 3, 4]);
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
