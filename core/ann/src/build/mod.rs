//! Building a part from vectors.

mod axes;
mod flat;
mod graph;
mod input;
mod options;
mod progress;
mod quantize;
mod tree;
mod tune;

use std::path::Path;
use std::time::Instant;

use crate::error::AnnError;
use crate::file::{IndexKind, Kind, Meta, PartWriter};
use crate::filter;
use crate::limits::PART_ROWS_MAX;
use crate::part::Part;

pub use input::BuildInput;
pub use options::{BuildOptions, Spill, Tuning};
pub use progress::Progress;
pub(crate) use quantize::Planes;
pub(crate) use tree::{Residuals, pack_all, write_rows};
pub(crate) use tune::taken_over;
pub use tune::{TuneOptions, retune};

/// What a build made.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildReport {
    /// Kind of the part.
    pub kind: IndexKind,
    /// Number N of vectors.
    pub rows: usize,
    /// Leaves; 0 for a flat part.
    pub leaves: usize,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Time it took.
    pub build_s: f64,
}

/// Builds a part of `input` and writes it to `path`, where nothing is seen before it is whole. See
/// [`Part`] for an example.
///
/// Memory: about 70 bytes per vector besides the vectors, which may lie in mapped files; for a graph
/// 8 per link more.
///
/// # Errors
/// If an option or the input does not fit, or the file cannot be written.
///
/// # Determinism
/// The same bytes for the same input, options and kind of processor, for any number of threads.
pub fn build(
    path: &Path,
    input: &BuildInput<'_>,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildReport, AnnError> {
    build_like(path, input, options, None, progress)
}

/// As [`build`]; where `former` holds about as many vectors, the efforts that were measured for it are
/// taken over: the queries that they were measured with are no longer there.
pub(crate) fn build_like(
    path: &Path,
    input: &BuildInput<'_>,
    options: &BuildOptions,
    former: Option<&Part>,
    progress: &dyn Progress,
) -> Result<BuildReport, AnnError> {
    let started = Instant::now();
    options.check()?;
    let (rows, dim) = (input.count(), input.vectors.dim());
    if rows > PART_ROWS_MAX {
        let expected = format!("at most {PART_ROWS_MAX}: build several parts");
        return Err(AnnError::Shape { what: "vectors of a part", found: rows, expected });
    }
    input.check()?;
    let kind = options.kind_for(rows);
    let leaves = if kind == IndexKind::Flat { 0 } else { options.leaves_for(rows) };
    let mut meta = Meta {
        written_by: Meta::this_version(),
        kind,
        metric: options.metric,
        rows,
        dim,
        seed: options.seed,
        leaves,
        degree: if kind == IndexKind::Graph { options.degree } else { 0 },
        spilling: None,
        weight: options.weight(dim),
        widths: Vec::new(),
        distortion: 0.0,
        curve: Vec::new(),
        namespaces: Vec::new(),
        numbers: Vec::new(),
    };
    let mut writer = PartWriter::create(path)?;
    let mut order = match kind {
        IndexKind::Flat => flat::write(&mut writer, input, options)?,
        IndexKind::Ivf => tree::write(&mut writer, &mut meta, input, options, progress)?,
        IndexKind::Graph => graph::write(&mut writer, &mut meta, input, options, progress)?,
    };
    for row in &mut order {
        *row = input.row(*row as usize) as u32;
    }
    write_ids(&mut writer, input, &order)?;
    if let Some(attributes) = input.attributes {
        filter::write(&mut writer, &mut meta, attributes, &order)?;
    }
    let former = former.filter(|former| kind != IndexKind::Flat && former.kind() == kind);
    meta.curve = former.map_or_else(Vec::new, |former| taken_over(former, rows, leaves));
    let mut file_bytes = writer.seal(&meta)?;
    if kind != IndexKind::Flat && options.tuning == Tuning::On && meta.curve.is_empty() {
        let part = Part::open(writer.unnamed())?;
        meta.curve = tune::tune(&part, input.queries, &options.tune_options(), progress)?;
        drop(part);
        file_bytes = writer.seal(&meta)?;
    }
    writer.publish()?;
    let build_s = started.elapsed().as_secs_f64();
    Ok(BuildReport { kind, rows, leaves, file_bytes, build_s })
}

/// Writes the ids of rows of the vectors that stand in `order`, and the rows in the order of their ids.
fn write_ids(
    writer: &mut PartWriter,
    input: &BuildInput<'_>,
    order: &[u32],
) -> Result<(), AnnError> {
    let ids: Vec<u64> = order.iter().map(|row| input.id(*row as usize)).collect();
    writer.section(Kind::Ids, 0, &ids)?;
    let mut by_id: Vec<u32> = (0..ids.len() as u32).collect();
    by_id.sort_unstable_by_key(|row| ids[*row as usize]);
    for pair in by_id.windows(2) {
        let [first, second] = [pair[0] as usize, pair[1] as usize];
        if ids[first] == ids[second] {
            let [first, second] = [order[first] as usize, order[second] as usize];
            let id = input.id(first);
            let (first, second) = (first.min(second), first.max(second));
            return Err(AnnError::DuplicateId { id, first, second });
        }
    }
    writer.section(Kind::IdOrder, 0, &by_id)
}
