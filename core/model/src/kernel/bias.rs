//! What surrounds a dense layer's matrix product: bias, activation, and their gradients.

use rayon::prelude::*;

use super::{Level, vectorised};

/// Values of a parallel task: 256 KB stay in the second-level cache.
const TASK_VALUES: usize = 1 << 16;

/// Most partial sums of a column: a batch is cut into at most this many blocks of rows, whatever
/// the number of threads, and the blocks' sums are added in block order.
const BLOCKS_MAX: usize = 64;

/// Adds `bias` \[N\] to every row of `x` [B, N].
///
/// # Panics
/// If `x` is not whole rows.
pub fn bias_add(x: &mut [f32], bias: &[f32]) {
    for_each_rows(x, bias, |x, bias| bias_add_rows(Level::best(), x, bias));
}

/// Adds `bias` \[N\] to every row of `x` [B, N] and replaces what is negative by 0. NaN stays NaN, so
/// that a broken model is noticed.
///
/// # Panics
/// If `x` is not whole rows.
pub fn bias_relu(x: &mut [f32], bias: &[f32]) {
    for_each_rows(x, bias, |x, bias| bias_relu_rows(Level::best(), x, bias));
}

/// Zeroes the gradient where the activation was not positive, and sums what remains by column, in
/// one pass.
///
/// Shapes: `grad` and `activated` (the layer's output) [B, N]; `bias_grad` \[N\], overwritten.
///
/// # Panics
/// If the shapes do not fit.
///
/// # Determinism
/// The same bits for any number of threads.
pub fn relu_backward_bias_grad(grad: &mut [f32], activated: &[f32], bias_grad: &mut [f32]) {
    assert_eq!(grad.len(), activated.len(), "gradient shaped unlike its activation");
    let columns = bias_grad.len();
    let block = block_values(grad.len(), columns);
    let level = Level::best();
    let blocks = grad.par_chunks_mut(block).zip(activated.par_chunks(block));
    let partial: Vec<Vec<f32>> = blocks
        .map(|(grad, activated)| {
            let mut sums = vec![0.0; columns];
            relu_backward_rows(level, grad, activated, &mut sums);
            sums
        })
        .collect();
    add_in_order(&partial, bias_grad);
}

/// Sums `values` [B, N] by column into `sums` \[N\], which is overwritten.
///
/// # Panics
/// If `values` is not whole rows.
///
/// # Determinism
/// The same bits for any number of threads.
pub fn column_sums(values: &[f32], sums: &mut [f32]) {
    let columns = sums.len();
    let level = Level::best();
    let partial: Vec<Vec<f32>> = values
        .par_chunks(block_values(values.len(), columns))
        .map(|values| {
            let mut sums = vec![0.0; columns];
            column_sums_rows(level, values, &mut sums);
            sums
        })
        .collect();
    add_in_order(&partial, sums);
}

fn for_each_rows(x: &mut [f32], bias: &[f32], work: impl Fn(&mut [f32], &[f32]) + Sync) {
    let columns = bias.len();
    check_rows(x.len(), columns);
    let rows = (TASK_VALUES / columns).max(1);
    x.par_chunks_mut(rows * columns).for_each(|x| work(x, bias));
}

fn check_rows(values: usize, columns: usize) {
    assert!(
        columns > 0 && values.is_multiple_of(columns),
        "{values} values are not rows of {columns}"
    );
}

/// Values per block of rows: a function of the shape alone.
fn block_values(values: usize, columns: usize) -> usize {
    check_rows(values, columns);
    let rows = values / columns;
    rows.div_ceil(BLOCKS_MAX).max(16) * columns
}

fn add_in_order(partial: &[Vec<f32>], sums: &mut [f32]) {
    sums.fill(0.0);
    for partial in partial {
        for (sum, value) in sums.iter_mut().zip(partial) {
            *sum += value;
        }
    }
}

vectorised! {
    fn bias_add_rows(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, bias) in row.iter_mut().zip(bias) {
                *x += bias;
            }
        }
    }
}

vectorised! {
    fn bias_relu_rows(x: &mut [f32], bias: &[f32]) {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, bias) in row.iter_mut().zip(bias) {
                let sum = *x + bias;
                *x = if sum < 0.0 { 0.0 } else { sum };
            }
        }
    }
}

vectorised! {
    fn relu_backward_rows(grad: &mut [f32], activated: &[f32], sums: &mut [f32]) {
        let columns = sums.len();
        let rows = grad.chunks_exact_mut(columns).zip(activated.chunks_exact(columns));
        for (grad, activated) in rows {
            for ((grad, activated), sum) in grad.iter_mut().zip(activated).zip(sums.iter_mut()) {
                let kept = if *activated > 0.0 { *grad } else { 0.0 };
                *grad = kept;
                *sum += kept;
            }
        }
    }
}

vectorised! {
    fn column_sums_rows(values: &[f32], sums: &mut [f32]) {
        for row in values.chunks_exact(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rectool_base::Stream;

    use super::*;

    fn draws(seed: u64, len: usize) -> Vec<f32> {
        let mut stream = Stream::new(seed, &[]);
        (0..len).map(|_| stream.next_normal()).collect()
    }

    #[test]
    fn forward_is_the_definition() {
        for (rows, columns) in [(1, 1), (700, 13), (33, 512), (0, 4)] {
            let (x, bias) = (draws(1, rows * columns), draws(2, columns));
            let expected = |f: fn(f32) -> f32| -> Vec<f32> {
                x.iter().enumerate().map(|(at, x)| f(x + bias[at % columns])).collect()
            };
            let mut found = x.clone();
            bias_add(&mut found, &bias);
            assert_eq!(found, expected(|x| x));
            let mut found = x.clone();
            bias_relu(&mut found, &bias);
            assert_eq!(found, expected(|x| x.max(0.0)));
        }
    }

    #[test]
    fn nan_is_not_hidden() {
        let mut x = [f32::NAN, -1.0];
        bias_relu(&mut x, &[0.0, 0.0]);
        assert!(x[0].is_nan() && x[1] == 0.0);
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let (x, bias, activated) = (draws(1, 37 * 29), draws(2, 29), draws(3, 37 * 29));
        let run = |level| {
            let (mut added, mut grad, mut sums) = (x.clone(), x.clone(), vec![0.0; 29]);
            bias_relu_rows(level, &mut added, &bias);
            bias_add_rows(level, &mut added, &bias);
            relu_backward_rows(level, &mut grad, &activated, &mut sums);
            column_sums_rows(level, &x, &mut sums);
            (added, grad, sums)
        };
        let results: Vec<_> = Level::available().into_iter().map(run).collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn gradients_are_masked_and_summed(rows in 0usize..500, columns in 1usize..70) {
            let (grad, activated) = (draws(3, rows * columns), draws(4, rows * columns));
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (mut masked, mut sums) = (grad.clone(), vec![9.0; columns]);
                    let mut plain = sums.clone();
                    relu_backward_bias_grad(&mut masked, &activated, &mut sums);
                    column_sums(&grad, &mut plain);
                    (masked, sums, plain)
                })
            };
            let (masked, sums, plain) = run(1);
            prop_assert_eq!(&(masked.clone(), sums.clone(), plain.clone()), &run(3));
            for (at, masked) in masked.iter().enumerate() {
                prop_assert_eq!(*masked, if activated[at] > 0.0 { grad[at] } else { 0.0 });
            }
            for column in 0..columns {
                let total = |values: &[f32]| -> f64 {
                    values.iter().skip(column).step_by(columns).map(|x| f64::from(*x)).sum()
                };
                prop_assert!((f64::from(sums[column]) - total(&masked)).abs() < 1e-3);
                prop_assert!((f64::from(plain[column]) - total(&grad)).abs() < 1e-3);
            }
        }
    }
}
