//! Attributes from lines of JSON.

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use crate::error::AnnError;
use crate::filter::ItemAttributes;

/// Reads attributes of vectors, one line of JSON each: `{"color": "red", "tags": ["a", "b"], "price": 3.5}`.
/// Texts and lists of texts are tokens of a namespace, numbers are numbers, null stands for none.
///
/// # Errors
/// If the file cannot be read, or a line is something else: the line is named.
pub fn read_attributes(path: &Path) -> Result<Vec<ItemAttributes>, AnnError> {
    let file = std::fs::File::open(path).map_err(AnnError::io("open", path))?;
    let mut items = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.map_err(AnnError::io("read", path))?;
        let item = item(&line).ok_or_else(|| {
            let found = format!("others in line {}", items.len() + 1);
            let expected = "an object of texts, lists of texts and numbers";
            AnnError::corrupt(path, "attributes", found, expected)
        })?;
        items.push(item);
    }
    Ok(items)
}

fn item(line: &str) -> Option<ItemAttributes> {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { return None };
    let mut item = ItemAttributes::default();
    for (name, value) in &fields {
        match value {
            Value::Null => {}
            Value::String(token) => item = item.with_token(name, token),
            Value::Number(number) => item = item.with_number(name, number.as_f64()?),
            Value::Array(tokens) => {
                for token in tokens {
                    item = item.with_token(name, token.as_str()?);
                }
            }
            Value::Bool(_) | Value::Object(_) => return None,
        }
    }
    Some(item)
}
