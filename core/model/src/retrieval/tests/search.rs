//! Exact search against a plain one.

use proptest::prelude::*;

use crate::retrieval::Candidates;

proptest! {
    #[test]
    fn search_as_plainly_written(
        seed in any::<u64>(), queries in 1usize..70, items in 0usize..1100, width in 1usize..20, k in 0usize..40,
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
}
