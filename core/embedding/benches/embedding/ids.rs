//! Zipf ids in the shape of a click log.

use rectool_base::Stream;

/// Rows of the 26 tables: those of Criteo's display advertising log, with columns above 100,000 cut to
/// a fifth.
pub(crate) const CARDINALITIES: [u64; 26] = [
    1_460, 583, 2_026_245, 440_522, 305, 24, 12_517, 633, 3, 93_145, 5_683, 1_670_319, 3_194, 27,
    14_992, 1_092_261, 10, 5_652, 2_173, 4, 1_409_309, 18, 15, 57_236, 105, 28_514,
];

/// Batch number `at`, [F, B].
pub(crate) fn batch(at: u64, rows: usize) -> Vec<i64> {
    let mut ids = Vec::with_capacity(rows * CARDINALITIES.len());
    for (feature, count) in CARDINALITIES.iter().enumerate() {
        let mut stream = Stream::new(7, &[at, feature as u64]);
        let exponent = if *count < 100 { 1.01 } else { 1.1 };
        ids.extend((0..rows).map(|_| spread(rank(&mut stream, *count, exponent), *count) as i64));
    }
    ids
}

/// A rank below `count` by the inverse of the continuous Zipf distribution.
fn rank(stream: &mut Stream, count: u64, exponent: f64) -> u64 {
    let power = 1.0 - exponent;
    let top = (count as f64 + 1.0).powf(power);
    let x = (1.0 - stream.next_f64() * (1.0 - top)).powf(1.0 / power);
    (x as u64).saturating_sub(1).min(count - 1)
}

/// A fixed one-to-one map of 0..count, so that frequent ids are not neighbours.
fn spread(rank: u64, count: u64) -> u64 {
    let mut step = (count as f64 * 0.618) as u64 | 1;
    while common_divisor(step, count) > 1 {
        step += 2;
    }
    (rank * step + count / 3) % count
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
