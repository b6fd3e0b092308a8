//! Whole plugins, good and hostile.

mod builtin;
mod cached;
mod guest;
mod hostile;
mod loading;
mod losses;
mod measured;
mod mutated;
mod parameters;
mod samplers;
mod transform;

use rectool_base::{BatchPlace, Column, ColumnKind, ColumnSchema};

use crate::{Host, HostOptions};

const DOUBLE: &str = include_str!("double.wat");

fn host() -> Host {
    Host::new(HostOptions::default()).unwrap()
}

fn place(rows: usize) -> BatchPlace {
    BatchPlace { epoch: 1, step: 2, row_first: 100, rows }
}

fn floats(name: &str, width: usize, values: &[f32]) -> (ColumnSchema, Column) {
    let schema = ColumnSchema::plain(name, ColumnKind::F32 { width });
    (schema, Column::F32 { width, values: values.to_vec() })
}
