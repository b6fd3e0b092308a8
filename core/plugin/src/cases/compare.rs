//! Results against what a case says, to a tolerance.

use rectool_base::{Column, ColumnSchema, Jagged, Texts};

use super::{Columns, Expected, Results};

/// How far a float may be off: absolutely up to 1, relatively beyond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance(f32);

impl Tolerance {
    pub(super) fn new(given: Option<f64>) -> Result<Self, String> {
        match given.unwrap_or(1e-6) {
            tolerance if tolerance.is_finite() && tolerance >= 0.0 => Ok(Self(tolerance as f32)),
            tolerance => {
                Err(format!("`tolerance` is {tolerance}, expected a number of at least 0"))
            }
        }
    }

    fn fits(self, found: f32, expected: f32) -> bool {
        // Infinities and NaN have to be met exactly: their difference is no number.
        found == expected
            || found.is_nan() && expected.is_nan()
            || expected.is_finite() && (found - expected).abs() <= self.0 * expected.abs().max(1.0)
    }

    fn floats(self, what: &str, found: &[f32], expected: &[f32]) -> Result<(), String> {
        lists(what, found, expected, |found, expected| self.fits(*found, *expected))
    }
}

/// The first difference, if there is one.
pub(super) fn results(
    found: &Results,
    expected: &Expected,
    tolerance: Tolerance,
) -> Result<(), String> {
    match (found, expected) {
        (Results::Columns(found), Expected::Columns(expected)) => {
            columns(found, expected, tolerance)
        }
        (
            Results::Losses { losses, gradients },
            Expected::Losses { losses: expected_losses, gradients: expected_gradients },
        ) => {
            tolerance.floats("losses", losses, expected_losses)?;
            tolerance.floats("gradients", gradients, expected_gradients)
        }
        (Results::Samples(found), Expected::Samples { ids, log_probabilities }) => {
            if let Some(ids) = ids {
                lists("ids", &found.ids, ids, |found, expected| found == expected)?;
            }
            match log_probabilities {
                Some(expected) => {
                    tolerance.floats("log-probabilities", &found.log_probabilities, expected)
                }
                None => Ok(()),
            }
        }
        _ => unreachable!("a case's results are of the kind that it was read for"),
    }
}

fn columns(found: &Columns, expected: &Columns, tolerance: Tolerance) -> Result<(), String> {
    let described = |schemas: &[ColumnSchema]| -> Vec<String> {
        schemas.iter().map(|schema| format!("`{}` {}", schema.name, schema.kind)).collect()
    };
    let (made, wanted) = (described(&found.schemas), described(&expected.schemas));
    if made != wanted {
        return Err(format!("columns {}, expected {}", made.join(", "), wanted.join(", ")));
    }
    for (at, schema) in expected.schemas.iter().enumerate() {
        let members = &found.schemas[at].members;
        if !schema.members.is_empty() && schema.members != *members {
            let (name, expected) = (&schema.name, &schema.members);
            return Err(format!("column `{name}` has members {members:?}, expected {expected:?}"));
        }
        let name = format!("column `{}`", schema.name);
        column(&name, &found.columns[at], &expected.columns[at], tolerance)?;
    }
    Ok(())
}

fn column(
    name: &str,
    found: &Column,
    expected: &Column,
    tolerance: Tolerance,
) -> Result<(), String> {
    let offsets = |found: &[u32], expected: &[u32]| {
        lists(&format!("{name}, offsets"), found, expected, |found, expected| found == expected)
    };
    match (found, expected) {
        (Column::F32 { values: found, .. }, Column::F32 { values: expected, .. }) => {
            tolerance.floats(name, found, expected)
        }
        (Column::I64 { values: found, .. }, Column::I64 { values: expected, .. }) => {
            lists(name, found, expected, |found, expected| found == expected)
        }
        (Column::Text { values: found, .. }, Column::Text { values: expected, .. }) => {
            texts(name, found, expected)
        }
        (Column::F32List(found), Column::F32List(expected)) => {
            offsets(&found.offsets, &expected.offsets)?;
            tolerance.floats(name, &found.values, &expected.values)
        }
        (Column::I64List(found), Column::I64List(expected)) => {
            let Jagged { values, .. } = expected;
            offsets(&found.offsets, &expected.offsets)?;
            lists(name, &found.values, values, |found, expected| found == expected)
        }
        (
            Column::TextList { offsets: found_offsets, values: found },
            Column::TextList { offsets: expected_offsets, values: expected },
        ) => {
            offsets(found_offsets, expected_offsets)?;
            texts(name, found, expected)
        }
        (found, expected) => {
            Err(format!("{name} is {}, expected {}", found.kind(), expected.kind()))
        }
    }
}

fn texts(name: &str, found: &Texts, expected: &Texts) -> Result<(), String> {
    let found: Vec<_> = found.iter().collect();
    let expected: Vec<_> = expected.iter().collect();
    lists(name, &found, &expected, |found, expected| found == expected)
}

fn lists<T: std::fmt::Debug>(
    what: &str,
    found: &[T],
    expected: &[T],
    same: impl Fn(&T, &T) -> bool,
) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} values, expected {}", found.len(), expected.len()));
    }
    let differs = found.iter().zip(expected).position(|(found, expected)| !same(found, expected));
    match differs {
        None => Ok(()),
        Some(at) => {
            let (found, expected) = (&found[at], &expected[at]);
            Err(format!("{what}: value {at} is {found:?}, expected {expected:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_grows_with_the_value() {
        let tolerance = Tolerance::new(Some(1e-3)).unwrap();
        for (found, expected, fits) in [
            (0.0009, 0.0, true),
            (0.0011, 0.0, false),
            (1_000.9, 1_000.0, true),
            (1_001.1, 1_000.0, false),
            (f32::NAN, f32::NAN, true),
            (0.0, f32::NAN, false),
            (f32::NAN, 0.0, false),
            (f32::INFINITY, f32::INFINITY, true),
            (f32::MAX, f32::INFINITY, false),
            (f32::INFINITY, 1.0, false),
        ] {
            assert_eq!(tolerance.fits(found, expected), fits, "{found} for {expected}");
        }
        assert!(Tolerance::new(Some(-1.0)).is_err());
    }
}
