//! Shard datasets: import, verified reading, deterministic order, prefetching loader.
