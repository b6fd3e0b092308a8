//! Filters from text.

use super::expression::{Comparison, Filter, NumberRule, TokenRule};
use crate::error::AnnError;

/// Signs, those first whose beginning is another.
static SIGNS: [(&str, Comparison); 7] = [
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessEqual),
    (">=", Comparison::GreaterEqual),
    ("==", Comparison::Equal),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// One side of a comparison.
enum Operand {
    Number(f64),
    Token(String),
}

/// Reads a filter.
pub(super) fn filter(text: &str) -> Result<Filter, AnnError> {
    let mut parser = Parser { text, at: 0 };
    let mut filter = Filter::default();
    parser.skip_space();
    while !parser.rest().is_empty() {
        parser.rule(&mut filter)?;
        parser.skip_space();
        if !parser.rest().is_empty() && !parser.take(",") && !parser.take_word("and") {
            return Err(parser.fault("expected `,` or `and` between rules"));
        }
        parser.skip_space();
    }
    Ok(filter)
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    /// Takes a word that ends there.
    fn take_word(&mut self, word: &str) -> bool {
        let after = self.rest().strip_prefix(word);
        let ends = |letter: char| letter.is_whitespace() || letter == '[';
        let found = after.is_some_and(|after| after.starts_with(ends));
        found && self.take(word)
    }

    fn fault(&self, what: impl Into<String>) -> AnnError {
        let at = self.text[..self.at].chars().count() + 1;
        AnnError::Filter { text: self.text.to_owned(), at, what: what.into() }
    }

    fn rule(&mut self, filter: &mut Filter) -> Result<(), AnnError> {
        let name = self.word()?;
        self.skip_space();
        if self.take_word("in") {
            let allow = self.tokens()?;
            filter.tokens.push(TokenRule { namespace: name, allow, deny: Vec::new() });
            return Ok(());
        }
        if self.take_word("not") {
            self.skip_space();
            if !self.take_word("in") {
                return Err(self.fault("expected `in` after `not`"));
            }
            let deny = self.tokens()?;
            filter.tokens.push(TokenRule { namespace: name, allow: Vec::new(), deny });
            return Ok(());
        }
        let Some((_, comparison)) = SIGNS.iter().find(|(sign, _)| self.take(sign)) else {
            return Err(self.fault("expected one of `=` `!=` `<` `<=` `>` `>=` `in` `not in`"));
        };
        self.skip_space();
        let start = self.at;
        let mut operands = vec![self.operand()?];
        self.skip_space();
        while self.take("|") {
            self.skip_space();
            operands.push(self.operand()?);
            self.skip_space();
        }
        if let [Operand::Number(value)] = operands[..] {
            filter.numbers.push(NumberRule { name, comparison: *comparison, value });
            return Ok(());
        }
        let tokens = operands.into_iter().map(|operand| match operand {
            Operand::Number(value) => value.to_string(),
            Operand::Token(token) => token,
        });
        let tokens: Vec<String> = tokens.collect();
        let (allow, deny) = match comparison {
            Comparison::Equal => (tokens, Vec::new()),
            Comparison::NotEqual => (Vec::new(), tokens),
            _ => {
                self.at = start;
                return Err(self.fault("expected a number: only numbers are more or less"));
            }
        };
        filter.tokens.push(TokenRule { namespace: name, allow, deny });
        Ok(())
    }

    /// `["a", b]`, with one token or more.
    fn tokens(&mut self) -> Result<Vec<String>, AnnError> {
        self.skip_space();
        if !self.take("[") {
            return Err(self.fault("expected `[` after `in`"));
        }
        let mut tokens = Vec::new();
        loop {
            self.skip_space();
            tokens.push(match self.operand()? {
                Operand::Number(value) => value.to_string(),
                Operand::Token(token) => token,
            });
            self.skip_space();
            if self.take("]") {
                return Ok(tokens);
            }
            if !self.take(",") {
                return Err(self.fault("expected `,` or `]`"));
            }
        }
    }

    /// A name or token without quotes.
    fn word(&mut self) -> Result<String, AnnError> {
        let ends = |letter: char| letter.is_whitespace() || ",|=!<>[]\"".contains(letter);
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.fault("expected a name"));
        }
        let word = self.rest()[..length].to_owned();
        self.at += length;
        Ok(word)
    }

    fn operand(&mut self) -> Result<Operand, AnnError> {
        if !self.rest().starts_with('"') {
            let start = self.at;
            let word = self.word()?;
            return match word.parse::<f64>() {
                Ok(value) if value.is_nan() => {
                    self.at = start;
                    Err(self.fault("nothing compares with nan"))
                }
                Ok(value) => Ok(Operand::Number(value)),
                Err(_) => Ok(Operand::Token(word)),
            };
        }
        // A token in quotes is written as in JSON.
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        match values.next() {
            Some(Ok(token)) => {
                self.at += values.byte_offset();
                Ok(Operand::Token(token))
            }
            _ => Err(self.fault("expected a closing quote")),
        }
    }
}
