//! Row-addressed embedding tables, fused optimizers, sharded exchange.
