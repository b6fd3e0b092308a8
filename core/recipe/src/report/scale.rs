//! From values to places on an axis.

/// A stretch of an axis with round ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// Covers `values` and lays them out between the places `from` and `to`, with about `count`
    /// ticks.
    pub(super) fn covering(
        values: impl Iterator<Item = f64>,
        (from, to): (f64, f64),
        count: usize,
    ) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (mut low, mut high) = finite
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-3) {
            let room = 0.05 * high.abs().max(0.1);
            (low, high) = (low - room, high + room);
        }
        let step = tick_step((high - low) / count as f64);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let ticks: Vec<f64> = (first..=last).map(|at| at as f64 * step).collect();
        Self { low: first as f64 * step, high: last as f64 * step, from, to, ticks }
    }

    /// The place of `value`.
    pub(super) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// The ticks, from low to high.
    pub(super) fn ticks(&self) -> &[f64] {
        &self.ticks
    }

    /// A tick as text, with as many digits as tell ticks apart.
    pub(super) fn label(&self, tick: f64) -> String {
        let step = self.ticks.get(1).map_or(1.0, |second| second - self.ticks[0]);
        if step >= 1.0 {
            let sign = if tick < 0.0 { "-" } else { "" };
            return format!("{sign}{}", crate::plan::grouped(tick.abs().round() as u64));
        }
        let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize;
        format!("{tick:.digits$}")
    }
}

/// The round step (1, 2 or 5 times a power of ten) at or above `rough`.
fn tick_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= rough * 0.999_999);
    power * times.unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover() {
        let scale = Scale::covering([0.4312, 0.692].into_iter(), (100.0, 0.0), 5);
        let labels: Vec<String> = scale.ticks().iter().map(|tick| scale.label(*tick)).collect();
        assert_eq!(labels, ["0.4", "0.5", "0.6", "0.7"]);
        assert!(scale.place(0.4312) < 100.0 && scale.place(0.692) > 0.0);
        let steps = Scale::covering([0.0, 18_000.0].into_iter(), (0.0, 1.0), 5);
        assert_eq!(steps.label(15_000.0), "15,000");
    }

    #[test]
    fn odd_values_still_give_an_axis() {
        for values in [vec![], vec![0.5], vec![0.0, 0.0], vec![f64::NAN], vec![f64::INFINITY, 3.0]]
        {
            let scale = Scale::covering(values.iter().copied(), (0.0, 10.0), 4);
            assert!(scale.ticks().len() >= 2, "{values:?}: {scale:?}");
            assert!(scale.place(0.5).is_finite());
        }
    }
}
