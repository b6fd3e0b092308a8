use std::sync::Arc;

use rectool_base::{
    BatchPlace, Column, ColumnKind, ColumnSchema, Hint, ItemStatistics, Jagged, NoPlugins,
    PluginFault, Sampler, Samples, Schema, Stream, Texts, TransformError,
};
use tempfile::TempDir;

use super::*;
use crate::{
    ChainOp, Dataset, DatasetWriter, FeatureChain, LoaderOptions, OrderOptions, Shuffle,
    WriterOptions, column,
};

const ROWS: usize = 1_300;
/// Blocks of 256, 256 and 88 rows.
const BATCH: usize = 600;
const K: usize = 3;

fn schema() -> Schema {
    let members = vec!["user".to_owned(), "item".to_owned(), "shop".to_owned()];
    Schema::new(vec![
        ColumnSchema::plain("label", ColumnKind::F32 { width: 1 }),
        ColumnSchema::packed("ids", ColumnKind::I64 { width: 3 }, members),
        ColumnSchema::plain("price", ColumnKind::F32 { width: 1 }),
        ColumnSchema::plain("title", ColumnKind::Text { width: 1 }),
        ColumnSchema::plain("words", ColumnKind::TextList),
        ColumnSchema::plain("history", ColumnKind::I64List),
        ColumnSchema::plain("scores", ColumnKind::F32List),
    ])
    .unwrap()
}

/// Every value but the label tells its row; rows choose among 40 items.
fn rows(from: usize, to: usize) -> Vec<Column> {
    let rows = || from..to;
    let (mut history, mut scores, mut offsets) = (Jagged::new(), Jagged::new(), vec![0]);
    let mut words = Texts::new();
    for row in rows() {
        history.push_row(&vec![row as i64; row % 4]);
        scores.push_row(&vec![row as f32; row % 3]);
        (0..row % 3).for_each(|at| words.push((at > 0).then_some("w\u{f6}rd")));
        offsets.push(words.len() as u32);
    }
    let title = |row: usize| (!row.is_multiple_of(5)).then(|| format!("title {row}"));
    let titles: Vec<_> = rows().map(title).collect();
    let ids = |row: usize| [row as i64, 100 + (row * 7 % 40) as i64, -2 - row as i64];
    vec![
        Column::F32 { width: 1, values: vec![1.0; to - from] },
        Column::I64 { width: 3, values: rows().flat_map(ids).collect() },
        Column::F32 { width: 1, values: rows().map(|row| row as f32).collect() },
        Column::Text { width: 1, values: titles.iter().map(Option::as_deref).collect() },
        Column::TextList { offsets, values: words },
        Column::I64List(history),
        Column::F32List(scores),
    ]
}

/// `train` of [`ROWS`] rows, changed by `edit`, and `valid` of 50 further ones.
fn splits(edit: impl FnOnce(&mut Vec<Column>)) -> (TempDir, Split, Split) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data");
    let options = WriterOptions { shard_rows: 300, ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(&out, schema(), options).unwrap();
    let mut train = rows(0, ROWS);
    edit(&mut train);
    writer.write("train", train).unwrap();
    writer.write("valid", rows(ROWS, ROWS + 50)).unwrap();
    writer.finish().unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let split = |name| dataset.split(name).unwrap();
    (folder, split("train"), split("valid"))
}

/// Draws all items alike. What it draws depends on every positive it is given, so that it shows if
/// one is missing.
struct Uniform(Vec<i64>);

impl Sampler for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        _: BatchPlace,
    ) -> Result<Samples, PluginFault> {
        let all = positives.iter().fold(0, |all: u64, id| all.wrapping_mul(31) ^ *id as u64);
        let mut stream = Stream::new(seed, &[all]);
        let items = self.0.len();
        let total = positives.len() * count;
        let ids = (0..total).map(|_| self.0[stream.below(items as u64) as usize]).collect();
        Ok(Samples { ids, log_probabilities: vec![-(items as f32).ln(); total] })
    }
}

fn negatives(split: &Split) -> Negatives {
    let items = Arc::new(split.item_statistics("item", None).unwrap());
    let sampler = Arc::new(Uniform(items.ids.clone()));
    Negatives {
        item_columns: ["title", "shop", "words", "scores"].map(str::to_owned).to_vec(),
        seed: 5,
        log_q: Some("log_q".to_owned()),
        group: Some("group".to_owned()),
        ..Negatives::new(sampler, items, ("item", Some("label")), K)
    }
}

fn options(split: &Split) -> LoaderOptions {
    let shuffle = Shuffle::Block { block_rows: 16, window_blocks: 8 };
    LoaderOptions {
        order: OrderOptions { seed: 3, shuffle },
        negatives: Some(negatives(split)),
        epochs: Some(2),
        ..LoaderOptions::new(BATCH)
    }
}

fn read(split: &Split, options: LoaderOptions) -> Vec<Batch> {
    Loader::start(split, options).unwrap().map(Result::unwrap).collect()
}

fn ids(column: &Column) -> &[i64] {
    let Column::I64 { values, .. } = column else { panic!("ids") };
    values
}

/// The batch that must come of the rows with these numbers in `split`, given what was drawn: made
/// row by row.
fn expected(split: &Split, numbers: &[u64], drawn: &[i64], items: &ItemStatistics) -> Vec<Column> {
    let all: Vec<usize> = (0..7).collect();
    let mut made: Vec<Column> = schema().columns().iter().map(|c| column::empty(c.kind)).collect();
    for (at, number) in numbers.iter().enumerate() {
        let row = split.gather(&[*number], &all).unwrap();
        made.iter_mut().zip(&row).for_each(|(made, row)| column::append_rows(made, row, 0..1));
        for item in &drawn[at * K..(at + 1) * K] {
            let last = items.last_rows[items.ids.binary_search(item).unwrap()];
            let other = split.gather(&[last], &all).unwrap();
            let mut copy = row.clone();
            for described in [3, 4, 6] {
                copy[described] = other[described].clone();
            }
            let values = vec![ids(&row[1])[0], *item, ids(&other[1])[2]];
            copy[0] = Column::F32 { width: 1, values: vec![0.0] };
            copy[1] = Column::I64 { width: 3, values };
            made.iter_mut().zip(&copy).for_each(|(made, row)| column::append_rows(made, row, 0..1));
        }
    }
    made
}

#[test]
fn each_row_is_followed_by_its_negatives() {
    let (_folder, split, _) = splits(|_| ());
    let items = split.item_statistics("item", None).unwrap();
    let batches = read(&split, options(&split));
    let counts: Vec<usize> = batches.iter().map(|batch| batch.rows_global).collect();
    assert_eq!(counts, [2_400, 2_400, 400, 2_400, 2_400, 400]);
    for batch in &batches {
        let rows = batch.rows / (1 + K);
        let values = ids(&batch.columns[1]);
        let numbers: Vec<u64> = (0..rows).map(|row| values[row * (1 + K) * 3] as u64).collect();
        let drawn: Vec<i64> = (0..batch.rows)
            .filter(|row| row % (1 + K) > 0)
            .map(|row| values[row * 3 + 1])
            .collect();
        let distinct: std::collections::BTreeSet<i64> = drawn.iter().copied().collect();
        assert_eq!(distinct.len(), items.ids.len(), "all items are drawn");
        assert_eq!(batch.columns[..7], expected(&split, &numbers, &drawn, &items));
        let log_q = (0..batch.rows).map(|row| if row % 4 == 0 { 0.0 } else { -(40_f32.ln()) });
        assert_eq!(batch.columns[7], Column::F32 { width: 1, values: log_q.collect() });
        let group = (0..batch.rows).map(|row| row as i64 / 4).collect();
        assert_eq!(batch.columns[8], Column::I64 { width: 1, values: group });
    }
    let drawn = |batch: &Batch| ids(&batch.columns[1]).to_vec();
    assert_ne!(drawn(&batches[0])[..60], drawn(&batches[3])[..60], "epochs differ");
}

#[test]
fn nothing_came_of_what_was_not_chosen() {
    let (_folder, split, _) = splits(|_| ());
    let plain = read(&split, options(&split));
    let mut options = options(&split);
    let negatives = options.negatives.as_mut().unwrap();
    (negatives.outcomes, negatives.label) = (vec!["label".to_owned()], None);
    for (batch, plain) in read(&split, options.clone()).iter().zip(&plain) {
        let Column::F32 { values, .. } = &batch.columns[0] else { panic!("floats") };
        let read = |row: usize| row.is_multiple_of(1 + K);
        let right =
            |(row, value): (usize, &f32)| if read(row) { *value == 1.0 } else { value.is_nan() };
        assert!(values.iter().enumerate().all(right));
        assert_eq!(batch.columns[1..], plain.columns[1..]);
    }
    options.negatives.as_mut().unwrap().outcomes = vec!["item".to_owned()];
    let Err(error) = Loader::start(&split, options) else { panic!("ids have no NaN") };
    assert!(error.to_string().contains("`outcomes`"), "{error}");
}

#[test]
fn every_number_of_ranks_and_threads_draws_the_same() {
    let (_folder, split, _) = splits(|_| ());
    let options = options(&split);
    let whole = read(&split, options.clone());
    // Of 130 ranks some have no row of the last batch.
    for (ranks, threads) in [(1, 3), (2, 1), (3, 0), (7, 2), (130, 0)] {
        let per_rank: Vec<Vec<Batch>> = (0..ranks)
            .map(|rank| read(&split, LoaderOptions { rank, ranks, threads, ..options.clone() }))
            .collect();
        for (number, whole) in whole.iter().enumerate() {
            let mut joined: Vec<Column> =
                whole.columns.iter().map(|column| column::empty(column.kind())).collect();
            let mut rows = 0;
            for batches in &per_rank {
                let part = &batches[number];
                assert_eq!((part.row_first, part.rows_global), (rows, whole.rows_global));
                rows += part.rows;
                for (joined, part) in joined.iter_mut().zip(&part.columns) {
                    column::append_rows(joined, part, 0..part.rows());
                }
            }
            assert_eq!(joined, whole.columns, "{ranks} ranks, batch {number}");
        }
    }
}

#[test]
fn recycling_and_resuming_change_nothing() {
    let (_folder, split, _) = splits(|_| ());
    let whole = read(&split, options(&split));
    let mut loader = Loader::start(&split, options(&split)).unwrap();
    for wanted in &whole {
        let batch = loader.next().unwrap().unwrap();
        assert_eq!(batch, *wanted);
        loader.recycle(batch);
    }
    let start = Some(ReaderState::new(3, BATCH as u64).after(&whole[1]));
    assert_eq!(read(&split, LoaderOptions { start, ..options(&split) }), whole[2..]);
    let mut other = options(&split);
    other.negatives.as_mut().unwrap().seed = 6;
    assert_ne!(read(&split, other)[0], whole[0], "another seed");
}

#[test]
fn items_of_another_split_are_described_by_its_rows() {
    let (_folder, train, valid) = splits(|_| ());
    let mut options = LoaderOptions { batch_size: 10, ..options(&train) };
    options.negatives.as_mut().unwrap().items_from = Some(train.clone());
    let batch = Loader::start(&valid, options).unwrap().next().unwrap().unwrap();
    for row in ids(&batch.columns[1]).chunks(3).skip(1).step_by(4) {
        let last = (-2 - row[2]) as usize;
        assert!(last < ROWS, "the shop of row {last}");
        assert_eq!(row[1], 100 + (last * 7 % 40) as i64, "the row of the drawn item");
    }
}

#[test]
fn the_chain_sees_added_rows_and_columns() {
    let (_folder, split, _) = splits(|_| ());
    let options = options(&split);
    let names = |schema: &Schema| {
        schema.columns().iter().map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    let schema = options.schema(&split).unwrap();
    assert_eq!(names(&schema)[7..], ["log_q", "group"]);
    let mut chain = FeatureChain::new(&schema);
    let clip = ChainOp::Clip { min: -1.0, max: 0.0 }.transform(&NoPlugins).unwrap();
    chain.push(&["log_q".to_owned()], clip).unwrap();
    let chain = Some(Arc::new(chain));
    let batch = read(&split, LoaderOptions { chain: chain.clone(), ..options }).swap_remove(0);
    let Column::F32 { values, .. } = &batch.columns[7] else { panic!("floats") };
    assert_eq!((values.len(), &values[..5]), (2_400, &[0.0, -1.0, -1.0, -1.0, 0.0][..]));
    let without = LoaderOptions { negatives: None, chain, ..self::options(&split) };
    let refused = Loader::start(&split, without);
    assert!(matches!(refused, Err(DataError::Option { option: "chain", .. })));
}

#[test]
fn rows_that_chose_nothing_are_errors() {
    let error = |edit: fn(&mut Vec<Column>)| {
        let (_folder, split, _) = splits(edit);
        let order = OrderOptions { seed: 3, shuffle: Shuffle::None };
        let options = LoaderOptions { order, rank: 1, ranks: 2, ..options(&split) };
        let read = Loader::start(&split, options).unwrap().find_map(Result::err).unwrap();
        assert!(read.hint().is_some());
        read.to_string()
    };
    let label = error(|columns| {
        let Column::F32 { values, .. } = &mut columns[0] else { panic!("labels") };
        values[BATCH + 310] = 0.0;
    });
    let place = "epoch 0, step 1, row 310 of the batch";
    assert_eq!(label, format!("{place}: column `label`: expected label 1, found 0"));
    let item = error(|columns| {
        let Column::I64 { values, .. } = &mut columns[1] else { panic!("ids") };
        values[(BATCH + 310) * 3 + 1] = rectool_base::MISSING_ID;
    });
    assert_eq!(item, format!("{place}: column `item`: expected an item, found a missing id"));
}

/// Returns what it is told to, or fails.
struct Liar(Result<Samples, &'static str>);

impl Sampler for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn sample(
        &self,
        _: &[i64],
        _: usize,
        _: u64,
        place: BatchPlace,
    ) -> Result<Samples, PluginFault> {
        self.0.clone().map_err(|message| PluginFault {
            kind: "sampler",
            plugin: "liar 1.0.0".to_owned(),
            place: Some(place),
            message: message.to_owned(),
            hint: None,
        })
    }
}

#[test]
fn samplers_that_break_their_word_are_errors() {
    let (_folder, split, _) = splits(|_| ());
    let error = |lie| {
        let order = OrderOptions { seed: 3, shuffle: Shuffle::None };
        let mut options = LoaderOptions { order, rank: 1, ranks: 3, ..options(&split) };
        options.negatives.as_mut().unwrap().sampler = Arc::new(Liar(lie));
        Loader::start(&split, options).unwrap().next().unwrap().unwrap_err()
    };
    // Rank 1 begins with row 200: in block 0.
    let place = "epoch 0, step 0, rows 0 to 256";
    let samples = |ids: Vec<i64>, log: f32| {
        let log_probabilities = vec![log; ids.len()];
        Ok(Samples { ids, log_probabilities })
    };
    let cases = [
        (samples(vec![100; 767], -1.0), "ids: expected 768, found 767"),
        (samples(vec![7; 768], -1.0), "id: expected one of the 40 items, found 7"),
        (
            samples(vec![100; 768], f32::NAN),
            "log-probability: expected a logarithm of a probability, found NaN",
        ),
    ];
    for (lie, text) in cases {
        let found = error(lie).to_string();
        assert!(found.starts_with("sampler `liar` (epoch 0, step 0, rows"), "{found}");
        assert!(found.ends_with(text), "{found}");
    }
    let fault = error(Err("trapped"));
    assert!(matches!(fault, DataError::Transform(TransformError::Plugin(_))), "{fault}");
    assert_eq!(fault.to_string(), format!("sampler plugin `liar 1.0.0` ({place}): trapped"));
}

#[test]
fn wrong_options_are_refused() {
    let (_folder, split, _) = splits(|_| ());
    let refused = |edit: fn(&mut LoaderOptions, &mut Negatives)| {
        let mut options = options(&split);
        let mut negatives = options.negatives.take().unwrap();
        edit(&mut options, &mut negatives);
        options.negatives = Some(negatives);
        Loader::start(&split, options).map(drop).unwrap_err()
    };
    let error = refused(|_, negatives| negatives.item = "itme".to_owned());
    assert_eq!(error.hint().as_deref(), Some("did you mean `item`?"));
    assert!(matches!(
        refused(|_, negatives| negatives.group = Some("price".to_owned())),
        DataError::Schema(_)
    ));
    assert!(matches!(refused(|options, _| options.columns = vec![1, 2, 3]), DataError::Schema(_)));
    for (wrong, option) in [
        (refused(|_, negatives| negatives.item = "ids".to_owned()), "item"),
        (refused(|_, negatives| negatives.item = "price".to_owned()), "item"),
        (refused(|_, negatives| negatives.label = Some("user".to_owned())), "label"),
        (refused(|_, negatives| negatives.per_row = 0), "per_row"),
        (refused(|_, negatives| negatives.per_row = 1 << 20), "per_row"),
    ] {
        let found = matches!(&wrong, DataError::Option { option: found, .. } if *found == option);
        assert!(found, "{option}: {wrong}");
    }
}
