//! Parameters: what a plugin describes, what a recipe gives.

use rectool_base::{Hint, ParameterValue};

use super::guest::Guest;
use super::*;
use crate::{Kind, Parameters, Plugin, PluginError, ValueType};

/// Four parameters, of 132 bytes each from 1024 on; see `describe_with`.
fn plugin() -> Plugin {
    let text = described(&[
        // `gamma`: a number from 0 to 5, 2 unless given.
        (0, 5, 2, Some(Default::Number(2.0)), Some((0.0, 5.0)), 0),
        // `size`: an integer of at least 1, which has to be given.
        (5, 4, 1, None, Some((1.0, 100.0)), 0),
        // `mode`: one of two texts.
        (9, 4, 3, Some(Default::Text(13, 4)), None, 2),
        // `ends`: a list of numbers.
        (22, 4, 6, None, Some((0.0, 1.0)), 0),
    ]);
    host().load_bytes("described", text.into()).unwrap()
}

enum Default {
    Number(f64),
    Text(u32, u32),
}

const TEXTS: &str = "gammasizemodelastfirstends";
const TEXTS_AT: u32 = 900;

/// Place and length of the name in `TEXTS`, value type, default, range, number of choices ("last",
/// "first").
type Described = (u32, u32, u8, Option<Default>, Option<(f64, f64)>, u32);

/// A plugin with these parameters.
fn described(parameters: &[Described]) -> String {
    let mut record = Vec::new();
    let text =
        |at: u32, length: u32| [(TEXTS_AT + at).to_le_bytes(), length.to_le_bytes()].concat();
    for (at, length, kind, default, range, choices) in parameters {
        let mut bytes = text(*at, *length);
        bytes.extend([*kind, 0, 0, 0, 0, 0, 0, 0]);
        // option<value>: tag, value (tag, payload), each of 8-byte alignment.
        let mut option = vec![0; 24];
        match default {
            None => {}
            Some(Default::Number(number)) => {
                (option[0], option[8]) = (1, 2);
                option[16..24].copy_from_slice(&number.to_le_bytes());
            }
            Some(Default::Text(at, length)) => {
                (option[0], option[8]) = (1, 3);
                option[16..24].copy_from_slice(&text(*at, *length));
            }
        }
        bytes.extend(option);
        let (min, max) = range.unzip();
        for bound in [min, max] {
            bytes.extend([u8::from(bound.is_some()), 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(bound.unwrap_or_default().to_le_bytes());
        }
        // Choices lie at 880; unit is empty, the help is the name.
        bytes.extend([880_u32.to_le_bytes(), choices.to_le_bytes()].concat());
        bytes.extend(text(0, 0));
        bytes.extend(text(*at, *length));
        record.extend(bytes);
        record.resize(record.len().next_multiple_of(8), 0);
    }
    let choices = [text(13, 4), text(17, 5)].concat();
    Guest::new(Kind::Transform)
        .more(&format!("(data (i32.const {TEXTS_AT}) \"{TEXTS}\")"))
        .bytes(880, &choices)
        .bytes(1024, &record)
        .words(40, &[1024, parameters.len() as u32])
        .text()
}

fn given(values: &[(&str, ParameterValue)]) -> Parameters {
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn descriptions_are_read() {
    let plugin = plugin();
    let parameters = &plugin.description().parameters;
    let names: Vec<&str> = parameters.iter().map(|each| each.name.as_str()).collect();
    assert_eq!(names, ["gamma", "size", "mode", "ends"]);
    assert_eq!(parameters[0].default, Some(ParameterValue::Number(2.0)));
    assert_eq!((parameters[0].min, parameters[0].max), (Some(0.0), Some(5.0)));
    assert_eq!(parameters[2].choices, ["last", "first"]);
    assert_eq!(parameters[3].value_type, ValueType::Numbers);
}

#[test]
fn good_parameters_are_completed() {
    let ends = ParameterValue::Integers(vec![0, 1]);
    let given = given(&[("size", ParameterValue::Integer(3)), ("ends", ends)]);
    let complete = plugin().complete_parameters(&given).unwrap();
    let expected = [
        ("gamma".to_owned(), ParameterValue::Number(2.0)),
        ("size".to_owned(), ParameterValue::Integer(3)),
        ("mode".to_owned(), ParameterValue::Text("last".to_owned())),
        ("ends".to_owned(), ParameterValue::Numbers(vec![0.0, 1.0])),
    ];
    assert_eq!(complete, expected);
    assert!(plugin().transform(&given).is_ok());
}

#[test]
fn wrong_parameters_are_explained() {
    let plugin = plugin();
    let good = [("size", ParameterValue::Integer(3)), ("ends", ParameterValue::Booleans(vec![]))];
    let error = |name: &str, value: ParameterValue| {
        let mut given = given(&good);
        given.insert(name.to_owned(), value);
        let error = plugin.call(&given).unwrap_err();
        assert!(matches!(error, PluginError::Parameter { .. }));
        (error.to_string(), error.hint().unwrap())
    };
    let number = ParameterValue::Number;
    let text = |text: &str| ParameterValue::Text(text.to_owned());
    for (name, value, expected, hint) in [
        ("gama", number(1.0), "has no parameter `gama`", "did you mean `gamma`?"),
        ("x", number(1.0), "has no parameter `x`", "it has `gamma`, `size`, `mode`, `ends`"),
        ("gamma", number(5.5), "`gamma` is 5.5, expected 0 to 5", "gamma: gamma"),
        ("gamma", number(f64::NAN), "`gamma` is NaN, expected 0 to 5", "gamma: gamma"),
        ("gamma", text("a"), "`gamma` is \"a\", expected a number", "gamma: gamma"),
        ("size", number(2.5), "`size` is 2.5, expected a integer", "size: size"),
        ("mode", text("lost"), "`mode` is `lost`, expected one of `last`, `first`", "mode: mode"),
        (
            "ends",
            ParameterValue::Numbers(vec![0.5, 1.5]),
            "`ends` is 1.5, expected 0 to 1",
            "ends: ends",
        ),
    ] {
        let expected = format!("plugin `guest`: {}", expected.replace("a integer", "an integer"));
        assert_eq!(error(name, value), (expected, hint.to_owned()));
    }
    let missing = plugin.call(&given(&good[1..])).unwrap_err().to_string();
    assert_eq!(missing, "plugin `guest`: needs parameter `size`, an integer");
}

#[test]
fn defaults_have_to_fit() {
    let text = described(&[(0, 5, 2, Some(Default::Number(9.0)), Some((0.0, 5.0)), 0)]);
    let error = host().load_bytes("odd", text.into()).unwrap_err().to_string();
    let expected = "plugin `odd` describes itself badly: the default of parameter `gamma` is 9, expected 0 to 5";
    assert_eq!(error, expected);
    let twice = described(&[(0, 5, 2, None, None, 0), (0, 5, 1, None, None, 0)]);
    let error = host().load_bytes("odd", twice.into()).unwrap_err().to_string();
    assert!(error.ends_with("parameter `gamma` is there twice, expected once"), "{error}");
}
