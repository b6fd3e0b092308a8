//! Which keys get a row of their own.

use std::collections::TryReserveError;
use std::ops::Range;

use rectool_base::Stream;
use serde::{Deserialize, Serialize};

use crate::sketch::{Sketch, SketchState};

/// Which keys get a row of their own in training. The others read what [`Unadmitted`] says, and
/// their gradients are dropped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Admission {
    /// Every key, the first time it is trained on.
    #[default]
    All,
    /// A key that was in this many batches lately. A sketch counts them in two times two bytes per
    /// cell; where it is full, keys are admitted uncounted and [`RowCounts::saturated`] says so.
    Count {
        /// Batches that must have had the key, the one that admits it included: 1 to 15.
        sightings: u32,
        /// Sightings count for half as many steps as this at least, and for this many at most.
        window_steps: u32,
        /// Cells of the sketch, over all ranks: as many as there are rare keys in half a window.
        cells: u64,
    },
    /// A key whose draw in this batch is below `p`: one in 1/p batches that have it.
    ///
    /// # Determinism
    /// The draw is a pure function of seed, table, key and step.
    Probability {
        /// 0 to 1.
        p: f32,
    },
}

impl Admission {
    /// Memory of what it counts in, over all ranks.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Count { cells, .. } => Sketch::bytes_of(*cells),
            Self::All | Self::Probability { .. } => 0,
        }
    }
}

/// What a key without a row reads. A row always begins with its initial values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Unadmitted {
    /// The values that its row would begin with.
    #[default]
    Initial,
    /// Zeros.
    Zero,
    /// The same value in every column.
    Constant {
        /// The value.
        value: f32,
    },
}

/// What became of the keys of a table, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCounts {
    /// Keys that got a row in training.
    pub admitted: u64,
    /// Times a batch was trained on with a key that had no row.
    pub rejected: u64,
    /// Of the admitted: those that the sketch had no cell for.
    pub saturated: u64,
    /// Rows that went because of their age.
    pub expired_by_age: u64,
    /// Rows that went because they were the least used.
    pub expired_by_use: u64,
}

impl RowCounts {
    /// Adds those of another part of the table.
    pub fn add(&mut self, other: Self) {
        self.admitted = self.admitted.saturating_add(other.admitted);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.saturated = self.saturated.saturating_add(other.saturated);
        self.expired_by_age = self.expired_by_age.saturating_add(other.expired_by_age);
        self.expired_by_use = self.expired_by_use.saturating_add(other.expired_by_use);
    }
}

/// What [`Admission`] knows of some buckets' keys. Any number of ranks can take it over: the sketch
/// of a bucket does not depend on who holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterState {
    /// Logical buckets, of [`crate::BUCKETS`].
    pub buckets: Range<u32>,
    /// What became of the keys of these buckets.
    pub counts: RowCounts,
    /// The sightings of keys without a row; `None` if they are not counted.
    pub sketch: Option<SketchState>,
}

/// Decides for the keys of some buckets.
pub(crate) struct Filter {
    admission: Admission,
    seed: u64,
    /// Hash of the table's name.
    table: u64,
    step: u64,
    buckets: Range<u32>,
    sketch: Option<Sketch>,
    pub(crate) counts: RowCounts,
}

impl Filter {
    /// # Errors
    /// If the system has no memory for the sketch.
    pub(crate) fn new(
        admission: &Admission,
        buckets: Range<u32>,
        (seed, table): (u64, u64),
    ) -> Result<Self, TryReserveError> {
        let sketch = match *admission {
            Admission::Count { window_steps, cells, .. } => {
                Some(Sketch::new(buckets.clone(), cells, window_steps)?)
            }
            Admission::All | Admission::Probability { .. } => None,
        };
        let (admission, counts) = (admission.clone(), RowCounts::default());
        Ok(Self { admission, seed, table, step: 0, buckets, sketch, counts })
    }

    /// Whether a key gets a row now.
    #[inline]
    pub(crate) fn admits(&mut self, bucket: u32, key: u64) -> bool {
        let admits = match self.admission {
            Admission::All => true,
            Admission::Probability { p } => {
                Stream::new(self.seed, &[self.table, key, self.step, ADMISSION]).next_f32() < p
            }
            Admission::Count { sightings, .. } => {
                let sketch = self.sketch.as_ref();
                let count = sketch.and_then(|sketch| sketch.count(bucket, key));
                self.counts.saturated += u64::from(count.is_none());
                count.is_none_or(|count| count + 1 >= sightings)
            }
        };
        self.counts.admitted += u64::from(admits);
        admits
    }

    /// Forgets the sightings of a key that has a row now.
    pub(crate) fn forget(&mut self, bucket: u32, key: u64) {
        if let Some(sketch) = &mut self.sketch {
            sketch.forget(bucket, key);
        }
    }

    /// Counts the keys of one step that have no row, given by (bucket, key), and ends the step.
    ///
    /// # Determinism
    /// They are counted in the order of their keys, so that it does not matter which rank or feature
    /// saw which one first.
    pub(crate) fn end_step(&mut self, mut rejected: Vec<(u32, u64)>, steps: u64) {
        self.counts.rejected += rejected.len() as u64;
        if let Some(sketch) = &mut self.sketch {
            rejected.sort_unstable();
            for (bucket, key) in rejected {
                sketch.record(bucket, key);
            }
        }
        self.set_step(steps);
    }

    /// Goes on from a number of steps.
    pub(crate) fn set_step(&mut self, steps: u64) {
        self.step = steps;
        if let Some(sketch) = &mut self.sketch {
            sketch.advance(steps);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.counts = RowCounts::default();
        self.step = 0;
        if let Some(sketch) = &mut self.sketch {
            sketch.clear();
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.sketch.as_ref().map_or(0, Sketch::bytes)
    }

    /// Cells of the sketch in use in the fuller generation, and all of one; none if nothing is counted.
    pub(crate) fn cells(&self) -> (u64, u64) {
        self.sketch.as_ref().map_or((0, 0), Sketch::cells)
    }

    pub(crate) fn state(&self) -> FilterState {
        let sketch = self.sketch.as_ref().map(Sketch::state);
        FilterState { buckets: self.buckets.clone(), counts: self.counts, sketch }
    }

    /// Takes over what `state` knows of this filter's buckets, and its counts where its first one is.
    /// Returns the numbers of cells found and expected if the sketch was of another size.
    pub(crate) fn load(&mut self, state: &FilterState) -> Result<(), (u64, u64)> {
        if let (Some(sketch), Some(cells)) = (&mut self.sketch, &state.sketch) {
            sketch.load(&state.buckets, cells)?;
        }
        if !state.buckets.is_empty() && self.buckets.contains(&state.buckets.start) {
            self.counts.add(state.counts);
        }
        Ok(())
    }

    /// Whether every key is admitted, so that nothing needs to be counted.
    pub(crate) fn admits_all(&self) -> bool {
        self.admission == Admission::All
    }
}

/// Keeps the draws of admission apart from other uses of the seed at the same table and key.
const ADMISSION: u64 = 0xad31_7510;
