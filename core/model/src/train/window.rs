//! What happened since the last report.

use crate::PhaseTimes;
use crate::learning::Tally;

/// The steps since the last report, as this rank saw them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// This rank's rows.
    pub(crate) tally: Tally,
    /// This rank's time.
    pub(crate) phases: PhaseTimes,
    /// Wall time of the steps.
    pub(crate) seconds: f64,
}
