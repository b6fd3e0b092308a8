//! Baselines against what their formulas say.

use rectool_base::{Hint, Stream};

use crate::retrieval::{
    Als, AlsOptions, Interactions, ItemKnn, ItemKnnOptions, MostPopular, Popularity,
    RetrievalError, Scorer,
};

#[test]
fn neighbours_worked_by_hand() {
    let train = Interactions::new(vec![(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 2)]).unwrap();
    let knn = ItemKnn::fit(&train, ItemKnnOptions { neighbours: 5, shrinkage: 1.0 });
    // Item 0 has three users, shares two of item 1's two and the one of item 2.
    let (near, far) = (2.0 / (6f32.sqrt() + 1.0), 1.0 / (3f32.sqrt() + 1.0));
    assert_eq!(knn.neighbours(0), [(1, near), (2, far)]);
    let mut scores = [0.0; 3];
    knn.scorer(&train).score(&[2], &mut scores);
    assert_eq!(scores, [far, near, far]);
    let knn = ItemKnn::fit(&train, ItemKnnOptions { neighbours: 1, shrinkage: 1.0 });
    assert_eq!(knn.neighbours(0), [(1, near)]);
}

#[test]
fn popularity_gives_everybody_the_same() {
    let scorer = MostPopular::new(&Popularity::new(vec![3, 9, 3]));
    let seen = Interactions::new(vec![(1, 0), (2, 1), (3, 2)]).unwrap();
    let lists = scorer.top_k(&[0, 1], 2, &seen).unwrap();
    assert_eq!(lists, [vec![(1, 9.0), (2, 3.0)], vec![(0, 3.0), (2, 3.0)]]);
}

fn random() -> Interactions {
    let mut stream = Stream::new(2, &[]);
    let pairs = (0..400).map(|_| (stream.below(40) as i64, stream.below(30) as i64)).collect();
    Interactions::new(pairs).unwrap()
}

/// The gradient of the loss by each user's vector is zero where the users were solved last.
#[test]
fn a_users_vector_is_the_minimum() {
    for width in [3, 8, 19] {
        let options =
            AlsOptions { width, regularization: 0.05, epochs: 3, ..AlsOptions::default() };
        let train = random();
        let als = Als::fit(&train, options).unwrap();
        let (users, items) = (als.user_vectors(&train), als.item_vectors());
        for (user, vector) in users.chunks(width).enumerate() {
            let seen = train.items_of(user);
            let ridge = 0.05 * (seen.len() as f64 + 0.3 * train.items().len() as f64);
            let mut gradient: Vec<f64> = vector.iter().map(|x| ridge * f64::from(*x)).collect();
            for (item, other) in items.chunks(width).enumerate() {
                let product = vector.iter().zip(other).map(|(a, b)| f64::from(a * b)).sum::<f64>();
                let observed = seen.binary_search(&(item as u32)).is_ok();
                let slope = 0.3 * product + if observed { product - 1.0 } else { 0.0 };
                for (sum, value) in gradient.iter_mut().zip(other) {
                    *sum += slope * f64::from(*value);
                }
            }
            assert!(gradient.iter().all(|slope| slope.abs() < 1e-4), "{gradient:?}");
        }
    }
}

#[test]
fn threads_do_not_change_a_vector() {
    let train = random();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Als::fit(&train, AlsOptions::default()).unwrap().item_vectors().to_vec())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn a_user_without_history_has_a_zero_vector_and_bad_settings_are_errors() {
    let train = random();
    let als = Als::fit(&train, AlsOptions { width: 4, ..AlsOptions::default() }).unwrap();
    let none = Interactions::new(vec![(1, 99)]).unwrap();
    let (none, _) = none.renumbered(none.users(), train.items());
    assert_eq!(als.user_vectors(&none), [0.0; 4]);
    let default = AlsOptions::default();
    for options in [
        AlsOptions { width: 0, ..default },
        AlsOptions { regularization: 0.0, ..default },
        AlsOptions { unobserved_weight: f32::NAN, ..default },
        AlsOptions { frequency_exponent: f32::INFINITY, ..default },
    ] {
        let error = Als::fit(&train, options).unwrap_err();
        assert!(matches!(error, RetrievalError::Option { .. }) && error.hint().is_none());
    }
}
