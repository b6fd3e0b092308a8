//! Filters as queries give them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::attributes::ItemAttributes;
use super::parse;
use crate::error::AnnError;

/// What a vector must be like to be found: every rule must hold.
///
/// As text, rules are joined by `,`: `color=red|blue` (one of these tokens), `color!=green` (none of
/// these), `price<20`, `price>=5`, `year=2024`. A name with a token beside `=` is a namespace, one
/// with a number a number; quotes make a token of anything: `color="12"`. The same in words:
/// `color in ["red", "blue"] and color not in [green] and price < 20`.
///
/// ```
/// use rectool_ann::Filter;
/// let filter: Filter = "color=red|blue, price<20".parse()?;
/// assert_eq!((filter.tokens.len(), filter.numbers.len()), (1, 1));
/// # Ok::<(), rectool_ann::AnnError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Rules about tokens.
    pub tokens: Vec<TokenRule>,
    /// Rules about numbers.
    pub numbers: Vec<NumberRule>,
}

/// A rule about the tokens that a vector has in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRule {
    /// The namespace.
    pub namespace: String,
    /// The vector must have one of these, if there are any.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The vector must have none of these.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// A rule about a number of a vector. A vector without it satisfies none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRule {
    /// The number's name.
    pub name: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// What it is compared with.
    pub value: f64,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// =
    #[serde(rename = "=")]
    Equal,
    /// ≠
    #[serde(rename = "!=")]
    NotEqual,
    /// <
    #[serde(rename = "<")]
    Less,
    /// ≤
    #[serde(rename = "<=")]
    LessEqual,
    /// >
    #[serde(rename = ">")]
    Greater,
    /// ≥
    #[serde(rename = ">=")]
    GreaterEqual,
}

impl Comparison {
    /// Whether `number` compares so with `value`; NaN never does.
    pub fn holds(self, number: f64, value: f64) -> bool {
        match self {
            Self::Equal => number == value,
            Self::NotEqual => !number.is_nan() && !value.is_nan() && number != value,
            Self::Less => number < value,
            Self::LessEqual => number <= value,
            Self::Greater => number > value,
            Self::GreaterEqual => number >= value,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

impl Filter {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.numbers.is_empty()
    }

    /// Whether a vector with these attributes satisfies every rule.
    pub fn matches(&self, attributes: &ItemAttributes) -> bool {
        let has = |namespace: &str, tokens: &[String]| {
            attributes.tokens(namespace).any(|own| tokens.iter().any(|token| token == own))
        };
        self.tokens.iter().all(|rule| {
            (rule.allow.is_empty() || has(&rule.namespace, &rule.allow))
                && !has(&rule.namespace, &rule.deny)
        }) && self.numbers.iter().all(|rule| {
            let own = attributes.number(&rule.name).unwrap_or(f64::NAN);
            rule.comparison.holds(own, rule.value)
        })
    }
}

impl FromStr for Filter {
    type Err = AnnError;

    fn from_str(text: &str) -> Result<Self, AnnError> {
        parse::filter(text)
    }
}

/// The text from which the same filter is read.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let quoted = |tokens: &[String]| {
            let tokens: Vec<String> =
                tokens.iter().map(|token| serde_json::json!(token).to_string()).collect();
            tokens.join("|")
        };
        for TokenRule { namespace, allow, deny } in &self.tokens {
            for (sign, tokens) in [("=", allow), ("!=", deny)] {
                if !tokens.is_empty() {
                    write!(f, "{comma}{namespace}{sign}{}", quoted(tokens))?;
                    comma = ", ";
                }
            }
        }
        for NumberRule { name, comparison, value } in &self.numbers {
            write!(f, "{comma}{name}{}{value}", comparison.sign())?;
            comma = ", ";
        }
        Ok(())
    }
}
