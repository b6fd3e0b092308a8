//! Joined columns beside what a reader of the definition would write down.

use rectool_base::{
    BatchPlace, Hint, ItemStatistics, MISSING_ID, PluginFault, Sampler, Samples, Stream,
};
use tempfile::TempDir;

use super::*;
use crate::{
    DatasetWriter, Loader, LoaderOptions, Negatives, Split, WriterOptions, column, fixture,
};

/// Writes a dataset with the split `train` in shards of 7 rows.
fn write(folder: &TempDir, name: &str, schema: Vec<ColumnSchema>, columns: Vec<Column>) -> Dataset {
    let path = folder.path().join(name);
    let options = WriterOptions { shard_rows: 7, ..WriterOptions::default() };
    let schema = Schema::new(schema).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, options).unwrap();
    writer.write("train", columns).unwrap();
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

fn id(name: &str) -> ColumnSchema {
    ColumnSchema::plain(name, ColumnKind::I64 { width: 1 })
}

fn ids(values: Vec<i64>) -> Column {
    Column::I64 { width: 1, values }
}

/// A table whose row r has key `keys[r]` and in its other columns what the fixture says of r.
fn table(folder: &TempDir, name: &str, keys: Vec<i64>) -> Dataset {
    let rows: Vec<u64> = (0..keys.len() as u64).collect();
    let schema = [&[id("item")], fixture::schema().columns()].concat();
    write(folder, name, schema, [vec![ids(keys)], fixture::expected(&rows)].concat())
}

/// Rows of users and items, packed, and a plain label.
fn clicks(folder: &TempDir, users: &[i64], items: &[i64]) -> Dataset {
    let members = vec!["user".to_owned(), "item".to_owned()];
    let schema = vec![
        ColumnSchema::packed("pair", ColumnKind::I64 { width: 2 }, members),
        ColumnSchema::plain("clicked", ColumnKind::F32 { width: 1 }),
    ];
    let pairs = users.iter().zip(items).flat_map(|(user, item)| [*user, *item]).collect();
    let clicked = Column::F32 { width: 1, values: vec![1.0; users.len()] };
    write(folder, "clicks", schema, vec![Column::I64 { width: 2, values: pairs }, clicked])
}

fn prefixed(prefix: &str) -> SideOptions {
    SideOptions { prefix: prefix.to_owned(), ..SideOptions::by("item") }
}

fn load(dataset: &Dataset, options: &SideOptions) -> Arc<SideTable> {
    Arc::new(SideTable::load(dataset, "train", options).unwrap())
}

/// What the fixture says of the rows `found`; what is missing of `None`.
fn wanted(found: &[Option<u64>]) -> Vec<Column> {
    let schema = fixture::schema();
    let empty = schema.columns().iter().map(|schema| column::empty(schema.kind));
    let mut all: Vec<Column> = empty.collect();
    for row in found {
        let more = match row {
            Some(row) => fixture::expected(&[*row]),
            None => schema.columns().iter().map(|schema| missing(schema.kind)).collect(),
        };
        all.iter_mut().zip(&more).for_each(|(all, more)| column::append_rows(all, more, 0..1));
    }
    all
}

fn missing(kind: ColumnKind) -> Column {
    let mut column = column::empty(kind);
    match &mut column {
        Column::F32 { width, values } => *values = vec![f32::NAN; *width],
        Column::I64 { width, values } => *values = vec![MISSING_ID; *width],
        Column::Text { width, values } => (0..*width).for_each(|_| values.push(None)),
        Column::F32List(jagged) => jagged.push_row(&[]),
        Column::I64List(jagged) => jagged.push_row(&[]),
        Column::TextList { offsets, .. } => offsets.push(0),
        other => panic!("{}", other.kind()),
    }
    column
}

/// Equal, also where numbers are NaN.
fn assert_same(found: &[Column], wanted: &[Column]) {
    assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
}

#[test]
fn every_kind_of_column_is_found_by_its_key() {
    // Close together, far apart, and at both ends of what there is.
    let spreads: [&dyn Fn(i64) -> i64; 3] =
        [&|row| 40 - row, &|row| row * 1_000_003 - 5_000_000, &|row| {
            if row == 0 { i64::MAX } else { i64::MIN + row }
        }];
    for key in spreads {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<i64> = (0..30).map(key).collect();
        let movies = load(&table(&folder, "movies", keys.clone()), &prefixed("m_"));
        let items = [keys[3], keys[29], -77, keys[3], MISSING_ID, keys[0], 41, keys[8], keys[9]];
        let users: Vec<i64> = (0..9).collect();
        let data = clicks(&folder, &users, &items).join(movies.clone()).unwrap();
        let names: Vec<&str> = data.schema().columns().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names[..4], ["pair", "clicked", "m_label", "m_dense"]);

        let split = data.split("train").unwrap();
        let rows = [8, 0, 1, 2, 3, 4, 5, 6, 7];
        let joined: Vec<usize> = (2..10).collect();
        let row = |row: &u64| keys.iter().position(|key| *key == items[*row as usize]);
        let found: Vec<Option<u64>> = rows.iter().map(|at| row(at).map(|row| row as u64)).collect();
        assert_same(&split.gather(&rows, &joined).unwrap(), &wanted(&found));
        assert_eq!(movies.lookups(), (9, found.iter().filter(|row| row.is_none()).count() as u64));
        // Columns come in the order they are asked for.
        let mixed = split.gather(&[7, 2], &[4, 1, 0]).unwrap();
        assert_eq!(mixed[1], Column::F32 { width: 1, values: vec![1.0; 2] });
        assert_eq!(mixed[2], Column::I64 { width: 2, values: vec![7, keys[8], 2, -77] });
        assert_same(&mixed[..1], &wanted(&[Some(8), None])[2..3]);
    }
}

#[test]
fn a_loader_reads_two_tables_as_if_they_were_written_out() {
    let folder = tempfile::tempdir().unwrap();
    let movies = load(&table(&folder, "movies", (0..20).collect()), &prefixed("m_"));
    let ages = write(
        &folder,
        "users",
        vec![id("uid"), id("age")],
        vec![ids((0..50).rev().collect()), ids((0..50).collect())],
    );
    let by_user = SideOptions {
        table_key: Some("uid".into()),
        absent: AbsentKey::Error,
        ..SideOptions::by("user")
    };
    let users: Vec<i64> = (0..200).map(|row| row * 7 % 50).collect();
    let items: Vec<i64> = (0..200).map(|row| row * 3 % 25).collect();
    let data = clicks(&folder, &users, &items).join(movies).unwrap();
    let data = data.join(load(&ages, &by_user)).unwrap();
    let split = data.split("train").unwrap();
    let place = |name: &str| data.schema().position(name).unwrap();
    let columns = vec![place("age"), place("m_title"), place("pair"), place("m_genres")];
    let options =
        |threads| LoaderOptions { threads, columns: columns.clone(), ..LoaderOptions::new(32) };
    let mut seen = 0;
    let here = Loader::start(&split, options(0)).unwrap();
    for (batch, same) in here.zip(Loader::start(&split, options(3)).unwrap()) {
        let batch = batch.unwrap();
        let [Column::I64 { values: ages, .. }, titles, Column::I64 { values: pairs, .. }, genres] =
            batch.columns.as_slice()
        else {
            panic!("{batch:?}")
        };
        assert!(ages.iter().zip(pairs.chunks(2)).all(|(age, pair)| *age == 49 - pair[0]));
        let rows: Vec<_> =
            pairs.chunks(2).map(|pair| (pair[1] < 20).then_some(pair[1] as u64)).collect();
        assert_same(std::slice::from_ref(titles), &wanted(&rows)[4..5]);
        assert_same(std::slice::from_ref(genres), &wanted(&rows)[3..4]);
        seen += batch.rows;
        assert_eq!(batch.columns, same.unwrap().columns);
    }
    assert_eq!(seen, 200);
}

#[test]
fn a_table_is_a_dataset_with_the_names_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let options = SideOptions {
        key: "film".into(),
        table_key: Some("item".into()),
        columns: vec!["genres".into(), "title".into()],
        prefix: "m_".into(),
        ..SideOptions::default()
    };
    let movies = load(&table(&folder, "movies", (100..130).collect()), &options);
    let split = movies.dataset().split("train").unwrap();
    let names: Vec<&str> = split.schema().columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["film", "m_genres", "m_title"]);
    let found = split.gather(&[29, 2], &[2, 0, 1]).unwrap();
    assert_eq!(found[1], ids(vec![129, 102]));
    let fixture = wanted(&[Some(29), Some(2)]);
    assert_eq!([&found[0], &found[2]], [&fixture[4], &fixture[3]]);
    assert_eq!(split.item_statistics("film", None).unwrap().ids.len(), 30);
    // Rows that the table does not have are an error here, the row that stands for them too.
    assert!(split.gather(&[30], &[0]).is_err());
    let statistics = movies.dataset().id_statistics("film").unwrap();
    assert_eq!((statistics.min, statistics.max), (vec![100], vec![129]));
}

#[test]
fn statistics_and_fingerprints_know_of_the_join() {
    let folder = tempfile::tempdir().unwrap();
    let movies = table(&folder, "movies", (0..9).collect());
    let clicks = clicks(&folder, &[1, 2], &[3, 4]);
    let joined = clicks.join(load(&movies, &prefixed("m_"))).unwrap();
    let ids_of = |dataset: &Dataset, name| dataset.id_statistics(name).unwrap();
    assert_eq!(ids_of(&joined, "pair").max, [2, 4]);
    assert_eq!(
        (ids_of(&joined, "m_ids").max, ids_of(&joined, "m_ids").missing),
        (vec![8, -2], vec![1, 1])
    );
    assert_eq!(ids_of(&joined, "m_genres").missing, [0]);
    assert_eq!(joined.id_statistics("clicked"), None);
    let strict = SideOptions { absent: AbsentKey::Error, ..prefixed("m_") };
    let strict = clicks.join(load(&movies, &strict)).unwrap();
    assert_eq!(ids_of(&strict, "m_ids").missing, [0, 0]);
    assert_ne!(joined.fingerprint(), clicks.fingerprint());
    assert_eq!(joined.fingerprint(), strict.fingerprint());
    assert!(joined.verify(1, |_| ()).is_empty());
    assert_eq!(joined.side_tables().map(|table| table.key()).collect::<Vec<_>>(), ["item"]);
    let error = joined.split("train").unwrap().item_statistics("item", Some("m_label"));
    assert!(error.unwrap_err().to_string().contains("joined"));
}

#[test]
fn what_cannot_be_joined_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let twice = table(&folder, "twice", vec![4, 5, 6, 7, 8, 9, 1, 2, 3, 5]);
    let error = SideTable::load(&twice, "train", &SideOptions::by("item")).unwrap_err();
    assert!(error.to_string().ends_with("column `item`: key 5 in rows 1 and 9, expected it once"));
    assert!(error.hint().is_some());
    let far = table(&folder, "far", vec![0, i64::MAX, i64::MIN, i64::MAX]);
    let error = SideTable::load(&far, "train", &SideOptions::by("item")).unwrap_err();
    assert!(error.to_string().contains("in rows 1 and 3"), "{error}");

    let movies = table(&folder, "movies", vec![1, 2]);
    let refused = |options: SideOptions| SideTable::load(&movies, "train", &options).unwrap_err();
    assert_eq!(refused(SideOptions::by("itm")).hint().as_deref(), Some("did you mean `item`?"));
    assert!(refused(SideOptions::by("ids")).to_string().contains("a plain column of ids"));
    let columns = SideOptions { columns: vec!["titel".into()], ..SideOptions::by("item") };
    assert_eq!(refused(columns).hint().as_deref(), Some("did you mean `title`?"));
    assert!(SideTable::load(&movies, "test", &SideOptions::by("item")).is_err());

    let data = clicks(&folder, &[1, 1], &[2, 3]);
    let other = SideOptions { table_key: Some("item".into()), ..SideOptions::by("itme") };
    let error = data.join(load(&movies, &other)).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `item`?"));
    let joined = data.join(load(&movies, &SideOptions::by("item"))).unwrap();
    let error = joined.join(load(&movies, &SideOptions::by("item"))).unwrap_err();
    assert_eq!(error.to_string(), "column `label` appears twice");

    let strict = SideOptions { absent: AbsentKey::Error, ..SideOptions::by("item") };
    let split = data.join(load(&movies, &strict)).unwrap().split("train").unwrap();
    assert!(split.gather(&[0], &[2]).is_ok() && split.gather(&[1], &[0]).is_ok());
    let error = split.gather(&[0, 1], &[0, 2]).unwrap_err().to_string();
    assert!(error.starts_with("split `train`, row 1: column `item`: expected a key of"), "{error}");
    assert!(error.ends_with("found 3"), "{error}");
}

#[test]
fn an_empty_table_has_nothing_for_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = r#"{"format": "rectool-dataset", "version": 1, "schema": [
        {"name": "item", "kind": "i64", "width": 1}, {"name": "price", "kind": "f32", "width": 2}],
        "splits": [{"name": "train", "rows": 0, "shards": []}]}"#;
    std::fs::write(folder.path().join("dataset.json"), manifest).unwrap();
    let empty = Dataset::open(folder.path()).unwrap();
    let data = clicks(&folder, &[1, 1], &[2, i64::MIN]);
    let split = data.join(load(&empty, &SideOptions::by("item"))).unwrap().split("train").unwrap();
    let found = split.gather(&[1, 0], &[2]).unwrap();
    assert_same(&found, &[Column::F32 { width: 2, values: vec![f32::NAN; 4] }]);
}

/// Draws one of three items.
struct Three;

impl Sampler for Three {
    fn name(&self) -> &'static str {
        "three"
    }

    fn sample(
        &self,
        positives: &[i64],
        per_row: usize,
        seed: u64,
        _: BatchPlace,
    ) -> Result<Samples, PluginFault> {
        let mut stream = Stream::new(seed, &[]);
        let count = positives.len() * per_row;
        Ok(Samples {
            ids: (0..count).map(|_| stream.below(3) as i64).collect(),
            log_probabilities: vec![0.0; count],
        })
    }
}

#[test]
fn a_drawn_item_brings_its_own_columns() {
    let folder = tempfile::tempdir().unwrap();
    let movies = load(&table(&folder, "movies", (0..20).collect()), &prefixed("m_"));
    let data = clicks(&folder, &[9, 8, 7, 6], &[0, 1, 2, 5]).join(movies).unwrap();
    let split: Split = data.split("train").unwrap();
    let items: ItemStatistics = split.item_statistics("item", None).unwrap();
    let negatives = Negatives::new(Arc::new(Three), Arc::new(items), ("item", Some("clicked")), 3);
    let options = LoaderOptions { negatives: Some(negatives), ..LoaderOptions::new(4) };
    let batch = Loader::start(&split, options).unwrap().next().unwrap().unwrap();
    let Column::I64 { values: pairs, .. } = &batch.columns[0] else { panic!("{batch:?}") };
    let rows: Vec<_> = pairs.chunks(2).map(|pair| Some(pair[1] as u64)).collect();
    assert!(rows.len() == 16 && rows.iter().any(|row| *row != rows[0]));
    assert_same(&batch.columns[2..], &wanted(&rows));
}
