//! The arithmetic of an all-reduce, shared by the transports so that they give the same bytes.

use bytemuck::{AnyBitPattern, NoUninit};

use crate::Reduce;

/// A value type of [`crate::Values`].
pub(crate) trait Element: NoUninit + AnyBitPattern {
    /// `self` joined with the same element of the next rank.
    fn join(self, next: Self, reduce: Reduce) -> Self;
}

macro_rules! float {
    ($type:ty) => {
        impl Element for $type {
            #[inline]
            fn join(self, next: Self, reduce: Reduce) -> Self {
                match reduce {
                    Reduce::Sum => self + next,
                    Reduce::Min => self.min(next),
                    Reduce::Max => self.max(next),
                }
            }
        }
    };
}
float!(f32);
float!(f64);

impl Element for u64 {
    #[inline]
    fn join(self, next: Self, reduce: Reduce) -> Self {
        match reduce {
            // Checksums are summed too: they wrap.
            Reduce::Sum => self.wrapping_add(next),
            Reduce::Min => self.min(next),
            Reduce::Max => self.max(next),
        }
    }
}

/// Joins `next` into `values`, element by element.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn join_into<T: Element>(values: &mut [T], next: &[T], reduce: Reduce) {
    assert_eq!(values.len(), next.len(), "{} and {} values", values.len(), next.len());
    // The match is outside of the loops, so that each is a plain vector loop.
    match reduce {
        Reduce::Sum => each(values, next, |a, b| a.join(b, Reduce::Sum)),
        Reduce::Min => each(values, next, |a, b| a.join(b, Reduce::Min)),
        Reduce::Max => each(values, next, |a, b| a.join(b, Reduce::Max)),
    }
}

fn each<T: Copy>(values: &mut [T], next: &[T], join: impl Fn(T, T) -> T) {
    for (value, next) in values.iter_mut().zip(next) {
        *value = join(*value, *next);
    }
}
