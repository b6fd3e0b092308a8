//! Full ranking: every item of the catalogue for every test user.

use std::collections::BTreeMap;

use rectool_base::Batch;
use rectool_comm::{Comm, CommExt, Reduce, Values, agree};
use serde::{Deserialize, Serialize};

use super::metrics::{METRICS, of_list};
use super::{Figure, RetrievalError, RetrievalTask, Scorer, figures};

/// Users that are ranked before their lists become figures.
const BLOCK: usize = 4096;
/// Metrics of a user at one cut-off: [`METRICS`], two of popularity, recall in three item segments.
const NAMES: [&str; 10] = {
    let [recall, hit, ndcg, mrr, map] = METRICS;
    [
        "popularity_log",
        "popularity_percentile",
        "head",
        "torso",
        "tail",
        recall,
        hit,
        ndcg,
        mrr,
        map,
    ]
};
/// Where the recalls in item segments start in [`NAMES`], and where what follows them does.
const ITEMS: usize = 2;
const LISTS: usize = 5;
/// Segments of users by what they have in training: name, from, and to.
const HISTORIES: [(&str, usize, usize); 4] = [
    ("new users", 0, 0),
    ("1-10 seen", 1, 10),
    ("11-100 seen", 11, 100),
    ("> 100 seen", 101, usize::MAX),
];

/// How recommendations are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrievalOptions {
    /// Lengths of the lists, each at least 1.
    pub ks: Vec<usize>,
    /// Of the bootstrap.
    pub seed: u64,
}

impl RetrievalOptions {
    pub(super) fn check(&self) -> Result<usize, RetrievalError> {
        match self.ks.iter().max() {
            Some(k) if !self.ks.contains(&0) => Ok(*k),
            _ => Err(RetrievalError::CutOff { found: format!("{:?}", self.ks) }),
        }
    }
}

/// Figures of a part of the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentFigures {
    /// `head`, `torso` or `tail` items (see [`super::Popularity`]), or users by the number of items
    /// they have in training.
    pub segment: String,
    /// Users that have a positive in it.
    pub users: usize,
    /// By name and cut-off, such as `recall@20`. For items: of the user's positives in the segment,
    /// the share that is in the whole list.
    pub metrics: BTreeMap<String, Figure>,
}

/// What a method's recommendations are worth.
///
/// # Definitions
/// For a user with positives P, |P| > 0, and a list of the k items that score highest among those
/// not seen (ties go to the lower index), with hits at positions r = 1, 2, …:
///
/// * **recall@k**: hits / |P|; **hit_rate@k**: 1 if there is a hit, else 0.
/// * **ndcg@k**: Σ 1 / log2(r + 1) over the hits, divided by the same sum over
///   r = 1 … min(k, |P|) (Järvelin and Kekäläinen 2002, binary gains; the ideal as in LightGCN).
/// * **mrr@k**: 1 / r of the first hit, else 0.
/// * **map@k**: Σ over the hits at r of (hits up to r) / r, divided by min(k, |P|).
/// * **popularity_log@k**: mean ln(1 + times in training) of the list;
///   **popularity_percentile@k**: mean over the list of the share of the catalogue that is less
///   popular, items of one popularity counting half (Abdollahpouri et al. 2019 ask how popular what
///   is shown is).
/// * **coverage@k**: distinct items in all lists / V.
///
/// A metric is the mean over users with positives. Users without are left out and counted. A positive
/// that the catalogue does not have, or that was seen in training, can never be hit and stays in |P|.
/// A user without history is ranked like the others. With k beyond what is left of the catalogue
/// the list is shorter. k = 0 and a test without positives are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalEvaluation {
    /// Test users with a positive: what means are over.
    pub users: usize,
    /// Test users without one.
    pub users_left_out: usize,
    /// Positives that the catalogue does not have, counted as missed.
    pub positives_beyond: u64,
    /// Items of the catalogue V.
    pub items: usize,
    /// By name and cut-off, such as `ndcg@20`.
    pub metrics: BTreeMap<String, Figure>,
    /// Share of the catalogue that is in some list, by `coverage@k`.
    pub coverage: BTreeMap<String, f64>,
    /// Parts of the test that have users.
    pub segments: Vec<SegmentFigures>,
}

/// Ranks the catalogue for every test user. Each rank takes a consecutive slice of the users.
///
/// # Errors
/// If a cut-off is 0 or there is none, no user has a positive, scores are NaN or -∞, the scorer's device
/// refuses, or ranks cannot reach each other.
///
/// # Panics
/// If the scorer has not the task's items.
///
/// # Collective
/// Every rank must call it, with the same task and options and an equal scorer.
///
/// # Determinism
/// The same figures for any number of ranks and threads, where our own kernels score.
pub fn evaluate_retrieval(
    comm: &dyn Comm,
    task: &RetrievalTask,
    scorer: &dyn Scorer,
    options: &RetrievalOptions,
) -> Result<RetrievalEvaluation, RetrievalError> {
    let items = task.popularity.counts.len();
    assert_eq!(scorer.items(), items, "items of the scorer and of the task");
    let k_max = options.check()?;
    let total = task.users().len();
    let users: Vec<u32> =
        (0..total).filter(|user| task.positives_of(*user) > 0).map(|user| user as u32).collect();
    if users.is_empty() {
        return Err(RetrievalError::Empty { users: total });
    }
    let own = &users[Batch::slice_of(users.len(), comm.rank(), comm.size())];
    let mut shown = vec![0u64; options.ks.len() * items];
    let own = judge(task, scorer, own, (k_max, &options.ks), &mut shown);
    let own = agree(comm, own)?;
    let mut values = Vec::new();
    comm.all_gather(&own, &mut values)?;
    comm.all_reduce(Values::U64(&mut shown), Reduce::Max)?;
    let coverage = options.ks.iter().zip(shown.chunks(items.max(1))).map(|(k, shown)| {
        (format!("coverage@{k}"), shown.iter().sum::<u64>() as f64 / items as f64)
    });
    let (lists, _) = select(&values, options, 0..ITEMS, |_| true);
    let (mut metrics, _) = select(&values, options, LISTS..NAMES.len(), |_| true);
    metrics.extend(lists);
    Ok(RetrievalEvaluation {
        users: users.len(),
        users_left_out: total - users.len(),
        positives_beyond: task.positives_beyond.iter().map(|count| u64::from(*count)).sum(),
        items,
        metrics,
        coverage: coverage.collect(),
        segments: segments(task, &users, &values, options),
    })
}

/// The values [U, ks × names] of `users`; marks the items that were `shown` [ks, V].
fn judge(
    task: &RetrievalTask,
    scorer: &dyn Scorer,
    users: &[u32],
    (k_max, ks): (usize, &[usize]),
    shown: &mut [u64],
) -> Result<Vec<f64>, RetrievalError> {
    let items = scorer.items();
    let mut values = Vec::with_capacity(users.len() * ks.len() * NAMES.len());
    for users in users.chunks(BLOCK) {
        let lists = scorer.top_k(users, k_max, &task.seen)?;
        for (user, list) in users.iter().map(|user| *user as usize).zip(lists) {
            let left = items - task.seen.items_of(user).len();
            if list.len() < k_max.min(left) || list.iter().any(|(_, score)| !score.is_finite()) {
                return Err(RetrievalError::Score { user: task.users().as_slice()[user] });
            }
            let list: Vec<u32> = list.iter().map(|(item, _)| *item).collect();
            for (at, k) in ks.iter().enumerate() {
                let list = &list[..list.len().min(*k)];
                for item in list {
                    shown[at * items + *item as usize] = 1;
                }
                values.extend(of_user(task, user, list, *k));
            }
        }
    }
    Ok(values)
}

/// In the order of [`NAMES`]; the recall in a segment without positives is NaN.
fn of_user(task: &RetrievalTask, user: usize, list: &[u32], k: usize) -> Vec<f64> {
    let (positives, popularity) = (task.positives.items_of(user), &task.popularity);
    let hit = |item: &u32| positives.binary_search(item).is_ok();
    let places: Vec<usize> = (0..list.len()).filter(|place| hit(&list[*place])).collect();
    let mean = |of: &dyn Fn(usize) -> f64| {
        list.iter().map(|item| of(*item as usize)).sum::<f64>() / list.len().max(1) as f64
    };
    let mut row = vec![
        mean(&|item| f64::from(popularity.counts[item]).ln_1p()),
        mean(&|item| popularity.percentiles[item]),
    ];
    for segment in 0..3 {
        let within = |item: &&u32| popularity.segments[**item as usize] == segment;
        let hits = list.iter().filter(within).filter(|item| hit(item)).count();
        row.push(hits as f64 / positives.iter().filter(within).count() as f64);
    }
    row.extend(of_list(&places, task.positives_of(user), k));
    row
}

/// Figures of the `names` over the users that are `wanted`, by their place, and the users' number.
fn select(
    values: &[f64],
    options: &RetrievalOptions,
    names: std::ops::Range<usize>,
    wanted: impl Fn(usize) -> bool,
) -> (BTreeMap<String, Figure>, usize) {
    let rows = values.chunks_exact(options.ks.len() * NAMES.len()).enumerate();
    let rows = rows.filter(|(user, _)| wanted(*user)).map(|(_, row)| row);
    let picked =
        rows.flat_map(|row| row.chunks_exact(NAMES.len())).flat_map(|row| &row[names.clone()]);
    let picked: Vec<f64> = picked.copied().collect();
    let columns = options.ks.len() * names.len();
    let keys =
        options.ks.iter().flat_map(|k| NAMES[names.clone()].iter().map(move |name| (name, k)));
    let found = figures(&picked, columns, options.seed);
    let keyed = keys.zip(found).map(|((name, k), figure)| (format!("{name}@{k}"), figure));
    (keyed.collect(), picked.len() / columns)
}

fn segments(
    task: &RetrievalTask,
    users: &[u32],
    values: &[f64],
    options: &RetrievalOptions,
) -> Vec<SegmentFigures> {
    let width = options.ks.len() * NAMES.len();
    let items = NAMES[ITEMS..LISTS].iter().enumerate().map(|(at, name)| {
        let column = ITEMS + at;
        let wanted = |user: usize| !values[user * width + column].is_nan();
        let (found, users) = select(values, options, column..column + 1, wanted);
        let renamed = found.into_iter().map(|(key, figure)| (key.replace(name, "recall"), figure));
        SegmentFigures { segment: format!("{name} items"), users, metrics: renamed.collect() }
    });
    let histories = HISTORIES.iter().map(|(name, from, to)| {
        let seen = |user: usize| task.seen.items_of(users[user] as usize).len();
        let wanted = |user: usize| (*from..=*to).contains(&seen(user));
        let (metrics, users) = select(values, options, LISTS..NAMES.len(), wanted);
        SegmentFigures { segment: (*name).to_owned(), users, metrics }
    });
    items.chain(histories).filter(|segment| segment.users > 0).collect()
}
