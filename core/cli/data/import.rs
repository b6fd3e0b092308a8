//! `rectool data import`.

mod pairs;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rectool_data::import::{
    self, ColumnSpec, CsvSpec, Encoding, Header, ImportOptions, ImportSummary, LabelRule, MaxBad,
    Progress, Quotes, SplitRule,
};

use super::progress::Meter;
use super::values::{self, Fractions, SplitFiles, bytes, counted, grouped};
use super::{OutputArgs, failure};
use crate::failure::{Exit, Failure};
use crate::output;

const CRITEO_HELP: &str = "\
Examples:
  # One file, cut in file order (that is, time) into 80 % train, 10 % valid, 10 % test
  rectool data import criteo train.txt --out data/criteo

  # Days of the 1 TB log, the last one for testing; gzip and Zstandard are read as they are
  rectool data import criteo --split train=day_0.gz,day_1.gz --split test=day_2.gz --out data/days

Values stay as they are; logarithms and missing-value rules belong to the recipe.";

const CSV_HELP: &str = "\
Examples:
  rectool data import csv clicks.csv --label click \\
      --dense age,price --ids 'user,item,c*' --out data/clicks

  rectool data import csv --split train=train.tsv.gz --split test=test.tsv.gz \\
      --label label --ids user_id,movie_id,gender --lists genres --texts title --out data/movies

  # MovieLens: ratings, and its movies as a side table with titles and genres
  rectool data import csv ratings.dat --delimiter :: --names user,item,rating,time \\
      --plain-ids user,item,time --plain-floats rating --fractions 1 --out data/ratings
  rectool data import csv movies.dat --delimiter :: --encoding latin1 --names item,title,genres \\
      --plain-ids item --texts title --lists genres --fractions 1 --out data/items

Names may be patterns: 'c*' is every column that begins with c and is named nowhere else; i0..i12 is
i0, i1 and so on. Columns that are not named are left out.";

const PARQUET_HELP: &str = "\
Example:
  rectool data import parquet part-*.parquet --label label \\
      --dense 'i*' --ids 'c*' --lists history --out data/p

Numbers of any type, texts, dictionaries and lists of them are taken. Texts among --ids and --lists are
hashed; those among --texts and --text-lists stay texts. For patterns see `import csv`.";

/// The formats.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Criteo click logs: TSV of label, 13 integers, 26 hexadecimal categories
    #[command(after_help = CRITEO_HELP)]
    Criteo(CriteoArgs),
    /// Comma- or tab-separated text with named columns
    #[command(after_help = CSV_HELP)]
    Csv(CsvArgs),
    /// Parquet files
    #[command(after_help = PARQUET_HELP)]
    Parquet(ParquetArgs),
    /// Leave-one-out splits in the files of Neural Collaborative Filtering, with listed negatives
    #[command(after_help = pairs::NCF_HELP)]
    Ncf(pairs::NcfArgs),
    /// Lines of a user and the items it chose, as LightGCN's and many sequence data sets
    #[command(after_help = pairs::LISTS_HELP)]
    Lists(pairs::ListsArgs),
}

#[derive(Debug, Args)]
pub(super) struct CriteoArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct CsvArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    columns: ColumnArgs,

    /// What separates fields: a character, several such as `::`, or `tab` [default: tab or comma, as
    /// in the first line]
    #[arg(long, value_name = "CHARS", value_parser = values::delimiter)]
    delimiter: Option<String>,

    /// What the bytes of the files stand for
    #[arg(long, value_name = "NAME", default_value = "utf8")]
    encoding: EncodingArg,

    /// Names of the columns, if the files have no header
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Vec<String>,

    /// Take `"` as a character like others
    #[arg(long)]
    no_quotes: bool,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncodingArg {
    /// UTF-8
    Utf8,
    /// ISO 8859-1
    Latin1,
}

#[derive(Debug, Args)]
pub(super) struct ParquetArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    columns: ColumnArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which rows go where.
#[derive(Debug, Args)]
struct InputArgs {
    /// Input files (plain, gzip or Zstandard), one after another, cut into splits by `--fractions`
    #[arg(value_name = "FILE", required_unless_present = "split", conflicts_with = "split")]
    files: Vec<PathBuf>,

    /// Files of a split; give it once per split
    #[arg(long, value_name = "NAME=FILES", value_parser = values::split_files)]
    split: Vec<SplitFiles>,

    /// Fractions of rows, in file order, for train,valid,test (or name=fraction,…)
    #[arg(long, value_name = "LIST", default_value = "0.8,0.1,0.1", value_parser = values::fractions)]
    fractions: Fractions,

    /// Bad rows that are allowed: a number, or a fraction such as 0.01 or 1%
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::max_bad)]
    max_bad: MaxBad,
}

impl InputArgs {
    fn rule(&self) -> SplitRule {
        if self.split.is_empty() {
            let fractions = self.fractions.0.clone();
            return SplitRule::Fractions { files: self.files.clone(), fractions };
        }
        split_files_rule(&self.split)
    }
}

/// Files of splits; a split that is given twice has the files of both.
fn split_files_rule(given: &[SplitFiles]) -> SplitRule {
    let mut splits: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for split in given {
        match splits.iter_mut().find(|(name, _)| *name == split.name) {
            Some((_, files)) => files.extend(split.files.iter().cloned()),
            None => splits.push((split.name.clone(), split.files.clone())),
        }
    }
    SplitRule::Files(splits)
}

/// Which columns become what.
#[derive(Debug, Args)]
struct ColumnArgs {
    /// The label column, 0 or 1
    #[arg(long, value_name = "NAME")]
    label: Option<String>,

    /// Take labels that are not 0 or 1, such as ratings
    #[arg(long)]
    any_label: bool,

    /// Number columns, packed into `dense`
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    dense: Vec<String>,

    /// Id columns, packed into `ids`: whole numbers stay, other texts are hashed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    ids: Vec<String>,

    /// Columns of several ids per row
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    lists: Vec<String>,

    /// Text columns, kept as texts for plugins that read them
    #[arg(long, alias = "text", value_name = "NAMES", value_delimiter = ',')]
    texts: Vec<String>,

    /// Columns of several numbers per row
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    float_lists: Vec<String>,

    /// Columns of several texts per row, kept as texts
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    text_lists: Vec<String>,

    /// What separates the values of a list
    #[arg(long, value_name = "CHAR", default_value_t = '|')]
    list_separator: char,

    /// Number columns that keep their own names
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    plain_floats: Vec<String>,

    /// Id columns that keep their own names
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    plain_ids: Vec<String>,
}

impl ColumnArgs {
    fn spec(&self) -> ColumnSpec {
        ColumnSpec {
            label: self.label.clone(),
            labels: if self.any_label { LabelRule::Any } else { LabelRule::ZeroOne },
            dense: self.dense.clone(),
            ids: self.ids.clone(),
            plain_floats: self.plain_floats.clone(),
            plain_ids: self.plain_ids.clone(),
            lists: self.lists.clone(),
            texts: self.texts.clone(),
            float_lists: self.float_lists.clone(),
            text_lists: self.text_lists.clone(),
            list_separator: self.list_separator,
        }
    }
}

impl ImportCommand {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let (max_bad, output) = match self {
            Self::Criteo(args) => (args.input.max_bad, &args.output),
            Self::Csv(args) => (args.input.max_bad, &args.output),
            Self::Parquet(args) => (args.input.max_bad, &args.output),
            Self::Ncf(args) => (args.max_bad, &args.output),
            Self::Lists(args) => (args.max_bad, &args.output),
        };
        let options = ImportOptions { writer: output.writer(), max_bad };
        let out = output.out.as_path();
        let meter = Meter::new();
        let show = |now: Progress| {
            let bad =
                if now.bad > 0 { format!(", {} bad", grouped(now.bad)) } else { String::new() };
            meter.show(now.bytes_read, now.bytes_total, now.rows, &bad);
        };
        let summary = match self {
            Self::Criteo(args) => import::criteo(&args.input.rule(), out, &options, &show),
            Self::Csv(args) => import::csv(&args.spec(), &args.input.rule(), out, &options, &show),
            Self::Parquet(args) => {
                let (spec, rule) = (args.columns.spec(), args.input.rule());
                import::parquet(&spec, &rule, out, &options, &show)
            }
            Self::Ncf(args) => args.import(&options, &show),
            Self::Lists(args) => args.import(&options, &show),
        };
        drop(meter);
        let summary = summary.map_err(failure)?;
        output::print(&report(&summary, output))?;
        Ok(Exit::Ok)
    }
}

impl CsvArgs {
    fn spec(&self) -> CsvSpec {
        CsvSpec {
            columns: self.columns.spec(),
            delimiter: self.delimiter.clone(),
            encoding: match self.encoding {
                EncodingArg::Utf8 => Encoding::Utf8,
                EncodingArg::Latin1 => Encoding::Latin1,
            },
            header: match self.names.as_slice() {
                [] => Header::FirstRow,
                names => Header::Names(names.to_vec()),
            },
            quotes: if self.no_quotes { Quotes::Literal } else { Quotes::Fields },
        }
    }
}

fn report(summary: &ImportSummary, output: &OutputArgs) -> String {
    let out = output.out.display();
    let rate = summary.rows() as f64 / summary.seconds.max(1e-3);
    let mut text = format!(
        "{out}: {} rows in {}, {}; {:.1} s, {} rows/s\n",
        grouped(summary.rows()),
        counted(summary.shards, "shard"),
        bytes(summary.bytes_written),
        summary.seconds,
        grouped(rate as u64),
    );
    // Writing to a string does not fail.
    for (name, rows) in &summary.splits {
        let _ = writeln!(text, "  {name:<10} {:>14} rows", grouped(*rows));
    }
    if summary.bad > 0 {
        let (bad, file) = (grouped(summary.bad), output.out.join("rejects.tsv"));
        let _ = writeln!(text, "  refused    {bad:>14} rows, see {}", file.display());
    }
    if !summary.left_out.is_empty() {
        let _ = writeln!(text, "  left out   columns {}", summary.left_out.join(", "));
    }
    text
}
