//! Headers of NumPy's `.npy` files.

use std::path::Path;

use crate::error::AnnError;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Whether a file starts as `.npy` files do.
pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// What a `.npy` file says of its values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Type of values, such as `<f4`.
    pub(super) kind: String,
    pub(super) shape: Vec<usize>,
    /// Where values start.
    pub(super) start: usize,
}

impl Header {
    /// Reads it.
    pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Self, AnnError> {
        Self::parse(bytes).ok_or_else(|| {
            AnnError::corrupt(path, "header", "others", "that of a .npy file in C order")
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (length, text) = match bytes.get(6)? {
            1 => (usize::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?)), 10),
            2 | 3 => (u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?) as usize, 12),
            _ => return None,
        };
        let start = text + length;
        let text = std::str::from_utf8(bytes.get(text..start)?).ok()?;
        let after =
            |key: &str| Some(text.split_once(&format!("'{key}'"))?.1.split_once(':')?.1.trim());
        if !after("fortran_order")?.starts_with("False") {
            return None;
        }
        let kind = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0.to_owned();
        let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
        Some(Self { kind, shape, start })
    }
}
