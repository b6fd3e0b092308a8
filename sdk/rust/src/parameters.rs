//! The parameters that a recipe gives, by name and type.

use crate::wit::types::{Fault, Parameter, Value};
use crate::{About, Parameter as Declared};

/// Values of the declared parameters.
///
/// # Panics
/// Each function panics for a parameter that was not declared, or was declared with another type:
/// the host has checked the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    values: Vec<Parameter>,
}

macro_rules! lists {
    ($($(#[$doc:meta])* $function:ident: $kind:ident -> $member:ty;)*) => {
        $($(#[$doc])*
        pub fn $function(&self, name: &str) -> &[$member] {
            match self.value(name) {
                Value::$kind(values) => values,
                other if is_empty(other) => &[],
                other => wrong(name, other, stringify!($function)),
            }
        })*
    };
}

impl Parameters {
    pub(crate) fn new(values: Vec<Parameter>) -> Self {
        Self { values }
    }

    /// What the host makes of `given`: defaults filled in, types, ranges and choices checked. For
    /// tests.
    ///
    /// # Errors
    /// If a parameter is unknown, missing, of another type or out of range.
    pub fn of(about: &About, given: &[(&str, Value)]) -> Result<Self, Fault> {
        let declared = &about.parameters;
        let known = |name| declared.iter().any(|parameter| parameter.declared.name == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| !known(*name)) {
            return Err(Fault::new(format!("`{}` has no parameter `{name}`", about.name)));
        }
        let value = |parameter: &Declared| {
            let name = &parameter.declared.name;
            let found = given.iter().find(|(given, _)| given == name).map(|(_, value)| value);
            let value = match found.or(parameter.declared.default.as_ref()) {
                Some(value) => parameter.checked(value.clone())?,
                None => return Err(Fault::new(format!("parameter `{name}` is missing"))),
            };
            Ok(Parameter { name: name.clone(), value })
        };
        declared.iter().map(value).collect::<Result<_, _>>().map(Self::new)
    }

    fn value(&self, name: &str) -> &Value {
        match self.values.iter().find(|parameter| parameter.name == name) {
            Some(parameter) => &parameter.value,
            None => panic!("parameter `{name}` was not declared"),
        }
    }

    /// Of a boolean parameter.
    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Boolean(value) => *value,
            other => wrong(name, other, "boolean"),
        }
    }

    /// Of an integer parameter.
    pub fn integer(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Integer(value) => *value,
            other => wrong(name, other, "integer"),
        }
    }

    /// Of a number parameter.
    pub fn number(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Number(value) => *value,
            Value::Integer(value) => *value as f64,
            other => wrong(name, other, "number"),
        }
    }

    /// Of a text parameter.
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(value) => value,
            other => wrong(name, other, "text"),
        }
    }

    lists! {
        /// Of a list of booleans.
        booleans: Booleans -> bool;
        /// Of a list of integers.
        integers: Integers -> i64;
        /// Of a list of numbers.
        numbers: Numbers -> f64;
        /// Of a list of texts.
        texts: Texts -> String;
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Booleans(values) => values.is_empty(),
        Value::Integers(values) => values.is_empty(),
        Value::Numbers(values) => values.is_empty(),
        Value::Texts(values) => values.is_empty(),
        _ => false,
    }
}

/// Formats no value: that would bring the code for printing floats into every plugin.
fn wrong(name: &str, found: &Value, expected: &str) -> ! {
    panic!("parameter `{name}` is {}, asked for as {expected}", type_name(found))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Boolean(_) => "boolean",
        Value::Integer(_) => "integer",
        Value::Number(_) => "number",
        Value::Text(_) => "text",
        Value::Booleans(_) => "booleans",
        Value::Integers(_) => "integers",
        Value::Numbers(_) => "numbers",
        Value::Texts(_) => "texts",
    }
}

impl Declared {
    /// `value`, converted where nothing is lost, if it fits the declaration.
    fn checked(&self, value: Value) -> Result<Value, Fault> {
        use crate::wit::about::exports::rectool::plugin::about::ValueType as T;
        let name = &self.declared.name;
        let value = match (self.declared.value_type, value) {
            (T::Number, Value::Integer(value)) => Value::Number(value as f64),
            (T::Numbers, Value::Integers(values)) => {
                Value::Numbers(values.into_iter().map(|value| value as f64).collect())
            }
            (T::Booleans, value) if is_empty(&value) => Value::Booleans(Vec::new()),
            (T::Integers, value) if is_empty(&value) => Value::Integers(Vec::new()),
            (T::Texts, value) if is_empty(&value) => Value::Texts(Vec::new()),
            (_, value) => value,
        };
        let (fits, numbers, texts): (bool, Vec<f64>, &[String]) = match &value {
            Value::Boolean(_) => (self.declared.value_type == T::Boolean, vec![], &[]),
            Value::Booleans(_) => (self.declared.value_type == T::Booleans, vec![], &[]),
            Value::Integer(value) => {
                (self.declared.value_type == T::Integer, vec![*value as f64], &[])
            }
            Value::Number(value) => (self.declared.value_type == T::Number, vec![*value], &[]),
            Value::Integers(values) => {
                let numbers = values.iter().map(|value| *value as f64).collect();
                (self.declared.value_type == T::Integers, numbers, &[])
            }
            Value::Numbers(values) => (self.declared.value_type == T::Numbers, values.clone(), &[]),
            Value::Text(text) => {
                (self.declared.value_type == T::Text, vec![], std::slice::from_ref(text))
            }
            Value::Texts(texts) => (self.declared.value_type == T::Texts, vec![], texts),
        };
        if !fits {
            let expected = format!("{:?}", self.declared.value_type).to_lowercase();
            return Err(Fault::new(format!(
                "parameter `{name}` is {value:?}, expected {expected}"
            )));
        }
        let (min, max) = (self.declared.min, self.declared.max);
        let outside = |number: &&f64| {
            !number.is_finite()
                || min.is_some_and(|min| **number < min)
                || max.is_some_and(|max| **number > max)
        };
        if let Some(number) = numbers.iter().find(outside) {
            return Err(Fault::new(format!("parameter `{name}` is {number}, out of its range")));
        }
        let choices = &self.declared.choices;
        match texts.iter().find(|text| !choices.is_empty() && !choices.contains(text)) {
            Some(text) => Err(Fault::new(format!("parameter `{name}` has no choice `{text}`"))),
            None => Ok(value),
        }
    }
}
