//! The protocol of NCF: one positive among sampled negatives.

use std::collections::BTreeMap;

use rectool_base::{Batch, Stream};
use rectool_comm::{Comm, CommExt, agree};
use serde::{Deserialize, Serialize};

use super::metrics::gain;
use super::{Figure, RetrievalError, RetrievalOptions, RetrievalTask, Scorer, figures};

/// Cases whose users are scored together.
const BLOCK: usize = 16;
/// Marks the seed of drawn negatives.
const NEGATIVES: u64 = 0x6e65_6761;

/// A positive and the negatives that it is ranked among.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledCase {
    /// Number of the test user.
    pub user: u32,
    /// Item of the catalogue.
    pub positive: u32,
    /// Others; one that equals the positive is dropped.
    pub negatives: Vec<u32>,
}

/// Figures under sampled negatives. They are no estimate of full ranking (Krichene and Rendle 2020)
/// and compare only with others of the same lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledEvaluation {
    /// Positives.
    pub cases: usize,
    /// `sampled_hit_rate@k` and `sampled_ndcg@k`: a hit with r better negatives, r < k, counts 1 and
    /// 1 / log2(r + 2) (He et al. 2017, section 4.1).
    pub metrics: BTreeMap<String, Figure>,
}

/// A case for each positive of the task, with `negatives` items drawn without repetition from those
/// that the user neither has seen nor has as a positive; fewer where fewer are left.
///
/// # Determinism
/// A function of task, number and seed.
pub fn draw_cases(task: &RetrievalTask, negatives: usize, seed: u64) -> Vec<SampledCase> {
    let items = task.popularity.counts.len() as u64;
    let mut cases = Vec::with_capacity(task.positives.pairs());
    for user in 0..task.users().len() {
        let (seen, positives) = (task.seen.items_of(user), task.positives.items_of(user));
        let mut known = [seen, positives].concat();
        known.sort_unstable();
        known.dedup();
        let wanted = negatives.min(items as usize - known.len());
        for positive in positives {
            let mut stream = Stream::new(seed, &[NEGATIVES, user as u64, u64::from(*positive)]);
            let drawn = draw(&mut stream, &known, (items, wanted));
            cases.push(SampledCase { user: user as u32, positive: *positive, negatives: drawn });
        }
    }
    cases
}

/// `wanted` distinct numbers below `items` that are not in `known`, by Floyd's algorithm over the
/// numbers that are left.
fn draw(stream: &mut Stream, known: &[u32], (items, wanted): (u64, usize)) -> Vec<u32> {
    let left = items - known.len() as u64;
    let mut drawn: Vec<u32> = Vec::with_capacity(wanted);
    for last in left - wanted as u64..left {
        let place = stream.below(last + 1) as u32;
        drawn.push(if drawn.contains(&place) { last as u32 } else { place });
    }
    // The place-th number that is not known: each known one up to it moves it by one.
    for place in &mut drawn {
        let before = known.iter().enumerate();
        let skipped = before.take_while(|(at, known)| **known as usize - at <= *place as usize);
        *place += skipped.count() as u32;
    }
    drawn
}

/// Ranks each positive among its negatives. A negative of equal score ranks before the positive, so
/// that a constant scores nothing.
///
/// # Errors
/// If a cut-off is 0 or there is none, there are no cases, scores are NaN or infinite, or ranks
/// cannot reach each other.
///
/// # Panics
/// If a case names an item beyond the scorer's.
///
/// # Collective
/// Every rank must call it, with the same task, cases and options and an equal scorer.
pub fn evaluate_sampled(
    comm: &dyn Comm,
    task: &RetrievalTask,
    cases: &[SampledCase],
    scorer: &dyn Scorer,
    options: &RetrievalOptions,
) -> Result<SampledEvaluation, RetrievalError> {
    options.check()?;
    if cases.is_empty() {
        return Err(RetrievalError::Empty { users: task.users().len() });
    }
    let own = &cases[Batch::slice_of(cases.len(), comm.rank(), comm.size())];
    let ranked = own.chunks(BLOCK).map(|cases| places(task, cases, scorer));
    let own: Vec<u32> =
        agree(comm, ranked.collect::<Result<Vec<_>, _>>())?.into_iter().flatten().collect();
    let mut all = Vec::new();
    comm.all_gather(&own, &mut all)?;
    let values: Vec<f64> = (all.iter())
        .flat_map(|place| options.ks.iter().map(move |k| (*place as usize, *k)))
        .flat_map(|(place, k)| if place < k { [1.0, gain(place)] } else { [0.0; 2] })
        .collect();
    let names = options
        .ks
        .iter()
        .flat_map(|k| [format!("sampled_hit_rate@{k}"), format!("sampled_ndcg@{k}")]);
    let metrics = names.zip(figures(&values, 2 * options.ks.len(), options.seed)).collect();
    Ok(SampledEvaluation { cases: cases.len(), metrics })
}

/// How many negatives rank before each positive.
fn places(
    task: &RetrievalTask,
    cases: &[SampledCase],
    scorer: &dyn Scorer,
) -> Result<Vec<u32>, RetrievalError> {
    let users: Vec<u32> = cases.iter().map(|case| case.user).collect();
    let mut scores = vec![0.0; users.len() * scorer.items()];
    scorer.score(&users, &mut scores);
    let rows = cases.iter().zip(scores.chunks_exact(scorer.items()));
    let ranked = rows.map(|(case, scores)| {
        let positive = scores[case.positive as usize];
        let others = case.negatives.iter().filter(|item| **item != case.positive);
        let others: Vec<f32> = others.map(|item| scores[*item as usize]).collect();
        if !positive.is_finite() || others.iter().any(|score| !score.is_finite()) {
            let user = task.users().as_slice()[case.user as usize];
            return Err(RetrievalError::Score { user });
        }
        Ok(others.iter().filter(|score| **score >= positive).count() as u32)
    });
    ranked.collect()
}
