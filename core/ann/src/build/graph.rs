//! Writing a graph: partition, links, vectors.

use super::input::BuildInput;
use super::options::{BuildOptions, Spill};
use super::progress::Progress;
use super::tree::{partition_of, write_source};
use crate::error::AnnError;
use crate::file::{Kind, Leaf, Meta, PartWriter};
use crate::graph::{Leaves, Ordered, each_piece, forward};
use crate::kernel::{dot, pack_panels};
use crate::partition::Groups;
use crate::source::Source;

/// Rows looked at together.
const ROWS: usize = 1 << 12;

/// Writes everything of a graph but ids and attributes. Returns the rows of the input in the order in
/// which the part holds them: by leaf.
pub(super) fn write(
    writer: &mut PartWriter,
    meta: &mut Meta,
    input: &BuildInput<'_>,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Vec<u32>, AnnError> {
    let source = Source::new(input, options.metric);
    let (rows, dim) = (source.rows(), source.dim());
    // Links lead from leaf to leaf: no vector need lie in more than one.
    let single = BuildOptions { spill: Spill::Off, ..options.clone() };
    let (centroids, assigned) = partition_of(&source, meta.leaves, &single, progress);
    let groups = Groups::new(meta.leaves, &assigned.nearest);
    let order: Vec<u32> = (0..meta.leaves).flat_map(|leaf| groups.members(leaf)).copied().collect();
    let mut starts: Vec<u32> = (0..meta.leaves).map(|leaf| groups.before(leaf) as u32).collect();
    starts.push(rows as u32);
    drop((groups, assigned));
    let leaves = Leaves::new(options.metric, dim, &centroids, &starts);
    let ordered = Ordered { source: &source, order: &order };
    writer.section(Kind::Centroids, 0, &centroids)?;
    meta.distortion = write_leaves(writer, &leaves, &ordered)?;
    progress.stage("linking", 2 * rows);
    let links = forward(&leaves, &ordered, meta.degree, progress);
    writer.begin(Kind::Links, 0)?;
    each_piece(&links, (options.metric, &ordered), meta.degree, progress, |links| {
        writer.add(links)
    })?;
    drop(links);
    progress.stage("writing", 3 * rows);
    write_source(writer, &source, options.metric, &order, progress)?;
    Ok(order)
}

/// Writes where leaves lie and where a search enters them: at the row that is nearest to the centroid, as
/// if it were a query. Returns the mean squared distance of vectors from their centroids.
fn write_leaves(
    writer: &mut PartWriter,
    leaves: &Leaves<'_>,
    source: &Ordered<'_>,
) -> Result<f64, AnnError> {
    let dim = source.dim();
    let (mut table, mut entries, mut distortion) = (Vec::new(), Vec::new(), 0.0);
    for (leaf, centroid) in leaves.centroids.chunks_exact(dim).enumerate() {
        let rows = leaves.rows(leaf);
        let mut best: Option<(f32, u32)> = None;
        for start in rows.clone().step_by(ROWS) {
            let own: Vec<u32> = (start..rows.end.min(start + ROWS as u32)).collect();
            let values = source.gather(&own);
            for (x, row) in values.chunks_exact(dim).zip(own) {
                let rank = dot(centroid, x) + leaves.metric.bias(dot(x, x));
                if best.is_none_or(|(most, _)| rank > most) {
                    best = Some((rank, row));
                }
                let pairs = x.iter().zip(centroid);
                distortion += pairs.map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>();
            }
        }
        // A leaf without rows is entered nowhere.
        entries.push(best.map_or(u32::MAX, |(_, row)| row));
        let bias = leaves.metric.bias(dot(centroid, centroid));
        table.push(Leaf { block: 0, vectors: rows.len() as u32, row: rows.start, bias });
    }
    writer.section(Kind::Leaves, 0, &table)?;
    writer.section(Kind::Entries, 0, &entries)?;
    let biases = table.iter().map(|leaf| leaf.bias);
    let (panels, facts) = pack_panels(dim, leaves.centroids, biases);
    writer.section(Kind::DirectoryFacts, 0, &facts)?;
    writer.section(Kind::Directory, 0, &panels)?;
    Ok(distortion / source.order.len().max(1) as f64)
}
