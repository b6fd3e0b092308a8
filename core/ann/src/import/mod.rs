//! Vectors and ids in files of other programs, mapped and used in place.

mod attributes;
mod npy;
#[cfg(test)]
mod tests;

use std::path::Path;

use rectool_base::MappedFile;

use crate::error::AnnError;
use crate::vectors::Vectors;
pub use attributes::read_attributes;
use npy::Header;

/// A file of vectors: `.npy` of f32 [N, D] in C order, or `.fbin` (u32 N, u32 D, then f32 [N, D]).
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("items.fbin");
/// std::fs::write(&path, [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64])?;
/// let file = rectool_ann::VectorFile::open(&path)?;
/// assert_eq!(file.vectors()?.row(0), &[1.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct VectorFile {
    map: MappedFile,
    dim: usize,
    /// Where the values lie.
    range: std::ops::Range<usize>,
}

impl VectorFile {
    /// Maps a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, is of another kind, or its size does not fit its header.
    pub fn open(path: &Path) -> Result<Self, AnnError> {
        let map = MappedFile::open(path).map_err(AnnError::io("open", path))?;
        let bytes = map.bytes();
        let (rows, dim, start) = if npy::is_npy(bytes) {
            let header = Header::read(path, bytes)?;
            let [rows, dim] = header.shape[..] else {
                let found = format!("{} dimensions", header.shape.len());
                return Err(AnnError::corrupt(path, "shape", found, "[N, D]"));
            };
            if header.kind != "<f4" {
                return Err(AnnError::corrupt(path, "type of values", header.kind, "<f4"));
            }
            (rows, dim, header.start)
        } else {
            let number = |at: usize| {
                let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u32::from_le_bytes) as usize
            };
            (number(0), number(4), 8)
        };
        let found = bytes.len().saturating_sub(start);
        let expected = rows.checked_mul(dim).and_then(|values| values.checked_mul(4));
        if expected != Some(found) || dim == 0 {
            let expected = format!("{rows} x {dim} floats after a header of {start} bytes");
            return Err(AnnError::corrupt(path, "bytes", bytes.len(), expected));
        }
        let range = start..start + found;
        Ok(Self { map, dim, range })
    }

    /// The vectors, in place.
    ///
    /// # Errors
    /// If their width is beyond the limit, or they do not lie where floats can be read in place.
    pub fn vectors(&self) -> Result<Vectors<'_>, AnnError> {
        let values = bytemuck::try_cast_slice(&self.map.bytes()[self.range.clone()]);
        let values = values.map_err(|_| {
            AnnError::corrupt(
                self.map.path(),
                "start of values",
                self.range.start,
                "a multiple of 4",
            )
        })?;
        Vectors::new(self.dim, values)
    }
}

/// Reads ids: `.npy` of i64, u64, i32 or u32 \[N\].
///
/// # Errors
/// If the file cannot be read or is of another kind.
pub fn read_ids(path: &Path) -> Result<Vec<u64>, AnnError> {
    let map = MappedFile::open(path).map_err(AnnError::io("open", path))?;
    let bytes = map.bytes();
    if !npy::is_npy(bytes) {
        return Err(AnnError::corrupt(path, "first bytes", "others", "those of a .npy file"));
    }
    let header = Header::read(path, bytes)?;
    let values = &bytes[header.start.min(bytes.len())..];
    let (wide, narrow) = (values.as_chunks::<8>().0, values.as_chunks::<4>().0);
    let ids: Vec<u64> = match header.kind.as_str() {
        "<i8" | "<u8" => wide.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
        "<u4" => narrow.iter().map(|bytes| u64::from(u32::from_le_bytes(*bytes))).collect(),
        "<i4" => narrow.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes)) as u64).collect(),
        found => {
            return Err(AnnError::corrupt(path, "type of values", found, "<i8, <u8, <i4 or <u4"));
        }
    };
    if header.shape[..] != [ids.len()] {
        let found = format!("{:?}", header.shape);
        return Err(AnnError::corrupt(path, "shape", found, format!("[{}]", ids.len())));
    }
    Ok(ids)
}
