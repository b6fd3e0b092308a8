//! Parameters that a recipe gives, checked against what the plugin describes.

use std::collections::BTreeMap;

use rectool_base::{ParameterValue, nearest_name, quoted_list};

use crate::abi;
use crate::description::{Description, ParameterType, ValueType};
use crate::error::PluginError;
use crate::fault::bounded;

/// What a recipe gives: names and values.
pub type Parameters = BTreeMap<String, ParameterValue>;

/// A value that a parameter does not take.
pub(crate) struct Wrong {
    pub(crate) found: String,
    pub(crate) expected: String,
}

/// All parameters of the plugin, those given and the defaults of the others, in its order.
pub(crate) fn complete(
    plugin: &str,
    description: &Description,
    given: &Parameters,
) -> Result<Vec<abi::Parameter>, PluginError> {
    let error = |what, hint| PluginError::Parameter { plugin: plugin.to_owned(), what, hint };
    let names = || description.parameters.iter().map(|parameter| parameter.name.as_str());
    for name in given.keys() {
        if description.parameter(name).is_none() {
            let hint = match nearest_name(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if description.parameters.is_empty() => "it has no parameters".to_owned(),
                None => format!("it has {}", quoted_list(names())),
            };
            return Err(error(format!("has no parameter `{}`", bounded(name)), Some(hint)));
        }
    }
    let mut complete = Vec::with_capacity(description.parameters.len());
    for parameter in &description.parameters {
        let name = &parameter.name;
        let hint = || (!parameter.help.is_empty()).then(|| format!("{name}: {}", parameter.help));
        let value = given.get(name).or(parameter.default.as_ref());
        let Some(value) = value else {
            let what = format!("needs parameter `{name}`, {}", parameter.value_type.with_article());
            return Err(error(what, hint()));
        };
        let value = checked(parameter, value).map_err(|Wrong { found, expected }| {
            error(format!("`{name}` is {found}, expected {expected}"), hint())
        })?;
        complete.push(abi::Parameter { name: name.clone(), value });
    }
    Ok(complete)
}

/// The value as the plugin gets it: of its type, in its range, one of its choices.
pub(crate) fn checked(
    parameter: &ParameterType,
    value: &ParameterValue,
) -> Result<abi::Value, Wrong> {
    let value = typed(parameter.value_type, value).ok_or_else(|| Wrong {
        found: shown(value),
        expected: parameter.value_type.with_article(),
    })?;
    let number = |number: f64| in_range(parameter, number);
    let text = |text: &String| one_of(parameter, text);
    match &value {
        abi::Value::Integer(integer) => number(*integer as f64)?,
        abi::Value::Number(found) => number(*found)?,
        abi::Value::Integers(found) => found.iter().try_for_each(|each| number(*each as f64))?,
        abi::Value::Numbers(found) => found.iter().try_for_each(|each| number(*each))?,
        abi::Value::Text(found) => text(found)?,
        abi::Value::Texts(found) => found.iter().try_for_each(text)?,
        abi::Value::Boolean(_) | abi::Value::Booleans(_) => {}
    }
    Ok(value)
}

/// The value in the wanted type: a whole number will do for a number, an empty list for any list.
fn typed(wanted: ValueType, value: &ParameterValue) -> Option<abi::Value> {
    use ParameterValue as Given;
    Some(match (wanted, value) {
        (ValueType::Boolean, Given::Boolean(value)) => abi::Value::Boolean(*value),
        (ValueType::Integer, Given::Integer(value)) => abi::Value::Integer(*value),
        (ValueType::Number, Given::Number(value)) => abi::Value::Number(*value),
        (ValueType::Number, Given::Integer(value)) => abi::Value::Number(*value as f64),
        (ValueType::Text, Given::Text(value)) => abi::Value::Text(value.clone()),
        (ValueType::Booleans, Given::Booleans(value)) => abi::Value::Booleans(value.clone()),
        (ValueType::Integers, Given::Integers(value)) => abi::Value::Integers(value.clone()),
        (ValueType::Numbers, Given::Numbers(value)) => abi::Value::Numbers(value.clone()),
        (ValueType::Numbers, Given::Integers(value)) => {
            abi::Value::Numbers(value.iter().map(|each| *each as f64).collect())
        }
        (ValueType::Texts, Given::Texts(value)) => abi::Value::Texts(value.clone()),
        (wanted, value) if is_empty_list(value) => match wanted {
            ValueType::Booleans => abi::Value::Booleans(Vec::new()),
            ValueType::Integers => abi::Value::Integers(Vec::new()),
            ValueType::Numbers => abi::Value::Numbers(Vec::new()),
            ValueType::Texts => abi::Value::Texts(Vec::new()),
            _ => return None,
        },
        _ => return None,
    })
}

fn is_empty_list(value: &ParameterValue) -> bool {
    match value {
        ParameterValue::Booleans(list) => list.is_empty(),
        ParameterValue::Integers(list) => list.is_empty(),
        ParameterValue::Numbers(list) => list.is_empty(),
        ParameterValue::Texts(list) => list.is_empty(),
        _ => false,
    }
}

fn in_range(parameter: &ParameterType, found: f64) -> Result<(), Wrong> {
    let (min, max) = (parameter.min, parameter.max);
    let inside = min.is_none_or(|min| found >= min) && max.is_none_or(|max| found <= max);
    if inside && found.is_finite() {
        return Ok(());
    }
    let unit = match parameter.unit.as_str() {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    let expected = match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("at least {min}{unit}"),
        (None, Some(max)) => format!("at most {max}{unit}"),
        (None, None) => "a finite number".to_owned(),
    };
    Err(Wrong { found: found.to_string(), expected })
}

fn one_of(parameter: &ParameterType, found: &String) -> Result<(), Wrong> {
    if parameter.choices.is_empty() || parameter.choices.contains(found) {
        return Ok(());
    }
    let choices = quoted_list(parameter.choices.iter().map(String::as_str));
    Err(Wrong { found: format!("`{}`", bounded(found)), expected: format!("one of {choices}") })
}

/// `"last"`, `[1, 2]`: a value in a message.
pub(crate) fn shown(value: &ParameterValue) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

pub(crate) fn value_type(said: abi::ValueType) -> ValueType {
    match said {
        abi::ValueType::Boolean => ValueType::Boolean,
        abi::ValueType::Integer => ValueType::Integer,
        abi::ValueType::Number => ValueType::Number,
        abi::ValueType::Text => ValueType::Text,
        abi::ValueType::Booleans => ValueType::Booleans,
        abi::ValueType::Integers => ValueType::Integers,
        abi::ValueType::Numbers => ValueType::Numbers,
        abi::ValueType::Texts => ValueType::Texts,
    }
}

pub(crate) fn from_abi(value: abi::Value) -> ParameterValue {
    match value {
        abi::Value::Boolean(value) => ParameterValue::Boolean(value),
        abi::Value::Integer(value) => ParameterValue::Integer(value),
        abi::Value::Number(value) => ParameterValue::Number(value),
        abi::Value::Text(value) => ParameterValue::Text(value),
        abi::Value::Booleans(value) => ParameterValue::Booleans(value),
        abi::Value::Integers(value) => ParameterValue::Integers(value),
        abi::Value::Numbers(value) => ParameterValue::Numbers(value),
        abi::Value::Texts(value) => ParameterValue::Texts(value),
    }
}
