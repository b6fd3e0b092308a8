//! Exponentials and logarithms that compilers turn into SIMD code.
//!
//! Wasm has no such instructions, and those of the standard library take a value at a time. The ones
//! here are short polynomials without branches, so that a loop over a slice works on four values at
//! once. Each is within 1.5e-7 of the exact value, relative to it (tested over the whole range): two
//! neighbouring `f32` are 1.2e-7 apart at most. They give the same bits on every machine.

/// Adding it rounds a number below 2^22 to a whole one, which the low bits then hold.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 as a sum, whose first part has so few bits that a small multiple of it is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e to the power of `x`. Infinite above 88.722, 0 below -87.336; NaN for NaN.
///
/// ```
/// use rectool_plugin_sdk::math::exp;
/// assert_eq!((exp(0.0), exp(f32::NEG_INFINITY)), (1.0, 0.0));
/// assert!((exp(1.0) - std::f32::consts::E).abs() < 3e-7);
/// ```
#[inline]
pub fn exp(x: f32) -> f32 {
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let power = rounded.to_bits().wrapping_sub(ROUNDER.to_bits());
    let whole = rounded - ROUNDER;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    // (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2, minimax.
    let tail = 1.381_452_9e-3;
    let tail = tail * rest + 8.368_75e-3;
    let tail = tail * rest + 4.166_839_3e-2;
    let tail = tail * rest + 0.166_665_2;
    let tail = tail * rest + 0.499_999_94;
    let value = 1.0 + (rest + rest * rest * tail);
    // Times 2^power.
    let value = f32::from_bits(value.to_bits().wrapping_add(power << 23));
    // As comparisons that NaN fails, so that it stays.
    let value = if x > 88.722 { f32::INFINITY } else { value };
    if x < -87.336 {
        0.0
    } else if x.is_nan() {
        x
    } else {
        value
    }
}

/// Natural logarithm of 1 + `x`, for `x` above -1; NaN for NaN, infinity for infinity.
///
/// ```
/// use rectool_plugin_sdk::math::ln_1p;
/// assert_eq!((ln_1p(0.0), ln_1p(1e-20)), (0.0, 1e-20));
/// assert!((ln_1p(1.0) - std::f32::consts::LN_2).abs() < 1e-7);
/// ```
#[inline]
pub fn ln_1p(x: f32) -> f32 {
    // 1 + x = 2^power (1 + part), with 1 + part from the root of 1/2 to that of 2; `part` comes from x
    // itself, as x / 2^power + (1 / 2^power - 1), so that the rounding of 1 + x costs nothing.
    let power = ((1.0 + x).to_bits().wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let shrunk = f32::from_bits(x.to_bits().wrapping_sub((power << 23) as u32));
    // 1 / 2^127 and less count as 0 beside 1.
    let shift = f32::from_bits(((127 - power).max(0) << 23) as u32) - 1.0;
    let part = shrunk + shift;
    // With s = p / (2 + p): ln(1 + p) = p - s (p - r), r = 2 (s^2 / 3 + s^4 / 5 + ...), minimax.
    let ratio = part / (2.0 + part);
    let square = ratio * ratio;
    let rest = 0.298_744_2;
    let rest = rest * square + 0.399_774_5;
    let rest = rest * square + 0.666_667_76;
    let value = part - ratio * (part - rest * square);
    let value = power as f32 * std::f32::consts::LN_2 + value;
    // NaN fails the comparison too.
    if x < f32::INFINITY { value } else { x }
}

/// ln(1 + e^x): never overflows, and keeps its digits where it is small.
#[inline]
pub fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + ln_1p(exp(-x.abs()))
}

/// 1 / (1 + e^-x), without overflow.
#[inline]
pub fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let share = 1.0 / (1.0 + small);
    if x < 0.0 { small * share } else { share }
}

/// Both [`softplus`] and [`sigmoid`], for one exponential.
#[inline]
pub fn softplus_sigmoid(x: f32) -> (f32, f32) {
    let small = exp(-x.abs());
    let positive = if x < 0.0 { 0.0 } else { x };
    let share = 1.0 / (1.0 + small);
    (positive + ln_1p(small), if x < 0.0 { small * share } else { share })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greatest relative error over every 97th f32 between two of the same sign.
    fn error(low: f32, high: f32, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let (a, b) = (low.to_bits().min(high.to_bits()), low.to_bits().max(high.to_bits()));
        let relative = |bits| {
            let x = f32::from_bits(bits);
            let wanted = exact(f64::from(x));
            (f64::from(f(x)) - wanted).abs() / wanted.abs().max(f64::from(f32::MIN_POSITIVE))
        };
        (a..=b).step_by(97).map(relative).fold(0.0, f64::max)
    }

    #[test]
    fn values_are_exact_to_the_last_digit() {
        let exp_error = error(1e-9, 88.7, exp, f64::exp).max(error(-1e-9, -87.3, exp, f64::exp));
        assert!(exp_error < 1.5e-7, "exp {exp_error:e}");
        let up = error(f32::MIN_POSITIVE, f32::MAX, ln_1p, f64::ln_1p);
        assert!(up < 1.5e-7, "ln_1p {up:e}");
        let down = error(-1e-30, -0.999_999, ln_1p, f64::ln_1p);
        assert!(down < 1.5e-7, "ln_1p below 0 {down:e}");
        let wanted = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
        let both = error(1e-9, 1e9, softplus, wanted).max(error(-1e-9, -87.0, softplus, wanted));
        assert!(both < 3e-7, "softplus {both:e}");
        let wanted = |x: f64| 1.0 / (1.0 + (-x).exp());
        let both = error(1e-9, 1e9, sigmoid, wanted).max(error(-1e-9, -87.0, sigmoid, wanted));
        assert!(both < 3e-7, "sigmoid {both:e}");
    }

    #[test]
    fn the_ends_of_the_range_hold() {
        assert_eq!((exp(f32::INFINITY), exp(f32::NEG_INFINITY)), (f32::INFINITY, 0.0));
        assert_eq!((exp(88.73), exp(-87.34), exp(0.0)), (f32::INFINITY, 0.0, 1.0));
        assert_eq!((ln_1p(f32::INFINITY), ln_1p(0.0)), (f32::INFINITY, 0.0));
        assert!(ln_1p(f32::NAN).is_nan());
        assert_eq!((softplus(1e30), softplus(-1e30)), (1e30, 0.0));
        assert_eq!((sigmoid(1e30), sigmoid(-1e30)), (1.0, 0.0));
        assert!(sigmoid(f32::NAN).is_nan() && softplus(f32::NAN).is_nan());
        for x in [-100.0, -3.5, 0.0, 0.25, 40.0] {
            assert_eq!(softplus_sigmoid(x), (softplus(x), sigmoid(x)));
        }
    }
}
