//! `rectool data synth`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rectool_data::synth::{self, SynthOptions, SynthSummary};

use super::progress::Meter;
use super::values::{self, bytes, counted, grouped};
use super::{OutputArgs, failure};
use crate::failure::{Exit, Failure};
use crate::output;

const CRITEO_HELP: &str = "\
Examples:
  rectool data synth criteo --rows 1M --out data/synth
  rectool data synth criteo --rows 100k --seed 7 --out data/synth --tsv synth.tsv
  rectool data import criteo synth.tsv --out data/same       # makes the same shards

The same rows and seed make the same bytes, on any number of threads.";

/// What can be made up.
#[derive(Debug, Subcommand)]
pub(super) enum SynthCommand {
    /// A click log like Criteo's: Zipf ids, log-normal integers, labels from a hidden teacher
    #[command(after_help = CRITEO_HELP)]
    Criteo(CriteoArgs),
}

#[derive(Debug, Args)]
pub(super) struct CriteoArgs {
    /// Rows of all splits: 1000000, 1_000_000, 100k, 1M
    #[arg(long, value_name = "N", default_value = "1M", value_parser = values::count)]
    rows: u64,

    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Fraction of the rows for `valid`
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1)]
    valid: f64,

    /// Fraction of the rows for `test`
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1)]
    test: f64,

    /// Also write all rows as a Criteo TSV file
    #[arg(long, value_name = "FILE")]
    tsv: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

impl SynthCommand {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let Self::Criteo(args) = self;
        let options = SynthOptions {
            rows: args.rows,
            seed: args.seed,
            valid: args.valid,
            test: args.test,
            tsv: args.tsv.clone(),
            writer: args.output.writer(),
        };
        let meter = Meter::new();
        let show = |rows: u64| meter.show(rows, args.rows, rows, "");
        let summary = synth::criteo(&args.output.out, &options, &show);
        drop(meter);
        output::print(&report(&summary.map_err(failure)?, args))?;
        Ok(Exit::Ok)
    }
}

fn report(summary: &SynthSummary, args: &CriteoArgs) -> String {
    let mut text = format!(
        "{}: {} rows in {}, {}; {:.1} s\n",
        args.output.out.display(),
        grouped(args.rows),
        counted(summary.shards, "shard"),
        bytes(summary.bytes_written),
        summary.seconds,
    );
    // Writing to a string does not fail.
    for (name, rows) in &summary.splits {
        let _ = writeln!(text, "  {name:<10} {:>14} rows", grouped(*rows));
    }
    let _ = writeln!(text, "  click rate {:>14.4}", summary.click_rate);
    if let (Some(auc), Some(loss)) = (summary.teacher_auc, summary.teacher_log_loss) {
        let _ = writeln!(
            text,
            "  teacher    AUC {auc:.4}, log loss {loss:.4} on test: the most that can be learnt"
        );
    }
    text
}
