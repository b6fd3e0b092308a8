//! The values of a Criteo-like row: what they look like, not what they mean.

use rectool_base::{MISSING_ID, Stream};

pub(super) const INTEGERS: usize = 13;
pub(super) const CATEGORIES: usize = 26;

/// Distinct values of C1 to C26 in the 45.8 million rows of the Criteo Kaggle set.
const VOCABULARIES: [u64; CATEGORIES] = [
    1_460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5_683, 8_351_593, 3_194,
    27, 14_992, 5_461_306, 10, 5_652, 2_173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572,
];
const CRITEO_ROWS: f64 = 45_840_617.0;
/// A vocabulary is scaled to the rows, but not below this: small ones stay as they are.
const SCALED_FROM: u64 = 1_000;

/// Missing values per thousand.
const CATEGORIES_MISSING: [u16; CATEGORIES] = [
    0, 0, 34, 34, 0, 121, 0, 0, 0, 0, 0, 34, 0, 0, 0, 34, 0, 0, 440, 440, 34, 762, 0, 34, 440, 440,
];

/// Mean and deviation of the logarithm of an integer column, and missing values per thousand.
pub(super) struct LogNormal {
    pub(super) mean: f64,
    pub(super) deviation: f64,
    missing: u16,
}

const fn log_normal(mean: f64, deviation: f64, missing: u16) -> LogNormal {
    LogNormal { mean, deviation, missing }
}

/// Shapes near those of Criteo's I1 to I13.
pub(super) const INTEGER_SHAPES: [LogNormal; INTEGERS] = [
    log_normal(0.8, 1.2, 454),
    log_normal(1.5, 1.8, 0),
    log_normal(2.0, 1.5, 215),
    log_normal(1.6, 1.0, 217),
    log_normal(7.2, 2.0, 26),
    log_normal(3.5, 1.5, 224),
    log_normal(1.5, 1.5, 43),
    log_normal(2.3, 1.0, 1),
    log_normal(3.8, 1.5, 43),
    log_normal(0.3, 0.5, 454),
    log_normal(0.8, 0.8, 43),
    log_normal(0.3, 0.6, 765),
    log_normal(1.7, 1.0, 217),
];
/// Criteo's I2 goes below zero, which log transforms must stand.
const SHIFTED: usize = 1;
/// Whole numbers up to here are exact in `f32`.
const INTEGER_MAX: f64 = 16_777_215.0;

/// Addresses of streams; the teacher has others.
const ROW: u64 = 0;
const ID_KEY: u64 = 1;

/// A vocabulary of `count` ids, the `r`-th about as frequent as `(r + 1)^-exponent`.
struct Zipf {
    count: u64,
    /// `1 - exponent`.
    power: f64,
    /// `(count + 1)^power - 1`.
    span: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let power = 1.0 - exponent;
        Self { count, power, span: ((count + 1) as f64).powf(power) - 1.0 }
    }

    /// The rank at quantile `chance` of the continuous law with the same tail.
    fn rank(&self, chance: f64) -> u32 {
        let at = (1.0 + chance * self.span).powf(1.0 / self.power);
        ((at as u64).max(1) - 1).min(self.count - 1) as u32
    }
}

/// One row before its label: `None` is a missing category, NaN a missing integer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) integers: [f32; INTEGERS],
    /// Ranks within the vocabularies: 0 is the most frequent id.
    pub(super) ranks: [Option<u32>; CATEGORIES],
    /// In [0, 1): the row is a click if it is below the click's probability.
    pub(super) chance: f64,
}

/// How rows look for one seed and number of rows.
pub(super) struct Shape {
    pub(super) seed: u64,
    zipfs: Vec<Zipf>,
    keys: Vec<u32>,
}

impl Shape {
    pub(super) fn new(seed: u64, rows: u64) -> Self {
        let scale = (rows as f64 / CRITEO_ROWS).min(1.0);
        let zipf = |(at, &full): (usize, &u64)| {
            let scaled = (full as f64 * scale) as u64;
            // Exponents around Criteo's, and never 1, where the formula has no value.
            let exponent = [1.05, 1.15, 1.25][at % 3];
            Zipf::new(scaled.max(full.min(SCALED_FROM)), exponent)
        };
        let key = |column: usize| Stream::new(seed, &[ID_KEY, column as u64]).next_u64() as u32;
        Self {
            seed,
            zipfs: VOCABULARIES.iter().enumerate().map(zipf).collect(),
            keys: (0..CATEGORIES).map(key).collect(),
        }
    }

    /// Row number `number`.
    pub(super) fn row(&self, number: u64) -> Row {
        let mut stream = Stream::new(self.seed, &[ROW, number]);
        let chance = stream.next_f64();
        let integers = std::array::from_fn(|at| {
            let shape = &INTEGER_SHAPES[at];
            let missing = stream.below(1_000) < u64::from(shape.missing);
            let exponent = shape.mean + shape.deviation * f64::from(stream.next_normal());
            let value = exponent.exp().floor().min(INTEGER_MAX);
            let value = if at == SHIFTED { value - 1.0 } else { value };
            if missing { f32::NAN } else { value as f32 }
        });
        let ranks = std::array::from_fn(|at| {
            let missing = stream.below(1_000) < u64::from(CATEGORIES_MISSING[at]);
            let rank = self.zipfs[at].rank(stream.next_f64());
            (!missing).then_some(rank)
        });
        Row { integers, ranks, chance }
    }

    /// The ids of a row: 32-bit numbers without order, a different one for each rank.
    pub(super) fn ids(&self, row: &Row) -> [i64; CATEGORIES] {
        std::array::from_fn(|at| match row.ranks[at] {
            Some(rank) => i64::from(scatter(rank.wrapping_add(self.keys[at]))),
            None => MISSING_ID,
        })
    }
}

/// A one-to-one mix of 32 bits (the finaliser of MurmurHash3).
fn scatter(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}
