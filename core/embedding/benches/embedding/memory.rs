//! Clocks, and what the memory of this machine can do.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::Instant;

use memmap2::MmapMut;
use rayon::prelude::*;

/// A moment on the clock and in this process's use of processors.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Instant, f64);

impl Moment {
    #[expect(unsafe_code, reason = "reads a clock that std does not know")]
    pub(crate) fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the structure is valid for the call, which keeps no reference to it.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        Self(Instant::now(), time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6)
    }

    /// Milliseconds since `start`: on the clock, and of all processors together.
    pub(crate) fn since(self, start: Self) -> [f64; 2] {
        [(self.0 - start.0).as_secs_f64() * 1e3, self.1 - start.1]
    }
}

/// Bytes read and written per second, in GB, by a copy of `count` floats with the threads of the
/// current pool.
pub(crate) fn copy_gb_s(count: usize) -> f64 {
    let from = vec![1.0f32; count];
    let mut to = vec![2.0f32; count];
    let part = count.div_ceil(rayon::current_num_threads());
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| {
            to.copy_from_slice(from);
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    assert_eq!(to[count - 1], 1.0);
    (2 * count * size_of::<f32>()) as f64 / best / 1e9
}

/// What a step reads and writes at least.
pub(crate) struct Accesses<'a> {
    /// Floats that are read one after another: ids and gradients.
    pub(crate) read: usize,
    /// Floats that are written one after another: the output.
    pub(crate) written: usize,
    /// Rows of each table.
    pub(crate) tables: &'a [u64],
    /// Floats of a row.
    pub(crate) stride: usize,
    /// [F, B] ids of each batch, whose rows are read here and there, then read again and written.
    pub(crate) batches: &'a [Vec<i64>],
}

const FLOATS_PER_LINE: usize = 16;
/// Rows whose lines are on their way at the same time.
const GROUP: usize = 16;

impl Accesses<'_> {
    /// Milliseconds that they take with nothing done to what is read, with the threads of the current pool:
    /// the shortest time of each kind over the batches, all kinds together.
    pub(crate) fn ms(&self) -> f64 {
        let source = vec![1.0; self.read];
        let mut output = vec![2.0; self.written];
        let mut slabs: Vec<MmapMut> = self.tables.iter().map(|rows| self.slab(*rows)).collect();
        let batches: Vec<Vec<Vec<usize>>> = self.batches.iter().map(|ids| self.rows(ids)).collect();
        let mut best = [f64::INFINITY; 4];
        // The first pass claims the memory.
        for pass in 0..2 {
            for rows in &batches {
                let moments = [
                    Moment::now(),
                    timed(|| read_all(&source)),
                    timed(|| write_all(&mut output)),
                    timed(|| self.read_rows(&slabs, rows)),
                    timed(|| self.write_rows(&mut slabs, rows)),
                ];
                for (best, ends) in best.iter_mut().zip(moments.windows(2)).filter(|_| pass > 0) {
                    *best = best.min(ends[1].since(ends[0])[0]);
                }
            }
        }
        best.iter().sum()
    }

    fn slab(&self, rows: u64) -> MmapMut {
        let bytes = rows as usize * self.stride * size_of::<f32>();
        let slab = MmapMut::map_anon(bytes).expect("memory");
        #[cfg(target_os = "linux")]
        let _ = slab.advise(memmap2::Advice::HugePage);
        slab
    }

    /// Where the distinct rows of a batch begin in each table's slab, in the order in which they occur.
    fn rows(&self, ids: &[i64]) -> Vec<Vec<usize>> {
        let columns = ids.chunks(ids.len() / self.tables.len());
        let first_seen = |ids: &[i64]| {
            let mut seen = HashSet::new();
            let ids = ids.iter().filter(|id| seen.insert(**id));
            ids.map(|id| *id as usize * self.stride).collect()
        };
        columns.map(first_seen).collect()
    }

    fn read_rows(&self, slabs: &[MmapMut], rows: &[Vec<usize>]) {
        slabs.par_iter().zip(rows).with_max_len(1).for_each(|(slab, rows)| {
            let slab: &[f32] = bytemuck::cast_slice(slab);
            rows.chunks(GROUP).for_each(|group| self.touch(group, slab));
        });
    }

    fn write_rows(&self, slabs: &mut [MmapMut], rows: &[Vec<usize>]) {
        slabs.par_iter_mut().zip(rows).with_max_len(1).for_each(|(slab, rows)| {
            let slab: &mut [f32] = bytemuck::cast_slice_mut(slab);
            for group in rows.chunks(GROUP) {
                self.touch(group, slab);
                self.lines(group).for_each(|at| slab[at] += 1.0);
            }
        });
    }

    fn touch(&self, group: &[usize], slab: &[f32]) {
        black_box(self.lines(group).fold(0.0, |sum, at| sum + slab[at]));
    }

    /// A float of each line of the rows that begin at `group`.
    fn lines(&self, group: &[usize]) -> impl Iterator<Item = usize> {
        let within = (0..self.stride).step_by(FLOATS_PER_LINE).chain([self.stride - 1]);
        within.flat_map(move |float| group.iter().map(move |start| start + float))
    }
}

/// The moment after `work`.
fn timed(work: impl FnOnce()) -> Moment {
    work();
    Moment::now()
}

fn read_all(source: &[f32]) {
    source.par_chunks(source.len().div_ceil(rayon::current_num_threads())).for_each(|part| {
        let blocks = part.as_chunks::<32>().0.iter();
        black_box(
            blocks.fold([0.0; 32], |sums: [f32; 32], next| {
                std::array::from_fn(|i| sums[i] + next[i])
            }),
        );
    });
}

fn write_all(output: &mut [f32]) {
    let part = output.len().div_ceil(rayon::current_num_threads());
    output.par_chunks_mut(part).for_each(|part| part.fill(3.0));
    black_box(output);
}
