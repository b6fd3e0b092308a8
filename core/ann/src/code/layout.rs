//! How many columns each code stands for.

use super::codebook::COLUMNS_MAX;

/// Share of a column's mean square that is lost when sixteen codes serve so many columns: the
/// distortion of the best quantiser of normal values, for one column (Max, 1960); the others
/// measured on normal values with k-means.
const LOST: [f32; COLUMNS_MAX] = [0.0115, 0.10, 0.22, 0.33];

/// How many columns each position stands for, the first columns first; columns that no position
/// stands for are not coded. `importance` [D] says how much a column matters: the mean square of its
/// residuals times that of queries along it.
///
/// Of all numbers of positions that fill whole lines of `group` with `fixed` other positions, the
/// least is taken with which codes lose no more than `error_max` of the total importance, or
/// `most` if none is enough.
pub(crate) fn choose(
    importance: &[f32],
    error_max: f32,
    (group, fixed): (usize, usize),
    most: usize,
) -> Vec<u8> {
    let total: f64 = importance.iter().map(|value| f64::from(*value)).sum();
    let paths = Paths::new(importance, most.min(importance.len()));
    for lines in 1.. {
        let positions = (lines * group).saturating_sub(fixed).min(most).min(importance.len());
        if positions == 0 {
            continue;
        }
        let (cost, columns) = paths.end(positions);
        if cost <= f64::from(error_max) * total || positions == most.min(importance.len()) {
            return paths.widths(positions, columns);
        }
    }
    Vec::new()
}

/// The least that is lost when so many positions stand for so many columns.
struct Paths {
    columns: usize,
    /// [positions + 1, columns + 1].
    costs: Vec<f64>,
    /// Width of the last position on the way there.
    last: Vec<u8>,
    /// What is lost of columns from each on, if they are not coded.
    left: Vec<f64>,
}

impl Paths {
    fn new(importance: &[f32], positions: usize) -> Self {
        let columns = importance.len();
        let width = columns + 1;
        let mut left = vec![0.0; width];
        for column in (0..columns).rev() {
            left[column] = left[column + 1] + f64::from(importance[column]);
        }
        let mut paths = Self {
            columns,
            costs: vec![f64::INFINITY; (positions + 1) * width],
            last: vec![0; (positions + 1) * width],
            left,
        };
        paths.costs[0] = 0.0;
        for position in 1..=positions {
            for column in 1..=columns {
                for step in 1..=COLUMNS_MAX.min(column) {
                    let before = paths.costs[(position - 1) * width + column - step];
                    let cost = before + lost(&importance[column - step..column]);
                    let at = position * width + column;
                    if cost < paths.costs[at] {
                        paths.costs[at] = cost;
                        paths.last[at] = step as u8;
                    }
                }
            }
        }
        paths
    }

    /// The least loss with so many positions, and how many columns they stand for.
    fn end(&self, positions: usize) -> (f64, usize) {
        let costs = &self.costs[positions * (self.columns + 1)..][..=self.columns];
        let totals = costs.iter().zip(&self.left).map(|(cost, left)| cost + left).enumerate();
        let best = totals.min_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        best.map_or((f64::INFINITY, 0), |(columns, cost)| (cost, columns))
    }

    fn widths(&self, positions: usize, columns: usize) -> Vec<u8> {
        let mut column = columns;
        let mut widths: Vec<u8> = (1..=positions)
            .rev()
            .map(|position| {
                let width = self.last[position * (self.columns + 1) + column];
                column -= usize::from(width);
                width
            })
            .collect();
        widths.reverse();
        widths
    }
}

/// What one position loses of its columns: codes share their bits as the columns need them, so that
/// it is their geometric mean that counts.
fn lost(columns: &[f32]) -> f64 {
    // The logarithm of 0 is −∞, which gives 0 in the end.
    let logs: f64 = columns.iter().map(|value| f64::from(*value).ln()).sum();
    let count = columns.len() as f64;
    f64::from(LOST[columns.len() - 1]) * count * (logs / count).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(widths: &[u8]) -> usize {
        widths.iter().map(|width| usize::from(*width)).sum()
    }

    #[test]
    fn columns_alike_are_coded_in_pairs() {
        assert_eq!(choose(&[1.0; 16], 0.08, (4, 0), 8), [2; 8]);
        assert_eq!(choose(&[1.0; 15], 0.0, (4, 0), 8).len(), 8);
        assert_eq!(sum(&choose(&[1.0; 15], 0.0, (4, 0), 8)), 15);
        assert_eq!(choose(&[1.0], 0.0, (4, 2), 1), [1]);
    }

    #[test]
    fn columns_that_matter_get_codes_of_their_own() {
        let importance: Vec<f32> = (0..64).map(|at| 1.0 / (1 + at * at) as f32).collect();
        let widths = choose(&importance, 0.08, (4, 0), 32);
        assert_eq!(widths, [1, 1, 1, 1, 2, 2, 3, 4]);
        assert!(sum(&widths) < importance.len());
        let finer = choose(&importance, 0.02, (4, 0), 32);
        assert!(finer.len() > widths.len() && finer.len() < 32, "{finer:?}");
    }

    #[test]
    fn columns_that_do_not_matter_do_no_harm() {
        let mut importance = vec![0.0; 40];
        importance[..3].copy_from_slice(&[1.0, 0.5, 0.25]);
        let widths = choose(&importance, 0.02, (4, 0), 20);
        assert_eq!(widths.len(), 4, "{widths:?}");
        assert_eq!(choose(&[0.0; 9], 0.08, (4, 0), 5).len(), 4);
    }
}
