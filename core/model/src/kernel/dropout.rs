//! Dropout whose mask is a function of place, not of who computes it.

use rayon::prelude::*;
use rectool_base::Stream;

use super::{Level, PANEL, Panels, vectorised};

/// Rows of a parallel task.
const TASK_ROWS: usize = 64;

/// What a mask is a pure function of, together with the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// Which layer of the model.
    pub layer: u64,
    /// The step, counted over epochs.
    pub step: u64,
    /// Position of the first row within the global batch, so that the mask does not depend on the
    /// number of ranks.
    pub row_first: usize,
}

/// A probability of dropping a value: at least 0, below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutRate(f32);

impl DropoutRate {
    /// `rate`, or `None` where it is not in [0, 1).
    pub fn new(rate: f32) -> Option<Self> {
        (0.0..1.0).contains(&rate).then_some(Self(rate))
    }

    /// The probability.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Zeroes each value of `x` [B, N], N = `columns`, with probability `rate` and scales the others by
/// 1 / (1 - `rate`). Applied with the same key to the gradient, it is its own backward pass.
///
/// # Panics
/// If `x` is not whole rows.
///
/// # Determinism
/// The mask depends on `key`, the row's place in the global batch and the column only.
pub fn dropout(x: &mut [f32], columns: usize, rate: DropoutRate, key: DropoutKey) {
    assert!(
        columns > 0 && x.len().is_multiple_of(columns),
        "{} values are not rows of {columns}",
        x.len()
    );
    if rate.0 == 0.0 {
        return;
    }
    let level = Level::best();
    x.par_chunks_mut(TASK_ROWS * columns).enumerate().for_each(|(task, rows)| {
        let row_first = key.row_first + task * TASK_ROWS;
        for (at, row) in rows.chunks_exact_mut(columns).enumerate() {
            let place = [key.layer, key.step, (row_first + at) as u64];
            drop_columns(level, row, 0, Stream::new(key.seed, &place).next_u64(), rate.0);
        }
    });
}

/// [`dropout`] of the first `rows` rows of a block; `key.row_first` is the place of the block's.
pub(crate) fn dropout_panels(x: &mut Panels, rows: usize, rate: DropoutRate, key: DropoutKey) {
    let (level, stride) = (Level::best(), x.rows() * PANEL);
    for row in 0..rows {
        let place = [key.layer, key.step, (key.row_first + row) as u64];
        let number = Stream::new(key.seed, &place).next_u64();
        for (at, panel) in x.values_mut().chunks_exact_mut(stride).enumerate() {
            let line = &mut panel[row * PANEL..(row + 1) * PANEL];
            drop_columns(level, line, at * PANEL, number, rate.0);
        }
    }
}

vectorised! {
    /// The 32-bit mixing steps of Murmur3 over the column, with halves of the row's own number
    /// added before each: cheap in vectors, and good enough to decide a coin.
    fn drop_columns(values: &mut [f32], first: usize, number: u64, rate: f32) {
        let (low, high) = (number as u32, (number >> 32) as u32);
        // Exact for every f32 rate: 2^32 times it fits an f64, and is below 2^32.
        let dropped_below = (f64::from(rate) * 4_294_967_296.0) as u32;
        let scale = 1.0 / (1.0 - rate);
        for (column, x) in values.iter_mut().enumerate() {
            let mut hash = ((first + column) as u32).wrapping_mul(0x9e37_79b1) ^ low;
            hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b).wrapping_add(high);
            hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
            hash ^= hash >> 16;
            *x = if hash < dropped_below { 0.0 } else { *x * scale };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: DropoutKey = DropoutKey { seed: 7, layer: 2, step: 100, row_first: 0 };

    fn mask(rows: usize, columns: usize, rate: f32, key: DropoutKey) -> Vec<f32> {
        let mut x = vec![1.0; rows * columns];
        dropout(&mut x, columns, DropoutRate::new(rate).unwrap(), key);
        x
    }

    #[test]
    fn keeps_the_mean_in_every_column_and_row() {
        let (rows, columns) = (2000, 40);
        let x = mask(rows, columns, 0.3, KEY);
        for column in 0..columns {
            let mean = x.iter().skip(column).step_by(columns).sum::<f32>() / rows as f32;
            assert!((mean - 1.0).abs() < 0.08, "column {column} has mean {mean}");
        }
        let mean = x.iter().sum::<f32>() / x.len() as f32;
        assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
        // Neighbours in a row and in a column fall independently: 0.09 of the pairs both dropped.
        for distance in [1, columns] {
            let both = x.windows(distance + 1).filter(|w| w[0] + w[distance] == 0.0).count();
            let share = both as f64 / x.len() as f64;
            assert!((share - 0.09).abs() < 0.01, "{share} of pairs {distance} apart");
        }
    }

    #[test]
    fn the_mask_belongs_to_the_global_row() {
        let whole = mask(200, 17, 0.5, KEY);
        let part = mask(120, 17, 0.5, DropoutKey { row_first: 80, ..KEY });
        assert_eq!(whole[80 * 17..], part);
        assert_ne!(whole, mask(200, 17, 0.5, DropoutKey { step: 101, ..KEY }));
        assert_ne!(whole, mask(200, 17, 0.5, DropoutKey { layer: 3, ..KEY }));
        assert_ne!(whole, mask(200, 17, 0.5, DropoutKey { seed: 8, ..KEY }));
    }

    #[test]
    fn a_block_in_panels_has_the_same_mask() {
        let (rate, columns) = (DropoutRate::new(0.4).unwrap(), 37);
        let key = DropoutKey { row_first: 9, ..KEY };
        let mut panels = Panels::zeros(8, columns);
        panels.write_rows(&[1.0; 6 * 37], columns);
        dropout_panels(&mut panels, 6, rate, key);
        let mut found = vec![0.0; 6 * columns];
        panels.read_rows(&mut found, columns);
        assert_eq!(found, mask(6, columns, 0.4, key));
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let rows: Vec<_> = Level::available()
            .into_iter()
            .map(|level| {
                let mut row = vec![1.5; 101];
                drop_columns(level, &mut row, 0, 0x1234_5678_9abc_def0, 0.4);
                row
            })
            .collect();
        assert!(rows.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn rates_are_checked() {
        assert!([-0.1, 1.0, f32::NAN].into_iter().all(|rate| DropoutRate::new(rate).is_none()));
        assert!(mask(3, 3, 0.0, KEY).iter().all(|x| *x == 1.0));
    }
}
