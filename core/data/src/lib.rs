//! Shard datasets: import, verified reading, deterministic order, prefetching loader.

mod manifest;

pub use manifest::{
    FORMAT_NAME, FORMAT_VERSION, IdStatistics, MANIFEST_FILE, Manifest, ShardManifest,
    SplitManifest,
};
