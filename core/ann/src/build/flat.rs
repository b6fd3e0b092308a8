//! Writing a flat part.

use super::input::BuildInput;
use super::options::BuildOptions;
use crate::error::AnnError;
use crate::file::{Kind, PartWriter};
use crate::source::Source;

/// Vectors copied at a time.
const CHUNK: usize = 1 << 12;

/// Writes the vectors as they come; returns their order.
pub(super) fn write(
    writer: &mut PartWriter,
    input: &BuildInput<'_>,
    options: &BuildOptions,
) -> Result<Vec<u32>, AnnError> {
    let source = Source::new(input, options.metric);
    writer.begin(Kind::Rows, 0)?;
    for from in (0..source.rows()).step_by(CHUNK) {
        writer.add(&source.gather(from..source.rows().min(from + CHUNK)))?;
    }
    Ok((0..source.rows() as u32).collect())
}
