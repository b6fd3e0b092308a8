//! Option maps of script functions become typed structs; a typo becomes an error at its place.

use rectool_base::limits::MLP_WIDTH_MAX;
use rectool_base::quoted_list;
use rhai::{Dynamic, Map};
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::decode::{self, DecodeError, Fault, Segment};
use crate::error::{Place, RecipeError, did_you_mean};
use crate::values::{described, type_word};

/// Layers of one MLP.
const LAYERS_MAX: usize = 64;

/// The default of options such as weights.
pub(crate) fn one<T: From<u8>>() -> T {
    T::from(1)
}

/// The option map of one call. Nouns are taken out first, the plain rest becomes a struct.
pub(crate) struct Options<'a> {
    call: &'a Call,
    map: Map,
    nouns: Vec<&'static str>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(call: &'a Call, map: Map) -> Self {
        Self { call, map, nouns: Vec::new() }
    }

    /// Whether `key` is given and was not taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Takes the noun at `key`, such as a dataset or an optimizer, if it is given.
    pub(crate) fn noun<T: Clone + Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Result<Option<T>, RecipeError> {
        self.nouns.push(key);
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        self.cast(key, expected, value).map(Some)
    }

    /// Takes the noun at `key`, which must be given.
    pub(crate) fn required<T: Clone + Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Result<T, RecipeError> {
        self.noun(key, expected)?.ok_or_else(|| {
            let message = format!("{} needs the option '{key}': {expected}", self.call.function);
            self.missing_hint(key, message)
        })
    }

    /// Takes the array at `key`; absent means empty.
    pub(crate) fn values(&mut self, key: &'static str) -> Result<Vec<Dynamic>, RecipeError> {
        Ok(self.noun::<rhai::Array>(key, "an array")?.unwrap_or_default())
    }

    /// The nouns of the array at `key`; absent means none.
    pub(crate) fn nouns<T: Clone + Send + Sync + 'static>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Result<Vec<T>, RecipeError> {
        self.values(key)?.into_iter().map(|value| self.cast(key, expected, value)).collect()
    }

    /// The rest as a struct, whose fields are all that may be left.
    pub(crate) fn rest<T: DeserializeOwned>(&self) -> Result<T, RecipeError> {
        decode::decode(&Dynamic::from(self.map.clone())).map_err(|error| self.explain(error))
    }

    /// Where the option `key` stands in the script.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.call.place_of_keys(&[key])
    }

    /// An error about the option `key`, or about a part of it such as `heads[0].loss`, at its place in
    /// the script.
    pub(crate) fn refuse(&self, key: &str, message: &str, hint: Option<String>) -> RecipeError {
        let place = self.place_of(key.split('[').next().unwrap_or(key));
        RecipeError::script(place, format!("{}: '{key}' {message}", self.call.function), hint)
    }

    /// Checks that a whole number lies within the limits.
    pub(crate) fn in_range(
        &self,
        key: &str,
        value: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<(), RecipeError> {
        if range.contains(&value) {
            return Ok(());
        }
        let (from, to) = (range.start(), range.end());
        Err(self.refuse(key, &format!("is {value}, expected {from} to {to}"), None))
    }

    /// Checks the widths of an MLP.
    pub(crate) fn widths(&self, key: &str, widths: &[usize]) -> Result<(), RecipeError> {
        if widths.len() > LAYERS_MAX {
            let what = format!("has {} layers, expected at most {LAYERS_MAX}", widths.len());
            return Err(self.refuse(key, &what, None));
        }
        widths.iter().try_for_each(|width| self.in_range(key, *width, 1..=MLP_WIDTH_MAX))
    }

    /// Checks that a number is finite and satisfies `holds`, which `expected` puts in words.
    pub(crate) fn number(
        &self,
        key: &str,
        value: impl Into<f64> + std::fmt::Display + Copy,
        holds: bool,
        expected: &str,
    ) -> Result<(), RecipeError> {
        if value.into().is_finite() && holds {
            return Ok(());
        }
        Err(self.refuse(key, &format!("is {value}, expected {expected}"), None))
    }

    fn cast<T: Clone + Send + Sync + 'static>(
        &self,
        key: &str,
        expected: &str,
        value: Dynamic,
    ) -> Result<T, RecipeError> {
        let found = described(&value);
        value
            .try_cast::<T>()
            .ok_or_else(|| self.refuse(key, &format!("expects {expected}, found {found}"), None))
    }

    fn missing_hint(&self, key: &str, message: String) -> RecipeError {
        let near = did_you_mean(key, self.map.keys().map(AsRef::as_ref));
        let hint = near.map(|near| near.replace("did you mean", "is it meant by"));
        RecipeError::script(self.call.place.clone(), message, hint)
    }

    fn explain(&self, error: DecodeError) -> RecipeError {
        explain(self.call, &self.nouns, None, error)
    }
}

/// One entry of an array option as a struct: `path` says which one, such as `ids[2]`.
pub(crate) fn entry<T: DeserializeOwned>(
    call: &Call,
    (key, at): (&'static str, usize),
    value: &Dynamic,
) -> Result<T, RecipeError> {
    let prefix = [Segment::Key(key.to_owned()), Segment::Index(at)];
    decode::decode(value).map_err(|error| explain(call, &[], Some(&prefix), error))
}

/// A map option as a struct.
pub(crate) fn part<T: DeserializeOwned>(
    call: &Call,
    key: &'static str,
    value: &Dynamic,
) -> Result<T, RecipeError> {
    let prefix = [Segment::Key(key.to_owned())];
    decode::decode(value).map_err(|error| explain(call, &[], Some(&prefix), error))
}

/// Words and place for an error of the decoder.
fn explain(
    call: &Call,
    nouns: &[&'static str],
    prefix: Option<&[Segment]>,
    mut error: DecodeError,
) -> RecipeError {
    if let Some(prefix) = prefix {
        error.path.splice(0..0, prefix.iter().cloned());
    }
    let top = error.path.is_empty();
    let owner = decode::path_text(&error.path);
    let subject = if top { call.function.clone() } else { format!("{}: '{owner}'", call.function) };
    let mut keys: Vec<&str> = Vec::new();
    for segment in &error.path {
        match segment {
            Segment::Key(key) => keys.push(key),
            Segment::Index(_) => break,
        }
    }
    match &error.fault {
        Fault::UnknownKey { key, known } => {
            let mut known = known.clone();
            known.extend(nouns.iter().filter(|_| top));
            known.sort_unstable();
            let hint = did_you_mean(key, known.iter().copied());
            let listed = match known.as_slice() {
                [] => "it takes no options here".to_owned(),
                known => format!("it has {}", quoted_list(known.iter().copied())),
            };
            let hint = hint.or(Some(listed));
            keys.push(key);
            let message = format!("{subject} has no option '{key}'");
            RecipeError::script(call.place_of_keys(&keys), message, hint)
        }
        Fault::Missing { key } => {
            let message = format!("{subject} needs the option '{key}'");
            RecipeError::script(call.place_of_keys(&keys), message, None)
        }
        Fault::Type { expected, found } => {
            let message = format!("{subject} expects {expected}, found {found}");
            RecipeError::script(call.place_of_keys(&keys), message, None)
        }
        Fault::Variant { found, known } => {
            let hint = did_you_mean(found, known.iter().copied());
            let message =
                format!("{subject} is '{found}', expected one of {}", quoted_list(known.clone()));
            RecipeError::script(call.place_of_keys(&keys), message, hint)
        }
        Fault::Other(message) => {
            let message = format!("{subject}: {message}");
            RecipeError::script(call.place_of_keys(&keys), message, None)
        }
    }
}

/// The value as a text, or an error that says which option and what was found.
pub(crate) fn text_of(call: &Call, key: &str, value: &Dynamic) -> Result<String, RecipeError> {
    value.clone().into_string().map_err(|_| {
        let message =
            format!("{}: '{key}' expects a string, found {}", call.function, type_word(value));
        RecipeError::script(call.place_of_keys(&[key]), message, None)
    })
}
