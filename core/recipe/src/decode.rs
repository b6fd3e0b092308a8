//! Script values into serde structs, with errors that know the path to the value.
//!
//! serde's own errors are one line of text. This decoder keeps apart what an error message needs:
//! the path, an unknown key and the keys that are known, what was expected and found.

use std::fmt;

use rhai::{Array, Dynamic, Map};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use crate::values::described;

/// One step from a value to a value within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// `tables.user.rows` or `ids[2].column`.
pub(crate) fn path_text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => text.extend([".", key]),
            Segment::Index(at) => text.extend(["[", &at.to_string(), "]"]),
        }
    }
    text
}

/// What is wrong with a value.
#[derive(Debug)]
pub(crate) enum Fault {
    UnknownKey { key: String, known: Vec<&'static str> },
    Missing { key: &'static str },
    Type { expected: String, found: String },
    Variant { found: String, known: Vec<&'static str> },
    Other(String),
}

/// A value that does not fit, and where it is.
#[derive(Debug)]
pub(crate) struct DecodeError {
    /// From the outermost value inwards.
    pub(crate) path: Vec<Segment>,
    pub(crate) fault: Fault,
}

impl DecodeError {
    fn new(fault: Fault) -> Self {
        Self { path: Vec::new(), fault }
    }

    fn within(mut self, segment: Segment) -> Self {
        self.path.insert(0, segment);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", path_text(&self.path), self.fault)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Fault::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::new(Fault::Type { expected, found })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::new(Fault::Variant { found: found.to_owned(), known: known.to_vec() })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownKey { key: key.to_owned(), known: known.to_vec() })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Fault::Missing { key })
    }
}

/// Reads `value` as a `T`. Whole numbers do for floats; nothing else is converted.
pub(crate) fn decode<T: DeserializeOwned>(value: &Dynamic) -> Result<T, DecodeError> {
    T::deserialize(Decoder(value.flatten_clone()))
}

struct Decoder(Dynamic);

impl Decoder {
    fn mismatch(&self, expected: &str) -> DecodeError {
        let (expected, found) = (expected.to_owned(), described(&self.0));
        DecodeError::new(Fault::Type { expected, found })
    }

    fn into_map(self) -> Result<Map, DecodeError> {
        let error = self.mismatch("a map");
        self.0.try_cast().ok_or(error)
    }

    fn whole(&self) -> Result<i64, DecodeError> {
        self.0.as_int().map_err(|_| self.mismatch("a whole number"))
    }

    fn count(&self) -> Result<u64, DecodeError> {
        u64::try_from(self.whole()?).map_err(|_| self.mismatch("a whole number, 0 or more"))
    }

    fn float(&self) -> Result<f64, DecodeError> {
        let number = self.0.as_int().map(|whole| whole as f64).or_else(|_| self.0.as_float());
        let number = number.map_err(|_| self.mismatch("a number"))?;
        if number.is_finite() { Ok(number) } else { Err(self.mismatch("a finite number")) }
    }

    fn text(&self) -> Result<String, DecodeError> {
        self.0.clone().into_string().map_err(|_| self.mismatch("a string"))
    }

    fn variant(self) -> Result<Variant, DecodeError> {
        let Some(mut options) = self.0.clone().try_cast::<Map>() else {
            return Ok(Variant { word: self.text()?, options: Map::new(), in_map: false });
        };
        let Some(kind) = options.remove(KIND) else {
            return Err(self.mismatch("a string or a map with 'kind'"));
        };
        let word = Decoder(kind).text().map_err(|error| error.within(of_kind()))?;
        Ok(Variant { word, options, in_map: true })
    }
}

/// Methods that read one plain value and hand it to the visitor.
macro_rules! plain {
    ($($method:ident: $read:ident => $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.$read()?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder {
    type Error = DecodeError;

    plain! {
        deserialize_i8: whole => visit_i64;
        deserialize_i16: whole => visit_i64;
        deserialize_i32: whole => visit_i64;
        deserialize_i64: whole => visit_i64;
        deserialize_u8: count => visit_u64;
        deserialize_u16: count => visit_u64;
        deserialize_u32: count => visit_u64;
        deserialize_u64: count => visit_u64;
        deserialize_f32: float => visit_f64;
        deserialize_f64: float => visit_f64;
        deserialize_char: text => visit_string;
        deserialize_str: text => visit_string;
        deserialize_string: text => visit_string;
        deserialize_identifier: text => visit_string;
        deserialize_bytes: text => visit_string;
        deserialize_byte_buf: text => visit_string;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_unit() {
            visitor.visit_unit()
        } else if self.0.is_bool() {
            self.deserialize_bool(visitor)
        } else if self.0.is_int() {
            visitor.visit_i64(self.whole()?)
        } else if self.0.is_float() {
            visitor.visit_f64(self.float()?)
        } else if self.0.is_array() {
            self.deserialize_seq(visitor)
        } else if self.0.is_map() {
            self.deserialize_map(visitor)
        } else {
            visitor.visit_string(self.text()?)
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.0.as_bool().map_err(|_| self.mismatch("true or false"))?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_unit() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_unit() { visitor.visit_unit() } else { Err(self.mismatch("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let error = self.mismatch("an array");
        let items: Array = self.0.try_cast().ok_or(error)?;
        visitor.visit_seq(Items { items: items.into_iter(), at: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(Entries::new(self.into_map()?))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let map = self.into_map()?;
        // All keys before any value: a typo explains a missing field better than the other way.
        if let Some(key) = map.keys().find(|key| !fields.contains(&key.as_str())) {
            let (key, known) = (key.to_string(), fields.to_vec());
            return Err(DecodeError::new(Fault::UnknownKey { key, known }));
        }
        visitor.visit_map(Entries::new(map))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self.variant()?)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }
}

struct Items {
    items: std::vec::IntoIter<Dynamic>,
    at: usize,
}

impl<'de> de::SeqAccess<'de> for Items {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        seed.deserialize(Decoder(item)).map(Some).map_err(|error| error.within(Segment::Index(at)))
    }
}

struct Entries {
    entries: <Map as IntoIterator>::IntoIter,
    value: Option<(String, Dynamic)>,
}

impl Entries {
    fn new(map: Map) -> Self {
        Self { entries: map.into_iter(), value: None }
    }
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let key = key.to_string();
        let found = seed.deserialize(key.as_str().into_deserializer())?;
        self.value = Some((key, value));
        Ok(Some(found))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let (key, value) = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(Decoder(value)).map_err(|error| error.within(Segment::Key(key)))
    }
}

/// The key of a map that says which variant of an enum the other keys belong to.
const KIND: &str = "kind";

fn of_kind() -> Segment {
    Segment::Key(KIND.to_owned())
}

/// A variant of an enum: a word, or a map with the word as its `kind` and options beside it.
struct Variant {
    word: String,
    options: Map,
    in_map: bool,
}

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = DecodeError;
    type Variant = VariantOptions;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, VariantOptions), DecodeError> {
        let word: de::value::StringDeserializer<DecodeError> = self.word.into_deserializer();
        let found = seed.deserialize(word);
        let found =
            found.map_err(|error| if self.in_map { error.within(of_kind()) } else { error })?;
        Ok((found, VariantOptions(self.options)))
    }
}

/// What stands beside `kind`; nothing beside a word.
struct VariantOptions(Map);

impl<'de> de::VariantAccess<'de> for VariantOptions {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        // serde's own reading of tagged enums ignores what stands beside a variant without options.
        let Some(key) = self.0.into_keys().next() else { return Ok(()) };
        Err(DecodeError::new(Fault::UnknownKey { key: key.to_string(), known: Vec::new() }))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(Decoder(self.0.into()))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_seq(Decoder(self.0.into()), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        de::Deserializer::deserialize_struct(Decoder(self.0.into()), "", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use rhai::Engine;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        column: String,
        #[serde(default)]
        at: usize,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Dot,
        DotCat,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        rate: f64,
        kind: Kind,
        #[serde(default)]
        widths: Vec<usize>,
        #[serde(default)]
        ids: Vec<Inner>,
        limit: Option<u64>,
    }

    fn read(script: &str) -> Result<Outer, DecodeError> {
        decode(&Engine::new().eval::<Dynamic>(script).unwrap())
    }

    #[test]
    fn plain_values_become_fields() {
        let script = r#"#{rate: 1, kind: "dot_cat", widths: [5, 6], ids: [#{column: "a"}]}"#;
        let ids = vec![Inner { column: "a".into(), at: 0 }];
        let outer = Outer { rate: 1.0, kind: Kind::DotCat, widths: vec![5, 6], ids, limit: None };
        assert_eq!(read(script).unwrap(), outer);
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Rule {
        All,
        Share { p: f32 },
    }

    #[derive(Debug, Deserialize)]
    struct Ruled {
        rule: Rule,
    }

    #[test]
    fn a_kind_is_a_word_or_has_its_options_beside_it() {
        let read = |script: &str| {
            let value = Engine::new().eval::<Dynamic>(script).unwrap();
            decode::<Ruled>(&value).map(|ruled| ruled.rule)
        };
        for (script, rule) in [
            (r#"#{rule: "all"}"#, Rule::All),
            (r#"#{rule: #{kind: "all"}}"#, Rule::All),
            (r#"#{rule: #{kind: "share", p: 1}}"#, Rule::Share { p: 1.0 }),
        ] {
            assert_eq!(read(script).unwrap(), rule, "{script}");
        }
        for (script, path, fault) in [
            (r#"#{rule: #{kind: "all", p: 1}}"#, "rule", r#"UnknownKey { key: "p", known: [] }"#),
            (r#"#{rule: #{kind: "share", q: 1}}"#, "rule", r#"UnknownKey { key: "q""#),
            (r#"#{rule: #{kind: "share", p: "x"}}"#, "rule.p", "a number"),
            (r#"#{rule: "share"}"#, "rule", "Missing"),
            (r#"#{rule: "sahre"}"#, "rule", "sahre"),
            (r#"#{rule: #{kind: "sahre"}}"#, "rule.kind", "sahre"),
            ("#{rule: #{kind: 5}}", "rule.kind", "a string"),
            ("#{rule: #{p: 1}}", "rule", "a map with 'kind'"),
            ("#{rule: 1}", "rule", "a string"),
        ] {
            let error = read(script).unwrap_err();
            assert_eq!(path_text(&error.path), path, "{script}");
            assert!(error.to_string().contains(fault), "{script}: {error}");
        }
    }

    #[test]
    fn errors_know_the_path() {
        for (script, path, fault) in [
            (r#"#{rate: "x", kind: "dot"}"#, "rate", "a number"),
            (r#"#{rate: 1, kind: "dut"}"#, "kind", "dut"),
            (r#"#{rate: 1, kind: "dot", widths: [1, 2.5]}"#, "widths[1]", "float 2.5"),
            (r#"#{rate: 1, kind: "dot", widths: [-1]}"#, "widths[0]", "0 or more"),
            (r#"#{rate: 1, kind: "dot", ids: [#{colum: 1}]}"#, "ids[0]", "colum"),
            (r#"#{rate: 1, kind: "dot", ids: [#{}]}"#, "ids[0]", "Missing"),
            (r#"#{rate: 1, kind: "dot", lmit: 1}"#, "", "lmit"),
            ("#{rate: 1, kind: 7}", "kind", "a string"),
            ("5", "", "a map"),
        ] {
            let error = read(script).unwrap_err();
            assert_eq!(path_text(&error.path), path, "{script}");
            assert!(error.to_string().contains(fault), "{script}: {error}");
        }
    }
}
