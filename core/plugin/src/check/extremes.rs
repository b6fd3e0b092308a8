//! Columns full of what real data holds sooner or later.

use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, MISSING_ID, Texts};

use crate::cases::Columns;

const FLOATS: [f32; 10] = [
    0.0,
    -0.0,
    1e-45,
    f32::MIN_POSITIVE,
    -1.0,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];
const IDS: [i64; 6] = [0, -2, i64::MIN, i64::MAX, 1 << 53, MISSING_ID];

fn texts() -> Vec<Option<String>> {
    let plain = ["", "\0", "𝄞 clef", "\u{202e}mirrored", "e\u{301}", "  ", "-1", "1e400"];
    let long = ["x".repeat(10_000), " ".repeat(1_000)];
    let plain = plain.map(str::to_owned).into_iter();
    plain.chain(long).map(Some).chain([None]).collect()
}

/// Every value of every column missing; every list with missing members only.
pub(super) fn missing(schemas: &[ColumnSchema]) -> Columns {
    filled(schemas, &[f32::NAN], &[MISSING_ID], &[None])
}

/// The ends of every type's range, one after the other, and long lists of all of them.
pub(super) fn extreme(schemas: &[ColumnSchema]) -> Columns {
    filled(schemas, &FLOATS, &IDS, &texts())
}

/// Three rows whose lists are empty; `None` if no column holds lists.
pub(super) fn empty_lists(schemas: &[ColumnSchema]) -> Option<Columns> {
    schemas.iter().any(|schema| schema.width().is_none()).then(|| {
        let mut columns = filled(schemas, &[1.0], &[1], &[Some("a".to_owned())]);
        for column in &mut columns.columns {
            let offsets = vec![0; column.rows() + 1];
            match column {
                Column::F32List(lists) => *lists = Jagged { offsets, values: Vec::new() },
                Column::I64List(lists) => *lists = Jagged { offsets, values: Vec::new() },
                Column::TextList { offsets: old, values } => {
                    (*old, *values) = (offsets, Texts::new());
                }
                _ => {}
            }
        }
        columns
    })
}

fn filled(
    schemas: &[ColumnSchema],
    floats: &[f32],
    ids: &[i64],
    texts: &[Option<String>],
) -> Columns {
    let rows = floats.len().max(ids.len()).max(texts.len()).max(3);
    let column = |schema: &ColumnSchema| match schema.kind {
        ColumnKind::F32 { width } => Column::F32 { width, values: cycled(floats, rows, width) },
        ColumnKind::I64 { width } => Column::I64 { width, values: cycled(ids, rows, width) },
        ColumnKind::Text { width } => {
            let values = cycled(texts, rows, width);
            Column::Text { width, values: values.iter().map(Option::as_deref).collect() }
        }
        ColumnKind::F32List => Column::F32List(lists(floats, rows)),
        ColumnKind::I64List => Column::I64List(lists(ids, rows)),
        ColumnKind::TextList => {
            let Jagged { offsets, values } = lists(texts, rows);
            let values = values.iter().map(Option::as_deref).collect();
            Column::TextList { offsets, values }
        }
        kind => unreachable!("cases hold no columns of type {kind}"),
    };
    Columns { schemas: schemas.to_vec(), columns: schemas.iter().map(column).collect() }
}

/// Each value fills a row.
fn cycled<T: Clone>(values: &[T], rows: usize, width: usize) -> Vec<T> {
    let rows = (0..rows).map(|row| &values[row % values.len()]);
    rows.flat_map(|value| std::iter::repeat_n(value.clone(), width)).collect()
}

/// The first row holds all values ten times, the second none, the others one each.
fn lists<T: Clone>(values: &[T], rows: usize) -> Jagged<T> {
    let mut lists = Jagged::new();
    for row in 0..rows {
        match row {
            0 => (0..10).for_each(|_| lists.values.extend_from_slice(values)),
            1 => {}
            row => lists.values.push(values[row % values.len()].clone()),
        }
        lists.offsets.push(lists.values.len() as u32);
    }
    lists
}
