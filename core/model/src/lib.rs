//! Ranking models on libtorch: DLRM, metrics, trainer, checkpoints.
