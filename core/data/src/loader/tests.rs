use std::sync::Arc;

use rectool_base::{
    BatchPlace, Column, ColumnKind, ColumnSchema, Hint, Jagged, NoPlugins, PluginFault, Transform,
    TransformError,
};

use super::*;
use crate::fixture::{expected, folder};
use crate::{ChainOp, Dataset, FeatureChain, Order, OrderOptions, Shuffle};

const ROWS: u64 = 103;

fn with_split(test: impl FnOnce(&Split)) {
    let folder = folder(ROWS, 40);
    test(&Dataset::open(folder.path()).unwrap().split("train").unwrap());
}

fn order_options() -> OrderOptions {
    OrderOptions { seed: 9, shuffle: Shuffle::Block { block_rows: 8, window_blocks: 3 } }
}

fn options(batch_size: usize) -> LoaderOptions {
    LoaderOptions { order: order_options(), epochs: Some(2), ..LoaderOptions::new(batch_size) }
}

fn read(split: &Split, options: LoaderOptions) -> Vec<Batch> {
    Loader::start(split, options).unwrap().map(Result::unwrap).collect()
}

fn labels(batch: &Batch) -> Vec<u64> {
    let Column::F32 { values, .. } = &batch.columns[0] else { panic!("label comes first") };
    values.iter().map(|label| *label as u64).collect()
}

#[test]
fn every_number_of_ranks_and_threads_follows_the_order() {
    with_split(|split| {
        for (ranks, threads) in [(1, 0), (1, 3), (2, 1), (4, 2), (20, 0)] {
            let per_rank: Vec<Vec<Batch>> = (0..ranks)
                .map(|rank| read(split, LoaderOptions { rank, ranks, threads, ..options(16) }))
                .collect();
            assert!(per_rank.iter().all(|batches| batches.len() == 2 * 7));
            for number in 0..14 {
                let (epoch, step) = (number / 7, number % 7);
                let order = Order::new(ROWS, &order_options(), epoch).unwrap();
                let rows = 16.min(ROWS - step * 16) as usize;
                let mut wanted = vec![0; rows];
                order.fill(step * 16, &mut wanted);
                let mut found = Vec::new();
                for batches in &per_rank {
                    let batch = &batches[number as usize];
                    assert_eq!((batch.epoch, batch.step), (epoch, step));
                    assert_eq!((batch.rows_global, batch.row_first), (rows, found.len()));
                    assert_eq!(batch.rows, batch.columns[0].rows());
                    assert_eq!(batch.columns, expected(&labels(batch)));
                    found.extend(labels(batch));
                }
                assert_eq!(found, wanted, "{ranks} ranks, {threads} threads, batch {number}");
            }
        }
    });
}

#[test]
fn resuming_equals_not_having_stopped() {
    with_split(|split| {
        let whole = read(split, options(16));
        for stop in [0, 3, 6, 7, 8, 13] {
            let start = ReaderState::new(9, 16).after(&whole[stop]);
            let text = serde_json::to_string(&start).unwrap();
            let start = Some(serde_json::from_str(&text).unwrap());
            assert_eq!(read(split, LoaderOptions { start, ..options(16) }), whole[stop + 1..]);
            // On two ranks the halves make up the same global batches.
            let half = |rank| read(split, LoaderOptions { start, rank, ranks: 2, ..options(16) });
            let (low, high) = (half(0), half(1));
            for ((low, high), whole) in low.iter().zip(&high).zip(&whole[stop + 1..]) {
                assert_eq!([labels(low), labels(high)].concat(), labels(whole));
            }
        }
    });
}

#[test]
fn last_batch_is_dropped_when_asked() {
    with_split(|split| {
        let batches = read(split, LoaderOptions { last: LastBatch::Drop, ..options(16) });
        assert_eq!(batches.len(), 2 * 6);
        assert!(batches.iter().all(|batch| batch.rows == 16));
    });
}

#[test]
fn columns_and_chain_apply_in_order() {
    with_split(|split| {
        let columns = vec![3, 1];
        let mut chain = FeatureChain::new(&split.project(&columns).unwrap());
        let clip = ChainOp::Clip { min: 0.0, max: 5.0 }.transform(&NoPlugins).unwrap();
        chain.push(&["dense".to_owned()], clip).unwrap();
        let chain = Some(Arc::new(chain));
        let no_shuffle = OrderOptions { seed: 9, shuffle: Shuffle::None };
        let options =
            LoaderOptions { columns, chain: chain.clone(), order: no_shuffle, ..options(4) };
        let batch = Loader::start(split, options).unwrap().next().unwrap().unwrap();
        let mut wanted = expected(&[0, 1, 2, 3]);
        let clipped = vec![0., 1., 2., 3., 4., 5., 5., 5., 5., 5., 5., 5.];
        assert_eq!(batch.columns[0], wanted.swap_remove(3));
        assert_eq!(batch.columns[1], Column::F32 { width: 3, values: clipped });

        // The same chain on other columns is refused.
        let wrong = Loader::start(split, LoaderOptions { chain, ..self::options(4) });
        assert!(matches!(wrong, Err(DataError::Option { option: "chain", .. })));
    });
}

#[test]
fn recycled_batches_change_nothing() {
    with_split(|split| {
        let whole = read(split, options(16));
        let mut loader = Loader::start(split, options(16)).unwrap();
        for wanted in whole {
            let batch = loader.next().unwrap().unwrap();
            assert_eq!(batch, wanted);
            loader.recycle(batch);
        }
        assert!(loader.next().is_none());
    });
}

#[test]
fn wrong_options_are_refused() {
    with_split(|split| {
        let refused = |options| Loader::start(split, options).map(drop).unwrap_err();
        assert!(matches!(refused(options(0)), DataError::Option { option: "batch_size", .. }));
        let error = refused(options(104));
        let text = "`batch_size`: expected at most the 103 rows of split `train`, found 104";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.hint().as_deref(), Some("set `batch_size` to 103 or less"));
        for wrong in [
            LoaderOptions { ranks: 0, ..options(4) },
            LoaderOptions { rank: 2, ranks: 2, ..options(4) },
            LoaderOptions { queue_batches: 0, ..options(4) },
            LoaderOptions { threads: 1 << 20, ..options(4) },
        ] {
            assert!(matches!(refused(wrong), DataError::Option { .. }));
        }
        let columns = vec![8];
        let error = refused(LoaderOptions { columns, ..options(4) });
        assert!(matches!(error, DataError::OutOfRange { what: "column", .. }));
        let state = ReaderState::new(9, 4);
        for start in [
            ReaderState { seed: 8, ..state },
            ReaderState { batch_size: 5, ..state },
            ReaderState { step: 27, ..state },
        ] {
            let error = refused(LoaderOptions { start: Some(start), ..options(4) });
            assert!(matches!(error, DataError::State { .. }), "{start:?}");
        }
    });
}

#[test]
fn state_beyond_the_end_yields_nothing() {
    with_split(|split| {
        for epoch in [2, u64::MAX] {
            let start = Some(ReaderState { epoch, ..ReaderState::new(9, 16) });
            assert!(read(split, LoaderOptions { start, ..options(16) }).is_empty());
        }
    });
}

#[test]
fn dropping_early_joins_all_threads() {
    with_split(|split| {
        for taken in 0..5 {
            let endless = LoaderOptions { epochs: None, threads: 4, ..options(16) };
            let mut loader = Loader::start(split, endless).unwrap();
            assert_eq!(loader.by_ref().take(taken).flatten().count(), taken);
        }
    });
}

/// Makes columns of each kind that differ from batch to batch: one takes the place of `dense`, the
/// others are added.
struct Adds;

impl Transform for Adds {
    fn name(&self) -> &'static str {
        "adds"
    }

    fn outputs(&self, _: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        let plain = ColumnSchema::plain;
        Ok(vec![
            plain("dense", ColumnKind::F32List),
            plain("wide", ColumnKind::I64 { width: 7 }),
            plain("more", ColumnKind::Text { width: 1 }),
            plain("first", ColumnKind::TextList),
        ])
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        columns: Vec<Column>,
        place: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        let Column::F32 { values, .. } = &columns[0] else { panic!("floats") };
        let rows = 0..=place.rows as u32;
        let text = || values.chunks(3).map(|row| (row[0] > 9.0).then_some("large")).collect();
        Ok(vec![
            Column::F32List(Jagged {
                offsets: rows.clone().map(|row| 3 * row).collect(),
                values: values.clone(),
            }),
            Column::I64 { width: 7, values: vec![place.step as i64; 7 * place.rows] },
            Column::Text { width: 1, values: text() },
            Column::TextList { offsets: rows.collect(), values: text() },
        ])
    }
}

#[test]
fn columns_that_a_chain_changes_and_adds_can_be_recycled() {
    with_split(|split| {
        let mut chain = FeatureChain::new(split.schema());
        chain.push(&["dense".to_owned()], Arc::new(Adds)).unwrap();
        let options = LoaderOptions { chain: Some(Arc::new(chain)), ..options(16) };
        let whole = read(split, options.clone());
        assert!(whole.iter().all(|batch| batch.columns.len() == 11));
        for threads in [0, 2] {
            let options = LoaderOptions { threads, ..options.clone() };
            let mut loader = Loader::start(split, options).unwrap();
            for wanted in &whole {
                let batch = loader.next().unwrap().unwrap();
                assert_eq!(batch, *wanted);
                loader.recycle(batch);
            }
        }
    });
}

#[test]
fn errors_of_a_chain_name_the_batch() {
    with_split(|split| {
        let mut chain = FeatureChain::new(split.schema());
        chain.push(&["dense".to_owned()], Arc::new(Fails { plugin: false })).unwrap();
        let error = |chain| {
            let options = LoaderOptions { chain: Some(Arc::new(chain)), ..options(16) };
            Loader::start(split, options).unwrap().find_map(Result::err).unwrap()
        };
        let refused = error(chain);
        let text = "epoch 1, step 2: `fails`: column `dense`, row 0 of the batch: x";
        assert_eq!(refused.to_string(), text);
        assert_eq!(refused.hint().as_deref(), Some("do not"));
        let mut chain = FeatureChain::new(split.schema());
        chain.push(&["dense".to_owned()], Arc::new(Fails { plugin: true })).unwrap();
        let text = "transform plugin `fails 1.0.0` (epoch 1, step 2, rows 0 to 16): x";
        assert_eq!(error(chain).to_string(), text, "a plugin says so itself");
    });
}

/// Fails in one batch.
struct Fails {
    plugin: bool,
}

impl Transform for Fails {
    fn name(&self) -> &'static str {
        "fails"
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(inputs.to_vec())
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        columns: Vec<Column>,
        place: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        match (place.epoch, place.step) {
            (1, 2) if self.plugin => Err(TransformError::Plugin(PluginFault {
                kind: "transform",
                plugin: "fails 1.0.0".to_owned(),
                place: Some(place),
                message: "x".to_owned(),
                hint: None,
            })),
            (1, 2) => Err(TransformError::Value {
                transform: "fails".to_owned(),
                column: "dense".to_owned(),
                row: place.row_first,
                found: "x".to_owned(),
                hint: "do not",
            }),
            _ => Ok(columns),
        }
    }
}

struct Panics;

impl Transform for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(inputs.to_vec())
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        columns: Vec<Column>,
        place: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        assert!(place.rows == 16, "odd batch of {} rows", place.rows);
        Ok(columns)
    }
}

#[test]
fn panic_in_a_transform_is_an_error_at_its_place() {
    with_split(|split| {
        let mut chain = FeatureChain::new(split.schema());
        chain.push(&["dense".to_owned()], Arc::new(Panics)).unwrap();
        let chain = Some(Arc::new(chain));
        for threads in [0, 1, 3] {
            let options = LoaderOptions { chain: chain.clone(), threads, ..options(16) };
            let mut loader = Loader::start(split, options).unwrap();
            assert_eq!(loader.by_ref().take(6).flatten().count(), 6);
            let error = loader.next().unwrap().unwrap_err();
            let text = "loader thread panicked at epoch 0, step 6: odd batch of 7 rows";
            assert_eq!(error.to_string(), text);
            assert!(loader.next().is_none());
        }
    });
}
