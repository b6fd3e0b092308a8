//! What the tables of one rank can do, measured with the tables themselves.

use rectool_comm::Comm;
use serde::{Deserialize, Serialize};

use super::cold::Cold;
use super::trial::{HOT_KEYS, IDS, ROWS, StepTimes, TABLES, Trial};
use crate::EmbeddingError;

/// Widths at which rows are measured: one cache line of values, and eight.
const DIMS: [usize; 2] = [16, 128];
/// Bytes of rows that are measured: within the second-level cache, within the third, and far beyond.
const SET_BYTES: [usize; 3] = [1 << 20, 1 << 23, 1 << 27];

/// How keys find their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// By position.
    Dense,
    /// Through the hash index.
    Hash,
}

/// Time of each distinct key of a batch, over all threads of a rank, while the other ranks of the
/// machine do the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowTime {
    /// How its row is found.
    pub lookup: Lookup,
    /// Width D; the optimizer keeps one more float.
    pub dim: usize,
    /// Rows of all tables of the trial.
    pub rows: u64,
    /// Nanoseconds to find the row and to copy its values.
    pub lookup_ns: f64,
    /// Nanoseconds of the optimizer's step on the row.
    pub update_ns: f64,
    /// Nanoseconds more to find that there is no row yet and to make it.
    pub insert_ns: f64,
}

/// Time of a step that has next to nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmptyStep {
    /// Nanoseconds of preparing.
    pub prepare_ns: f64,
    /// Nanoseconds of the lookup.
    pub lookup_ns: f64,
    /// Nanoseconds of the update.
    pub update_ns: f64,
}

/// Time of each id of a batch, whether its key is new in it or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OccurrenceTime {
    /// Width D.
    pub dim: usize,
    /// Nanoseconds to pool its values.
    pub pool_ns: f64,
    /// Nanoseconds to sum its gradient.
    pub sum_ns: f64,
    /// Nanoseconds to find out that its key is new in the batch.
    pub distinct_ns: f64,
}

/// The tables that are measured.
fn cases() -> Vec<(Lookup, usize, u64)> {
    let rows = |dim: usize, bytes: usize| (bytes / (size_of::<f32>() * dim)) as u64;
    let dense = DIMS.iter().flat_map(|dim| SET_BYTES.map(|set| (Lookup::Dense, *dim, set)));
    let hashed = SET_BYTES.map(|set| (Lookup::Hash, DIMS[0], set));
    dense.chain(hashed).map(|(lookup, dim, set)| (lookup, dim, rows(dim, set))).collect()
}

/// What the tables of a rank take.
pub(super) struct Measured {
    pub(super) rows: Vec<RowTime>,
    pub(super) occurrences: Vec<OccurrenceTime>,
    pub(super) empty: EmptyStep,
}

/// Measures this rank's tables.
///
/// # Collective
/// Every rank must call it, as all are to work at the same time.
pub(super) fn measure(comm: &dyn Comm, cold: &mut Cold) -> Result<Measured, EmbeddingError> {
    let hot_rows = HOT_KEYS * TABLES as u64;
    let mut empty = EmptyStep::default();
    let mut occurrences = Vec::new();
    for dim in DIMS {
        let mut hot = Trial::new(Lookup::Dense, dim, hot_rows)?;
        if dim == DIMS[0] {
            let StepTimes { prepare_ns, lookup_ns, update_ns, .. } = hot.shortest(comm, cold, 1)?;
            empty = EmptyStep { prepare_ns, lookup_ns, update_ns };
        }
        let all = hot.typical(comm, cold, ROWS)?;
        let each = |all_ns: f64, empty_ns: f64| ((all_ns - empty_ns) / IDS).max(0.0);
        occurrences.push(OccurrenceTime {
            dim,
            pool_ns: each(all.lookup_ns, empty.lookup_ns),
            sum_ns: each(all.update_ns, empty.update_ns),
            distinct_ns: each(all.prepare_ns, empty.prepare_ns),
        });
    }
    let mut rows = Vec::new();
    for (lookup, dim, rows_all) in cases() {
        let mut trial = Trial::new(lookup, dim, rows_all)?;
        let first_ns = trial.fill()?;
        let all = trial.typical(comm, cold, ROWS)?;
        let own = occurrences.iter_mut().find(|time| time.dim == dim);
        let own = own.expect("every measured width has occurrences");
        let each = |all_ns: f64, empty_ns: f64, occurrence_ns: f64| {
            let others_ns = empty_ns + occurrence_ns * IDS;
            ((all_ns - others_ns) / all.keys).max(0.0)
        };
        let lookup_ns = each(all.lookup_ns, empty.lookup_ns, own.pool_ns);
        rows.push(RowTime {
            lookup,
            dim,
            rows: rows_all,
            lookup_ns,
            update_ns: each(all.update_ns, empty.update_ns, own.sum_ns),
            insert_ns: (first_ns - lookup_ns - own.pool_ns).max(0.0),
        });
        if lookup == Lookup::Hash {
            let prepare_ns = all.prepare_ns - empty.prepare_ns;
            own.distinct_ns = own.distinct_ns.max(prepare_ns / IDS);
        }
    }
    level(&mut rows);
    Ok(Measured { rows, occurrences, empty })
}

/// Takes out what only a disturbed measurement can show: a row of a smaller table, or a narrower row
/// of one as large in bytes, that costs more.
fn level(rows: &mut [RowTime]) {
    for at in 0..rows.len() {
        let own = rows[at];
        let bytes = |time: &RowTime| time.rows * time.dim as u64;
        let dearer = rows.iter().filter(|other| {
            other.lookup == own.lookup && other.dim >= own.dim && bytes(other) >= bytes(&own)
        });
        let least = dearer.fold((own.lookup_ns, own.update_ns), |least, other| {
            (least.0.min(other.lookup_ns), least.1.min(other.update_ns))
        });
        (rows[at].lookup_ns, rows[at].update_ns) = least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_measurement_is_set_right_by_the_others() {
        let time = |dim, rows, lookup_ns| RowTime {
            lookup: Lookup::Dense,
            dim,
            rows,
            lookup_ns,
            update_ns: 2.0 * lookup_ns,
            insert_ns: 300.0,
        };
        let mut rows = [
            time(16, 1_000, 900.0),
            time(16, 8_000, 12.0),
            time(16, 64_000, 30.0),
            time(128, 1_000, 25.0),
            time(128, 8_000, 90.0),
        ];
        level(&mut rows);
        assert_eq!(rows.map(|time| time.lookup_ns), [12.0, 12.0, 30.0, 25.0, 90.0]);
        assert_eq!(rows.map(|time| time.update_ns), [24.0, 24.0, 60.0, 50.0, 180.0]);
    }
}
