//! Texts as hashed bags of n-grams.

use rectool_plugin_sdk::{
    About, Column, ColumnType, Fault, IntLists, Parameter, Parameters, Transform, bucket_of,
    export_transform, hash_text, mix64,
};

/// The n-grams of texts, each as one of so many buckets.
pub struct Ngrams {
    n_min: usize,
    n_max: usize,
    unit: Unit,
    buckets: u32,
    lowercase: bool,
    salt: u64,
    /// Per column: texts per row, or `None` for lists.
    widths: Vec<Option<usize>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Word,
    Char,
}

impl Transform for Ngrams {
    fn about() -> About {
        let n = |name: &str, help: &str| {
            Parameter::integer(name).default(1i64).min(1.0).max(16.0).unit("units").help(help)
        };
        About::new("ngrams", "1.0.0", "texts as hashed bags of words or characters in a row")
            .parameter(n("n_min", "units of the shortest n-gram"))
            .parameter(n("n_max", "units of the longest n-gram"))
            .parameter(
                Parameter::text("unit")
                    .default("word")
                    .choices(&["word", "char"])
                    .help("what an n-gram is made of"),
            )
            .parameter(
                Parameter::integer("buckets")
                    .min(1.0)
                    .max(f64::from(u32::MAX))
                    .unit("buckets")
                    .help("n-grams become 0 to buckets - 1"),
            )
            .parameter(
                Parameter::boolean("lowercase").default(true).help("whether case is ignored"),
            )
            .parameter(
                Parameter::integer("seed").default(0i64).help("another seed, other collisions"),
            )
    }

    fn configure(
        parameters: &Parameters,
        inputs: &[ColumnType],
    ) -> Result<(Self, Vec<ColumnType>), Fault> {
        inputs.iter().try_for_each(ColumnType::expect_texts)?;
        let (n_min, n_max) =
            (parameters.integer("n_min") as usize, parameters.integer("n_max") as usize);
        if n_min > n_max {
            return Err(Fault::new(format!("`n_max` is {n_max}, expected `n_min` or more")));
        }
        let ngrams = Self {
            n_min,
            n_max,
            unit: if parameters.text("unit") == "char" { Unit::Char } else { Unit::Word },
            buckets: parameters.integer("buckets") as u32,
            lowercase: parameters.boolean("lowercase"),
            salt: mix64(parameters.integer("seed") as u64),
            widths: inputs.iter().map(ColumnType::width).collect(),
        };
        let outputs = inputs.iter().map(|input| ColumnType::id_lists(&input.name)).collect();
        Ok((ngrams, outputs))
    }

    fn apply(&self, rows: usize, columns: Vec<Column>) -> Result<Vec<Column>, Fault> {
        let mut made = Vec::with_capacity(columns.len());
        let (mut normal, mut units) = (String::new(), Vec::new());
        for (column, width) in columns.iter().zip(&self.widths) {
            let texts = column.texts();
            let mut lists = IntLists::new();
            lists.offsets.reserve(rows);
            lists.values.reserve(texts.bytes.len() / 4);
            for row in 0..rows {
                let places = match (column.offsets(), width) {
                    (Some(offsets), _) => offsets[row] as usize..offsets[row + 1] as usize,
                    (None, width) => row * width.unwrap_or(1)..(row + 1) * width.unwrap_or(1),
                };
                for text in places.filter_map(|at| texts.get(at)) {
                    self.normalize(text, &mut normal, &mut units);
                    self.push_ngrams(&normal, &units, &mut lists.values);
                }
                lists.offsets.push(lists.values.len() as u32);
            }
            made.push(Column::IntLists(lists));
        }
        Ok(made)
    }
}

impl Ngrams {
    /// Writes the words of `text` with one blank between them, and where each unit starts and ends.
    fn normalize(&self, text: &str, normal: &mut String, units: &mut Vec<(u32, u32)>) {
        normal.clear();
        units.clear();
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        for word in words {
            if !normal.is_empty() {
                normal.push(' ');
            }
            let start = normal.len() as u32;
            if self.lowercase && word.is_ascii() {
                normal.extend(word.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
            } else if self.lowercase {
                normal.extend(word.chars().flat_map(char::to_lowercase));
            } else {
                normal.push_str(word);
            }
            units.push((start, normal.len() as u32));
        }
        if self.unit == Unit::Char {
            units.clear();
            let ends = |(start, c): (usize, char)| (start as u32, (start + c.len_utf8()) as u32);
            units.extend(normal.char_indices().map(ends));
        }
    }

    fn push_ngrams(&self, normal: &str, units: &[(u32, u32)], ids: &mut Vec<i64>) {
        for n in self.n_min..=self.n_max {
            for window in units.windows(n) {
                let (start, end) = (window[0].0 as usize, window[n - 1].1 as usize);
                let key = hash_text(&normal.as_bytes()[start..end]);
                ids.push(i64::from(bucket_of(mix64(key as u64 ^ self.salt), self.buckets)));
            }
        }
    }
}

export_transform!(Ngrams);

#[cfg(test)]
mod tests {
    use rectool_plugin_sdk::testing;

    use super::*;

    #[test]
    fn cases_hold() {
        testing::replay_transform::<Ngrams>(include_str!("../cases.jsonl"));
        testing::check_readme(&Ngrams::about(), include_str!("../README.md"));
    }
}
