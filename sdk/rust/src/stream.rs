//! Seeded random streams.

use crate::mix64;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers that are a function of a seed and an address, such as the number of a row, so that
/// nothing depends on the order in which rows are drawn. The generator is SplitMix64 (Steele, Lea,
/// Flood 2014).
///
/// ```
/// use rectool_plugin_sdk::Stream;
/// let (mut a, mut b) = (Stream::new(1, &[2, 3]), Stream::new(1, &[2, 3]));
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

    /// A whole number in [0, `n`); the bias is below `n` / 2^64.
    ///
    /// # Panics
    /// If `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "below(0) has no value");
        crate::bucket_of(self.next_u64(), n)
    }

    /// A whole number in [0, `n`), each but `except` with the same probability.
    ///
    /// # Panics
    /// If there is no other.
    #[inline]
    pub fn below_except(&mut self, n: u32, except: Option<u32>) -> u32 {
        match except {
            Some(except) => {
                let drawn = self.below(n - 1);
                drawn + u32::from(drawn >= except)
            }
            None => self.below(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_and_addresses_unrelated() {
        let mut counts = [0; 5];
        for address in 0..50_000 {
            counts[Stream::new(7, &[address]).below(5) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_700..10_300).contains(count)), "{counts:?}");
        assert_ne!(Stream::new(1, &[2, 3]).next_u64(), Stream::new(1, &[3, 2]).next_u64());
    }
}
