//! What happened since the last report.

use crate::{PhaseTimes, Running};

/// The steps since the last report, as this rank saw them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// This rank's rows.
    pub(crate) running: Running,
    /// This rank's time.
    pub(crate) phases: PhaseTimes,
    /// Wall time of the steps.
    pub(crate) seconds: f64,
}
