//! Loops over rows, compiled for the common widths.

use crate::simd::{Kernel, dispatch};

/// The width D of a row: a constant, which lets the compiler unroll, or any.
pub(crate) trait Width: Copy {
    /// Room for one row.
    type Row: AsMut<[f32]>;

    /// D.
    fn get(self) -> usize;

    /// A row of zeros.
    fn row(self) -> Self::Row;
}

#[derive(Clone, Copy)]
pub(crate) struct Const<const D: usize>;

impl<const D: usize> Width for Const<D> {
    type Row = [f32; D];

    #[inline(always)]
    fn get(self) -> usize {
        D
    }

    #[inline(always)]
    fn row(self) -> [f32; D] {
        [0.0; D]
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Any(usize);

impl Width for Any {
    type Row = Vec<f32>;

    #[inline(always)]
    fn get(self) -> usize {
        self.0
    }

    #[inline(always)]
    fn row(self) -> Vec<f32> {
        vec![0.0; self.0]
    }
}

/// A loop over rows of one width. `run` must be `#[inline(always)]`.
pub(crate) trait RowKernel {
    fn run<W: Width>(self, width: W);
}

struct AtWidth<K, W>(K, W);

impl<K: RowKernel, W: Width> Kernel for AtWidth<K, W> {
    #[inline(always)]
    fn run(self) {
        self.0.run(self.1);
    }
}

/// Sets each of `out` to what `next` makes of it and of its partner in `with`. Eight are read before
/// any is written: the compiler cannot know that the two do not overlap, and would take them one by
/// one.
#[inline(always)]
pub(crate) fn update_with<T: Copy>(out: &mut [f32], with: &[T], next: impl Fn(f32, T) -> f32) {
    let (out_blocks, out_rest) = out.as_chunks_mut::<8>();
    let (blocks, rest) = with.as_chunks::<8>();
    for (out, block) in out_blocks.iter_mut().zip(blocks) {
        *out = std::array::from_fn(|i| next(out[i], block[i]));
    }
    for (out, x) in out_rest.iter_mut().zip(rest) {
        *out = next(*out, *x);
    }
}

/// Runs `kernel` compiled for rows of any width and for this processor: a sixth of the code of
/// [`run_rows`].
pub(crate) fn run_rows_any(dim: usize, kernel: impl RowKernel) {
    dispatch(AtWidth(kernel, Any(dim)));
}

/// Runs `kernel` compiled for rows of width `dim` and for this processor.
pub(crate) fn run_rows(dim: usize, kernel: impl RowKernel) {
    match dim {
        8 => dispatch(AtWidth(kernel, Const::<8>)),
        16 => dispatch(AtWidth(kernel, Const::<16>)),
        32 => dispatch(AtWidth(kernel, Const::<32>)),
        64 => dispatch(AtWidth(kernel, Const::<64>)),
        128 => dispatch(AtWidth(kernel, Const::<128>)),
        _ => dispatch(AtWidth(kernel, Any(dim))),
    }
}
