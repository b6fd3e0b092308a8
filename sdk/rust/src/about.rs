//! What a plugin says about itself.

use crate::wit::about::exports::rectool::plugin::about::{Description, ParameterType, ValueType};
use crate::wit::types::Value;

/// A plugin's name, version, purpose and parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) parameters: Vec<Parameter>,
}

impl About {
    /// A plugin without parameters. The name is in lower case, its words joined by `-`; the summary
    /// is one line.
    pub fn new(name: &'static str, version: &'static str, summary: &'static str) -> Self {
        Self { name, version, summary, parameters: Vec::new() }
    }

    /// Adds a parameter.
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    pub(crate) fn description(self) -> Description {
        Description {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            summary: self.summary.to_owned(),
            parameters: self.parameters.into_iter().map(|parameter| parameter.declared).collect(),
        }
    }
}

/// A parameter that a recipe may set, or must if it has no default. The host checks what a recipe
/// says against it, so that a plugin only checks what spans several parameters.
///
/// ```
/// use rectool_plugin_sdk::Parameter;
/// let gamma = Parameter::number("gamma").default(2.0).min(0.0).help("focus on hard rows");
/// let window = Parameter::integer("window").min(1.0).unit("rows").help("how far back items count");
/// let keep = Parameter::text("keep").default("last").choices(&["first", "last"]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub(crate) declared: ParameterType,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $function:ident: $kind:ident;)*) => {
        $($(#[$doc])*
        pub fn $function(name: &str) -> Self {
            Self::of(name, ValueType::$kind)
        })*
    };
}

impl Parameter {
    kinds! {
        /// `true` or `false`.
        boolean: Boolean;
        /// A whole number.
        integer: Integer;
        /// A number.
        number: Number;
        /// A text.
        text: Text;
        /// A list of `true` and `false`.
        booleans: Booleans;
        /// A list of whole numbers.
        integers: Integers;
        /// A list of numbers.
        numbers: Numbers;
        /// A list of texts.
        texts: Texts;
    }

    fn of(name: &str, value_type: ValueType) -> Self {
        let declared = ParameterType {
            name: name.to_owned(),
            value_type,
            default: None,
            min: None,
            max: None,
            choices: Vec::new(),
            unit: String::new(),
            help: String::new(),
        };
        Self { declared }
    }

    /// What is taken where the recipe says nothing; without one the parameter must be given.
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.declared.default = Some(value.into());
        self
    }

    /// Least value, or least member of a list.
    pub fn min(mut self, min: f64) -> Self {
        self.declared.min = Some(min);
        self
    }

    /// Greatest value, or greatest member of a list.
    pub fn max(mut self, max: f64) -> Self {
        self.declared.max = Some(max);
        self
    }

    /// What a text, or each text of a list, may be.
    pub fn choices(mut self, choices: &[&str]) -> Self {
        self.declared.choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        self
    }

    /// `rows`, `buckets`, `seconds`.
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.declared.unit);
        self
    }

    /// What it does, in one line.
    pub fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.declared.help);
        self
    }
}

macro_rules! values {
    ($($from:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $made
            }
        })*
    };
}

values! {
    bool => |value| Value::Boolean(value);
    i64 => |value| Value::Integer(value);
    f64 => |value| Value::Number(value);
    &str => |value| Value::Text(value.to_owned());
    &[bool] => |value| Value::Booleans(value.to_vec());
    &[i64] => |value| Value::Integers(value.to_vec());
    &[f64] => |value| Value::Numbers(value.to_vec());
    &[&str] => |value| Value::Texts(value.iter().map(|text| (*text).to_owned()).collect());
    Vec<i64> => |value| Value::Integers(value);
    Vec<f64> => |value| Value::Numbers(value);
    Vec<String> => |value| Value::Texts(value);
}
