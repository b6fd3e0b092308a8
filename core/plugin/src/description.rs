//! What a plugin says about itself, checked.

use rectool_base::ParameterValue;
use serde::Serialize;

use crate::abi;
use crate::error::PluginError;
use crate::fault::bounded;
use crate::limits::{CHOICES_MAX, NAME_CHARS_MAX, PARAMETERS_MAX, TEXT_CHARS_MAX};
use crate::name::is_words;
use crate::parameters;

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number; a whole one will do.
    Number,
    /// A text.
    Text,
    /// A list of `true` and `false`.
    Booleans,
    /// A list of whole numbers.
    Integers,
    /// A list of numbers.
    Numbers,
    /// A list of texts.
    Texts,
}

impl ValueType {
    /// `integer`, `list of numbers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "text",
            Self::Booleans => "list of booleans",
            Self::Integers => "list of integers",
            Self::Numbers => "list of numbers",
            Self::Texts => "list of texts",
        }
    }
}

impl ValueType {
    /// `an integer`, `a list of numbers`.
    pub(crate) fn with_article(self) -> String {
        let article = if self == Self::Integer { "an" } else { "a" };
        format!("{article} {}", self.name())
    }
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A parameter of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterType {
    /// Lower case, words joined by `_`.
    pub name: String,
    /// The type of its value.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Taken where a recipe says nothing; without one the parameter must be given.
    pub default: Option<ParameterValue>,
    /// Least value, also of each member of a list.
    pub min: Option<f64>,
    /// Greatest value, also of each member of a list.
    pub max: Option<f64>,
    /// What a text may be; empty: anything.
    pub choices: Vec<String>,
    /// `rows`, `seconds`; empty where there is none.
    pub unit: String,
    /// What it does.
    pub help: String,
}

/// A plugin's name, version and parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Lower case, words joined by `-`.
    pub name: String,
    /// `1.0.0`.
    pub version: String,
    /// What it does, in one line.
    pub summary: String,
    /// Its parameters, in its own order.
    pub parameters: Vec<ParameterType>,
}

impl Description {
    /// The parameter called `name`.
    pub fn parameter(&self, name: &str) -> Option<&ParameterType> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Checks what a plugin said; `file` names it in messages.
    pub(crate) fn checked(file: &str, said: abi::Description) -> Result<Self, PluginError> {
        let check = Check { file };
        check.name("its name", &said.name, '-')?;
        check.version(&said.version)?;
        check.count("the number of parameters", said.parameters.len(), PARAMETERS_MAX)?;
        let mut parameters: Vec<ParameterType> = Vec::new();
        for parameter in said.parameters {
            let parameter = check.parameter(parameter)?;
            if parameters.iter().any(|other| other.name == parameter.name) {
                let what = format!("parameter `{}`", parameter.name);
                return Err(check.error(what, "there twice", "once"));
            }
            parameters.push(parameter);
        }
        let summary = check.text("its summary", &said.summary)?;
        Ok(Self { name: said.name, version: said.version, summary, parameters })
    }
}

struct Check<'a> {
    file: &'a str,
}

impl Check<'_> {
    fn error(&self, what: String, found: &str, expected: &str) -> PluginError {
        PluginError::Description {
            name: self.file.to_owned(),
            what,
            found: bounded(found),
            expected: expected.to_owned(),
        }
    }

    /// Lower-case words, joined by `joint`.
    fn name(&self, what: &str, name: &str, joint: char) -> Result<(), PluginError> {
        if is_words(name, joint) {
            return Ok(());
        }
        let expected = format!(
            "1 to {NAME_CHARS_MAX} characters: lower-case words and digits joined by `{joint}`"
        );
        Err(self.error(what.to_owned(), &format!("`{name}`"), &expected))
    }

    fn version(&self, version: &str) -> Result<(), PluginError> {
        let core = version.split(['-', '+']).next().unwrap_or_default();
        let number = |part: &str| part.len() <= 9 && part.parse::<u32>().is_ok();
        let plain =
            version.chars().all(|each| each.is_ascii_alphanumeric() || "-+.".contains(each));
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() == 3 && plain && version.len() <= 64 && parts.into_iter().all(number) {
            return Ok(());
        }
        let expected = "three numbers, such as `1.0.0`";
        Err(self.error("its version".to_owned(), &format!("`{version}`"), expected))
    }

    fn count(&self, what: &str, found: usize, max: usize) -> Result<(), PluginError> {
        if found > max {
            let expected = format!("at most {max}");
            return Err(self.error(what.to_owned(), &found.to_string(), &expected));
        }
        Ok(())
    }

    fn text(&self, what: &str, text: &str) -> Result<String, PluginError> {
        self.count(&format!("the length of {what}"), text.chars().count(), TEXT_CHARS_MAX)?;
        Ok(bounded(text))
    }

    fn parameter(&self, said: abi::ParameterType) -> Result<ParameterType, PluginError> {
        self.name("a parameter's name", &said.name, '_')?;
        let name = said.name;
        let of = |what: &str| format!("{what} of parameter `{name}`");
        self.count(&of("the number of choices"), said.choices.len(), CHOICES_MAX)?;
        for choice in &said.choices {
            self.count(&of("the length of a choice"), choice.chars().count(), TEXT_CHARS_MAX)?;
        }
        for (what, bound) in [("the minimum", said.min), ("the maximum", said.max)] {
            if bound.is_some_and(f64::is_nan) {
                return Err(self.error(of(what), "NaN", "a number"));
            }
        }
        if let (Some(min), Some(max)) = (said.min, said.max)
            && min > max
        {
            let expected = format!("at most the maximum {max}");
            return Err(self.error(of("the minimum"), &min.to_string(), &expected));
        }
        let unit = self.text(&of("the unit"), &said.unit)?;
        let help = self.text(&of("the help"), &said.help)?;
        let parameter = ParameterType {
            value_type: parameters::value_type(said.value_type),
            default: said.default.map(parameters::from_abi),
            min: said.min,
            max: said.max,
            choices: said.choices,
            unit,
            help,
            name: name.clone(),
        };
        if let Some(default) = &parameter.default {
            parameters::checked(&parameter, default)
                .map_err(|wrong| self.error(of("the default"), &wrong.found, &wrong.expected))?;
        }
        Ok(parameter)
    }
}
