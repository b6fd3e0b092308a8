//! Rhai recipes: params, typed options, planning, runs and their reports.
