//! What a table at a place costs each rank.
//!
//! A step of the engine is followed phase by phase. Each rank finds the distinct keys U of its B/R
//! rows and sends them to their owners; an owner that is asked for A keys by all ranks finds its
//! distinct ones, copies their values into the answer, later sums the A gradients that come back, and
//! takes one optimizer step per distinct row. What each of these takes is measured
//! ([`Calibration`]); here they are only counted.

use super::calibration::Calibration;
use super::load::TableLoad;
use super::machine::EmptyStep;
use super::share::{GRADIENTS, KEYS, RankShare, VALUES};
use crate::{Sharding, Wire};

/// Bytes of a key on the wire.
const KEY_BYTES: f64 = 8.0;
/// Bytes of a value or a gradient in buffers.
const VALUE_BYTES: f64 = 4.0;
/// Bytes of a value or a gradient on the wire, if it travels in 16 bits.
const HALF_BYTES: f64 = 2.0;
/// Collectives of a step: counts of keys, keys, values, gradients.
const EXCHANGES: f64 = 4.0;
const MS_PER_NS: f64 = 1e-6;

/// The ranks, and what they may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Number of ranks R.
    pub ranks: usize,
    /// Ranks of a node; they are numbered node by node.
    pub ranks_per_node: usize,
    /// Rows B of the global batch.
    pub batch_rows: usize,
    /// Memory that a rank may use, in bytes; `None`: as much as there is.
    pub memory_bytes_max: Option<u64>,
    /// Memory of each rank that is taken by what is no table, in bytes.
    pub reserved_bytes: u64,
    /// How values and gradients travel.
    pub wire: Wire,
}

/// Prices of one training.
pub(super) struct Prices<'a> {
    pub(super) calibration: &'a Calibration,
    pub(super) resources: Resources,
    /// Bytes of all tables on a rank if they are spread evenly: what competes for its caches.
    set_bytes: f64,
}

/// The keys that pass between one owner and the ranks in a step.
struct Asked {
    /// Columns of the owner's part.
    columns: usize,
    /// Share of the table's rows that the owner holds.
    share: f64,
    /// Whether values travel: not to a rank that has its own replica.
    values_travel: bool,
}

impl<'a> Prices<'a> {
    pub(super) fn new(
        calibration: &'a Calibration,
        resources: Resources,
        loads: &[TableLoad],
    ) -> Self {
        let bytes: f64 = loads.iter().map(|load| load.bytes() as f64).sum();
        Self { calibration, resources, set_bytes: bytes / resources.ranks as f64 }
    }

    /// Time of the exchanges' calls themselves, whatever they carry.
    pub(super) fn calls_ms(&self) -> f64 {
        let Resources { ranks, ranks_per_node, .. } = self.resources;
        let local =
            if ranks_per_node > 1 { self.calibration.exchange_local.latency_ms } else { 0.0 };
        let remote =
            if ranks_per_node < ranks { self.calibration.exchange_remote.latency_ms } else { 0.0 };
        EXCHANGES * (local + remote)
    }

    /// What a step takes each rank, whatever its tables bring.
    pub(super) fn empty(&self) -> RankShare {
        let EmptyStep { prepare_ns, lookup_ns, update_ns } = self.calibration.empty;
        RankShare {
            prepare_ms: prepare_ns * MS_PER_NS,
            lookup_ms: lookup_ns * MS_PER_NS,
            update_ms: update_ns * MS_PER_NS,
            ..RankShare::default()
        }
    }

    /// \[R\]: what `load` adds to each rank when it lives at `place`, which must fit the ranks.
    pub(super) fn shares(&self, load: &TableLoad, place: &Sharding) -> Vec<RankShare> {
        let ranks = self.resources.ranks;
        let mut shares = vec![self.everywhere(load); ranks];
        let dim = load.options.dim;
        let whole = |share| Asked { columns: dim, share, values_travel: true };
        match place {
            Sharding::DataParallel => {
                let replica = Asked { values_travel: false, ..whole(1.0) };
                (0..ranks).for_each(|owner| self.own(load, owner, &replica, &mut shares));
            }
            Sharding::TableWise { rank } => self.own(load, *rank, &whole(1.0), &mut shares),
            Sharding::RowWise => {
                let part = whole(1.0 / ranks as f64);
                (0..ranks).for_each(|owner| self.own(load, owner, &part, &mut shares));
            }
            Sharding::TableRowWise { first, ranks: count } => {
                let part = whole(1.0 / *count as f64);
                (*first..first + count).for_each(|owner| self.own(load, owner, &part, &mut shares));
            }
            Sharding::ColumnWise { ranks: owners } => {
                let columns = Sharding::column_parts(dim, owners.len());
                for (owner, columns) in owners.iter().zip(columns) {
                    let part = Asked { columns: columns.len(), ..whole(1.0) };
                    self.own(load, *owner, &part, &mut shares);
                }
            }
        }
        shares
    }

    /// Distinct keys of one rank's rows, and of all ranks' rows.
    fn keys(&self, load: &TableLoad) -> (f64, f64) {
        let Resources { ranks, batch_rows, .. } = self.resources;
        let rows = batch_rows as f64;
        let all = load.keys.distinct(rows);
        (load.keys.distinct(rows / ranks as f64), all)
    }

    /// What every rank does for its own rows, wherever the table lives.
    fn everywhere(&self, load: &TableLoad) -> RankShare {
        let Resources { ranks, batch_rows, .. } = self.resources;
        let calibration = self.calibration;
        let dim = load.options.dim as f64;
        let ids = load.ids_per_row * batch_rows as f64 / ranks as f64;
        let mut share = RankShare {
            prepare_ms: ids * calibration.distinct_ns() * MS_PER_NS,
            lookup_ms: ids * calibration.pool_ns(dim) * MS_PER_NS,
            update_ms: ids * calibration.sum_ns(dim) * MS_PER_NS,
            ..RankShare::default()
        };
        if ranks > 1 {
            // Values out of the message they came in, summed gradients into one.
            let (own_keys, _) = self.keys(load);
            let values = own_keys * dim;
            let copied_ms = self.copy_ms(values * VALUE_BYTES) + self.rounding_ms(values);
            share.lookup_ms += copied_ms;
            share.update_ms += copied_ms;
        }
        share
    }

    /// Adds what it takes that `owner` holds a part.
    fn own(&self, load: &TableLoad, owner: usize, part: &Asked, shares: &mut [RankShare]) {
        let calibration = self.calibration;
        let ranks = self.resources.ranks;
        let (own_keys, all_keys) = self.keys(load);
        let (columns, set) = (part.columns as f64, self.set_bytes);
        let rows = load.rows as f64 * part.share;
        let distinct = all_keys * part.share;
        let asked = own_keys * part.share * ranks as f64;
        let find_ns = calibration.lookup_ns(load.lookup(), columns, rows, set);
        let step_ns = calibration.update_ns(load.row_floats(part.columns) as f64, set);
        let share = &mut shares[owner];
        share.bytes += rows.ceil() * load.options.part_bytes(part.columns) as f64;
        share.bytes += load.options.admission.bytes() as f64 * part.share;
        share.lookup_ms += distinct * find_ns * MS_PER_NS;
        share.update_ms += distinct * step_ns * MS_PER_NS;
        let made = load.new_per_row * self.resources.batch_rows as f64 * part.share;
        let insert_ns = calibration.insert_ns(load.lookup(), columns);
        share.lookup_ms += made * insert_ns * MS_PER_NS;
        if ranks == 1 {
            return;
        }
        share.prepare_ms += asked * calibration.distinct_ns() * MS_PER_NS;
        // A row that several ranks ask for is read from the cache after the first time.
        let answered = if part.values_travel { asked } else { own_keys };
        share.lookup_ms += self.copy_ms((answered - distinct).max(0.0) * columns * VALUE_BYTES);
        share.update_ms += asked * calibration.sum_ns(columns) * MS_PER_NS;
        share.update_ms += self.copy_ms(asked * columns * VALUE_BYTES);
        share.lookup_ms += self.rounding_ms(answered * columns);
        share.update_ms += self.rounding_ms(asked * columns);
        let keys = own_keys * part.share;
        let values = keys * columns * self.wire_bytes();
        for rank in (0..ranks).filter(|rank| *rank != owner) {
            let far = usize::from(self.node(rank) != self.node(owner));
            let mut send = |phase: usize, from: usize, to: usize, bytes: f64| {
                shares[from].sent[phase][far] += bytes;
                shares[to].received[phase][far] += bytes;
            };
            send(KEYS, rank, owner, keys * KEY_BYTES);
            send(GRADIENTS, rank, owner, values);
            if part.values_travel {
                send(VALUES, owner, rank, values);
            }
        }
    }

    fn copy_ms(&self, bytes: f64) -> f64 {
        bytes / self.calibration.copy_bytes_per_ms
    }

    /// Bytes of a value or a gradient on the wire.
    fn wire_bytes(&self) -> f64 {
        match self.resources.wire {
            Wire::F32 => VALUE_BYTES,
            Wire::F16 | Wire::Bf16 => HALF_BYTES,
        }
    }

    /// Time of turning `values` numbers into those of the wire or back, if they differ: so many bytes
    /// are read, or written, and half as many the other way round.
    fn rounding_ms(&self, values: f64) -> f64 {
        match self.resources.wire {
            Wire::F32 => 0.0,
            Wire::F16 | Wire::Bf16 => self.copy_ms(values * f64::midpoint(VALUE_BYTES, HALF_BYTES)),
        }
    }

    fn node(&self, rank: usize) -> usize {
        rank / self.resources.ranks_per_node
    }
}
