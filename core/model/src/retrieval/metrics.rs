//! The metrics of one user's list.

/// Metrics of a list at one cut-off, in the order of [`METRICS`].
pub(super) const METRICS: [&str; 5] = ["recall", "hit_rate", "ndcg", "mrr", "map"];

/// What a hit at position `place`, from 0, gains.
pub(super) fn gain(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// Recall, hit rate, NDCG, MRR and MAP at `k` of a list with hits at `places`, from 0 and rising, for
/// a user with `positives` > 0.
pub(super) fn of_list(places: &[usize], positives: usize, k: usize) -> [f64; METRICS.len()] {
    let places = &places[..places.partition_point(|place| *place < k)];
    let ideal = k.min(positives);
    let dcg: f64 = places.iter().map(|place| gain(*place)).sum();
    let precisions =
        places.iter().enumerate().map(|(at, place)| (at + 1) as f64 / (place + 1) as f64);
    [
        places.len() as f64 / positives as f64,
        f64::from(u8::from(!places.is_empty())),
        dcg / (0..ideal).map(gain).sum::<f64>(),
        places.first().map_or(0.0, |place| 1.0 / (place + 1) as f64),
        precisions.sum::<f64>() / ideal as f64,
    ]
}
