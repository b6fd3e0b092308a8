//! Tests of the products: against their definition in f64, and between the levels.

use proptest::prelude::*;
use rectool_base::Stream;

use super::super::{Place, transpose_panel};
use super::*;

fn draws(seed: u64, len: usize) -> Vec<f32> {
    let mut stream = Stream::new(seed, &[]);
    (0..len).map(|_| stream.next_normal()).collect()
}

fn panels(block: usize, rows: usize, columns: usize, values: &[f32]) -> Panels {
    let mut panels = Panels::zeros(block, columns);
    panels.write_rows(&values[..rows * columns], columns);
    panels
}

fn rows_of(panels: &Panels, rows: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * panels.columns()];
    panels.read_rows(&mut out, panels.columns());
    out
}

/// One linear layer and all that its passes take and give.
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

/// Output, gradient of the input, and gradient of the weight added to itself.
type Passes = (Vec<f32>, Vec<f32>, Vec<f32>);

impl Case {
    fn new(rows: usize, inputs: usize, outputs: usize) -> Self {
        let draws = |seed, len| draws(seed + (rows * inputs * outputs) as u64, len);
        Self {
            rows,
            inputs,
            outputs,
            x: draws(1, rows * inputs),
            weight: draws(2, outputs * inputs),
            bias: draws(3, outputs),
            gradient: draws(4, rows * outputs),
        }
    }

    fn run(&self, level: Level) -> Passes {
        let Self { rows, inputs, outputs, .. } = *self;
        let block = rows.next_multiple_of(ROW_TILE) + ROW_TILE;
        let padded = rows.next_multiple_of(ROW_TILE);
        let x = panels(block, rows, inputs, &self.x);
        let gradient = panels(block, rows, outputs, &self.gradient);
        let mut forward = Panels::zeros(inputs, outputs);
        for (at, panel) in forward.values_mut().chunks_exact_mut(inputs * PANEL).enumerate() {
            transpose_panel(&self.weight, at * PANEL, panel);
        }
        let mut bias = self.bias.clone();
        bias.resize(outputs.next_multiple_of(PANEL), 0.0);
        let mut out = Panels::zeros(block, outputs);
        let around = Around { start: Start::Bias(&bias), finish: Finish::Relu };
        multiply(level, padded, [&x, &forward], &mut out, around);
        let beyond = &out.values()[(out.count() * block - ROW_TILE) * PANEL..];
        assert!(beyond.iter().all(|&x| x == 0.0), "{level:?} wrote below its rows");

        let backward = panels(outputs, outputs, inputs, &self.weight);
        let mut d_x = Panels::zeros(block, inputs);
        let finish = Finish::Mask { activated: &x, scale: 1.5 };
        let around = Around { start: Start::Zero, finish };
        multiply(level, padded, [&gradient, &backward], &mut d_x, around);

        let mut d_weight = Panels::zeros(outputs.next_multiple_of(ROW_TILE), inputs);
        d_weight.values_mut().fill(9.0);
        for write in [Write::Replace, Write::Add] {
            multiply_transposed(level, padded, [&gradient, &x], &mut d_weight, write);
        }
        (rows_of(&out, rows), rows_of(&d_x, rows), rows_of(&d_weight, outputs))
    }

    /// The same in f64.
    fn oracle(&self) -> [Vec<f64>; 3] {
        let Self { rows, inputs, outputs, .. } = *self;
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| x.into()).collect() };
        let (x, weight, bias) = (wide(&self.x), wide(&self.weight), wide(&self.bias));
        let gradient = wide(&self.gradient);
        let (mut out, mut d_x) = (Vec::new(), Vec::new());
        let mut d_weight = vec![0.0; outputs * inputs];
        for b in 0..rows {
            let (x, gradient) = (&x[b * inputs..][..inputs], &gradient[b * outputs..][..outputs]);
            for n in 0..outputs {
                let weight = &weight[n * inputs..][..inputs];
                let sum: f64 = x.iter().zip(weight).map(|(a, b)| a * b).sum();
                out.push((sum + bias[n]).max(0.0));
                for (sum, x) in d_weight[n * inputs..].iter_mut().zip(x) {
                    *sum += 2.0 * gradient[n] * x;
                }
            }
            for k in 0..inputs {
                let terms = gradient.iter().enumerate();
                let sum: f64 = terms.map(|(n, g)| g * weight[n * inputs + k]).sum();
                d_x.push(if x[k] > 0.0 { 1.5 * sum } else { 0.0 });
            }
        }
        [out, d_x, d_weight]
    }

    fn check(&self) {
        let results: Vec<Passes> = Level::available().into_iter().map(|l| self.run(l)).collect();
        // From the second level on sums are chains of fused multiply-adds.
        assert!(results.iter().skip(1).all(|found| *found == results[1]), "levels differ");
        for (out, d_x, d_weight) in results {
            for (found, expected) in [out, d_x, d_weight].iter().zip(self.oracle()) {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 1e-4 * (1.0 + expected.abs()), "{found}, expected {expected}");
                }
            }
        }
    }
}

#[test]
fn layers_of_every_kind_are_right() {
    for (rows, inputs, outputs) in
        [(128, 13, 512), (40, 367, 64), (9, 512, 256), (1, 1, 1), (24, 256, 1), (5, 130, 50)]
    {
        Case::new(rows, inputs, outputs).check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_layer_is_right(rows in 1usize..40, inputs in 1usize..300, outputs in 1usize..90) {
        Case::new(rows, inputs, outputs).check();
    }
}

#[test]
fn nan_is_not_hidden() {
    for level in Level::available() {
        let x = panels(8, 2, 1, &[f32::NAN, -1.0]);
        let one = panels(1, 1, 1, &[1.0]);
        let mut out = Panels::zeros(8, 1);
        let around = Around { start: Start::Zero, finish: Finish::Relu };
        multiply(level, 8, [&x, &one], &mut out, around);
        let out: Vec<f32> = out.column(0).collect();
        assert!(out[0].is_nan() && out[1] == 0.0, "{level:?}: {out:?}");
    }
}

#[test]
fn columns_are_summed_and_masked() {
    for (rows, columns) in [(128, 40), (8, 16), (16, 1)] {
        let values = draws(7, rows * columns);
        let mut gradient = panels(rows, rows, columns, &values);
        let mut sums = vec![1.0; columns.next_multiple_of(PANEL)];
        add_column_sums(Level::best(), rows, &gradient, &mut sums);
        for (column, sum) in sums.iter().enumerate() {
            let column =
                (0..rows).filter(|_| column < columns).map(|row| values[row * columns + column]);
            let total: f64 = column.map(f64::from).sum();
            assert!((f64::from(*sum) - 1.0 - total).abs() < 1e-3, "{sum}, expected 1 + {total}");
        }
        let activated = panels(rows, rows, columns, &draws(8, rows * columns));
        mask(&mut gradient, &activated);
        for (gradient, activated) in gradient.values().iter().zip(activated.values()) {
            assert!(*activated > 0.0 || *gradient == 0.0);
        }
    }
}

#[test]
fn a_product_in_two_parts_has_the_bits_of_one() {
    let (rows, depth, columns) = (16, 96, 40);
    let (left, right) = (draws(5, rows * depth), draws(6, depth * columns));
    for level in Level::available() {
        let around = |start| Around { start, finish: Finish::Keep };
        let add = |from: usize, to: usize, start, out: &mut Panels| {
            let mut part = Panels::zeros(rows, to - from);
            part.write_rows_at(&left, Place { stride: depth, offset: from });
            let right = panels(to - from, to - from, columns, &right[from * columns..to * columns]);
            multiply(level, rows, [&part, &right], out, around(start));
        };
        let mut once = Panels::zeros(rows, columns);
        once.values_mut().fill(7.0);
        let mut twice = once.clone();
        add(0, depth, Start::Zero, &mut once);
        add(0, 32, Start::Zero, &mut twice);
        add(32, depth, Start::Result, &mut twice);
        assert_eq!(once.values(), twice.values(), "{level:?}");
    }
}
