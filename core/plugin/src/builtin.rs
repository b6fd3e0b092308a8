//! The plugins that come with rectool: ordinary guests, built from `plugins/`.

macro_rules! modules {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../plugins/", $name, "/", $name, ".wasm")))),*]
    };
}

/// Name and module of each.
pub const PLUGINS: &[(&str, &[u8])] = modules! {
    "bce"
    "bpr"
    "bucketize"
    "clip"
    "date-parts"
    "focal"
    "hard"
    "hash"
    "hash-cross"
    "hinge"
    "huber"
    "log1p"
    "ngrams"
    "poisson"
    "popularity"
    "recent-window"
    "sampled-softmax"
    "standardize"
    "truncate"
    "uniform"
    "vocabulary"
    "weighted-bce"
};
