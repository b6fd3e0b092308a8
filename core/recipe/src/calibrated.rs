//! Calibrations that are kept from run to run.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use rectool_base::write_whole;
use rectool_comm::{Comm, agree, on_ranks};
use rectool_embedding::{Calibration, EmbeddingError, calibrate};
use rectool_plugin::user_cache;

use crate::error::{Place, RecipeError};
use crate::run_dir::from_rank_0;

/// Where the figures of machine and communicator come from.
#[derive(Clone, Debug, Default)]
pub enum Calibrate {
    /// From the last time, or measured now if there was none.
    #[default]
    Cached,
    /// Measured now.
    Fresh,
    /// These, whatever the number of ranks.
    Given(Arc<Calibration>),
}

/// Ranks that are played by threads when a plan is made for ranks that are not there: more would
/// measure how threads wait for each other.
const PLAYED_RANKS_MAX: usize = 8;

/// The calibration for the ranks of `comm`, or for `ranks` ranks if those are not there: then threads
/// of this process play them. One that was kept is measured again if it has a flaw.
///
/// # Collective
/// Every rank, with the same arguments; all get the same.
pub(crate) fn calibration(
    choice: &Calibrate,
    comm: &dyn Comm,
    ranks: usize,
) -> Result<Arc<Calibration>, RecipeError> {
    if let Calibrate::Given(given) = choice {
        let ranks_per_node = given.ranks_per_node.min(ranks);
        return Ok(Arc::new(Calibration { ranks, ranks_per_node, ..(**given).clone() }));
    }
    // As many as measure: `--threads` may have changed the rank's share.
    let threads = rayon::current_num_threads();
    let key = Key { ranks, here: comm.size() == ranks, per_node: comm.local_size(), threads };
    let store = Store::new(&key);
    found(choice, comm, &key, store.as_ref(), || {
        if key.here { calibrate(comm) } else { played(ranks) }
    })
}

/// What `store` knows for `key`, or else what `measure` finds.
///
/// # Collective
/// Every rank; all get the same, and either all measure or none.
fn found(
    choice: &Calibrate,
    comm: &dyn Comm,
    key: &Key,
    store: Option<&Store>,
    measure: impl FnOnce() -> Result<Calibration, EmbeddingError>,
) -> Result<Arc<Calibration>, RecipeError> {
    // Held by rank 0 while all measure: runs that start together measure one after another, and all
    // but the first find the result.
    let lock = if comm.rank() == 0 { store.and_then(Store::lock) } else { None };
    let known = match (choice, store) {
        (Calibrate::Cached, Some(store)) if comm.rank() == 0 => store.read(key).unwrap_or_default(),
        _ => String::new(),
    };
    let known = from_rank_0(comm, &known)?;
    if let Ok(known) = serde_json::from_str(&known) {
        return Ok(Arc::new(known));
    }
    if comm.rank() == 0 {
        tracing::info!("measuring this machine for {} (a few seconds, once)", key.words());
    }
    let found = agree(comm, measure().map_err(refused))?;
    if comm.rank() == 0 {
        let text = serde_json::to_string_pretty(&found).expect("numbers become text");
        if let Some(store) = store {
            store.write(&text);
        } else {
            tracing::debug!("no folder to keep the calibration in");
        }
    }
    drop(lock);
    Ok(Arc::new(found))
}

/// Ranks of this process stand for `ranks` real ones.
fn played(ranks: usize) -> Result<Calibration, EmbeddingError> {
    let mut found = on_ranks(ranks.min(PLAYED_RANKS_MAX), |comm| calibrate(&*comm));
    let mut found = found.swap_remove(0)?;
    (found.ranks, found.ranks_per_node) = (ranks, ranks);
    if found.exchange_local.measured.is_empty() {
        std::mem::swap(&mut found.exchange_local, &mut found.exchange_remote);
    }
    Ok(found)
}

fn refused(error: EmbeddingError) -> RecipeError {
    let place = Place { file: "calibration".to_owned(), ..Place::default() };
    RecipeError::refused(&place, error.into())
}

/// What a calibration holds for, besides host and version.
struct Key {
    ranks: usize,
    /// Whether the ranks are there.
    here: bool,
    per_node: usize,
    threads: usize,
}

impl Key {
    fn words(&self) -> String {
        let Self { ranks, threads, .. } = self;
        let played = if self.here { "" } else { ", played by threads" };
        let plural = |count: &usize| if *count == 1 { "" } else { "s" };
        format!("{ranks} rank{} of {threads} thread{}{played}", plural(ranks), plural(threads))
    }
}

/// The file of one key.
struct Store {
    path: PathBuf,
}

impl Store {
    fn new(key: &Key) -> Option<Self> {
        let folder = user_cache()?.join("calibration");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let named = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '.';
        let host: String = host.trim().chars().filter(named).collect();
        let Key { ranks, here, per_node, threads } = key;
        let kind = if *here { "ranks" } else { "played-ranks" };
        let cores = rectool_comm::threads_available();
        // A build without optimisation measures itself.
        let build = if cfg!(debug_assertions) { "-debug" } else { "" };
        let name = format!(
            "{host}-{ranks}-{kind}-{per_node}-per-node-{threads}-threads-{cores}-cores-{}{build}.json",
            env!("CARGO_PKG_VERSION")
        );
        Some(Self { path: folder.join(name) })
    }

    /// `None` where there is no file that holds a calibration for `key`.
    fn read(&self, key: &Key) -> Option<String> {
        let text = fs::read_to_string(&self.path).ok()?;
        let flaw = match serde_json::from_str::<Calibration>(&text) {
            Ok(known) => known.flaw(key.ranks, key.threads),
            Err(error) => Some(error.to_string()),
        };
        if let Some(flaw) = &flaw {
            tracing::warn!("measuring anew, as {} is damaged: {flaw}", self.path.display());
        }
        flaw.is_none().then_some(text)
    }

    /// Waits until no other run measures for the same key; `None` where files cannot be locked.
    fn lock(&self) -> Option<File> {
        fs::create_dir_all(self.path.parent()?).ok()?;
        let file = File::create(self.path.with_extension("lock")).ok()?;
        file.lock().ok()?;
        Some(file)
    }

    /// A cache that cannot be written costs the time of the next run, not this one.
    fn write(&self, text: &str) {
        if let Err(error) = write_whole(&self.path, text.as_bytes()) {
            tracing::warn!("cannot keep the calibration in {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rectool_comm::Solo;
    use rectool_embedding::{EmptyStep, Link, Lookup, OccurrenceTime, RowTime};

    use super::*;

    /// A made-up calibration of one rank.
    fn sound(threads: usize) -> Calibration {
        let row = |(lookup, dim)| RowTime {
            lookup,
            dim,
            rows: 1_000,
            lookup_ns: 5.0,
            update_ns: 10.0,
            insert_ns: 50.0,
        };
        let rows = [(Lookup::Dense, 16), (Lookup::Dense, 128), (Lookup::Hash, 16)];
        let occurrence = |dim| OccurrenceTime { dim, pool_ns: 3.0, sum_ns: 6.0, distinct_ns: 9.0 };
        let link = Link::fit(Vec::new());
        Calibration {
            ranks: 1,
            ranks_per_node: 1,
            threads,
            rows: rows.map(row).to_vec(),
            occurrences: [16, 128].map(occurrence).to_vec(),
            empty: EmptyStep { prepare_ns: 2e3, lookup_ns: 3e3, update_ns: 4e3 },
            copy_bytes_per_ms: 1e7,
            exchange_local: link.clone(),
            exchange_remote: link.clone(),
            all_reduce: link,
            seconds: 1.0,
        }
    }

    #[test]
    fn a_damaged_calibration_is_measured_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { path: folder.path().join("kept.json") };
        let key = Key { ranks: 1, here: true, per_node: 1, threads: 2 };
        let measured = Cell::new(0);
        let find = || {
            let measure = || {
                measured.set(measured.get() + 1);
                Ok(sound(2))
            };
            found(&Calibrate::Cached, &Solo, &key, Some(&store), measure).unwrap()
        };
        let first = find();
        assert_eq!((find(), measured.get()), (first.clone(), 1));
        let good = fs::read_to_string(&store.path).unwrap();
        for (from, to) in [
            ("\"ranks\": 1", "\"ranks\": 0"),
            ("\"ranks_per_node\": 1", "\"ranks_per_node\": 0"),
            ("\"threads\": 2", "\"threads\": 1"),
            ("\"seconds\"", "\"minutes\""),
        ] {
            let damaged = good.replace(from, to);
            assert_ne!(damaged, good, "{from}");
            fs::write(&store.path, damaged).unwrap();
            measured.set(0);
            assert_eq!((find(), measured.get()), (first.clone(), 1), "{to}");
            assert_eq!(fs::read_to_string(&store.path).unwrap(), good, "{to}");
        }
    }
}
