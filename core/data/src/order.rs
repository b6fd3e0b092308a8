//! Which row stands at which position of an epoch.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rectool_base::Stream;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// How rows are put into random order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shuffle {
    /// File order, the same in every epoch.
    None,
    /// Blocks of consecutive rows are put into random order; then rows are, within each window of
    /// blocks that have become neighbours. A split no larger than one window is shuffled
    /// completely; of a larger one, a window's worth of rows is read at random at any time.
    Block {
        /// Rows of a block: what is read in one piece.
        block_rows: u64,
        /// Blocks of a window.
        window_blocks: u64,
    },
}

impl Default for Shuffle {
    /// Windows of 2^20 rows: of the Criteo layout 280 MB, which stays in the page cache, in blocks
    /// of 1 MB, which any disk reads at its full speed.
    fn default() -> Self {
        Self::Block { block_rows: 4_096, window_blocks: 256 }
    }
}

/// What an order depends on besides the epoch and the number of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderOptions {
    /// Seed of every random choice.
    pub seed: u64,
    /// How.
    pub shuffle: Shuffle,
}

/// Rows of a window: its permutation takes eight bytes per row, twice.
const WINDOW_ROWS_MAX: u64 = 1 << 28;
/// Windows kept: batches in the making may lie on both sides of a border.
const WINDOWS_KEPT: usize = 2;
/// First part of a stream's address, so that no other use of the seed meets these streams.
const STREAM_BLOCKS: u64 = 0x6f72_6465_7262;
const STREAM_WINDOW: u64 = 0x6f72_6465_7277;

/// The order of one epoch: a permutation of `0..rows`.
///
/// # Determinism
/// A pure function of the number of rows, the options and the epoch. It is part of what a
/// checkpoint relies on: the algorithm never changes.
///
/// ```
/// use rectool_data::{Order, OrderOptions};
///
/// # fn main() -> Result<(), rectool_data::DataError> {
/// let order = Order::new(1_000, &OrderOptions::default(), 0)?;
/// let mut rows = vec![0; 1_000];
/// order.fill(0, &mut rows);
/// let mut from_600 = vec![0; 10];
/// order.fill(600, &mut from_600);
/// assert_eq!(from_600, rows[600..610]);
/// rows.sort_unstable();
/// assert!(rows.iter().copied().eq(0..1_000));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Order {
    rows: u64,
    seed: u64,
    epoch: u64,
    blocks: Option<Blocks>,
}

#[derive(Debug)]
struct Blocks {
    block_rows: u64,
    window_length: usize,
    /// Block numbers in their random order.
    permuted: Vec<u64>,
    /// Position of the first row of each window, and the number of rows.
    starts: Vec<u64>,
    /// The windows used last, by number.
    windows: Mutex<VecDeque<(usize, Arc<Vec<u64>>)>>,
}

impl Order {
    /// The order of `rows` rows in `epoch`. Takes time and memory proportional to the number of
    /// blocks.
    ///
    /// # Errors
    /// [`DataError::Option`] if `block_rows` or `window_blocks` is 0, or a window of more than 2^28
    /// rows would be needed.
    pub fn new(rows: u64, options: &OrderOptions, epoch: u64) -> Result<Self, DataError> {
        let seed = options.seed;
        let blocks = match options.shuffle {
            Shuffle::None => None,
            Shuffle::Block { block_rows, window_blocks } => {
                check_positive("block_rows", block_rows)?;
                check_positive("window_blocks", window_blocks)?;
                let window_rows = block_rows.saturating_mul(window_blocks).min(rows);
                if window_rows > WINDOW_ROWS_MAX {
                    return Err(DataError::Option {
                        option: "window_blocks",
                        expected: format!("at most {WINDOW_ROWS_MAX} rows per window"),
                        found: format!("{window_blocks} blocks of {block_rows} rows"),
                    });
                }
                Some(Blocks::new(rows, block_rows, window_blocks, seed, epoch))
            }
        };
        Ok(Self { rows, seed, epoch, blocks })
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the rows at positions `start..start + out.len()`. Seeking costs no more than the
    /// window that `start` is in.
    ///
    /// # Panics
    /// If the positions go beyond the last row.
    pub fn fill(&self, start: u64, out: &mut [u64]) {
        let end = start.checked_add(out.len() as u64);
        assert!(
            end.is_some_and(|end| end <= self.rows),
            "positions {start} + {} of an order of {} rows",
            out.len(),
            self.rows
        );
        let Some(blocks) = &self.blocks else {
            out.iter_mut().zip(start..).for_each(|(out, row)| *out = row);
            return;
        };
        let mut filled = 0;
        while filled < out.len() {
            let position = start + filled as u64;
            let number = blocks.starts.partition_point(|first| *first <= position) - 1;
            let window = self.window(blocks, number);
            let from = (position - blocks.starts[number]) as usize;
            let count = (window.len() - from).min(out.len() - filled);
            out[filled..filled + count].copy_from_slice(&window[from..from + count]);
            filled += count;
        }
    }

    fn window(&self, blocks: &Blocks, number: usize) -> Arc<Vec<u64>> {
        // Threads that need a window another one is making wait for it rather than make it too.
        let mut kept = blocks.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, window)) = kept.iter().find(|(kept, _)| *kept == number) {
            return Arc::clone(window);
        }
        let window = Arc::new(self.make_window(blocks, number));
        if kept.len() == WINDOWS_KEPT {
            kept.pop_front();
        }
        kept.push_back((number, Arc::clone(&window)));
        window
    }

    fn make_window(&self, blocks: &Blocks, number: usize) -> Vec<u64> {
        let first = number * blocks.window_length;
        let last = (first + blocks.window_length).min(blocks.permuted.len());
        let rows = blocks.starts[number + 1] - blocks.starts[number];
        let mut window = Vec::with_capacity(rows as usize);
        for block in &blocks.permuted[first..last] {
            let start = block * blocks.block_rows;
            window.extend(start..start.saturating_add(blocks.block_rows).min(self.rows));
        }
        Stream::new(self.seed, &[STREAM_WINDOW, self.epoch, number as u64]).shuffle(&mut window);
        window
    }
}

impl Blocks {
    fn new(rows: u64, block_rows: u64, window_blocks: u64, seed: u64, epoch: u64) -> Self {
        let mut permuted: Vec<u64> = (0..rows.div_ceil(block_rows)).collect();
        Stream::new(seed, &[STREAM_BLOCKS, epoch]).shuffle(&mut permuted);
        let window_length = window_blocks.min(permuted.len().max(1) as u64) as usize;
        let mut starts = vec![0];
        let mut next = 0;
        for window in permuted.chunks(window_length) {
            // Only the last block of the file may be short, wherever it has come to stand.
            next +=
                window.iter().map(|block| block_rows.min(rows - block * block_rows)).sum::<u64>();
            starts.push(next);
        }
        Self { block_rows, window_length, permuted, starts, windows: Mutex::default() }
    }
}

fn check_positive(option: &'static str, value: u64) -> Result<(), DataError> {
    if value > 0 {
        return Ok(());
    }
    Err(DataError::Option { option, expected: "1 or more".into(), found: "0".into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(order: &Order) -> Vec<u64> {
        let mut rows = vec![u64::MAX; order.rows() as usize];
        order.fill(0, &mut rows);
        rows
    }

    fn block(block_rows: u64, window_blocks: u64) -> Shuffle {
        Shuffle::Block { block_rows, window_blocks }
    }

    proptest! {
        #[test]
        fn is_a_permutation(
            rows in 0_u64..3_000, block_rows in 1_u64..200, window_blocks in 1_u64..20,
            seed: u64, epoch in 0_u64..3,
        ) {
            let options = OrderOptions { seed, shuffle: block(block_rows, window_blocks) };
            let mut found = all(&Order::new(rows, &options, epoch).unwrap());
            found.sort_unstable();
            prop_assert!(found.into_iter().eq(0..rows));
        }

        #[test]
        fn seeking_is_reading_through(
            rows in 1_u64..2_000, block_rows in 1_u64..100, window_blocks in 1_u64..9,
            at in proptest::collection::vec((0_u64..2_000, 0_u64..300), 8),
        ) {
            let options = OrderOptions { seed: 5, shuffle: block(block_rows, window_blocks) };
            let order = Order::new(rows, &options, 1).unwrap();
            let through = all(&order);
            for (start, count) in at {
                let start = start.min(rows);
                let end = (start + count).min(rows);
                let mut found = vec![0; (end - start) as usize];
                Order::new(rows, &options, 1).unwrap().fill(start, &mut found);
                prop_assert_eq!(&found[..], &through[start as usize..end as usize]);
            }
        }

        #[test]
        fn rows_stay_in_their_window(
            rows in 1_u64..2_000, block_rows in 1_u64..50, window_blocks in 1_u64..9,
        ) {
            // Locality: a window's positions hold whole blocks and nothing else.
            let options = OrderOptions { seed: 5, shuffle: block(block_rows, window_blocks) };
            let order = Order::new(rows, &options, 0).unwrap();
            let found = all(&order);
            let starts = &order.blocks.as_ref().unwrap().starts;
            for window in starts.windows(2) {
                let held = &found[window[0] as usize..window[1] as usize];
                let mut blocks: Vec<u64> = held.iter().map(|row| row / block_rows).collect();
                blocks.sort_unstable();
                blocks.dedup();
                prop_assert!(blocks.len() as u64 <= window_blocks);
            }
        }
    }

    #[test]
    fn small_splits_are_shuffled_completely() {
        // Each half of the positions should hold about half of each half of the rows.
        let order = Order::new(100_000, &OrderOptions::default(), 0).unwrap();
        let low = all(&order)[..50_000].iter().filter(|row| **row < 50_000).count();
        assert!((24_300..25_700).contains(&low), "{low} of 50,000");
    }

    #[test]
    fn seeds_and_epochs_differ() {
        let rows = |seed, epoch| {
            let options = OrderOptions { seed, ..OrderOptions::default() };
            all(&Order::new(100, &options, epoch).unwrap())
        };
        assert_eq!(rows(1, 0), rows(1, 0));
        assert_ne!(rows(1, 0), rows(1, 1));
        assert_ne!(rows(1, 0), rows(2, 0));
    }

    #[test]
    fn order_is_the_one_of_every_release() {
        let options = OrderOptions { seed: 7, shuffle: block(4, 2) };
        let order = Order::new(10, &options, 3).unwrap();
        assert_eq!(all(&order), [5, 8, 7, 9, 6, 4, 1, 0, 3, 2]);
    }

    #[test]
    fn bad_options_are_refused() {
        for shuffle in [block(0, 1), block(1, 0), block(u64::MAX, u64::MAX)] {
            let order = Order::new(1 << 40, &OrderOptions { seed: 0, shuffle }, 0);
            assert!(matches!(order, Err(DataError::Option { .. })), "{shuffle:?}");
        }
    }

    #[test]
    fn no_shuffle_is_file_order() {
        let options = OrderOptions { seed: 7, shuffle: Shuffle::None };
        assert!(all(&Order::new(10, &options, 3).unwrap()).into_iter().eq(0..10));
    }
}
