//! Sums of table entries over blocks of 4-bit codes: the scan of a leaf.
//!
//! A block holds 32 vectors. Four positions (parts of a vector) make a line of 64 bytes, 16 bytes per
//! position: the low half of byte b is the code of vector b, the high half that of vector 16 + b. A
//! table has 16 one-byte entries per position in the same order, so that one shuffle instruction
//! looks up sixteen codes per position.

use super::level::Level;
#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::{
    level::{has_vbmi, has_vnni},
    scan_x86,
};

/// Vectors of a block.
pub(crate) const BLOCK: usize = 32;
/// Positions of a line.
pub(crate) const GROUP: usize = 4;

/// Sixty-four bytes of codes or of a table, aligned as the registers that hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// What a scan reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    /// Codes [blocks, lines of the table].
    pub(crate) codes: &'a [Line],
    pub(crate) table: &'a [Line],
    /// What will be scanned next: its lines are asked for on the way.
    pub(crate) next: &'a [Line],
    /// Sums above it are marked.
    pub(crate) threshold: u16,
}

/// Adds up, for every vector of every block, the table entries that its codes name, into
/// `sums` [blocks, 32]; bit v of a block's mask says whether the sum of vector v is above the
/// threshold.
///
/// Sums are taken modulo 65,536: the caller keeps them below.
///
/// # Panics
/// If the codes are not [blocks, lines of the table].
///
/// # Determinism
/// Whole numbers: every level gives the same sums and masks.
#[inline]
pub(crate) fn scan(scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    scan_at(Level::best(), scan, sums, masks);
}

/// As [`scan`], with the instructions of `level`.
#[inline]
pub(super) fn scan_at(level: Level, scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    assert!(!scan.table.is_empty(), "a table has at least one line");
    let lines = sums.len() * scan.table.len();
    assert_eq!(scan.codes.len(), lines, "codes are whole blocks of the table");
    assert_eq!(sums.len(), masks.len(), "one mask per block");
    match level {
        Level::Portable => portable(scan, sums, masks),
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
        // SAFETY: `level` comes from `Level::supported`, which asked the processor; the function
        // has no other demand.
        Level::Avx2 => unsafe { scan_x86::avx2(scan, sums, masks) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX-512 VBMI and VNNI")]
        // SAFETY: the processor was asked; the function has no other demand.
        Level::Avx512 if has_vbmi() && has_vnni() => unsafe { scan_x86::vbmi(scan, sums, masks) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX-512")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { scan_x86::avx512(scan, sums, masks) },
        #[cfg(target_arch = "aarch64")]
        #[expect(unsafe_code, reason = "calls a function compiled for NEON")]
        // SAFETY: as above.
        Level::Neon => unsafe { neon::scan(scan, sums, masks) },
    }
}

fn portable(scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    let Scan { codes, table, threshold, .. } = scan;
    for ((lines, sums), mask) in codes.chunks_exact(table.len()).zip(sums).zip(masks) {
        *sums = [0; BLOCK];
        for (line, entries) in lines.iter().zip(table) {
            for (codes, entries) in line.0.chunks_exact(16).zip(entries.0.chunks_exact(16)) {
                for (at, code) in codes.iter().enumerate() {
                    let (low, high) = (usize::from(code & 15), usize::from(code >> 4));
                    sums[at] = sums[at].wrapping_add(u16::from(entries[low]));
                    sums[at + 16] = sums[at + 16].wrapping_add(u16::from(entries[high]));
                }
            }
        }
        *mask = (0..BLOCK).fold(0, |mask, at| mask | u32::from(sums[at] > threshold) << at);
    }
}
