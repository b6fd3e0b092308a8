//! What columns a dataset or batch has.

use serde::{Deserialize, Serialize};

use crate::Hint;
use crate::hint::{nearest_name, quoted_list};
use crate::limits::{COLUMN_WIDTH_MAX, COLUMNS_MAX};

/// The type of a column's values and how many a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnKind {
    /// `width` 32-bit floats per row; a missing value is NaN. Arrow: `Float32` if `width` is 1 and
    /// the column has no members, else `FixedSizeList<Float32, width>`.
    F32 {
        /// Values per row.
        width: usize,
    },
    /// `width` 64-bit ids per row; a missing id is [`crate::MISSING_ID`]. Arrow: `Int64`, or
    /// `FixedSizeList<Int64, width>`.
    I64 {
        /// Values per row.
        width: usize,
    },
    /// `width` texts per row; a missing text is null. Arrow: `Utf8`, or `FixedSizeList<Utf8, width>`.
    Text {
        /// Values per row.
        width: usize,
    },
    /// Any number of 32-bit floats per row. Arrow: `List<Float32>`.
    F32List,
    /// Any number of 64-bit ids per row. Arrow: `List<Int64>`.
    I64List,
    /// Any number of texts per row. Arrow: `List<Utf8>`.
    TextList,
}

impl ColumnKind {
    /// Values per row, or `None` where rows differ.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::F32 { width } | Self::I64 { width } | Self::Text { width } => Some(width),
            Self::F32List | Self::I64List | Self::TextList => None,
        }
    }
}

/// `f32[13]`, `i64 list`, for messages.
impl std::fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::F32 { width } => write!(f, "f32[{width}]"),
            Self::I64 { width } => write!(f, "i64[{width}]"),
            Self::Text { width } => write!(f, "text[{width}]"),
            Self::F32List => f.write_str("f32 list"),
            Self::I64List => f.write_str("i64 list"),
            Self::TextList => f.write_str("text list"),
        }
    }
}

/// One column: name, type, and the names of the values a wide column packs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSchema {
    /// Name, unique in the schema.
    pub name: String,
    /// Type and width.
    #[serde(flatten)]
    pub kind: ColumnKind,
    /// Names of the packed values, `width` of them, or empty for a plain column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

impl ColumnSchema {
    /// A column without members.
    pub fn plain(name: &str, kind: ColumnKind) -> Self {
        Self { name: name.to_owned(), kind, members: Vec::new() }
    }

    /// A wide column that packs `members`.
    pub fn packed(name: &str, kind: ColumnKind, members: Vec<String>) -> Self {
        Self { name: name.to_owned(), kind, members }
    }

    /// Values per row, or `None` where rows differ.
    pub fn width(&self) -> Option<usize> {
        self.kind.width()
    }

    /// `dense[4] (I5)`: the name of value `at` of a row, for messages.
    pub fn member_name(&self, at: usize) -> String {
        match (self.members.get(at), self.width()) {
            (Some(member), _) => member.clone(),
            (None, Some(1) | None) => self.name.clone(),
            (None, _) => format!("{}[{at}]", self.name),
        }
    }
}

/// The columns of a dataset, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    columns: Vec<ColumnSchema>,
}

/// A schema that cannot be, or a column that is not in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Two columns of one name.
    #[error("column `{name}` appears twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A width or count out of range.
    #[error("column `{name}`: {found} {what}, expected 1 to {max}")]
    OutOfRange {
        /// The column.
        name: String,
        /// What is counted.
        what: &'static str,
        /// The count.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// As many member names as values are needed.
    #[error("column `{name}` has width {width} but {members} member names")]
    Members {
        /// The column.
        name: String,
        /// Values per row.
        width: usize,
        /// Names given.
        members: usize,
    },
    /// A column that was asked for does not exist.
    #[error("no column `{name}`; there are {}", quoted_list(known.iter().map(String::as_str)))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
}

impl Hint for SchemaError {
    fn hint(&self) -> Option<String> {
        let Self::Unknown { name, known } = self else { return None };
        let near = nearest_name(name, known.iter().map(String::as_str))?;
        Some(format!("did you mean `{near}`?"))
    }
}

impl Schema {
    /// Checks names, widths and counts.
    ///
    /// # Errors
    /// [`SchemaError::Twice`], [`SchemaError::OutOfRange`] or [`SchemaError::Members`].
    pub fn new(columns: Vec<ColumnSchema>) -> Result<Self, SchemaError> {
        let schema = Self { columns };
        schema.check()?;
        Ok(schema)
    }

    /// The checks of [`Schema::new`], for a schema that came out of a file.
    ///
    /// # Errors
    /// As [`Schema::new`].
    pub fn check(&self) -> Result<(), SchemaError> {
        if self.columns.len() > COLUMNS_MAX {
            let (found, max) = (self.columns.len(), COLUMNS_MAX);
            return Err(SchemaError::OutOfRange { name: "*".into(), what: "columns", found, max });
        }
        for (at, column) in self.columns.iter().enumerate() {
            let name = column.name.clone();
            if self.columns[..at].iter().any(|other| other.name == name) {
                return Err(SchemaError::Twice { name });
            }
            let Some(width) = column.width() else { continue };
            if width == 0 || width > COLUMN_WIDTH_MAX {
                let what = "values per row";
                return Err(SchemaError::OutOfRange {
                    name,
                    what,
                    found: width,
                    max: COLUMN_WIDTH_MAX,
                });
            }
            if !column.members.is_empty() && column.members.len() != width {
                return Err(SchemaError::Members { name, width, members: column.members.len() });
            }
        }
        Ok(())
    }

    /// The columns in order.
    pub fn columns(&self) -> &[ColumnSchema] {
        &self.columns
    }

    /// Position of the column called `name`.
    ///
    /// # Errors
    /// [`SchemaError::Unknown`], with the nearest name as its hint.
    pub fn position(&self, name: &str) -> Result<usize, SchemaError> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let known = self.columns.iter().map(|column| column.name.clone()).collect();
            SchemaError::Unknown { name: name.to_owned(), known }
        })
    }

    /// The column called `name`.
    ///
    /// # Errors
    /// [`SchemaError::Unknown`].
    pub fn column(&self, name: &str) -> Result<&ColumnSchema, SchemaError> {
        Ok(&self.columns[self.position(name)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_column_names_the_nearest() {
        let kind = ColumnKind::F32 { width: 13 };
        let schema = Schema::new(vec![ColumnSchema::plain("dense", kind)]).unwrap();
        let error = schema.column("dens").unwrap_err();
        assert_eq!(error.to_string(), "no column `dens`; there are `dense`");
        assert_eq!(error.hint().as_deref(), Some("did you mean `dense`?"));
    }

    #[test]
    fn bad_schemas_are_refused() {
        let plain = |width| ColumnSchema::plain("a", ColumnKind::F32 { width });
        assert!(matches!(Schema::new(vec![plain(1), plain(1)]), Err(SchemaError::Twice { .. })));
        assert!(matches!(Schema::new(vec![plain(0)]), Err(SchemaError::OutOfRange { .. })));
        let packed = ColumnSchema::packed("a", ColumnKind::I64 { width: 2 }, vec!["x".into()]);
        assert!(matches!(Schema::new(vec![packed]), Err(SchemaError::Members { .. })));
    }

    #[test]
    fn survives_json() {
        let members = vec!["C1".into(), "C2".into()];
        let packed = ColumnSchema::packed("ids", ColumnKind::I64 { width: 2 }, members);
        let schema = Schema::new(vec![packed]).unwrap();
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(text, r#"[{"name":"ids","kind":"i64","width":2,"members":["C1","C2"]}]"#);
        assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
    }
}
