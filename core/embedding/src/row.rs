//! How a row lies in memory: `[last_seen u32 | count u32 | values D | pad | state S x f32 | pad]`.

use bytemuck::{Pod, Zeroable};

use crate::Storage;
use crate::storage::Element;

/// What every row begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    /// The collection's step at the row's last update, at most `u32::MAX`; 0 before the first.
    pub(crate) last_seen: u32,
    /// Batches that updated the row, at most `u32::MAX`.
    pub(crate) count: u32,
}

/// 4-byte words of a [`Header`].
const HEADER_WORDS: usize = 2;

impl Header {
    /// Steps since the last update that left the row out, at step `now`; a row that was never
    /// updated missed none.
    #[inline(always)]
    pub(crate) fn missed(self, now: u32) -> u32 {
        if self.count == 0 { 0 } else { now.saturating_sub(self.last_seen).saturating_sub(1) }
    }

    /// Notes an update at step `now`.
    #[inline(always)]
    pub(crate) fn stamp(&mut self, now: u32) {
        self.last_seen = now;
        self.count = self.count.saturating_add(1);
    }
}

/// What a row holds: D values, S floats of optimizer state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLayout {
    pub(crate) dim: usize,
    pub(crate) state: usize,
    pub(crate) storage: Storage,
}

impl RowLayout {
    /// Words before the state.
    fn state_at(self) -> usize {
        HEADER_WORDS + (self.dim * self.storage.bytes()).div_ceil(size_of::<u32>())
    }

    /// 4-byte words from one row to the next: an even number, so that rows start on 8 bytes.
    pub(crate) fn stride(self) -> usize {
        (self.state_at() + self.state).next_multiple_of(2)
    }

    /// Bytes from one row to the next.
    pub(crate) fn bytes(self) -> usize {
        self.stride() * size_of::<u32>()
    }
}

/// Words from a row's start that hold its header and its `dim` values.
#[inline(always)]
pub(crate) fn words_to_state<E: Element>(dim: usize) -> usize {
    HEADER_WORDS + (dim * size_of::<E>()).div_ceil(size_of::<u32>())
}

/// The first words of a row.
#[inline(always)]
pub(crate) fn header(words: &[u32]) -> Header {
    Header { last_seen: words[0], count: words[1] }
}

/// The values of a row, \[D\].
#[inline(always)]
pub(crate) fn values<E: Element>(words: &[u32], dim: usize) -> &[E] {
    &bytemuck::cast_slice(&words[HEADER_WORDS..words_to_state::<E>(dim)])[..dim]
}

/// The optimizer's state of a row, \[S\].
pub(crate) fn state(words: &[u32], layout: RowLayout) -> &[f32] {
    &bytemuck::cast_slice(&words[layout.state_at()..])[..layout.state]
}

/// What a row is to hold, whatever its storage.
#[derive(Clone, Copy)]
pub(crate) struct RowContent<'a> {
    pub(crate) header: Header,
    /// \[D\].
    pub(crate) values: &'a [f32],
    /// \[S\].
    pub(crate) state: &'a [f32],
}

/// A row, for writing.
pub(crate) struct RowMut<'a, E> {
    pub(crate) header: &'a mut Header,
    /// \[D\].
    pub(crate) values: &'a mut [E],
    /// \[S\], and perhaps a word that pads the row.
    pub(crate) state: &'a mut [f32],
}

impl<'a, E: Element> RowMut<'a, E> {
    #[inline(always)]
    pub(crate) fn new(words: &'a mut [u32], dim: usize) -> Self {
        let (header, rest) = words.split_at_mut(HEADER_WORDS);
        let (values, state) = rest.split_at_mut(words_to_state::<E>(dim) - HEADER_WORDS);
        Self {
            header: &mut bytemuck::cast_slice_mut(header)[0],
            values: &mut bytemuck::cast_slice_mut(values)[..dim],
            state: bytemuck::cast_slice_mut(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Bf16, F16};

    fn parts<E: Element>(dim: usize, state: usize, storage: Storage) -> usize {
        let layout = RowLayout { dim, state, storage };
        let mut words = vec![0; layout.stride()];
        let row = RowMut::<E>::new(&mut words, dim);
        *row.header = Header { last_seen: 7, count: 9 };
        row.values.fill(E::narrow(1.5, 0));
        row.state[..state].fill(2.5);
        assert_eq!(header(&words), Header { last_seen: 7, count: 9 });
        assert!(values::<E>(&words, dim).iter().all(|x| x.widen() == 1.5));
        assert!(super::state(&words, layout).iter().all(|x| *x == 2.5));
        layout.bytes()
    }

    #[test]
    fn a_row_holds_its_parts_and_little_else() {
        assert_eq!(parts::<f32>(16, 1, Storage::F32), 8 + 64 + 4 + 4);
        assert_eq!(parts::<f32>(1, 1, Storage::F32), 16);
        assert_eq!(parts::<Bf16>(16, 1, Storage::Bf16), 8 + 32 + 4 + 4);
        assert_eq!(parts::<F16>(3, 6, Storage::F16), 8 + 8 + 24);
        assert_eq!(parts::<F16>(5, 0, Storage::F16), 8 + 12 + 4);
    }

    #[test]
    fn missed_steps_are_those_between_two_updates() {
        let mut header = Header::default();
        assert_eq!(header.missed(9), 0);
        header.stamp(9);
        assert_eq!((header.missed(10), header.missed(13), header.missed(9)), (0, 3, 0));
        header.stamp(u32::MAX);
        assert_eq!(header, Header { last_seen: u32::MAX, count: 2 });
    }
}
