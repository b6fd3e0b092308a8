//! The contract's types as Rust types: what crosses the border between host and guest.
//!
//! Arguments borrow (a list of numbers is copied into the guest's memory once), results own (copied
//! out once). The names and order follow `sdk/wit/v1/types.wit`.

use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Element {
    #[component(name = "float32")]
    Float32,
    #[component(name = "int64")]
    Int64,
    #[component(name = "text")]
    Text,
}

#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug, PartialEq, Eq)]
#[component(variant)]
pub(crate) enum Shape {
    #[component(name = "fixed")]
    Fixed(u32),
    #[component(name = "jagged")]
    Jagged,
}

#[derive(ComponentType, Lift, Lower, Clone, Debug)]
#[component(record)]
pub(crate) struct ColumnType {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) shape: Shape,
    pub(crate) members: Vec<String>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct TextsIn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) bytes: &'a [u8],
    pub(crate) validity: &'a [u8],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct FloatListsIn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) values: &'a [f32],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct IntListsIn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) values: &'a [i64],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct TextListsIn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) values: TextsIn<'a>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(variant)]
pub(crate) enum ColumnIn<'a> {
    #[component(name = "floats")]
    Floats(&'a [f32]),
    #[component(name = "ints")]
    Ints(&'a [i64]),
    #[component(name = "texts")]
    Texts(TextsIn<'a>),
    #[component(name = "float-lists")]
    FloatLists(FloatListsIn<'a>),
    #[component(name = "int-lists")]
    IntLists(IntListsIn<'a>),
    #[component(name = "text-lists")]
    TextLists(TextListsIn<'a>),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct TextsOut {
    pub(crate) offsets: Vec<u32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) validity: Vec<u8>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct FloatListsOut {
    pub(crate) offsets: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct IntListsOut {
    pub(crate) offsets: Vec<u32>,
    pub(crate) values: Vec<i64>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct TextListsOut {
    pub(crate) offsets: Vec<u32>,
    pub(crate) values: TextsOut,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum ColumnOut {
    #[component(name = "floats")]
    Floats(Vec<f32>),
    #[component(name = "ints")]
    Ints(Vec<i64>),
    #[component(name = "texts")]
    Texts(TextsOut),
    #[component(name = "float-lists")]
    FloatLists(FloatListsOut),
    #[component(name = "int-lists")]
    IntLists(IntListsOut),
    #[component(name = "text-lists")]
    TextLists(TextListsOut),
}

#[derive(ComponentType, Lift, Lower, Clone, Debug)]
#[component(variant)]
pub(crate) enum Value {
    #[component(name = "boolean")]
    Boolean(bool),
    #[component(name = "integer")]
    Integer(i64),
    #[component(name = "number")]
    Number(f64),
    #[component(name = "text")]
    Text(String),
    #[component(name = "booleans")]
    Booleans(Vec<bool>),
    #[component(name = "integers")]
    Integers(Vec<i64>),
    #[component(name = "numbers")]
    Numbers(Vec<f64>),
    #[component(name = "texts")]
    Texts(Vec<String>),
}

#[derive(ComponentType, Lower, Clone, Debug)]
#[component(record)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) value: Value,
}

#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) row: Option<u32>,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made by the derived `Lift`")]
pub(crate) enum ValueType {
    #[component(name = "boolean")]
    Boolean,
    #[component(name = "integer")]
    Integer,
    #[component(name = "number")]
    Number,
    #[component(name = "text")]
    Text,
    #[component(name = "booleans")]
    Booleans,
    #[component(name = "integers")]
    Integers,
    #[component(name = "numbers")]
    Numbers,
    #[component(name = "texts")]
    Texts,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ParameterType {
    pub(crate) name: String,
    #[component(name = "value-type")]
    pub(crate) value_type: ValueType,
    pub(crate) default: Option<Value>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) choices: Vec<String>,
    pub(crate) unit: String,
    pub(crate) help: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) parameters: Vec<ParameterType>,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made by the derived `Lift`")]
pub(crate) enum Prediction {
    #[component(name = "logit")]
    Logit,
    #[component(name = "value")]
    Value,
    #[component(name = "log-rate")]
    LogRate,
    #[component(name = "score")]
    Score,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "made by the derived `Lift`")]
pub(crate) enum Labels {
    #[component(name = "binary")]
    Binary,
    #[component(name = "non-negative")]
    NonNegative,
    #[component(name = "any")]
    Any,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Demands {
    pub(crate) prediction: Prediction,
    pub(crate) labels: Labels,
    pub(crate) columns: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Evaluation {
    pub(crate) losses: Vec<f32>,
    pub(crate) gradients: Vec<f32>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct Items<'a> {
    pub(crate) ids: &'a [i64],
    pub(crate) counts: &'a [u64],
    #[component(name = "last-rows")]
    pub(crate) last_rows: &'a [u64],
    pub(crate) scores: &'a [f32],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Samples {
    pub(crate) ids: Vec<i64>,
    #[component(name = "log-probabilities")]
    pub(crate) log_probabilities: Vec<f32>,
}
