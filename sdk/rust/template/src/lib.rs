//! {{name}}: multiplies floats by a factor.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Fault, Parameter, Parameters, Transform, export_transform,
};

/// The configured plugin.
pub struct Plugin {
    factor: f32,
}

impl Transform for Plugin {
    fn about() -> About {
        About::new("{{name}}", "0.1.0", "multiplies floats by a factor").parameter(
            Parameter::number("factor").default(1.0).help("what each value is multiplied by"),
        )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_floats)?;
        // Each column keeps its name and type; another name would add a column.
        Ok((Self { factor: parameters.number("factor") as f32 }, inputs.to_vec()))
    }

    fn apply(&self, _rows: usize, mut columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        for column in &mut columns {
            column.floats_mut().iter_mut().for_each(|value| *value *= self.factor);
        }
        Ok(columns)
    }
}

export_transform!(Plugin);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Plugin>(include_str!("../cases.jsonl"));
    }
}
