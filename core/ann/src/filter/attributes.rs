//! What vectors carry besides their values.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::AnnError;

/// Attributes of one vector.
///
/// ```
/// use rectool_ann::{Filter, ItemAttributes};
/// let item = ItemAttributes::default().with_token("color", "red").with_number("price", 12.5);
/// assert!("color=red|blue, price<20".parse::<Filter>()?.matches(&item));
/// # Ok::<(), rectool_ann::AnnError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemAttributes {
    /// In rising order, as in a part: which token is first does not depend on where the vector lies.
    tokens: BTreeMap<String, BTreeSet<String>>,
    numbers: BTreeMap<String, f64>,
}

impl ItemAttributes {
    /// The same with one more token of a namespace.
    pub fn with_token(mut self, namespace: &str, token: &str) -> Self {
        self.tokens.entry(namespace.to_owned()).or_default().insert(token.to_owned());
        self
    }

    /// The same with a number; NaN stands for none. Infinite ones become the largest finite ones,
    /// because JSON has no others.
    pub fn with_number(mut self, name: &str, value: f64) -> Self {
        if value.is_nan() {
            self.numbers.remove(name);
        } else {
            self.numbers.insert(name.to_owned(), value.clamp(f64::MIN, f64::MAX));
        }
        self
    }

    /// Reads `{"color": "red", "tags": ["a", "b"], "price": 3.5}`: texts and lists of texts are tokens of a
    /// namespace, numbers are numbers, null stands for none. `None` if the text is something else.
    pub fn from_json(text: &str) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return None };
        let mut item = Self::default();
        for (name, value) in &fields {
            match value {
                Value::Null => {}
                Value::String(token) => item = item.with_token(name, token),
                Value::Number(number) => item = item.with_number(name, number.as_f64()?),
                Value::Array(tokens) => {
                    for token in tokens {
                        item = item.with_token(name, token.as_str()?);
                    }
                }
                Value::Bool(_) | Value::Object(_) => return None,
            }
        }
        Some(item)
    }

    /// Tokens of a namespace, rising.
    pub fn tokens(&self, namespace: &str) -> impl Iterator<Item = &str> {
        self.tokens.get(namespace).into_iter().flatten().map(String::as_str)
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.get(name).copied()
    }

    /// Namespaces that it has tokens of.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.tokens.keys().map(String::as_str)
    }

    /// Names of its numbers.
    pub(crate) fn number_names(&self) -> impl Iterator<Item = &str> {
        self.numbers.keys().map(String::as_str)
    }
}

/// Attributes of all vectors of a build, by columns.
///
/// ```
/// use rectool_ann::Attributes;
/// let mut attributes = Attributes::new(3);
/// attributes.add_tokens("color", &[vec!["red"], vec![], vec!["red", "blue"]])?;
/// attributes.add_numbers("price", vec![1.0, f64::NAN, 3.0])?;
/// # Ok::<(), rectool_ann::AnnError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    rows: usize,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) numbers: Vec<(String, Vec<f64>)>,
}

/// The tokens of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    /// Names of tokens, in rising order.
    pub(crate) names: Vec<String>,
    /// Start of each row's tokens, and their number.
    pub(crate) starts: Vec<u32>,
    pub(crate) tokens: Vec<u32>,
}

impl Namespace {
    /// A namespace of these tokens, of no rows yet, and the number of each token.
    pub(crate) fn new<'a>(name: &str, tokens: BTreeSet<&'a str>) -> (Self, BTreeMap<&'a str, u32>) {
        let names = tokens.iter().map(|token| (*token).to_owned()).collect();
        let namespace = Self { name: name.to_owned(), names, starts: vec![0], tokens: Vec::new() };
        (namespace, tokens.into_iter().zip(0..).collect())
    }

    /// Adds a row with its tokens, in rising order.
    pub(crate) fn push(&mut self, tokens: impl Iterator<Item = u32>) -> Result<(), AnnError> {
        self.tokens.extend(tokens);
        let end = u32::try_from(self.tokens.len()).map_err(|_| AnnError::Shape {
            what: "tokens of a namespace",
            found: self.tokens.len(),
            expected: "below 2^32: build several parts".to_owned(),
        })?;
        self.starts.push(end);
        Ok(())
    }

    pub(crate) fn of(&self, row: usize) -> &[u32] {
        &self.tokens[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

impl Attributes {
    /// No attributes of `rows` vectors.
    pub fn new(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Number N of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a namespace with the tokens of each vector \[N\].
    ///
    /// # Errors
    /// If the number of vectors differs, the name is taken, or there are 2³² tokens.
    pub fn add_tokens<T: AsRef<str>, L: AsRef<[T]>>(
        &mut self,
        name: &str,
        tokens: &[L],
    ) -> Result<(), AnnError> {
        let known = self.namespaces.iter().any(|namespace| namespace.name == name);
        self.check(name, known, tokens.len())?;
        let names = tokens.iter().flat_map(AsRef::as_ref).map(AsRef::as_ref).collect();
        let (mut namespace, numbers) = Namespace::new(name, names);
        for tokens in tokens {
            let tokens: &[T] = tokens.as_ref();
            let mut own: Vec<u32> = tokens.iter().map(|token| numbers[token.as_ref()]).collect();
            own.sort_unstable();
            own.dedup();
            namespace.push(own.into_iter())?;
        }
        self.namespaces.push(namespace);
        Ok(())
    }

    /// Adds a number of each vector \[N\]; NaN stands for none.
    ///
    /// # Errors
    /// If the number of vectors differs or the name is taken.
    pub fn add_numbers(&mut self, name: &str, values: Vec<f64>) -> Result<(), AnnError> {
        let known = self.numbers.iter().any(|(known, _)| known == name);
        self.check(name, known, values.len())?;
        self.numbers.push((name.to_owned(), values));
        Ok(())
    }

    /// Attributes of one vector.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn item(&self, row: usize) -> ItemAttributes {
        let mut item = ItemAttributes::default();
        for namespace in &self.namespaces {
            for token in namespace.of(row) {
                item = item.with_token(&namespace.name, &namespace.names[*token as usize]);
            }
        }
        for (name, values) in &self.numbers {
            item = item.with_number(name, values[row]);
        }
        item
    }

    fn check(&self, name: &str, known: bool, found: usize) -> Result<(), AnnError> {
        if known {
            return Err(AnnError::option("attribute", name, "names that differ"));
        }
        if found != self.rows {
            let expected = self.rows.to_string();
            return Err(AnnError::Shape { what: "rows of an attribute", found, expected });
        }
        Ok(())
    }

    /// Attributes by columns of vectors that come one by one.
    ///
    /// # Errors
    /// If a namespace has 2³² tokens.
    pub fn of_items(items: &[ItemAttributes]) -> Result<Self, AnnError> {
        let names = |of: fn(&ItemAttributes) -> Vec<&str>| {
            let mut names: Vec<&str> = items.iter().flat_map(of).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let mut all = Self::new(items.len());
        for name in names(|item| item.namespaces().collect()) {
            let tokens: Vec<Vec<&str>> =
                items.iter().map(|item| item.tokens(name).collect()).collect();
            all.add_tokens(name, &tokens)?;
        }
        for name in names(|item| item.number_names().collect()) {
            let number = |item: &ItemAttributes| item.number(name).unwrap_or(f64::NAN);
            all.add_numbers(name, items.iter().map(number).collect())?;
        }
        Ok(all)
    }
}
