//! Reads `dataset.json` and holds it against the rules of `FORMAT.md`.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use rectool_base::limits::MANIFEST_BYTES_MAX;
use rectool_base::{ColumnKind, SchemaError};
use serde::Deserialize;

use crate::manifest::version_of;
use crate::{
    DataError, FORMAT_NAME, FORMAT_VERSION, MANIFEST_FILE, Manifest, ShardManifest, SplitManifest,
};

/// The fields that every version of the format has had and will have.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// Reads and checks the manifest of the dataset folder `folder`.
pub(crate) fn read_manifest(folder: &Path) -> Result<Manifest, DataError> {
    let path = folder.join(MANIFEST_FILE);
    let text = read_text(&path)?;
    let json = |source| DataError::Json { path: path.clone(), source };
    // The head first: a newer format may well not parse as this version's manifest.
    let head: Head = serde_json::from_slice(&text).map_err(json)?;
    let checker = Checker { path: &path };
    checker.same("format", FORMAT_NAME, &head.format)?;
    if head.version > FORMAT_VERSION {
        let (expected, found) = (FORMAT_VERSION, head.version);
        return Err(DataError::TooNew { path, expected, found });
    }
    if head.version == 0 {
        return Err(checker.broken("version", "1 or more", "0"));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(json)?;
    checker.manifest(&manifest)?;
    Ok(manifest)
}

fn read_text(path: &Path) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let mut text = Vec::new();
    file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut text).map_err(DataError::io(path))?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        let checker = Checker { path };
        return Err(checker.broken("size", &format!("{MANIFEST_BYTES_MAX} bytes or less"), "more"));
    }
    Ok(text)
}

struct Checker<'a> {
    path: &'a Path,
}

impl Checker<'_> {
    fn broken(&self, field: &str, expected: &str, found: &str) -> DataError {
        DataError::Manifest {
            path: self.path.to_owned(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    fn same(&self, field: &str, expected: &str, found: &str) -> Result<(), DataError> {
        if expected == found {
            return Ok(());
        }
        Err(self.broken(field, &format!("`{expected}`"), &format!("`{found}`")))
    }

    fn manifest(&self, manifest: &Manifest) -> Result<(), DataError> {
        let schema: Result<(), SchemaError> = manifest.schema.check();
        schema.map_err(|error| self.broken("schema", "a valid one", &error.to_string()))?;
        if manifest.schema.columns().is_empty() {
            return Err(self.broken("schema", "at least 1 column", "none"));
        }
        let needed = version_of(&manifest.schema);
        if manifest.version < needed {
            let expected = format!("{needed}, which these columns came with");
            return Err(self.broken("version", &expected, &manifest.version.to_string()));
        }
        self.id_ranges(manifest)?;
        let mut names = HashSet::new();
        let mut files = HashSet::new();
        let mut rows = 0_u64;
        for split in &manifest.splits {
            if !names.insert(split.name.as_str()) {
                return Err(self.broken(
                    "splits",
                    "different names",
                    &format!("`{}` twice", split.name),
                ));
            }
            self.split(split)?;
            for shard in &split.shards {
                if !files.insert(shard.file.as_str()) {
                    let found = format!("`{}` twice", shard.file);
                    return Err(self.broken("shards", "different files", &found));
                }
            }
            rows =
                rows.checked_add(split.rows).filter(|rows| *rows < 1 << 62).ok_or_else(|| {
                    self.broken("rows of all splits", "less than 2^62", &split.rows.to_string())
                })?;
        }
        Ok(())
    }

    fn split(&self, split: &SplitManifest) -> Result<(), DataError> {
        let field = format!("split `{}`", split.name);
        if !is_file_name(&split.name) {
            return Err(self.broken(&field, "a plain folder name", &format!("{:?}", split.name)));
        }
        let mut rows = 0_u64;
        for shard in &split.shards {
            self.shard(shard, &split.name)?;
            // A sum that overflows cannot be what the split says either.
            rows = rows.saturating_add(shard.rows);
        }
        if rows != split.rows {
            let expected = format!("the sum of its shards, {rows}");
            return Err(self.broken(&format!("{field}: rows"), &expected, &split.rows.to_string()));
        }
        Ok(())
    }

    fn shard(&self, shard: &ShardManifest, split: &str) -> Result<(), DataError> {
        let field = format!("shard `{}`", shard.file);
        let inside = shard
            .file
            .split_once('/')
            .is_some_and(|(folder, name)| folder == split && is_file_name(name));
        if !inside {
            let expected = format!("a file directly in `{split}/`");
            return Err(self.broken(&field, &expected, &format!("{:?}", shard.file)));
        }
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if shard.xxh3.len() != 16 || !shard.xxh3.bytes().all(hex) {
            let found = format!("{:?}", shard.xxh3);
            return Err(self.broken(&format!("{field}: xxh3"), "16 lower-case hex digits", &found));
        }
        Ok(())
    }

    fn id_ranges(&self, manifest: &Manifest) -> Result<(), DataError> {
        for (name, ids) in &manifest.ids {
            let field = format!("ids of `{name}`");
            let column = manifest.schema.column(name);
            let column = column.map_err(|e| self.broken(&field, "a column", &e.to_string()))?;
            let width = match column.kind {
                ColumnKind::I64 { width } => width,
                ColumnKind::I64List => 1,
                other => {
                    return Err(self.broken(&field, "a column of ids", &other.to_string()));
                }
            };
            for found in [ids.min.len(), ids.max.len(), ids.missing.len()] {
                if found != width {
                    let expected = format!("{width} entries each");
                    return Err(self.broken(&field, &expected, &found.to_string()));
                }
            }
        }
        Ok(())
    }
}

/// One ordinary path component, the same on every platform.
fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let single = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    single && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_inside() {
        for good in ["train", "00000.arrow", "a b", "..a"] {
            assert!(is_file_name(good), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "/a", "a/", "..\\a", "C:", "a\0"] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }
}
