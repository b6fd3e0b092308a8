//! What the report shows of recommendations: some users, and the items on a plane.

use std::collections::HashMap;

use rectool_base::{Column, ColumnKind};
use rectool_data::{Cells, Split};
use rectool_model::{ModelError, Retrieval, Scorer, VectorScorer, principal_plane};
use serde::{Deserialize, Serialize};

/// Users that are shown.
const USERS: usize = 5;
/// Items that are shown of each list.
const ITEMS: usize = 10;
/// Points of the map: more would hide each other.
const POINTS_MAX: usize = 1_500;

/// One user's recommendations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Id of the user.
    pub user: i64,
    /// Items it has seen, over all.
    pub seen_count: usize,
    /// Some of those, by name.
    pub seen: Vec<String>,
    /// What is recommended, best first: name, and whether it was to be found.
    pub recommended: Vec<(String, bool)>,
    /// What was to be found and is not among those.
    pub missed: Vec<String>,
}

/// An item of the map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MapPoint {
    /// Along the first principal component of the item vectors.
    pub x: f32,
    /// Along the second.
    pub y: f32,
    /// 0 head, 1 torso, 2 tail, by popularity in training.
    pub segment: u8,
    /// Name.
    pub name: String,
}

/// Names of items by id; an id without one is its number.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<i64, String>);

impl Names {
    /// From the id column `item` and the text column `name` of splits.
    pub(crate) fn read(splits: &[&Split], item: &str, name: &str) -> Result<Self, ModelError> {
        let mut names = HashMap::new();
        for split in splits {
            let find = |name, kind, option| Cells::find_one(split.schema(), name, kind, option);
            let ids = find(item, ColumnKind::I64 { width: 1 }, "item")?;
            let texts = find(name, ColumnKind::Text { width: 1 }, "names")?;
            split.scan(&[ids.column, texts.column], |rows, columns| {
                let [Column::I64 { values: found, .. }, Column::Text { values: named, .. }] =
                    columns
                else {
                    unreachable!("the columns' types were checked");
                };
                for row in 0..(rows.end - rows.start) as usize {
                    if let Some(text) = named.get(texts.at(row)) {
                        names.entry(found[ids.at(row)]).or_insert_with(|| text.to_owned());
                    }
                }
                Ok::<_, ModelError>(())
            })?;
        }
        Ok(Self(names))
    }

    fn of(&self, id: i64) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// Some of the test's users, evenly chosen, with what `scorer` recommends them.
pub(crate) fn examples(
    retrieval: &Retrieval,
    scorer: &VectorScorer<'_>,
    names: &Names,
) -> Result<Vec<Example>, ModelError> {
    let task = &retrieval.task;
    let (total, catalogue) = (task.users().len(), retrieval.catalogue().as_slice());
    let shown = total.min(USERS);
    let users: Vec<u32> = (0..shown).map(|at| (at * total / shown) as u32).collect();
    let lists = scorer.top_k(&users, ITEMS, &task.seen)?;
    let name = |item: &u32| names.of(catalogue[*item as usize]);
    let example = |(user, list): (u32, Vec<(u32, f32)>)| {
        let seen = task.seen.items_of(user as usize);
        let wanted = task.positives.items_of(user as usize);
        let missed = wanted.iter().filter(|item| list.iter().all(|(other, _)| other != *item));
        Example {
            user: task.users().as_slice()[user as usize],
            seen_count: seen.len(),
            seen: seen.iter().take(ITEMS).map(name).collect(),
            missed: missed.take(ITEMS).map(name).collect(),
            recommended: list
                .iter()
                .map(|(item, _)| (name(item), wanted.binary_search(item).is_ok()))
                .collect(),
        }
    };
    Ok(users.into_iter().zip(lists).map(example).collect())
}

/// The items on a plane, at most so many of them, evenly chosen.
pub(crate) fn map(retrieval: &Retrieval, names: &Names) -> Result<Vec<MapPoint>, ModelError> {
    let vectors = &retrieval.candidates;
    let points = principal_plane(&vectors.values, vectors.width)?;
    let every = points.len().div_ceil(POINTS_MAX).max(1);
    let segments = &retrieval.task.popularity.segments;
    let shown = points.iter().enumerate().step_by(every).map(|(at, [x, y])| MapPoint {
        x: *x,
        y: *y,
        segment: segments[at],
        name: names.of(vectors.ids.as_slice()[at]),
    });
    Ok(shown.collect())
}
