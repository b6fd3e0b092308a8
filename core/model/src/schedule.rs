//! How the learning rate moves over the steps of a training.

use serde::{Deserialize, Serialize};

use crate::ParameterError;

/// A multiplier of the learning rates, by step.
///
/// ```
/// use rectool_model::Schedule;
/// let text = r#"{"kind": "warmup_decay", "warmup_steps": 4, "decay_start": 10, "decay_steps": 10}"#;
/// let schedule: Schedule = serde_json::from_str(text).unwrap();
/// schedule.check().unwrap();
/// assert_eq!([0, 3, 9, 14, 500].map(|step| schedule.rate(step)), [0.25, 1.0, 1.0, 0.25, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// 1 throughout.
    #[default]
    Constant,
    /// Rises in a line to 1, stays there, then falls to `final_rate` and stays there.
    WarmupDecay {
        /// Steps until the rate is 1: it is s / `warmup_steps` in the s-th step, counted from 1.
        #[serde(default)]
        warmup_steps: u64,
        /// Step after which the rate begins to fall.
        #[serde(default)]
        decay_start: u64,
        /// Steps of the fall; 0: the rate never falls.
        #[serde(default)]
        decay_steps: u64,
        /// Where the fall ends, in [0, 1].
        #[serde(default)]
        final_rate: f32,
        /// How it falls.
        #[serde(default)]
        shape: DecayShape,
    },
}

/// The form of a decay, with x the share of its steps that is still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecayShape {
    /// x², as the reference DLRM does.
    #[default]
    Quadratic,
    /// x.
    Linear,
    /// (1 - cos(π x)) / 2.
    Cosine,
}

impl Schedule {
    /// Checks the numbers.
    ///
    /// # Errors
    /// If the final rate is not in [0, 1], or the rate would fall before it has risen.
    pub fn check(&self) -> Result<(), ParameterError> {
        let Self::WarmupDecay { warmup_steps, decay_start, decay_steps, final_rate, .. } = *self
        else {
            return Ok(());
        };
        let in_range = (0.0..=1.0).contains(&final_rate);
        ParameterError::unless(in_range, "final_rate", &final_rate, "0 to 1")?;
        let in_order = decay_steps == 0 || decay_start >= warmup_steps;
        ParameterError::unless(in_order, "decay_start", &decay_start, "at least `warmup_steps`")
    }

    /// The multiplier for `step`, counted from 0 over all epochs.
    pub fn rate(&self, step: u64) -> f32 {
        let Self::WarmupDecay { warmup_steps, decay_start, decay_steps, final_rate, shape } = *self
        else {
            return 1.0;
        };
        let step = step.saturating_add(1);
        if step < warmup_steps {
            return (step as f64 / warmup_steps as f64) as f32;
        }
        if decay_steps == 0 {
            return 1.0;
        }
        let done = step.saturating_sub(decay_start).min(decay_steps);
        let left = (decay_steps - done) as f64 / decay_steps as f64;
        let share = match shape {
            DecayShape::Quadratic => left * left,
            DecayShape::Linear => left,
            DecayShape::Cosine => (1.0 - (std::f64::consts::PI * left).cos()) / 2.0,
        };
        let final_rate = f64::from(final_rate);
        (final_rate + (1.0 - final_rate) * share) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decay(shape: DecayShape, final_rate: f32) -> Schedule {
        let (warmup_steps, decay_start, decay_steps) = (8, 20, 40);
        Schedule::WarmupDecay { warmup_steps, decay_start, decay_steps, final_rate, shape }
    }

    #[test]
    fn every_shape_rises_stays_and_falls() {
        for shape in [DecayShape::Quadratic, DecayShape::Linear, DecayShape::Cosine] {
            let rates: Vec<f32> = (0..80).map(|step| decay(shape, 0.1).rate(step)).collect();
            assert_eq!((rates[0], rates[7], rates[19]), (0.125, 1.0, 1.0), "{shape:?}");
            assert!(rates[..8].is_sorted() && rates[8..].iter().rev().is_sorted(), "{shape:?}");
            assert!(rates[20] < 1.0 && rates[59..].iter().all(|rate| *rate == 0.1), "{shape:?}");
        }
        assert_eq!(decay(DecayShape::Quadratic, 0.0).rate(39), 0.25);
        assert_eq!(decay(DecayShape::Linear, 0.5).rate(39), 0.75);
        assert!((decay(DecayShape::Cosine, 0.0).rate(39) - 0.5).abs() < 1e-7);
    }

    #[test]
    fn the_last_step_there_can_be_has_a_rate() {
        assert_eq!(decay(DecayShape::Quadratic, 0.25).rate(u64::MAX), 0.25);
        assert_eq!(Schedule::Constant.rate(u64::MAX), 1.0);
    }

    #[test]
    fn numbers_are_checked() {
        let early: Schedule = serde_json::from_str(
            r#"{"kind": "warmup_decay", "warmup_steps": 10, "decay_start": 5, "decay_steps": 1}"#,
        )
        .unwrap();
        let message = early.check().unwrap_err().to_string();
        assert_eq!(message, "`decay_start` is 5, expected at least `warmup_steps`");
        assert!(decay(DecayShape::Linear, 1.5).check().is_err());
        assert!(decay(DecayShape::Linear, f32::NAN).check().is_err());
        assert!(decay(DecayShape::Linear, 0.5).check().is_ok());
    }
}
