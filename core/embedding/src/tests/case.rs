//! Random tables, features and batches.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rectool_base::Stream;
use rectool_comm::Comm;

use crate::{
    Decay, EmbeddingCollection, FeatureOptions, Ids, IndexKind, Init, Keep, Layout, Mode,
    OptimizerOptions, Pooling, Rows, Sharding, ShardingPlan, Storage, TableOptions,
};

/// Rows of a dense table of a case, and the bound of all its ids.
pub(super) const ROWS: u64 = 40;

/// Everything that a few steps of training need.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) tables: Vec<TableOptions>,
    pub(super) features: Vec<FeatureOptions>,
    /// \[F\]: whether the lists of a feature have weights.
    pub(super) weighted: Vec<bool>,
    pub(super) steps: Vec<Batch>,
    pub(super) seed: u64,
}

#[derive(Clone)]
pub(super) struct Batch {
    pub(super) rows: usize,
    /// \[F\][B]: the ids of each feature and row.
    pub(super) ids: Vec<Vec<Vec<i64>>>,
    /// \[F\]: whether a feature has one id per row.
    pub(super) single: Vec<bool>,
    /// \[F\]\[B\]: the weights of the ids of each feature and row, if it has any.
    pub(super) weights: Vec<Option<Vec<Vec<f32>>>>,
    /// [B, stride].
    pub(super) gradient: Vec<f32>,
}

pub(super) fn table(name: &str, dim: usize, optimizer: OptimizerOptions) -> TableOptions {
    let init = Init::Uniform { bound: 0.5 };
    TableOptions { init, ..TableOptions::new(name, dim, optimizer) }
}

/// Rows that were never updated.
pub(super) fn rows(keys: &[u64], values: &[f32], state: &[f32]) -> Rows {
    Rows {
        columns: 0..values.len() / keys.len().max(1),
        keys: keys.to_vec(),
        values: values.to_vec(),
        state: state.to_vec(),
        last_seen: vec![0; keys.len()],
        counts: vec![0; keys.len()],
    }
}

pub(super) fn feature(name: &str, table: &str) -> FeatureOptions {
    FeatureOptions::new(name, table, Pooling::Sum)
}

pub(super) fn sgd(learning_rate: f32) -> OptimizerOptions {
    OptimizerOptions::sgd(learning_rate)
}

impl Case {
    /// `rows_max` bounds the rows of a batch.
    pub(super) fn draw(seed: u64, rows_max: u64) -> Self {
        let mut stream = Stream::new(seed, &[]);
        let tables: Vec<TableOptions> = (0..=stream.below(3))
            .map(|t| {
                let dim = [1, 3, 8, 16, 20, 32, 64, 128][stream.below(8) as usize];
                let mut options = table(&format!("table {t}"), dim, optimizer(&mut stream));
                if stream.below(2) == 0 {
                    options.index = IndexKind::Dense { rows: ROWS };
                }
                if stream.below(2) == 0 {
                    options.init = Init::Normal { std: 0.3 };
                }
                if stream.below(4) == 0 {
                    options.clip_norm = Some(0.7);
                }
                options
            })
            .collect();
        let features: Vec<FeatureOptions> = (0..=stream.below(6))
            .map(|f| {
                let table = &tables[stream.below(tables.len() as u64) as usize].name;
                let pooling = pooling(&mut stream);
                FeatureOptions::new(format!("feature {f}"), table, pooling)
            })
            .collect();
        let weighted = features.iter().map(|_| stream.below(2) == 0).collect();
        let mut case = Self { tables, features, weighted, steps: Vec::new(), seed };
        let single: Vec<bool> = case.features.iter().map(|_| stream.below(2) == 0).collect();
        for _ in 0..4 {
            let batch = case.draw_batch(&mut stream, rows_max, &single);
            case.steps.push(batch);
        }
        case
    }

    pub(super) fn stored(mut self, storage: Storage) -> Self {
        self.tables.iter_mut().for_each(|table| table.storage = storage);
        self
    }

    fn draw_batch(&self, stream: &mut Stream, rows_max: u64, single: &[bool]) -> Batch {
        let rows = stream.below(rows_max + 1) as usize;
        let ids = single
            .iter()
            .map(|single| {
                (0..rows)
                    .map(|_| {
                        let count = if *single { 1 } else { stream.below(5) };
                        // Low ids are frequent.
                        (0..count)
                            .map(|_| stream.below(1 + stream.clone().below(ROWS)) as i64)
                            .collect()
                    })
                    .collect()
            })
            .collect();
        let ids: Vec<Vec<Vec<i64>>> = ids;
        let lists = ids.iter().zip(single).zip(&self.features).zip(&self.weighted);
        let weights = lists
            .map(|(((lists, single), feature), weighted)| {
                (*weighted && !single).then(|| {
                    lists.iter().map(|ids| weights(stream, feature.pooling, ids.len())).collect()
                })
            })
            .collect();
        let floats = rows * self.layout().row_stride;
        let gradient = (0..floats).map(|_| stream.next_normal()).collect();
        Batch { rows, ids, single: single.to_vec(), weights, gradient }
    }

    /// With the features in reverse order and gaps around them.
    pub(super) fn layout(&self) -> Layout {
        let mut row_stride = 1;
        let mut offsets = Vec::new();
        for feature in self.features.iter().rev() {
            offsets.insert(0, row_stride);
            row_stride += self.dim(&feature.table) * feature.pooling.vectors() + 2;
        }
        Layout { row_stride, offsets }
    }

    pub(super) fn dim(&self, table: &str) -> usize {
        self.tables.iter().find(|options| options.name == table).unwrap().dim
    }

    pub(super) fn collection(&self, comm: Arc<dyn Comm>) -> EmbeddingCollection {
        EmbeddingCollection::new(self.tables.clone(), self.features.clone(), self.seed, comm)
            .unwrap()
    }

    pub(super) fn collection_with(
        &self,
        comm: Arc<dyn Comm>,
        plan: &ShardingPlan,
    ) -> EmbeddingCollection {
        let (tables, features) = (self.tables.clone(), self.features.clone());
        EmbeddingCollection::with_plan(tables, features, self.seed, comm, plan).unwrap()
    }

    /// A place of any kind for each table.
    pub(super) fn draw_plan(&self, stream: &mut Stream, ranks: usize) -> ShardingPlan {
        let mut below = |n: usize| stream.below(n as u64) as usize;
        let place = |table: &TableOptions| match below(5) {
            0 => Sharding::DataParallel,
            1 => Sharding::TableWise { rank: below(ranks) },
            2 => {
                let first = below(ranks);
                Sharding::TableRowWise { first, ranks: 1 + below(ranks - first) }
            }
            3 if !table.optimizer.is_row_wise() && table.clip_norm.is_none() => {
                let mut order: Vec<usize> = (0..ranks).collect();
                for last in 1..ranks {
                    order.swap(last, below(last + 1));
                }
                order.truncate(1 + below(ranks.min(table.dim)));
                Sharding::ColumnWise { ranks: order }
            }
            _ => Sharding::RowWise,
        };
        let places: Vec<Sharding> = self.tables.iter().map(place).collect();
        let names = self.tables.iter().map(|table| table.name.clone());
        ShardingPlan { tables: names.zip(places).collect() }
    }

    /// Trains on this rank's share of every batch; returns the outputs of its rows, per step.
    pub(super) fn train(
        &self,
        collection: &mut EmbeddingCollection,
        share: impl Fn(usize) -> Range<usize>,
    ) -> Vec<Vec<f32>> {
        let layout = self.layout();
        let mut outputs = Vec::new();
        for (step, batch) in self.steps.iter().enumerate() {
            let share = share(batch.rows);
            let mut out = vec![f32::NAN; share.len() * layout.row_stride];
            let floats = share.start * layout.row_stride..share.end * layout.row_stride;
            let mut prepared =
                batch.with_ids(share, |ids, rows| collection.prepare(ids, rows, 0).unwrap());
            collection.forward(&mut prepared, Mode::Train, &mut out, &layout).unwrap();
            collection
                .backward(&mut prepared, &batch.gradient[floats], &layout, rate(step))
                .unwrap();
            collection.recycle(prepared);
            outputs.push(out);
        }
        outputs
    }
}

/// The schedule of all cases.
pub(super) fn rate(step: usize) -> f32 {
    1.0 / (step + 1) as f32
}

/// Lists have up to 4 ids: some sequences cut them and some have room left.
pub(super) fn pooling(stream: &mut Stream) -> Pooling {
    let keep = [Keep::First, Keep::Last][stream.below(2) as usize];
    match stream.below(4) {
        0 => Pooling::Sum,
        1 => Pooling::Mean,
        2 => Pooling::SqrtN,
        _ => Pooling::Sequence { length: 1 + stream.below(5) as usize, keep },
    }
}

/// One list in four has only zeros. Those of a mean are not negative, so that their sum, a divisor,
/// does not lose its digits.
fn weights(stream: &mut Stream, pooling: Pooling, count: usize) -> Vec<f32> {
    let all_zero = stream.below(4) == 0;
    let mut weight = || match stream.below(4) {
        _ if all_zero => 0.0,
        0 => 0.0,
        1 if pooling != Pooling::Mean => -0.5 - stream.next_f32(),
        _ => 0.25 + stream.next_f32(),
    };
    (0..count).map(|_| weight()).collect()
}

fn optimizer(stream: &mut Stream) -> OptimizerOptions {
    use OptimizerOptions as O;
    let weight_decay = [0.0, 0.1][stream.below(2) as usize];
    let (learning_rate, epsilon, initial_accumulator) = (0.2, 1e-8, 0.1);
    let (beta1, beta2) = (0.75, 0.9375);
    let decay = [Decay::Lazy, Decay::Exact][stream.below(2) as usize];
    match stream.below(8) {
        0 => O::Sgd { learning_rate, momentum: 0.0, weight_decay },
        1 => O::Sgd { learning_rate, momentum: 0.5, weight_decay },
        2 => O::Adagrad { learning_rate, epsilon, initial_accumulator, weight_decay },
        3 => O::Adam { learning_rate, beta1, beta2, epsilon: 1e-2, weight_decay, decay },
        4 => O::AdamW { learning_rate, beta1, beta2, epsilon: 1e-2, weight_decay, decay },
        5 => O::RowWiseAdam { learning_rate, beta1, beta2, epsilon: 1e-2, weight_decay, decay },
        6 => O::Ftrl { learning_rate, beta: 0.5, l1: 0.1, l2: weight_decay },
        _ => O::RowWiseAdagrad { learning_rate, epsilon, initial_accumulator, weight_decay },
    }
}

impl Batch {
    /// Calls `body` with the ids of the rows `share`: single ones as columns of one matrix, lists
    /// as slices of longer ones.
    pub(super) fn with_ids<T>(
        &self,
        share: Range<usize>,
        body: impl FnOnce(&[Ids<'_>], usize) -> T,
    ) -> T {
        let width = self.ids.len();
        let mut matrix = vec![-5; self.rows * width];
        let mut lists = vec![(vec![0u32], Vec::new()); width];
        for (f, rows) in self.ids.iter().enumerate() {
            for (r, ids) in rows.iter().enumerate() {
                if self.single[f] {
                    matrix[r * width + f] = ids[0];
                } else {
                    lists[f].1.extend_from_slice(ids);
                    let end = lists[f].1.len() as u32;
                    lists[f].0.push(end);
                }
            }
        }
        let weights: Vec<Option<Vec<f32>>> =
            self.weights.iter().map(|lists| Some(lists.as_ref()?.concat())).collect();
        let ids: Vec<Ids<'_>> = (0..width)
            .map(|f| {
                if self.single[f] {
                    let values = &matrix[share.start * width..share.end * width];
                    Ids::Fixed { values, width, at: f }
                } else {
                    let (offsets, values) = &lists[f];
                    let (offsets, weights) = (&offsets[share.start..=share.end], &weights[f]);
                    Ids::List { offsets, values, weights: weights.as_deref() }
                }
            })
            .collect();
        body(&ids, share.len())
    }
}

/// All rows of this rank: table, key → values, state; NaN where another rank has them.
pub(super) type Content = BTreeMap<(usize, u64), (Vec<f32>, Vec<f32>)>;

pub(super) fn content(collection: &EmbeddingCollection) -> Content {
    let mut content = Content::new();
    for (t, info) in collection.tables().into_iter().enumerate() {
        for rows in collection.export(t, 7).unwrap() {
            for (n, key) in rows.keys.iter().enumerate() {
                let width = rows.columns.len();
                let values = spread(&rows.values[n * width..][..width], &rows.columns, info.dim);
                let mut state = rows.state[n * info.state_width..][..info.state_width].to_vec();
                if width < info.dim {
                    let blocks = state.chunks(width);
                    state = blocks.flat_map(|b| spread(b, &rows.columns, info.dim)).collect();
                }
                assert!(content.insert((t, *key), (values, state)).is_none(), "key {key} twice");
            }
        }
    }
    content
}

fn spread(part: &[f32], columns: &Range<usize>, dim: usize) -> Vec<f32> {
    let mut whole = vec![f32::NAN; dim];
    whole[columns.clone()].copy_from_slice(part);
    whole
}

/// What all ranks have together: every float once.
pub(super) fn join(contents: impl IntoIterator<Item = Content>) -> Content {
    let mut joined = Content::new();
    for (at, (values, state)) in contents.into_iter().flatten() {
        let nothing = || (vec![f32::NAN; values.len()], vec![f32::NAN; state.len()]);
        let whole = joined.entry(at).or_insert_with(nothing);
        let floats = whole.0.iter_mut().zip(&values).chain(whole.1.iter_mut().zip(&state));
        for (whole, part) in floats.filter(|(_, part)| !part.is_nan()) {
            assert!(whole.is_nan(), "{at:?} on two ranks");
            *whole = *part;
        }
    }
    let mut floats = joined.values().flat_map(|(values, state)| values.iter().chain(state));
    assert!(floats.all(|x| !x.is_nan()), "a part is nowhere");
    joined
}

/// The share of rank `rank` of `ranks`: uneven, and none for rank 1 of an odd batch.
pub(super) fn share(rank: usize, ranks: usize, rows: usize) -> Range<usize> {
    let cut = |rank: usize| match rank {
        2 if rows % 2 == 1 && ranks > 2 => rows / ranks,
        _ => rows * rank / ranks,
    };
    cut(rank)..cut(rank + 1)
}

pub(super) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= tolerance * expected.abs().max(1.0)
            || found.is_nan() && expected.is_nan();
        assert!(close, "{what}: at {at} found {found}, expected {expected}");
    }
}

pub(super) fn assert_contents_close(found: &Content, expected: &Content, tolerance: f32) {
    assert!(found.keys().eq(expected.keys()), "different keys");
    for ((at, found), expected) in found.iter().zip(expected.values()) {
        assert_close(&found.0, &expected.0, tolerance, &format!("values of {at:?}"));
        assert_close(&found.1, &expected.1, tolerance, &format!("state of {at:?}"));
    }
}
