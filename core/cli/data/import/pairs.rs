//! `rectool data import ncf` and `lists`: who chose what.

use std::path::PathBuf;

use clap::Args;
use rectool_data::DataError;
use rectool_data::import::{
    self, ImportOptions, ImportSummary, ItemOrder, MaxBad, NcfFiles, OnProgress, SplitRule,
};

use super::super::OutputArgs;
use super::super::values::{self, SplitFiles};
use super::split_files_rule;

pub(super) const NCF_HELP: &str = "\
Examples:
  # The folder's files *train.rating, *test.rating and *test.negative, each perhaps .gz or .zst
  rectool data import ncf ml-1m-ncf --out data/ml1m-ncf

  rectool data import ncf --train a.train.rating --test a.test.rating --out data/a

Columns: user and item; rating and time, if both files have them; negatives, the items that a test row
is to be ranked among. A validation part is made by `rectool data split`.";

pub(super) const LISTS_HELP: &str = "\
Examples:
  rectool data import lists --split train=train.txt.gz --split test=test.txt.gz --out data/lcfn

  # Items oldest first: their places become the column `time`
  rectool data import lists sequences.txt.gz --ordered --out data/beauty
  rectool data split data/beauty --by leave-one-out --time time --history seen --out data/beauty-loo

Each line is a user and the items it chose, between spaces or tabs; each item becomes a row with the
columns user and item.";

#[derive(Debug, Args)]
pub(in super::super) struct NcfArgs {
    /// Folder with the files
    #[arg(value_name = "DIR", required_unless_present = "train", conflicts_with_all = ["train", "test", "negatives"])]
    folder: Option<PathBuf>,

    /// Training rows: user, item, perhaps rating and time
    #[arg(long, value_name = "FILE", requires = "test")]
    train: Option<PathBuf>,

    /// Test rows
    #[arg(long, value_name = "FILE", requires = "train")]
    test: Option<PathBuf>,

    /// `(user,item)` of each test row and the items that it is ranked among
    #[arg(long, value_name = "FILE", requires = "test")]
    negatives: Option<PathBuf>,

    /// Bad rows that are allowed: a number, or a fraction such as 0.01 or 1%
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::max_bad)]
    pub(super) max_bad: MaxBad,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl NcfArgs {
    pub(super) fn import(
        &self,
        options: &ImportOptions,
        show: OnProgress,
    ) -> Result<ImportSummary, DataError> {
        let files = match (&self.folder, &self.train, &self.test) {
            (None, Some(train), Some(test)) => {
                let (train, test) = (train.clone(), test.clone());
                NcfFiles { train, test, negatives: self.negatives.clone() }
            }
            (folder, ..) => NcfFiles::find(folder.as_deref().unwrap_or(".".as_ref()))?,
        };
        import::ncf(&files, &self.output.out, options, show)
    }
}

#[derive(Debug, Args)]
pub(in super::super) struct ListsArgs {
    /// Input files (plain, gzip or Zstandard), all of the split `train`
    #[arg(value_name = "FILE", required_unless_present = "split", conflicts_with = "split")]
    files: Vec<PathBuf>,

    /// Files of a split; give it once per split
    #[arg(long, value_name = "NAME=FILES", value_parser = values::split_files)]
    split: Vec<SplitFiles>,

    /// The items of a line stand oldest first: make a column `time` of their places
    #[arg(long)]
    ordered: bool,

    /// Bad lines that are allowed: a number, or a fraction such as 0.01 or 1%
    #[arg(long, value_name = "N", default_value = "100", value_parser = values::max_bad)]
    pub(super) max_bad: MaxBad,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl ListsArgs {
    pub(super) fn import(
        &self,
        options: &ImportOptions,
        show: OnProgress,
    ) -> Result<ImportSummary, DataError> {
        let rule = match self.split.as_slice() {
            [] => SplitRule::Files(vec![("train".to_owned(), self.files.clone())]),
            splits => split_files_rule(splits),
        };
        let order = if self.ordered { ItemOrder::Time } else { ItemOrder::Any };
        import::lists(order, &rule, &self.output.out, options, show)
    }
}
