//! Whole optimizers against torch: values and state after each step. See `tests/golden/make.py`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rectool_comm::Solo;
use serde::Deserialize;

use super::case::{assert_close, feature, rows};
use crate::{
    EmbeddingCollection, Ids, IndexKind, Layout, Mode, OptimizerOptions, Rows, TableOptions,
};

#[derive(Deserialize)]
struct Case {
    options: OptimizerOptions,
    how: String,
    values_count: bool,
    /// [V, D].
    start: Vec<Vec<f32>>,
    /// By step, \[B\].
    ids: Vec<Vec<i64>>,
    /// By step, [B, D].
    gradients: Vec<Vec<Vec<f32>>>,
    /// By step: all rows, [V, D].
    after: Vec<Vec<Vec<f32>>>,
    /// By step: the state of the rows it touches, in their order.
    states: Vec<Vec<Vec<f32>>>,
}

impl Case {
    fn replay(&self) {
        let (count, dim) = (self.start.len(), self.start[0].len());
        let index = IndexKind::Dense { rows: count as u64 };
        let table = TableOptions { index, ..TableOptions::new("t", dim, self.options.clone()) };
        let mut tables =
            EmbeddingCollection::new(vec![table], vec![feature("f", "t")], 1, Arc::new(Solo))
                .unwrap();
        let keys: Vec<u64> = (0..count as u64).collect();
        let width = self.options.state_width(dim);
        let mut state = vec![0.0; count * width];
        for (values, state) in self.start.iter().zip(state.chunks_mut(width)) {
            self.options.initial_state(values, state);
        }
        tables.import(0, &rows(&keys, &self.start.concat(), &state)).unwrap();
        for (step, values) in self.ids.iter().enumerate() {
            let ids = [Ids::Fixed { values, width: 1, at: 0 }];
            let mut batch = tables.prepare(&ids, values.len(), 0).unwrap();
            let layout = Layout::packed([dim]);
            let mut out = vec![0.0; values.len() * dim];
            tables.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
            let gradient = self.gradients[step].concat();
            tables.backward(&mut batch, &gradient, &layout, 1.0).unwrap();
            let found: Vec<Rows> = tables.export(0, count).unwrap().collect();
            self.compare(step, &found[0]);
        }
    }

    fn compare(&self, step: usize, found: &Rows) {
        let what = format!("{:?} by {}, step {step}", self.options, self.how);
        if self.values_count {
            assert_close(&found.values, &self.after[step].concat(), 2e-6, &what);
        }
        let touched: BTreeSet<i64> = self.ids[step].iter().copied().collect();
        for (row, expected) in touched.iter().zip(&self.states[step]) {
            let state = &found.state[*row as usize * expected.len()..][..expected.len()];
            assert_close(state, expected, 2e-6, &what);
        }
    }
}

#[test]
fn optimizers_equal_those_of_torch() {
    let text = include_str!("../../../../tests/golden/table_optimizers.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 7);
    cases.iter().for_each(Case::replay);
}
