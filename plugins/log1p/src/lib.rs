//! ln(1 + x) of floats.

use rectool_plugin_sdk::math::ln_1p;
use rectool_plugin_sdk::{
    About, Column, ColumnType, Fault, Parameter, Parameters, Transform, export_transform,
};

/// What becomes of a value below 0.
#[derive(Clone, Copy)]
enum Negative {
    Zero,
    Symmetric,
}

/// ln(1 + x), value by value.
pub struct Log1p {
    negative: Negative,
}

impl Transform for Log1p {
    fn about() -> About {
        About::new("log1p", "1.0.0", "ln(1 + x) of floats").parameter(
            Parameter::text("negative")
                .default("zero")
                .choices(&["zero", "symmetric"])
                .help("what a value below 0 gives: 0, or -ln(1 - x)"),
        )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_floats)?;
        let negative = match parameters.text("negative") {
            "symmetric" => Negative::Symmetric,
            _ => Negative::Zero,
        };
        Ok((Self { negative }, inputs.to_vec()))
    }

    fn apply(&self, _rows: usize, mut columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        for column in &mut columns {
            let values = column.floats_mut();
            match self.negative {
                // As a comparison, so that NaN stays.
                Negative::Zero => {
                    for x in values {
                        *x = ln_1p(if *x < 0.0 { 0.0 } else { *x });
                    }
                }
                Negative::Symmetric => {
                    for x in values {
                        *x = ln_1p(x.abs()).copysign(*x);
                    }
                }
            }
        }
        Ok(columns)
    }
}

export_transform!(Log1p);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Log1p>(include_str!("../cases.jsonl"));
        testing::check_readme(&Log1p::about(), include_str!("../README.md"));
    }
}
