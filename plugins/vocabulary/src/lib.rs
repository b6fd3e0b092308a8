//! Known texts and ids as their numbers.

mod table;

use rectool_plugin_sdk::{
    About, Column, ColumnType, Element, Fault, MISSING_ID, Parameter, Parameters, Transform,
    bucket_of, export_transform, hash_text, mix64,
};
use table::Table;

/// The number of each known word or id.
pub struct Vocabulary {
    table: Table,
    unknown: u32,
}

impl Transform for Vocabulary {
    fn about() -> About {
        About::new("vocabulary", "1.0.0", "known texts and ids as their numbers")
            .parameter(
                Parameter::texts("words")
                    .default(&[][..] as &[&str])
                    .help("what is known of text columns, each once"),
            )
            .parameter(
                Parameter::integers("ids")
                    .default(&[][..] as &[i64])
                    .help("what is known of id columns, each once"),
            )
            .parameter(
                Parameter::integer("oov_buckets")
                    .default(1i64)
                    .min(1.0)
                    .max(f64::from(u32::MAX))
                    .unit("buckets")
                    .help("the first numbers, shared by what is not known"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_ids_or_texts)?;
        let (words, ids) = (parameters.texts("words"), parameters.integers("ids"));
        let (table, element) = match (words.is_empty(), ids.is_empty()) {
            (false, true) => {
                let twice = |word| Fault::new(format!("`words` has `{word}` twice"));
                (Table::of_words(words).map_err(twice)?, Element::Text)
            }
            (true, false) => {
                let twice = |id| Fault::new(format!("`ids` has {id} twice"));
                (Table::of_ids(ids).map_err(twice)?, Element::Int64)
            }
            (true, true) => return Err(Fault::new("give `words` or `ids`")),
            (false, false) => return Err(Fault::new("give `words` or `ids`, not both")),
        };
        if let Some(input) = inputs.iter().find(|input| input.element != element) {
            let expected =
                if words.is_empty() { "the type of `ids`" } else { "the type of `words`" };
            return Err(input.fault(expected));
        }
        let outputs = inputs.iter().map(|input| input.with_element(Element::Int64)).collect();
        Ok((Self { table, unknown: parameters.integer("oov_buckets") as u32 }, outputs))
    }

    fn apply(&self, _rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let made = columns.into_iter().map(|mut column| match &column {
            Column::Texts(_) | Column::TextLists(_) => {
                let number = |text: Option<&[u8]>| match text {
                    Some(text) => self.number(self.table.find_text(text), || hash_text(text)),
                    None => self.missing(),
                };
                let ids = column.texts().iter_bytes().map(number).collect();
                column.with_ids(ids)
            }
            _ => {
                for id in column.ids_mut() {
                    *id = match *id {
                        MISSING_ID => self.missing(),
                        known => self.number(self.table.find_id(known), || known),
                    };
                }
                column
            }
        });
        Ok(made.collect())
    }
}

impl Vocabulary {
    fn number(&self, found: Option<usize>, key: impl Fn() -> i64) -> i64 {
        match found {
            Some(at) => i64::from(self.unknown) + at as i64,
            None => i64::from(bucket_of(mix64(key() as u64), self.unknown)),
        }
    }

    /// The number after the last.
    fn missing(&self) -> i64 {
        i64::from(self.unknown) + self.table.len() as i64
    }
}

export_transform!(Vocabulary);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Vocabulary>(include_str!("../cases.jsonl"));
        testing::check_readme(&Vocabulary::about(), include_str!("../README.md"));
    }
}
