//! How far a build is.

/// Hears how far a long call is. `()` hears nothing.
pub trait Progress: Sync {
    /// A stage begins; it ends after `total` units.
    fn stage(&self, name: &'static str, total: usize);

    /// So many more units of the stage are done. Called from many threads.
    fn advance(&self, units: usize);
}

impl Progress for () {
    fn stage(&self, _name: &'static str, _total: usize) {}

    fn advance(&self, _units: usize) {}
}
