//! `plugin("name", #{…})` and `apply(columns, plugin)`.

use rectool_base::{ParameterValue, PluginCall};
use rectool_data::{ChainOp, ChainStep};
use rectool_plugin::{Parameters, PluginError};
use rhai::{Array, Dynamic, Map};

use crate::call::Call;
use crate::error::{Cause, RecipeError};
use crate::session::Session;
use crate::values::described;

/// A plugin with its parameters, as scripts hold it.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) call: PluginCall,
    pub(crate) kind: &'static str,
}

impl Plugin {
    /// Finds the plugin and checks the parameters.
    pub(crate) fn find(
        session: &Session,
        call: &Call,
        name: &str,
        parameters: &Map,
    ) -> Result<Self, RecipeError> {
        let mut values = Parameters::new();
        for (key, value) in parameters {
            let Some(value) = parameter(value) else {
                let expected = "a number, a string, true, false or an array of one of these";
                let found = described(value);
                let message = format!("{name}: '{key}' expects {expected}, found {found}");
                return Err(RecipeError::script(call.place_of_keys(&[key]), message, None));
            };
            values.insert(key.to_string(), value);
        }
        let found = session.library().find(name, &values);
        let found = found.map_err(|error| refused(call, &values, error))?;
        session.add_plugin(&found);
        Ok(Self { call: found.call, kind: found.kind })
    }

    /// The call, if the plugin is of `kind`; what it is, if not.
    pub(crate) fn of_kind(&self, kind: &str) -> Result<PluginCall, String> {
        if self.kind == kind {
            return Ok(self.call.clone());
        }
        Err(format!("expects a plugin that is a {kind}; '{}' is a {}", self.call.name, self.kind))
    }
}

/// The error at the parameter that it is about, or at the call.
fn refused(call: &Call, given: &Parameters, error: PluginError) -> RecipeError {
    let mut place = call.place.clone();
    if let PluginError::Parameter { what, .. } = &error
        && let Some(wrong) = given.keys().find(|key| what.contains(&format!("`{key}`")))
    {
        place = call.place_of_keys(&[wrong]);
    }
    let cause = match error {
        PluginError::Fault(fault) => Cause::new(fault),
        error => Cause::new(error),
    };
    RecipeError::Refused { place, cause }
}

/// A step of a feature chain: `plugin` on one column or several.
pub(crate) fn apply(
    call: &Call,
    columns: &Dynamic,
    plugin: &Plugin,
) -> Result<ChainStep, RecipeError> {
    let text = |value: &Dynamic| value.clone().into_string().ok();
    let inputs = match (text(columns), columns.as_array_ref()) {
        (Some(column), _) => Some(vec![column]),
        (None, Ok(columns)) => columns.iter().map(text).collect(),
        (None, Err(_)) => None,
    };
    let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty()) else {
        let found = described(columns);
        let message = format!("apply expects a column or an array of columns, found {found}");
        let hint = "write apply([\"C1\", \"C2\"], plugin(\"hash-cross\"))".to_owned();
        return Err(call.error(message, Some(hint)));
    };
    let called = plugin.of_kind("transform");
    let called = called.map_err(|what| call.error(format!("apply {what}"), None))?;
    Ok(ChainStep { inputs, op: ChainOp::Plugin(called) })
}

/// A script value as a parameter. An array holds values of one type; whole numbers beside others
/// count as numbers.
fn parameter(value: &Dynamic) -> Option<ParameterValue> {
    if let Ok(flag) = value.as_bool() {
        return Some(ParameterValue::Boolean(flag));
    }
    if let Ok(whole) = value.as_int() {
        return Some(ParameterValue::Integer(whole));
    }
    if let Ok(number) = value.as_float() {
        return Some(ParameterValue::Number(number));
    }
    if let Ok(text) = value.clone().into_string() {
        return Some(ParameterValue::Text(text));
    }
    let items: Array = value.clone().try_cast()?;
    let number = |item: &Dynamic| {
        item.as_float().ok().or_else(|| item.as_int().ok().map(|whole| whole as f64))
    };
    let whole = all(&items, |item| item.as_int().ok()).map(ParameterValue::Integers);
    whole
        .or_else(|| all(&items, number).map(ParameterValue::Numbers))
        .or_else(|| all(&items, |item| item.as_bool().ok()).map(ParameterValue::Booleans))
        .or_else(|| all(&items, |item| item.clone().into_string().ok()).map(ParameterValue::Texts))
}

fn all<T>(items: &Array, read: impl Fn(&Dynamic) -> Option<T>) -> Option<Vec<T>> {
    items.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_values_become_parameters() {
        let read = |script: &str| parameter(&rhai::Engine::new().eval(script).unwrap());
        for (script, value) in [
            ("true", ParameterValue::Boolean(true)),
            ("3", ParameterValue::Integer(3)),
            ("0.5", ParameterValue::Number(0.5)),
            ("\"a\"", ParameterValue::Text("a".into())),
            ("[]", ParameterValue::Integers(vec![])),
            ("[1, 2]", ParameterValue::Integers(vec![1, 2])),
            ("[1, 2.5]", ParameterValue::Numbers(vec![1.0, 2.5])),
            ("[true]", ParameterValue::Booleans(vec![true])),
            ("[\"a\", \"b\"]", ParameterValue::Texts(vec!["a".into(), "b".into()])),
        ] {
            assert_eq!(read(script), Some(value), "{script}");
        }
        for script in ["#{a: 1}", "[1, \"a\"]", "[[1]]", "()"] {
            assert_eq!(read(script), None, "{script}");
        }
    }
}
