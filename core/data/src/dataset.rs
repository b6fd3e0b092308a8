//! A dataset folder, opened for reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rectool_base::Schema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::manifest_check::read_manifest;
use crate::shard::{Shard, check_size};
use crate::side::{Origin, View};
use crate::{DataError, IdStatistics, MANIFEST_FILE, Manifest, ShardManifest, Split};

/// What is checked of a shard when it is first touched. Sizes are checked on opening the dataset in
/// any case, and the structure of a shard on decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// The bytes against the manifest's checksum: reads the shard once, at memory or disk speed.
    #[default]
    Checksum,
    /// Nothing more. Damaged values go unnoticed.
    Size,
}

/// A shard that [`Dataset::verify`] found to be bad.
#[derive(Debug)]
pub struct ShardFault {
    /// [`ShardManifest::file`].
    pub file: String,
    /// What is wrong with it.
    pub error: DataError,
}

/// A dataset folder. Cheap to open: shards are mapped when their rows are first asked for.
///
/// ```
/// use rectool_data::{DataError, Dataset, MANIFEST_FILE};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let manifest = r#"{"format": "rectool-dataset", "version": 1,
///     "schema": [{"name": "label", "kind": "f32", "width": 1}],
///     "splits": [{"name": "train", "rows": 0, "shards": []}]}"#;
/// std::fs::write(folder.path().join(MANIFEST_FILE), manifest)?;
///
/// let dataset = Dataset::open(folder.path())?;
/// let train = dataset.split("train")?;
/// assert_eq!((train.rows(), train.schema().columns().len()), (0, 1));
/// assert!(matches!(dataset.split("trian"), Err(DataError::UnknownSplit { .. })));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    manifest: Arc<Manifest>,
    fingerprint: u64,
    verify: Verify,
    /// What columns there are, if not just those of the shards.
    view: Option<Arc<View>>,
}

impl Dataset {
    /// Opens the dataset in the local folder `path` with [`Verify::Checksum`].
    ///
    /// # Errors
    /// If there is no dataset, if its manifest breaks a rule of the format or is of a newer version,
    /// or if a shard is missing or of the wrong size.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_with(path, Verify::default())
    }

    /// As [`Dataset::open`], with a choice of what is verified.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_with(path: &Path, verify: Verify) -> Result<Self, DataError> {
        let missing = |found| DataError::Missing { path: path.to_owned(), found };
        match std::fs::metadata(path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                if let Some(scheme) = scheme(path) {
                    return Err(DataError::Remote { found: path.display().to_string(), scheme });
                }
                return Err(missing("nothing"));
            }
            Err(source) => return Err(DataError::Io { path: path.to_owned(), source }),
            Ok(metadata) if !metadata.is_dir() => return Err(missing("a file")),
            Ok(_) => {}
        }
        let manifest_path = path.join(MANIFEST_FILE);
        if !manifest_path.try_exists().map_err(DataError::io(&manifest_path))? {
            return Err(missing("a folder without it"));
        }
        let manifest = Arc::new(read_manifest(path)?);
        let content = serde_json::to_vec(&*manifest);
        let content = content.map_err(|source| DataError::Json { path: manifest_path, source })?;
        let fingerprint = xxh3_64(&content);
        let path = path.to_owned();
        let dataset = Self { path, manifest, fingerprint, verify, view: None };
        for shard in dataset.shards() {
            check_size(&dataset.shard_path(shard), shard)?;
        }
        Ok(dataset)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Columns of every split: those of the shards, then those of side tables.
    pub fn schema(&self) -> &Schema {
        self.view.as_ref().map_or(&self.manifest.schema, |view| view.schema())
    }

    /// What the manifest says of the ids in a column, that of a side table if it was joined from there:
    /// then at least one is missing, unless a row whose key the table lacks is an error. `None` for a
    /// column of something else.
    pub fn id_statistics(&self, column: &str) -> Option<IdStatistics> {
        let Some(view) = &self.view else { return self.manifest.ids.get(column).cloned() };
        match view.origin(view.schema().position(column).ok()?) {
            Origin::Own(at) => {
                self.manifest.ids.get(&self.manifest.schema.columns()[at].name).cloned()
            }
            Origin::Side { table, column } => view.table(table).table.id_statistics(column),
        }
    }

    pub(crate) fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }

    /// The same rows with other columns.
    pub(crate) fn seen_as(&self, view: View) -> Self {
        let tables = view.tables().map(|table| table.dataset().fingerprint());
        let fingerprints: Vec<u8> =
            std::iter::once(self.fingerprint).chain(tables).flat_map(u64::to_le_bytes).collect();
        Self { fingerprint: xxh3_64(&fingerprints), view: Some(Arc::new(view)), ..self.clone() }
    }

    /// Everything in `dataset.json`.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Names of the splits, in the order of writing.
    pub fn splits(&self) -> impl Iterator<Item = &str> {
        self.manifest.splits.iter().map(|split| split.name.as_str())
    }

    /// A hash of the manifest's content, and so of the checksums of all data: ranks compare it to
    /// notice that they see different datasets. White space in the file does not count.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The split called `name`.
    ///
    /// # Errors
    /// [`DataError::UnknownSplit`], with the nearest name as its hint.
    pub fn split(&self, name: &str) -> Result<Split, DataError> {
        let split = self.manifest.splits.iter().find(|split| split.name == name);
        let split = split.ok_or_else(|| DataError::UnknownSplit {
            path: self.path.clone(),
            name: name.to_owned(),
            known: self.splits().map(str::to_owned).collect(),
        })?;
        let shards = split.shards.iter().map(|shard| (self.open_shard(shard), shard.rows));
        let schema = self.manifest.schema.clone();
        let tables = self.view.iter().flat_map(|view| view.tables());
        let tables: Vec<u64> = tables.map(|table| table.dataset().fingerprint()).collect();
        let content = serde_json::to_vec(&(split, &self.manifest.schema, tables));
        let content =
            content.map_err(|source| DataError::Json { path: self.path.clone(), source })?;
        let fingerprint = xxh3_64(&content);
        Ok(Split::new((name.to_owned(), fingerprint), schema, shards, self.view.clone()))
    }

    /// Reads every shard of every split with all checks, on `threads` threads (at least one), and
    /// returns the bad ones in the manifest's order. `on_shard` is called after each shard, from
    /// any of the threads, for progress.
    pub fn verify(
        &self,
        threads: usize,
        on_shard: impl Fn(&ShardManifest) + Sync,
    ) -> Vec<ShardFault> {
        let shards: Vec<&ShardManifest> = self.shards().collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut faults = Vec::new();
            while let Some((at, shard)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                shards.get(at).map(|shard| (at, *shard))
            } {
                if let Err(error) = self.open_shard(shard).check(&self.manifest.schema) {
                    faults.push((at, ShardFault { file: shard.file.clone(), error }));
                }
                on_shard(shard);
            }
            faults
        };
        let mut faults: Vec<(usize, ShardFault)> = std::thread::scope(|scope| {
            let extra = threads.min(shards.len()).saturating_sub(1);
            let spawned: Vec<_> = (0..extra).map(|_| scope.spawn(work)).collect();
            let mut faults = work();
            for thread in spawned {
                let found = thread.join();
                faults.extend(found.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            faults
        });
        faults.sort_by_key(|(at, _)| *at);
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    fn shards(&self) -> impl Iterator<Item = &ShardManifest> {
        self.manifest.splits.iter().flat_map(|split| &split.shards)
    }

    fn shard_path(&self, shard: &ShardManifest) -> PathBuf {
        self.path.join(&shard.file)
    }

    fn open_shard(&self, shard: &ShardManifest) -> Shard {
        Shard::new(self.shard_path(shard), shard.clone(), self.verify)
    }
}

/// `s3` of `s3://bucket/data`.
fn scheme(path: &Path) -> Option<String> {
    // `Path` keeps the double slash of what it was made from.
    let (scheme, _) = path.to_str()?.split_once("://")?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (!scheme.is_empty() && scheme.chars().all(letters)).then(|| scheme.to_owned())
}
