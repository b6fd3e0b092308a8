//! The layout of every matrix that takes part in a product: panels of 16 columns.

use super::Place;
use super::aligned::Aligned;

/// Columns of a panel: one cache line of a row.
pub(crate) const PANEL: usize = 16;

/// Rows are computed in multiples of this many.
pub(crate) const ROW_TILE: usize = 8;

/// A matrix [rows, columns] cut into panels of 16 columns, each [rows, 16] and contiguous.
///
/// All three products of a linear layer read it in place, forward along a row's line and backward
/// along a panel, without strides that would fall on few sets of the cache, and without packing.
/// Columns beyond the last one are zero, and every kernel keeps them so.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    values: Aligned,
    rows: usize,
    columns: usize,
}

impl Panels {
    /// Zeros.
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        let values = Aligned::new(columns.div_ceil(PANEL) * rows * PANEL);
        Self { values, rows, columns }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// All values, panel by panel.
    pub(crate) fn values(&self) -> &[f32] {
        self.values.values()
    }

    /// All values, panel by panel, for writing.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        self.values.values_mut()
    }

    /// The same memory as a matrix of other columns, of which it must have room for.
    pub(crate) fn reshape(&mut self, columns: usize) {
        let needed = columns.div_ceil(PANEL) * self.rows * PANEL;
        let room = self.values.values().len();
        assert!(needed <= room, "{columns} columns of {} rows in {room} values", self.rows);
        self.columns = columns;
    }

    /// The lines of the first `rows` rows, panel by panel.
    pub(crate) fn lines(&self, rows: usize) -> impl Iterator<Item = &[f32]> {
        let panels = self.values().chunks_exact(self.rows * PANEL).take(self.count());
        panels.map(move |panel| &panel[..rows * PANEL])
    }

    /// As [`Panels::lines`], for writing.
    pub(crate) fn lines_mut(&mut self, rows: usize) -> impl Iterator<Item = &mut [f32]> {
        let (stride, count) = (self.rows * PANEL, self.count());
        let panels = self.values_mut().chunks_exact_mut(stride).take(count);
        panels.map(move |panel| &mut panel[..rows * PANEL])
    }

    /// Takes over the first `columns` values of each row of `from` [n, stride]; rows from n to the
    /// next multiple of 8 become zero.
    pub(crate) fn write_rows(&mut self, from: &[f32], stride: usize) {
        self.write_rows_at(from, Place { stride, offset: 0 });
    }

    /// As [`Panels::write_rows`], of the `columns` values from the place's offset on.
    pub(crate) fn write_rows_at(&mut self, from: &[f32], Place { stride, offset }: Place) {
        let (rows, columns) = (self.rows, self.columns);
        let given = from.len() / stride;
        assert!(
            given <= rows && offset + columns <= stride,
            "{given} rows of {stride} for [{rows}, {columns}] from {offset} on"
        );
        let padded = given.next_multiple_of(ROW_TILE).min(rows);
        for (at, panel) in self.values_mut().chunks_exact_mut(rows * PANEL).enumerate() {
            let Some(width) = columns.checked_sub(at * PANEL) else { break };
            let (first, width) = (offset + at * PANEL, width.min(PANEL));
            let lines = panel.chunks_exact_mut(PANEL).zip(from.chunks_exact(stride));
            if width == PANEL {
                lines.for_each(|(line, row)| line.copy_from_slice(&row[first..first + PANEL]));
            } else {
                lines.for_each(|(line, row)| {
                    line[..width].copy_from_slice(&row[first..first + width]);
                    line[width..].fill(0.0);
                });
            }
            panel[given * PANEL..padded * PANEL].fill(0.0);
        }
    }

    /// Copies each row to the first `columns` values of a row of `into` [n, stride].
    pub(crate) fn read_rows(&self, into: &mut [f32], stride: usize) {
        let (rows, columns) = (self.rows, self.columns);
        assert!(into.len() / stride <= rows && columns <= stride);
        for (at, panel) in self.values().chunks_exact(rows * PANEL).enumerate() {
            let Some(width) = columns.checked_sub(at * PANEL) else { break };
            let (first, width) = (at * PANEL, width.min(PANEL));
            let lines = panel.chunks_exact(PANEL).zip(into.chunks_exact_mut(stride));
            if width == PANEL {
                lines.for_each(|(line, row)| row[first..first + PANEL].copy_from_slice(line));
            } else {
                lines.for_each(|(line, row)| {
                    row[first..first + width].copy_from_slice(&line[..width]);
                });
            }
        }
    }

    /// The lines of row `row`, one of each panel.
    pub(crate) fn row(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        self.values().chunks_exact(PANEL).skip(row).step_by(self.rows)
    }

    /// As [`Panels::row`], for writing.
    pub(crate) fn row_mut(&mut self, row: usize) -> impl Iterator<Item = &mut [f32]> {
        let rows = self.rows;
        self.values_mut().chunks_exact_mut(PANEL).skip(row).step_by(rows)
    }

    /// Copies row `row` to `into` \[columns\].
    pub(crate) fn read_row(&self, row: usize, into: &mut [f32]) {
        for (line, into) in self.row(row).zip(into[..self.columns].chunks_mut(PANEL)) {
            into.copy_from_slice(&line[..into.len()]);
        }
    }

    /// Multiplies row `row` by `scale`.
    pub(crate) fn scale_row(&mut self, row: usize, scale: f32) {
        self.row_mut(row).for_each(|line| line.iter_mut().for_each(|value| *value *= scale));
    }

    /// Column `column`, for reading.
    pub(crate) fn column(&self, column: usize) -> impl Iterator<Item = f32> + '_ {
        let panel = column / PANEL * self.rows * PANEL;
        let values = &self.values()[panel..panel + self.rows * PANEL];
        values.chunks_exact(PANEL).map(move |line| line[column % PANEL])
    }
}

/// Fills one panel \[K, 16\] of the transpose of `from` [N, K]: columns `first` to `first + 16`.
pub(crate) fn transpose_panel(from: &[f32], first: usize, panel: &mut [f32]) {
    let width = panel.len() / PANEL;
    let columns = from.len() / width;
    for column in first..columns.min(first + PANEL) {
        let row = &from[column * width..(column + 1) * width];
        for (line, value) in panel.chunks_exact_mut(PANEL).zip(row) {
            line[column - first] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(len: usize) -> Vec<f32> {
        (1..=len).map(|at| at as f32).collect()
    }

    #[test]
    fn rows_come_back() {
        for (rows, columns, stride) in [(11, 13, 13), (8, 32, 35), (1, 1, 4), (9, 17, 17)] {
            let from = counted(rows * stride);
            let mut panels = Panels::zeros(16, columns);
            panels.values_mut().fill(5.0);
            panels.write_rows(&from, stride);
            let mut back = vec![0.0; rows * stride];
            panels.read_rows(&mut back, stride);
            for (found, expected) in back.chunks(stride).zip(from.chunks(stride)) {
                assert_eq!(found[..columns], expected[..columns]);
                assert!(found[columns..].iter().all(|&x| x == 0.0));
            }
            for row in rows..rows.next_multiple_of(8) {
                assert!((0..columns).all(|at| panels.column(at).nth(row) == Some(0.0)));
            }
            let beyond = panels.values().chunks(PANEL).skip((panels.count() - 1) * 16).take(rows);
            for line in beyond {
                assert!(line[(columns - 1) % PANEL + 1..].iter().all(|&x| x == 0.0));
            }
        }
    }

    #[test]
    fn a_transposed_panel_has_rows_as_columns() {
        let from = counted(20 * 3);
        let mut panel = vec![0.0; 3 * PANEL];
        transpose_panel(&from, 16, &mut panel);
        for k in 0..3 {
            for n in 0..PANEL {
                let expected = if n < 4 { from[(16 + n) * 3 + k] } else { 0.0 };
                assert_eq!(panel[k * PANEL + n], expected);
            }
        }
    }
}
