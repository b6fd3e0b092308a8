use rectool_base::{ColumnKind, Hint, Jagged, MISSING_ID, NoPlugins, Texts};

use super::*;

fn schema() -> Schema {
    Schema::new(vec![
        ColumnSchema::packed("dense", ColumnKind::F32 { width: 2 }, vec!["I1".into(), "I2".into()]),
        ColumnSchema::plain("ids", ColumnKind::I64 { width: 1 }),
        ColumnSchema::plain("genres", ColumnKind::I64List),
    ])
    .unwrap()
}

fn columns(dense: &[f32], ids: &[i64], genres: &[&[i64]]) -> Vec<Column> {
    let mut jagged = Jagged::new();
    for row in genres {
        jagged.push_row(row);
    }
    vec![
        Column::F32 { width: 2, values: dense.to_vec() },
        Column::I64 { width: 1, values: ids.to_vec() },
        Column::I64List(jagged),
    ]
}

fn chain(steps: &[(&str, ChainOp)]) -> Result<FeatureChain, DataError> {
    let steps = steps.iter().map(|(column, op)| ChainStep::on(column, op.clone()));
    FeatureChain::build(&ChainSpec { steps: steps.collect() }, &schema(), &NoPlugins)
}

fn place(row_first: usize, rows: usize) -> BatchPlace {
    BatchPlace { row_first, rows, ..BatchPlace::default() }
}

fn dense_after(op: ChainOp, values: &[f32; 4]) -> Vec<f32> {
    let input = columns(values, &[0, 0], &[&[], &[]]);
    match chain(&[("dense", op)]).unwrap().apply(input, place(0, 2)).unwrap().swap_remove(0) {
        Column::F32 { values, .. } => values,
        other => panic!("{other:?}"),
    }
}

#[test]
fn float_steps_do_what_they_say() {
    let input = &[f32::NAN, -3.0, 0.0, std::f32::consts::E - 1.0];
    assert_eq!(dense_after(ChainOp::Impute { value: 7.0 }, input)[..3], [7.0, -3.0, 0.0]);
    let logs = dense_after(ChainOp::Log1p, input);
    assert!(logs[0].is_nan() && logs[1] == 0.0 && logs[2] == 0.0 && (logs[3] - 1.0).abs() < 1e-6);
    let clipped = dense_after(ChainOp::Clip { min: -1.0, max: 1.0 }, input);
    assert!(clipped[0].is_nan() && clipped[1..] == [-1.0, 0.0, 1.0]);
    let scaled = dense_after(ChainOp::Standardize { mean: 1.0, std: 2.0 }, input);
    assert!(scaled[0].is_nan() && scaled[1..3] == [-2.0, -0.5]);
}

#[test]
fn missing_value_is_refused_by_member_and_row() {
    let chain = chain(&[("dense", ChainOp::RejectMissing)]).unwrap();
    let good = columns(&[0.0; 4], &[0, 0], &[&[], &[]]);
    assert_eq!(chain.apply(good.clone(), place(0, 2)).unwrap(), good);
    let bad = columns(&[0.0, 0.0, 0.0, f32::NAN], &[0, 0], &[&[], &[]]);
    let error = chain.apply(bad, place(100, 2)).unwrap_err();
    let text = "`reject_missing`: column `I2`, row 101 of the batch: missing value (NaN)";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().is_some_and(|hint| hint.contains("impute")));
}

#[test]
fn modulo_has_an_extra_row_for_missing() {
    let op = ChainOp::Modulo { buckets: 10 };
    let chain = chain(&[("ids", op.clone()), ("genres", op)]).unwrap();
    let input = columns(&[0.0; 6], &[MISSING_ID, i64::MIN, 25], &[&[MISSING_ID], &[], &[3, 13]]);
    let expected = columns(&[0.0; 6], &[10, i64::MIN.rem_euclid(10), 5], &[&[10], &[], &[3, 3]]);
    assert_eq!(chain.apply(input, place(0, 3)).unwrap(), expected);
}

#[test]
fn truncate_keeps_the_end_asked_for() {
    for (keep, kept) in [(Keep::Last, [2, 3]), (Keep::First, [1, 2])] {
        let chain = chain(&[("genres", ChainOp::Truncate { max: 2, keep })]).unwrap();
        let input = columns(&[0.0; 6], &[0; 3], &[&[1, 2, 3], &[], &[9]]);
        let expected = columns(&[0.0; 6], &[0; 3], &[&kept, &[], &[9]]);
        assert_eq!(chain.apply(input, place(0, 3)).unwrap(), expected);
    }
}

#[test]
fn truncate_cuts_lists_of_floats_like_those_of_ids() {
    let schema = Schema::new(vec![ColumnSchema::plain("weights", ColumnKind::F32List)]).unwrap();
    let op = ChainOp::Truncate { max: 2, keep: Keep::Last };
    let spec = ChainSpec { steps: vec![ChainStep::on("weights", op)] };
    let chain = FeatureChain::build(&spec, &schema, &NoPlugins).unwrap();
    let lists = |offsets: &[u32], values: &[f32]| {
        vec![Column::F32List(Jagged { offsets: offsets.to_vec(), values: values.to_vec() })]
    };
    let found = chain.apply(lists(&[0, 3, 3, 4], &[0.5, 1.0, 2.0, 4.0]), place(0, 3)).unwrap();
    assert_eq!(found, lists(&[0, 2, 2, 3], &[1.0, 2.0, 4.0]));
}

#[test]
fn wrong_specs_are_refused() {
    let error = chain(&[("dens", ChainOp::Log1p)]).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `dense`?"));
    let wrong = [
        ("ids", ChainOp::Log1p),
        ("dense", ChainOp::Modulo { buckets: 3 }),
        ("ids", ChainOp::Truncate { max: 3, keep: Keep::First }),
        ("ids", ChainOp::Modulo { buckets: 0 }),
        ("ids", ChainOp::Modulo { buckets: u64::MAX }),
        ("genres", ChainOp::Truncate { max: 0, keep: Keep::First }),
        ("dense", ChainOp::Impute { value: f32::NAN }),
        ("dense", ChainOp::Clip { min: 1.0, max: 0.0 }),
        ("dense", ChainOp::Standardize { mean: 0.0, std: 0.0 }),
    ];
    for (column, op) in wrong {
        let built = chain(&[(column, op.clone())]);
        assert!(matches!(built, Err(DataError::Transform(_))), "{op:?}");
    }
}

#[test]
fn spec_survives_json_and_refuses_typos() {
    let spec = ChainSpec {
        steps: vec![ChainStep::on("genres", ChainOp::Truncate { max: 3, keep: Keep::First })],
    };
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(
        text,
        r#"{"steps":[{"inputs":["genres"],"op":{"kind":"truncate","max":3,"keep":"first"}}]}"#
    );
    assert_eq!(serde_json::from_str::<ChainSpec>(&text).unwrap(), spec);
    assert!(serde_json::from_str::<ChainSpec>(&text.replace("max", "maxx")).is_err());
}

/// Announces the given columns and returns them, or others.
struct Fixed {
    announced: Vec<ColumnSchema>,
    made: Vec<Column>,
}

impl Transform for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn outputs(&self, _: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(self.announced.clone())
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        _: Vec<Column>,
        _: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        Ok(self.made.clone())
    }
}

#[test]
fn transform_that_breaks_its_word_is_an_error() {
    let list = |offsets: &[u32]| {
        Column::I64List(Jagged { offsets: offsets.to_vec(), values: vec![1, 2, 3] })
    };
    let lies = [
        ("dense", Column::F32 { width: 2, values: vec![0.0; 3] }),
        ("dense", Column::F32 { width: 0, values: vec![] }),
        ("dense", Column::I64 { width: 2, values: vec![0; 4] }),
        ("ids", Column::I64 { width: 2, values: vec![0; 4] }),
        ("ids", Column::Text { width: 1, values: Texts::new() }),
        ("genres", list(&[0, 2])),
        ("genres", list(&[0, 2, 4])),
        ("genres", list(&[0, 5, 3])),
        ("genres", list(&[])),
    ];
    for (column, lie) in lies {
        let mut chain = FeatureChain::new(&schema());
        let announced = vec![schema().column(column).unwrap().clone()];
        let liar = Fixed { announced, made: vec![lie.clone()] };
        chain.push(&[column.to_owned()], Arc::new(liar)).unwrap();
        let made = chain.apply(columns(&[0.0; 4], &[0; 2], &[&[], &[]]), place(0, 2));
        assert!(matches!(made, Err(DataError::Output { .. })), "{lie:?}");
    }
}

#[test]
fn a_step_adds_columns_and_replaces_those_of_its_inputs() {
    let ids = Column::I64 { width: 1, values: vec![5, 6] };
    let cross = Column::I64 { width: 2, values: vec![1, 2, 3, 4] };
    let announced = vec![
        ColumnSchema::plain("cross", ColumnKind::I64 { width: 2 }),
        ColumnSchema::plain("ids", ColumnKind::I64 { width: 1 }),
    ];
    let step = Fixed { announced: announced.clone(), made: vec![cross.clone(), ids.clone()] };
    let mut chain = FeatureChain::new(&schema());
    chain.push(&["ids".to_owned(), "genres".to_owned()], Arc::new(step)).unwrap();
    let names: Vec<_> = chain.schema().columns().iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["dense", "ids", "genres", "cross"]);
    let given = columns(&[0.0; 4], &[0; 2], &[&[7], &[]]);
    let made = chain.apply(given.clone(), place(0, 2)).unwrap();
    assert_eq!(made, [given[0].clone(), ids, given[2].clone(), cross]);
    let short = Fixed { announced, made: vec![] };
    let mut chain = FeatureChain::new(&schema());
    chain.push(&["ids".to_owned()], Arc::new(short)).unwrap();
    let made = chain.apply(given, place(0, 2));
    assert!(matches!(made, Err(DataError::OutputCount { expected: 2, found: 0, .. })));
}

/// Returns its first column twice as large, and insists on what it was given.
struct Twice;

impl Transform for Twice {
    fn name(&self) -> &'static str {
        "twice"
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(inputs[..1].to_vec())
    }

    fn apply(
        &self,
        schemas: &[ColumnSchema],
        columns: Vec<Column>,
        _: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        for (schema, column) in schemas.iter().zip(&columns) {
            assert_eq!((schema.kind, column.rows()), (column.kind(), 2), "{}", schema.name);
        }
        let Column::I64 { width, values } = &columns[0] else { panic!("ids") };
        let values = values.iter().map(|id| 2 * id).collect();
        Ok(vec![Column::I64 { width: *width, values }])
    }
}

#[test]
fn a_column_may_be_given_twice_but_made_once() {
    let mut chain = FeatureChain::new(&schema());
    chain.push(&["ids".to_owned(), "ids".to_owned()], Arc::new(Twice)).unwrap();
    let given = columns(&[0.0; 4], &[5, 6], &[&[], &[]]);
    let made = chain.apply(given, place(0, 2)).unwrap();
    assert_eq!(made, columns(&[0.0; 4], &[10, 12], &[&[], &[]]));

    let ids = schema().column("ids").unwrap().clone();
    let added = ColumnSchema::plain("new", ColumnKind::I64List);
    for column in [ids, added] {
        let doubled = Fixed { announced: vec![column.clone(), column], made: vec![] };
        let refused = chain.push(&["ids".to_owned()], Arc::new(doubled));
        assert!(matches!(refused, Err(DataError::Schema(_))), "{refused:?}");
    }
}

#[test]
fn columns_that_no_step_names_stay_where_they_are() {
    let chain = chain(&[("ids", ChainOp::Modulo { buckets: 10 })]).unwrap();
    let given = columns(&[0.0; 4], &[5, 6], &[&[7], &[]]);
    let places = |columns: &[Column]| {
        let Column::F32 { values: dense, .. } = &columns[0] else { panic!("floats") };
        let Column::I64 { values: ids, .. } = &columns[1] else { panic!("ids") };
        let Column::I64List(genres) = &columns[2] else { panic!("lists") };
        (dense.as_ptr(), ids.as_ptr(), genres.values.as_ptr())
    };
    let before = places(&given);
    assert_eq!(places(&chain.apply(given, place(0, 2)).unwrap()), before, "no copies");
}
