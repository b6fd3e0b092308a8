//! Script values as JSON and back, and what they are called in messages.

use rhai::{Array, Dynamic, Map};
use serde_json::{Number, Value};

/// The JSON of a plain script value, or `None` for a noun such as a dataset, or for a float that
/// JSON does not know (NaN, infinity).
pub(crate) fn to_json(value: &Dynamic) -> Option<Value> {
    if value.is_unit() {
        return Some(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Some(Value::Bool(flag));
    }
    if let Ok(number) = value.as_int() {
        return Some(Value::from(number));
    }
    if let Ok(number) = value.as_float() {
        return Number::from_f64(number).map(Value::Number);
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Some(Value::from(text.as_str()));
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(to_json).collect::<Option<Vec<_>>>().map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        let entries = map.iter().map(|(key, value)| Some((key.to_string(), to_json(value)?)));
        return entries.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object);
    }
    None
}

/// The script value of some JSON.
pub(crate) fn from_json(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => Dynamic::from(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Dynamic::from(whole),
            None => Dynamic::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Dynamic::from(text.clone()),
        Value::Array(items) => items.iter().map(from_json).collect::<Array>().into(),
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.into(), from_json(value)));
            entries.collect::<Map>().into()
        }
    }
}

/// What a user calls the type of `value`: `int`, `float`, `string`, `array`, `map`, `dataset`.
pub(crate) fn type_word(value: &Dynamic) -> String {
    rhai_type_word(value.type_name())
}

/// The same for a type name as the engine prints it.
pub(crate) fn rhai_type_word(name: &str) -> String {
    match name.rsplit("::").next().unwrap_or(name) {
        "i64" => "int".to_owned(),
        "f64" => "float".to_owned(),
        "()" => "nothing".to_owned(),
        "ImmutableString" | "&str" | "String" => "string".to_owned(),
        "Map" => "map".to_owned(),
        "Vec<rhai::Dynamic>" | "Array" | "Dynamic>" => "array".to_owned(),
        other => other.to_lowercase(),
    }
}

/// A value for messages: its type and, if it is short, the value itself.
pub(crate) fn described(value: &Dynamic) -> String {
    let word = type_word(value);
    match to_json(value).map(|json| json.to_string()) {
        Some(text) if text.len() <= 40 && !value.is_unit() => format!("{word} {text}"),
        _ => word,
    }
}
