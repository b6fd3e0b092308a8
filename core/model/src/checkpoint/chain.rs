//! A checkpoint with all that it builds on.

use std::path::Path;

use rectool_embedding::IndexKind;

use super::files::measure;
use super::manifest::{
    CheckpointManifest, DENSE_FILE, DeltaEntry, FileEntry, Link, TableEntry, UNDATED_VERSION,
};
use super::misfit;
use super::part::PartLayout;
use super::part_read::PartReader;
use super::table_rows::{Says, Source, TableRows, columns_of};
use crate::{Checkpoint, ModelError};

/// A checkpoint and, if it is a delta, those that it builds on.
///
/// ```no_run
/// use rectool_model::Checkpoint;
/// let chain = Checkpoint::open("runs/latest/checkpoints/step-00000200".as_ref())?.chain()?;
/// let anew = chain.reshard(4, "four".as_ref())?;
/// assert!(chain.diff(&anew.chain()?)?.equal);
/// # Ok::<(), rectool_model::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chain {
    /// From the base on; the checkpoint itself comes last.
    links: Vec<Checkpoint>,
}

impl Chain {
    /// Opens what `checkpoint` builds on, and checks that it is what it was when the delta was made.
    ///
    /// # Errors
    /// [`ModelError::Delta`] names the first link that is missing or another one.
    pub fn open(checkpoint: Checkpoint) -> Result<Self, ModelError> {
        let mut links = vec![checkpoint];
        while let Some(child) = links.last()
            && let Some(delta) = &child.manifest().delta
        {
            let parent = parent_of(child, delta)?;
            links.push(parent);
        }
        links.reverse();
        let chain = Self { links };
        for pair in chain.links.windows(2) {
            same_tables(&pair[0], &pair[1])?;
        }
        let base = chain.links[0].link();
        for link in &chain.links[1..] {
            if let Some(delta) = &link.manifest().delta
                && delta.base != base
            {
                let shown = |link: &Link| format!("{} of identity {}", link.name, link.identity);
                let (found, expected) = (shown(&base), shown(&delta.base));
                return Err(unfit(link.path(), "base of the chain", found, expected));
            }
        }
        Ok(chain)
    }

    /// The checkpoints, from the base on.
    pub fn links(&self) -> &[Checkpoint] {
        &self.links
    }

    /// The checkpoint that was opened.
    pub fn head(&self) -> &Checkpoint {
        &self.links[self.links.len() - 1]
    }

    /// Compares the checksum of every file of every checkpoint.
    ///
    /// # Errors
    /// The first file that cannot be read or differs.
    pub fn verify(&self) -> Result<(), ModelError> {
        for checkpoint in &self.links {
            for entry in &checkpoint.manifest().files {
                let path = checkpoint.path().join(&entry.file);
                let (_, xxh3) = measure(&path).map_err(ModelError::io("reading", &path))?;
                if xxh3 != entry.xxh3 {
                    return Err(misfit(&path, "checksum", xxh3, entry.xxh3.clone()));
                }
            }
        }
        Ok(())
    }

    /// As [`Chain::verify`], and reads every row.
    ///
    /// # Errors
    /// As there, and if a file's content breaks the format.
    pub fn verify_rows(&self) -> Result<(), ModelError> {
        self.verify()?;
        super::dense::check(&self.head().path().join(DENSE_FILE))?;
        for table in &self.head().manifest().tables {
            self.rows(table, 1 << 12)?.try_for_each(|rows| rows.map(drop))?;
            self.filters(&table.name).try_for_each(|filter| filter.map(drop))?;
        }
        Ok(())
    }

    /// The rows of a table of the last checkpoint, by (bucket, key).
    ///
    /// Checksums must have been compared before.
    pub(super) fn rows(
        &self,
        table: &TableEntry,
        rows_max: usize,
    ) -> Result<TableRows, ModelError> {
        let shape = (table.dim, table.state_width);
        let index = index_of(self.head(), &table.name)?.clone();
        let mut sources = Vec::new();
        for (layer, checkpoint) in self.links.iter().enumerate() {
            let manifest = checkpoint.manifest();
            let dated = manifest.version > UNDATED_VERSION;
            for (says, entry) in table_files(manifest, &table.name) {
                let path = checkpoint.path().join(&entry.file);
                let (columns, layout) = match says {
                    Says::Removed => (0..0, PartLayout::KEYS),
                    Says::Rows => {
                        let columns = columns_of(&path, entry.columns, shape)?;
                        let state = table.state_width / table.dim * columns.len();
                        let whole = columns.len() == table.dim;
                        let state = if whole { table.state_width } else { state };
                        let layout = PartLayout { dim: columns.len(), state, dated };
                        (columns, layout)
                    }
                };
                let rows = entry.rows.unwrap_or_default();
                let reader = PartReader::open(&path, layout, rows)?;
                sources.push(Source { reader, layer, says, columns });
            }
        }
        TableRows::new(index, shape, rows_max, sources)
    }
}

/// The part files of a table, and those of removed keys.
pub(super) fn table_files<'a>(
    manifest: &'a CheckpointManifest,
    table: &str,
) -> impl Iterator<Item = (Says, &'a FileEntry)> {
    let folder = format!("tables/{table}/");
    manifest.files.iter().filter_map(move |entry| {
        let name = entry.file.strip_prefix(&folder).filter(|name| !name.contains('/'))?;
        let says = if name.starts_with("part-") {
            Says::Rows
        } else if name.starts_with("removed-") {
            Says::Removed
        } else {
            return None;
        };
        Some((says, entry))
    })
}

/// How keys of a table find rows, which is what their order follows from.
pub(super) fn index_of<'a>(
    checkpoint: &'a Checkpoint,
    table: &str,
) -> Result<&'a IndexKind, ModelError> {
    let spec = checkpoint.manifest().model.tables.iter().find(|spec| spec.name == table);
    spec.map(|spec| &spec.index).ok_or_else(|| {
        let found = format!("`{table}`, which the model does not have");
        misfit(checkpoint.path(), "`tables`", found, "the model's tables")
    })
}

fn parent_of(child: &Checkpoint, delta: &DeltaEntry) -> Result<Checkpoint, ModelError> {
    let link = &delta.parent;
    let path = child.beside(&link.name);
    if !path.join(super::manifest::MANIFEST_FILE).exists() {
        let expected = format!("the checkpoint {}", path.display());
        return Err(unfit(child.path(), "parent of the delta", "nothing there", expected));
    }
    let parent = Checkpoint::open(&path)?;
    let differs = |what: &str, found: String, expected: String| {
        Err(unfit(child.path(), &format!("parent {}: {what}", link.name), found, expected))
    };
    if parent.identity() != link.identity {
        return differs("identity", parent.identity().to_owned(), link.identity.clone());
    }
    let own = parent.manifest().delta.as_ref();
    let sequence = own.map_or(0, |own| own.sequence);
    if sequence.checked_add(1) != Some(delta.sequence) {
        let expected = format!("one less than {}", delta.sequence);
        return differs("`sequence`", sequence.to_string(), expected);
    }
    let steps = parent.manifest().table_steps;
    if steps != delta.since_step {
        return differs("`table_steps`", steps.to_string(), delta.since_step.to_string());
    }
    Ok(parent)
}

fn same_tables(parent: &Checkpoint, child: &Checkpoint) -> Result<(), ModelError> {
    let shapes = |checkpoint: &Checkpoint| {
        let tables = checkpoint.manifest().tables.iter();
        let shape = |table: &TableEntry| {
            let index = index_of(checkpoint, &table.name)?;
            Ok(format!("{} [{} + {}] {index:?}", table.name, table.dim, table.state_width))
        };
        tables.map(shape).collect::<Result<Vec<_>, ModelError>>()
    };
    let (found, expected) = (shapes(parent)?, shapes(child)?);
    if found == expected {
        return Ok(());
    }
    let what = format!("parent {}: tables", parent.name());
    Err(unfit(child.path(), &what, found.join(", "), expected.join(", ")))
}

fn unfit(
    path: &Path,
    what: &str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> ModelError {
    let (found, expected) = (found.into(), expected.into());
    ModelError::Delta { path: path.to_owned(), what: what.to_owned(), found, expected }
}
