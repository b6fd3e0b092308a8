//! Which input columns become which dataset columns.

use rectool_base::{ColumnKind, ColumnSchema, Schema, SchemaError};

use crate::DataError;

/// What labels are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelRule {
    /// 0 and 1; a row with another label is bad.
    #[default]
    ZeroOne,
    /// Any number, such as a rating.
    Any,
}

/// Which input columns become which dataset columns, by name.
///
/// A name may be a pattern: `c*` stands for all columns that begin with `c` and are named nowhere
/// else, in the order of the file; `i0..i12` for `i0`, `i1` and so on to `i12`. Columns that are not
/// named are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Becomes `label`, f32.
    pub label: Option<String>,
    /// What labels are taken.
    pub labels: LabelRule,
    /// Numbers packed into `dense`, `f32[n]`; empty or null is missing (NaN).
    pub dense: Vec<String>,
    /// Ids packed into `ids`, `i64[n]`. A whole number is itself, any other text is hashed
    /// ([`rectool_base::hash_text`]); empty or null is [`rectool_base::MISSING_ID`].
    pub ids: Vec<String>,
    /// Numbers that stay columns of their own.
    pub plain_floats: Vec<String>,
    /// Ids that stay columns of their own.
    pub plain_ids: Vec<String>,
    /// Ids of varying count per row, each a list column of its own.
    pub lists: Vec<String>,
    /// Texts, each a column of its own, kept as they are. In delimited text an empty one is missing,
    /// in Parquet null is.
    pub texts: Vec<String>,
    /// Numbers of varying count per row, each a list column of its own; null is missing (NaN).
    pub float_lists: Vec<String>,
    /// Texts of varying count per row, kept as they are, each a list column of its own.
    pub text_lists: Vec<String>,
    /// What stands between the values of a list in text.
    pub list_separator: char,
}

impl Default for ColumnSpec {
    fn default() -> Self {
        Self {
            label: None,
            labels: LabelRule::ZeroOne,
            dense: Vec::new(),
            ids: Vec::new(),
            plain_floats: Vec::new(),
            plain_ids: Vec::new(),
            lists: Vec::new(),
            texts: Vec::new(),
            float_lists: Vec::new(),
            text_lists: Vec::new(),
            list_separator: '|',
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Label,
    Float,
    Id,
    Text,
    IdList,
    FloatList,
    TextList,
}

/// One input column and where its values go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) source: String,
    pub(super) meaning: Meaning,
    /// Position of the dataset column.
    pub(super) column: usize,
}

/// A [`ColumnSpec`] for the columns that there are.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: Schema,
    /// In the order in which a row's values are pushed: packed values in member order.
    pub(super) targets: Vec<Target>,
    pub(super) left_out: Vec<String>,
    pub(super) labels: LabelRule,
    pub(super) list_separator: char,
}

impl Layout {
    pub(super) fn resolve(spec: &ColumnSpec, header: &[String]) -> Result<Self, DataError> {
        let label: Vec<String> = spec.label.iter().cloned().collect();
        let own_columns = [
            (&spec.plain_floats, ColumnKind::F32 { width: 1 }, Meaning::Float),
            (&spec.plain_ids, ColumnKind::I64 { width: 1 }, Meaning::Id),
            (&spec.lists, ColumnKind::I64List, Meaning::IdList),
            (&spec.texts, ColumnKind::Text { width: 1 }, Meaning::Text),
            (&spec.float_lists, ColumnKind::F32List, Meaning::FloatList),
            (&spec.text_lists, ColumnKind::TextList, Meaning::TextList),
        ];
        let packed = [&label, &spec.dense, &spec.ids];
        let patterns = packed.into_iter().chain(own_columns.iter().map(|(patterns, ..)| *patterns));
        let named: Vec<&str> = patterns.flatten().map(String::as_str).collect();
        let expand = |patterns: &[String]| -> Result<Vec<String>, SchemaError> {
            let mut names = Vec::new();
            for pattern in patterns {
                names.extend(expand_pattern(pattern, header, &named)?);
            }
            Ok(names)
        };
        let mut builder = Builder::default();
        for name in expand(&label)? {
            let column = ColumnSchema::plain("label", ColumnKind::F32 { width: 1 });
            builder.add(column, &[name], Meaning::Label);
        }
        let (dense, ids) = (expand(&spec.dense)?, expand(&spec.ids)?);
        builder.add_packed("dense", ColumnKind::F32 { width: dense.len() }, &dense, Meaning::Float);
        builder.add_packed("ids", ColumnKind::I64 { width: ids.len() }, &ids, Meaning::Id);
        for (patterns, kind, meaning) in own_columns {
            for name in expand(patterns)? {
                builder.add(ColumnSchema::plain(&name, kind), &[name], meaning);
            }
        }
        let layout = builder.finish(spec, header)?;
        layout.positions(header)?;
        Ok(layout)
    }

    /// Where each target's source stands in `header`.
    pub(super) fn positions(&self, header: &[String]) -> Result<Vec<usize>, SchemaError> {
        let position = |target: &Target| {
            let mut found = (0..header.len()).filter(|&at| header[at] == target.source);
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                (Some(_), Some(_)) => Err(SchemaError::Twice { name: target.source.clone() }),
                (None, _) => Err(unknown(&target.source, header)),
            }
        };
        self.targets.iter().map(position).collect()
    }
}

#[derive(Default)]
struct Builder {
    columns: Vec<ColumnSchema>,
    targets: Vec<Target>,
}

impl Builder {
    fn add(&mut self, column: ColumnSchema, sources: &[String], meaning: Meaning) {
        let at = self.columns.len();
        let target = |source: &String| Target { source: source.clone(), meaning, column: at };
        self.targets.extend(sources.iter().map(target));
        self.columns.push(column);
    }

    fn add_packed(&mut self, name: &str, kind: ColumnKind, members: &[String], meaning: Meaning) {
        if !members.is_empty() {
            self.add(ColumnSchema::packed(name, kind, members.to_vec()), members, meaning);
        }
    }

    fn finish(self, spec: &ColumnSpec, header: &[String]) -> Result<Layout, DataError> {
        if self.columns.is_empty() {
            return Err(DataError::Option {
                option: "columns",
                expected: "a label, dense, ids, list or text column by name".into(),
                found: "none".into(),
            });
        }
        for (at, target) in self.targets.iter().enumerate() {
            if self.targets[..at].iter().any(|other| other.source == target.source) {
                return Err(SchemaError::Twice { name: target.source.clone() }.into());
            }
        }
        let is_used = |name: &str| self.targets.iter().any(|target| target.source == name);
        Ok(Layout {
            left_out: header.iter().filter(|name| !is_used(name)).cloned().collect(),
            schema: Schema::new(self.columns)?,
            targets: self.targets,
            labels: spec.labels,
            list_separator: spec.list_separator,
        })
    }
}

fn unknown(name: &str, header: &[String]) -> SchemaError {
    SchemaError::Unknown { name: name.to_owned(), known: header.to_vec() }
}

/// The columns that `pattern` stands for. `named` are all patterns: a column with a name of its own
/// there is not taken by a `*`.
fn expand_pattern(
    pattern: &str,
    header: &[String],
    named: &[&str],
) -> Result<Vec<String>, SchemaError> {
    if header.iter().any(|name| name == pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let names: Vec<String> = if let Some(prefix) = pattern.strip_suffix('*') {
        let taken = |name: &&String| name.starts_with(prefix) && !named.contains(&name.as_str());
        header.iter().filter(taken).cloned().collect()
    } else if let Some((first, last)) = pattern.split_once("..") {
        numbered(first, last)
    } else {
        Vec::new()
    };
    let missing = names.iter().find(|name| !header.contains(name));
    match (names.is_empty(), missing) {
        (true, _) => Err(unknown(pattern, header)),
        (false, Some(name)) => Err(unknown(name, header)),
        (false, None) => Ok(names),
    }
}

/// `i0`, `i12`: `i0`, `i1` … `i12`; empty if that is no range.
fn numbered(first: &str, last: &str) -> Vec<String> {
    let cut = |name: &str| name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (prefix, from) = first.split_at(cut(first));
    let (prefix_last, to) = last.split_at(cut(last));
    match (from.parse::<u32>(), to.parse::<u32>()) {
        (Ok(from), Ok(to)) if prefix == prefix_last && to.saturating_sub(from) < 100_000 => {
            (from..=to).map(|number| format!("{prefix}{number}")).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::Hint;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn patterns_take_what_is_named_nowhere_else() {
        let header = names("y i0 i1 i2 c_a c_b user genres w x");
        let spec = ColumnSpec {
            label: Some("y".into()),
            dense: names("i0..i2"),
            ids: names("user c*"),
            lists: names("genres"),
            plain_ids: names("c_b"),
            ..ColumnSpec::default()
        };
        let layout = Layout::resolve(&spec, &header).unwrap();
        assert_eq!(layout.schema.column("dense").unwrap().members, names("i0 i1 i2"));
        assert_eq!(layout.schema.column("ids").unwrap().members, names("user c_a"));
        assert_eq!(layout.left_out, names("w x"));
        assert_eq!(layout.positions(&header).unwrap(), [0, 1, 2, 3, 6, 4, 5, 7]);
    }

    #[test]
    fn typos_and_doubles_are_told() {
        let header = names("label user movie");
        let ids = |text| ColumnSpec { ids: names(text), ..ColumnSpec::default() };
        let error = Layout::resolve(&ids("usr"), &header).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `user`?"));
        let error = Layout::resolve(&ids("user user"), &header).unwrap_err();
        assert_eq!(error.to_string(), "column `user` appears twice");
        assert!(Layout::resolve(&ids("x*"), &header).is_err());
        assert!(Layout::resolve(&ids("user1..user3"), &header).is_err());
        assert!(Layout::resolve(&ids(""), &header).is_err());
        let error = Layout::resolve(&ids("user"), &names("user user")).unwrap_err();
        assert_eq!(error.to_string(), "column `user` appears twice");
    }
}
