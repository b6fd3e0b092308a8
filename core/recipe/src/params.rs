//! `param("name", default)` and `--set name=value`.

use std::collections::BTreeMap;

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::error::{RecipeError, did_you_mean};
use crate::values::{described, from_json, to_json, type_word};

/// One parameter of a recipe, with the value it has in this run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name, as in `--set name=value`.
    pub name: String,
    /// Value in this run.
    pub value: Value,
    /// Value unless it is set.
    pub default: Value,
    /// Whether `--set` gave the value.
    pub set: bool,
    /// What it is for, if the recipe says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

/// The third argument of `param`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Limits {
    min: Option<f64>,
    max: Option<f64>,
    #[serde(default)]
    one_of: Vec<String>,
    #[serde(default)]
    help: String,
}

/// All parameters that the recipe has declared so far, and what was set.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    declared: Vec<Parameter>,
    set: BTreeMap<String, String>,
}

impl Parameters {
    /// Reads `name=value` pairs as they stand on the command line.
    pub(crate) fn new(pairs: &[String]) -> Result<Self, RecipeError> {
        let mut set = BTreeMap::new();
        for pair in pairs {
            let split = pair.split_once('=').map(|(name, value)| (name.trim(), value));
            let Some((name, value)) = split.filter(|(name, _)| !name.is_empty()) else {
                return Err(RecipeError::SetSyntax { found: pair.clone() });
            };
            if let Some(first) = set.insert(name.to_owned(), value.to_owned()) {
                let (name, second) = (name.to_owned(), value.to_owned());
                return Err(RecipeError::SetTwice { name, first, second });
            }
        }
        Ok(Self { declared: Vec::new(), set })
    }

    /// The parameters in the order of their declaration.
    pub(crate) fn declared(&self) -> &[Parameter] {
        &self.declared
    }

    /// The names that were set.
    pub(crate) fn names_set(&self) -> impl Iterator<Item = &str> {
        self.set.keys().map(String::as_str)
    }

    /// Fails if something was set that is neither declared nor in `known`.
    pub(crate) fn check_known(&self, recipe: &str, known: &[String]) -> Result<(), RecipeError> {
        let declared = self.declared.iter().map(|parameter| &parameter.name);
        let known: Vec<String> = declared.chain(known).cloned().collect();
        match self.names_set().find(|name| !known.iter().any(|other| other == name)) {
            None => Ok(()),
            Some(name) => {
                let (recipe, name) = (recipe.to_owned(), name.to_owned());
                Err(RecipeError::UnknownParameter { recipe, name, known })
            }
        }
    }

    /// Declares a parameter; returns the value it has in this run.
    pub(crate) fn declare(
        &mut self,
        call: &Call,
        name: &str,
        default: &Dynamic,
        limits: Limits,
    ) -> Result<Dynamic, RecipeError> {
        let Some(plain) = to_json(default).filter(|value| !value.is_null() && !value.is_object())
        else {
            let found = described(default);
            let expected = "a number, string, true, false or an array of them";
            let message = format!("param '{name}': the default is {found}, expected {expected}");
            return Err(call.error(message, None));
        };
        if let Some(earlier) = self.declared.iter().find(|earlier| earlier.name == name) {
            if earlier.default == plain {
                return Ok(from_json(&earlier.value));
            }
            let earlier = &earlier.default;
            let message = format!("param '{name}' is declared twice: {earlier}, then {plain}");
            return Err(call.error(message, Some("declare it once and pass its value".into())));
        }
        check_limits(call, name, &plain, &limits)?;
        let given = self.set.get(name);
        let value = match given {
            None => plain.clone(),
            Some(text) => fitted(text, &plain).map_err(|expected| {
                let message = format!("param '{name}' expects {expected}, found '{text}'");
                call.error(message, Some(format!("its default is {plain}")))
            })?,
        };
        check_limits(call, name, &value, &limits)?;
        let set = given.is_some();
        let name = name.to_owned();
        let result = from_json(&value);
        self.declared.push(Parameter { name, value, default: plain, set, help: limits.help });
        Ok(result)
    }
}

/// The text of `--set` as a value of the default's type, or what would have been taken.
fn fitted(text: &str, default: &Value) -> Result<Value, String> {
    match default {
        Value::String(_) => Ok(Value::from(text)),
        Value::Array(items) => {
            let found: Option<Vec<Value>> = serde_json::from_str(text).ok();
            let found = found.ok_or_else(|| "an array such as [512, 256]".to_owned())?;
            let Some(first) = items.first() else { return Ok(Value::Array(found)) };
            let fit = |item: Value| {
                converted(item, first).map_err(|expected| format!("an array, each item {expected}"))
            };
            found.into_iter().map(fit).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        _ => {
            let text = text.trim().replace('_', "");
            let found: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            converted(found, default)
        }
    }
}

/// `found` as the type of `model`; a whole number may become a float, nothing else changes.
fn converted(found: Value, model: &Value) -> Result<Value, String> {
    match (&found, model) {
        (Value::Bool(_), Value::Bool(_))
        | (Value::String(_), Value::String(_))
        | (Value::Array(_), Value::Array(_)) => Ok(found),
        (Value::Number(number), Value::Number(model)) if model.is_i64() => {
            if number.is_i64() {
                Ok(found)
            } else {
                Err("a whole number".to_owned())
            }
        }
        (Value::Number(number), Value::Number(_)) => {
            Ok(number.as_f64().map_or(Value::Null, Value::from))
        }
        (_, Value::Bool(_)) => Err("true or false".to_owned()),
        (_, Value::Number(model)) if model.is_i64() => Err("a whole number".to_owned()),
        (_, Value::Number(_)) => Err("a number".to_owned()),
        (_, model) => Err(format!("a value like {model}")),
    }
}

fn check_limits(
    call: &Call,
    name: &str,
    value: &Value,
    limits: &Limits,
) -> Result<(), RecipeError> {
    if let Value::Array(items) = value {
        return items.iter().try_for_each(|item| check_limits(call, name, item, limits));
    }
    if let Some(number) = value.as_f64() {
        let below = limits.min.is_some_and(|min| number < min);
        let above = limits.max.is_some_and(|max| number > max);
        if below || above {
            let expected = match (limits.min, limits.max) {
                (Some(min), Some(max)) => format!("{min} to {max}"),
                (Some(min), None) => format!("at least {min}"),
                (_, max) => format!("at most {}", max.unwrap_or(f64::INFINITY)),
            };
            let message = format!("param '{name}' is {value}, expected {expected}");
            return Err(call.error(message, None));
        }
    }
    if let (Some(text), false) = (value.as_str(), limits.one_of.is_empty())
        && !limits.one_of.iter().any(|allowed| allowed == text)
    {
        let allowed = limits.one_of.iter().map(String::as_str);
        let expected = rectool_base::quoted_list(allowed.clone());
        let message = format!("param '{name}' is '{text}', expected one of {expected}");
        return Err(call.error(message, did_you_mean(text, allowed)));
    }
    Ok(())
}

/// The name argument as text.
pub(crate) fn name_of(call: &Call, name: &Dynamic) -> Result<String, RecipeError> {
    name.clone().into_string().map_err(|_| {
        let message = format!("param expects its name as a string, found {}", type_word(name));
        call.error(message, Some("write param(\"epochs\", 1)".to_owned()))
    })
}
