//! Loops whose speed decides the crate's, and all of its unsafe code but one call in `idle`.

mod directory;
#[cfg(target_arch = "x86_64")]
mod directory_x86;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panels;
mod rows;
mod scan;
#[cfg(target_arch = "x86_64")]
mod scan_x86;
#[cfg(test)]
mod tests;

pub(crate) use directory::{
    ByteQuery, Directory, PanelFacts, floor_of, pack_panels, panel_lines, reaching,
};
pub(crate) use level::{Arithmetic, Kernel, dispatch, prefetch};
pub(crate) use panels::{LANES, Panels, dot, dot_with, square, square_with};
pub(crate) use rows::{IntegerQuery, Plane, integer_dots};
pub(crate) use scan::{BLOCK, GROUP, Line, Scan, scan};
