//! `rectool index build`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rectool_ann::{BuildOptions, IndexKind, Metric, Progress, Spill, Tuning};
use rectool_base::{bytes_text, grouped};
use rectool_comm::{Comm, agree, threads_per_rank};
use rectool_recipe::index::{
    BuildIndex, BuiltIndex, Existing, IndexError, InputColumns, VectorInput, build_index,
};

use super::input::ColumnArgs;
use super::meter::Meter;
use super::{ThreadArgs, counted, failure};
use crate::failure::{Exit, Failure};
use crate::output::print;

const HELP: &str = "\
Inputs: Arrow IPC and Parquet files (a column `vector` of lists of floats, a column `id`), .npy files of
f32 [N, D], .fbin files. Several files follow each other.

Examples:
  rectool index build items.arrow --out items.idx --filter-columns genre,year
  rectool index build items.npy --out items.idx --metric cosine --queries users.npy
  rectool index build items.npy --out items.idx --kind graph --degree 48
  mpirun -n 4 rectool index build items.parquet --out items.idx     # four parts

A line of a file for --attributes: {\"genre\": [\"comedy\"], \"year\": 1990}

The same input, options and parts make the same files, on any number of ranks and threads.";

/// Options of `rectool index build`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct BuildArgs {
    /// Files of vectors
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<PathBuf>,

    /// Folder of the new index
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,

    /// Replace the index that is there, once the new one is whole
    #[arg(long)]
    overwrite: bool,

    #[command(flatten)]
    columns: ColumnArgs,

    /// What near means
    #[arg(long, value_enum, default_value = "inner-product")]
    metric: MetricArg,

    /// Compare with every vector (flat), with the most promising leaves of a tree (ivf), or along the links of
    /// a graph (graph) [default: flat up to 10,000 vectors, else ivf]
    #[arg(long, value_enum)]
    kind: Option<KindArg>,

    /// Leaves of the tree, or those that searches of the graph start in [default: one per 250 vectors]
    #[arg(long, value_name = "N")]
    leaves: Option<usize>,

    /// Links of each vector of the graph
    #[arg(long, value_name = "N", default_value_t = BuildOptions::default().degree)]
    degree: usize,

    /// Put each vector into one leaf, also those far from its centroid: a smaller index, more leaves to search
    #[arg(long)]
    no_spill: bool,

    /// Recall@10 of searches that ask for no other
    #[arg(long, value_name = "SHARE", default_value_t = 0.95)]
    recall_target: f64,

    /// Queries like those to come, to measure efforts with [default: some of the vectors]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,

    /// Do not measure which effort reaches which recall
    #[arg(long)]
    no_tuning: bool,

    /// Parts, each built by one rank [default: one per rank]
    #[arg(long, value_name = "N")]
    parts: Option<usize>,

    /// Seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A metric as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum MetricArg {
    /// The inner product
    #[value(alias = "inner_product", alias = "ip")]
    InnerProduct,
    /// The cosine of the angle
    Cosine,
    /// Euclidean distance
    L2,
}

/// A kind as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    /// Every vector, exactly
    Flat,
    /// Leaves of a tree with 4-bit codes
    Ivf,
    /// Links from vector to vector
    Graph,
}

impl BuildArgs {
    fn options(&self) -> BuildOptions {
        BuildOptions {
            metric: match self.metric {
                MetricArg::InnerProduct => Metric::InnerProduct,
                MetricArg::Cosine => Metric::Cosine,
                MetricArg::L2 => Metric::L2,
            },
            kind: self.kind.map(|kind| match kind {
                KindArg::Flat => IndexKind::Flat,
                KindArg::Ivf => IndexKind::Ivf,
                KindArg::Graph => IndexKind::Graph,
            }),
            leaves: self.leaves,
            degree: self.degree,
            spill: if self.no_spill { Spill::Off } else { Spill::On },
            tuning: if self.no_tuning { Tuning::Off } else { Tuning::On },
            recall_target: self.recall_target,
            seed: self.seed,
            ..BuildOptions::default()
        }
    }

    /// Builds; rank 0 prints what.
    ///
    /// # Collective
    /// Every rank of the job.
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let comm = rectool_comm::connect().map_err(Failure::failed)?;
        self.threads.apply(threads_per_rank(&*comm).map_err(Failure::failed)?);
        let built = self.build(&*comm)?;
        if comm.rank() == 0 {
            print(&self.text(&built))?;
        }
        Ok(Exit::Ok)
    }

    fn build(&self, comm: &dyn Comm) -> Result<BuiltIndex, Failure> {
        let open = || -> Result<_, IndexError> {
            let input = VectorInput::open(&self.inputs, &self.columns.columns())?;
            let columns = InputColumns::of_queries();
            let queries = self.queries.as_ref();
            let queries =
                queries.map(|path| VectorInput::open(std::slice::from_ref(path), &columns));
            Ok((input, queries.transpose()?))
        };
        let (input, queries) = agree(comm, open()).map_err(failure)?;
        let existing = if self.overwrite { Existing::Replace } else { Existing::Keep };
        let job = BuildIndex {
            out: &self.out,
            input: &input,
            queries: queries.as_ref(),
            options: &self.options(),
            parts: self.parts.unwrap_or(comm.size()),
            existing,
        };
        let meter = (comm.rank() == 0).then(Meter::new);
        let progress = meter.as_ref().map_or(&() as &dyn Progress, |meter| meter);
        build_index(&job, comm, progress).map_err(failure)
    }

    fn text(&self, built: &BuiltIndex) -> String {
        let BuiltIndex { stats, seconds } = built;
        if self.json {
            let value = serde_json::json!({
                "index": self.out, "seconds": seconds, "vectors": stats.vectors,
                "bytes": stats.bytes, "parts": stats.parts,
            });
            return format!("{value}\n");
        }
        let (vectors, bytes) = (grouped(stats.vectors as u64), bytes_text(stats.bytes));
        let leaves: usize = stats.parts.iter().map(|part| part.leaves).sum();
        let mut kinds: Vec<&str> = stats.parts.iter().map(|part| part.kind).collect();
        kinds.dedup();
        let leaves = match leaves {
            0 => String::new(),
            1 => ", 1 leaf".to_owned(),
            leaves => format!(", {} leaves", grouped(leaves as u64)),
        };
        format!(
            "{}: {vectors} vectors in {}, {bytes}; {seconds:.1} s\n  {}{leaves}, {}\n",
            self.out.display(),
            counted(stats.parts.len(), "part"),
            kinds.join(" and "),
            self.options().metric.name(),
        )
    }
}
