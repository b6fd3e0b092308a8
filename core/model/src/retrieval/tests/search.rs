//! Exact search against a plain one.

use proptest::prelude::*;
use tch::Device;

use crate::retrieval::{Candidates, Recommended, TensorCandidates};

/// What libtorch finds, with this many bytes for a block of queries.
fn by_tensors(
    [queries, items]: [&[f32]; 2],
    (width, k, block_bytes): (usize, usize, usize),
    excluded: &[Vec<u32>],
) -> Recommended {
    let candidates = TensorCandidates::with_blocks(items, width, Device::Cpu, block_bytes).unwrap();
    let none: &[u32] = &[];
    candidates.top_k(queries, k, |query| excluded.get(query).map_or(none, Vec::as_slice)).unwrap()
}

proptest! {
    #[test]
    fn search_as_plainly_written(
        seed in any::<u64>(), queries in 1usize..70, items in 0usize..1100, width in 1usize..20, k in 0usize..40,
        block_bytes in 0usize..100_000,
    ) {
        // Small whole numbers: exact products, and many ties.
        let mut stream = rectool_base::Stream::new(seed, &[]);
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count).map(|_| stream.below(5) as f32 - 2.0).collect()
        };
        let (left, right) = (draw(queries * width), draw(items * width));
        let excluded: Vec<Vec<u32>> = (0..queries)
            .map(|query| (0..items as u32).filter(|item| (*item as usize * 7 + query).is_multiple_of(3)).collect())
            .collect();
        let found = Candidates::new(&right, width).top_k(&left, k, |query| &excluded[query]);
        prop_assert_eq!(found.len(), queries);
        let by_tensors = by_tensors([&left, &right], (width, k, block_bytes), &excluded);
        prop_assert_eq!(&found, &by_tensors);
        for (query, found) in found.iter().enumerate() {
            let row = &left[query * width..(query + 1) * width];
            let mut scored: Vec<(u32, f32)> = right.chunks(width).enumerate()
                .map(|(item, vector)| (item as u32, row.iter().zip(vector).map(|(a, b)| a * b).sum()))
                .filter(|(item, _)| excluded[query].binary_search(item).is_err())
                .collect();
            scored.sort_by(|a: &(u32, f32), b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
            scored.truncate(k);
            prop_assert_eq!(found, &scored);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut stream = rectool_base::Stream::new(3, &[]);
    let values: Vec<f32> = (0..3000 * 24).map(|_| stream.next_normal()).collect();
    let candidates = Candidates::new(&values, 24);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| candidates.top_k(&values[..300 * 24], 50, |_| &[]))
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn what_is_no_number_is_not_found() {
    let candidates = Candidates::new(&[f32::NAN, 1.0, f32::NEG_INFINITY], 1);
    assert_eq!(candidates.top_k(&[1.0], 9, |_| &[]), [vec![(1, 1.0)]]);
    for k in [1, 2, 9] {
        let items = [f32::NAN, 1.0, f32::NEG_INFINITY];
        assert_eq!(by_tensors([&[1.0], &items], (1, k, 0), &[]), [vec![(1, 1.0)]]);
        assert_eq!(by_tensors([&[f32::NAN], &items], (1, k, 0), &[]), [vec![]]);
    }
}

#[test]
fn infinite_scores_and_zeros_of_both_signs_are_in_order_by_tensors() {
    // With every k another pair is torn apart at the end of the list.
    let infinite = f32::INFINITY;
    let items = [0.0, -1.0, infinite, 2.0, infinite, -0.0, 2.0, 0.0, -infinite, infinite];
    let order = [2, 4, 9, 3, 6, 0, 5, 7, 1];
    for k in 0..=items.len() {
        for excluded in [vec![], vec![4, 5, 77]] {
            let order = order.iter().filter(|item| !excluded.contains(*item)).take(k);
            // -0 is 0, as our kernels, which sum up from 0, have it.
            let expected: Vec<_> =
                order.map(|item| (*item, (items[*item as usize] + 0.0).to_bits())).collect();
            let found = by_tensors([&[1.0], &items], (1, k, 0), &[excluded]);
            let found = found[0].iter().map(|(item, score)| (*item, score.to_bits()));
            assert_eq!(found.collect::<Vec<_>>(), expected, "{k}");
        }
    }
}

#[test]
fn vectors_that_are_all_alike_come_by_number() {
    let (queries, items) = (vec![0.0; 37 * 4], vec![1.0; 900 * 4]);
    let expected = Candidates::new(&items, 4).top_k(&queries, 30, |_| &[]);
    for block_bytes in [0, 20_000, usize::MAX] {
        let found = by_tensors([&queries, &items], (4, 30, block_bytes), &[]);
        assert_eq!(found, expected, "{block_bytes}");
    }
}
