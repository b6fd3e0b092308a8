//! Spreads independent tasks over the current rayon pool.

use rayon::prelude::*;

/// Calls `work` for every task. The tasks own disjoint data, so the order in which they run, and on
/// which thread, cannot reach a result.
pub(crate) fn for_each<T: Send>(tasks: Vec<T>, work: impl Fn(T) + Send + Sync) {
    if tasks.len() < 2 || rayon::current_num_threads() < 2 {
        tasks.into_iter().for_each(work);
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(work);
    }
}

/// As [`for_each`]; of several errors returns that of the first task, whichever failed first.
pub(crate) fn try_for_each<T: Send, E: Send>(
    tasks: Vec<T>,
    work: impl Fn(T) -> Result<(), E> + Send + Sync,
) -> Result<(), E> {
    if tasks.len() < 2 || rayon::current_num_threads() < 2 {
        return tasks.into_iter().try_for_each(work);
    }
    let results: Vec<Result<(), E>> = tasks.into_par_iter().with_max_len(1).map(work).collect();
    results.into_iter().collect()
}
