//! Metrics of lists, intervals and AUC per user.

use proptest::prelude::*;
use rectool_comm::{Solo, on_ranks};

use crate::retrieval::metrics::of_list;
use crate::retrieval::{Popularity, figures, gauc};

#[test]
fn a_list_worked_by_hand() {
    // Hits at the second and fourth place of five, with three positives.
    let [recall, hit, ndcg, mrr, map] = of_list(&[1, 3], 3, 5);
    assert!((recall - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((hit, mrr), (1.0, 0.5));
    let (dcg, ideal) = (1.0 / 3f64.log2() + 1.0 / 5f64.log2(), 1.0 + 1.0 / 3f64.log2() + 0.5);
    assert!((ndcg - dcg / ideal).abs() < 1e-12);
    assert!((map - (0.5 + 0.5) / 3.0).abs() < 1e-12);
    assert_eq!(of_list(&[1, 3], 3, 1), [0.0; 5]);
    assert_eq!(of_list(&[0], 9, 1), [1.0 / 9.0, 1.0, 1.0, 1.0, 1.0]);
}

proptest! {
    #[test]
    fn lists_as_plainly_written(hits in prop::collection::vec(any::<bool>(), 1..30), more in 0usize..5, k in 1usize..40) {
        let places: Vec<usize> = (0..hits.len()).filter(|at| hits[*at]).collect();
        let positives = places.len() + more;
        prop_assume!(positives > 0);
        let (mut found, mut dcg, mut ideal, mut mrr, mut map) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for r in 1..=k {
            if r <= hits.len() && hits[r - 1] {
                found += 1.0;
                dcg += 1.0 / ((r + 1) as f64).log2();
                map += found / r as f64;
                if mrr == 0.0 { mrr = 1.0 / r as f64; }
            }
            if r <= positives { ideal += 1.0 / ((r + 1) as f64).log2(); }
        }
        let expected = [found / positives as f64, f64::min(found, 1.0), dcg / ideal, mrr,
            map / k.min(positives) as f64];
        for (found, expected) in of_list(&places, positives, k).iter().zip(expected) {
            prop_assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn gauc_as_plainly_written(rows in prop::collection::vec((0i64..4, 0u8..4, any::<bool>()), 1..40)) {
        let users: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let scores: Vec<f32> = rows.iter().map(|row| f32::from(row.1)).collect();
        let labels: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(row.2))).collect();
        let (mut sum, mut weight) = (0.0, 0.0);
        for user in 0..4 {
            let of = |label: bool| rows.iter().filter(move |row| row.0 == user && row.2 == label);
            let pairs = of(true).flat_map(|a| of(false).map(move |b| match a.1.cmp(&b.1) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            }));
            let pairs: Vec<f64> = pairs.collect();
            if !pairs.is_empty() {
                let count = (of(true).count() + of(false).count()) as f64;
                sum += count * pairs.iter().sum::<f64>() / pairs.len() as f64;
                weight += count;
            }
        }
        let found = gauc(&Solo, &users, &scores, &labels).unwrap().value;
        if let Some(found) = found {
            prop_assert!((found - sum / weight).abs() < 1e-12);
        } else {
            prop_assert_eq!(weight, 0.0);
        }
    }
}

#[test]
fn gauc_joins_a_user_over_ranks_and_leaves_out_equal_labels() {
    let (users, labels) = ([1, 1, 2, 2], [1.0, 0.0, 0.0, 0.0]);
    for found in on_ranks(2, |comm| {
        let own = if comm.rank() == 0 { 0..1 } else { 1..4 };
        gauc(&*comm, &users[own.clone()], &[0.5, 0.25, 0.1, 0.2][own.clone()], &labels[own])
            .unwrap()
    }) {
        assert_eq!((found.value, found.users, found.users_left_out), (Some(1.0), 1, 1));
    }
    let none = gauc(&Solo, &[1, 1], &[0.1, 0.2], &[0.0, 0.0]).unwrap();
    assert_eq!((none.value, none.users_left_out), (None, 1));
    assert!(gauc(&Solo, &[], &[], &[]).is_err());
    assert!(gauc(&Solo, &[1], &[f32::NAN], &[0.0]).is_err());
}

#[test]
fn an_interval_has_the_width_that_theory_gives() {
    // 400 users, half at 1: the mean's standard error is 0.5 / 20.
    let values: Vec<f64> = (0..400).map(|at| f64::from(at % 2)).collect();
    let found = figures(&values, 1, 7)[0];
    assert_eq!(found.mean, 0.5);
    assert!((found.low - (0.5 - 1.96 * 0.025)).abs() < 0.006, "{found:?}");
    assert!((found.high - (0.5 + 1.96 * 0.025)).abs() < 0.006, "{found:?}");
    assert_eq!(figures(&values, 1, 7)[0], found);
}

#[test]
fn popularity_cuts_at_half_and_nine_tenths_of_the_pairs() {
    let found = Popularity::new(vec![0, 50, 30, 10, 10, 0]);
    assert_eq!(found.segments, [2, 0, 1, 1, 2, 2]);
    for (share, sixths) in found.percentiles.iter().zip([1.0, 5.5, 4.5, 3.0, 3.0, 1.0]) {
        assert!((share * 6.0 - sixths).abs() < 1e-12);
    }
}
