//! `rectool data split`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rectool_data::divide::{DivideOptions, DivideRule, Division, HistoryOptions, Pick};
use rectool_data::{DataError, Dataset, Manifest};
use rectool_model::{Interactions, LeakReport, Timeline};

use super::progress::Meter;
use super::values::{bytes, counted, grouped};
use super::{OutputArgs, failure};
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) const HELP: &str = "\
Examples:
  # Each user's last row becomes test, the one before valid; every row gets the items seen before it
  rectool data split data/beauty --by leave-one-out --time time --history seen --out data/beauty-loo

  # A tenth of a published training split for validation; its test split stays
  rectool data split data/lcfn --by random --into valid --fraction 0.1 --out data/lcfn-valid

  # The latest 10 % of all rows, and the 10 % before them
  rectool data split data/ratings --by time --time time --fraction 0.1 --out data/by-time

A user with too few rows for leave-one-out (3 for valid and test) keeps all of them in train. Rows are in
order of time, and of the input where times are equal or --time is left out. The history of a training
row holds items of training rows before it, that of another row items of earlier splits only; a user's
first row has an empty one. A row without user, item or time is an error.

What training gives away of the other splits is told at the end: test pairs of user and item that are in
training too, users and items that training lacks, test rows that are earlier than their user's training
rows, and with --by time or keep than anybody's.

Memory: at its peak about 100 bytes per row, all splits together; 20 million rows take 2 GB.";

/// What rows are held out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// One row of each user per new split: the last one
    LeaveOneOut,
    /// One row of each user per new split, drawn at random
    RandomOne,
    /// A fraction of the pairs of user and item, drawn at random
    Random,
    /// The latest rows of all
    Time,
    /// Nothing: all rows stay in their splits, and get a history
    Keep,
}

/// Options of `rectool data split`.
#[derive(Debug, Args)]
pub(super) struct SplitArgs {
    /// The dataset folder
    dir: PathBuf,

    /// What rows are held out by
    #[arg(long, value_name = "RULE")]
    by: By,

    /// Fraction of the rows for each new split, with `random` and `time`
    #[arg(long, value_name = "FRACTION", default_value_t = 0.1)]
    fraction: f64,

    /// The split that is divided
    #[arg(long, value_name = "NAME", default_value = "train")]
    from: String,

    /// The new splits, earlier ones first [default: valid,test, or which of them is not there yet]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    into: Vec<String>,

    /// The column, or member of a packed one, that holds the user's id
    #[arg(long, value_name = "NAME", default_value = "user")]
    user: String,

    /// The same for the item's id
    #[arg(long, value_name = "NAME", default_value = "item")]
    item: String,

    /// The same for the time, a whole number in any unit [default: the order of rows]
    #[arg(long, value_name = "NAME")]
    time: Option<String>,

    /// Seed of what is drawn
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Add a column of this name: the items that the user had before
    #[arg(long, value_name = "NAME")]
    history: Option<String>,

    /// Items of a history, the latest ones
    #[arg(long, value_name = "N", default_value_t = 50, requires = "history")]
    length: usize,

    /// Write nothing if a pair of another split is in training too, or, with `time`, a row there is
    /// later
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    output: OutputArgs,
}

impl SplitArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let dataset = Dataset::open(&self.dir).map_err(failure)?;
        let options = self.options(&dataset);
        if self.by == By::Keep && self.history.is_none() {
            return Err(Failure::asked("`--by keep` changes nothing without `--history NAME`"));
        }
        let division = Division::plan(&dataset, &options).map_err(failure)?;
        let leaks = self.leaks(&division)?;
        let meter = Meter::new();
        let total = dataset.manifest().rows();
        let show = |rows: u64| meter.show(rows, total, rows, "");
        let written = division.write(&self.output.out, self.output.writer(), &show);
        drop(meter);
        output::print(&self.report(&division, &written.map_err(failure)?, &leaks))?;
        Ok(Exit::Ok)
    }

    fn options(&self, dataset: &Dataset) -> DivideOptions {
        let free =
            |name: &&str| *name != self.from && !dataset.splits().any(|there| there == *name);
        let into = match self.by {
            By::Keep => self.into.clone(),
            _ if self.into.is_empty() => {
                ["valid", "test"].iter().copied().filter(free).map(str::to_owned).collect()
            }
            _ => self.into.clone(),
        };
        DivideOptions {
            from: self.from.clone(),
            into,
            rule: match self.by {
                By::LeaveOneOut => DivideRule::LeaveOneOut(Pick::Last),
                By::RandomOne => DivideRule::LeaveOneOut(Pick::Random),
                By::Random => DivideRule::Random(self.fraction),
                By::Time => DivideRule::Time(self.fraction),
                By::Keep => DivideRule::Keep,
            },
            user: self.user.clone(),
            item: self.item.clone(),
            time: self.time.clone(),
            seed: self.seed,
            history: self
                .history
                .clone()
                .map(|name| HistoryOptions { name, length_max: self.length }),
        }
    }

    /// What the first split gives away of each other one.
    fn leaks(&self, division: &Division) -> Result<Vec<(String, LeakReport)>, Failure> {
        let interactions = |pairs| Interactions::new(pairs).map_err(Failure::failed);
        let train = interactions(division.pairs(0))?;
        let timeline = |split: usize| -> Option<(Vec<i64>, Vec<i64>)> {
            let users = || division.pairs(split).into_iter().map(|pair| pair.0).collect();
            division.times(split).map(|times| (users(), times))
        };
        let train_times = timeline(0);
        let mut leaks = Vec::new();
        for (at, (name, rows)) in division.rows().into_iter().enumerate().skip(1) {
            if rows == 0 {
                continue;
            }
            let times = timeline(at);
            let times = train_times
                .as_ref()
                .zip(times.as_ref())
                .map(|(train, test)| [train, test].map(|(users, times)| Timeline { users, times }));
            let test = interactions(division.pairs(at))?;
            let mut report = LeakReport::new(&train, &test, times);
            if let (By::LeaveOneOut | By::RandomOne | By::Random, Some(times)) =
                (self.by, &mut report.times)
            {
                // Only a cut in time sets all of training before the rest.
                times.before_any = 0;
            }
            let late = report.times.is_some_and(|times| times.before_any > 0);
            if self.strict && (report.pairs_in_train > 0 || (self.by == By::Time && late)) {
                let found = report.warnings().join("; ");
                return Err(failure(DataError::Leak { split: name.to_owned(), found }));
            }
            leaks.push((name.to_owned(), report));
        }
        Ok(leaks)
    }

    fn report(
        &self,
        division: &Division,
        manifest: &Manifest,
        leaks: &[(String, LeakReport)],
    ) -> String {
        let shards = || manifest.splits.iter().flat_map(|split| &split.shards);
        let mut text = format!(
            "{}: {} rows in {}, {}\n",
            self.output.out.display(),
            grouped(manifest.rows()),
            counted(shards().count(), "shard"),
            bytes(shards().map(|shard| shard.bytes).sum()),
        );
        // Writing to a string does not fail.
        for (name, rows) in division.rows() {
            let _ = writeln!(text, "  {name:<10} {:>14} rows", grouped(rows));
        }
        let whole = division.users_whole();
        if whole > 0 {
            let users = counted(whole as usize, "user");
            let _ = writeln!(text, "  {users} with too few rows stay whole in {}", self.from);
        }
        for (name, report) in leaks {
            for warning in report.warnings() {
                let _ = writeln!(text, "  {name}: {warning}");
            }
        }
        text
    }
}
