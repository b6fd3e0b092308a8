//! Changes of an index as lines of text.

use rectool_ann::{Item, ItemAttributes};
use serde::Deserialize;
use serde_json::Value;

use super::IndexError;

/// A line of `upsert`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    id: u64,
    vector: Vec<f32>,
    #[serde(default)]
    attributes: Option<Value>,
}

/// Reads `{"id": 7, "vector": [0.5, 1.0], "attributes": {"genre": ["comedy"], "year": 1990}}`, line `line` of a
/// stream; attributes may be left out.
///
/// # Errors
/// If the text is something else.
pub fn read_update(text: &str, line: u64) -> Result<Item, IndexError> {
    let expected = "`{\"id\": 7, \"vector\": [0.5, 1.0], \"attributes\": {…}}`";
    let wrong = |found: String| IndexError::Line { line, expected, found };
    let update: Update =
        serde_json::from_str(text).map_err(|error| wrong(format!("other JSON: {error}")))?;
    let attributes = match update.attributes {
        None | Some(Value::Null) => ItemAttributes::default(),
        Some(value) => ItemAttributes::from_json(&value.to_string()).ok_or_else(|| {
            wrong("attributes that are not texts, lists of texts and numbers".to_owned())
        })?,
    };
    Ok(Item { id: update.id, vector: update.vector, attributes })
}

/// Reads an id, line `line` of a stream.
///
/// # Errors
/// If the text is something else.
pub fn read_delete(text: &str, line: u64) -> Result<u64, IndexError> {
    text.trim().parse().map_err(|_| {
        let found = format!("`{}`", text.trim());
        IndexError::Line { line, expected: "an id, a whole number from 0 on", found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_changes_or_named() {
        let text = r#"{"id": 7, "vector": [0.5, 1], "attributes": {"genre": ["a"], "year": 3}}"#;
        let item = read_update(text, 1).unwrap();
        assert_eq!((item.id, &item.vector[..]), (7, &[0.5, 1.0][..]));
        assert_eq!(item.attributes.number("year"), Some(3.0));
        assert!(read_update(r#"{"id": 7, "vector": []}"#, 1).unwrap().vector.is_empty());
        for text in ["", "7", r#"{"id": -1, "vector": []}"#, r#"{"id": 1, "vector": [], "x": 1}"#] {
            let error = read_update(text, 12).unwrap_err().to_string();
            assert!(error.starts_with("line 12: expected"), "{error}");
        }
        let nested = r#"{"id": 1, "vector": [], "attributes": {"a": {"b": 1}}}"#;
        assert!(read_update(nested, 1).unwrap_err().to_string().contains("attributes"));
        assert_eq!(read_delete(" 12\n", 1).unwrap(), 12);
        assert!(read_delete("x", 3).unwrap_err().to_string().contains("line 3"));
    }
}
