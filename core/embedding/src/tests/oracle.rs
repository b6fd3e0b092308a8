//! Tables as maps of vectors, in double precision, one id at a time.

use std::collections::BTreeMap;

use rectool_base::{Stream, hash_text};

use super::case::{Batch, Case, Content, rate};
use super::steps::take_step;
use crate::{Init, Keep, OptimizerOptions, Pooling, TableOptions};

pub(super) struct Row {
    pub(super) values: Vec<f64>,
    pub(super) state: Vec<f64>,
    /// Step of the last update.
    last: Option<u64>,
}

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
            self.backward(batch, step as u64 + 1, f64::from(rate(step)));
        }
        let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
        let rows = self.rows.into_iter();
        (outputs, rows.map(|(at, row)| (at, (narrow(row.values), narrow(row.state)))).collect())
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
                    sum.iter_mut().zip(&row.values).for_each(|(sum, x)| *sum += scale * x);
                }
                for (out, sum) in out[at..].iter_mut().zip(sums) {
                    *out = sum as f32;
                }
            }
        }
        out
    }

    fn backward(&mut self, batch: &Batch, step: u64, rate: f64) {
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
        for (at, mut gradient) in sums {
            let row = self.rows.get_mut(&at).unwrap();
            let options = &self.case.tables[at.0];
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            if let Some(norm_max) = options.clip_norm.map(f64::from).filter(|max| norm > *max) {
                for g in &mut gradient {
                    *g *= norm_max / norm;
                }
            }
            let missed = row.last.map_or(0, |last| step - last - 1) as i32;
            row.last = Some(step);
            take_step(&options.optimizer, rate, (step as i32, missed), row, &gradient);
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
    let values: Vec<f64> = (0..options.dim).map(draw).collect();
    let state = match options.optimizer {
        OptimizerOptions::Adagrad { initial_accumulator, .. } => {
            vec![f64::from(initial_accumulator); options.dim]
        }
        OptimizerOptions::RowWiseAdagrad { initial_accumulator, .. } => {
            vec![f64::from(initial_accumulator)]
        }
        OptimizerOptions::Ftrl { learning_rate, beta, l1, l2 } => {
            let [rate, beta, l1, l2] = [learning_rate, beta, l1, l2].map(f64::from);
            let z =
                |w: &f64| if *w == 0.0 { 0.0 } else { -w * (beta / rate + l2) - l1 * w.signum() };
            values.iter().map(z).chain(std::iter::repeat_n(0.0, options.dim)).collect()
        }
        _ => vec![0.0; options.optimizer.state_width(options.dim)],
    };
    Row { values, state, last: None }
}
