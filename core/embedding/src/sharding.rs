//! What a user or a planner says about where tables live.

use std::collections::BTreeSet;
use std::ops::Range;

use rectool_base::{nearest_name, quoted_list};
use serde::{Deserialize, Serialize};

use crate::{EmbeddingError, TableOptions};

/// Where a table's rows and columns live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sharding {
    /// Every rank holds all rows: no values travel, but keys and gradients go to all.
    DataParallel,
    /// One rank holds all rows.
    TableWise {
        /// The rank.
        rank: usize,
    },
    /// Contiguous ranges of buckets over all ranks.
    RowWise,
    /// As [`Sharding::RowWise`], over the ranks `first..first + ranks`: those of one machine.
    TableRowWise {
        /// The first of them.
        first: usize,
        /// How many.
        ranks: usize,
    },
    /// The columns are cut into nearly equal parts ([`Sharding::column_parts`]), each with all rows
    /// on a rank of its own. Only for optimizers that treat each column alone.
    ColumnWise {
        /// The rank of each part, from the first column on; all different.
        ranks: Vec<usize>,
    },
}

/// Floats of a cache line, which column parts keep whole where they can.
const LINE: usize = 16;

impl Sharding {
    /// Name of the kind, as serialised.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DataParallel => "data_parallel",
            Self::TableWise { .. } => "table_wise",
            Self::RowWise => "row_wise",
            Self::TableRowWise { .. } => "table_row_wise",
            Self::ColumnWise { .. } => "column_wise",
        }
    }

    /// The columns of each of `parts` parts of a table of width `dim`: nearly equal, of whole cache
    /// lines where there are at least as many lines as parts.
    ///
    /// ```
    /// use rectool_embedding::Sharding;
    /// assert_eq!(Sharding::column_parts(80, 2), [0..48, 48..80]);
    /// assert_eq!(Sharding::column_parts(20, 2), [0..16, 16..20]);
    /// assert_eq!(Sharding::column_parts(20, 3), [0..7, 7..14, 14..20]);
    /// ```
    ///
    /// # Panics
    /// If `parts` is 0.
    pub fn column_parts(dim: usize, parts: usize) -> Vec<Range<usize>> {
        let unit = if dim.div_ceil(LINE) >= parts { LINE } else { 1 };
        let units = dim.div_ceil(unit);
        let cut = |part: usize| dim.min((units * part).div_ceil(parts) * unit);
        (0..parts).map(|part| cut(part)..cut(part + 1)).collect()
    }

    /// Refuses a placement of `table` that `ranks` ranks cannot hold.
    ///
    /// # Errors
    /// [`EmbeddingError::Sharding`].
    pub fn check(&self, table: &TableOptions, ranks: usize) -> Result<(), EmbeddingError> {
        let refuse = |found: String, expected: String, remedy: &str| {
            let what = format!("table `{}`, {}", table.name, self.kind());
            Err(EmbeddingError::Sharding { what, found, expected, remedy: remedy.to_owned() })
        };
        let below = format!("ranks below {ranks}");
        match self {
            Self::DataParallel | Self::RowWise => Ok(()),
            Self::TableWise { rank } if *rank < ranks => Ok(()),
            Self::TableWise { rank } => refuse(format!("rank {rank}"), below, OTHER_RANKS),
            Self::TableRowWise { ranks: 0, .. } => {
                refuse("no ranks".to_owned(), "at least 1".to_owned(), "give the number of ranks")
            }
            Self::TableRowWise { first, ranks: count } => match first.checked_add(*count) {
                Some(end) if end <= ranks => Ok(()),
                _ => refuse(format!("{count} ranks from {first} on"), below, OTHER_RANKS),
            },
            Self::ColumnWise { ranks: parts } => {
                if parts.is_empty() {
                    let remedy = "name the rank of each part of the columns";
                    return refuse("no ranks".to_owned(), "at least 1".to_owned(), remedy);
                }
                if let Some(rank) = parts.iter().find(|rank| **rank >= ranks) {
                    return refuse(format!("rank {rank}"), below, OTHER_RANKS);
                }
                let mut seen = BTreeSet::new();
                if let Some(rank) = parts.iter().find(|rank| !seen.insert(**rank)) {
                    let found = format!("rank {rank} twice");
                    return refuse(found, "each once".to_owned(), "make one part of the two");
                }
                if parts.len() > table.dim {
                    let found = format!("{} parts of {} columns", parts.len(), table.dim);
                    return refuse(
                        found,
                        "at least a column in each".to_owned(),
                        "name fewer ranks",
                    );
                }
                if parts.len() > 1 && table.clip_norm.is_some() {
                    let found = "`clip_norm`, which joins the columns of a row".to_owned();
                    let expected = "columns that are treated alone".to_owned();
                    let remedy = "cut the rows instead (`row_wise`), or do not clip";
                    return refuse(found, expected, remedy);
                }
                if parts.len() > 1 && table.optimizer.is_row_wise() {
                    let found = "an optimizer that joins the columns of a row".to_owned();
                    let expected = "one that treats each column alone".to_owned();
                    let remedy = "cut the rows instead (`row_wise`), or use another optimizer, such as \
                                  `adagrad` for `rowwise_adagrad`";
                    return refuse(found, expected, remedy);
                }
                Ok(())
            }
        }
    }
}

const OTHER_RANKS: &str = "start more ranks, or plan for the ranks there are";

/// Where every table of a model lives: each named exactly once.
///
/// ```
/// use rectool_embedding::{Sharding, ShardingPlan};
/// let text = r#"{"tables": [["city", {"kind": "table_wise", "rank": 1}]]}"#;
/// let plan: ShardingPlan = serde_json::from_str(text)?;
/// assert_eq!(plan.get("city"), Some(&Sharding::TableWise { rank: 1 }));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardingPlan {
    /// Names and places.
    pub tables: Vec<(String, Sharding)>,
}

impl ShardingPlan {
    /// Row-wise over all ranks, for every table: what is used without a plan.
    pub fn row_wise(tables: &[TableOptions]) -> Self {
        let tables = tables.iter().map(|table| (table.name.clone(), Sharding::RowWise));
        Self { tables: tables.collect() }
    }

    /// Where table `name` lives.
    pub fn get(&self, name: &str) -> Option<&Sharding> {
        self.tables.iter().find(|(table, _)| table == name).map(|(_, sharding)| sharding)
    }

    /// \[T\], in the order of `tables`, once all fit each other and the `ranks` ranks.
    ///
    /// # Errors
    /// [`EmbeddingError::Sharding`] if a table is unknown, missing or named twice, or cannot live
    /// where it shall.
    pub fn check(
        &self,
        tables: &[TableOptions],
        ranks: usize,
    ) -> Result<Vec<Sharding>, EmbeddingError> {
        let names = || tables.iter().map(|table| table.name.as_str());
        let refuse = |name: &str, found: &str, expected: String, remedy: String| {
            let (what, found) = (format!("table `{name}`"), found.to_owned());
            EmbeddingError::Sharding { what, found, expected, remedy }
        };
        let mut seen = BTreeSet::new();
        for (name, _) in &self.tables {
            if !names().any(|known| known == name) {
                let expected = format!("one of the {} tables of the model", tables.len());
                let remedy = match nearest_name(name, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the model has {}", quoted_list(names())),
                };
                return Err(refuse(name, "a name that is not defined", expected, remedy));
            }
            if !seen.insert(name.as_str()) {
                let remedy = "leave one of the two out".to_owned();
                return Err(refuse(name, "a second place", "one".to_owned(), remedy));
            }
        }
        let place = |table: &TableOptions| {
            if let Some(sharding) = self.get(&table.name) {
                return sharding.check(table, ranks).map(|()| sharding.clone());
            }
            let missing: Vec<&str> = names().filter(|name| !seen.contains(name)).collect();
            let found = format!("no place ({} left out)", missing.len());
            let expected = format!("places for all {} tables", tables.len());
            let remedy = format!("give places to {}", quoted_list(missing));
            Err(refuse(&table.name, &found, expected, remedy))
        };
        tables.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::Hint;

    use super::*;
    use crate::OptimizerOptions;

    fn tables() -> Vec<TableOptions> {
        let row_wise = OptimizerOptions::RowWiseAdagrad {
            learning_rate: 0.1,
            epsilon: 1e-8,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        };
        let city = TableOptions::new("city", 4, OptimizerOptions::sgd(0.1));
        vec![city, TableOptions::new("street", 4, row_wise)]
    }

    fn plan(tables: &[(&str, Sharding)]) -> ShardingPlan {
        let tables = tables.iter().map(|(name, place)| ((*name).to_owned(), place.clone()));
        ShardingPlan { tables: tables.collect() }
    }

    #[test]
    fn plans_that_do_not_fit_say_what_would() {
        let rows = Sharding::RowWise;
        let city = |place: Sharding| plan(&[("street", Sharding::RowWise), ("city", place)]);
        let columns = |ranks: &[usize]| Sharding::ColumnWise { ranks: ranks.to_vec() };
        let cases = [
            (
                plan(&[("cty", rows.clone())]),
                "table `cty`: found a name that is not defined, expected one of the 2 tables of the model",
                "did you mean `city`?",
            ),
            (
                plan(&[("city", rows.clone()), ("city", rows.clone())]),
                "table `city`: found a second place, expected one",
                "leave one of the two out",
            ),
            (
                plan(&[("city", rows.clone())]),
                "table `street`: found no place (1 left out), expected places for all 2 tables",
                "give places to `street`",
            ),
            (
                city(Sharding::TableWise { rank: 3 }),
                "table `city`, table_wise: found rank 3, expected ranks below 3",
                OTHER_RANKS,
            ),
            (
                city(Sharding::TableRowWise { first: 2, ranks: 2 }),
                "table `city`, table_row_wise: found 2 ranks from 2 on, expected ranks below 3",
                OTHER_RANKS,
            ),
            (
                city(Sharding::TableRowWise { first: 0, ranks: 0 }),
                "table `city`, table_row_wise: found no ranks, expected at least 1",
                "give the number of ranks",
            ),
            (
                city(columns(&[])),
                "table `city`, column_wise: found no ranks, expected at least 1",
                "name the rank of each part of the columns",
            ),
            (
                city(columns(&[0, 5])),
                "table `city`, column_wise: found rank 5, expected ranks below 3",
                OTHER_RANKS,
            ),
            (
                city(columns(&[2, 2])),
                "table `city`, column_wise: found rank 2 twice, expected each once",
                "make one part of the two",
            ),
        ];
        for (plan, message, hint) in cases {
            let error = plan.check(&tables(), 3).unwrap_err();
            assert_eq!(error.to_string(), format!("sharding plan: {message}"));
            assert_eq!(error.hint().as_deref(), Some(hint));
        }
        let error = city(columns(&[0, 1, 2, 3, 4])).check(&tables(), 5).unwrap_err();
        assert!(error.to_string().contains("found 5 parts of 4 columns"), "{error}");
    }

    #[test]
    fn columns_of_a_row_wise_optimizer_stay_together() {
        let place = Sharding::ColumnWise { ranks: vec![1, 0] };
        let split = plan(&[("city", Sharding::RowWise), ("street", place)]);
        let error = split.check(&tables(), 2).unwrap_err().to_string();
        assert!(error.contains("an optimizer that joins the columns of a row"), "{error}");
        let mut clipped = tables();
        clipped[0].clip_norm = Some(1.0);
        let place = Sharding::ColumnWise { ranks: vec![1, 0] };
        let split = plan(&[("city", place), ("street", Sharding::RowWise)]);
        let error = split.check(&clipped, 2).unwrap_err().to_string();
        assert!(error.contains("`clip_norm`, which joins the columns of a row"), "{error}");
        let whole = Sharding::ColumnWise { ranks: vec![1] };
        plan(&[("city", whole.clone()), ("street", whole)]).check(&tables(), 2).unwrap();
    }

    #[test]
    fn plans_keep_the_order_of_the_tables() {
        let place = Sharding::TableWise { rank: 0 };
        let found = plan(&[("street", place.clone()), ("city", Sharding::DataParallel)]);
        assert_eq!(found.check(&tables(), 1).unwrap(), [Sharding::DataParallel, place]);
        let row_wise = ShardingPlan::row_wise(&tables());
        assert_eq!(row_wise.check(&tables(), 7).unwrap(), [Sharding::RowWise, Sharding::RowWise]);
    }

    #[test]
    fn column_parts_cover_the_columns_in_order() {
        for dim in [1, 2, 15, 16, 17, 20, 64, 80, 128] {
            for parts in 1..=dim.min(9) {
                let found = Sharding::column_parts(dim, parts);
                assert_eq!(found.len(), parts);
                let mut next = 0;
                for part in found {
                    assert!(part.start == next && !part.is_empty(), "{dim} in {parts}: {part:?}");
                    next = part.end;
                }
                assert_eq!(next, dim);
            }
        }
    }
}
