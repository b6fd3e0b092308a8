//! Cases as JSON has them.

use serde_json::Value as Json;

use crate::{
    About, Column, ColumnType, Element, Fault, FloatLists, IntLists, Items, MISSING_ID, Parameters,
    Shape, TextLists, Texts, Value,
};

/// How far a float may be off, relative to it or to 1.
const TOLERANCE: f64 = 1e-6;

pub(super) struct Case {
    json: Json,
}

impl Case {
    pub(super) fn parse(line: &str) -> Self {
        let json = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("a case is not JSON: {error}: {line}"));
        Self { json }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        !self.json[key].is_null()
    }

    pub(super) fn name(&self) -> &str {
        self.json["name"].as_str().expect("a case has a `name`")
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.json["error"].as_str()
    }

    pub(super) fn fails(&self) -> bool {
        self.has("error")
    }

    pub(super) fn parameters(&self, about: &About) -> Result<Parameters, Fault> {
        let Some(given) = self.json["parameters"].as_object() else {
            return Parameters::of(about, &[]);
        };
        let given: Vec<_> = given.iter().map(|(name, value)| (&**name, parameter(value))).collect();
        Parameters::of(about, &given)
    }

    fn list(&self, key: &str) -> &[Json] {
        self.json[key].as_array().map_or(&[], |values| values)
    }

    pub(super) fn floats(&self, key: &str) -> Vec<f32> {
        self.list(key).iter().map(float).collect()
    }

    pub(super) fn ids(&self, key: &str) -> Vec<i64> {
        self.list(key).iter().map(id).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.json["count"].as_u64().expect("a case has a `count`") as usize
    }

    pub(super) fn seed(&self) -> u64 {
        self.json["seed"].as_u64().unwrap_or_default()
    }

    pub(super) fn items(&self) -> Items {
        let items = Self { json: self.json["items"].clone() };
        let whole =
            |key: &str| items.list(key).iter().map(|n| n.as_u64().expect("whole")).collect();
        Items {
            ids: items.ids("ids"),
            counts: whole("counts"),
            last_rows: whole("last_rows"),
            scores: items.floats("scores"),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.list("inputs").first().map_or(0, |column| list(&column["values"]).len())
    }

    pub(super) fn columns(&self, key: &str) -> Vec<(ColumnType, Column)> {
        self.list(key).iter().map(column).collect()
    }

    pub(super) fn compare(&self, what: &str, found: &[f32], wanted: &[f32]) {
        let tolerance = self.json["tolerance"].as_f64().unwrap_or(TOLERANCE);
        let close = |found: f32, wanted: f32| {
            let (found, wanted) = (f64::from(found), f64::from(wanted));
            found == wanted
                || (found.is_nan() && wanted.is_nan())
                || (found - wanted).abs() <= tolerance * wanted.abs().max(1.0)
        };
        assert!(
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| close(*a, *b)),
            "case `{}`, {what}: {found:?}, expected {wanted:?}",
            self.name()
        );
    }

    pub(super) fn compare_columns(&self, what: &str, found: &Column, wanted: &Column) {
        match wanted {
            Column::Floats(_) | Column::FloatLists(_) => {
                assert_eq!(found.offsets(), wanted.offsets(), "case `{}`, {what}", self.name());
                self.compare(what, found.floats(), wanted.floats());
            }
            _ => assert_eq!(found, wanted, "case `{}`, {what}", self.name()),
        }
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().unwrap_or_else(|| panic!("{json} is not a list"))
}

fn float(json: &Json) -> f32 {
    if json.is_null() {
        return f32::NAN;
    }
    json.as_f64().unwrap_or_else(|| panic!("{json} is not a number")) as f32
}

fn id(json: &Json) -> i64 {
    if json.is_null() {
        return MISSING_ID;
    }
    json.as_i64().unwrap_or_else(|| panic!("{json} is not an id"))
}

fn parameter(json: &Json) -> Value {
    match json {
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(value) => match value.as_i64() {
            Some(value) => Value::Integer(value),
            None => Value::Number(value.as_f64().expect("a number")),
        },
        Json::String(value) => Value::Text(value.clone()),
        Json::Array(values) => match values.first() {
            Some(Json::Bool(_)) => {
                Value::Booleans(values.iter().map(|value| value == &Json::Bool(true)).collect())
            }
            Some(Json::String(_)) => {
                let text = |value: &Json| value.as_str().expect("a list of texts").to_owned();
                Value::Texts(values.iter().map(text).collect())
            }
            _ if values.iter().all(Json::is_i64) => {
                Value::Integers(values.iter().map(id).collect())
            }
            _ => {
                let number = |value: &Json| value.as_f64().expect("a list of numbers");
                Value::Numbers(values.iter().map(number).collect())
            }
        },
        _ => panic!("{json} is no value of a parameter"),
    }
}

fn column_type(json: &Json) -> ColumnType {
    let kind = json["type"].as_str().expect("a column has a `type`");
    let (element, shape) = match kind.split_once('[') {
        Some((element, width)) => {
            let width = width.trim_end_matches(']').parse().expect("a width, as in `f32[2]`");
            (element, Shape::Fixed(width))
        }
        None => (kind.strip_suffix(" list").expect("`f32[2]` or `f32 list`"), Shape::Jagged),
    };
    let element = match element {
        "f32" => Element::Float32,
        "i64" => Element::Int64,
        "text" => Element::Text,
        _ => panic!("`{element}` is none of f32, i64, text"),
    };
    let members = json["members"].as_array().map_or(&[][..], |members| members);
    ColumnType {
        name: json["name"].as_str().expect("a column has a `name`").to_owned(),
        element,
        shape,
        members: members.iter().map(|m| m.as_str().expect("a name").to_owned()).collect(),
    }
}

fn column(json: &Json) -> (ColumnType, Column) {
    let kind = column_type(json);
    let rows = list(&json["values"]);
    let mut offsets = vec![0];
    let mut values: Vec<&Json> = Vec::new();
    for row in rows {
        match row {
            Json::Array(row) => values.extend(row),
            value => values.push(value),
        }
        offsets.push(values.len() as u32);
    }
    if let Some(width) = kind.width() {
        assert_eq!(values.len(), rows.len() * width, "values of column `{}`", kind.name);
    }
    let jagged = kind.shape == Shape::Jagged;
    let made = match kind.element {
        Element::Float32 => {
            let values = values.into_iter().map(float).collect();
            if jagged {
                Column::FloatLists(FloatLists { offsets, values })
            } else {
                Column::Floats(values)
            }
        }
        Element::Int64 => {
            let values = values.into_iter().map(id).collect();
            if jagged {
                Column::IntLists(IntLists { offsets, values })
            } else {
                Column::Ints(values)
            }
        }
        Element::Text => {
            let values: Texts = values.into_iter().map(Json::as_str).collect();
            if jagged {
                Column::TextLists(TextLists { offsets, values })
            } else {
                Column::Texts(values)
            }
        }
    };
    (kind, made)
}
