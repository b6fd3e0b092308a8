//! Tables as maps of vectors, in double precision, one id at a time.

use std::collections::BTreeMap;

use rectool_base::{Stream, hash_text};

use super::case::{Batch, Case, Content, rate};
use crate::{Init, Keep, OptimizerOptions, Pooling, TableOptions};

/// Values, state.
type Row = (Vec<f64>, Vec<f64>);

pub(super) struct Oracle<'a> {
    case: &'a Case,
    rows: BTreeMap<(usize, u64), Row>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(case: &'a Case) -> Self {
        Self { case, rows: BTreeMap::new() }
    }

    /// Trains on every batch; returns the outputs, NaN between them, and the rows.
    pub(super) fn train(mut self) -> (Vec<Vec<f32>>, Content) {
        let mut outputs = Vec::new();
        for (step, batch) in self.case.steps.iter().enumerate() {
            outputs.push(self.forward(batch));
            self.backward(batch, f64::from(rate(step)));
        }
        let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
        let rows = self.rows.into_iter();
        (outputs, rows.map(|(at, (values, state))| (at, (narrow(values), narrow(state)))).collect())
    }

    fn table_of(&self, feature: usize) -> usize {
        let name = &self.case.features[feature].table;
        self.case.tables.iter().position(|table| table.name == *name).unwrap()
    }

    fn forward(&mut self, batch: &Batch) -> Vec<f32> {
        let layout = self.case.layout();
        let mut out = vec![f32::NAN; batch.rows * layout.row_stride];
        for (f, lists) in batch.ids.iter().enumerate() {
            let t = self.table_of(f);
            let options = &self.case.tables[t];
            for r in 0..lists.len() {
                let at = r * layout.row_stride + layout.offsets[f];
                let mut sums = vec![0.0; options.dim * self.case.features[f].pooling.vectors()];
                for Term { vector, id, scale } in self.case.terms(batch, f, r) {
                    let row = self
                        .rows
                        .entry((t, id as u64))
                        .or_insert_with(|| initial(options, self.case.seed, id as u64));
                    let sum = &mut sums[vector * options.dim..];
                    sum.iter_mut().zip(&row.0).for_each(|(sum, x)| *sum += scale * x);
                }
                for (out, sum) in out[at..].iter_mut().zip(sums) {
                    *out = sum as f32;
                }
            }
        }
        out
    }

    fn backward(&mut self, batch: &Batch, rate: f64) {
        let layout = self.case.layout();
        let mut sums: BTreeMap<(usize, u64), Vec<f64>> = BTreeMap::new();
        for (f, lists) in batch.ids.iter().enumerate() {
            let t = self.table_of(f);
            let dim = self.case.tables[t].dim;
            for r in 0..lists.len() {
                for Term { vector, id, scale } in self.case.terms(batch, f, r) {
                    let at = r * layout.row_stride + layout.offsets[f] + vector * dim;
                    let sum = sums.entry((t, id as u64)).or_insert_with(|| vec![0.0; dim]);
                    let gradient = &batch.gradient[at..at + dim];
                    sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += f64::from(*g) * scale);
                }
            }
        }
        for (at, gradient) in sums {
            let (values, state) = self.rows.get_mut(&at).unwrap();
            step(&self.case.tables[at.0].optimizer, rate, (values, state), &gradient);
        }
    }
}

/// One id's part of a row: `scale` times its embedding is added to vector `vector`.
struct Term {
    vector: usize,
    id: i64,
    scale: f64,
}

impl Case {
    fn terms(&self, batch: &Batch, f: usize, r: usize) -> Vec<Term> {
        let ids = &batch.ids[f][r];
        let weights: Vec<f64> = match &batch.weights[f] {
            Some(weights) => weights[r].iter().map(|weight| f64::from(*weight)).collect(),
            None => vec![1.0; ids.len()],
        };
        let pooling = self.features[f].pooling;
        let divisor = match pooling {
            Pooling::Sum | Pooling::Sequence { .. } => 1.0,
            Pooling::Mean => weights.iter().sum::<f64>(),
            Pooling::SqrtN => weights.iter().map(|weight| weight.powi(2)).sum::<f64>().sqrt(),
        };
        let mut terms: Vec<Term> = (ids.iter().zip(weights))
            .map(|(id, weight)| {
                let scale = if divisor == 0.0 { 0.0 } else { weight / divisor };
                Term { vector: 0, id: *id, scale }
            })
            .collect();
        if let Pooling::Sequence { length, keep } = pooling {
            match keep {
                Keep::First => terms.truncate(length),
                Keep::Last => {
                    terms.drain(..terms.len().saturating_sub(length));
                }
            }
            terms.iter_mut().enumerate().for_each(|(at, term)| term.vector = at);
        }
        terms
    }
}

pub(super) fn initial(options: &TableOptions, seed: u64, key: u64) -> Row {
    let mut stream = Stream::new(seed, &[hash_text(&options.name) as u64, key]);
    let draw = |_| match options.init {
        Init::Zero => 0.0,
        Init::Uniform { bound } => f64::from((2.0 * stream.next_f32() - 1.0) * bound),
        Init::Normal { std } => f64::from(stream.next_normal() * std),
    };
    let values = (0..options.dim).map(draw).collect();
    let state = match options.optimizer {
        OptimizerOptions::Sgd { .. } => vec![],
        OptimizerOptions::Adagrad { initial_accumulator, .. } => {
            vec![f64::from(initial_accumulator); options.dim]
        }
        OptimizerOptions::RowWiseAdagrad { initial_accumulator, .. } => {
            vec![f64::from(initial_accumulator)]
        }
    };
    (values, state)
}

fn step(
    optimizer: &OptimizerOptions,
    rate: f64,
    (values, state): (&mut [f64], &mut [f64]),
    gradient: &[f64],
) {
    let (OptimizerOptions::Sgd { learning_rate, weight_decay }
    | OptimizerOptions::Adagrad { learning_rate, weight_decay, .. }
    | OptimizerOptions::RowWiseAdagrad { learning_rate, weight_decay, .. }) = *optimizer;
    let rate = f64::from(learning_rate) * rate;
    let decayed: Vec<f64> =
        gradient.iter().zip(values.iter()).map(|(g, w)| g + f64::from(weight_decay) * w).collect();
    let mean = decayed.iter().map(|g| g * g).sum::<f64>() / decayed.len() as f64;
    for (j, g) in decayed.iter().enumerate() {
        values[j] -= match *optimizer {
            OptimizerOptions::Sgd { .. } => rate * g,
            OptimizerOptions::Adagrad { epsilon, .. } => {
                state[j] += g * g;
                rate * g / (state[j].sqrt() + f64::from(epsilon))
            }
            OptimizerOptions::RowWiseAdagrad { epsilon, .. } => {
                if j == 0 {
                    state[0] += mean;
                }
                rate * g / (state[0].sqrt() + f64::from(epsilon))
            }
        };
    }
}
