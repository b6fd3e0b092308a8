//! Where in a script a native function was called, and passing errors through the engine.

use std::sync::{Arc, Mutex};

use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};

use crate::error::{Place, RecipeError};
use crate::session::Session;

/// One call of a native function.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The function.
    pub(crate) function: String,
    /// Where it was called.
    pub(crate) place: Place,
    /// The text of the script it was called from.
    text: Arc<str>,
}

impl Call {
    pub(crate) fn new(session: &Session, context: &NativeCallContext<'_>) -> Self {
        let source = context.call_source().unwrap_or(&session.recipe).to_owned();
        let text = session.text_of(&source);
        let place = place_at(&source, context.call_position());
        Self { function: context.fn_name().to_owned(), place, text }
    }

    /// An error at this call.
    pub(crate) fn error(&self, message: impl Into<String>, hint: Option<String>) -> RecipeError {
        RecipeError::script(self.place.clone(), message, hint)
    }

    /// Where the keys, each within the value of the one before, stand in an option map that is
    /// written into the call; the place of the call if they are not there.
    pub(crate) fn place_of_keys(&self, keys: &[&str]) -> Place {
        let found = keys_at(&self.text, (self.place.line, self.place.column), keys);
        let (line, column) = found.unwrap_or((self.place.line, self.place.column));
        Place { file: self.place.file.clone(), line, column }
    }
}

/// A position of the engine as a place.
pub(crate) fn place_at(file: &str, position: Position) -> Place {
    let (line, column) = (position.line().unwrap_or(0), position.position().unwrap_or(0));
    Place { file: file.to_owned(), line, column }
}

/// An error on its way through the engine.
#[derive(Clone)]
pub(crate) struct Carried(Arc<Mutex<Option<RecipeError>>>);

impl Carried {
    /// The error; `None` the second time.
    pub(crate) fn take(&self) -> Option<RecipeError> {
        self.0.lock().expect("nothing panics while holding it").take()
    }
}

/// Wraps an error so that the engine ends the script with it.
#[expect(clippy::unnecessary_box_returns, reason = "the engine takes boxed errors")]
pub(crate) fn raise(error: RecipeError) -> Box<EvalAltResult> {
    let carried = Carried(Arc::new(Mutex::new(Some(error))));
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(carried), Position::NONE))
}

/// Line and column of the last of `keys` within the call that starts at `start`.
fn keys_at(text: &str, start: (usize, usize), keys: &[&str]) -> Option<(usize, usize)> {
    let mut scan = Scan { rest: text, line: 1, column: 1 };
    while (scan.line, scan.column) < start {
        scan.step()?;
    }
    let (mut depth, mut remaining) = (0_usize, keys.iter());
    let mut wanted = remaining.next()?;
    loop {
        let at = (scan.line, scan.column);
        let token = scan.token()?;
        match token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return None,
            ")" | "]" | "}" => depth -= 1,
            _ if depth > 0 && token.trim_matches('"') == *wanted && scan.colon_follows() => {
                let Some(next) = remaining.next() else { return Some(at) };
                wanted = next;
            }
            _ => {}
        }
    }
}

/// A reader of script text that knows words, strings and comments; enough to find option keys.
struct Scan<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl<'a> Scan<'a> {
    fn step(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        if next == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(next)
    }

    /// The next word, string with its quotes, or single character; spaces and comments are one
    /// character or one token each and match no key.
    fn token(&mut self) -> Option<&'a str> {
        let before = self.rest;
        let first = self.step()?;
        if first == '"' {
            while let Some(next) = self.step() {
                match next {
                    '"' => break,
                    '\\' => drop(self.step()),
                    _ => {}
                }
            }
        } else if first == '/' && self.rest.starts_with('/') {
            while !self.rest.is_empty() && !self.rest.starts_with('\n') {
                self.step();
            }
        } else if first == '/' && self.rest.starts_with('*') {
            while !self.rest.is_empty() && !self.rest.starts_with("*/") {
                self.step();
            }
        } else if is_word(first) {
            while self.rest.starts_with(is_word) {
                self.step();
            }
        }
        Some(&before[..before.len() - self.rest.len()])
    }

    fn colon_follows(&self) -> bool {
        let rest = self.rest.trim_start();
        rest.starts_with(':') && !rest.starts_with("::")
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::keys_at;

    #[test]
    fn keys_are_found_within_the_call_only() {
        let text = "let rate = 1; // rate: 2\nlet o = f(#{a: \"rate: \\\" (\", /* rate: */\n  \
                    t: #{ rate: 3 }, \"rate\": rate});\ng(#{late: 1})";
        assert_eq!(keys_at(text, (2, 9), &["t", "rate"]), Some((3, 9)));
        assert_eq!(keys_at(text, (2, 9), &["a"]), Some((2, 13)));
        assert_eq!(keys_at(text, (2, 9), &["late"]), None);
        assert_eq!(keys_at(text, (4, 1), &["late"]), Some((4, 5)));
        assert_eq!(keys_at(text, (9, 9), &["a"]), None);
    }
}
