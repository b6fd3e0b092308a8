//! Writing a tree: partition, codebook, codes, vectors.

use rayon::prelude::*;

use super::input::BuildInput;
use super::options::BuildOptions;
use super::progress::Progress;
use super::quantize::quantize;
use crate::code::{self, Codebook, Encoder, Entries, pack};
use crate::error::AnnError;
use crate::file::{Fact, Kind, Leaf, Meta, PartWriter};
use crate::kernel::{BLOCK, GROUP, Line, dot};
use crate::metric::Metric;
use crate::partition::{self, Assigned, Assigner, Groups};
use crate::source::Source;

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
    let (rows, dim) = (source.rows(), source.dim());
    progress.stage("training", 2);
    let sample = (meta.leaves * options.train_rows).min(rows).max(1);
    // Evenly spread rather than drawn: nothing depends on the order in which it is read.
    let sample =
        source.gather((0..sample).map(|at| (at as u64 * rows as u64 / sample as u64) as usize));
    let centroids = partition::train(&sample, dim, meta.leaves, options.seed);
    drop(sample);
    progress.advance(1);
    let assigner = Assigner::new(&centroids, dim, options.seed);
    progress.advance(1);
    progress.stage("assigning", rows);
    let assigned = assigner.assign(&source, meta.spill, &|units| progress.advance(units));
    drop(assigner);
    let plan = Plan::new(&assigned, meta.leaves, &centroids, options.metric);
    let codebook = train_codebook(&source, &centroids, &assigned, meta);
    let entries = Codebook { dim, entries: &codebook };
    let coder = Coder {
        source: &source,
        metric: options.metric,
        centroids: &centroids,
        encoder: Encoder { codebook: entries, weight: meta.weight },
    };
    write_partition(writer, &centroids, &plan, meta, &codebook)?;
    progress.stage("encoding", rows);
    meta.distortion = write_codes(writer, &coder, &plan, progress)?;
    progress.stage("writing", 3 * rows);
    write_rows(writer, &source, options.metric, &plan.order, progress)?;
    Ok(plan.order)
}

/// Which vectors lie where.
struct Plan {
    /// Rows of the input by their nearest leaf.
    order: Vec<u32>,
    nearest: Groups,
    spill: Groups,
    /// Row of the part of each row of the input.
    row_of: Vec<u32>,
    leaves: Vec<Leaf>,
}

impl Plan {
    fn new(assigned: &Assigned, leaves: usize, centroids: &[f32], metric: Metric) -> Self {
        let nearest = Groups::new(leaves, &assigned.nearest);
        let spill = Groups::new(leaves, &assigned.spill);
        let order: Vec<u32> = (0..leaves).flat_map(|leaf| nearest.members(leaf)).copied().collect();
        let mut row_of = vec![0; order.len()];
        for (row, source) in order.iter().enumerate() {
            row_of[*source as usize] = row as u32;
        }
        let dim = centroids.len() / leaves;
        let mut block = 0;
        let leaves = (0..leaves).map(|leaf| {
            let vectors = nearest.members(leaf).len() + spill.members(leaf).len();
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
        Self { order, nearest, spill, row_of, leaves }
    }

    /// Rows of the input in a leaf: those nearest to it, then the others.
    fn members(&self, leaf: usize) -> impl Iterator<Item = u32> + '_ {
        self.nearest.members(leaf).iter().chain(self.spill.members(leaf)).copied()
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
        let leaves = std::iter::once(assigned.nearest[row]).chain(assigned.spill.get(row).copied());
        for leaf in leaves {
            sample.add(&vector, &centroids[leaf as usize * dim..][..dim], metric);
        }
    }
    let Residuals { values, directions, biases } = &sample;
    code::train(dim, (values, directions), biases, meta.weight, meta.seed)
}

/// Vectors as seen from their leaves.
#[derive(Default)]
pub(crate) struct Residuals {
    pub(crate) values: Vec<f32>,
    pub(crate) directions: Vec<f32>,
    pub(crate) biases: Vec<f32>,
}

impl Residuals {
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
    // The directory codes centroids as leaves code vectors, as seen from the origin.
    let (dim, zero) = (meta.dim, vec![0.0; meta.dim]);
    let mut seen = Residuals::default();
    for centroid in centroids.chunks_exact(dim) {
        seen.add(centroid, &zero, meta.metric);
    }
    let Residuals { values, directions, biases } = &seen;
    let entries = code::train(dim, (values, directions), biases, meta.weight, meta.seed);
    let codebook = Codebook { dim, entries: &entries };
    let mut codes = Vec::new();
    let encoder = Encoder { codebook, weight: meta.weight };
    encoder.encode((values, directions), biases, &mut codes);
    writer.section(Kind::DirectoryCodebook, 0, &entries)?;
    writer.section(Kind::Directory, 0, &pack_all(&codes, entries.len()))
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

/// Writes the vectors in two planes of bytes, and their facts: one pass for each.
fn write_rows(
    writer: &mut PartWriter,
    source: &Source<'_>,
    metric: Metric,
    order: &[u32],
    progress: &dyn Progress,
) -> Result<(), AnnError> {
    for kind in [Kind::High, Kind::Low, Kind::Facts] {
        writer.begin(kind, 0)?;
        for rows in order.chunks(ROWS) {
            let pieces: Vec<(Vec<i8>, Vec<i8>, Vec<Fact>)> = rows
                .par_chunks(ROWS / 16)
                .map(|rows| quantize_rows(source, metric, rows))
                .collect();
            for (high, low, facts) in pieces {
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

fn quantize_rows(
    source: &Source<'_>,
    metric: Metric,
    rows: &[u32],
) -> (Vec<i8>, Vec<i8>, Vec<Fact>) {
    let dim = source.dim();
    let vectors = source.gather(rows.iter().map(|row| *row as usize));
    let (mut high, mut low) = (vec![0; vectors.len()], vec![0; vectors.len()]);
    let planes = high.chunks_exact_mut(dim).zip(low.chunks_exact_mut(dim));
    let facts = vectors.chunks_exact(dim).zip(planes);
    let facts = facts.map(|(vector, (high, low))| quantize(vector, metric, high, low)).collect();
    (high, low, facts)
}
