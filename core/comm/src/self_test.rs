//! Every collective against what it must give, over whatever transport is at hand.

use crate::{Comm, CommError, CommExt, Reduce, Values};

/// Runs every collective with empty, uneven, short and longer parts, and compares the results with
/// what each rank computes on its own. With messages cut short by [`crate::connect_with`] it also
/// proves the joints between messages. Then all again, over this group and a fork of it at once.
///
/// # Collective
/// Every rank must call it.
///
/// # Errors
/// [`CommError::Differ`] with the collective that went wrong, or what the transport said.
pub fn self_test(comm: &dyn Comm) -> Result<(), CommError> {
    every_collective(comm)?;
    let fork = comm.fork()?;
    std::thread::scope(|scope| {
        let ahead = scope.spawn(|| every_collective(&*fork));
        let own = every_collective(comm);
        let ahead = ahead.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        own.and(ahead)
    })
}

fn every_collective(comm: &dyn Comm) -> Result<(), CommError> {
    comm.barrier()?;
    for length in [0, 1, 3, 1_000, 40_001] {
        for root in [0, comm.size() - 1] {
            broadcasts(comm, length, root)?;
        }
        reduces(comm, length)?;
        gathers(comm, length)?;
        exchanges(comm, length)?;
    }
    comm.barrier()
}

/// A value that tells rank, place and length apart, and whose sums are exact in `f32`.
fn value(rank: usize, at: usize, length: usize) -> u64 {
    ((rank * 31 + at * 7 + length * 3) % 1_021) as u64
}

fn values(rank: usize, length: usize) -> Vec<u64> {
    (0..length).map(|at| value(rank, at, length)).collect()
}

fn expect<T: PartialEq>(what: &str, found: &T, expected: &T) -> Result<(), CommError> {
    if found == expected {
        return Ok(());
    }
    let found = "the result is not what the ranks put in".to_owned();
    Err(CommError::Differ { what: what.to_owned(), found })
}

fn broadcasts(comm: &dyn Comm, length: usize, root: usize) -> Result<(), CommError> {
    let mut found = values(comm.rank(), length);
    comm.broadcast(&mut found, root)?;
    expect(&format!("broadcast of {length} values"), &found, &values(root, length))
}

fn reduces(comm: &dyn Comm, length: usize) -> Result<(), CommError> {
    for reduce in [Reduce::Sum, Reduce::Min, Reduce::Max] {
        let what = |of| format!("all-reduce ({reduce:?}) of {length} {of} values");
        let mut expected = values(0, length);
        for rank in 1..comm.size() {
            for (at, joined) in expected.iter_mut().enumerate() {
                let next = value(rank, at, length);
                *joined = match reduce {
                    Reduce::Sum => *joined + next,
                    Reduce::Min => next.min(*joined),
                    Reduce::Max => next.max(*joined),
                };
            }
        }
        let mut counts = values(comm.rank(), length);
        comm.all_reduce(Values::U64(&mut counts), reduce)?;
        expect(&what("u64"), &counts, &expected)?;
        let mut floats: Vec<f32> =
            values(comm.rank(), length).into_iter().map(|v| v as f32).collect();
        comm.all_reduce(Values::F32(&mut floats), reduce)?;
        let expected_floats: Vec<f32> = expected.iter().map(|v| *v as f32).collect();
        expect(&what("f32"), &floats, &expected_floats)?;
        let mut doubles: Vec<f64> =
            values(comm.rank(), length).into_iter().map(|v| v as f64).collect();
        comm.all_reduce(Values::F64(&mut doubles), reduce)?;
        let expected_doubles: Vec<f64> = expected.iter().map(|v| *v as f64).collect();
        expect(&what("f64"), &doubles, &expected_doubles)?;
    }
    // Not exact, so the order shows: it must be that of the ranks.
    let tenth = |rank: usize| 0.1_f32 + rank as f32 * 1e-3;
    let mut sums = vec![tenth(comm.rank()); length];
    comm.all_reduce(Values::F32(&mut sums), Reduce::Sum)?;
    let expected = (1..comm.size()).fold(tenth(0), |sum, rank| sum + tenth(rank));
    expect(&format!("order of {length} sums"), &sums, &vec![expected; length])
}

fn gathers(comm: &dyn Comm, length: usize) -> Result<(), CommError> {
    // The last rank's part is empty, the others grow.
    let part = |rank: usize| if rank + 1 == comm.size() { 0 } else { length * (rank + 1) };
    let mut all = vec![7; 5];
    let counts = comm.all_gather(&values(comm.rank(), part(comm.rank())), &mut all)?;
    let expected_counts: Vec<usize> = (0..comm.size()).map(part).collect();
    let expected: Vec<u64> = (0..comm.size()).flat_map(|rank| values(rank, part(rank))).collect();
    expect(&format!("all-gather of {length} values"), &(counts, all), &(expected_counts, expected))
}

fn exchanges(comm: &dyn Comm, length: usize) -> Result<(), CommError> {
    // Every third pair has nothing for each other; the others differ in both directions.
    let part = |from: usize, to: usize| {
        if (from + 2 * to).is_multiple_of(3) { 0 } else { length + from * 5 + to }
    };
    let ranks = 0..comm.size();
    let rank = comm.rank();
    let counts: Vec<usize> = ranks.clone().map(|to| part(rank, to)).collect();
    let send: Vec<u64> =
        ranks.clone().flat_map(|to| values(rank + to * 97, part(rank, to))).collect();
    let mut receive = vec![7; 5];
    let found = comm.all_to_all(&send, &counts, &mut receive)?;
    let expected_counts: Vec<usize> = ranks.clone().map(|from| part(from, rank)).collect();
    let expected: Vec<u64> =
        ranks.flat_map(|from| values(from + rank * 97, part(from, rank))).collect();
    let what = format!("all-to-all of {length} values");
    expect(&what, &(&found, &receive), &(&expected_counts, &expected))?;
    // And back, with the counts known.
    let mut returned = vec![0; send.len()];
    comm.all_to_all_known(&receive, &found, &mut returned, &counts)?;
    expect(&format!("{what}, back"), &returned, &send)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Solo, on_ranks};

    #[test]
    fn holds_alone_and_on_threads() {
        self_test(&Solo).unwrap();
        for ranks in [1, 2, 3, 4, 8] {
            for result in on_ranks(ranks, |comm| self_test(&*comm)) {
                result.unwrap();
            }
        }
    }
}
