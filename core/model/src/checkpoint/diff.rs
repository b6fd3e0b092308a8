//! Where two checkpoints differ in what they hold, however they are cut into parts.

use std::cmp::Ordering;

use rectool_embedding::{IndexKind, Rows, bucket};
use serde::Serialize;

use super::chain::{Chain, index_of};
use super::manifest::{DENSE_FILE, TableEntry};
use super::part_read::f32_of;
use super::table_rows::TableRows;
use super::{dense, misfit};
use crate::ModelError;

/// Rows compared at a time.
const ROWS_AT_ONCE: usize = 1 << 12;

/// How one checkpoint, A, differs from another, B. How they are cut into parts and deltas does not
/// count.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckpointDiff {
    /// Whether there is no difference.
    pub equal: bool,
    /// Each part of the manifest that differs, with both values as JSON.
    pub manifest: Vec<ManifestDiff>,
    /// Dense tensors that differ.
    pub dense: Vec<TensorDiff>,
    /// Every table of either.
    pub tables: Vec<TableDiff>,
}

/// A part of the manifest that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ManifestDiff {
    /// Its name.
    pub what: String,
    /// Its value in A.
    pub a: serde_json::Value,
    /// Its value in B.
    pub b: serde_json::Value,
}

/// A dense tensor that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorDiff {
    /// Its name.
    pub name: String,
    /// Type and shape in A, if it is there.
    pub a: Option<String>,
    /// Type and shape in B, if it is there.
    pub b: Option<String>,
    /// Values that differ, if the shapes do not.
    pub values_changed: u64,
    /// The greatest difference; `None` if one of two values is no number.
    pub difference_max: Option<f64>,
}

/// What of a table differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableDiff {
    /// Its name.
    pub name: String,
    /// Width and state in A, if it is there.
    pub a: Option<[usize; 2]>,
    /// Width and state in B, if it is there.
    pub b: Option<[usize; 2]>,
    /// Rows that are the same in both.
    pub rows_equal: u64,
    /// Keys that only A has.
    pub rows_only_a: u64,
    /// Keys that only B has.
    pub rows_only_b: u64,
    /// Rows whose values differ.
    pub values_changed: u64,
    /// Rows whose optimizer state differs.
    pub state_changed: u64,
    /// Rows whose `last_seen` or `count` differs.
    pub dates_changed: u64,
    /// Whether what admission knows of keys differs.
    pub filter_changed: bool,
    /// The greatest difference of values, and its key; `None` if one of two values is no number.
    pub values_difference_max: Option<f64>,
    /// The key where it is.
    pub values_difference_key: Option<u64>,
    /// The greatest difference of state; `None` if one of two values is no number.
    pub state_difference_max: Option<f64>,
}

impl TableDiff {
    /// Whether the tables are the same.
    pub fn is_equal(&self) -> bool {
        let rows = self.rows_only_a + self.rows_only_b;
        let changed = self.values_changed + self.state_changed + self.dates_changed;
        self.a == self.b && rows + changed == 0 && !self.filter_changed
    }
}

impl Chain {
    /// Compares all that two checkpoints hold, in bounded memory.
    ///
    /// # Errors
    /// If a file of either is damaged, or a table orders its rows in another way in B.
    pub fn diff(&self, b: &Self) -> Result<CheckpointDiff, ModelError> {
        self.verify()?;
        b.verify()?;
        let mut diff = CheckpointDiff {
            manifest: self.diff_manifest(b),
            dense: self.diff_dense(b)?,
            ..CheckpointDiff::default()
        };
        let entry = |chain: &Self, name: &str| {
            chain.head().manifest().tables.iter().find(|table| table.name == name).cloned()
        };
        let names = |chain: &Self| -> Vec<String> {
            chain.head().manifest().tables.iter().map(|table| table.name.clone()).collect()
        };
        let mut all = names(self);
        all.extend(names(b).into_iter().filter(|name| entry(self, name).is_none()));
        for name in all {
            let tables = (entry(self, &name), entry(b, &name));
            let filter_changed = self.joined_filter(&name)? != b.joined_filter(&name)?;
            let table = self.diff_table(b, name, tables)?;
            diff.tables.push(TableDiff { filter_changed, ..table });
        }
        let tables = diff.tables.iter().all(TableDiff::is_equal);
        diff.equal = diff.manifest.is_empty() && diff.dense.is_empty() && tables;
        Ok(diff)
    }

    fn diff_manifest(&self, b: &Self) -> Vec<ManifestDiff> {
        let parts = |chain: &Self| {
            let manifest = chain.head().manifest();
            let json = |value: Result<_, serde_json::Error>| value.expect("plain data");
            [
                ("model", json(serde_json::to_value(&manifest.model))),
                ("schema", json(serde_json::to_value(&manifest.schema))),
                ("state", json(serde_json::to_value(&manifest.state))),
                ("dense_optimizer_steps", manifest.dense_optimizer_steps.into()),
                ("table_steps", manifest.table_steps.into()),
                ("plugins", json(serde_json::to_value(&manifest.plugins))),
            ]
        };
        let both = parts(self).into_iter().zip(parts(b));
        let differing = both.filter(|((_, a), (_, b))| a != b);
        differing.map(|((what, a), (_, b))| ManifestDiff { what: what.to_owned(), a, b }).collect()
    }

    fn diff_dense(&self, b: &Self) -> Result<Vec<TensorDiff>, ModelError> {
        let read = |chain: &Self| {
            let path = chain.head().path().join(DENSE_FILE);
            let bytes = std::fs::read(&path).map_err(ModelError::io("reading", &path))?;
            Ok::<_, ModelError>((path, bytes))
        };
        let ((path_a, bytes_a), (path_b, bytes_b)) = (read(self)?, read(b)?);
        let (a, b) = (dense::parse(&path_a, &bytes_a)?, dense::parse(&path_b, &bytes_b)?);
        let mut names: Vec<&str> = a.names().into_iter().chain(b.names()).collect();
        names.sort_unstable();
        names.dedup();
        let mut differing = Vec::new();
        for name in names {
            let (a, b) = (a.tensor(name).ok(), b.tensor(name).ok());
            if a == b {
                continue;
            }
            let shape = |tensor: &safetensors::tensor::TensorView<'_>| {
                format!("{:?} {:?}", tensor.dtype(), tensor.shape())
            };
            let mut diff = TensorDiff {
                name: name.to_owned(),
                a: a.as_ref().map(shape),
                b: b.as_ref().map(shape),
                values_changed: 0,
                difference_max: Some(0.0),
            };
            if let (Some(a), Some(b)) = (a, b)
                && diff.a == diff.b
                && a.dtype() == safetensors::Dtype::F32
            {
                let floats =
                    |bytes: &[u8]| -> Vec<f32> { bytes.chunks_exact(4).map(f32_of).collect() };
                let mut gap = Gap::default();
                gap.add(&floats(a.data()), &floats(b.data()), 0);
                (diff.values_changed, diff.difference_max) = (gap.values, gap.greatest());
            }
            differing.push(diff);
        }
        Ok(differing)
    }

    fn diff_table(
        &self,
        b: &Self,
        name: String,
        (entry_a, entry_b): (Option<TableEntry>, Option<TableEntry>),
    ) -> Result<TableDiff, ModelError> {
        let shape =
            |entry: &Option<TableEntry>| entry.as_ref().map(|entry| [entry.dim, entry.state_width]);
        let (shape_a, shape_b) = (shape(&entry_a), shape(&entry_b));
        let mut diff = TableDiff { name, a: shape_a, b: shape_b, ..TableDiff::default() };
        let index = |chain: &Self, entry: &Option<TableEntry>| {
            entry.as_ref().map(|entry| index_of(chain.head(), &entry.name).cloned()).transpose()
        };
        let (index_a, index_b) = (index(self, &entry_a)?, index(b, &entry_b)?);
        if let (Some(a), Some(b_index)) = (&index_a, &index_b)
            && std::mem::discriminant(a) != std::mem::discriminant(b_index)
        {
            let what = format!("index of table `{}`", diff.name);
            let (found, expected) = (format!("{b_index:?}"), format!("{a:?}"));
            return Err(misfit(b.head().path(), &what, found, expected));
        }
        let rows = |chain: &Self, entry: &Option<TableEntry>| match entry {
            Some(entry) => Walk::new(chain.rows(entry, ROWS_AT_ONCE)?).map(Some),
            None => Ok(None),
        };
        let (mut a, mut b) = (rows(self, &entry_a)?, rows(b, &entry_b)?);
        let index = index_a.or(index_b).unwrap_or(IndexKind::Hash);
        let (mut values, mut state) = (Gap::default(), Gap::default());
        loop {
            let place = |walk: &Option<Walk>| {
                let key = walk.as_ref().and_then(Walk::key);
                key.map(|key| (bucket(&index, key), key))
            };
            let order = match (place(&a), place(&b)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.cmp(&b),
            };
            match (order, &mut a, &mut b) {
                (Ordering::Less, Some(a), _) => {
                    diff.rows_only_a += 1;
                    a.advance()?;
                }
                (Ordering::Greater, _, Some(b)) => {
                    diff.rows_only_b += 1;
                    b.advance()?;
                }
                (_, Some(a), Some(b)) => {
                    diff.compare((a, b), &mut values, &mut state);
                    a.advance()?;
                    b.advance()?;
                }
                _ => break,
            }
        }
        diff.values_difference_max = values.greatest();
        diff.values_difference_key = (diff.values_changed > 0).then_some(values.key);
        diff.state_difference_max = state.greatest();
        Ok(diff)
    }
}

impl TableDiff {
    /// Compares the rows of a key that both have.
    fn compare(&mut self, (a, b): (&Walk, &Walk), values: &mut Gap, state: &mut Gap) {
        let key = a.rows.keys[a.at];
        let (values_a, state_a) = a.floats(self.a.unwrap_or_default());
        let (values_b, state_b) = b.floats(self.b.unwrap_or_default());
        let values_differ = values.add(values_a, values_b, key);
        let state_differs = state.add(state_a, state_b, key);
        let dates_differ = a.dates() != b.dates();
        self.values_changed += u64::from(values_differ);
        self.state_changed += u64::from(state_differs);
        self.dates_changed += u64::from(dates_differ);
        self.rows_equal += u64::from(!(values_differ || state_differs || dates_differ));
    }
}

/// The rows of a table, one at a time.
struct Walk {
    stream: TableRows,
    rows: Rows,
    at: usize,
}

impl Walk {
    fn new(stream: TableRows) -> Result<Self, ModelError> {
        let mut walk = Self { stream, rows: Rows::default(), at: 0 };
        walk.refill()?;
        Ok(walk)
    }

    fn refill(&mut self) -> Result<(), ModelError> {
        if self.at == self.rows.keys.len() {
            self.rows = self.stream.next().transpose()?.unwrap_or_default();
            self.at = 0;
        }
        Ok(())
    }

    /// The key of the row it stands at; `None` behind the last.
    fn key(&self) -> Option<u64> {
        self.rows.keys.get(self.at).copied()
    }

    fn advance(&mut self) -> Result<(), ModelError> {
        self.at += 1;
        self.refill()
    }

    fn floats(&self, [dim, state]: [usize; 2]) -> (&[f32], &[f32]) {
        (&self.rows.values[self.at * dim..][..dim], &self.rows.state[self.at * state..][..state])
    }

    fn dates(&self) -> (u32, u32) {
        (self.rows.last_seen[self.at], self.rows.counts[self.at])
    }
}

/// The greatest difference so far.
#[derive(Default)]
struct Gap {
    max: f64,
    key: u64,
    values: u64,
}

impl Gap {
    /// Compares floats bit by bit; slices of different lengths differ. True if anything does.
    fn add(&mut self, a: &[f32], b: &[f32], key: u64) -> bool {
        let before = self.values;
        for (a, b) in a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()) {
            self.values += 1;
            let gap = (f64::from(*a) - f64::from(*b)).abs();
            let gap = if gap.is_nan() { f64::INFINITY } else { gap };
            if gap > self.max || self.values == 1 {
                (self.max, self.key) = (gap, key);
            }
        }
        self.values > before || a.len() != b.len()
    }

    fn greatest(&self) -> Option<f64> {
        self.max.is_finite().then_some(self.max)
    }
}
