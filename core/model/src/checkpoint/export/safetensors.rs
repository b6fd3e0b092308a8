//! Safetensors files: a tensor after the other, though rows come with a bit of each.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rectool_embedding::Rows;
use serde_json::{Map, Value, json};

use super::super::misfit;
use super::super::part::{Item, PartLayout};
use super::sync;
use crate::ModelError;

pub(super) struct Sink {
    path: PathBuf,
    layout: PartLayout,
    /// Rows still to come.
    rows: u64,
    /// One for each tensor, each at its place.
    tensors: Vec<BufWriter<File>>,
}

/// Type, shape and bytes of a column of `rows` rows.
fn tensor(item: Item, rows: u64) -> (&'static str, Vec<u64>, u64) {
    match item {
        Item::U64 => ("U64", vec![rows], rows * 8),
        Item::U32 => ("U32", vec![rows], rows * 4),
        Item::Floats(width) => ("F32", vec![rows, width as u64], rows * 4 * width as u64),
    }
}

/// Length and text of the header, and where each tensor starts in the file.
fn header(layout: PartLayout, rows: u64, table: &str) -> (Vec<u8>, Vec<u64>) {
    let mut header = Map::new();
    let metadata = json!({ "format": "rectool-table", "table": table });
    header.insert("__metadata__".to_owned(), metadata);
    let (mut at, mut starts) = (0, Vec::new());
    for (name, item) in layout.columns() {
        let (dtype, shape, bytes) = tensor(item, rows);
        let offsets = [at, at + bytes];
        let value = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.to_owned(), value);
        starts.push(at);
        at += bytes;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    // Tensors start at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    let body = bytes.len() as u64;
    (bytes, starts.into_iter().map(|start| body + start).collect())
}

impl Sink {
    pub(super) fn create(
        path: &Path,
        layout: PartLayout,
        rows: u64,
        table: &str,
    ) -> Result<Self, ModelError> {
        let (header, starts) = header(layout, rows, table);
        let open = || {
            File::create(path)?.write_all(&header)?;
            let tensor = |start: &u64| {
                let mut file = File::options().write(true).open(path)?;
                file.seek(SeekFrom::Start(*start))?;
                Ok(BufWriter::with_capacity(1 << 20, file))
            };
            starts.iter().map(tensor).collect::<std::io::Result<Vec<_>>>()
        };
        let tensors = open().map_err(ModelError::io("writing", path))?;
        Ok(Self { path: path.to_owned(), layout, rows, tensors })
    }
}

impl super::Sink for Sink {
    fn write(&mut self, rows: Rows) -> Result<(), ModelError> {
        let left = self.rows.checked_sub(rows.keys.len() as u64);
        let more = || misfit(&self.path, "rows", "more", "as many as were counted");
        self.rows = left.ok_or_else(more)?;
        for ((name, _), tensor) in self.layout.columns().iter().zip(&mut self.tensors) {
            let bytes: &[u8] = match *name {
                "key" => bytemuck::cast_slice(&rows.keys),
                "values" => bytemuck::cast_slice(&rows.values),
                "state" => bytemuck::cast_slice(&rows.state),
                "last_seen" => bytemuck::cast_slice(&rows.last_seen),
                _ => bytemuck::cast_slice(&rows.counts),
            };
            tensor.write_all(bytes).map_err(ModelError::io("writing", &self.path))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ModelError> {
        if self.rows > 0 {
            let found = format!("{} fewer", self.rows);
            return Err(misfit(&self.path, "rows", found, "as many as were counted"));
        }
        for mut tensor in self.tensors {
            tensor.flush().map_err(ModelError::io("writing", &self.path))?;
            sync(tensor.get_ref(), &self.path)?;
        }
        Ok(())
    }
}
