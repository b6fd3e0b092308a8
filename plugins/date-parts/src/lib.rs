//! Points in time as hours, weekdays, months and the like.

mod calendar;

use calendar::{PARTS, Part};
use rectool_plugin_sdk::{
    About, Column, ColumnType, Element, Fault, MISSING_ID, Parameter, Parameters, Transform,
    export_transform,
};

/// Parts of a point in time.
pub struct DateParts {
    name: String,
    parts: Vec<Part>,
    units_per_second: i64,
    offset_seconds: i64,
    invalid: Invalid,
}

#[derive(Clone, Copy)]
enum Invalid {
    Fault,
    Missing,
}

impl Transform for DateParts {
    fn about() -> About {
        let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
        About::new("date-parts", "1.0.0", "hour, weekday, month and the like of points in time")
            .parameter(
                Parameter::texts("parts")
                    .default(&["hour", "weekday"][..])
                    .choices(&names)
                    .help("which, in the order of the new column's values"),
            )
            .parameter(
                Parameter::text("unit")
                    .default("seconds")
                    .choices(&["seconds", "milliseconds", "microseconds"])
                    .help("what ids count since 1970-01-01 UTC"),
            )
            .parameter(
                Parameter::integer("offset")
                    .default(0i64)
                    .min(-1440.0)
                    .max(1440.0)
                    .unit("minutes")
                    .help("how far the local time whose parts are taken is ahead of UTC"),
            )
            .parameter(
                Parameter::text("invalid")
                    .default("fault")
                    .choices(&["fault", "missing"])
                    .help("whether a text that is no date ends the run or counts as missing"),
            )
            .parameter(
                Parameter::text("output")
                    .default("")
                    .help("the new column; by default the input's name and `_parts`"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        let [input] = inputs else {
            return Err(Fault::new(format!("{} columns, expected 1", inputs.len())));
        };
        input.expect_ids_or_texts()?;
        if input.width() != Some(1) {
            return Err(input.fault("i64[1] or text[1]"));
        }
        let names = parameters.texts("parts");
        let part =
            |name: &String| PARTS.iter().find(|(known, _)| known == name).map(|(_, part)| *part);
        let parts: Vec<Part> = names.iter().filter_map(part).collect();
        if parts.is_empty() || parts.len() < names.len() {
            return Err(Fault::new("`parts` names no part, expected 1 or more"));
        }
        let name = match parameters.text("output") {
            "" => format!("{}_parts", input.name),
            given => given.to_owned(),
        };
        let members = names.iter().map(|part| format!("{}_{part}", input.name)).collect();
        let width = parts.len() as u32;
        let output =
            ColumnType { members, ..ColumnType::ids(&name, width).with_element(Element::Int64) };
        let units_per_second = match parameters.text("unit") {
            "milliseconds" => 1_000,
            "microseconds" => 1_000_000,
            _ => 1,
        };
        let offset_seconds = parameters.integer("offset") * 60;
        let invalid = match parameters.text("invalid") {
            "missing" => Invalid::Missing,
            _ => Invalid::Fault,
        };
        let name = input.name.clone();
        Ok((Self { name, parts, units_per_second, offset_seconds, invalid }, vec![output]))
    }

    fn apply(&self, rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let mut made = Vec::with_capacity(rows * self.parts.len());
        let mut push = |seconds: Option<i64>| match seconds {
            Some(seconds) => {
                let local = seconds + self.offset_seconds;
                made.extend(self.parts.iter().map(|part| part.of(local)));
            }
            None => made.extend(self.parts.iter().map(|_| MISSING_ID)),
        };
        for column in &columns {
            match column {
                Column::Texts(texts) => {
                    for (row, text) in texts.iter().enumerate() {
                        push(text.map(|text| self.seconds(text, row)).transpose()?.flatten());
                    }
                }
                _ => {
                    for id in column.ids() {
                        let seconds = id.div_euclid(self.units_per_second);
                        push((*id != MISSING_ID).then_some(seconds));
                    }
                }
            }
        }
        Ok(vec![Column::Ints(made)])
    }
}

impl DateParts {
    fn seconds(&self, text: &str, row: usize) -> Result<Option<i64>, Fault> {
        match (calendar::parse(text), self.invalid) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Invalid::Missing) => Ok(None),
            (None, Invalid::Fault) => {
                let name = &self.name;
                let message = format!("column `{name}` is `{text}`, expected a date as 2024-02-29");
                Err(Fault::at_row(row, message))
            }
        }
    }
}

export_transform!(DateParts);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<DateParts>(include_str!("../cases.jsonl"));
        testing::check_readme(&DateParts::about(), include_str!("../README.md"));
    }
}
