//! What ranks send each other: keys to the ranks that hold them, values back, gradients to the
//! holders again. Each is one all-to-all for all tables together.

use std::sync::Arc;

use rectool_comm::{Comm, CommExt};

use crate::bags::{Bags, FeatureBags};
use crate::floats::Floats;
use crate::parallel::for_each;
use crate::placement::Placement;
use crate::plan::Plan;
use crate::prepare::{Phase, Prepared, PreparedTable};
use crate::step::{Tick, Update};
use crate::sums::{FeatureGradients, TableGradients, sum_gradients};
use crate::table::Table;
use crate::wire::Halves;
use crate::{EmbeddingError, Wire};

/// Exchanges the keys and values of batches, ahead of the collection that they go through and on
/// another thread. Made by [`crate::EmbeddingCollection::exchanger`].
pub struct Exchanger {
    plan: Arc<Plan>,
    comm: Arc<dyn Comm>,
    wire: Wire,
    buffers: Buffers,
}

/// Kept from step to step.
#[derive(Default)]
struct Buffers {
    send_words: Vec<u64>,
    receive_words: Vec<u64>,
    halves: Halves,
    send: Floats,
    receive: Floats,
    /// Sums of the gradients of the keys that this rank was asked for, [U, columns] for each table.
    asked: Floats,
}

impl Exchanger {
    pub(crate) fn new(plan: Arc<Plan>, comm: Arc<dyn Comm>, wire: Wire) -> Self {
        Self { plan, comm, wire, buffers: Buffers::default() }
    }

    /// As this one, over `comm`.
    pub(crate) fn over(&self, comm: Arc<dyn Comm>) -> Self {
        Self::new(Arc::clone(&self.plan), comm, self.wire)
    }

    pub(crate) fn set_wire(&mut self, wire: Wire) {
        self.wire = wire;
    }

    /// Tells the ranks which of their keys the batch needs. On one rank, and for a batch whose keys
    /// are known already, it does nothing.
    ///
    /// # Errors
    /// If the exchange failed, or another rank's tables are not the same.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn keys(&mut self, prepared: &mut Prepared) -> Result<(), EmbeddingError> {
        self.check_owner("exchange of keys", prepared)?;
        if self.comm.size() == 1 || prepared.asked {
            return Ok(());
        }
        let counts = self.write_keys(prepared);
        let Buffers { send_words, receive_words, .. } = &mut self.buffers;
        let parts = self.comm.all_to_all(send_words, &counts, receive_words)?;
        self.read_keys(&parts, prepared)?;
        prepared.asked = true;
        Ok(())
    }

    /// Unlike that of a collection with other tables, places or formats.
    fn fingerprint(&self) -> u64 {
        self.plan.fingerprint.wrapping_add(self.wire as u64)
    }

    /// To each rank goes: fingerprint, the number of keys of each table, the keys of each table.
    /// Returns the words for each rank.
    fn write_keys(&mut self, prepared: &Prepared) -> Vec<usize> {
        let fingerprint = self.fingerprint();
        let words = &mut self.buffers.send_words;
        words.clear();
        let mut counts = Vec::with_capacity(self.comm.size());
        let tables = || prepared.tables.iter().zip(&self.plan.placements);
        for rank in 0..self.comm.size() {
            let start = words.len();
            words.push(fingerprint);
            words.extend(tables().map(|(table, place)| table.keys_at(rank, place).len() as u64));
            for (table, place) in tables() {
                words.extend_from_slice(&table.local.distinct.keys[table.keys_at(rank, place)]);
            }
            counts.push(words.len() - start);
        }
        counts
    }

    /// Fills `asked` of every table with the keys that came: `parts` words from each rank.
    fn read_keys(&self, parts: &[usize], prepared: &mut Prepared) -> Result<(), EmbeddingError> {
        let tables = &mut prepared.tables;
        for table in tables.iter_mut() {
            table.asked_counts.clear();
        }
        // [T]: each rank's keys of a table.
        let mut keys: Vec<Vec<&[u64]>> = vec![Vec::new(); tables.len()];
        let mut rest = self.buffers.receive_words.as_slice();
        for (rank, words) in parts.iter().enumerate() {
            let (part, after) = rest.split_at(*words);
            rest = after;
            read_part(part, self.fingerprint(), tables, &mut keys)
                .map_err(|found| EmbeddingError::Peer { rank, found })?;
        }
        let tasks = tables.iter_mut().zip(keys).collect();
        for_each(tasks, |(table, keys): (&mut PreparedTable, Vec<&[u64]>)| {
            let count = table.asked_counts.iter().sum();
            self.plan.with_scratch(|scratch| {
                let mut finder = table.asked.distinct.begin(scratch, count, None);
                for part in keys {
                    finder.add(part.iter().copied()).expect("there is no bound");
                }
                finder.end();
            });
        });
        Ok(())
    }

    /// Fetches the values of the batch's keys, where every rank has called
    /// [`crate::EmbeddingCollection::answer`]. On one rank, and for a batch whose values are here
    /// already, it does nothing.
    ///
    /// # Errors
    /// If the exchange failed, or the batch has not been answered.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn values(&mut self, prepared: &mut Prepared) -> Result<(), EmbeddingError> {
        self.check_owner("exchange of values", prepared)?;
        let generation = match prepared.phase {
            Phase::Answered(generation) => generation,
            Phase::Valued(_) => return Ok(()),
            _ => {
                let (call, found) = ("exchange of values", "has no answers to send");
                return Err(EmbeddingError::Phase { call, found, expected: "was answered" });
            }
        };
        if self.comm.size() > 1 {
            self.swap_values(prepared)?;
        }
        prepared.phase = Phase::Valued(generation);
        Ok(())
    }

    /// Sends the answers of this rank, and lays those that come into `values`.
    pub(crate) fn swap_values(&mut self, prepared: &mut Prepared) -> Result<(), EmbeddingError> {
        let (ranks, own) = (self.comm.size(), self.plan.rank);
        let placements = &self.plan.placements;
        let send = by_rank(ranks, placements, &prepared.tables, |rank, place, table| {
            table.answers_for(rank, own, place)
        });
        let receive = by_rank(ranks, placements, &prepared.tables, |rank, place, table| {
            if place.is_replicated() && rank != own {
                return 0;
            }
            table.keys_at(rank, place).len() * place.columns(rank).len()
        });
        let (send, receive_sums) = (sums(&send), sums(&receive));
        let answers = &prepared.answers.as_slice()[..send.iter().sum()];
        let Buffers { halves, receive: into, .. } = &mut self.buffers;
        let sent = (answers, send.as_slice());
        let mut rest = self.wire.exchange(&*self.comm, sent, &receive_sums, (halves, into))?;
        // [T]: what each rank sent of a table.
        let mut came: Vec<Vec<(usize, &[f32])>> = vec![Vec::with_capacity(ranks); placements.len()];
        for (rank, lengths) in receive.iter().enumerate() {
            for (parts, length) in came.iter_mut().zip(lengths) {
                let (part, after) = rest.split_at(*length);
                rest = after;
                parts.push((rank, part));
            }
        }
        let (tables, values) = prepared.lay_out_values(placements);
        let tasks = tables.iter().zip(placements).zip(came).zip(values).collect();
        for_each(tasks, |(((table, place), parts), values): (_, &mut [f32])| {
            for (rank, part) in parts {
                table.lay_in(place, (rank, part), values);
            }
        });
        Ok(())
    }

    /// Sends the summed gradients of this rank's keys to the ranks that hold them; sums those of the
    /// keys that this rank was asked for, in rank order.
    pub(crate) fn gradients(&mut self, prepared: &Prepared) -> Result<(), EmbeddingError> {
        let (ranks, own) = (self.comm.size(), self.plan.rank);
        let (placements, tables) = (&self.plan.placements, &prepared.tables);
        let lengths = by_rank(ranks, placements, tables, |rank, place, table| {
            table.keys_at(rank, place).len() * place.columns(rank).len()
        });
        let Buffers { halves, send, receive, asked, .. } = &mut self.buffers;
        let send = send.first_mut(lengths.iter().flatten().sum());
        write_gradients(prepared, placements, &lengths, send);
        let receive_lengths = by_rank(ranks, placements, tables, |rank, place, table| {
            table.asked_counts[rank] * place.columns(own).len()
        });
        let sent = (&*send, sums(&lengths));
        let expected = sums(&receive_lengths);
        let came =
            self.wire.exchange(&*self.comm, (sent.0, &sent.1), &expected, (halves, receive))?;
        let asked_lengths = asked_lengths(&self.plan, tables);
        let asked = parts_mut(asked.first_mut(asked_lengths.iter().sum()), &asked_lengths);
        let mut parts: Vec<TableGradients<'_>> = asked
            .into_iter()
            .zip(placements)
            .map(|(sums, place)| TableGradients {
                dim: place.columns(own).len(),
                features: Vec::with_capacity(ranks),
                sums,
            })
            .collect();
        let mut rest = came;
        for (rank, lengths) in receive_lengths.iter().enumerate() {
            for ((part, length), table) in parts.iter_mut().zip(lengths).zip(tables) {
                let (values, after) = rest.split_at(*length);
                rest = after;
                let first: usize = table.asked_counts[..rank].iter().sum();
                let rows = table.asked_counts[rank];
                let slots = &table.asked.distinct.slots[first..first + rows];
                let bags = FeatureBags { bags: Bags::Single, slots };
                part.features.push(FeatureGradients { bags, values, stride: part.dim, rows });
            }
        }
        sum_gradients(&mut parts);
        Ok(())
    }

    /// The steps that the holders take after [`Exchanger::gradients`].
    pub(crate) fn updates<'a>(
        &'a self,
        tables: &'a mut [Table],
        prepared: &'a Prepared,
        tick: Tick,
    ) -> Vec<Update<'a>> {
        let lengths = asked_lengths(&self.plan, &prepared.tables);
        let mut rest = self.buffers.asked.as_slice();
        let parts = tables.iter_mut().zip(&prepared.tables).zip(lengths);
        parts
            .map(|((table, prepared), length)| {
                let (sums, after) = rest.split_at(length);
                rest = after;
                Update::new(table, &prepared.asked, sums, tick)
            })
            .collect()
    }

    pub(crate) fn check_owner(
        &self,
        call: &'static str,
        prepared: &Prepared,
    ) -> Result<(), EmbeddingError> {
        if prepared.identity == self.plan.identity {
            return Ok(());
        }
        let found = "was prepared by another collection";
        Err(EmbeddingError::Phase { call, found, expected: "this one prepared" })
    }
}

impl PreparedTable {
    /// Floats that rank `own` answers `rank` with.
    pub(crate) fn answers_for(&self, rank: usize, own: usize, place: &Placement) -> usize {
        if place.is_replicated() && rank != own {
            return 0;
        }
        self.asked_counts[rank] * place.columns(own).len()
    }

    /// Copies what `rank` answered to its place in the table's `values`, [U, D].
    fn lay_in(&self, place: &Placement, (rank, answer): (usize, &[f32]), values: &mut [f32]) {
        let (dim, columns) = (place.dim(), place.columns(rank));
        let values = &mut values[self.keys_at(rank, place).start * dim..];
        if columns.len() == dim {
            values[..answer.len()].copy_from_slice(answer);
            return;
        }
        for (row, answer) in values.chunks_mut(dim).zip(answer.chunks_exact(columns.len().max(1))) {
            row[columns.clone()].copy_from_slice(answer);
        }
    }
}

/// [R, T] from what `length` makes of each rank and table.
fn by_rank(
    ranks: usize,
    placements: &[Placement],
    tables: &[PreparedTable],
    length: impl Fn(usize, &Placement, &PreparedTable) -> usize,
) -> Vec<Vec<usize>> {
    let of = |rank| placements.iter().zip(tables).map(|(p, t)| length(rank, p, t)).collect();
    (0..ranks).map(of).collect()
}

/// \[R\] from [R, T].
fn sums(lengths: &[Vec<usize>]) -> Vec<usize> {
    lengths.iter().map(|lengths| lengths.iter().sum()).collect()
}

/// The summed gradients of the batch's keys to `send`: one rank after another, table by table.
fn write_gradients(
    prepared: &Prepared,
    placements: &[Placement],
    lengths: &[Vec<usize>],
    send: &mut [f32],
) {
    let mut rest = send;
    let mut tasks = Vec::new();
    for (rank, lengths) in lengths.iter().enumerate() {
        for ((table, place), length) in prepared.tables.iter().zip(placements).zip(lengths) {
            let (out, after) = rest.split_at_mut(*length);
            rest = after;
            if *length > 0 {
                let (dim, keys) = (place.dim(), table.keys_at(rank, place));
                let sums = &prepared.values_of(table, dim)[keys.start * dim..keys.end * dim];
                tasks.push((sums, dim, place.columns(rank), out));
            }
        }
    }
    for_each(tasks, |(sums, dim, columns, out)| {
        if columns.len() == dim {
            out.copy_from_slice(sums);
            return;
        }
        for (out, row) in out.chunks_exact_mut(columns.len()).zip(sums.chunks_exact(dim)) {
            out.copy_from_slice(&row[columns.clone()]);
        }
    });
}

/// Splits one rank's message into the keys of each table, or says what is wrong with it.
fn read_part<'a>(
    part: &'a [u64],
    fingerprint: u64,
    tables: &mut [PreparedTable],
    keys: &mut [Vec<&'a [u64]>],
) -> Result<(), &'static str> {
    const CUT: &str = "a message of another length than it says";
    if part.first() != Some(&fingerprint) {
        return Err("other tables, features or places");
    }
    let (head, mut rest) = part[1..].split_at_checked(tables.len()).ok_or(CUT)?;
    for ((count, table), keys) in head.iter().zip(tables).zip(keys) {
        let (own, after) = rest.split_at_checked(*count as usize).ok_or(CUT)?;
        table.asked_counts.push(own.len());
        keys.push(own);
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(CUT) }
}

/// \[T\]: floats of the sums for a table's asked keys.
fn asked_lengths(plan: &Plan, tables: &[PreparedTable]) -> Vec<usize> {
    let tables = tables.iter().zip(&plan.placements);
    tables
        .map(|(table, place)| table.asked.distinct.len() * place.columns(plan.rank).len())
        .collect()
}

/// Parts of the given lengths, one after another.
fn parts_mut<'a>(mut rest: &'a mut [f32], lengths: &[usize]) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (part, after) = rest.split_at_mut(*length);
        rest = after;
        parts.push(part);
    }
    parts
}
