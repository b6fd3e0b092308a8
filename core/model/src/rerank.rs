//! Two stages: towers retrieve items, and a model that scores rows brings them into another order.

use std::collections::HashMap;
use std::sync::Arc;

use rectool_base::{Batch, BatchPlace, Column, ColumnKind, quoted_list};
use rectool_comm::{CommExt, agree};
use rectool_data::{Cells, DataError, Split, append_rows};

use crate::encode::View;
use crate::{
    Interactions, ModelError, Outputs, Ranker, Recommended, RetrievalError, RetrievalTask, Scorer,
};

/// Rows that are scored at a time, over all ranks.
const BATCH_ROWS: usize = 1 << 14;

/// What was retrieved, and where the rows to score are made of.
#[derive(Clone, Copy, Debug)]
pub struct RerankJob<'a> {
    /// Whom it was retrieved for.
    pub task: &'a RetrievalTask,
    /// For each of its users, by number, items of its catalogue.
    pub lists: &'a Recommended,
    /// Rows of the users: the first one of each gives what does not describe an item.
    pub users: &'a Split,
    /// Rows of the items: the first one of each gives what describes it.
    pub items: &'a [&'a Split],
    /// The columns, or members, with the ids of users and items.
    pub ids: (&'a str, &'a str),
    /// Further columns that describe items.
    pub item_columns: &'a [String],
    /// The label of the head whose score orders, in a model with heads.
    pub head: Option<&'a str>,
}

/// Lists in the order of a second model's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Reranked {
    lists: Recommended,
    items: usize,
}

impl Scorer for Reranked {
    fn items(&self) -> usize {
        self.items
    }

    /// Items that were not retrieved score lower than all others.
    fn score(&self, users: &[u32], scores: &mut [f32]) {
        scores.fill(f32::MIN);
        for (user, scores) in users.iter().zip(scores.chunks_exact_mut(self.items.max(1))) {
            for (item, score) in &self.lists[*user as usize] {
                scores[*item as usize] = *score;
            }
        }
    }

    fn top_k(
        &self,
        users: &[u32],
        k: usize,
        _: &Interactions,
    ) -> Result<Recommended, RetrievalError> {
        let list = |user: &u32| self.lists[*user as usize].iter().take(k).copied().collect();
        Ok(users.iter().map(list).collect())
    }
}

/// A column of the rows to score: the item's own, or the user's.
enum Source {
    /// By place among the users' columns.
    User(usize),
    /// All items of the catalogue, by number.
    Item(Column),
}

impl Ranker {
    /// Scores what was retrieved for each user, and orders it by these scores; equal ones keep their
    /// order.
    ///
    /// # Errors
    /// If the model does not score rows by themselves, a split lacks a column, or rows cannot be read.
    ///
    /// # Collective
    /// Every rank, with the same job; all get all lists.
    pub fn rerank(&mut self, job: &RerankJob<'_>) -> Result<Reranked, ModelError> {
        let comm = Arc::clone(&self.comm);
        let (at, width) = agree(&*comm, self.ordering(job.head))?;
        let (view, sources, rows) = agree(&*comm, self.sources(job))?;
        let longest = job.lists.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let mut lists = Recommended::with_capacity(job.lists.len());
        let all: Vec<usize> = (0..job.lists.len()).collect();
        for users in all.chunks((BATCH_ROWS / longest).max(1)) {
            let own = &users[Batch::slice_of(users.len(), comm.rank(), comm.size())];
            let batch = agree(&*comm, self.block(job, (&view, &sources), &rows, own))?;
            let outputs = self.score(&batch)?.to_vec();
            let scored = self.learning.scores(&outputs, batch.rows);
            let scored: Vec<f32> = scored.iter().copied().skip(at).step_by(width).collect();
            let mut scores = Vec::new();
            comm.all_gather(&scored, &mut scores)?;
            let mut scores = scores.into_iter();
            for user in users {
                let items = job.lists[*user].iter().map(|(item, _)| *item);
                let mut list: Vec<(u32, f32)> = items.zip(scores.by_ref()).collect();
                list.sort_by(|a, b| b.1.total_cmp(&a.1));
                lists.push(list);
            }
        }
        Ok(Reranked { lists, items: job.task.popularity.counts.len() })
    }

    /// Which of how many scores of a row orders.
    fn ordering(&self, head: Option<&str>) -> Result<(usize, usize), ModelError> {
        let outputs = self.learning.outputs();
        let width = outputs.last().map_or(1, |last| last.columns.end);
        let known = self.spec.ordering_heads();
        let wanted = |outputs: &&Outputs| match head {
            Some(_) => outputs.head.as_deref() == head,
            None => outputs.head.is_none() || width == 1,
        };
        match outputs.iter().find(wanted).filter(|outputs| outputs.columns.len() == 1) {
            Some(outputs) => Ok((outputs.columns.start, width)),
            None if known.is_empty() => {
                let expected = "none, as the model has no heads with one score";
                Err(ModelError::option("head", head.unwrap_or("absent"), expected))
            }
            None => {
                let expected = format!("one with one score for a row: {}", quoted_list(known));
                Err(ModelError::option("head", head.unwrap_or("absent"), expected))
            }
        }
    }

    /// Which columns there are, where each comes from, and the rows of the task's users.
    fn sources(&self, job: &RerankJob<'_>) -> Result<(View, Vec<Source>, Vec<u64>), ModelError> {
        let view = View::of_scores(self, job.users)?;
        let schema = job.users.schema();
        let of_item = |name: &str| Ok::<_, ModelError>(Cells::find(schema, name)?.column);
        let mut described = vec![of_item(job.ids.1)?];
        for name in job.item_columns {
            described.push(of_item(name)?);
        }
        let first = first_rows(job.items, job.ids.1)?;
        let mut sources = Vec::new();
        for (place, at) in view.columns().iter().enumerate() {
            sources.push(if described.contains(at) {
                let name = &schema.columns()[*at].name;
                Source::Item(of_catalogue(job, name, &first)?)
            } else {
                Source::User(place)
            });
        }
        let users = first_rows(&[job.users], job.ids.0)?;
        let rows = job.task.users().as_slice().iter().map(|user| users[user].1).collect();
        Ok((view, sources, rows))
    }

    /// A row for each item that was retrieved for `users`.
    fn block(
        &self,
        job: &RerankJob<'_>,
        (view, sources): (&View, &[Source]),
        rows: &[u64],
        users: &[usize],
    ) -> Result<Batch, ModelError> {
        let rows: Vec<u64> = users.iter().map(|user| rows[*user]).collect();
        let of_users = job.users.gather(&rows, view.columns())?;
        let (mut of_user, mut of_item) = (Vec::new(), Vec::new());
        for (at, user) in users.iter().enumerate() {
            for (item, _) in &job.lists[*user] {
                of_user.push(at);
                of_item.push(*item as usize);
            }
        }
        let columns = sources.iter().map(|source| match source {
            Source::User(place) => of_users[*place].picked(&of_user),
            Source::Item(column) => column.picked(&of_item),
        });
        let place = BatchPlace { rows: of_item.len(), ..BatchPlace::default() };
        let columns = view.chain().apply(columns.collect(), place)?;
        let batch = Batch { rows: of_item.len(), columns, ..Batch::default() };
        let places: Vec<usize> = (0..batch.rows).collect();
        Ok(view.completed(self, &batch, &places))
    }
}

/// For each id the first row that has it: number of the split, and row.
fn first_rows(splits: &[&Split], id: &str) -> Result<HashMap<i64, (usize, u64)>, DataError> {
    let mut first = HashMap::new();
    for (at, split) in splits.iter().enumerate() {
        let cells = Cells::find_one(split.schema(), id, ColumnKind::I64 { width: 1 }, "id")?;
        split.scan(&[cells.column], |rows, columns| {
            let [Column::I64 { values, .. }] = columns else {
                unreachable!("the column's type was checked")
            };
            for (place, row) in rows.enumerate() {
                first.entry(values[cells.at(place)]).or_insert((at, row));
            }
            Ok::<_, DataError>(())
        })?;
    }
    Ok(first)
}

/// The column `name` of the items of the catalogue, by number.
fn of_catalogue(
    job: &RerankJob<'_>,
    name: &str,
    first: &HashMap<i64, (usize, u64)>,
) -> Result<Column, ModelError> {
    let catalogue = job.task.positives.items().as_slice();
    let (mut found, mut order) = (None::<Column>, vec![0; catalogue.len()]);
    let mut count = 0;
    for (at, split) in job.items.iter().enumerate() {
        let own = catalogue.iter().enumerate();
        let own = own.filter_map(|(item, id)| match first.get(id) {
            Some((split, row)) if *split == at => Some((item, *row)),
            _ => None,
        });
        let (items, rows): (Vec<usize>, Vec<u64>) = own.unzip();
        let column = split.schema().position(name)?;
        let Some(more) = split.gather(&rows, &[column])?.pop() else { continue };
        for item in items {
            order[item] = count;
            count += 1;
        }
        match &mut found {
            Some(found) if found.kind() == more.kind() => append_rows(found, &more, 0..rows.len()),
            Some(found) => {
                let expected = format!("{}, as in another split of items", found.kind());
                return Err(ModelError::option(format!("column {name}"), more.kind(), expected));
            }
            None => found = Some(more),
        }
    }
    let found = found.ok_or_else(|| ModelError::option("items", "no rows", "rows of items"))?;
    Ok(found.picked(&order))
}
