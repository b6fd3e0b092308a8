//! Attributes from lines of JSON.

use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::error::AnnError;
use crate::filter::ItemAttributes;

/// Reads attributes of vectors, a line for each as [`ItemAttributes::from_json`] takes it.
///
/// # Errors
/// If the file cannot be read, or a line is something else: the line is named.
pub fn read_attributes(path: &Path) -> Result<Vec<ItemAttributes>, AnnError> {
    let file = std::fs::File::open(path).map_err(AnnError::io("open", path))?;
    let mut items = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(AnnError::io("read", path))?;
        let item = ItemAttributes::from_json(&line).ok_or_else(|| {
            let found = format!("others in line {}", items.len() + 1);
            let expected = "an object of texts, lists of texts and numbers";
            AnnError::corrupt(path, "attributes", found, expected)
        })?;
        items.push(item);
    }
    Ok(items)
}
