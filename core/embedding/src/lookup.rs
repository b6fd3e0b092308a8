//! From keys to values: finds rows and copies them out.

use crate::index::ABSENT;
use crate::parallel::{for_each, try_for_each};
use crate::prepare::Lookups;
use crate::row::{values, words_to_state};
use crate::storage::{Bf16, Element, F16};
use crate::table::Table;
use crate::width::{RowKernel, Width, run_rows, update_with};
use crate::{EmbeddingError, Mode, Storage};

/// Keys of a task. Under Miri, which sees two threads at one place, so few that small tables have several.
pub(crate) const KEYS_PER_TASK: usize = if cfg!(miri) { 3 } else { 2048 };

/// How many rows ahead of the one in hand memory is asked for rows of `words` words: as much as a
/// processor can have on its way, and no more than lies well within its first-level cache.
#[inline(always)]
pub(crate) fn rows_ahead(words: usize) -> usize {
    (2048 / words.max(1)).clamp(4, 32)
}

/// Finds the row of every key; in training, makes those that are missing.
///
/// # Determinism
/// A table's new rows are made in the order of its keys.
pub(crate) fn resolve<'a>(
    tables: &mut [Table],
    lookups: impl Iterator<Item = &'a mut Lookups>,
    mode: Mode,
) -> Result<(), EmbeddingError> {
    let mut lookups: Vec<&mut Lookups> = lookups.collect();
    let mut tasks = Vec::new();
    for (table, lookups) in tables.iter().zip(&mut lookups) {
        let Lookups { distinct, rows } = &mut **lookups;
        rows.resize(distinct.len(), ABSENT);
        let keys = distinct.keys.chunks(KEYS_PER_TASK);
        tasks.extend(keys.zip(rows.chunks_mut(KEYS_PER_TASK)).map(|part| (table, part)));
    }
    for_each(tasks, |(table, (keys, rows))| table.index.find(keys, rows));
    if mode == Mode::Evaluate {
        return Ok(());
    }
    let missing = |lookups: &Lookups| lookups.rows.contains(&ABSENT);
    let tasks: Vec<_> =
        tables.iter_mut().zip(lookups).filter(|(_, lookups)| missing(lookups)).collect();
    try_for_each(tasks, |(table, lookups)| {
        table.insert_absent(&lookups.distinct.keys, &mut lookups.rows)
    })
}

/// A part of a buffer, to be filled with the values of some keys.
pub(crate) struct Gather<'a> {
    pub(crate) table: &'a Table,
    pub(crate) lookups: &'a Lookups,
    /// Which keys, as positions in `lookups`: those of a range, or listed ones.
    pub(crate) pick: Pick<'a>,
    /// [keys, D].
    pub(crate) out: &'a mut [f32],
}

#[derive(Clone, Copy)]
pub(crate) enum Pick<'a> {
    From(usize),
    Listed(&'a [u32]),
}

impl<'a> Gather<'a> {
    /// Cuts it into tasks.
    pub(crate) fn split(self, tasks: &mut Vec<Gather<'a>>) {
        let Self { table, lookups, pick, out } = self;
        for (part, out) in out.chunks_mut(KEYS_PER_TASK * table.layout.dim).enumerate() {
            let first = part * KEYS_PER_TASK;
            let pick = match pick {
                Pick::From(start) => Pick::From(start + first),
                Pick::Listed(slots) => Pick::Listed(&slots[first..]),
            };
            tasks.push(Gather { table, lookups, pick, out });
        }
    }
}

/// Fills all of `tasks`.
pub(crate) fn gather(tasks: Vec<Gather<'_>>) {
    for_each(tasks, |task| run_rows(task.table.layout.dim, task));
}

impl RowKernel for Gather<'_> {
    #[inline(always)]
    fn run<W: Width>(self, width: W) {
        let Self { table, lookups, pick, out } = self;
        let copy = CopyRows { table, lookups, width, out };
        match table.layout.storage {
            Storage::F32 => copy.pick::<f32>(pick),
            Storage::Bf16 => copy.pick::<Bf16>(pick),
            Storage::F16 => copy.pick::<F16>(pick),
        }
    }
}

/// A part of a buffer that is filled with the values of some keys of rows of one width.
struct CopyRows<'a, W> {
    table: &'a Table,
    lookups: &'a Lookups,
    width: W,
    out: &'a mut [f32],
}

impl<W: Width> CopyRows<'_, W> {
    #[inline(always)]
    fn pick<E: Element>(self, pick: Pick<'_>) {
        match pick {
            Pick::From(first) => self.copy::<E>(|i| first + i),
            Pick::Listed(slots) => self.copy::<E>(|i| slots[i] as usize),
        }
    }

    #[inline(always)]
    fn copy<E: Element>(self, pick: impl Fn(usize) -> usize) {
        let Self { table, lookups, width, out } = self;
        let dim = width.get();
        let (reader, words) = (table.slab.reader(), words_to_state::<E>(dim));
        let (count, ahead) = (out.len() / dim, rows_ahead(words));
        for (i, out) in out.chunks_exact_mut(dim).enumerate() {
            if i + ahead < count {
                reader.prefetch(lookups.rows[pick(i + ahead)], words);
            }
            let u = pick(i);
            match lookups.rows[u] {
                ABSENT => table.absent_values(lookups.distinct.keys[u], out),
                row => {
                    let values = values::<E>(reader.words(row, words), dim);
                    update_with(out, values, |_, value| value.widen());
                }
            }
        }
    }
}
