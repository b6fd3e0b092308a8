//! What admission knows of keys, as a safetensors file of each rank.

use std::borrow::Cow;
use std::path::Path;

use bytemuck::NoUninit;
use rectool_embedding::{BUCKETS, FilterState, RowCounts, SketchState};
use safetensors::{Dtype, SafeTensors, View};

use super::chain::Chain;
use super::{dense, misfit};
use crate::ModelError;

/// Start of the files' names.
const PREFIX: &str = "filter-";

/// Name of the file of a rank, below the checkpoint.
pub(super) fn name(table: &str, rank: usize) -> String {
    format!("tables/{table}/{PREFIX}{rank:05}.safetensors")
}

/// Little-endian numbers of one type.
struct Numbers<'a> {
    dtype: Dtype,
    count: usize,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Numbers<'a> {
    fn u64(numbers: &'a [u64]) -> Self {
        let bytes = bytes_of(numbers, u64::to_le_bytes);
        Self { dtype: Dtype::U64, count: numbers.len(), bytes }
    }

    fn u16(numbers: &'a [u16]) -> Self {
        let bytes = bytes_of(numbers, u16::to_le_bytes);
        Self { dtype: Dtype::U16, count: numbers.len(), bytes }
    }
}

/// The numbers as they lie in files, which is as they lie in the memory of most machines: sketches may be large.
fn bytes_of<T: NoUninit, const N: usize>(
    numbers: &[T],
    to_le_bytes: impl Fn(T) -> [u8; N],
) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(numbers));
    }
    numbers.iter().flat_map(|number| to_le_bytes(*number)).collect()
}

impl View for &Numbers<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        std::slice::from_ref(&self.count)
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The file's bytes; `None` if there is nothing to remember.
pub(super) fn serialize(state: &FilterState) -> Option<Vec<u8>> {
    if state.sketch.is_none() && state.counts == RowCounts::default() {
        return None;
    }
    let counts = &state.counts;
    let counts = [
        counts.admitted,
        counts.rejected,
        counts.saturated,
        counts.expired_by_age,
        counts.expired_by_use,
    ];
    let buckets = [u64::from(state.buckets.start), u64::from(state.buckets.end)];
    let mut tensors = vec![("buckets", Numbers::u64(&buckets)), ("counts", Numbers::u64(&counts))];
    if let Some(sketch) = &state.sketch {
        tensors.push(("generation", Numbers::u64(std::slice::from_ref(&sketch.generation))));
        tensors.push(("current", Numbers::u16(&sketch.current)));
        tensors.push(("past", Numbers::u16(&sketch.past)));
    }
    let tensors = tensors.iter().map(|(name, numbers)| (*name, numbers));
    Some(safetensors::serialize(tensors, None).expect("names and shapes are right by construction"))
}

/// Reads what [`serialize`] wrote.
fn read(path: &Path) -> Result<FilterState, ModelError> {
    let bytes = std::fs::read(path).map_err(ModelError::io("reading", path))?;
    let file = dense::parse(path, &bytes)?;
    let u64s = |name: &str, count: usize| -> Result<Vec<u64>, ModelError> {
        let bytes = tensor(path, &file, name, (Dtype::U64, Some(count)))?;
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        Ok(bytes.chunks_exact(8).map(number).collect())
    };
    let u16s = |name: &str| -> Result<Vec<u16>, ModelError> {
        let bytes = tensor(path, &file, name, (Dtype::U16, None))?;
        Ok(bytes.chunks_exact(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])).collect())
    };
    let (buckets, counts) = (u64s("buckets", 2)?, u64s("counts", 5)?);
    if buckets[0] > buckets[1] || buckets[1] > u64::from(BUCKETS) {
        let expected = format!("a range within {BUCKETS}");
        return Err(misfit(path, "`buckets`", format!("{buckets:?}"), expected));
    }
    let sketch = match file.tensor("generation") {
        Err(_) => None,
        Ok(_) => Some(SketchState {
            generation: u64s("generation", 1)?[0],
            current: u16s("current")?,
            past: u16s("past")?,
        }),
    };
    let counts = RowCounts {
        admitted: counts[0],
        rejected: counts[1],
        saturated: counts[2],
        expired_by_age: counts[3],
        expired_by_use: counts[4],
    };
    Ok(FilterState { buckets: buckets[0] as u32..buckets[1] as u32, counts, sketch })
}

/// The bytes of a list of numbers.
fn tensor<'a>(
    path: &Path,
    file: &SafeTensors<'a>,
    name: &str,
    (dtype, count): (Dtype, Option<usize>),
) -> Result<&'a [u8], ModelError> {
    let found = file.tensor(name).ok();
    let fits = found.as_ref().filter(|tensor| {
        let shape = tensor.shape();
        tensor.dtype() == dtype && shape.len() == 1 && count.is_none_or(|count| shape[0] == count)
    });
    fits.map(safetensors::tensor::TensorView::data).ok_or_else(|| {
        let found = found.map(|tensor| format!("{:?} {:?}", tensor.dtype(), tensor.shape()));
        let expected = format!("{dtype:?} [{}]", count.map_or("n".to_owned(), |n| n.to_string()));
        misfit(path, &format!("`{name}`"), found.unwrap_or("no such tensor".to_owned()), expected)
    })
}

impl Chain {
    /// Names of the files of a table below the last checkpoint.
    pub(super) fn filter_files(&self, table: &str) -> Vec<&str> {
        let start = format!("tables/{table}/{PREFIX}");
        let files = self.head().manifest().files.iter().map(|entry| entry.file.as_str());
        files.filter(|file| file.starts_with(&start)).collect()
    }

    /// What admission to a table knows, one rank's part at a time, since together they may be large.
    ///
    /// Checksums must have been compared before.
    pub(super) fn filters(
        &self,
        table: &str,
    ) -> impl Iterator<Item = Result<FilterState, ModelError>> {
        self.filter_files(table).into_iter().map(|file| read(&self.head().path().join(file)))
    }

    /// The same as one state, however many ranks wrote it.
    pub(super) fn joined_filter(&self, table: &str) -> Result<FilterState, ModelError> {
        let mut joined = FilterState { buckets: 0..BUCKETS, ..FilterState::default() };
        let mut states = self.filters(table).collect::<Result<Vec<_>, _>>()?;
        states.sort_by_key(|state| state.buckets.start);
        for state in states {
            joined.counts.add(state.counts);
            if let Some(part) = state.sketch {
                let sketch = joined.sketch.get_or_insert_default();
                sketch.generation = part.generation;
                sketch.current.extend(part.current);
                sketch.past.extend(part.past);
            }
        }
        Ok(joined)
    }
}
