//! Floats with mean 0 and standard deviation 1.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Fault, Parameter, Parameters, Transform, export_transform,
};

/// (x - mean) / std, with constants per value of a row.
pub struct Standardize {
    /// Per column: the constants of each value of a row, or one for all.
    columns: Vec<Scales>,
}

struct Scales {
    means: Vec<f32>,
    stds: Vec<f32>,
}

impl Transform for Standardize {
    fn about() -> About {
        About::new("standardize", "1.0.0", "subtracts means and divides by standard deviations")
            .parameter(Parameter::numbers("means").help("one for all, or one per value of a row"))
            .parameter(
                Parameter::numbers("stds")
                    .min(f64::from(f32::MIN_POSITIVE))
                    .help("as many as means, each above 0"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        let narrow = |name| parameters.numbers(name).iter().map(|x| *x as f32).collect::<Vec<_>>();
        let (means, stds) = (narrow("means"), narrow("stds"));
        if means.len() != stds.len() {
            let (means, stds) = (means.len(), stds.len());
            return Err(Fault::new(format!("{means} `means` and {stds} `stds`, expected as many")));
        }
        let scales = |input: &ColumnType| {
            input.expect_floats()?;
            let width = input.width().unwrap_or(1);
            if means.len() == width {
                return Ok(Scales { means: means.clone(), stds: stds.clone() });
            }
            if let ([mean], [std]) = (&means[..], &stds[..]) {
                return Ok(Scales { means: vec![*mean; width], stds: vec![*std; width] });
            }
            let found = means.len();
            let name = &input.name;
            Err(Fault::new(format!("{found} `means` for column `{name}`, expected 1 or {width}")))
        };
        let columns = inputs.iter().map(scales).collect::<Result<_, _>>()?;
        Ok((Self { columns }, inputs.to_vec()))
    }

    fn apply(&self, _rows: usize, mut columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        for (column, Scales { means, stds }) in columns.iter_mut().zip(&self.columns) {
            let values = column.floats_mut();
            if let ([mean], [std]) = (&means[..], &stds[..]) {
                for x in values {
                    *x = (*x - mean) / std;
                }
                continue;
            }
            for row in values.chunks_exact_mut(means.len()) {
                for ((x, mean), std) in row.iter_mut().zip(means).zip(stds) {
                    *x = (*x - mean) / std;
                }
            }
        }
        Ok(columns)
    }
}

export_transform!(Standardize);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Standardize>(include_str!("../cases.jsonl"));
        testing::check_readme(&Standardize::about(), include_str!("../README.md"));
    }
}
