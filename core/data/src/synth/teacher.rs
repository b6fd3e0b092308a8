//! The hidden model that labels are drawn from.

use rectool_base::Stream;

use super::columns::{CATEGORIES, INTEGER_SHAPES, INTEGERS, Row, Shape};

/// Criteo's click rate.
const CLICK_RATE: f64 = 0.256;
/// About what published models reach on Criteo.
const AUC: f64 = 0.80;
/// Rows that the calibration looks at: its error of the click rate is about 0.003.
const CALIBRATION_ROWS: u64 = 16_384;
/// They come from beyond the rows of any log.
const CALIBRATION_FIRST: u64 = 1 << 62;

/// Addresses of the teacher's streams; 0 and 1 are those of the rows.
const ID_WEIGHT: u64 = 2;
const ID_VECTOR: u64 = 3;
const INTEGER_WEIGHT: u64 = 4;

/// Length of the vectors whose products are interactions.
const FACTORS: usize = 4;
/// Columns that interact: mostly small vocabularies, so that a log of a million rows shows it.
const PAIRS: [(usize, usize); 6] = [(8, 13), (16, 5), (1, 7), (22, 24), (19, 4), (17, 12)];
/// Weight of interactions and of integers against that of single ids.
const PAIR_SCALE: f64 = 1.6;
const INTEGER_SCALE: f64 = 0.5;
/// Ids of this rank weigh 1/√2 of the most frequent one: what is rare can hardly be learnt, and
/// would only put the teacher's AUC out of reach.
const RANK_HALF: f64 = 300.0;

/// Slope, curvature, and weight of a missing value.
type Curve = [f64; 3];

/// Click probabilities as a function of the row.
pub(super) struct Teacher {
    curves: [Curve; INTEGERS],
    scale: f64,
    bias: f64,
}

/// The logistic function.
pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

impl Teacher {
    /// The teacher of the shape's seed, scaled and shifted to [`CLICK_RATE`] and [`AUC`].
    pub(super) fn calibrated(shape: &Shape) -> Self {
        let curves = std::array::from_fn(|at| {
            let mut stream = Stream::new(shape.seed, &[INTEGER_WEIGHT, at as u64]);
            std::array::from_fn(|_| f64::from(stream.next_normal()) * INTEGER_SCALE)
        });
        let mut teacher = Self { curves, scale: 1.0, bias: 0.0 };
        let rows = CALIBRATION_FIRST..CALIBRATION_FIRST + CALIBRATION_ROWS;
        let mut raw: Vec<f64> = rows.map(|row| teacher.raw(shape, &shape.row(row))).collect();
        raw.sort_unstable_by(f64::total_cmp);
        // The AUC grows with the scale, and the click rate with the bias.
        teacher.scale =
            bisect(0.0, 10.0, |scale| expected_auc(&raw, scale, bias_of(&raw, scale)) < AUC);
        teacher.bias = bias_of(&raw, teacher.scale);
        teacher
    }

    /// The log odds of a click.
    pub(super) fn logit(&self, shape: &Shape, row: &Row) -> f64 {
        self.scale * self.raw(shape, row) + self.bias
    }

    fn raw(&self, shape: &Shape, row: &Row) -> f64 {
        let mut sum = 0.0;
        for (at, &value) in row.integers.iter().enumerate() {
            let [slope, curvature, missing] = self.curves[at];
            if value.is_nan() {
                sum += missing;
            } else {
                let x = standardized(at, value);
                sum += slope * x + 0.4 * curvature * (x * x - 1.0);
            }
        }
        for at in 0..CATEGORIES {
            let mut stream = Stream::new(shape.seed, &[ID_WEIGHT, at as u64, address(row, at)]);
            sum += uniform(&mut stream) * damping(row, at);
        }
        for (a, b) in PAIRS {
            let mut left = Stream::new(shape.seed, &[ID_VECTOR, a as u64, address(row, a)]);
            let mut right = Stream::new(shape.seed, &[ID_VECTOR, b as u64, address(row, b)]);
            let product: f64 = (0..FACTORS).map(|_| uniform(&mut left) * uniform(&mut right)).sum();
            let damping = damping(row, a) * damping(row, b);
            sum += PAIR_SCALE * product / (FACTORS as f64).sqrt() * damping;
        }
        sum
    }
}

/// An integer's logarithm in deviations from its mean, up to three: beyond them one curve would
/// outweigh all else.
fn standardized(column: usize, value: f32) -> f64 {
    let shape = &INTEGER_SHAPES[column];
    let logarithm = f64::from(value.max(0.0)).ln_1p();
    ((logarithm - shape.mean) / shape.deviation).clamp(-3.0, 3.0)
}

/// The address of an id, or of a missing one.
fn address(row: &Row, column: usize) -> u64 {
    row.ranks[column].map_or(u64::MAX, u64::from)
}

fn damping(row: &Row, column: usize) -> f64 {
    let rank = row.ranks[column].map_or(0.0, f64::from);
    1.0 / (1.0 + rank / RANK_HALF).sqrt()
}

/// A uniform number of mean 0 and variance 1.
fn uniform(stream: &mut Stream) -> f64 {
    (stream.next_f64() - 0.5) * 12f64.sqrt()
}

/// Where `is_below` turns false between `low` and `high`.
fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

fn bias_of(raw: &[f64], scale: f64) -> f64 {
    bisect(-100.0, 100.0, |bias| {
        let clicks: f64 = raw.iter().map(|raw| sigmoid(scale * raw + bias)).sum();
        clicks < CLICK_RATE * raw.len() as f64
    })
}

/// The AUC to expect of rows whose raw values rise, over all draws of their labels.
fn expected_auc(raw: &[f64], scale: f64, bias: f64) -> f64 {
    let (mut clicks, mut others, mut ordered) = (0.0, 0.0, 0.0);
    for raw in raw {
        let click = sigmoid(scale * raw + bias);
        ordered += click * (others + 0.5 * (1.0 - click));
        clicks += click;
        others += 1.0 - click;
    }
    ordered / (clicks * others)
}
