//! Trains, indexes and serves recommenders.
//!
//! The command line is how most people use rectool; this crate is the same under one name, for
//! programs of their own.
//!
//! ```
//! use rectool::data::{Order, OrderOptions};
//!
//! let order = Order::new(10, &OrderOptions::default(), 0)?;
//! let mut rows = [0; 4];
//! order.fill(0, &mut rows);
//! assert!(rows.iter().all(|&row| row < 10));
//! # Ok::<(), rectool::data::DataError>(())
//! ```

pub use rectool_ann as ann;
pub use rectool_base as base;
pub use rectool_comm as comm;
pub use rectool_data as data;
pub use rectool_embedding as embedding;
pub use rectool_model as model;
pub use rectool_plugin as plugin;
pub use rectool_recipe as recipe;
