use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, Texts};

use super::*;
use crate::{Kind, Parameters};

#[test]
fn a_transform_in_text_works() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    assert_eq!((plugin.kind(), plugin.title()), (Kind::Transform, "double 1.0.0"));
    assert_eq!(plugin.description().summary, "Doubles every float");
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let (schema, column) = floats("dense", 2, &[1.0, 2.0, -3.0, f32::MAX]);
    let schemas = [schema];
    assert_eq!(transform.outputs(&schemas).unwrap(), schemas);
    let out = transform.apply(&schemas, vec![column], place(2)).unwrap();
    assert_eq!(out, [floats("dense", 2, &[2.0, 4.0, -6.0, f32::INFINITY]).1]);
}

#[test]
fn every_type_of_column_comes_back() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let texts: Texts = [Some("ä"), None, Some(""), Some("run")].into_iter().collect();
    let columns = vec![
        Column::I64 { width: 1, values: vec![-1, i64::MAX] },
        Column::Text { width: 2, values: texts.clone() },
        Column::F32List(Jagged { offsets: vec![0, 3, 3], values: vec![1.0, 2.0, 3.0] }),
        Column::I64List(Jagged { offsets: vec![0, 0, 1], values: vec![7] }),
        Column::TextList { offsets: vec![0, 4, 4], values: texts },
    ];
    let named =
        |(at, column): (usize, &Column)| ColumnSchema::plain(&at.to_string(), column.kind());
    let schemas: Vec<ColumnSchema> = columns.iter().enumerate().map(named).collect();
    assert_eq!(transform.outputs(&schemas).unwrap(), schemas);
    assert_eq!(transform.apply(&schemas, columns.clone(), place(2)).unwrap(), columns);
}

#[test]
fn packed_columns_keep_their_members() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let members = vec!["I1".to_owned(), "I2".to_owned()];
    let schemas = [ColumnSchema::packed("dense", ColumnKind::F32 { width: 2 }, members)];
    assert_eq!(transform.outputs(&schemas).unwrap(), schemas);
}

#[test]
fn no_rows_and_many_rows() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    for rows in [0, 1, 300_000] {
        let values: Vec<f32> = (0..rows * 3).map(|at| at as f32).collect();
        let (schema, column) = floats("dense", 3, &values);
        let out = transform.apply(&[schema], vec![column], place(rows)).unwrap();
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(out, [floats("dense", 3, &doubled).1]);
    }
}

#[test]
fn threads_share_a_transform() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let transform = &transform;
            scope.spawn(move || {
                for step in 0..50 {
                    let value = (thread * 100 + step) as f32;
                    let (schema, column) = floats("dense", 1, &[value; 64]);
                    let out = transform.apply(&[schema], vec![column], place(64)).unwrap();
                    assert_eq!(out, [floats("dense", 1, &[value * 2.0; 64]).1]);
                }
            });
        }
    });
}

#[test]
fn results_know_one_nan() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let transform = plugin.transform(&Parameters::new()).unwrap();
    let odd = [f32::from_bits(0xffc0_0001), f32::from_bits(0x7f80_0123), 1.0];
    let (schema, column) = floats("dense", 1, &odd);
    let out = transform.apply(&[schema], vec![column], place(3)).unwrap();
    let Column::F32 { values, .. } = &out[0] else { panic!("{out:?}") };
    let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [0x7fc0_0000, 0x7fc0_0000, 2.0_f32.to_bits()]);
}
