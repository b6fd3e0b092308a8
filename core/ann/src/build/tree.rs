//! Writing a tree: partition, codebook, codes, vectors.

use rayon::prelude::*;

use super::axes::Axes;
use super::input::BuildInput;
use super::options::{BuildOptions, Spill};
use super::progress::Progress;
use super::quantize::Planes;
use crate::code::{self, Codebook, Encoder, Entries, pack};
use crate::error::AnnError;
use crate::file::{Kind, Leaf, Meta, PartWriter};
use crate::idle::give_way;
use crate::kernel::{BLOCK, GROUP, Line, dot, pack_panels};
use crate::metric::Metric;
use crate::partition::{self, Assigned, Assigner, Groups, NO_LEAF};
use crate::rotation::Rotation;
use crate::source::{Source, spread};

/// Leaves encoded before their codes are written.
const LEAVES: usize = 256;
/// Vectors quantised before they are written.
const ROWS: usize = 1 << 15;
/// Vectors whose residuals codebooks are trained on.
const CODEBOOK_ROWS: usize = 1 << 15;

/// Writes everything of a tree but ids and attributes. Returns the rows of the input in the order in
/// which the part holds them: by leaf.
pub(super) fn write(
    writer: &mut PartWriter,
    meta: &mut Meta,
    input: &BuildInput<'_>,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Vec<u32>, AnnError> {
    let source = Source::new(input, options.metric);
    let dim = source.dim();
    let (centroids, assigned) = partition_of(&source, meta.leaves, options, progress);
    meta.spilling.clone_from(&assigned.spilling);
    let axes = Axes::fit(&source, (&centroids, &assigned), input, options);
    let Axes { values: axes, widths } = axes;
    meta.widths.clone_from(&widths);
    writer.section(Kind::Axes, 0, &axes)?;
    let rotation = (!axes.is_empty()).then(|| Rotation::new(dim, &axes));
    let mut turned = Vec::new();
    if let Some(rotation) = &rotation {
        rotation.turn(&centroids, &mut turned);
    }
    let centroids = if turned.is_empty() { centroids } else { turned };
    let source = source.turned(rotation.as_ref());
    let plan = Plan::new(&assigned, meta.leaves, &centroids, options.metric);
    let codebook = train_codebook(&source, &centroids, &assigned, meta);
    let entries = Codebook { dim, widths: &widths, entries: &codebook };
    let coder = Coder {
        source: &source,
        metric: options.metric,
        centroids: &centroids,
        encoder: Encoder { codebook: entries, weight: meta.weight },
    };
    write_partition(writer, &centroids, &plan, meta, &codebook)?;
    progress.stage("encoding", source.rows());
    meta.distortion = write_codes(writer, &coder, &plan, progress)?;
    progress.stage("writing", 3 * source.rows());
    write_source(writer, &source, options.metric, &plan.order, progress)?;
    Ok(plan.order)
}

/// The centroids of leaves [L, D], and the leaves of each vector.
pub(super) fn partition_of(
    source: &Source<'_>,
    leaves: usize,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> (Vec<f32>, Assigned) {
    let (rows, dim) = (source.rows(), source.dim());
    progress.stage("training", 2);
    let sample = source.gather(spread(rows, leaves * options.train_rows));
    let centroids = partition::train(&sample, dim, leaves, options.seed);
    drop(sample);
    progress.advance(1);
    let assigner = Assigner::new(&centroids, dim, options.seed);
    progress.advance(1);
    progress.stage("assigning", rows);
    let lambda = (options.spill == Spill::On).then_some(options.spill_weight);
    let assigned = assigner.assign(source, lambda, &|units| progress.advance(units));
    (centroids, assigned)
}

/// Which vectors lie where.
struct Plan {
    /// Rows of the input by their nearest leaf.
    order: Vec<u32>,
    nearest: Groups,
    /// By second leaf, by third leaf, …
    further: Vec<Groups>,
    /// Row of the part of each row of the input.
    row_of: Vec<u32>,
    leaves: Vec<Leaf>,
}

impl Plan {
    fn new(assigned: &Assigned, leaves: usize, centroids: &[f32], metric: Metric) -> Self {
        let nearest = Groups::new(leaves, &assigned.nearest);
        let further = assigned.further.iter().map(|of| Groups::new(leaves, of));
        let further: Vec<Groups> = further.collect();
        let order: Vec<u32> = (0..leaves).flat_map(|leaf| nearest.members(leaf)).copied().collect();
        let mut row_of = vec![0; order.len()];
        for (row, source) in order.iter().enumerate() {
            row_of[*source as usize] = row as u32;
        }
        let dim = centroids.len() / leaves;
        let mut block = 0;
        let leaves = (0..leaves).map(|leaf| {
            let others: usize = further.iter().map(|groups| groups.members(leaf).len()).sum();
            let vectors = nearest.members(leaf).len() + others;
            let centroid = &centroids[leaf * dim..][..dim];
            let entry = Leaf {
                block,
                vectors: vectors as u32,
                row: nearest.before(leaf) as u32,
                bias: metric.bias(dot(centroid, centroid)),
            };
            block += vectors.div_ceil(BLOCK) as u32;
            entry
        });
        let leaves = leaves.collect();
        Self { order, nearest, further, row_of, leaves }
    }

    /// Rows of the input in a leaf: those nearest to it, then the others.
    fn members(&self, leaf: usize) -> impl Iterator<Item = u32> + '_ {
        let further = self.further.iter().flat_map(move |groups| groups.members(leaf));
        self.nearest.members(leaf).iter().chain(further).copied()
    }
}

fn train_codebook(
    source: &Source<'_>,
    centroids: &[f32],
    assigned: &Assigned,
    meta: &Meta,
) -> Vec<Entries> {
    let (rows, dim) = (source.rows(), source.dim());
    let step = (rows / CODEBOOK_ROWS).max(1);
    let mut sample = Residuals::default();
    let metric = meta.metric;
    for row in (0..rows).step_by(step) {
        let vector = source.gather(std::iter::once(row));
        let further = assigned.further.iter().map(|of| of[row]).filter(|leaf| *leaf != NO_LEAF);
        for leaf in std::iter::once(assigned.nearest[row]).chain(further) {
            sample.add(&vector, &centroids[leaf as usize * dim..][..dim], metric);
        }
    }
    let Residuals { values, directions, biases } = &sample;
    code::train((dim, &meta.widths), (values, directions), biases, meta.weight, meta.seed)
}

/// Vectors as seen from their leaves.
#[derive(Debug, Default)]
pub(crate) struct Residuals {
    pub(crate) values: Vec<f32>,
    pub(crate) directions: Vec<f32>,
    pub(crate) biases: Vec<f32>,
}

impl Residuals {
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.directions.clear();
        self.biases.clear();
    }

    pub(crate) fn add(&mut self, vector: &[f32], centroid: &[f32], metric: Metric) {
        self.values.extend(vector.iter().zip(centroid).map(|(x, c)| x - c));
        let square = dot(vector, vector);
        let inverse = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
        self.directions.extend(vector.iter().map(|x| x * inverse));
        if metric == Metric::L2 {
            self.biases.push(metric.bias(square) - metric.bias(dot(centroid, centroid)));
        }
    }
}

fn write_partition(
    writer: &mut PartWriter,
    centroids: &[f32],
    plan: &Plan,
    meta: &Meta,
    codebook: &[Entries],
) -> Result<(), AnnError> {
    writer.section(Kind::Centroids, 0, centroids)?;
    writer.section(Kind::Leaves, 0, &plan.leaves)?;
    writer.section(Kind::Codebook, 0, codebook)?;
    let biases = plan.leaves.iter().map(|leaf| leaf.bias);
    let (panels, facts) = pack_panels(meta.dim, centroids, biases);
    writer.section(Kind::DirectoryFacts, 0, &facts)?;
    writer.section(Kind::Directory, 0, &panels)
}

/// Codes [N, positions] in blocks.
pub(crate) fn pack_all(codes: &[u8], positions: usize) -> Vec<Line> {
    let width = positions.div_ceil(GROUP);
    let blocks = (codes.len() / positions).div_ceil(BLOCK);
    let mut lines = vec![Line([0; 64]); blocks * width];
    for (at, codes) in codes.chunks_exact(positions).enumerate() {
        pack(codes, at % BLOCK, &mut lines[at / BLOCK * width..][..width]);
    }
    lines
}

struct Coder<'a> {
    source: &'a Source<'a>,
    metric: Metric,
    centroids: &'a [f32],
    encoder: Encoder<'a>,
}

/// One leaf, encoded.
struct Encoded {
    codes: Vec<Line>,
    lanes: Vec<u32>,
    /// Σ |x − c|² over the vectors whose nearest leaf it is.
    distortion: f64,
}

impl Coder<'_> {
    fn encode(&self, plan: &Plan, leaf: usize) -> Encoded {
        let dim = self.source.dim();
        let members: Vec<u32> = plan.members(leaf).collect();
        let vectors = self.source.gather(members.iter().map(|row| *row as usize));
        let centroid = &self.centroids[leaf * dim..][..dim];
        let mut residuals = Residuals::default();
        for vector in vectors.chunks_exact(dim) {
            residuals.add(vector, centroid, self.metric);
        }
        let Residuals { values, directions, biases } = &residuals;
        let own = plan.nearest.members(leaf).len() * dim;
        let distortion = values[..own].iter().map(|value| f64::from(*value).powi(2)).sum();
        let mut codes = Vec::new();
        self.encoder.encode((values, directions), biases, &mut codes);
        let mut lanes: Vec<u32> = members.iter().map(|row| plan.row_of[*row as usize]).collect();
        lanes.resize(members.len().next_multiple_of(BLOCK), u32::MAX);
        let codes = pack_all(&codes, self.encoder.codebook.entries.len());
        Encoded { codes, lanes, distortion }
    }
}

/// Writes codes and lanes; returns the mean squared distance of vectors from their nearest leaf.
fn write_codes(
    writer: &mut PartWriter,
    coder: &Coder<'_>,
    plan: &Plan,
    progress: &dyn Progress,
) -> Result<f64, AnnError> {
    let mut lanes = Vec::new();
    let mut distortion = 0.0;
    writer.begin(Kind::Codes, 0)?;
    let leaves = plan.leaves.len();
    for from in (0..leaves).step_by(LEAVES) {
        let encoded: Vec<Encoded> = (from..leaves.min(from + LEAVES))
            .into_par_iter()
            .map(|leaf| {
                let encoded = coder.encode(plan, leaf);
                progress.advance(plan.nearest.members(leaf).len());
                encoded
            })
            .collect();
        for leaf in encoded {
            writer.add(&leaf.codes)?;
            lanes.extend(leaf.lanes);
            distortion += leaf.distortion;
        }
    }
    writer.section(Kind::Lanes, 0, &lanes)?;
    Ok(distortion / plan.order.len().max(1) as f64)
}

/// Writes the rows of `source` that stand in `order` as [`write_rows`] does.
pub(super) fn write_source(
    writer: &mut PartWriter,
    source: &Source<'_>,
    metric: Metric,
    order: &[u32],
    progress: &dyn Progress,
) -> Result<(), AnnError> {
    write_rows(writer, order, progress, &|rows| quantize_rows(source, metric, rows))
}

/// Writes vectors in two planes of bytes, and their facts: one pass for each. `planes` makes them of
/// pieces of `order`.
pub(crate) fn write_rows(
    writer: &mut PartWriter,
    order: &[u32],
    progress: &dyn Progress,
    planes: &(dyn Fn(&[u32]) -> Planes + Sync),
) -> Result<(), AnnError> {
    for kind in [Kind::High, Kind::Low, Kind::Facts] {
        writer.begin(kind, 0)?;
        for rows in order.chunks(ROWS) {
            let piece = |rows: &[u32]| {
                give_way();
                planes(rows)
            };
            let pieces: Vec<Planes> = rows.par_chunks(ROWS / 16).map(piece).collect();
            for Planes { high, low, facts } in pieces {
                match kind {
                    Kind::High => writer.add(&high)?,
                    Kind::Low => writer.add(&low)?,
                    _ => writer.add(&facts)?,
                }
            }
            progress.advance(rows.len());
        }
    }
    Ok(())
}

fn quantize_rows(source: &Source<'_>, metric: Metric, rows: &[u32]) -> Planes {
    let vectors = source.gather(rows.iter().map(|row| *row as usize));
    let mut planes = Planes::with_capacity(rows.len(), source.dim());
    vectors.chunks_exact(source.dim()).for_each(|vector| planes.push(vector, metric));
    planes
}
