//! Every collective against a naive reference, and groups that break.

use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use crate::{Comm, CommError, CommExt, Reduce, Values, on_ranks};

const RANKS: [usize; 5] = [1, 2, 3, 4, 8];

/// For each rank, for each rank: bytes, often none.
fn parts() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let part = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..20)];
    prop::sample::select(&RANKS[..]).prop_flat_map(move |ranks| {
        prop::collection::vec(prop::collection::vec(part.clone(), ranks), ranks)
    })
}

fn vectors() -> impl Strategy<Value = Vec<Vec<f32>>> {
    (prop::sample::select(&RANKS[..]), 0_usize..50).prop_flat_map(|(ranks, length)| {
        prop::collection::vec(prop::collection::vec(-1e3_f32..1e3, length), ranks)
    })
}

fn lengths(parts: &[Vec<u8>]) -> Vec<usize> {
    parts.iter().map(Vec::len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_to_all_transposes(parts in parts()) {
        let received = on_ranks(parts.len(), |comm| {
            let own = &parts[comm.rank()];
            // Former content, of any length, is dropped.
            let mut receive = vec![9; comm.rank() * 7];
            let counts =
                comm.all_to_all_bytes(&own.concat(), &lengths(own), &mut receive).unwrap();
            (counts, receive)
        });
        for (to, (counts, bytes)) in received.into_iter().enumerate() {
            let expected: Vec<Vec<u8>> = parts.iter().map(|from| from[to].clone()).collect();
            prop_assert_eq!(counts, lengths(&expected));
            prop_assert_eq!(bytes, expected.concat());
        }
    }

    #[test]
    fn all_gather_joins_in_rank_order(parts in parts()) {
        let own: Vec<Vec<u8>> = parts.iter().map(|parts| parts[0].clone()).collect();
        let gathered = on_ranks(own.len(), |comm| {
            let mut all = vec![9; 3];
            let counts = comm.all_gather_bytes(&own[comm.rank()], &mut all).unwrap();
            (counts, all)
        });
        for (counts, all) in gathered {
            prop_assert_eq!(counts, lengths(&own));
            prop_assert_eq!(all, own.concat());
        }
    }

    #[test]
    fn sums_are_in_rank_order(own in vectors(), root in 0_usize..8) {
        let reduced = on_ranks(own.len(), |comm| {
            let mut sum = own[comm.rank()].clone();
            comm.all_reduce(Values::F32(&mut sum), Reduce::Sum).unwrap();
            let mut least: Vec<f64> = own[comm.rank()].iter().map(|v| f64::from(*v)).collect();
            comm.all_reduce(Values::F64(&mut least), Reduce::Min).unwrap();
            let mut most: Vec<u64> = own[comm.rank()].iter().map(|v| v.abs() as u64).collect();
            comm.all_reduce(Values::U64(&mut most), Reduce::Max).unwrap();
            let mut copied = own[comm.rank()].clone();
            comm.broadcast(&mut copied, root % comm.size()).unwrap();
            (sum, least, most, copied)
        });
        for (sum, least, most, copied) in reduced {
            for at in 0..own[0].len() {
                let column = || own.iter().map(|rank| rank[at]);
                prop_assert_eq!(sum[at].to_bits(), column().reduce(|a, b| a + b).unwrap().to_bits());
                prop_assert_eq!(least[at] as f32, column().reduce(f32::min).unwrap());
                prop_assert_eq!(most[at], column().map(|v| v.abs() as u64).max().unwrap());
            }
            prop_assert_eq!(&copied, &own[root % own.len()]);
        }
    }
}

/// Fails instead of hanging when a rank waits for ever.
fn within_seconds<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(body()));
    receive.recv_timeout(Duration::from_secs(20)).expect("no rank waits for ever")
}

#[test]
fn peers_of_a_rank_that_returns_fail() {
    let results = within_seconds(|| {
        on_ranks(4, |comm| {
            comm.barrier()?;
            if comm.rank() == 2 {
                return Ok(());
            }
            comm.sum_u64(1)?;
            panic!("a sum over three of four ranks")
        })
    });
    for (rank, result) in results.into_iter().enumerate() {
        match result {
            Ok(()) => assert_eq!(rank, 2),
            Err(CommError::PeerFailed { during }) => assert_eq!(during, "all-reduce"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn peers_of_a_rank_that_panics_fail() {
    let panic = within_seconds(|| {
        std::panic::catch_unwind(|| {
            on_ranks(3, |comm| {
                assert!(comm.rank() != 1, "rank one");
                let result = comm.barrier();
                assert!(matches!(result, Err(CommError::PeerFailed { .. })), "{result:?}");
            })
        })
    });
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"rank one"));
}

#[test]
fn peers_of_a_rank_that_aborts_fail() {
    let results = within_seconds(|| {
        on_ranks(3, |comm| {
            if comm.rank() == 0 {
                comm.abort(1);
            }
            comm.barrier()
        })
    });
    assert!(results.iter().all(|result| matches!(result, Err(CommError::PeerFailed { .. }))));
}

/// The messages of all ranks, which must be one and the same.
fn disagreement(
    body: impl Fn(&dyn Comm) -> Result<(), CommError> + Send + Sync + 'static,
) -> String {
    let results = within_seconds(move || {
        on_ranks(3, |comm| {
            let error = body(&*comm).unwrap_err();
            assert!(matches!(error, CommError::Disagree { .. }), "{error}");
            // The group is still usable, in step.
            assert_eq!(comm.sum_u64(1).unwrap(), 3);
            error.to_string()
        })
    });
    assert!(results.iter().all(|message| *message == results[0]), "{results:?}");
    results[0].clone()
}

#[test]
fn mismatched_collectives_disagree_on_every_rank() {
    let message = disagreement(|comm| match comm.rank() {
        0 => comm.barrier(),
        _ => comm.sum_u64(1).map(drop),
    });
    assert!(message.starts_with("barrier: ranks disagree: rank 0 called Barrier, "), "{message}");
    let message = disagreement(|comm| {
        comm.all_reduce(Values::F32(&mut vec![0.0; 1 + comm.rank() / 2]), Reduce::Sum)
    });
    assert!(message.contains("rank 2 called AllReduce { values: 2,"), "{message}");
    disagreement(|comm| comm.broadcast_bytes(&mut [0], comm.rank()));
    disagreement(|comm| match comm.rank() {
        0 => comm.all_reduce(Values::F64(&mut [0.0]), Reduce::Sum),
        _ => comm.all_reduce(Values::U64(&mut [0]), Reduce::Sum),
    });
    let message = disagreement(|comm| {
        let mut send = vec![1; 3];
        let mut receive = [0; 3];
        // Rank 0 keeps from rank 2 what rank 2 expects of it.
        let mut counts = [1, 1, 1];
        if comm.rank() == 0 {
            counts[2] = 0;
            send.pop();
        }
        comm.all_to_all_into(&send, &counts, &mut receive, &[1, 1, 1])
    });
    assert!(message.contains("rank 0 sends 0 bytes to rank 2, which expects 1"), "{message}");
}

#[test]
fn a_fork_has_an_order_of_its_own() {
    let sums = on_ranks(3, |comm| {
        let (first, second) = (comm.fork().unwrap(), comm.fork().unwrap());
        assert_eq!((first.rank(), first.size()), (comm.rank(), 3));
        assert!(matches!(first.fork(), Err(CommError::Transport { .. })));
        // Each rank another order of the groups, which would be a deadlock within one.
        let mut calls = [(first, 1), (second, 10), (comm, 100)];
        let shift = calls[0].0.rank();
        calls.rotate_left(shift);
        std::thread::scope(|scope| {
            let threads = calls.map(|(comm, value)| {
                let sum = scope.spawn(move || comm.sum_u64(value).unwrap());
                std::thread::sleep(Duration::from_millis(2));
                sum
            });
            threads.map(|thread| thread.join().unwrap()).into_iter().sum::<u64>()
        })
    });
    assert_eq!(sums, [333; 3]);
}

#[test]
fn a_rank_that_leaves_ends_the_forks_too() {
    let results = on_ranks(2, |comm| {
        let fork = comm.fork().unwrap();
        if comm.rank() == 1 { Ok(()) } else { fork.barrier() }
    });
    assert!(matches!(results[0], Err(CommError::PeerFailed { .. })), "{results:?}");
}
