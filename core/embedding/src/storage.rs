//! Values of 32 or 16 bits. A 16-bit value is rounded up or down by chance, so that it is right on
//! average and small steps are not lost: an update below half a unit in the last place would always
//! be rounded away otherwise.

use bytemuck::{Pod, Zeroable};
use rectool_base::mix64;
use serde::{Deserialize, Serialize};

/// The format of a table's values in memory. Optimizer state is always `f32`, and so is all
/// arithmetic: values are widened when they are read and rounded when they are written.
///
/// # Determinism
/// A value is rounded up with the probability that makes the result right on average. The random
/// bits are a pure function of seed, table name, key, step and column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// 32 bits, exact.
    #[default]
    F32,
    /// 16 bits with the range of `f32` and 8 bits of precision.
    Bf16,
    /// 16 bits up to ±65504 with 11 bits of precision. Larger values become ±65504.
    F16,
}

impl Storage {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::Bf16 => size_of::<Bf16>(),
            Self::F16 => size_of::<F16>(),
        }
    }
}

/// A value as a row holds it. Both functions must be `#[inline(always)]` and free of branches.
pub(crate) trait Element: Pod + Send + Sync {
    fn widen(self) -> f32;

    /// Rounds up if the bits that are cut off, as a fraction of the last place, and the top bits of
    /// `random` together come to 1. A value that needs no rounding stays as it is.
    fn narrow(value: f32, random: u32) -> Self;

    /// The values as floats: themselves, or widened into `spare`.
    #[inline(always)]
    fn floats<'a>(values: &'a mut [Self], spare: &'a mut [f32]) -> &'a mut [f32] {
        for (wide, value) in spare.iter_mut().zip(values) {
            *wide = value.widen();
        }
        spare
    }

    /// Takes back what [`Element::floats`] gave out as `spare`.
    #[inline(always)]
    fn settle(values: &mut [Self], spare: &[f32], bits: RowBits) {
        for (column, (value, wide)) in values.iter_mut().zip(spare).enumerate() {
            *value = Self::narrow(*wide, bits.column(column as u32));
        }
    }
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32, _: u32) -> f32 {
        value
    }

    #[inline(always)]
    fn floats<'a>(values: &'a mut [f32], _: &'a mut [f32]) -> &'a mut [f32] {
        values
    }

    #[inline(always)]
    fn settle(_: &mut [f32], _: &[f32], _: RowBits) {}
}

/// The upper half of an `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

const SIGN: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;

impl Element for Bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32, random: u32) -> Self {
        const LARGEST: u32 = INFINITY - (1 << 16);
        let bits = value.to_bits();
        let size = bits & !SIGN;
        let rounded = size.wrapping_add(random >> 16);
        let finite = if rounded < INFINITY { rounded } else { LARGEST };
        // Infinity as it is; a NaN keeps its top bits, and one more so that it stays one.
        let special = if size > INFINITY { size | 1 << 22 } else { size };
        let size = if size < INFINITY { finite } else { special };
        Self(((size | bits & SIGN) >> 16) as u16)
    }
}

/// IEEE half precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct F16(u16);

/// Mantissa bits that an `f32` has and an `F16` has not.
const CUT: u32 = 13;
/// The smallest normal [`F16`], 2^-14, as `f32` bits.
const F16_NORMAL: u32 = (127 - 14) << 23;
/// What the exponent of an `f32` is too large by, as bits of an [`F16`].
const F16_BIAS: u32 = (127 - 15) << 10;
const F16_INFINITY: u32 = 0x7c00;

impl Element for F16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        let half = u32::from(self.0);
        let size = half & 0x7fff;
        let normal = (size << CUT) + (112 << 23);
        // Below the normal numbers the mantissa counts units of 2^-24.
        let unit = f32::from_bits((127 - 24) << 23);
        let tiny = ((size as i32) as f32 * unit).to_bits();
        let bits = if size < 1 << 10 { tiny } else { normal };
        let special = bits | INFINITY;
        let bits = if size < F16_INFINITY { bits } else { special };
        f32::from_bits(bits | (half & 0x8000) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32, random: u32) -> Self {
        let bits = value.to_bits();
        let size = bits & !SIGN;
        let normal = (size.wrapping_add(random >> (32 - CUT)) >> CUT).wrapping_sub(F16_BIAS);
        // Units of 2^-24 with a fraction of 16 bits; numbers that are not tiny end up unused.
        let scale = f32::from_bits((127 + 40) << 23);
        let limited = f32::from_bits(if size < F16_NORMAL { size } else { F16_NORMAL });
        let tiny = ((limited * scale) as i32 as u32).wrapping_add(random >> 16) >> 16;
        let finite = if size < F16_NORMAL { tiny } else { normal };
        let finite = if finite < F16_INFINITY { finite } else { F16_INFINITY - 1 };
        let special = if size > INFINITY { F16_INFINITY | 1 << 9 } else { F16_INFINITY };
        let half = if size < INFINITY { finite } else { special };
        Self((half | (bits & SIGN) >> 16) as u16)
    }
}

/// The source of a table's rounding bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    /// Of seed and table.
    seed: u64,
    /// The table's column that is column 0 of a row here.
    column_first: u32,
}

impl Rounding {
    pub(crate) fn new(seed: u64, table: u64, column_first: u32) -> Self {
        Self { seed: mix64(seed.wrapping_add(GOLDEN)) ^ table, column_first }
    }

    /// The bits of a row at a step.
    #[inline(always)]
    pub(crate) fn row(self, key: u64, step: u64) -> RowBits {
        let mixed = mix64(mix64(self.seed ^ key.wrapping_mul(GOLDEN)).wrapping_add(step));
        let before = self.column_first.wrapping_mul(COLUMN);
        RowBits { first: (mixed as u32).wrapping_add(before), second: (mixed >> 32) as u32 }
    }
}

/// 2^64 over the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// From one column to the next.
const COLUMN: u32 = 0x9e37_79b9;

/// A random function from columns to 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowBits {
    first: u32,
    second: u32,
}

impl RowBits {
    /// Two rounds of multiply and shift (the constants are those of C. Wellons's `lowbias32`), with
    /// half of the row's bits before each: 32-bit operations, of which a register holds eight.
    #[inline(always)]
    pub(crate) fn column(self, column: u32) -> u32 {
        let mut x = self.first.wrapping_add(column.wrapping_mul(COLUMN));
        x ^= x >> 16;
        x = x.wrapping_mul(0x21f0_aaad) ^ self.second;
        x ^= x >> 15;
        x = x.wrapping_mul(0x735a_2d97);
        x ^ x >> 15
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::{Kernel, dispatch};

    /// Every finite value of a format, upwards from 0.
    fn finite<E: Element>(make: impl Fn(u16) -> E, infinity: u16) -> Vec<f32> {
        (0..infinity).map(|bits| make(bits).widen()).collect()
    }

    fn halves() -> Vec<f32> {
        finite(F16, 0x7c00)
    }

    #[test]
    fn all_16_bit_values_widen_and_come_back() {
        let halves = halves();
        assert!(halves.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((halves[1], halves[0x3c00], halves[0x7bff]), (2f32.powi(-24), 1.0, 65504.0));
        assert_eq!(F16(0x7c00).widen(), f32::INFINITY);
        assert!(F16(0x7e00).widen().is_nan() && F16(0xfc01).widen().is_nan());
        assert_eq!((F16(0xc000).widen(), Bf16(0xc000).widen()), (-2.0, -2.0));
        for bits in 0..=u16::MAX {
            for random in [0, u32::MAX] {
                let half = F16(bits).widen();
                assert!(half.is_nan() || F16::narrow(half, random) == F16(bits), "{bits:x}");
                let brain = Bf16(bits).widen();
                assert!(brain.is_nan() || Bf16::narrow(brain, random) == Bf16(bits), "{bits:x}");
            }
        }
        assert!(F16::narrow(f32::NAN, 7).widen().is_nan());
        assert!(Bf16::narrow(f32::from_bits(0x7f80_0001), u32::MAX).widen().is_nan());
        for large in [65505.0, 1e9, f32::MAX] {
            assert_eq!(F16::narrow(-large, u32::MAX).widen(), -65504.0);
        }
        assert!(Bf16::narrow(f32::MAX, u32::MAX).widen().is_finite());
    }

    /// The chance, in 2^16ths, that `value` is rounded up, by trying all top bits.
    fn rounds_up<E: Element>(value: f32, grid: &[f32]) -> (u32, f64) {
        let above = grid.partition_point(|x| *x <= value);
        let (low, high) = (grid[above - 1], grid[above]);
        let mut up = 0;
        for random in 0..1 << 16 {
            let found = E::narrow(value, random << 16).widen();
            assert!(found == low || found == high, "{value} became {found}");
            up += u32::from(found == high);
        }
        let exact = (f64::from(value) - f64::from(low)) / (f64::from(high) - f64::from(low));
        (up, exact * 65536.0)
    }

    #[test]
    fn the_chance_of_rounding_up_is_the_part_cut_off() {
        let (halves, brains) = (halves(), finite(Bf16, 0x7f80));
        for value in [1e-8, 3e-7, 6e-5, 6.1e-5, 0.1, 1.0 / 3.0, 1.0009, 77.7, 60001.0] {
            let (found, exact) = rounds_up::<F16>(value, &halves);
            assert!((f64::from(found) - exact).abs() <= 8.0, "{value}: {found}, {exact}");
            let (found, exact) = rounds_up::<Bf16>(value, &brains);
            assert!((f64::from(found) - exact).abs() <= 1.0, "{value}: {found}, {exact}");
        }
    }

    #[test]
    fn random_bits_are_uniform_over_columns_keys_and_steps() {
        let rounding = Rounding::new(1, 2, 0);
        for (keys, steps, columns) in [(1, 1, 1 << 16), (1 << 16, 1, 1), (1, 1 << 16, 1)] {
            let mut ones = [0u32; 32];
            let mut sum = 0.0;
            for key in 0..keys {
                for step in 0..steps {
                    let bits = rounding.row(key, step);
                    for column in 0..columns {
                        let x = bits.column(column);
                        sum += f64::from(x) / f64::from(u32::MAX);
                        ones.iter_mut().enumerate().for_each(|(at, n)| *n += x >> at & 1);
                    }
                }
            }
            // Deviations of a fair coin: 128 of 32,768.
            assert!(ones.iter().all(|n| n.abs_diff(1 << 15) < 640), "{ones:?}");
            assert!((sum / 65536.0 - 0.5).abs() < 0.006, "{sum}");
        }
    }

    struct Narrow<'a, E>(&'a [f32], &'a mut [E], &'a mut [f32], RowBits);

    impl<E: Element> Kernel for Narrow<'_, E> {
        #[inline(always)]
        fn run(self) {
            E::settle(self.1, self.0, self.3);
            E::floats(self.1, self.2);
        }
    }

    fn same_bytes<E: Element + PartialEq>(values: &[f32], bits: RowBits) -> bool {
        let mut narrow = [vec![E::zeroed(); values.len()], vec![E::zeroed(); values.len()]];
        let mut wide = [vec![0.0; values.len()], vec![0.0; values.len()]];
        Narrow(values, &mut narrow[0], &mut wide[0], bits).run();
        dispatch(Narrow(values, &mut narrow[1], &mut wide[1], bits));
        let words = |floats: &[f32]| -> Vec<u32> { floats.iter().map(|x| x.to_bits()).collect() };
        narrow[0] == narrow[1] && words(&wide[0]) == words(&wide[1])
    }

    proptest! {
        #[test]
        fn wide_registers_give_the_same_bytes(
            values in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), 0..70),
            key in any::<u64>(),
        ) {
            let bits = Rounding::new(3, 4, 0).row(key, 5);
            prop_assert!(same_bytes::<Bf16>(&values, bits));
            prop_assert!(same_bytes::<F16>(&values, bits));
        }
    }
}
