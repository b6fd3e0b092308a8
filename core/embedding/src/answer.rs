//! The values that a rank sends to those that ask for them.

use crate::lookup::{Gather, Pick, gather};
use crate::plan::Plan;
use crate::prepare::Prepared;
use crate::table::Table;

/// The values of the keys that each rank asked for, into `answers`: one rank after another, table by
/// table.
pub(crate) fn answers(plan: &Plan, ranks: usize, tables: &[Table], prepared: &mut Prepared) {
    let Prepared { tables: asked, answers, .. } = prepared;
    let lengths: Vec<Vec<usize>> = (0..ranks)
        .map(|rank| {
            let tables = asked.iter().zip(&plan.placements);
            tables.map(|(asked, place)| asked.answers_for(rank, plan.rank, place)).collect()
        })
        .collect();
    let mut buffer = answers.first_mut(lengths.iter().flatten().sum());
    let mut first = vec![0; tables.len()];
    let mut tasks = Vec::new();
    for (rank, lengths) in lengths.iter().enumerate() {
        for (t, length) in lengths.iter().enumerate() {
            let lookups = &asked[t].asked;
            let start = first[t];
            first[t] += asked[t].asked_counts[rank];
            if *length == 0 {
                continue;
            }
            let (out, rest) = buffer.split_at_mut(*length);
            buffer = rest;
            let pick = Pick::Listed(&lookups.distinct.slots[start..]);
            Gather { table: &tables[t], lookups, pick, out }.split(&mut tasks);
        }
    }
    gather(tasks);
}

/// The values of this rank's keys, where it is the only one.
pub(crate) fn own_values(plan: &Plan, tables: &[Table], prepared: &mut Prepared) {
    let (asked, parts) = prepared.lay_out_values(&plan.placements);
    let mut tasks = Vec::new();
    for ((table, asked), out) in tables.iter().zip(asked).zip(parts) {
        let lookups = &asked.local;
        Gather { table, lookups, pick: Pick::From(0), out }.split(&mut tasks);
    }
    gather(tasks);
}
