//! What each code adds to a score, for one query.

use super::codebook::{CODES, Codebook};
use crate::kernel::{Arithmetic, GROUP, Kernel, Line, dispatch};

/// Sums of entries stay below 16 bits.
const SUM_MAX: usize = 65_535;

/// The table of a query: score of a vector ≈ leaf's part + `offset` + sum / `steps`.
///
/// One table serves all leaves, because a residual's product does not depend on its leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) lines: Vec<Line>,
    /// Entries' units per unit of score.
    pub(crate) steps: f32,
    /// Sum of the least values of all positions.
    pub(crate) offset: f32,
    /// The largest sum that a vector can reach.
    pub(crate) sum_max: i32,
    values: Vec<[f32; CODES]>,
}

impl Table {
    /// Fills the table for `query` [D].
    pub(crate) fn set(&mut self, codebook: Codebook<'_>, query: &[f32]) {
        dispatch(Fill { table: self, codebook, query });
    }

    /// A part of a score in units of entries.
    pub(crate) fn in_steps(&self, score: f32) -> i32 {
        // Far from the ends of the range, so that a sum added to it cannot overflow.
        (score * self.steps).round().clamp(-1e9, 1e9) as i32
    }
}

struct Fill<'a> {
    table: &'a mut Table,
    codebook: Codebook<'a>,
    query: &'a [f32],
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { table, codebook, query } = self;
        multiply::<A>(codebook, query, &mut table.values);
        let mut widest = 0.0f32;
        table.offset = 0.0;
        for values in &mut table.values {
            let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
            for value in &*values {
                least = least.min(*value);
                most = most.max(*value);
            }
            for value in values {
                *value -= least;
            }
            table.offset += least;
            widest = widest.max(most - least);
        }
        let entry_max = (SUM_MAX / table.values.len().max(1)).min(255);
        let steps = entry_max as f32 / widest;
        table.steps = if steps.is_finite() { steps } else { 1.0 };
        table.lines.clear();
        table.lines.resize(table.values.len().div_ceil(GROUP), Line([0; 64]));
        table.sum_max = 0;
        for (position, values) in table.values.iter().enumerate() {
            let line = &mut table.lines[position / GROUP].0;
            let entries = &mut line[position % GROUP * CODES..][..CODES];
            let mut most = 0;
            for (entry, value) in entries.iter_mut().zip(values) {
                // At least 0, so that adding a half and cutting off rounds.
                *entry = (value * table.steps + 0.5) as u8;
                most = most.max(*entry);
            }
            table.sum_max += i32::from(most);
        }
    }
}

/// What each code of each position adds to a score.
#[inline(always)]
fn multiply<A: Arithmetic>(codebook: Codebook<'_>, query: &[f32], out: &mut Vec<[f32; CODES]>) {
    out.clear();
    for (entries, part) in codebook.parts(query) {
        let mut values = [0.0; CODES];
        for (column, entries) in part.iter().zip(&entries.values) {
            for (value, entry) in values.iter_mut().zip(entries) {
                *value = A::multiply_add(*column, *entry, *value);
            }
        }
        out.push(values);
    }
    for entries in codebook.bias() {
        out.push(entries.values[0]);
    }
}
