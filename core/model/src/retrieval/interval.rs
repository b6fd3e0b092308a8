//! Means with bootstrap intervals.

use rayon::prelude::*;
use rectool_base::Stream;
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap.
const RESAMPLES: u64 = 1000;
/// Resamples that end up below and above a 95 % interval, on each side.
const OUTSIDE: usize = 25;

/// A mean over users and its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// 2.5th percentile of the mean over resampled users.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Mean and 95 % percentile interval (Efron 1979; 1,000 resamples of whole users) of each column of
/// `values` [U, M], M = `columns`. All columns see the same resamples. Without users all are 0.
///
/// ```
/// let found = rectool_model::figures(&[1.0, 5.0, 3.0, 5.0], 2, 1);
/// assert_eq!(found[0].mean, 2.0);
/// assert_eq!((found[1].low, found[1].high), (5.0, 5.0));
/// ```
///
/// # Panics
/// If `columns` is 0 or `values` are no whole number of rows.
///
/// # Determinism
/// A function of values and seed.
pub fn figures(values: &[f64], columns: usize, seed: u64) -> Vec<Figure> {
    assert!(columns > 0 && values.len().is_multiple_of(columns), "rows of {columns} values");
    let users = values.len() / columns;
    if users == 0 {
        return vec![Figure::default(); columns];
    }
    let add = |sums: &mut [f64], user: usize| {
        let row = &values[user * columns..(user + 1) * columns];
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    };
    let mut means = vec![0.0; columns];
    (0..users).for_each(|user| add(&mut means, user));
    for sum in &mut means {
        *sum /= users as f64;
    }
    let resampled: Vec<Vec<f64>> = (0..RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let (mut stream, mut sums) = (Stream::new(seed, &[resample]), vec![0.0; columns]);
            (0..users).for_each(|_| add(&mut sums, stream.below(users as u64) as usize));
            for sum in &mut sums {
                *sum /= users as f64;
            }
            sums
        })
        .collect();
    let figure = |(at, mean): (usize, f64)| {
        let mut column: Vec<f64> = resampled.iter().map(|means| means[at]).collect();
        column.sort_unstable_by(f64::total_cmp);
        Figure { mean, low: column[OUTSIDE], high: column[column.len() - 1 - OUTSIDE] }
    };
    means.into_iter().enumerate().map(figure).collect()
}
