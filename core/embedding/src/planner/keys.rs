//! How many distinct keys some rows bring.

/// Below this rank of frequency each key counts on its own, above it keys of a range together.
const SINGLE_KEYS: u64 = 1_000;
/// Ratio of the ends of such a range.
const RANGE_RATIO: f64 = 1.05;

/// Distinct keys of a table as a function of the batch rows that they come from.
///
/// Between known points it is a power law, as it is in language and in clicks (Heaps' law); beyond
/// the last one the power law of the last piece goes on, up to the number of keys there are.
///
/// ```
/// use rectool_embedding::KeyCurve;
/// let keys = KeyCurve::measured([(100, 90), (400, 180)], Some(1_000));
/// assert_eq!(keys.distinct(400.0), 180.0);
/// assert_eq!(keys.distinct(1_600.0).round(), 360.0);
/// assert_eq!(keys.distinct(1e9), 1_000.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KeyCurve {
    /// Rows and distinct keys, both rising.
    points: Vec<(f64, f64)>,
    keys_max: f64,
}

impl KeyCurve {
    /// From a sample: (rows, distinct keys among them) at some numbers of rows. There are at most
    /// `keys_max` keys, if that is known.
    pub fn measured(points: impl IntoIterator<Item = (u64, u64)>, keys_max: Option<u64>) -> Self {
        let mut known: Vec<(f64, f64)> = points
            .into_iter()
            .filter(|(rows, _)| *rows > 0)
            .map(|(rows, keys)| (rows as f64, keys as f64))
            .collect();
        known.sort_by(|a, b| a.0.total_cmp(&b.0));
        known.dedup_by(|next, before| next.0 == before.0);
        Self { points: known, keys_max: keys_max.map_or(f64::INFINITY, |keys| keys as f64) }
    }

    /// Of `keys` keys whose frequencies fall with the power `exponent` of their rank (Zipf's law; 0:
    /// all alike), `ids_per_row` of which come with a row.
    pub fn zipf(keys: u64, exponent: f64, ids_per_row: f64) -> Self {
        let groups = zipf_groups(keys.max(1), exponent);
        let mass: f64 = groups.iter().map(|(count, frequency)| count * frequency).sum();
        let rows = (0..=20).map(|step| f64::from(1_u32 << step));
        let distinct = |rows: f64| {
            let ids = rows * ids_per_row;
            let seen = |(count, frequency): &(f64, f64)| {
                // 1 − (1 − p)^n, kept exact where p is tiny.
                -(ids * (-(frequency / mass).min(1.0 - 1e-12)).ln_1p()).exp_m1() * count
            };
            groups.iter().map(seen).sum::<f64>()
        };
        Self { points: rows.map(|rows| (rows, distinct(rows))).collect(), keys_max: keys as f64 }
    }

    /// Distinct keys among those of `rows` rows.
    pub fn distinct(&self, rows: f64) -> f64 {
        self.extended(rows).min(self.keys_max)
    }

    fn extended(&self, rows: f64) -> f64 {
        let points = &self.points;
        let at = points.partition_point(|(known, _)| *known < rows);
        let (x0, y0, x1, y1) = match (at, points.as_slice()) {
            (_, []) => return 0.0,
            // Few rows rarely share a key.
            (0, [(x, y), ..]) | (_, [(x, y)]) => return y * rows / x,
            (at, points) => {
                let at = at.min(points.len() - 1);
                (points[at - 1].0, points[at - 1].1, points[at].0, points[at].1)
            }
        };
        if y0 <= 0.0 {
            return y1 * rows / x1;
        }
        let power = ((y1 / y0).ln() / (x1 / x0).ln()).clamp(0.0, 1.0);
        y0 * (rows / x0).powf(power)
    }
}

/// (number of keys, frequency of each) from the most frequent ones on, not normalised.
fn zipf_groups(keys: u64, exponent: f64) -> Vec<(f64, f64)> {
    let mut groups = Vec::new();
    let mut first = 1_u64;
    while first <= keys {
        let end = if first < SINGLE_KEYS {
            first + 1
        } else {
            ((first as f64 * RANGE_RATIO) as u64).min(keys + 1).max(first + 1)
        };
        let middle = ((first as f64) * ((end - 1) as f64)).sqrt();
        groups.push(((end - first) as f64, middle.powf(-exponent)));
        first = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rectool_base::Stream;

    use super::*;

    #[test]
    fn zipf_curves_are_what_drawing_gives() {
        for (keys, exponent) in [(50, 0.0), (3_000, 1.0), (20_000, 0.7)] {
            let weights: Vec<f64> =
                (1..=keys).map(|rank| f64::from(rank).powf(-exponent)).collect();
            let total: f64 = weights.iter().sum();
            let mut sum = 0.0;
            let ends: Vec<f64> = weights
                .iter()
                .map(|weight| {
                    sum += weight / total;
                    sum
                })
                .collect();
            let curve = KeyCurve::zipf(keys as u64, exponent, 2.0);
            let mut stream = Stream::new(3, &[u64::from(keys as u32)]);
            for rows in [64, 1_024, 8_192] {
                let mut seen = BTreeSet::new();
                for _ in 0..2 * rows {
                    let draw = stream.next_f64();
                    seen.insert(ends.partition_point(|end| *end < draw));
                }
                let (found, expected) = (seen.len() as f64, curve.distinct(f64::from(rows)));
                let error = (found - expected).abs() / found;
                assert!(error < 0.08, "{keys} keys, {rows} rows: {found} drawn, {expected}");
            }
        }
    }

    #[test]
    fn curves_rise_and_never_pass_what_there_is() {
        let sampled = KeyCurve::measured([(10, 10), (1_000, 400), (100, 80), (0, 9)], Some(700));
        for curve in [sampled, KeyCurve::zipf(700, 1.2, 3.0)] {
            let mut before = 0.0;
            for step in 0..60 {
                let distinct = curve.distinct(1.5_f64.powi(step));
                assert!(distinct >= before && distinct <= 700.0, "{before} then {distinct}");
                before = distinct;
            }
        }
        assert_eq!(KeyCurve::measured([], None).distinct(5.0), 0.0);
        assert_eq!(KeyCurve::measured([(4, 0), (8, 0)], None).distinct(5.0), 0.0);
        assert_eq!(KeyCurve::measured([(4, 4)], None).distinct(2.0), 2.0);
    }
}
