//! What ranks send each other: keys to their owners, values back, gradients to the owners again.
//! Each is one all-to-all for all tables together.

use rectool_comm::{Comm, CommExt};

use crate::EmbeddingError;
use crate::floats::Floats;
use crate::lookup::{Gather, Pick, gather};
use crate::parallel::for_each;
use crate::plan::Plan;
use crate::prepare::{Prepared, PreparedTable};
use crate::step::{Tick, Update};
use crate::table::Table;
use crate::update::{Collect, Gradients, collect};

/// Buffers kept from step to step.
#[derive(Default)]
pub(crate) struct Exchange {
    send_words: Vec<u64>,
    receive_words: Vec<u64>,
    send: Floats,
    receive: Floats,
    /// Gradients of the keys that this rank was asked for, [N, D] for each table.
    asked: Floats,
}

impl Exchange {
    /// Sends each rank the keys it owns, and fills `asked` of every table with those that came.
    ///
    /// To each rank goes: fingerprint, the number of keys of each table, the keys of each table.
    pub(crate) fn keys(
        &mut self,
        comm: &dyn Comm,
        plan: &Plan,
        prepared: &mut Prepared,
    ) -> Result<(), EmbeddingError> {
        let tables = &mut prepared.tables;
        let words = &mut self.send_words;
        words.clear();
        let mut counts = Vec::with_capacity(comm.size());
        for rank in 0..comm.size() {
            let start = words.len();
            words.push(plan.fingerprint);
            words.extend(tables.iter().map(|table| table.group(rank).len() as u64));
            for table in tables.iter() {
                words.extend_from_slice(&table.local.distinct.keys[table.group(rank)]);
            }
            counts.push(words.len() - start);
        }
        let parts = comm.all_to_all(words, &counts, &mut self.receive_words)?;
        for table in tables.iter_mut() {
            table.asked_counts.clear();
        }
        // [T]: each rank's keys of a table.
        let mut keys: Vec<Vec<&[u64]>> = vec![Vec::new(); tables.len()];
        let mut rest = self.receive_words.as_slice();
        for (rank, words) in parts.iter().enumerate() {
            let (part, after) = rest.split_at(*words);
            rest = after;
            read_keys(part, plan.fingerprint, tables, &mut keys)
                .map_err(|found| EmbeddingError::Peer { rank, found })?;
        }
        let tasks = tables.iter_mut().zip(keys).collect();
        for_each(tasks, |(table, keys): (&mut PreparedTable, Vec<&[u64]>)| {
            let count = table.asked_counts.iter().sum();
            plan.with_scratch(|scratch| {
                let mut finder = table.asked.distinct.begin(scratch, count, None);
                for part in keys {
                    finder.add(part.iter().copied());
                }
            });
            table.asked.distinct.place_begin();
            table.asked.distinct.place(0..count, 0..count as u32);
        });
        Ok(())
    }

    /// Answers with the values of the keys asked for, and receives those this rank asked for.
    pub(crate) fn values(
        &mut self,
        comm: &dyn Comm,
        tables: &[Table],
        prepared: &mut Prepared,
    ) -> Result<(), EmbeddingError> {
        let lengths = by_rank(comm, |rank| asked_floats(rank, tables, &prepared.tables).collect());
        let mut buffer = self.send.first_mut(lengths.iter().flatten().sum());
        let mut first = vec![0; tables.len()];
        let mut tasks = Vec::new();
        for lengths in &lengths {
            for (t, length) in lengths.iter().enumerate() {
                let (out, rest) = buffer.split_at_mut(*length);
                buffer = rest;
                let (table, lookups) = (&tables[t], &prepared.tables[t].asked);
                let pick = Pick::Listed(&lookups.distinct.slots[first[t]..]);
                first[t] += length / table.layout.dim;
                Gather { table, lookups, pick, out }.split(&mut tasks);
            }
        }
        gather(tasks);
        let receive = by_rank(comm, |rank| local_floats(rank, tables, &prepared.tables).collect());
        let mut rest = self.swap(comm, &lengths, &receive)?;
        let total = prepared.lay_out_values(tables);
        let values = prepared.values.first_mut(total);
        for (rank, lengths) in receive.iter().enumerate() {
            for (t, length) in lengths.iter().enumerate() {
                let prepared = &prepared.tables[t];
                let at = prepared.base + prepared.group(rank).start * tables[t].layout.dim;
                rest = take(rest, &mut values[at..at + length]);
            }
        }
        Ok(())
    }

    /// Sends the summed gradients of this rank's keys to their owners; returns in `asked` those of
    /// the keys that this rank was asked for.
    pub(crate) fn gradients(
        &mut self,
        comm: &dyn Comm,
        tables: &[Table],
        prepared: &Prepared,
        gradients: &[Gradients<'_>],
    ) -> Result<(), EmbeddingError> {
        let lengths = by_rank(comm, |rank| local_floats(rank, tables, &prepared.tables).collect());
        let mut buffer = self.send.first_mut(lengths.iter().flatten().sum());
        let mut tasks = Vec::new();
        for (rank, lengths) in lengths.iter().enumerate() {
            for (t, length) in lengths.iter().enumerate() {
                let (out, rest) = buffer.split_at_mut(*length);
                buffer = rest;
                let distinct = &prepared.tables[t].local.distinct;
                let first = prepared.tables[t].group(rank).start;
                let dim = tables[t].layout.dim;
                tasks.push(Collect { dim, distinct, gradients: &gradients[t], first, out });
            }
        }
        collect(tasks);
        let receive = by_rank(comm, |rank| asked_floats(rank, tables, &prepared.tables).collect());
        let mut asked = std::mem::take(&mut self.asked);
        let mut rest = self.swap(comm, &lengths, &receive)?;
        let out = asked.first_mut(rest.len());
        let mut next = asked_bases(tables, &prepared.tables);
        for lengths in &receive {
            for (next, length) in next.iter_mut().zip(lengths) {
                rest = take(rest, &mut out[*next..*next + length]);
                *next += length;
            }
        }
        self.asked = asked;
        Ok(())
    }

    /// The steps that the owner takes after [`Exchange::gradients`].
    pub(crate) fn updates<'a>(
        &'a self,
        tables: &'a mut [Table],
        prepared: &'a Prepared,
        tick: Tick,
    ) -> Vec<Update<'a>> {
        let bases = asked_bases(tables, &prepared.tables);
        let parts = tables.iter_mut().zip(&prepared.tables).zip(bases);
        parts
            .map(|((table, prepared), base)| {
                let gradients = Gradients {
                    values: self.asked.as_slice(),
                    row_stride: table.layout.dim,
                    row_bits: u32::BITS,
                    offsets: vec![base],
                };
                Update::new(table, &prepared.asked, gradients, tick)
            })
            .collect()
    }

    /// Sends the front of `send` to the ranks; both lengths are [R, T], in floats. Returns what came.
    fn swap(
        &mut self,
        comm: &dyn Comm,
        send: &[Vec<usize>],
        receive: &[Vec<usize>],
    ) -> Result<&[f32], EmbeddingError> {
        let sums = |lengths: &[Vec<usize>]| -> Vec<usize> {
            lengths.iter().map(|lengths| lengths.iter().sum()).collect()
        };
        let (send, receive) = (sums(send), sums(receive));
        let out = self.send.first_mut(send.iter().sum());
        let into = self.receive.first_mut(receive.iter().sum());
        comm.all_to_all_known(out, &send, into, &receive)?;
        Ok(into)
    }
}

/// [R, T] from the \[T\] of each rank.
fn by_rank(comm: &dyn Comm, lengths: impl Fn(usize) -> Vec<usize>) -> Vec<Vec<usize>> {
    (0..comm.size()).map(lengths).collect()
}

/// Splits one rank's message into the keys of each table, or says what is wrong with it.
fn read_keys<'a>(
    part: &'a [u64],
    fingerprint: u64,
    tables: &mut [PreparedTable],
    keys: &mut [Vec<&'a [u64]>],
) -> Result<(), &'static str> {
    const CUT: &str = "a message of another length than it says";
    if part.first() != Some(&fingerprint) {
        return Err("other tables or features");
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

/// \[T\]: floats for the keys that `rank` asked this rank for.
fn asked_floats<'a>(
    rank: usize,
    tables: &'a [Table],
    prepared: &'a [PreparedTable],
) -> impl Iterator<Item = usize> + 'a {
    tables.iter().zip(prepared).map(move |(table, p)| p.asked_counts[rank] * table.layout.dim)
}

/// \[T\]: floats for the keys that this rank asks `rank` for.
fn local_floats<'a>(
    rank: usize,
    tables: &'a [Table],
    prepared: &'a [PreparedTable],
) -> impl Iterator<Item = usize> + 'a {
    tables.iter().zip(prepared).map(move |(table, p)| p.group(rank).len() * table.layout.dim)
}

/// \[T\]: where the gradients of a table's asked keys begin.
fn asked_bases(tables: &[Table], prepared: &[PreparedTable]) -> Vec<usize> {
    let mut base = 0;
    let tables = tables.iter().zip(prepared);
    tables
        .map(|(table, prepared)| {
            let own = base;
            base += prepared.asked.distinct.slots.len() * table.layout.dim;
            own
        })
        .collect()
}

/// Copies the front of `floats` to `out`; returns the others.
fn take<'a>(floats: &'a [f32], out: &mut [f32]) -> &'a [f32] {
    let (own, rest) = floats.split_at(out.len());
    out.copy_from_slice(own);
    rest
}

/// The values of this rank's keys, where it owns them all.
pub(crate) fn own_values(tables: &[Table], prepared: &mut Prepared) {
    let total = prepared.lay_out_values(tables);
    let mut buffer = prepared.values.first_mut(total);
    let mut tasks = Vec::new();
    let mut at = 0;
    for (table, prepared) in tables.iter().zip(&prepared.tables) {
        let lookups = &prepared.local;
        let (_, rest) = buffer.split_at_mut(prepared.base - at);
        let (out, rest) = rest.split_at_mut(lookups.distinct.len() * table.layout.dim);
        at = prepared.base + out.len();
        buffer = rest;
        Gather { table, lookups, pick: Pick::From(0), out }.split(&mut tasks);
    }
    gather(tasks);
}
