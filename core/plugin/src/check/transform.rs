//! Checks of transforms.

use rectool_base::{Column, Texts};

use super::{Outcome, Report, VALUES_MANY, each, extremes, may_refuse, must_not_fail};
use crate::cases::{Arguments, Case, Columns, place, rows};
use crate::fault::Failure;
use crate::plugin::Plugin;
use crate::transform::PluginTransform;

pub(super) fn check(plugin: &Plugin, cases: &[&Case], report: &mut Report) {
    let over = |check: fn(&PluginTransform, &Columns) -> Result<(), String>| {
        each(cases, |case| {
            let Arguments::Transform(inputs) = &case.arguments else {
                unreachable!("the cases were read for a transform")
            };
            let transform = plugin.plugin_transform(&case.parameters);
            check(&transform.map_err(|fault| fault.message)?, inputs)
        })
    };
    report.run("rows do not depend on each other", || over(rows_alone));
    report.run("no rows", || over(|transform, inputs| sized(transform, inputs, 0)));
    report.run("one row", || over(|transform, inputs| sized(transform, inputs, 1)));
    report.run("very many rows", || over(many));
    report.run("missing values", || {
        over(|transform, inputs| unusual(transform, &extremes::missing(&inputs.schemas)))
    });
    report.run("extreme values", || {
        over(|transform, inputs| unusual(transform, &extremes::extreme(&inputs.schemas)))
    });
    let has_lists = |case: &&Case| match &case.arguments {
        Arguments::Transform(inputs) => {
            inputs.schemas.iter().any(|schema| schema.width().is_none())
        }
        _ => false,
    };
    report.run("empty lists", || {
        if !cases.iter().any(has_lists) {
            return Outcome::Skipped("no case has lists among its inputs".to_owned());
        }
        over(|transform, inputs| match extremes::empty_lists(&inputs.schemas) {
            Some(columns) => unusual(transform, &columns),
            None => Ok(()),
        })
    });
}

fn run(transform: &PluginTransform, inputs: &Columns) -> Result<Vec<Column>, Failure> {
    transform.run(&inputs.schemas, &inputs.columns, place(inputs.rows()))
}

/// Cut in two, turned around, or as they are: every row comes out the same.
fn rows_alone(transform: &PluginTransform, inputs: &Columns) -> Result<(), String> {
    let inputs = rows::tiled(inputs, inputs.rows() * 2 + 1);
    let count = inputs.rows();
    let whole = must_not_fail(run(transform, &inputs))?;
    let (cut, reversed) = (count / 3, (0..count).rev().collect::<Vec<_>>());
    for part in [&(0..cut).collect::<Vec<_>>(), &(cut..count).collect(), &reversed] {
        let found = must_not_fail(run(transform, &rows::taken(&inputs, part)))?;
        let expected: Vec<Column> = whole.iter().map(|column| column.picked(part)).collect();
        if !same_columns(&found, &expected) {
            return Err("a row's result depends on the rows around it".to_owned());
        }
    }
    Ok(())
}

fn sized(transform: &PluginTransform, inputs: &Columns, count: usize) -> Result<(), String> {
    must_not_fail(run(transform, &rows::tiled(inputs, count))).map(drop)
}

fn many(transform: &PluginTransform, inputs: &Columns) -> Result<(), String> {
    let values_per_row = rows::values(inputs).div_ceil(inputs.rows().max(1)).max(1);
    sized(transform, inputs, VALUES_MANY / values_per_row)
}

fn unusual(transform: &PluginTransform, columns: &Columns) -> Result<(), String> {
    may_refuse(run(transform, columns))
}

/// Bit for bit, but a missing text may hold anything.
pub(super) fn same_columns(first: &[Column], second: &[Column]) -> bool {
    first.len() == second.len()
        && first.iter().zip(second).all(|(first, second)| same(first, second))
}

fn same(first: &Column, second: &Column) -> bool {
    let floats = |first: &[f32], second: &[f32]| {
        bytemuck::cast_slice::<f32, u32>(first) == bytemuck::cast_slice::<f32, u32>(second)
    };
    let texts = |first: &Texts, second: &Texts| first.iter().eq(second.iter());
    match (first, second) {
        (Column::F32 { values: first, .. }, Column::F32 { values: second, .. }) => {
            floats(first, second)
        }
        (Column::F32List(first), Column::F32List(second)) => {
            first.offsets == second.offsets && floats(&first.values, &second.values)
        }
        (Column::Text { values: first, .. }, Column::Text { values: second, .. }) => {
            texts(first, second)
        }
        (
            Column::TextList { offsets: first_offsets, values: first },
            Column::TextList { offsets: second_offsets, values: second },
        ) => first_offsets == second_offsets && texts(first, second),
        (first, second) => first == second,
    }
}
