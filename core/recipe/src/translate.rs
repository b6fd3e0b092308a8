//! The engine's errors in our words, with file, line, column and a hint.

use rhai::{EvalAltResult, LexError, ParseError, ParseErrorType, Position};

use crate::call::{Carried, place_at};
use crate::engine::{FORBIDDEN, Names};
use crate::error::{RecipeError, did_you_mean};
use crate::functions::SIGNATURES;
use crate::values::rhai_type_word;

/// Turns errors of one script into [`RecipeError`]s.
#[derive(Debug)]
pub(crate) struct Translator {
    file: String,
    names: Names,
}

/// Message and hint.
type Words = (String, Option<String>);

impl Translator {
    pub(crate) fn new(file: &str) -> Self {
        Self::with_names(file, Names::default())
    }

    pub(crate) fn with_names(file: &str, names: Names) -> Self {
        Self { file: file.to_owned(), names }
    }

    /// A script that is not valid text.
    pub(crate) fn parse_error(&self, error: &ParseError) -> RecipeError {
        let (message, hint) = self.parse_words(error.err_type());
        RecipeError::script(place_at(&self.file, error.position()), message, hint)
    }

    /// An error of a running script.
    pub(crate) fn error(&self, error: EvalAltResult) -> RecipeError {
        self.error_in(&self.file, error)
    }

    fn error_in(&self, file: &str, error: EvalAltResult) -> RecipeError {
        let position = error.position();
        match error {
            EvalAltResult::ErrorInFunctionCall(_, source, inner, _) => {
                self.error_in(if source.is_empty() { file } else { &source }, *inner)
            }
            EvalAltResult::ErrorInModule(module, inner, _) => {
                self.error_in(if module.is_empty() { file } else { &module }, *inner)
            }
            EvalAltResult::ErrorRuntime(value, _) => {
                if let Some(carried) = value.read_lock::<Carried>().and_then(|it| it.take()) {
                    return carried;
                }
                RecipeError::script(place_at(file, position), value.to_string(), None)
            }
            other => {
                let (message, hint) = self.words(other);
                RecipeError::script(place_at(file, position), message, hint)
            }
        }
    }

    fn words(&self, mut error: EvalAltResult) -> Words {
        match &error {
            EvalAltResult::ErrorParsing(kind, _) => self.parse_words(kind),
            EvalAltResult::ErrorFunctionNotFound(signature, _) => self.function_words(signature),
            EvalAltResult::ErrorVariableNotFound(name, _) => self.variable_words(name),
            EvalAltResult::ErrorPropertyNotFound(name, _) => {
                (format!("there is no property '{name}'"), None)
            }
            EvalAltResult::ErrorTooManyOperations(_) => (
                "the script runs for too long (more than 50 million operations)".to_owned(),
                Some("recipes describe a job; work per sample belongs into the chain".to_owned()),
            ),
            EvalAltResult::ErrorStackOverflow(_) => {
                ("calls between script functions are nested too deeply".to_owned(), None)
            }
            EvalAltResult::ErrorMismatchDataType(expected, found, _)
            | EvalAltResult::ErrorMismatchOutputType(expected, found, _) => {
                let (expected, found) = (rhai_type_word(expected), rhai_type_word(found));
                (format!("expected {expected}, found {found}"), None)
            }
            _ => {
                error.set_position(Position::NONE);
                (lower_first(&error.to_string()), None)
            }
        }
    }

    fn parse_words(&self, kind: &ParseErrorType) -> Words {
        match kind {
            ParseErrorType::VariableUndefined(name) => self.variable_words(name),
            ParseErrorType::Reserved(word)
            | ParseErrorType::BadInput(LexError::ImproperSymbol(word, _))
                if FORBIDDEN.contains(&word.as_str()) =>
            {
                let spread = "an error caught on one rank alone would leave the others waiting";
                let hint = (word == "try").then(|| spread.to_owned());
                (format!("recipes have no '{word}'"), hint)
            }
            other => (lower_first(&other.to_string()), None),
        }
    }

    fn variable_words(&self, name: &str) -> Words {
        let known = self.names.variables.iter().map(String::as_str);
        let hint = did_you_mean(name, known);
        (format!("there is no variable '{name}'"), hint)
    }

    /// `signature` is the engine's: `adagad (map)` or `shared::net (i64, &str | String)`.
    fn function_words(&self, signature: &str) -> Words {
        let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
        let types = types.trim_end_matches(')');
        if let Some((_, expected)) = SIGNATURES.iter().find(|(known, _)| *known == name) {
            let types: Vec<String> = types.split(", ").map(type_of).collect();
            let message = format!("{name} does not take ({})", types.join(", "));
            return (message, Some(format!("write {expected}")));
        }
        if self.names.functions.iter().any(|known| known == name) {
            return (format!("{name} takes another number of arguments"), None);
        }
        let own = self.names.functions.iter().map(String::as_str);
        let hint = did_you_mean(name, SIGNATURES.iter().map(|(known, _)| *known).chain(own));
        (format!("there is no function '{name}'"), hint)
    }
}

fn type_of(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        rhai_type_word(name.split(" | ").next().unwrap_or(name))
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
