//! Puts floats into a range.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Fault, Parameter, Parameters, Transform, export_transform,
};

/// Floats, none below one bound or above another.
pub struct Clip {
    min: f32,
    max: f32,
}

impl Transform for Clip {
    fn about() -> About {
        let (least, greatest) = (f64::from(f32::MIN), f64::from(f32::MAX));
        let bound = |name: &str, default, help: &str| {
            Parameter::number(name).default(default).min(least).max(greatest).help(help)
        };
        About::new("clip", "1.0.0", "puts floats into a range")
            .parameter(bound("min", least, "what lower values become"))
            .parameter(bound("max", greatest, "what greater values become"))
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_floats)?;
        let (min, max) = (parameters.number("min") as f32, parameters.number("max") as f32);
        if min > max {
            return Err(Fault::new("`max` is less than `min`, expected `min` or more"));
        }
        Ok((Self { min, max }, inputs.to_vec()))
    }

    fn apply(&self, _rows: usize, mut columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let Self { min, max } = *self;
        for column in &mut columns {
            for x in column.floats_mut() {
                // As comparisons, so that NaN stays.
                let raised = if *x < min { min } else { *x };
                *x = if raised > max { max } else { raised };
            }
        }
        Ok(columns)
    }
}

export_transform!(Clip);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Clip>(include_str!("../cases.jsonl"));
        testing::check_readme(&Clip::about(), include_str!("../README.md"));
    }
}
