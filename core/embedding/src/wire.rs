//! Floats on their way between ranks.

use rectool_comm::{Comm, CommError, CommExt};
use serde::{Deserialize, Serialize};

use crate::floats::Floats;
use crate::parallel::for_each;

/// How values and gradients travel between ranks. Sums and steps are taken in 32 bits whatever it is;
/// on one rank nothing travels and nothing is rounded.
///
/// # Determinism
/// Rounding is to the nearest, ties to even. What a rank sends to itself is rounded too, so that
/// results do not depend on who owns what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// 32 bits, exact.
    #[default]
    F32,
    /// 16 bits, of which 11 are the precision. Each message is scaled by a power of two that brings its
    /// largest number near the format's, so that small gradients keep their precision.
    F16,
    /// 16 bits, of which 8 are the precision.
    Bf16,
}

/// A message's words besides its floats: the exponent of the scale.
const HEAD: usize = 1;

/// Floats of a task.
const TASK_FLOATS: usize = 1 << 15;

/// Buffers of 16-bit words.
#[derive(Default)]
pub(crate) struct Halves {
    send: Vec<u16>,
    receive: Vec<u16>,
}

impl Wire {
    /// Sends the parts of `send` to the ranks and receives theirs, whose lengths are known. Both
    /// lengths are \[R\], in floats.
    pub(crate) fn exchange<'a>(
        self,
        comm: &dyn Comm,
        (send, lengths): (&[f32], &[usize]),
        receive_lengths: &[usize],
        (halves, receive): (&mut Halves, &'a mut Floats),
    ) -> Result<&'a [f32], CommError> {
        let receive = receive.first_mut(receive_lengths.iter().sum());
        if self == Self::F32 {
            comm.all_to_all_known(send, lengths, receive, receive_lengths)?;
            return Ok(receive);
        }
        // An empty part is an empty message.
        let words = |lengths: &[usize]| -> Vec<usize> {
            lengths.iter().map(|n| if *n == 0 { 0 } else { n + HEAD }).collect()
        };
        let (counts, receive_counts) = (words(lengths), words(receive_lengths));
        halves.send.resize(counts.iter().sum(), 0);
        halves.receive.resize(receive_counts.iter().sum(), 0);
        let (mut floats, mut rest) = (send, halves.send.as_mut_slice());
        let mut tasks = Vec::new();
        for (length, count) in lengths.iter().zip(&counts).filter(|(length, _)| **length > 0) {
            let (part, after) = floats.split_at(*length);
            let (message, others) = rest.split_at_mut(*count);
            (floats, rest) = (after, others);
            let exponent = self.exponent(part);
            message[0] = exponent as u16;
            let parts = part.chunks(TASK_FLOATS).zip(message[HEAD..].chunks_mut(TASK_FLOATS));
            tasks.extend(parts.map(|parts| (exponent, parts)));
        }
        for_each(tasks, |(exponent, (part, words))| self.encode(exponent, part, words));
        comm.all_to_all_known(&halves.send, &counts, &mut halves.receive, &receive_counts)?;
        let (mut floats, mut rest) = (&mut *receive, halves.receive.as_slice());
        let mut tasks = Vec::new();
        let parts = receive_lengths.iter().zip(&receive_counts);
        for (length, count) in parts.filter(|(length, _)| **length > 0) {
            let (part, after) = floats.split_at_mut(*length);
            let (message, others) = rest.split_at(*count);
            (floats, rest) = (after, others);
            let exponent = message[0] as i16;
            let parts = message[HEAD..].chunks(TASK_FLOATS).zip(part.chunks_mut(TASK_FLOATS));
            tasks.extend(parts.map(|parts| (exponent, parts)));
        }
        for_each(tasks, |(exponent, (words, part))| self.decode(exponent, words, part));
        Ok(receive)
    }

    /// The power of two that a message is multiplied with.
    fn exponent(self, floats: &[f32]) -> i16 {
        if self != Self::F16 {
            return 0;
        }
        let sizes = floats.iter().map(|x| x.to_bits() & !SIGN);
        let largest = sizes.filter(|size| *size < INFINITY).fold(0, u32::max);
        // Below 2^15, the largest exponent of the format, so that nothing is rounded to infinity.
        let exponent = F16_EXPONENT_MAX - ((largest >> 23) as i16 - F32_BIAS);
        exponent.clamp(-F32_BIAS + 1, F32_BIAS)
    }

    fn encode(self, exponent: i16, floats: &[f32], words: &mut [u16]) {
        let scale = power_of_two(exponent);
        let pairs = words.iter_mut().zip(floats);
        if self == Self::F16 {
            pairs.for_each(|(word, x)| *word = to_f16(*x * scale));
        } else {
            pairs.for_each(|(word, x)| *word = to_bf16(*x));
        }
    }

    fn decode(self, exponent: i16, words: &[u16], floats: &mut [f32]) {
        let scale = power_of_two(-exponent);
        let pairs = floats.iter_mut().zip(words);
        if self == Self::F16 {
            pairs.for_each(|(x, word)| *x = from_f16(*word) * scale);
        } else {
            pairs.for_each(|(x, word)| *x = f32::from_bits(u32::from(*word) << 16));
        }
    }
}

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const F32_BIAS: i16 = 127;
const F16_EXPONENT_MAX: i16 = 14;

/// 2 to the `exponent`, within -127..=127.
fn power_of_two(exponent: i16) -> f32 {
    if exponent <= -F32_BIAS {
        return f32::from_bits(1 << 22);
    }
    f32::from_bits(((exponent + F32_BIAS) as u32) << 23)
}

/// The upper half, rounded.
#[inline(always)]
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // A NaN keeps its top bits, and one more so that it stays one.
    let bits = if bits & !SIGN > INFINITY { bits | 1 << 22 } else { rounded };
    (bits >> 16) as u16
}

/// Half precision, rounded. Branches on nothing but sizes, so that it becomes vector code.
#[inline(always)]
fn to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let size = bits & !SIGN;
    // Normal numbers: 13 bits fewer, and an exponent that is 112 less.
    let rounded = size.wrapping_add(0xfff + (size >> 13 & 1));
    let normal = rounded.wrapping_sub(112 << 23) >> 13;
    // Below 2^-14 the mantissa counts units of 2^-24: adding 2^-1, whose last place that is, rounds.
    let tiny = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    let finite = if size < 113 << 23 { tiny } else { normal };
    let special = if size > INFINITY { 0x7e00 } else { 0x7c00 };
    // From 65520 on, halfway beyond the largest, it is infinity.
    let half = if size < 0x477f_f000 { finite } else { special };
    (half | (bits & SIGN) >> 16) as u16
}

#[inline(always)]
fn from_f16(half: u16) -> f32 {
    let size = u32::from(half & 0x7fff);
    let normal = (size << 13) + (112 << 23);
    let tiny = (size as f32 * f32::from_bits((127 - 24) << 23)).to_bits();
    let bits = if size < 1 << 10 { tiny } else { normal };
    let bits = if size < 0x7c00 { bits } else { size << 13 | INFINITY };
    f32::from_bits(bits | u32::from(half & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rectool_comm::on_ranks;

    use super::*;

    #[test]
    fn every_half_comes_back() {
        for half in 0..=u16::MAX {
            let wide = from_f16(half);
            if wide.is_nan() {
                assert!(from_f16(to_f16(wide)).is_nan());
            } else {
                assert_eq!(to_f16(wide), half, "{wide}");
            }
            let wide = f32::from_bits(u32::from(half) << 16);
            assert!(wide.is_nan() || to_bf16(wide) == half, "{wide}");
        }
        assert_eq!((from_f16(0x3c00), from_f16(0xc000), from_f16(1)), (1.0, -2.0, 2f32.powi(-24)));
        assert_eq!(from_f16(to_f16(f32::INFINITY)), f32::INFINITY);
        assert_eq!(to_f16(65_519.0), 0x7bff);
        assert_eq!(to_f16(65_520.0), 0x7c00);
    }

    proptest! {
        #[test]
        fn rounding_is_to_the_nearest(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            let half = to_f16(x);
            let near = |half: u16| {
                let y = from_f16(half);
                // Infinity stands for the number that would follow.
                (f64::from(x) - f64::from(y).clamp(-65_536.0, 65_536.0)).abs()
            };
            for other in [half.wrapping_sub(1), half.wrapping_add(1)] {
                if from_f16(other).is_nan() || (other ^ half) & 0x8000 != 0 || x.abs() > 65_536.0 {
                    continue;
                }
                prop_assert!(near(half) < near(other) || near(half) == near(other) && half & 1 == 0);
            }
        }

        #[test]
        fn messages_arrive(
            parts in prop::collection::vec(0..70usize, 9),
            magnitude in -30..30i32,
        ) {
            let number = |from: usize, to: usize, n: usize| {
                ((from * 7 + to * 3 + n) % 11) as f32 * 2f32.powi(magnitude) - 2f32.powi(magnitude + 2)
            };
            for (wire, tolerance) in [(Wire::F32, 0.0), (Wire::F16, 0.001), (Wire::Bf16, 0.008)] {
                on_ranks(3, |comm| {
                    let rank = comm.rank();
                    let lengths: Vec<usize> = (0..3).map(|to| parts[rank * 3 + to]).collect();
                    let receive: Vec<usize> = (0..3).map(|from| parts[from * 3 + rank]).collect();
                    let send: Vec<f32> = (0..3)
                        .flat_map(|to| (0..parts[rank * 3 + to]).map(move |n| number(rank, to, n)))
                        .collect();
                    let (mut halves, mut floats) = (Halves::default(), Floats::default());
                    let buffers = (&mut halves, &mut floats);
                    let found = wire.exchange(&*comm, (&send, &lengths), &receive, buffers).unwrap();
                    let expected = (0..3)
                        .flat_map(|from| (0..parts[from * 3 + rank]).map(move |n| (from, n)));
                    assert_eq!(found.len(), receive.iter().sum::<usize>());
                    for (found, (from, n)) in found.iter().zip(expected) {
                        let expected = number(from, rank, n);
                        assert!((found - expected).abs() <= tolerance * expected.abs());
                    }
                });
            }
        }
    }
}
