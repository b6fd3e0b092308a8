//! The plugins that come with rectool: ordinary guests, built from `plugins/`.

/// Name and component of each.
pub const PLUGINS: &[(&str, &[u8])] = &[];
