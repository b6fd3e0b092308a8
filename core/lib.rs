//! Trains, indexes and serves recommenders.
