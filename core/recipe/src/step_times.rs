//! What a step takes on this rank, as far as plans predict it.

use rectool_model::{PhaseTimes, StepReport};

/// Milliseconds of a step, each phase for itself: its median over `reports`, in order, the first of
/// which follows step `first`; `None` without reports. `prepare_ms` includes what is prepared ahead.
///
/// A mean would be about the first step, which makes most rows, and about calls that waited for
/// whatever else the machine did.
pub(crate) fn typical_step<'a>(
    reports: impl IntoIterator<Item = &'a StepReport>,
    first: u64,
) -> Option<PhaseTimes> {
    let mut before = first;
    let means: Vec<(f64, &PhaseTimes)> = reports
        .into_iter()
        .map(|report| {
            let steps = report.step.saturating_sub(before).max(1);
            before = report.step;
            (steps as f64, &report.phases)
        })
        .collect();
    let median = |time: fn(&PhaseTimes) -> f64| {
        let mut times: Vec<f64> =
            means.iter().map(|(steps, phases)| time(phases) / steps).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    };
    Some(PhaseTimes {
        prepare_ms: median(|phases| phases.prepare_ms + phases.ahead_prepare_ms)?,
        lookup_ms: median(|phases| phases.lookup_ms)?,
        exchange_ms: median(|phases| phases.exchange_ms)?,
        embedding_update_ms: median(|phases| phases.embedding_update_ms)?,
        all_reduce_ms: median(|phases| phases.all_reduce_ms)?,
        ..PhaseTimes::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_report_changes_nothing() {
        let report = |step: u64, lookup_ms: f64| StepReport {
            step,
            steps_total: 20,
            epoch: 0,
            samples: step,
            loss: 0.0,
            objective: None,
            heads: Vec::new(),
            calibration: None,
            rate: 1.0,
            samples_per_s: 1.0,
            phases: PhaseTimes {
                lookup_ms,
                prepare_ms: 1.0,
                ahead_prepare_ms: 2.0,
                ..PhaseTimes::default()
            },
        };
        // Of 4, 5 and 1 steps.
        let reports = [report(14, 4_000.0), report(19, 10.0), report(20, 3.0)];
        let found = typical_step(&reports, 10).unwrap();
        assert_eq!(found.lookup_ms, 3.0);
        assert_eq!(found.prepare_ms, 0.75);
        assert_eq!(found.embedding_update_ms, 0.0);
        assert_eq!(typical_step(&[], 0), None);
    }
}
